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
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/sqlstore"
)

// Store is the store of a celeryresults.Backend in Celery's own SQL tables, with
// groups, walks and clean-up. New and Open return such a Backend, whose Driver it is. All
// methods are safe for concurrent use. Chords need nothing of it: Celery's workers ask
// whether the members are ready.
type Store struct {
	driver.Unlisted
	celeryresults.Encoding // of values

	base        *sqlstore.Store
	settings    celeryresults.Settings
	codec       serialization.Codec
	schema      *resultschema.Schema
	task, group resultschema.Name
	layout      atomic.Pointer[layout] // of the tables; nil until they were looked at
}

var (
	_ driver.Store           = (*Store)(nil)
	_ driver.Lister          = (*Store)(nil)
	_ celeryresults.Encoding = (*Store)(nil)
)

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// Engine is postgresql, mysql or sqlite, for drivers whose type does not tell,
	// such as wrapped ones. Default: told by the driver.
	Engine string

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// New returns a Backend over an open database, which stays the caller's: Close does
// not close it. Of the settings it uses ResultExpires, ResultExtended, ResultTombstones,
// the serializer, the retry settings, and Database without its URL. The tables are
// looked at when they are first used, and made where they are missing, as Celery
// does, unless CreateTablesAtSetup is false. What package dbbackend says of drivers
// holds here, too.
//
// It returns an error for an unknown driver when the Options name no engine, for an
// unknown serializer, and for table names that are none.
func New(db *sql.DB, s celeryresults.Settings, o Options) (*celeryresults.Backend, error) {
	b, err := newStore(db, s, o)
	if err != nil {
		return nil, err
	}
	return celeryresults.NewBackend(b, b, s, nil)
}

func newStore(db *sql.DB, s celeryresults.Settings, o Options) (*Store, error) {
	base, err := sqlstore.New(db, o.Engine, s, o.Now)
	if err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: new: %w", err)
	}
	base.NoTable = ": make it with celery-results migrate"
	codec, ok := registry.ByName(s.Serializer())
	if !ok {
		return nil, fmt.Errorf("sqlalchemybackend: unknown serializer %q", s.Serializer())
	}
	schema, task, group, err := resultschema.Celery(base.Dialect, s.Database.TableSchemas, s.Database.TableNames)
	if err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: %w", err)
	}
	values, err := document.NewEncoding(celeryresults.Settings{}, driver.Traits{Serializer: codec.Name()})
	if err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: %w", err)
	}
	return &Store{Encoding: values, base: base, settings: s, codec: codec, schema: schema, task: task, group: group}, nil
}

// Traits implements driver.Store. SQLite has one writer at a time, who stores what many
// callers have in one transaction. Elsewhere each caller has a connection.
func (b *Store) Traits() driver.Traits {
	t := driver.Traits{Name: "sqlalchemy", GetMost: sqlstore.Most, KeepsExpired: true}
	if b.base.Dialect == sqldialect.SQLite {
		t.PutMost, t.InFlight = 256, 1
	}
	return t
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

// Open opens the database that the settings name and returns a Backend over it. Close
// closes both.
func Open(s celeryresults.Settings) (*celeryresults.Backend, error) {
	db, dialect, err := openDatabase(s)
	if err != nil {
		return nil, err
	}
	b, err := newStore(db, s, Options{Engine: dialect.Name()})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.base.Own()
	return celeryresults.NewBackend(b, b, s, nil)
}

// Close implements driver.Store. It closes the database that Open opened.
func (b *Store) Close() error { return b.base.Close() }

// codecOf returns the codec of what a column holds: pickles are told from all else,
// as old rows hold them whatever the serializer.
func (b *Store) codecOf(data []byte) serialization.Codec {
	pickled := len(data) > 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5 && data[len(data)-1] == '.'
	switch {
	case pickled:
		return pickle.Codec
	case b.codec == pickle.Codec:
		return json.Codec
	}
	return b.codec
}
