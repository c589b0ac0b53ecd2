package dbcache_test

import (
	"context"
	"database/sql"
	"flag"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// TestMain lets many of the suite's cases run at once: they wait for lifetimes
// to end rather than work. The MySQL driver's remarks about connections that
// tests have killed are left out.
func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	if err := flag.Set("test.parallel", "24"); err != nil {
		panic(err)
	}
	testserver.Main(m)
}

const table = "my_cache_table"

// engines gives every database that the tests use a way to make an empty one.
var engines = []struct {
	name  string
	fresh func(t testing.TB) cache.Database
}{
	{"sqlite", func(t testing.TB) cache.Database {
		return cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "cache.db")}
	}},
	{"postgresql", func(t testing.TB) cache.Database { return cache.Database{URL: testserver.Postgres(t)} }},
	{"mysql", func(t testing.TB) cache.Database { return cache.Database{URL: testserver.MySQL(t)} }},
}

// onEach runs a test on an empty database of every engine.
func onEach(t *testing.T, test func(t *testing.T, database cache.Database)) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			test(t, engine.fresh(t))
		})
	}
}

// open opens a store in the table, which it makes if it is not there.
func open(t testing.TB, database cache.Database, options cache.Options) *dbcache.Store {
	t.Helper()
	store, err := dbcache.Open(cache.Settings{Location: []string{table}, Options: options}, database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	require.NoError(t, store.CreateTable(t.Context()))
	return store
}

// rawDB opens the database beside the store.
func rawDB(t testing.TB, database cache.Database) (*sql.DB, *sqldialect.Dialect) {
	t.Helper()
	db, dialect, err := sqldialect.Open(database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db, dialect
}

func TestStore(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		cachetest.Harness{
			Owned: true,
			Open: func(t *testing.T) cache.Store {
				return open(t, database, cache.Options{MaxEntries: 100_000, PoolSize: 4})
			},
			Stall: func(t *testing.T) (cache.Store, func()) { return stalled(t, database) },
		}.Run(t)
	})
}

// stalled returns a store whose table is locked, against readers, too.
func stalled(t *testing.T, database cache.Database) (cache.Store, func()) {
	db, dialect := rawDB(t, database)
	if dialect == sqldialect.SQLite {
		db = rollbackJournal(t)
	}
	store, err := dbcache.New(db, table, dbcache.Options{})
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	db.SetMaxOpenConns(0)
	return store, lockTable(t, db, lockStatements[dialect])
}

// rollbackJournal opens a SQLite database without a write-ahead log, beside
// which readers never wait.
func rollbackJournal(t *testing.T) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "stalled.db")+"?_pragma=busy_timeout(20)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

var lockStatements = map[*sqldialect.Dialect]struct{ begin, lock, unlock string }{
	sqldialect.PostgreSQL: {"BEGIN", "LOCK TABLE " + table + " IN ACCESS EXCLUSIVE MODE", "ROLLBACK"},
	sqldialect.MySQL:      {"SELECT 1", "LOCK TABLES " + table + " WRITE", "UNLOCK TABLES"},
	sqldialect.SQLite:     {"SELECT 1", "BEGIN EXCLUSIVE", "ROLLBACK"},
}

// lockTable locks the table and returns what unlocks it.
func lockTable(t *testing.T, db *sql.DB, s struct{ begin, lock, unlock string }) func() {
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	for _, statement := range []string{s.begin, s.lock} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return func() {
		_, err := conn.ExecContext(context.Background(), s.unlock)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
}
