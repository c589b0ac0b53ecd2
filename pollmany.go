package celeryresults

import (
	"container/heap"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ManyAwaiter is a Backend that can wait for many records at once. A ResultSet
// waits so for its members, and a backend with a Poller has it in
// Poller.AwaitMany. Of other backends, a ResultSet asks with GetMany.
type ManyAwaiter interface {
	// AwaitMany returns nil once each of the tasks was what until describes. That
	// is called with each meta that is read or pushed, until it has returned true
	// for the task; one at a time, and not after AwaitMany has returned. It must
	// not block. The ids must be different.
	//
	// Records that can't be read are *UnreadableErrors, joined, once the waits for
	// all others have ended. Any other error, such as ctx's, ends all waits.
	AwaitMany(ctx context.Context, taskIDs []string, until func(*TaskMeta) bool) error
}

// AwaitMany does for a Poller what ManyAwaiter says. It needs no goroutine beside
// the Poller's and the caller's. Errors are as in WaitFor.
func (p *Poller) AwaitMany(ctx context.Context, taskIDs []string, until func(*TaskMeta) bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if slices.Contains(taskIDs, "") {
		return ErrNoTaskID
	}
	waiters, err := p.joinMany(taskIDs, until)
	if err != nil {
		return err
	}
	var bad []error
	for i := range waiters {
		select {
		case <-ctx.Done():
			p.leaveMany(taskIDs[i:], waiters[i:])
			return ctx.Err()
		case <-waiters[i].ended:
		}
		switch err := waiters[i].err; {
		case err == nil:
		case len(unreadable(err)) > 0:
			bad = append(bad, err)
		default:
			p.leaveMany(taskIDs[i:], waiters[i:])
			return err
		}
	}
	return errors.Join(bad...)
}

// joinMany adds a waiter for each task.
func (p *Poller) joinMany(taskIDs []string, until func(*TaskMeta) bool) ([]waiter, error) {
	waiters := make([]waiter, len(taskIDs))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	now := time.Now()
	for i, id := range taskIDs {
		waiters[i] = waiter{until: until, ended: make(chan struct{})}
		p.add(id, &waiters[i], now)
	}
	if !p.running && len(taskIDs) > 0 {
		p.running = true
		p.failing = time.Time{}
		p.done.Add(1)
		go p.run()
	}
	p.signal()
	return waiters, nil
}

// add adds a waiter for a task, which is due at once. The caller holds mu.
func (p *Poller) add(taskID string, w *waiter, now time.Time) {
	t, ok := p.tasks[taskID]
	if !ok {
		t = &poll{id: taskID, due: now}
		p.tasks[taskID] = t
		heap.Push(&p.queue, t)
		p.coming = append(p.coming, taskID)
	}
	t.waiters = append(t.waiters, w)
	t.since = now // a newcomer brings the quick pace back
	p.reschedule(t, now)
}

// leaveMany takes back what joinMany did.
func (p *Poller) leaveMany(taskIDs []string, waiters []waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, id := range taskIDs {
		t, ok := p.tasks[id]
		if !ok {
			continue
		}
		t.waiters = slices.DeleteFunc(t.waiters, func(w *waiter) bool { return w == &waiters[i] })
		p.drop(t)
	}
}

// someAtOnce is how many tasks a ResultSet waits for one by one, where a backend
// can't wait for many.
const someAtOnce = 16

// awaitSome does what ManyAwaiter says for a backend that waits for one task at a
// time: it waits so for a few of them, and asks for all. The last ones are then
// told as soon as the backend can.
func awaitSome(ctx context.Context, b Backend, w Waiter, taskIDs []string, until func(*TaskMeta) bool) error {
	p := NewPoller(b.GetMany)
	s := &someWaits{waiter: w, poller: p, wanted: map[string]context.CancelFunc{}}
	s.ctx, s.cancel = context.WithCancel(ctx)
	p.SetPush(s)
	defer s.waits.Wait()
	defer s.cancel()
	defer p.Close() //nolint:errcheck // it has nothing to fail
	return p.AwaitMany(ctx, taskIDs, until)
}

// someWaits is a Push that waits for at most someAtOnce tasks, each in a goroutine
// of its own. The Poller asks for all of them nevertheless.
type someWaits struct {
	waiter Waiter
	poller *Poller
	ctx    context.Context
	cancel context.CancelFunc
	waits  sync.WaitGroup

	mu     sync.Mutex
	queue  []string                      // may hold tasks that are no longer wanted; guarded by mu
	wanted map[string]context.CancelFunc // nil while in the queue; guarded by mu
	active int                           // guarded by mu
}

// Watch implements Push.
func (s *someWaits) Watch(taskIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range taskIDs {
		s.wanted[id] = nil
	}
	s.queue = append(s.queue, taskIDs...)
	s.fill()
}

// Unwatch implements Push.
func (s *someWaits) Unwatch(taskIDs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range taskIDs {
		if cancel := s.wanted[id]; cancel != nil {
			cancel()
		}
		delete(s.wanted, id)
	}
}

// fill begins waits while there are few. The caller holds mu.
func (s *someWaits) fill() {
	for s.active < someAtOnce && len(s.queue) > 0 && s.ctx.Err() == nil {
		id := s.queue[0]
		s.queue = s.queue[1:]
		if cancel, ok := s.wanted[id]; !ok || cancel != nil {
			continue
		}
		ctx, cancel := context.WithCancel(s.ctx)
		s.wanted[id] = cancel
		s.active++
		s.waits.Go(func() { s.wait(ctx, cancel, id) })
	}
}

// wait waits for one task. An error is left to the Poller, which asks.
func (s *someWaits) wait(ctx context.Context, cancel context.CancelFunc, id string) {
	defer cancel()
	if meta, err := s.waiter.WaitFor(ctx, id); err == nil {
		s.poller.Deliver(meta)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	s.fill()
}
