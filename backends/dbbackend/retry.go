package dbbackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// errChanged is why a write is repeated: a record came or went between two statements.
var errChanged = errors.New("dbbackend: the record changed")

// explain returns an error of a statement as the Backend takes it: one after which the
// same statement may succeed is a *driver.Again.
func (b *DatabaseBackend) explain(ctx context.Context, err error) error {
	if _, ok := err.(*driver.Again); ok || err == nil { //nolint:errorlint // explained already
		return err
	}
	switch condition := sqldialect.Classify(err); condition {
	case sqldialect.Transient, sqldialect.Disconnected, sqldialect.Locked, sqldialect.Conflict:
		return &driver.Again{Err: err, Conflict: condition == sqldialect.Conflict}
	case sqldialect.TooLarge:
		return fmt.Errorf("%w: %w: %w", driver.ErrTooLarge, cache.ErrTooLarge, err)
	case sqldialect.NoTable:
		return fmt.Errorf("%w: make it with celery-results migrate, dbbackend.Migrate, or Django's migrations: %w", celeryresults.ErrNoTable, err)
	}
	switch {
	case b.closed.Load():
		return celeryresults.ErrClosed
	case errors.Is(err, context.DeadlineExceeded) && over(ctx) == nil: // the driver had no time to connect
		return &driver.Again{Err: err}
	}
	return err
}

// ready returns why no statement may start.
func (b *DatabaseBackend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return celeryresults.ErrClosed
	}
	return over(ctx)
}

// retry runs an operation that may be applied twice, and runs it again while that helps.
// It is for what the Backend does not repeat: a clean-up or a walk of an hour, of which
// one statement of thousands fails, and the functions of the store that no Backend calls.
func (b *DatabaseBackend) retry(ctx context.Context, operation func() error) error {
	return b.retryWhile(ctx, func(error) bool { return true }, operation)
}

// retryWhile is retry for errors that may is true for.
func (b *DatabaseBackend) retryWhile(ctx context.Context, may func(error) bool, operation func() error) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	helps := func(err error) bool {
		_, again := errors.AsType[*driver.Again](err)
		return again && may(err)
	}
	err := b.retries.Do(ctx, b.ready, helps, func() error { return b.explain(ctx, operation()) })
	if err == nil {
		return nil
	}
	if again, ok := errors.AsType[*driver.Again](err); ok {
		err = again.Err
	}
	if over := b.ready(ctx); over != nil && !errors.Is(err, over) {
		return fmt.Errorf("%w: %w", over, err)
	}
	return err
}
