package dbcache

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// ErrNoTable is returned by every operation on a table that is not there.
var ErrNoTable = errors.New("dbcache: no table")

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
	switch sqldialect.Classify(err) {
	case sqldialect.TooLarge:
		return fmt.Errorf("%w: %w", cache.ErrTooLarge, err)
	case sqldialect.NoTable:
		return fmt.Errorf("%w: make it with dbcache.CreateTable or Django's createcachetable: %w", ErrNoTable, err)
	case sqldialect.Transient, sqldialect.Locked:
		return &cache.UnavailableError{Err: err}
	case sqldialect.Disconnected:
		return &cache.UnavailableError{Err: err, Sent: true}
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

// exec runs a statement that carries size bytes of values.
func (s *Store) exec(ctx context.Context, mode sqldialect.Mode, size int, q sqldialect.Query, args ...any) error {
	_, err := s.result(ctx, mode, size, q, args...)
	return err
}

// affect runs a statement and returns how many rows it affected.
func (s *Store) affect(ctx context.Context, mode sqldialect.Mode, size int, q sqldialect.Query, args ...any) (int64, error) {
	result, err := s.result(ctx, mode, size, q, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (s *Store) result(ctx context.Context, mode sqldialect.Mode, size int, q sqldialect.Query, args ...any) (sql.Result, error) {
	if err := s.checkPacket(ctx, size); err != nil {
		return nil, err
	}
	var result sql.Result
	err := s.run(ctx, mode, func() (err error) {
		result, err = s.db.Exec(ctx, q, args...)
		return err
	})
	return result, err
}

// queryRow runs a query and scans its only row.
func (s *Store) queryRow(ctx context.Context, q sqldialect.Query, args []any, dst ...any) error {
	return s.run(ctx, sqldialect.Repeatable, func() error { return s.db.Row(ctx, q, args, dst...) })
}
