// Package merge sends the requests of concurrent callers together: those that
// came while others were under way go as one batch as soon as one of these
// ends. There is no timer and no added delay, and a caller that is alone asks
// directly.
package merge

import (
	"context"
	"sync"
)

// inFlight is how many requests or batches are under way before callers queue.
const inFlight = 2

// Group merges requests of one kind. Make one with New. It is safe for
// concurrent use and has a goroutine only while a batch is under way.
type Group[K comparable, V any] struct {
	one  func(ctx context.Context, key K) (V, error)
	many func(ctx context.Context, keys []K) (map[K]V, error)
	miss error

	mu     sync.Mutex
	active int          // requests and batches under way; guarded by mu
	queue  *batch[K, V] // the next one; nil while nobody waits; guarded by mu
}

// New returns a Group that asks for one key by one, and for several by many. A
// key that many does not answer gives miss.
func New[K comparable, V any](one func(context.Context, K) (V, error), many func(context.Context, []K) (map[K]V, error), miss error) *Group[K, V] {
	return &Group[K, V]{one: one, many: many, miss: miss}
}

// batch is the requests of several callers.
type batch[K comparable, V any] struct {
	keys   []K // each once; guarded by the Group's mu until the batch is sent
	known  map[K]bool
	done   chan struct{} // closed once found and err are set
	found  map[K]V
	err    error
	ctx    context.Context // ends when the last caller has gone
	cancel context.CancelFunc
	wanted int // callers that still wait; guarded by the Group's mu
}

// Get returns the value of key as one and many do. When ctx ends first, it
// returns ctx's error at once. A batch that fails is nobody's answer: its
// callers then ask one by one.
func (g *Group[K, V]) Get(ctx context.Context, key K) (V, error) {
	b := g.join(key)
	if b == nil {
		defer g.next()
		return g.one(ctx, key)
	}
	select {
	case <-ctx.Done():
		g.leave(b)
		var zero V
		return zero, ctx.Err()
	case <-b.done:
	}
	if b.err != nil {
		return g.one(ctx, key)
	}
	value, ok := b.found[key]
	if !ok {
		return value, g.miss
	}
	return value, nil
}

// join adds key to the next batch, or returns nil when the caller may ask
// directly.
func (g *Group[K, V]) join(key K) *batch[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active < inFlight {
		g.active++
		return nil
	}
	if g.queue == nil {
		g.queue = &batch[K, V]{known: map[K]bool{}, done: make(chan struct{})}
		g.queue.ctx, g.queue.cancel = context.WithCancel(context.Background())
	}
	b := g.queue
	b.wanted++
	if !b.known[key] {
		b.known[key] = true
		b.keys = append(b.keys, key)
	}
	return b
}

// leave ends the batch when nobody waits for it any more.
func (g *Group[K, V]) leave(b *batch[K, V]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b.wanted--; b.wanted > 0 {
		return
	}
	b.cancel()
	if g.queue == b {
		g.queue = nil
	}
}

// next hands the turn of a request that has ended to the queue.
func (g *Group[K, V]) next() {
	if b := g.take(); b != nil {
		go g.send(b)
	}
}

// take returns the queue, or nil after it gave the turn back.
func (g *Group[K, V]) take() *batch[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.queue
	g.queue = nil
	if b == nil {
		g.active--
	}
	return b
}

// send asks for batches until the queue is empty.
func (g *Group[K, V]) send(b *batch[K, V]) {
	for ; b != nil; b = g.take() {
		b.found, b.err = g.many(b.ctx, b.keys)
		b.cancel()
		close(b.done)
	}
}
