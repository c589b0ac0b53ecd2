// Package waiting waits for records to change: by asking for them, often at first and
// ever more rarely later, or by being told of changes; for all who wait together. It
// knows nothing of results.
package waiting

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The pace of a Table. A record is looked after again when its age has grown by
// pollGrowth, at least pollFirst and at most pollLast later; reads of records that
// are nearly due are sent together.
const (
	pollFirst   = time.Millisecond
	pollLast    = time.Second
	pollGrowth  = 50                    // the next read comes after 1/50 of the age
	pollEach    = 10 * time.Microsecond // for each record that is waited for, so that many are not read all the time
	pollBatch   = 2000
	pollTimeout = 5 * time.Second // of one read
)

// A read that fails is repeated after 1/repeatGrowth of the time since when reads fail, at
// least repeatFirst and at most pollLast later.
const (
	repeatFirst  = 10 * time.Millisecond
	repeatGrowth = 10
)

// A record whose changes are pushed is read every pollSafety nevertheless, or, when
// very many are waited for, so that there are at most 1/pollSafetyEach reads a
// second.
const (
	pollSafety     = time.Second
	pollSafetyEach = 100 * time.Microsecond
)

// Push is what tells a Table that records changed, so that it need not ask. Its
// methods are called from the Table's goroutine, and must not block.
type Push interface {
	// Watch asks to be told of changes of the records: of each, Table.Live is
	// called once it is so. Until then, and if that never happens, the Table asks.
	Watch(ids []string)

	// Unwatch takes that back. It is called for every record that was watched.
	Unwatch(ids []string)
}

// Found is a record that was read, or why it can't be.
type Found[M any] struct {
	ID    string
	Value M
	Err   error // ends the waits for this record alone
}

// Config is what a Table needs to know.
type Config[M any] struct {
	// Read reads records once, without repeating what fails.
	Read func(ctx context.Context, ids []string) ([]Found[M], error)

	// Push tells of changes; nil: nobody does.
	Push Push

	// Final reports whether a record does not change any more.
	Final func(M) bool

	// Closed is the error of waits when the Table closes.
	Closed error

	// Patience is how long reads may fail before those waits end whose contexts have
	// no deadline.
	Patience time.Duration
}

// Table has all who wait. It has a goroutine only while somebody does. Make one with
// New. It is safe for concurrent use.
type Table[M any] struct {
	c Config[M]

	mu      sync.Mutex
	records map[string]*record[M] // that are waited for; guarded by mu, as all that follows
	queue   queue[M]              // the same, by when they are due
	coming  []string              // records to Watch
	going   []string              // records to Unwatch
	watched map[string]bool       // records that push was told of
	running bool
	closed  bool
	asking  time.Time // when the read under way began; zero where there is none
	failing time.Time // since when reads fail; zero while they work
	failure error     // of the last read
	reads   uint64    // how many have begun

	count  atomic.Int64  // of records
	wake   chan struct{} // something has changed
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// record is one that is waited for.
type record[M any] struct {
	id      string
	since   time.Time
	due     time.Time
	live    bool   // its changes are pushed
	told    uint64 // Table.reads when it was last delivered
	place   int    // in the queue
	waiters []*waiter[M]
}

// waiter is one who waits for a record.
type waiter[M any] struct {
	until func(M) bool
	timed bool          // its context has a deadline
	ended chan struct{} // closed once value or err is set
	value M
	err   error
}

// New returns a Table.
func New[M any](c Config[M]) *Table[M] {
	ctx, cancel := context.WithCancel(context.Background())
	return &Table[M]{
		c: c, records: map[string]*record[M]{}, watched: map[string]bool{}, wake: make(chan struct{}, 1),
		ctx: ctx, cancel: cancel,
	}
}

// SilentError is the error of a wait that ended while the store did not answer.
type SilentError struct {
	Err   error     // of the context that ended the wait; nil: it had no deadline, and the patience is over
	Since time.Time // when the store stopped answering
	Last  error     // what the last attempt to read ended with
}

// Error says since when the store has not answered, and why.
func (e *SilentError) Error() string {
	silent := time.Since(e.Since).Round(time.Millisecond)
	if e.Err != nil {
		return fmt.Sprintf("%v: the store has not answered for %v (since %s): %v", e.Err, silent, e.Since.UTC().Format(time.RFC3339), e.Last)
	}
	return fmt.Sprintf("the store has not answered for %v (since %s): %v", silent, e.Since.UTC().Format(time.RFC3339), e.Last)
}

// Unwrap returns the context's error, if there is one, and the last failure.
func (e *SilentError) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Err, e.Last}
	}
	return []error{e.Last}
}

// noticeable is how long a store may take to answer before it counts as silent.
const noticeable = 50 * time.Millisecond

// Silent returns a context's error, in a *SilentError where the store had been asked for a
// noticeable time and did not answer. Last is what else is known, or nil.
func Silent(err error, since time.Time, last error) error {
	if time.Since(since) < noticeable {
		return err
	}
	if last == nil {
		last = errNoAnswer
	}
	return &SilentError{Err: err, Since: since, Last: last}
}

// errNoAnswer is the failure of an operation that is still under way.
var errNoAnswer = errors.New("no answer yet")

// errSlow is the failure of a read that did not end in time. It is no context's error,
// as no caller's context has ended.
var errSlow = fmt.Errorf("no answer within %v", pollTimeout)

// One returns the record once it is what until describes, which is called with every
// record that is read or pushed and must not block. The error is ctx's when that ends
// first, as it is or in a *SilentError; Closed; or that of a record that can't be read.
func (t *Table[M]) One(ctx context.Context, id string, until func(M) bool) (M, error) {
	var none M
	ids := [1]string{id}
	waiters, err := t.join(ctx, ids[:], until)
	if err != nil {
		return none, err
	}
	select {
	case <-ctx.Done():
		return none, t.leave(ctx, ids[:], waiters)
	case <-waiters[0].ended:
	}
	var own *recordError
	if errors.As(waiters[0].err, &own) {
		return none, own.err
	}
	return waiters[0].value, waiters[0].err
}

// Many returns nil once each of the records was what until describes, which is called
// with each record that is read or pushed until it has returned true for it; one at a
// time, and not after Many has returned. The ids must be different.
//
// Errors of single records are joined, once the waits for all others have ended. Any
// other error, such as ctx's, ends all waits.
func (t *Table[M]) Many(ctx context.Context, ids []string, until func(M) bool) error {
	waiters, err := t.join(ctx, ids, until)
	if err != nil {
		return err
	}
	var bad []error
	for i := range waiters {
		select {
		case <-ctx.Done():
			return t.leave(ctx, ids[i:], waiters[i:])
		case <-waiters[i].ended:
		}
		var own *recordError
		switch err := waiters[i].err; {
		case err == nil:
		case errors.As(err, &own):
			bad = append(bad, own.err)
		default:
			_ = t.leave(ctx, ids[i:], waiters[i:])
			return err
		}
	}
	return errors.Join(bad...)
}

// recordError is the error of one record.
type recordError struct{ err error }

func (e *recordError) Error() string { return e.err.Error() }
func (e *recordError) Unwrap() error { return e.err }

// join adds a waiter for each record.
func (t *Table[M]) join(ctx context.Context, ids []string, until func(M) bool) ([]waiter[M], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	_, timed := ctx.Deadline()
	waiters := make([]waiter[M], len(ids))
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, t.c.Closed
	}
	now := time.Now()
	for i, id := range ids {
		waiters[i] = waiter[M]{until: until, timed: timed, ended: make(chan struct{})}
		t.add(id, &waiters[i], now)
	}
	if !t.running && len(ids) > 0 {
		t.running = true
		t.failing = time.Time{}
		t.done.Add(1)
		go t.run()
	}
	t.signal()
	return waiters, nil
}

// add adds a waiter for a record, which is due at once. The caller holds mu.
func (t *Table[M]) add(id string, w *waiter[M], now time.Time) {
	r, ok := t.records[id]
	if !ok {
		r = &record[M]{id: id, due: now}
		t.records[id] = r
		t.count.Add(1)
		heap.Push(&t.queue, r)
		t.coming = append(t.coming, id)
	}
	r.waiters = append(r.waiters, w)
	r.since = now // a newcomer brings the quick pace back
	t.reschedule(r, now)
}

// leave takes back what join did, and returns why the wait has ended.
func (t *Table[M]) leave(ctx context.Context, ids []string, waiters []waiter[M]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, id := range ids {
		r, ok := t.records[id]
		if !ok {
			continue
		}
		staying := r.waiters[:0]
		for _, w := range r.waiters {
			if w != &waiters[i] {
				staying = append(staying, w)
			}
		}
		clear(r.waiters[len(staying):])
		r.waiters = staying
		t.drop(r)
	}
	switch {
	case t.failing.IsZero() && t.asking.IsZero():
		return ctx.Err()
	case t.failing.IsZero():
		return Silent(ctx.Err(), t.asking, nil)
	}
	return &SilentError{Err: ctx.Err(), Since: t.failing, Last: t.failure}
}

// signal wakes run. It never blocks.
func (t *Table[M]) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// reschedule makes a record due at another time. The caller holds mu.
func (t *Table[M]) reschedule(r *record[M], due time.Time) {
	r.due = due
	heap.Fix(&t.queue, r.place)
}

// drop forgets a record that nobody waits for. The caller holds mu.
func (t *Table[M]) drop(r *record[M]) {
	if len(r.waiters) > 0 || t.records[r.id] != r {
		return
	}
	delete(t.records, r.id)
	t.count.Add(-1)
	heap.Remove(&t.queue, r.place)
	t.going = append(t.going, r.id)
	t.signal() // the last one lets run end
}

// run reads and tells until nobody waits.
func (t *Table[M]) run() {
	defer t.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		t.tellPush()
		ids, next := t.dueNow()
		if next < 0 {
			return
		}
		if len(ids) > 0 {
			t.ask(ids)
			continue
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-t.wake:
		case <-t.ctx.Done():
		}
	}
}

// tellPush passes on which records are waited for, and no longer.
func (t *Table[M]) tellPush() {
	t.mu.Lock()
	var coming, going []string
	if t.c.Push != nil {
		going = t.toUnwatch()
		coming = t.toWatch()
	}
	t.coming, t.going = nil, nil
	t.mu.Unlock()
	if len(going) > 0 {
		t.c.Push.Unwatch(going)
	}
	if len(coming) > 0 {
		t.c.Push.Watch(coming)
	}
}

// toUnwatch returns the records to Unwatch: one that somebody waits for again by now
// is to be watched anew. The caller holds mu.
func (t *Table[M]) toUnwatch() []string {
	var ids []string
	for _, id := range t.going {
		if t.watched[id] {
			delete(t.watched, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// toWatch returns the records to Watch: those that somebody still waits for. The caller
// holds mu.
func (t *Table[M]) toWatch() []string {
	var ids []string
	for _, id := range t.coming {
		if t.records[id] != nil && !t.watched[id] {
			t.watched[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// dueNow returns the ids to read now or else how long to sleep; negative
// when nobody waits any more and run must end.
func (t *Table[M]) dueNow() (ids []string, next time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.going) > 0 {
		return nil, 0 // they are to be told first
	}
	if len(t.records) == 0 || t.closed {
		t.running = false
		return nil, -1
	}
	now := time.Now()
	if wait := t.queue[0].due.Sub(now); wait > 0 {
		return nil, min(wait, pollLast)
	}
	for len(ids) < pollBatch {
		r := t.queue[0]
		pause := t.pause(r, now)
		if r.due.Sub(now) > pause/2 {
			break
		}
		t.reschedule(r, now.Add(pause))
		ids = append(ids, r.id)
		if t.queue[0].due.After(now.Add(pollLast / 2)) {
			break
		}
	}
	return ids, 0
}

// pause returns how long after a read the next one of a record comes.
func (t *Table[M]) pause(r *record[M], now time.Time) time.Duration {
	if r.live {
		return max(pollSafety, time.Duration(len(t.records))*pollSafetyEach)
	}
	return min(max(now.Sub(r.since)/pollGrowth, pollFirst, time.Duration(len(t.records))*pollEach), pollLast)
}

// ask reads the ids and ends the waits that what it finds ends.
func (t *Table[M]) ask(ids []string) {
	began := time.Now()
	t.mu.Lock()
	t.reads++ // reads follow one another
	t.asking = began
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.ctx, pollTimeout)
	found, err := t.c.Read(ctx, ids)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errSlow
	}
	cancel()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking = time.Time{}
	if err != nil {
		t.fail(began, err)
		t.repeat(ids)
		return
	}
	t.failing, t.failure = time.Time{}, nil
	for _, f := range found {
		if f.Err != nil {
			t.end(f.ID, &recordError{f.Err})
		} else if !t.overtaken(f) {
			t.found(f.ID, f.Value)
		}
	}
}

// overtaken reports whether a record was delivered while the read under way was
// sent, which may have found an older one. The caller holds mu.
func (t *Table[M]) overtaken(f Found[M]) bool {
	r, ok := t.records[f.ID]
	return ok && r.told == t.reads && !t.c.Final(f.Value)
}

// found ends the waits that a record ends. The caller holds mu.
func (t *Table[M]) found(id string, value M) {
	r, ok := t.records[id]
	if !ok {
		return
	}
	staying := r.waiters[:0]
	for _, w := range r.waiters {
		if w.until(value) {
			w.value = value
			close(w.ended)
		} else {
			staying = append(staying, w)
		}
	}
	clear(r.waiters[len(staying):])
	r.waiters = staying
	t.drop(r)
}

// Live is for a Push: from now on it tells of changes of the records. Each is read
// once more, for what changed before.
func (t *Table[M]) Live(ids ...string) { t.mark(true, ids) }

// Lost is for a Push: it can't tell of changes of the records, or with none named of
// any record, until it says Live again.
func (t *Table[M]) Lost(ids ...string) {
	if len(ids) == 0 {
		t.mu.Lock()
		for id := range t.records {
			ids = append(ids, id)
		}
		t.mu.Unlock()
	}
	t.mark(false, ids)
}

func (t *Table[M]) mark(live bool, ids []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		if r, ok := t.records[id]; ok {
			r.live, r.since = live, now
			t.reschedule(r, now)
		}
	}
	t.signal()
}

// Changed says that records have changed and are to be read.
func (t *Table[M]) Changed(ids ...string) { t.change(false, ids) }

// Announce says that this process has changed records: those are to be read of whose changes
// nobody tells.
func (t *Table[M]) Announce(ids ...string) { t.change(true, ids) }

func (t *Table[M]) change(untold bool, ids []string) {
	if t.count.Load() == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	waited := false
	for _, id := range ids {
		if r, ok := t.records[id]; ok && !(untold && t.comesSoon(r, now)) {
			t.reschedule(r, now)
			waited = true
		}
	}
	if waited {
		t.signal()
	}
}

// comesSoon reports whether a change of a record is told, or read within a moment in any
// case: who is about to be told of changes is not to read them before. The caller holds mu.
func (t *Table[M]) comesSoon(r *record[M], now time.Time) bool {
	return r.live || t.c.Push != nil && t.pause(r, now) <= pollFirst
}

// Deliver is for a Push that brings the record itself.
func (t *Table[M]) Deliver(id string, value M) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r, ok := t.records[id]; ok {
		r.told = t.reads
	}
	t.found(id, value)
}

// Waits reports whether somebody waits for the record.
func (t *Table[M]) Waits(id string) bool {
	if t.count.Load() == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.records[id]
	return ok
}

// fail notes a failed read, and ends the waits without a deadline when reads have
// failed for long. The caller holds mu.
func (t *Table[M]) fail(began time.Time, err error) {
	t.failure = err
	if t.failing.IsZero() {
		t.failing = began
	}
	if time.Since(t.failing) < t.c.Patience {
		return
	}
	silent := &SilentError{Since: t.failing, Last: err}
	for _, r := range t.records {
		t.endIf(r, silent, func(w *waiter[M]) bool { return !w.timed })
	}
}

// repeat lets records be read again soon that could not be: they may have changed, and
// nobody tells of that twice. The caller holds mu.
func (t *Table[M]) repeat(ids []string) {
	now := time.Now()
	due := now.Add(min(max(now.Sub(t.failing)/repeatGrowth, repeatFirst), pollLast))
	for _, id := range ids {
		if r, ok := t.records[id]; ok && due.Before(r.due) {
			t.reschedule(r, due)
		}
	}
}

// end ends the waits for id with an error. The caller holds mu.
func (t *Table[M]) end(id string, err error) {
	if r, ok := t.records[id]; ok {
		t.endIf(r, err, func(*waiter[M]) bool { return true })
	}
}

// endIf ends some of the waits for a record with an error. The caller holds mu.
func (t *Table[M]) endIf(r *record[M], err error, such func(*waiter[M]) bool) {
	staying := r.waiters[:0]
	for _, w := range r.waiters {
		if such(w) {
			w.err = err
			close(w.ended)
		} else {
			staying = append(staying, w)
		}
	}
	clear(r.waiters[len(staying):])
	r.waiters = staying
	t.drop(r)
}

// Close ends all waits with Closed and waits for the goroutine.
func (t *Table[M]) Close() {
	t.mu.Lock()
	t.closed = true
	for id := range t.records {
		t.end(id, t.c.Closed)
	}
	t.mu.Unlock()
	t.cancel()
	t.done.Wait()
}

// queue is a heap of records by when they are due.
type queue[M any] []*record[M]

func (q queue[M]) Len() int           { return len(q) }
func (q queue[M]) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue[M]) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *queue[M]) Push(x any) {
	r := x.(*record[M])
	r.place = len(*q)
	*q = append(*q, r)
}

// Pop implements heap.Interface.
func (q *queue[M]) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return r
}
