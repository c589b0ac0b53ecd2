// Package sqlalchemybackend keeps results in the tables of Celery's own database
// backend (db+postgresql://, db+mysql://, db+sqlite://), which Python reaches by
// SQLAlchemy: both languages read what the other wrote.
//
// It follows celery.backends.database.DatabaseBackend, with these differences:
//
//   - A SUCCESS stands, and the rule of celeryresults.State.MayReplace is decided
//     by the statement that stores.
//   - Results expire when they are due, whether or not somebody has cleaned up: by
//     date_done, which is the time of a row's last write, whatever its state.
//   - Celery before 5.7 pickles results whatever the serializer. Releases from 5.7 on
//     write them in result_serializer, read both, and add the column children to the
//     table: where that column is, results are written as 5.7 does, elsewhere as
//     before, which every release reads. Both are read.
//   - What has no column (children where theirs is not, parent and group, extras, the caller's metadata, texts that
//     are longer than theirs) stands in the column stamps, which Celery 5.7 has with
//     result_extended; tables without it do not keep these.
package sqlalchemybackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// DatabaseBackend is a celeryresults.Backend in Celery's own SQL tables, with groups,
// waiting and clean-up. Make one with New or Open. All methods are safe for
// concurrent use. The reads of concurrent callers are sent together. Broken
// connections, restarts and deadlocks are retried until the context ends, or for 30
// seconds. Chords need nothing of it: Celery's workers ask whether the members are
// ready.
type DatabaseBackend struct {
	db       *sqldialect.DB
	dialect  *sqldialect.Dialect
	settings celeryresults.Settings
	codec    serialization.Codec
	names    names
	expires  time.Duration // or Never
	retries  retry.Policy
	now      func() time.Time
	owned    *sql.DB

	layout atomic.Pointer[layout] // of the tables; nil until they were looked at
	closed atomic.Bool
	gets   *merge.Group[string, *celeryresults.TaskMeta]
	poller *celeryresults.Poller
}

var (
	_ celeryresults.Backend      = (*DatabaseBackend)(nil)
	_ celeryresults.StatusGetter = (*DatabaseBackend)(nil)
	_ celeryresults.Waiter       = (*DatabaseBackend)(nil)
	_ celeryresults.Awaiter      = (*DatabaseBackend)(nil)
	_ celeryresults.ManyAwaiter  = (*DatabaseBackend)(nil)
	_ celeryresults.Grouper      = (*DatabaseBackend)(nil)
	_ celeryresults.Cleaner      = (*DatabaseBackend)(nil)
)

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// Engine is postgresql, mysql or sqlite, for drivers whose type does not tell,
	// such as wrapped ones. Default: told by the driver.
	Engine string

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// New returns a backend over an open database, which stays the caller's: Close does
// not close it. Of the settings it uses ResultExpires, ResultExtended, the
// serializer, the retry settings, and Database without its URL. The tables are
// looked at when they are first used, and made where they are missing, as Celery
// does, unless CreateTablesAtSetup is false. What package dbbackend says of drivers
// holds here, too.
//
// It returns an error for an unknown driver when the Options name no engine, for an
// unknown serializer, and for table names that are none.
func New(db *sql.DB, s celeryresults.Settings, o Options) (*DatabaseBackend, error) {
	dialect, err := dialectOf(db, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: new: %w", err)
	}
	codec, ok := registry.ByName(s.Serializer())
	if !ok {
		return nil, fmt.Errorf("sqlalchemybackend: unknown serializer %q", s.Serializer())
	}
	names, err := newNames(dialect, s.Database)
	if err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: %w", err)
	}
	b := &DatabaseBackend{
		db: sqldialect.NewDB(db, dialect), dialect: dialect, settings: s, codec: codec, names: names,
		expires: s.Expires(), retries: retry.From(s), now: o.Now,
	}
	if b.now == nil {
		b.now = time.Now
	}
	b.poller = celeryresults.NewPoller(b.GetMany)
	b.gets = merge.New(b.readOne, b.readMany, true)
	return b, nil
}

func dialectOf(db *sql.DB, engine string) (*sqldialect.Dialect, error) {
	switch {
	case db == nil:
		return nil, errors.New("no database")
	case engine != "":
		return sqldialect.ForEngine(engine)
	}
	return sqldialect.ForDriver(db)
}

// URL returns where the settings say that the tables are: a ResultBackend such as
// db+postgresql://user:password@host/name, or the database_url of the backend named
// database. It is empty for other backends.
func URL(s celeryresults.Settings) string {
	if url, ok := strings.CutPrefix(s.ResultBackend, "db+"); ok {
		return url
	}
	if s.ResultBackend == "database" || s.ResultBackend == "db" || strings.HasPrefix(s.ResultBackend, "database://") || strings.HasPrefix(s.ResultBackend, "db://") {
		return strings.TrimPrefix(s.Database.URL, "db+")
	}
	return ""
}

// OpenDatabase opens the database that URL names, for New and Migrate. The program
// links the driver: pgx, mysql, or modernc.org's sqlite. Nothing is connected to yet.
func OpenDatabase(s celeryresults.Settings) (*sql.DB, error) {
	db, _, err := openDatabase(s)
	return db, err
}

func openDatabase(s celeryresults.Settings) (*sql.DB, *sqldialect.Dialect, error) {
	url := URL(s)
	if url == "" {
		return nil, nil, errors.New("sqlalchemybackend: open: no database; set CELERY_RESULT_BACKEND to db+postgresql://user:password@host/name or the like, or CELERY_DATABASE_URL")
	}
	db, dialect, err := sqldialect.Open(cache.Database{URL: url})
	if err != nil {
		return nil, nil, fmt.Errorf("sqlalchemybackend: open: %w", err)
	}
	return db, dialect, nil
}

// Open opens the database that the settings name and returns a backend over it. Close
// closes both.
func Open(s celeryresults.Settings) (*DatabaseBackend, error) {
	db, dialect, err := openDatabase(s)
	if err != nil {
		return nil, err
	}
	b, err := New(db, s, Options{Engine: dialect.Name()})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.owned = db
	return b, nil
}

// Close ends the waits with ErrClosed, and closes the database that Open opened.
// Every later operation returns ErrClosed.
func (b *DatabaseBackend) Close() error {
	err := b.poller.Close()
	if b.closed.Swap(true) {
		return err
	}
	err = errors.Join(err, b.db.CloseStatements())
	if b.owned != nil {
		err = errors.Join(err, sqldialect.UnlessGone(b.owned.Close()))
	}
	if err != nil {
		return fmt.Errorf("sqlalchemybackend: close: %w", err)
	}
	return nil
}

// ready returns why no statement may start.
func (b *DatabaseBackend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return celeryresults.ErrClosed
	}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// do runs an operation that can be applied twice, and again while that helps.
func (b *DatabaseBackend) do(ctx context.Context, what string, operation func() error) error {
	err := b.retries.Do(ctx, b.ready, retryable, operation)
	if err == nil {
		return nil
	}
	switch over := b.ready(ctx); {
	case errors.Is(over, celeryresults.ErrClosed):
		return over
	case over != nil && errors.Is(err, over):
		return over
	case over != nil:
		return fmt.Errorf("%w: %w", over, err)
	case sqldialect.Classify(err) == sqldialect.NoTable:
		b.layout.Store(nil) // somebody dropped it
		return fmt.Errorf("%w: %w", celeryresults.ErrNoTable, err)
	}
	return fmt.Errorf("sqlalchemybackend: %s: %w", what, err)
}

func retryable(err error) bool {
	switch sqldialect.Classify(err) {
	case sqldialect.Transient, sqldialect.Disconnected, sqldialect.Locked, sqldialect.Conflict:
		return true
	}
	return errors.Is(err, errChanged) || errors.Is(err, context.DeadlineExceeded)
}

func (b *DatabaseBackend) documents() keyvalue.Documents {
	return keyvalue.Documents{Codec: b.codec, Extended: b.settings.ResultExtended}
}

// codecOf returns the codec of what a column holds: pickles are told from all else,
// as old rows hold them whatever the serializer.
func (b *DatabaseBackend) codecOf(data []byte) serialization.Codec {
	pickled := len(data) > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 && data[len(data)-1] == '.'
	switch {
	case pickled:
		return pickle.Codec
	case b.codec == pickle.Codec:
		return json.Codec
	}
	return b.codec
}
