// Package dbbackend keeps results in the tables of django-celery-results, in
// PostgreSQL, MySQL, MariaDB or SQLite: Python's AsyncResult, TaskResult.objects
// and Django's admin see what Go stores, and Go reads every row that Python wrote.
//
// It follows django_celery_results.backends.database.DatabaseBackend, with these
// differences:
//
//   - A SUCCESS stands, and the rule of celeryresults.State.MayReplace is decided
//     by the statement that stores.
//   - Results expire when they are due, whether or not somebody has cleaned up.
//     The table has no column for that: it is date_done and the settings that
//     decide.
//   - What has no column (retries, queue, parent, stamps, the caller's own
//     metadata, arguments for programs) stands in the column meta, where Python
//     keeps children and request.meta. Python's AsyncResult reads it there.
//   - A text that its column can't hold stands there cut, with an ellipsis, or
//     with a symbol for each NUL, and whole in meta. Ids are refused instead.
package dbbackend

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// DatabaseBackend is the store of a celeryresults.Backend in SQL tables, with groups,
// chords, lists and clean-up. New and Open return such a Backend; StoreOf returns its
// DatabaseBackend, for what only that has, such as CleanupWith. All methods are safe
// for concurrent use.
//
// Stores of concurrent callers are one statement, and so are reads. Broken connections,
// restarts, deadlocks and servers without a free connection are errors that the Backend
// repeats.
type DatabaseBackend struct {
	db, reads *sqldialect.DB // reads is db where there is no other
	dialect   *sqldialect.Dialect
	documents *document.Encoding
	settings  celeryresults.Settings
	expiry    expiry
	retries   retry.Policy // of what lasts long by itself
	now       func() time.Time
	owned     []*sql.DB

	layout   atomic.Pointer[layout] // of the tables; nil until they were looked at
	closed   atomic.Bool
	stored   atomic.Int64 // results, for the clean-up to know of
	listener *listener    // nil where nothing is pushed
	recent   *recent      // ids to be read from db; nil where that is not asked for
}

var (
	_ driver.Store           = (*DatabaseBackend)(nil)
	_ driver.Lister          = (*DatabaseBackend)(nil)
	_ driver.Claimer         = (*DatabaseBackend)(nil)
	_ celeryresults.Encoding = (*DatabaseBackend)(nil)
	_ driver.Pusher          = pushing{}
)

// pushing is the store on a PostgreSQL database that tells of changes.
type pushing struct {
	*DatabaseBackend
	*listener
}

// StoreOf returns the store of a Backend that New or Open returned, and false for others.
func StoreOf(b *celeryresults.Backend) (*DatabaseBackend, bool) {
	switch store := b.Driver().(type) {
	case *DatabaseBackend:
		return store, true
	case pushing:
		return store.DatabaseBackend, true
	}
	return nil, false
}

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// Reads is another handle that results are read from, such as one on a
	// replica. See DjangoDBSettings.ReadYourWrites. Default: the one of New.
	Reads *sql.DB

	// Engine is postgresql, mysql or sqlite, for drivers whose type does not tell,
	// such as wrapped ones. Default: told by the driver.
	Engine string

	// ChordLease is how long a claim on a chord's body holds when the process
	// that has it no longer renews it. The clocks of the processes that sweep must
	// differ by less. Default: a minute.
	ChordLease time.Duration

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// New returns a Backend over an open database, which stays the caller's: Close
// does not close it, and its pool is the caller's, too. Of the settings it uses
// ResultExpires, ResultExtended, the serializers, the retry settings and
// DjangoDB without its databases. For a pgx pool, pass stdlib.OpenDBFromPool of
// it. The tables are looked at when they are first used; Migrate, the command
// celery-results migrate, or Django's migrations make them.
//
// On MySQL the data source must have parseTime=true and loc=UTC, should have
// clientFoundRows=true and interpolateParams=true, and the session a strict
// sql_mode, or the server cuts what does not fit. On PostgreSQL those who wait hold
// a connection together, unless the pool has but one; behind a pgbouncer that pools
// transactions, set DjangoDB.Notify to false and default_query_exec_mode=exec. On
// SQLite one connection is best, with the pragmas
// busy_timeout and journal_mode(WAL) and _txlock=immediate.
//
// It returns an error for an unknown driver when the Options name no engine,
// and for serializers that don't go together.
func New(db *sql.DB, s celeryresults.Settings, o Options) (*celeryresults.Backend, error) {
	b, err := newStore(db, s, o)
	if err != nil {
		return nil, err
	}
	return b.backend(o)
}

func newStore(db *sql.DB, s celeryresults.Settings, o Options) (*DatabaseBackend, error) {
	dialect, err := dialectOf(db, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("dbbackend: new: %w", err)
	}
	b := &DatabaseBackend{db: sqldialect.NewDB(db, dialect), dialect: dialect, settings: s, now: o.Now}
	if b.reads = b.db; o.Reads != nil {
		b.reads = sqldialect.NewDB(o.Reads, dialect)
		if s.DjangoDB.ReadYourWrites > 0 {
			b.recent = newRecent(s.DjangoDB.ReadYourWrites)
		}
	}
	if b.now == nil {
		b.now = time.Now
	}
	s.ResultCompression = "" // Python reads what stands in columns as it is
	if b.documents, err = document.NewEncoding(s, driver.Traits{}); err != nil {
		return nil, fmt.Errorf("dbbackend: %w", err)
	}
	b.expiry = newExpiry(&b.settings)
	b.retries = retry.New(s.ResultBackendBaseSleepBetweenRetry, s.ResultBackendMaxSleepBetweenRetry, s.ResultBackendMaxRetries)
	if b.notifies() {
		b.listener = &listener{b: b, ids: map[string]bool{}}
	}
	return b, nil
}

// backend returns the Backend over the store.
func (b *DatabaseBackend) backend(o Options) (*celeryresults.Backend, error) {
	var store driver.Store = b
	if b.listener != nil {
		store = pushing{b, b.listener}
	}
	return celeryresults.NewBackend(store, b, b.settings, &celeryresults.BackendOptions{ChordLease: o.ChordLease})
}

// The most that goes into one statement.
const (
	mostWrites = 256
	mostReads  = 1000
)

// Traits implements driver.Store.
func (b *DatabaseBackend) Traits() driver.Traits {
	t := driver.Traits{Name: "django-db", PutMost: mostWrites, GetMost: mostReads, KeepsExpired: true}
	if b.dialect == sqldialect.SQLite {
		t.InFlight = 1 // there is but one writer
	}
	return t
}

// notifies reports whether stores tell others of themselves.
func (b *DatabaseBackend) notifies() bool {
	notify := b.settings.DjangoDB.Notify
	return b.dialect == sqldialect.PostgreSQL && (notify == nil || *notify)
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

// readers is how many connections read from a SQLite file.
const readers = 4

// Open opens the databases that the settings name and returns a Backend over
// them: DjangoDB.Database and ReadDatabase in DATABASES, or the database of a
// ResultBackend of the form django-db+postgresql://user:password@host/name. Close
// closes them. The program links the driver: pgx, mysql, or modernc.org's sqlite.
// Nothing is connected to yet.
func Open(s celeryresults.Settings) (*celeryresults.Backend, error) {
	database, read, err := databases(s)
	if err != nil {
		return nil, err
	}
	db, dialect, err := sqldialect.Open(database)
	if err != nil {
		return nil, fmt.Errorf("dbbackend: open: %w", err)
	}
	owned := []*sql.DB{db}
	o := Options{Engine: dialect.Name()}
	if read != nil || dialect == sqldialect.SQLite && !sqldialect.InMemory(database) {
		if o.Reads, err = openReads(database, read, dialect); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		owned = append(owned, o.Reads)
	}
	b, err := newStore(db, s, o)
	if err != nil {
		for _, db := range owned {
			err = errors.Join(err, db.Close())
		}
		return nil, err
	}
	b.owned = owned
	return b.backend(o)
}

// databases returns where the tables are, and where they are read, nil for the
// same place.
func databases(s celeryresults.Settings) (database cache.Database, read *cache.Database, err error) {
	alias := cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)
	url, byURL := strings.CutPrefix(s.ResultBackend, "django-db+")
	if byURL {
		database = cache.Database{URL: url}
	} else if database, err = databaseOf(s, alias); err != nil {
		return database, nil, err
	}
	readAlias := s.DjangoDB.ReadDatabase
	if readAlias == "" || readAlias == alias && !byURL {
		return database, nil, nil
	}
	r, err := databaseOf(s, readAlias)
	return database, &r, err
}

func databaseOf(s celeryresults.Settings, alias string) (cache.Database, error) {
	database, ok := s.Databases[alias]
	if !ok {
		return database, fmt.Errorf("dbbackend: open: DATABASES has no %q", alias)
	}
	return database, nil
}

// openReads opens the handle to read from: another database, or more connections
// to a SQLite file, which readers need not share with the one writer.
func openReads(database cache.Database, read *cache.Database, dialect *sqldialect.Dialect) (*sql.DB, error) {
	if read == nil {
		db, _, err := sqldialect.Open(database)
		if err != nil {
			return nil, fmt.Errorf("dbbackend: open: %w", err)
		}
		sqldialect.LimitPool(db, readers)
		return db, nil
	}
	db, other, err := sqldialect.Open(*read)
	if err != nil {
		return nil, fmt.Errorf("dbbackend: open the database to read from: %w", err)
	}
	if other != dialect {
		return nil, errors.Join(fmt.Errorf("dbbackend: open: results are read from %s and stored in %s", other.Name(), dialect.Name()), db.Close())
	}
	return db, nil
}

// Close implements driver.Store. It closes the databases that Open opened.
func (b *DatabaseBackend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if b.listener != nil {
		b.listener.close()
	}
	err := b.db.CloseStatements()
	if b.reads != b.db {
		err = errors.Join(err, b.reads.CloseStatements())
	}
	for _, db := range b.owned {
		err = errors.Join(err, sqldialect.UnlessGone(db.Close()))
	}
	return err
}

// codecOf returns the codec of a row's content type, or why there is none.
func (b *DatabaseBackend) codecOf(contentType string) (serialization.Codec, error) {
	if contentType == b.documents.Codec.ContentType() {
		return b.documents.Codec, nil
	}
	codec, ok := registry.ByContentType(contentType)
	if !ok {
		return nil, fmt.Errorf("dbbackend: unknown content type %q", contentType)
	}
	return codec, b.documents.Accept().Check(codec)
}

// over returns why no statement may start. A deadline counts from its moment on: the
// network may notice it before the context does.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}
