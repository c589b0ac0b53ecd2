package dbcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// mode says whether a statement may run twice.
type mode bool

const (
	once       mode = false // a second run could answer otherwise
	repeatable mode = true
)

const (
	attempts     = 8
	firstPause   = 2 * time.Millisecond
	longestPause = 50 * time.Millisecond
)

// run runs a statement of an open store, again while its failure is transient.
// The error is the context's when that is over, and ErrTooLarge or ErrClosed
// where these apply.
func (s *Store) run(ctx context.Context, mode mode, statement func() error) error {
	for attempt := range attempts {
		if err := s.ready(ctx); err != nil {
			return err
		}
		err := statement()
		condition := sqldialect.Classify(err)
		again := condition == sqldialect.Transient || (condition == sqldialect.Disconnected && mode == repeatable)
		if !again || attempt == attempts-1 {
			return s.explain(ctx, condition, err)
		}
		pause(ctx, attempt)
	}
	return nil
}

func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return cache.ErrClosed
	}
	return ctx.Err()
}

// explain returns the error for a statement's last failure.
func (s *Store) explain(ctx context.Context, condition sqldialect.Condition, err error) error {
	if err == nil {
		return nil
	}
	if over := s.ready(ctx); over != nil {
		return over
	}
	if condition == sqldialect.TooLarge {
		return fmt.Errorf("%w: %w", cache.ErrTooLarge, err)
	}
	return err
}

// pause waits longer with every attempt, by a random share, and not beyond the
// end of the context.
func pause(ctx context.Context, attempt int) {
	longest := min(firstPause<<attempt, longestPause)
	timer := time.NewTimer(longest/2 + rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
