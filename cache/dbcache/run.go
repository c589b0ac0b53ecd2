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
func (s *Store) exec(ctx context.Context, mode sqldialect.Mode, size int, q sqldialect.Query, args ...any) (sql.Result, error) {
	if err := s.checkPacket(ctx, size); err != nil {
		return nil, err
	}
	var result sql.Result
	err := s.run(ctx, mode, func() error {
		statement, err := s.statement(ctx, q)
		if err != nil {
			return err
		}
		result, err = statement.ExecContext(ctx, args...)
		return err
	})
	return result, err
}

// affect runs a statement and returns how many rows it affected.
func (s *Store) affect(ctx context.Context, mode sqldialect.Mode, size int, q sqldialect.Query, args ...any) (int64, error) {
	result, err := s.exec(ctx, mode, size, q, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// queryRow runs a query and scans its only row.
func (s *Store) queryRow(ctx context.Context, q sqldialect.Query, args []any, dst ...any) error {
	return s.run(ctx, sqldialect.Repeatable, func() error {
		statement, err := s.statement(ctx, q)
		if err != nil {
			return err
		}
		return statement.QueryRowContext(ctx, args...).Scan(dst...)
	})
}

// statement is a statement ready to run.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// unprepared is a statement that goes to the database as text.
type unprepared struct {
	db *sql.DB
	q  sqldialect.Query
}

func (u unprepared) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return u.db.ExecContext(ctx, u.q.Text, u.q.Args(args...)...)
}

func (u unprepared) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return u.db.QueryRowContext(ctx, u.q.Text, u.q.Args(args...)...)
}

// prepared is a statement that the database has parsed.
type prepared struct {
	stmt *sql.Stmt
	q    sqldialect.Query
}

func (p prepared) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	return p.stmt.ExecContext(ctx, p.q.Args(args...)...)
}

func (p prepared) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	return p.stmt.QueryRowContext(ctx, p.q.Args(args...)...)
}

// statement returns the statement for a query. The fixed ones are prepared
// once: SQLite takes longer to parse most of them than to run them, and MySQL
// some. PostgreSQL's driver does so by itself.
func (s *Store) statement(ctx context.Context, q sqldialect.Query) (statement, error) {
	if s.dialect == sqldialect.PostgreSQL || !s.queries.fixed[q.Text] {
		return unprepared{s.db, q}, nil
	}
	if kept, ok := s.statements.Load(q.Text); ok {
		return prepared{kept.(*sql.Stmt), q}, nil
	}
	stmt, err := s.db.PrepareContext(ctx, q.Text)
	if err != nil {
		return nil, err
	}
	first, there := s.statements.LoadOrStore(q.Text, stmt)
	if there {
		defer stmt.Close()
	}
	return prepared{first.(*sql.Stmt), q}, nil
}

func (s *Store) closeStatements() error {
	var errs []error
	for _, statement := range s.statements.Range {
		errs = append(errs, unlessGone(statement.(*sql.Stmt).Close()))
	}
	return errors.Join(errs...)
}

// unlessGone returns an error of closing something, but not that its connection
// is gone already.
func unlessGone(err error) error {
	if sqldialect.Classify(err) != sqldialect.Other {
		return nil
	}
	return err
}
