package celeryresults

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// The pace of a Poller. A task is looked after again when its age has grown by
// pollGrowth, at least pollFirst and at most pollLast later; reads of tasks that
// are nearly due are sent together.
const (
	pollFirst    = time.Millisecond
	pollLast     = time.Second
	pollGrowth   = 50                    // the next read comes after 1/50 of the age
	pollEach     = 10 * time.Microsecond // for each task that is waited for, so that many are not read all the time
	pollBatch    = 2000
	pollPatience = 5 * time.Second // how long reads may fail before waiters are told
)

// A task whose changes are pushed is read every pollSafety nevertheless, or, when
// very many are waited for, so that there are at most 1/pollSafetyEach reads a
// second.
const (
	pollSafety     = time.Second
	pollSafetyEach = 100 * time.Microsecond
)

// Push is what tells a Poller that records changed, so that it need not ask. Its
// methods are called from the Poller's goroutine, and must not block.
type Push interface {
	// Watch asks to be told of changes of the tasks: of each, Poller.Live is
	// called once it is so. Until then, and if that never happens, the Poller
	// asks.
	Watch(taskIDs []string)

	// Unwatch takes that back. It is called for every task that was watched.
	Unwatch(taskIDs []string)
}

// Poller waits for results: by asking for them, often at first and ever more
// rarely later, or by being told of changes (SetPush); for all waiters of a
// backend together. It has a goroutine only while somebody waits. Make one with
// NewPoller. An id that the read function refuses fails the reads of all: check
// ids first. It is safe for concurrent use.
type Poller struct {
	read func(ctx context.Context, taskIDs []string) ([]*TaskMeta, error)
	push Push // nil: nobody tells

	mu      sync.Mutex
	tasks   map[string]*poll // that are waited for; guarded by mu, as all that follows
	queue   pollQueue        // the same, by when they are due
	coming  []string         // tasks to Watch
	going   []string         // tasks to Unwatch
	watched map[string]bool  // tasks that push was told of
	running bool
	closed  bool
	failing time.Time // since when reads fail; zero while they work
	reads   uint64    // how many have begun

	wake   chan struct{} // something has changed
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// poll is one task that is waited for.
type poll struct {
	id      string
	since   time.Time
	due     time.Time
	live    bool   // its changes are pushed
	told    uint64 // Poller.reads when a record was last delivered
	place   int    // in the queue
	waiters []*waiter
}

// waiter is one who waits for a task.
type waiter struct {
	until func(*TaskMeta) bool
	ended chan struct{} // closed once meta or err is set
	meta  *TaskMeta
	err   error
}

// NewPoller returns a Poller that reads with a Backend's GetMany.
func NewPoller(read func(ctx context.Context, taskIDs []string) ([]*TaskMeta, error)) *Poller {
	ctx, cancel := context.WithCancel(context.Background())
	return &Poller{
		read: read, tasks: map[string]*poll{}, watched: map[string]bool{}, wake: make(chan struct{}, 1),
		ctx: ctx, cancel: cancel,
	}
}

// SetPush lets push tell of changes. Call it before the first wait.
func (p *Poller) SetPush(push Push) { p.push = push }

// WaitFor returns the task's meta once its state is ready. It returns ctx's
// error when that ends first, ErrClosed when the Poller is closed, and the
// error of a store that has failed to answer for five seconds; a shorter
// failure only delays.
func (p *Poller) WaitFor(ctx context.Context, taskID string) (*TaskMeta, error) {
	return p.Await(ctx, taskID, func(meta *TaskMeta) bool { return meta.State.Ready() })
}

// Await returns the task's meta once it is what until describes, which is called
// with every meta that is read and must not block. Errors are as in WaitFor.
func (p *Poller) Await(ctx context.Context, taskID string, until func(*TaskMeta) bool) (*TaskMeta, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if taskID == "" {
		return nil, ErrNoTaskID
	}
	ids := []string{taskID}
	waiters, err := p.joinMany(ids, until)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		p.leaveMany(ids, waiters)
		return nil, ctx.Err()
	case <-waiters[0].ended:
		return waiters[0].meta, waiters[0].err
	}
}

// signal wakes run. It never blocks.
func (p *Poller) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// reschedule makes a task due at another time. The caller holds mu.
func (p *Poller) reschedule(t *poll, due time.Time) {
	t.due = due
	heap.Fix(&p.queue, t.place)
}

// drop forgets a task that nobody waits for. The caller holds mu.
func (p *Poller) drop(t *poll) {
	if len(t.waiters) > 0 || p.tasks[t.id] != t {
		return
	}
	delete(p.tasks, t.id)
	heap.Remove(&p.queue, t.place)
	p.going = append(p.going, t.id)
	p.signal() // the last one lets run end
}

// run reads and tells until nobody waits.
func (p *Poller) run() {
	defer p.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.tellPush()
		ids, next := p.dueNow()
		if next < 0 {
			return
		}
		if len(ids) > 0 {
			p.ask(ids)
			continue
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-p.wake:
		case <-p.ctx.Done():
		}
	}
}

// tellPush passes on which tasks are waited for, and no longer.
func (p *Poller) tellPush() {
	p.mu.Lock()
	var coming, going []string
	if p.push != nil {
		going = p.untold()
		coming = p.told()
	}
	p.coming, p.going = nil, nil
	p.mu.Unlock()
	if len(going) > 0 {
		p.push.Unwatch(going)
	}
	if len(coming) > 0 {
		p.push.Watch(coming)
	}
}

// untold returns the tasks to Unwatch: a task that somebody waits for again by now
// is to be watched anew. The caller holds mu.
func (p *Poller) untold() []string {
	var ids []string
	for _, id := range p.going {
		if p.watched[id] {
			delete(p.watched, id)
			ids = append(ids, id)
		}
	}
	return ids
}

// told returns the tasks to Watch: those that somebody still waits for. The caller
// holds mu.
func (p *Poller) told() []string {
	var ids []string
	for _, id := range p.coming {
		if p.tasks[id] != nil && !p.watched[id] {
			p.watched[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

// dueNow returns the ids to read now or else how long to sleep; negative
// when nobody waits any more and run must end.
func (p *Poller) dueNow() (ids []string, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.going) > 0 {
		return nil, 0 // they are to be told first
	}
	if len(p.tasks) == 0 || p.closed {
		p.running = false
		return nil, -1
	}
	now := time.Now()
	if wait := p.queue[0].due.Sub(now); wait > 0 {
		return nil, min(wait, pollLast)
	}
	for len(ids) < pollBatch {
		t := p.queue[0]
		pause := p.pause(t, now)
		if t.due.Sub(now) > pause/2 {
			break
		}
		p.reschedule(t, now.Add(pause))
		ids = append(ids, t.id)
		if p.queue[0].due.After(now.Add(pollLast / 2)) {
			break
		}
	}
	return ids, 0
}

// pause returns how long after a read the next one of a task comes.
func (p *Poller) pause(t *poll, now time.Time) time.Duration {
	if t.live {
		return max(pollSafety, time.Duration(len(p.tasks))*pollSafetyEach)
	}
	return min(max(now.Sub(t.since)/pollGrowth, pollFirst, time.Duration(len(p.tasks))*pollEach), pollLast)
}

// ask reads the ids and ends the waits that what it finds ends.
func (p *Poller) ask(ids []string) {
	p.mu.Lock()
	p.reads++ // reads follow one another
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(p.ctx, pollPatience)
	metas, err := p.read(ctx, ids)
	cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && metas == nil {
		p.fail(err)
		return
	}
	p.failing = time.Time{}
	for _, meta := range metas {
		if meta != nil && !p.overtaken(meta) {
			p.found(meta)
		}
	}
	for _, u := range unreadable(err) {
		p.end(u.ID, u)
	}
}

// overtaken reports whether a record was delivered while the read under way was
// sent, which may have found an older one. The caller holds mu.
func (p *Poller) overtaken(meta *TaskMeta) bool {
	t, ok := p.tasks[meta.TaskID]
	return ok && t.told == p.reads && !meta.State.Ready()
}

// found ends the waits that a meta ends. The caller holds mu.
func (p *Poller) found(meta *TaskMeta) {
	t, ok := p.tasks[meta.TaskID]
	if !ok {
		return
	}
	staying := t.waiters[:0]
	for _, w := range t.waiters {
		if w.until(meta) {
			w.meta = meta
			close(w.ended)
		} else {
			staying = append(staying, w)
		}
	}
	clear(t.waiters[len(staying):])
	t.waiters = staying
	p.drop(t)
}

// Live is for a Push: from now on it tells of changes of the tasks. Each is read
// once more, for what changed before.
func (p *Poller) Live(taskIDs ...string) {
	p.mark(true, taskIDs)
}

// Lost is for a Push: it can't tell of changes of the tasks, or with none named of
// any task, until it says Live again.
func (p *Poller) Lost(taskIDs ...string) {
	p.mu.Lock()
	all := len(taskIDs) == 0
	for id := range p.tasks {
		if all {
			taskIDs = append(taskIDs, id)
		}
	}
	p.mu.Unlock()
	p.mark(false, taskIDs)
}

func (p *Poller) mark(live bool, taskIDs []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, id := range taskIDs {
		if t, ok := p.tasks[id]; ok {
			t.live, t.since = live, now
			p.reschedule(t, now)
		}
	}
	p.signal()
}

// Changed is for a Push: the task's record has changed and is to be read.
func (p *Poller) Changed(taskIDs ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	waited := false
	for _, id := range taskIDs {
		if t, ok := p.tasks[id]; ok {
			p.reschedule(t, now)
			waited = true
		}
	}
	if waited {
		p.signal()
	}
}

// Deliver is for a Push that brings the record itself.
func (p *Poller) Deliver(meta *TaskMeta) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.tasks[meta.TaskID]; ok {
		t.told = p.reads
	}
	p.found(meta)
}

// Waits reports whether somebody waits for the task.
func (p *Poller) Waits(taskID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.tasks[taskID]
	return ok
}

// unreadable returns the *UnreadableErrors that GetMany joined.
func unreadable(err error) []*UnreadableError {
	switch e := err.(type) { //nolint:errorlint // it walks the tree that errors.Join made
	case *UnreadableError:
		return []*UnreadableError{e}
	case interface{ Unwrap() []error }:
		var list []*UnreadableError
		for _, err := range e.Unwrap() {
			list = append(list, unreadable(err)...)
		}
		return list
	}
	return nil
}

// fail notes a failed read, and tells the waiters when it has lasted. The
// caller holds mu.
func (p *Poller) fail(err error) {
	switch {
	case p.failing.IsZero():
		p.failing = time.Now()
	case time.Since(p.failing) >= pollPatience:
		for id := range p.tasks {
			p.end(id, err)
		}
	}
}

// end ends the waits for id with an error. The caller holds mu.
func (p *Poller) end(id string, err error) {
	t, ok := p.tasks[id]
	if !ok {
		return
	}
	for _, w := range t.waiters {
		w.err = err
		close(w.ended)
	}
	t.waiters = nil
	p.drop(t)
}

// Close ends all waits with ErrClosed and waits for the goroutine.
func (p *Poller) Close() error {
	p.mu.Lock()
	p.closed = true
	for id := range p.tasks {
		p.end(id, ErrClosed)
	}
	p.mu.Unlock()
	p.cancel()
	p.done.Wait()
	return nil
}

// pollQueue is a heap of tasks by when they are due.
type pollQueue []*poll

func (q pollQueue) Len() int           { return len(q) }
func (q pollQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q pollQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *pollQueue) Push(x any) {
	t := x.(*poll)
	t.place = len(*q)
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *pollQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return t
}
