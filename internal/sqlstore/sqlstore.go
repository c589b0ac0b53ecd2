// Package sqlstore has what the stores in the SQL tables of Celery and of django-celery
// have in common: the database, when results expire, what errors mean, and which records
// a read wants.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Most is how many records go into one statement.
const Most = 1000

// Store is the database of a driver.Store. Make one with New. It is safe for concurrent
// use.
type Store struct {
	DB      *sqldialect.DB
	Dialect *sqldialect.Dialect
	Expires time.Duration // or celeryresults.Never
	Now     func() time.Time

	// NoTable is what an error says of a table that is not there, such as how to make it.
	NoTable string

	retries retry.Policy
	owned   *sql.DB
	closed  atomic.Bool
}

// New returns a Store over an open database, which stays the caller's. The engine is
// postgresql, mysql or sqlite; empty, the driver tells. Now may be nil.
func New(db *sql.DB, engine string, s celeryresults.Settings, now func() time.Time) (*Store, error) {
	if db == nil {
		return nil, errors.New("no database")
	}
	dialect, err := sqldialect.ForDriver(db)
	if engine != "" {
		dialect, err = sqldialect.ForEngine(engine)
	}
	if err != nil {
		return nil, err
	}
	if now == nil {
		now = time.Now
	}
	return &Store{
		DB: sqldialect.NewDB(db, dialect), Dialect: dialect, Expires: s.Expires(), Now: now,
		retries: retry.New(s.ResultBackendBaseSleepBetweenRetry, s.ResultBackendMaxSleepBetweenRetry, s.ResultBackendMaxRetries),
	}, nil
}

// Own lets Close close the database.
func (s *Store) Own() { s.owned = s.DB.DB }

// Close implements driver.Store.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.DB.CloseStatements()
	if s.owned != nil {
		err = errors.Join(err, sqldialect.UnlessGone(s.owned.Close()))
	}
	return err
}

// Over returns why no statement may start. A deadline counts from its moment on: the
// network may notice it before the context does.
func (s *Store) Over(ctx context.Context) error {
	if s.closed.Load() {
		return celeryresults.ErrClosed
	}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Explain returns an error of a statement as the Backend takes it: one after which the
// same statement may succeed is a *driver.Again.
func (s *Store) Explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, again := errors.AsType[*driver.Again](err); again {
		return err
	}
	switch condition := sqldialect.Classify(err); condition {
	case sqldialect.Transient, sqldialect.Disconnected, sqldialect.Locked, sqldialect.Conflict:
		return &driver.Again{Err: err, Conflict: condition == sqldialect.Conflict}
	case sqldialect.TooLarge:
		return fmt.Errorf("%w: %w: %w", driver.ErrTooLarge, cache.ErrTooLarge, err)
	case sqldialect.NoTable:
		return fmt.Errorf("%w%s: %w", celeryresults.ErrNoTable, s.NoTable, err)
	}
	switch {
	case s.closed.Load():
		return celeryresults.ErrClosed
	case errors.Is(err, context.DeadlineExceeded) && s.Over(ctx) == nil: // the driver had no time to connect
		return &driver.Again{Err: err}
	}
	return err
}

// Unsure reports whether a statement that failed may have had its effect.
func (s *Store) Unsure(ctx context.Context, err error) bool {
	if _, unsent := errors.AsType[*sqldialect.UnsentError](err); unsent {
		return false
	}
	condition := sqldialect.Classify(err)
	return condition == sqldialect.Disconnected ||
		condition == sqldialect.Other && (errors.Is(err, context.DeadlineExceeded) || s.Over(ctx) != nil)
}

// Do runs an operation that may be applied twice, and again while that helps. It is for
// what the Backend does not repeat: of a walk or a clean-up, one statement of thousands
// may fail.
func (s *Store) Do(ctx context.Context, operation func() error) error {
	if err := s.Over(ctx); err != nil {
		return err
	}
	helps := func(err error) bool {
		_, again := errors.AsType[*driver.Again](err)
		return again
	}
	err := s.retries.Do(ctx, s.Over, helps, func() error { return s.Explain(ctx, operation()) })
	if again, ok := errors.AsType[*driver.Again](err); ok {
		err = again.Err
	}
	if over := s.Over(ctx); err != nil && over != nil && !errors.Is(err, over) {
		return fmt.Errorf("%w: %w", over, err)
	}
	return err
}

// Pages yields the rows of a table in the order of their primary keys: those that read
// returns, which are the next ones behind a key.
func Pages[R any](ctx context.Context, s *Store, read func(last int64) ([]R, error), key func(R) int64) iter.Seq2[[]R, error] {
	return func(yield func([]R, error) bool) {
		for last := int64(0); ; {
			var rows []R
			err := s.Do(ctx, func() (err error) {
				rows, err = read(last)
				return err
			})
			if err != nil {
				yield(nil, err)
				return
			}
			if len(rows) == 0 || !yield(rows, nil) {
				return
			}
			last = key(rows[len(rows)-1])
		}
	}
}

// Cutoff returns the time before which rows have expired that were written then.
func (s *Store) Cutoff() time.Time { return s.Now().Add(-s.Expires) }

// Expired reports whether a row has expired, by when it was last written. One that does
// not say when never does.
func (s *Store) Expired(written time.Time) bool {
	return s.Expires != celeryresults.Never && !written.IsZero() && written.Before(s.Cutoff())
}

// InExactly is the condition that a column is one of the texts, with their parameters
// from $1 on. It spares what is equal by the collation only.
func (s *Store) InExactly(column string, texts []string) (string, []any) {
	in, args := s.Dialect.In(column, 1, texts)
	if s.Dialect == sqldialect.MySQL {
		exact, more := s.Dialect.In("CAST("+column+" AS BINARY)", len(args)+1, texts)
		in, args = in+" AND "+exact, append(args, more...)
	}
	return in, args
}

// ScanTime returns a destination for a time. What is none, which only SQLite lets stand
// there, is the zero time: it must not hide the rest of the row, nor other rows.
func (s *Store) ScanTime(dst *time.Time) sql.Scanner { return looseTime{s.Dialect.ScanTime(dst), dst} }

type looseTime struct {
	sql.Scanner
	dst *time.Time
}

// Scan implements sql.Scanner.
func (l looseTime) Scan(value any) error {
	if err := l.Scanner.Scan(value); err != nil {
		*l.dst = time.Time{}
	}
	return nil
}

// Wanted are the records that a Get fills in.
type Wanted struct {
	IDs     []string // of those that can be read
	records []driver.Record
	places  map[string]int // of their ids; nil for one
}

// NewWanted returns the records that can be read, and notes why others can't.
func NewWanted(records []driver.Record, check func(id string) error) Wanted {
	w := Wanted{records: records, IDs: make([]string, 0, len(records))}
	if len(records) > 1 {
		w.places = make(map[string]int, len(records))
	}
	for i := range records {
		r := &records[i]
		if r.Err = check(r.ID); r.Err != nil {
			continue
		}
		w.IDs = append(w.IDs, r.ID)
		if w.places != nil {
			w.places[r.ID] = i
		}
	}
	return w
}

// Record returns the record of an id, nil if it is not wanted: the collation of a column
// may take it for another one.
func (w Wanted) Record(id string) *driver.Record {
	if w.places == nil && len(w.IDs) == 1 && w.IDs[0] == id {
		return &w.records[0]
	}
	if i, found := w.places[id]; found {
		return &w.records[i]
	}
	return nil
}

// errNoStatus is why a row can't be read.
var errNoStatus = errors.New("its status is empty")

// Stands notes what counts of the row of a record, and reports whether it stands.
func (s *Store) Stands(r *driver.Record, status string, written time.Time) bool {
	switch {
	case status == "":
		r.Err = &celeryresults.UnreadableError{ID: r.ID, Err: errNoStatus}
		return false
	case s.Expired(written):
		r.Expired = true
		return false
	}
	r.State = celeryresults.State(status)
	return true
}
