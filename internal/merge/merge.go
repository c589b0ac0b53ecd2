// Package merge sends the requests of concurrent callers together: those that
// came while others were under way go as one batch as soon as one of these
// ends. There is no timer and no added delay, and a caller that is alone asks
// directly.
package merge

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// usualInFlight is how many requests or batches are under way before callers
// queue.
const usualInFlight = 2

// longestWait is how long a batch waits for its turn: requests that hang, for a lock
// or a connection, must not stop all that come after them.
const longestWait = 250 * time.Millisecond

// Group merges requests of type R, whose answers are of type V. Make one with
// New. It is safe for concurrent use and has a goroutine only while a batch is
// under way.
type Group[R, V any] struct {
	one    func(ctx context.Context, request R) (V, error)
	many   func(ctx context.Context, requests []R) ([]V, error)
	repeat bool
	most   int // requests and batches under way

	mu     sync.Mutex
	active int          // requests and batches under way; guarded by mu
	queue  *batch[R, V] // the next one; nil while nobody waits; guarded by mu
}

// New returns a Group that sends one request by one, and several by many, which
// answers in their order. With repeat, the callers of a batch that fails send
// their requests again, one by one: its error is nobody's answer. Without, it is
// the answer of all of them, as it must be for requests that may have happened.
func New[R, V any](one func(context.Context, R) (V, error), many func(context.Context, []R) ([]V, error), repeat bool) *Group[R, V] {
	return &Group[R, V]{one: one, many: many, repeat: repeat, most: usualInFlight}
}

// InFlight sets how many requests and batches are under way before callers
// queue, instead of two. Call it before the first Do.
func (g *Group[R, V]) InFlight(most int) { g.most = most }

// LeftError is the error of a caller whose context ended before its request was answered.
type LeftError struct {
	Err   error     // of the context
	Since time.Time // when the request was made
}

// Error returns the text of Err.
func (e *LeftError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *LeftError) Unwrap() error { return e.Err }

// batch is the requests of several callers.
type batch[R, V any] struct {
	requests []R           // guarded by the Group's mu until the batch is sent
	done     chan struct{} // closed once answers and err are set
	answers  []V
	err      error
	ctx      context.Context // ends when the last caller has gone; has the values of the first one's
	cancel   context.CancelFunc
	wanted   int // callers that still wait; guarded by the Group's mu
	late     *time.Timer
}

// Do returns the answer to a request. When ctx ends first, it returns ctx's
// error at once, in a *LeftError where others were asked before; the request may still be sent.
func (g *Group[R, V]) Do(ctx context.Context, request R) (V, error) {
	b, i := g.join(ctx, request)
	if b == nil {
		defer g.next()
		return g.one(ctx, request)
	}
	var none V
	began := time.Now()
	select {
	case <-ctx.Done():
		g.leave(b)
		return none, &LeftError{ctx.Err(), began}
	case <-b.done:
	}
	switch {
	case b.err == nil:
		return b.answers[i], nil
	case g.repeat:
		return g.one(ctx, request)
	}
	return none, b.err
}

// join adds the request to the next batch and returns its place there, or nil
// when the caller may send it directly.
func (g *Group[R, V]) join(ctx context.Context, request R) (*batch[R, V], int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active < g.most {
		g.active++
		return nil, 0
	}
	if g.queue == nil {
		g.queue = &batch[R, V]{done: make(chan struct{})}
		g.queue.ctx, g.queue.cancel = context.WithCancel(context.WithoutCancel(ctx))
		late := g.queue
		late.late = time.AfterFunc(longestWait, func() { g.sendLate(late) })
	}
	b := g.queue
	b.wanted++
	b.requests = append(b.requests, request)
	return b, len(b.requests) - 1
}

// leave ends the batch when nobody waits for it any more.
func (g *Group[R, V]) leave(b *batch[R, V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.wanted--; b.wanted > 0 {
		return
	}
	b.cancel()
	if g.queue == b {
		g.queue = nil
		b.late.Stop()
	}
}

// next hands the turn of a request that has ended to the queue.
func (g *Group[R, V]) next() {
	if b := g.take(); b != nil {
		go g.send(b)
	}
}

// take returns the queue, or nil after it gave the turn back.
func (g *Group[R, V]) take() *batch[R, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.queue
	g.queue = nil
	if b == nil {
		g.active--
	} else {
		b.late.Stop()
	}
	return b
}

// sendLate sends a batch that has waited too long for a turn.
func (g *Group[R, V]) sendLate(b *batch[R, V]) {
	g.mu.Lock()
	waits := g.queue == b
	if waits {
		g.queue = nil
		g.active++
	}
	g.mu.Unlock()
	if waits {
		g.send(b)
	}
}

// send sends batches until the queue is empty.
func (g *Group[R, V]) send(b *batch[R, V]) {
	for ; b != nil; b = g.take() {
		b.answers, b.err = g.many(b.ctx, b.requests)
		b.cancel()
		close(b.done)
		runtime.Gosched() // those that were answered may ask again, and go with the next batch
	}
}
