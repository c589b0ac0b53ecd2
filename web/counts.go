package web

import (
	"context"
	"sync"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// Counts that take long are kept for a while: for keptTimes as long as they took, up to longestKept.
// Those that are taken in no time are taken anew each time.
const (
	quick       = 25 * time.Millisecond
	keptTimes   = 20
	longestKept = 5 * time.Minute
	mostKept    = 100 // spans of backends
)

// counts keeps statistics. Those that are too old are still given out once more, while one
// goroutine takes them anew: a page does not wait for what it can show already.
type counts struct {
	closing context.Context // ends with the Handler

	mu   sync.Mutex
	kept map[countsKey]*count // guarded by mu
}

type countsKey struct{ backend, span string }

// count is what is kept of one span of a backend.
type count struct {
	stats *driver.Stats
	fresh time.Time // until then
	busy  bool      // somebody takes them anew
}

func newCounts(closing context.Context) *counts {
	return &counts{closing: closing, kept: map[countsKey]*count{}}
}

// get returns statistics that take gives, or has given a while ago.
func (c *counts) get(ctx context.Context, key countsKey, take func(context.Context) (*driver.Stats, error)) (*driver.Stats, error) {
	c.mu.Lock()
	kept := c.kept[key]
	if kept == nil {
		c.mu.Unlock()
		return c.take(ctx, key, take)
	}
	defer c.mu.Unlock()
	if !kept.busy && time.Now().After(kept.fresh) {
		kept.busy = true
		go func() {
			ctx, cancel := context.WithTimeout(c.closing, patience)
			defer cancel()
			if _, err := c.take(ctx, key, take); err != nil { // the next one sees why
				c.mu.Lock()
				delete(c.kept, key)
				c.mu.Unlock()
			}
		}()
	}
	return kept.stats, nil
}

func (c *counts) take(ctx context.Context, key countsKey, take func(context.Context) (*driver.Stats, error)) (*driver.Stats, error) {
	began := time.Now()
	stats, err := take(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.kept, key)
	if took > quick {
		if len(c.kept) >= mostKept {
			clear(c.kept)
		}
		c.kept[key] = &count{stats: stats, fresh: time.Now().Add(min(keptTimes*took, longestKept))}
	}
	return stats, nil
}
