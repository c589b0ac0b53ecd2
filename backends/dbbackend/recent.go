package dbbackend

import (
	"sync"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// recent remembers for a while which tasks and groups this process changed, so
// that they are not read from a replica that lags behind. What it remembers is
// bounded by what is stored, or told of by others, in twice that while.
type recent struct {
	window time.Duration

	mu       sync.Mutex
	turned   time.Time       // guarded by mu
	now, old map[string]bool // ids changed since turned, and in the window before; guarded by mu
}

func newRecent(window time.Duration) *recent {
	return &recent{window: window, now: map[string]bool{}, turned: time.Now()}
}

// add remembers ids. It does nothing on nil.
func (r *recent) add(ids ...string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	for _, id := range ids {
		r.now[id] = true
	}
}

// addWrites remembers what was stored. It does nothing on nil.
func (r *recent) addWrites(writes []*driver.Write) {
	if r == nil {
		return
	}
	for _, w := range writes {
		r.add(w.ID)
	}
}

// has reports whether any of the ids was changed a short while ago; on nil it
// reports false.
func (r *recent) has(ids ...string) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	for _, id := range ids {
		if r.now[id] || r.old[id] {
			return true
		}
	}
	return false
}

// turn forgets what is older than two windows. The caller holds mu.
func (r *recent) turn() {
	age := time.Since(r.turned)
	switch {
	case age < r.window:
		return
	case age < 2*r.window:
		r.old = r.now
	default:
		r.old = nil
	}
	r.now, r.turned = map[string]bool{}, time.Now()
}
