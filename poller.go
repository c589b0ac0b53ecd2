package celeryresults

import (
	"context"
	"sync"
	"time"
)

// The pace of a Poller. A waiter is looked after again when its age has grown
// by pollGrowth, at least pollFirst and at most pollLast later; reads of
// waiters that are nearly due are sent together.
const (
	pollFirst    = time.Millisecond
	pollLast     = time.Second
	pollGrowth   = 50 // the next read comes after 1/50 of the age
	pollBatch    = 500
	pollPatience = 5 * time.Second // how long reads may fail before waiters are told
)

// Poller waits for results by asking for them: often at first, ever more
// rarely later, and for all waiters of a backend together. It has a goroutine
// only while somebody waits. Make one with NewPoller. An id that the read
// function refuses fails the reads of all: check ids first.
type Poller struct {
	read func(ctx context.Context, taskIDs []string) ([]*TaskMeta, error)

	mu      sync.Mutex
	waiters map[string]*poll // by task id; guarded by mu
	running bool             // guarded by mu
	closed  bool             // guarded by mu
	failing time.Time        // since when reads fail; zero while they work; guarded by mu

	wake   chan struct{} // a new waiter came
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// poll is one task that is waited for.
type poll struct {
	id    string
	since time.Time
	due   time.Time
	count int           // waiters
	ended chan struct{} // closed once meta or err is set
	meta  *TaskMeta
	err   error
}

// NewPoller returns a Poller that reads with a Backend's GetMany.
func NewPoller(read func(ctx context.Context, taskIDs []string) ([]*TaskMeta, error)) *Poller {
	ctx, cancel := context.WithCancel(context.Background())
	return &Poller{
		read: read, waiters: map[string]*poll{}, wake: make(chan struct{}, 1),
		ctx: ctx, cancel: cancel,
	}
}

// WaitFor returns the task's meta once its state is ready. It returns ctx's
// error when that ends first, ErrClosed when the Poller is closed, and the
// error of a store that has failed to answer for five seconds; a shorter
// failure only delays.
func (p *Poller) WaitFor(ctx context.Context, taskID string) (*TaskMeta, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if taskID == "" {
		return nil, ErrNoTaskID
	}
	w, err := p.join(taskID)
	if err != nil {
		return nil, err
	}
	defer p.leave(w)
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-w.ended:
		return w.meta, w.err
	}
}

func (p *Poller) join(taskID string) (*poll, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	w, ok := p.waiters[taskID]
	if !ok {
		w = &poll{id: taskID, ended: make(chan struct{})}
		p.waiters[taskID] = w
	}
	w.count++
	w.since = time.Now() // a newcomer brings the quick pace back
	w.due = w.since
	if !p.running {
		p.running = true
		p.failing = time.Time{}
		p.done.Add(1)
		go p.run()
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return w, nil
}

func (p *Poller) leave(w *poll) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.count--
	if w.count == 0 && p.waiters[w.id] == w {
		delete(p.waiters, w.id)
		select {
		case p.wake <- struct{}{}: // the last one lets run end
		default:
		}
	}
}

// run polls until nobody waits.
func (p *Poller) run() {
	defer p.done.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
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

// dueNow returns the ids to read now or else how long to sleep; negative
// when nobody waits any more and run must end.
func (p *Poller) dueNow() (ids []string, next time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiters) == 0 || p.closed {
		p.running = false
		return nil, -1
	}
	now := time.Now()
	soonest := pollLast
	for _, w := range p.waiters {
		soonest = min(soonest, w.due.Sub(now))
	}
	if soonest > 0 {
		return nil, soonest
	}
	for id, w := range p.waiters {
		pause := pause(now.Sub(w.since))
		if w.due.Sub(now) > pause/2 || len(ids) == pollBatch {
			continue
		}
		w.due = now.Add(pause)
		ids = append(ids, id)
	}
	return ids, 0
}

// pause returns how long after a read the next one of a waiter comes.
func pause(age time.Duration) time.Duration {
	return min(max(age/pollGrowth, pollFirst), pollLast)
}

// ask reads the ids and ends the waits of those that are ready.
func (p *Poller) ask(ids []string) {
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
		if meta != nil && meta.State.Ready() {
			p.end(meta.TaskID, meta, nil)
		}
	}
	for _, u := range unreadable(err) {
		p.end(u.ID, nil, u)
	}
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
		for id := range p.waiters {
			p.end(id, nil, err)
		}
	}
}

// end ends the waits for id. The caller holds mu.
func (p *Poller) end(id string, meta *TaskMeta, err error) {
	if w, ok := p.waiters[id]; ok {
		w.meta, w.err = meta, err
		close(w.ended)
		delete(p.waiters, id)
	}
}

// Close ends all waits with ErrClosed and waits for the goroutine.
func (p *Poller) Close() error {
	p.mu.Lock()
	p.closed = true
	for id := range p.waiters {
		p.end(id, nil, ErrClosed)
	}
	p.mu.Unlock()
	p.cancel()
	p.done.Wait()
	return nil
}
