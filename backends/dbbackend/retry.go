package dbbackend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// patience is how long an operation is retried whose context has no deadline.
const patience = 30 * time.Second

// Celery's pauses between retries, result_backend_base_sleep_between_retries_ms
// and result_backend_max_sleep_between_retries_ms.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 10 * time.Second
)

// retry runs an operation, and runs it again while that helps: with growing
// random pauses, until the context ends or patience does. Applying it twice must
// do no harm. The error is the context's when that is over, with the last failure
// beside it, and ErrClosed and ErrNoTable where these apply.
func (b *DatabaseBackend) retry(ctx context.Context, operation func() error) error {
	return b.retryWhile(ctx, retryable, operation)
}

// retryOnce is retry for operations that must not be applied twice: it ends when
// it is not known whether one was.
func (b *DatabaseBackend) retryOnce(ctx context.Context, operation func() error) error {
	return b.retryWhile(ctx, func(err error) bool {
		return retryable(err) && sqldialect.Classify(err) != sqldialect.Disconnected
	}, operation)
}

func (b *DatabaseBackend) retryWhile(ctx context.Context, again func(error) bool, operation func() error) error {
	err := operation() // nearly always the only time
	if err == nil || !again(err) || b.ready(ctx) != nil {
		return b.explain(ctx, err)
	}
	changed := 0
	_, failed := backoff.Retry(ctx, func() (struct{}, error) {
		if over := b.ready(ctx); over != nil {
			return struct{}{}, backoff.Permanent(over)
		}
		switch err = operation(); {
		case err == nil:
			return struct{}{}, nil
		case errors.Is(err, errChanged):
			if changed++; changed > mostChanges {
				return struct{}{}, backoff.Permanent(err)
			}
		case !again(err):
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(b.pauses()), backoff.WithMaxElapsedTime(b.patience(ctx)), backoff.WithMaxTries(b.tries()))
	if failed == nil {
		return nil
	}
	return b.explain(ctx, err)
}

// mostChanges is how often a record may change under an attempt.
const mostChanges = 100

// pauses follows Celery's get_exponential_backoff_interval, with jitter.
func (b *DatabaseBackend) pauses() backoff.BackOff {
	p := backoff.NewExponentialBackOff()
	p.InitialInterval, p.MaxInterval = firstPause, time.Second
	if own := b.settings.ResultBackendBaseSleepBetweenRetry; own > 0 {
		p.InitialInterval = own
	}
	if own := b.settings.ResultBackendMaxSleepBetweenRetry; own > 0 {
		p.MaxInterval = min(own, longestPause)
	}
	p.Multiplier = 2
	return p
}

// patience is without an end while the context has one.
func (b *DatabaseBackend) patience(ctx context.Context) time.Duration {
	if _, ok := ctx.Deadline(); ok {
		return 0
	}
	return patience
}

// tries is result_backend_max_retries; 0 is without a limit.
func (b *DatabaseBackend) tries() uint {
	switch n := b.settings.ResultBackendMaxRetries; {
	case n > 0:
		return uint(n)
	case n < 0:
		return 1
	}
	return 0
}

// retryable reports whether an operation may succeed when it is repeated.
func retryable(err error) bool {
	switch sqldialect.Classify(err) {
	case sqldialect.Transient, sqldialect.Disconnected, sqldialect.Locked, sqldialect.Conflict:
		return true
	}
	// Where the caller's context lasts, it was the driver that had no time to
	// connect.
	return errors.Is(err, errChanged) || errors.Is(err, context.DeadlineExceeded)
}

// explain makes of the last failure of an operation what its caller is told.
func (b *DatabaseBackend) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	over := b.ready(ctx)
	switch {
	case errors.Is(over, celeryresults.ErrClosed):
		return over
	case over != nil && errors.Is(err, over):
		return over
	case over != nil:
		return fmt.Errorf("%w: %w", over, err)
	case sqldialect.Classify(err) == sqldialect.NoTable:
		return fmt.Errorf("%w: make it with celery-results migrate, dbbackend.Migrate, or Django's migrations: %w", ErrNoTable, err)
	}
	return err
}
