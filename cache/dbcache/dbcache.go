// Package dbcache is a cache store in a database table, in the layout of
// Django's database cache: cache_key, value (base64 of the bytes) and expires
// (whole seconds, UTC). Python and Go share the table, on PostgreSQL, MySQL,
// MariaDB and SQLite. Django must run with USE_TZ, its default.
//
// It follows django.core.cache.backends.db with these differences, none of
// which Python notices in the table:
//
//   - Lifetimes are rounded up to whole seconds, not down.
//   - Keys that MySQL's collation takes for equal, such as "a" and "A", are
//     never mixed up. They cannot stand in the table together, so storing one
//     removes the other.
//   - Add and compare-and-swap are one statement each and so atomic.
//   - Rows are not counted on every write, and a full table loses the entries
//     that would expire first, where Django drops those whose keys sort first.
//     See [Options].
package dbcache

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Options are the settings of a [Store]. The zero value means Django's
// defaults.
type Options struct {
	// MaxEntries bounds the table. Each process counts the rows after about
	// half of the writes that were missing at its last count, and at least
	// after 1 % of MaxEntries: by so much, times the processes that write, the
	// table may grow beyond. Negative values are an error. Default: 300.
	MaxEntries int

	// CullFrequency says what goes when there are more rows than MaxEntries:
	// the expired ones, and if that does not suffice 1/CullFrequency of the
	// rest, or more if there are more too many, beginning with those that
	// expire first. The row just written stays. [cache.CullAll] drops all
	// others. Other negative values are an error. Default: 3.
	CullFrequency int

	// Engine is postgresql, mysql or sqlite, for drivers whose type does not
	// tell, such as wrapped ones. Default: told by the driver.
	Engine string

	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Django's defaults.
const (
	defaultMaxEntries    = 300
	defaultCullFrequency = 3
)

// maxValue is the longest value in bytes: as base64 it fits SQLite's and
// PostgreSQL's limits of about 1 GB.
const maxValue = 700 << 20

// maxKey is the width of the key column in characters, used for bytes: a key
// with letters outside ASCII could be longer, but not be sure to fit.
const maxKey = 255

// Store is a [cache.Store] in a table. It implements [cache.Swapper],
// [cache.ManyGetter], [cache.ManySetter], [cache.ManyDeleter], [cache.Clearer]
// and [cache.Expirer], and is safe for concurrent use. It starts no goroutine.
//
// Statements run on their own, never in a longer transaction, and do not depend
// on the session's isolation level. Deadlocks, serialization failures and taken
// locks are retried for a moment, and so are broken connections where applying
// a statement twice does no harm: not in Add and CompareAndSwap.
type Store struct {
	db      *sqldialect.DB
	owned   bool
	table   string
	dialect *sqldialect.Dialect
	queries queries
	options Options
	closed  atomic.Bool

	culling sync.Mutex   // held by the writer that counts and culls
	left    atomic.Int64 // writes until rows are counted next
	packet  atomic.Int64 // MySQL's max_allowed_packet; 0 is not known yet
}

// New returns a store in a table of an open database, which stays the
// caller's: Close does not close it, and its pool limits are the caller's, too
// (on SQLite one connection is fastest). The table may have a schema in front,
// separated by a dot. It returns an error for a table name that has anything
// but ASCII letters, digits and underscores, for an unknown driver when the
// Options name no engine, and for negative Options. It does not look at the
// table: make it with [CreateTable] or Django's createcachetable.
func New(db *sql.DB, table string, o Options) (*Store, error) {
	dialect, err := dialectOf(db, o.Engine)
	if err != nil {
		return nil, fmt.Errorf("dbcache: new: %w", err)
	}
	return newStore(db, dialect, table, o)
}

// Open opens the database and returns a store in the table that the Location of
// s names. Of s it uses also MaxEntries, CullFrequency and PoolSize, which bounds
// the connections to a server. Close closes the database. The program links the
// driver: pgx, mysql, or modernc.org's sqlite. Open does not connect yet.
func Open(s cache.Settings, database cache.Database) (*Store, error) {
	if len(s.Location) != 1 {
		return nil, fmt.Errorf("dbcache: open: Location must be one table name, not %d", len(s.Location))
	}
	db, dialect, err := sqldialect.Open(database)
	if err != nil {
		return nil, fmt.Errorf("dbcache: open: %w", err)
	}
	if size := s.Options.PoolSize; size > 0 && dialect != sqldialect.SQLite {
		sqldialect.LimitPool(db, size)
	}
	o := Options{MaxEntries: s.Options.MaxEntries, CullFrequency: s.Options.CullFrequency}
	store, err := newStore(db, dialect, s.Location[0], o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	store.owned = true
	return store, nil
}

func dialectOf(db *sql.DB, engine string) (*sqldialect.Dialect, error) {
	if engine != "" {
		return sqldialect.ForEngine(engine)
	}
	return sqldialect.ForDriver(db)
}

func newStore(db *sql.DB, dialect *sqldialect.Dialect, table string, o Options) (*Store, error) {
	quoted, err := dialect.QuoteIdent(table)
	if err != nil {
		return nil, fmt.Errorf("dbcache: table: %w", err)
	}
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	return &Store{db: sqldialect.NewDB(db, dialect), table: table, dialect: dialect, queries: newQueries(dialect, quoted), options: o}, nil
}

func (o Options) withDefaults() (Options, error) {
	if o.MaxEntries < 0 || (o.CullFrequency < 0 && o.CullFrequency != cache.CullAll) {
		return o, fmt.Errorf("dbcache: MaxEntries %d or CullFrequency %d is negative", o.MaxEntries, o.CullFrequency)
	}
	if o.MaxEntries == 0 {
		o.MaxEntries = defaultMaxEntries
	}
	if o.CullFrequency == 0 {
		o.CullFrequency = defaultCullFrequency
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Traits implements [cache.Store]. Keys also must be valid UTF-8 without NUL:
// the store's methods return ErrBadKey for others.
func (s *Store) Traits() cache.Traits {
	return cache.Traits{Name: "db", MaxKey: maxKey, TextKeys: true, MaxValue: maxValue, Resolution: time.Second}
}

// Close closes the database if Open opened it. Every later operation returns
// [cache.ErrClosed].
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.db.CloseStatements()
	if s.owned {
		err = errors.Join(err, sqldialect.UnlessGone(s.db.Close()))
	}
	if err != nil {
		return fmt.Errorf("dbcache: close: %w", err)
	}
	return nil
}

// never is how Django stores an entry that does not expire: datetime.max
// without its microseconds.
var never = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// expiry returns the value of the expires column for a lifetime.
func (s *Store) expiry(ttl time.Duration) any {
	if ttl == cache.Never {
		return s.dialect.Time(never)
	}
	end := s.options.Now().Add(ttl)
	return s.dialect.Time(end.Add(time.Second - 1).Truncate(time.Second))
}

// now returns the time as a parameter. An entry is alive while its expires is
// not before it.
func (s *Store) now() any { return s.dialect.Time(s.options.Now()) }

// queries are the statements of a table that have a fixed text.
type queries struct {
	table                                            string
	get, set, add, swap, touch, delete, clear, count sqldialect.Query
}

func newQueries(d *sqldialect.Dialect, table string) queries {
	bind := func(statement string) sqldialect.Query {
		return d.Rebind(strings.ReplaceAll(statement, "{table}", table)).Kept()
	}
	key := d.SameKey("cache_key", "$1")
	return queries{
		table: table,
		get:   bind(`SELECT cache_key, value FROM {table} WHERE cache_key = $1 AND expires >= $2`),
		set: bind(`INSERT INTO {table} (cache_key, value, expires) VALUES ($1, $2, $3) ` +
			d.Upsert("cache_key", "value", "expires")),
		add: bind(addStatement(d)),
		swap: bind(`UPDATE {table} SET value = $3, expires = $4 WHERE ` + key +
			` AND ` + d.Same("value", "$2") + ` AND expires >= $5`),
		touch:  bind(`UPDATE {table} SET expires = $2 WHERE ` + key + ` AND expires >= $3`),
		delete: bind(`DELETE FROM {table} WHERE ` + key + ` AND expires >= $2`),
		clear:  bind(`DELETE FROM {table}`),
		count:  bind(`SELECT COUNT(*) FROM {table}`),
	}
}

// addStatement inserts a row, or replaces one that has expired by the time $4.
//
// MySQL also replaces a row whose key only looks the same. Its assignments see
// earlier ones: cache_key must come last, and expires after value. Its count of
// affected rows means different things by the connection's settings, so a row
// that stays is reported as the last insert id 1.
func addStatement(d *sqldialect.Dialect) string {
	const insert = `INSERT INTO {table} AS entry (cache_key, value, expires) VALUES ($1, $2, $3) `
	if d != sqldialect.MySQL {
		return insert + d.Upsert("cache_key", "value", "expires") + ` WHERE entry.expires < $4`
	}
	const free = `expires < $4 OR CAST(cache_key AS BINARY) <> CAST(VALUES(cache_key) AS BINARY)`
	return strings.Replace(insert, "AS entry ", "", 1) + `ON DUPLICATE KEY UPDATE
		value = IF(` + free + `, VALUES(value), IF(LAST_INSERT_ID(1), value, value)),
		expires = IF(` + free + `, VALUES(expires), expires),
		cache_key = VALUES(cache_key)`
}
