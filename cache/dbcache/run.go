package dbcache

import (
	"context"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// run runs a statement of an open store, with retries. The error is the
// context's when that is over, and ErrTooLarge or ErrClosed where these apply.
func (s *Store) run(ctx context.Context, mode sqldialect.Mode, statement func() error) error {
	err := sqldialect.Retry(ctx, mode, func() error {
		if err := s.ready(ctx); err != nil {
			return err
		}
		return statement()
	})
	if err == nil {
		return nil
	}
	if over := s.ready(ctx); over != nil {
		return over
	}
	if sqldialect.Classify(err) == sqldialect.TooLarge {
		return fmt.Errorf("%w: %w", cache.ErrTooLarge, err)
	}
	return err
}

// ready returns why no statement may start. A deadline counts from its moment
// on: the network may notice it before the context does.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return cache.ErrClosed
	}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}
