package dbbackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// retry runs an operation, and runs it again while that helps: see internal/retry.
// Applying it twice must do no harm. The error is the context's when that is over,
// with the last failure beside it, and ErrClosed and celeryresults.ErrNoTable where these apply.
func (b *DatabaseBackend) retry(ctx context.Context, operation func() error) error {
	return b.retryWhile(ctx, retryable, operation)
}

// retryOnce is retry for a transaction that must not be applied twice: it ends when
// it is not known whether its commit happened.
func (b *DatabaseBackend) retryOnce(ctx context.Context, transaction func(*sqldialect.Tx) error) error {
	committing := false
	again := func(err error) bool {
		return retryable(err) && !(committing && sqldialect.Classify(err) == sqldialect.Disconnected)
	}
	return b.retryWhile(ctx, again, func() error {
		committing = false
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			err := transaction(tx)
			committing = err == nil
			return err
		})
	})
}

// mostChanges is how often a record may change under an attempt.
const mostChanges = 100

func (b *DatabaseBackend) retryWhile(ctx context.Context, again func(error) bool, operation func() error) error {
	changed := 0
	helps := func(err error) bool {
		if errors.Is(err, errChanged) {
			changed++
		}
		return again(err) && changed <= mostChanges
	}
	return b.explain(ctx, b.retries.Do(ctx, b.ready, helps, operation))
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
		return fmt.Errorf("%w: make it with celery-results migrate, dbbackend.Migrate, or Django's migrations: %w", celeryresults.ErrNoTable, err)
	}
	return err
}
