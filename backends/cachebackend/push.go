package cachebackend

import (
	"sync"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
)

// push tells of changes in a cache that does. It listens only while somebody waits.
type push struct {
	from cache.Notifier // nil: nobody tells, and the Backend asks
	to   driver.Sink
	stop func() // listening, if it does; of the goroutine that calls Watch and Unwatch

	mu  sync.RWMutex
	ids map[string]string // tasks that are waited for, by the store's keys; guarded by mu
}

// Listen implements driver.Pusher.
func (b *CacheBackend) Listen(to driver.Sink) { b.push.to = to }

// Watch implements driver.Pusher.
func (b *CacheBackend) Watch(taskIDs []string) {
	p := &b.push
	if p.from == nil {
		return
	}
	if p.stop == nil {
		p.stop = p.from.Notify(p.changed)
	}
	p.mu.Lock()
	for _, id := range taskIDs {
		if whole, ok := b.whole(id); ok {
			p.ids[whole] = id
		}
	}
	p.mu.Unlock()
	p.to.Live(taskIDs...)
}

// Unwatch implements driver.Pusher.
func (b *CacheBackend) Unwatch(taskIDs []string) {
	p := &b.push
	p.mu.Lock()
	for _, id := range taskIDs {
		if whole, ok := b.whole(id); ok {
			delete(p.ids, whole)
		}
	}
	idle := len(p.ids) == 0
	p.mu.Unlock()
	if idle && p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// whole returns the store's key of a task. Ids without one are not waited for.
func (b *CacheBackend) whole(taskID string) (whole string, ok bool) {
	key, err := b.keys.Task(taskID)
	if err == nil {
		whole, err = b.cache.WholeKey(key)
	}
	return whole, err == nil
}

// changed is called by the store.
func (p *push) changed(key string) {
	p.mu.RLock()
	id, waited := p.ids[key]
	p.mu.RUnlock()
	if waited {
		p.to.Changed(id)
	}
}
