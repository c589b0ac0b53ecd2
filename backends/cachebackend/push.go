package cachebackend

import (
	"sync"

	"github.com/celeryresults/celeryresults/cache"
)

// push tells the poller of changes in a cache that tells of them. It listens only
// while somebody waits.
type push struct {
	backend *CacheBackend
	store   cache.Notifier
	stop    func() // listening, if it does; of the poller's goroutine

	mu  sync.RWMutex
	ids map[string]string // tasks that are waited for, by the store's keys; guarded by mu
}

// Watch implements celeryresults.Push.
func (p *push) Watch(taskIDs []string) {
	if p.stop == nil {
		p.stop = p.store.Notify(p.changed)
	}
	p.mu.Lock()
	for _, id := range taskIDs {
		if whole, ok := p.key(id); ok {
			p.ids[whole] = id
		}
	}
	p.mu.Unlock()
	p.backend.poller.Live(taskIDs...)
}

// Unwatch implements celeryresults.Push.
func (p *push) Unwatch(taskIDs []string) {
	p.mu.Lock()
	for _, id := range taskIDs {
		if whole, ok := p.key(id); ok {
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

// key returns the store's key of a task. Ids without one are not waited for.
func (p *push) key(taskID string) (whole string, ok bool) {
	key, err := p.backend.keys.Task(taskID)
	if err == nil {
		whole, err = p.backend.cache.WholeKey(key)
	}
	return whole, err == nil
}

// changed is called by the store.
func (p *push) changed(key string) {
	p.mu.RLock()
	id, waited := p.ids[key]
	p.mu.RUnlock()
	if waited {
		p.backend.poller.Changed(id)
	}
}
