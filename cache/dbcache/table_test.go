package dbcache_test

import (
	"bufio"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// djangoTables is what Django's createcachetable runs.
var djangoTables = map[*sqldialect.Dialect][]string{
	sqldialect.SQLite: {
		`CREATE TABLE "my_cache_table" ("cache_key" varchar(255) NOT NULL PRIMARY KEY, "value" text NOT NULL, "expires" datetime NOT NULL)`,
		`CREATE INDEX "my_cache_table_expires" ON "my_cache_table" ("expires")`,
	},
	sqldialect.PostgreSQL: {
		`CREATE TABLE "my_cache_table" ("cache_key" varchar(255) NOT NULL PRIMARY KEY, "value" text NOT NULL, "expires" timestamp with time zone NOT NULL)`,
		`CREATE INDEX "my_cache_table_expires" ON "my_cache_table" ("expires")`,
	},
	sqldialect.MySQL: {
		"CREATE TABLE `my_cache_table` (`cache_key` varchar(255) NOT NULL PRIMARY KEY, `value` longtext NOT NULL, `expires` datetime(6) NOT NULL)",
		"CREATE INDEX `my_cache_table_expires` ON `my_cache_table` (`expires`)",
	},
}

// djangoTable makes the table as Django does.
func djangoTable(t testing.TB, db *sql.DB, dialect *sqldialect.Dialect) {
	t.Helper()
	for _, statement := range djangoTables[dialect] {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// columns describes the table as the database itself does.
var columns = map[*sqldialect.Dialect]string{
	sqldialect.SQLite: `SELECT name || ' ' || type || ' ' || "notnull" || ' ' || pk FROM pragma_table_info('my_cache_table')
		UNION ALL SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1`,
	sqldialect.PostgreSQL: `SELECT column_name || ' ' || data_type || ' ' || coalesce(character_maximum_length::text, '') || ' ' || is_nullable
		FROM information_schema.columns WHERE table_name = 'my_cache_table'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE tablename = 'my_cache_table' ORDER BY 1`,
	sqldialect.MySQL: `SELECT concat_ws(' ', column_name, column_type, is_nullable, column_key, collation_name)
		FROM information_schema.columns WHERE table_schema = database() AND table_name = 'my_cache_table'
		UNION ALL SELECT concat_ws(' ', index_name, column_name) FROM information_schema.statistics
		WHERE table_schema = database() AND table_name = 'my_cache_table' ORDER BY 1`,
}

func describe(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), columns[dialect])
	require.NoError(t, err)
	defer rows.Close()
	var lines []string
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}

func TestCreateTableMakesDjangosTable(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, dialect := rawDB(t, database)
		djangoTable(t, db, dialect)
		want := describe(t, db, dialect)
		require.NoError(t, dbcache.CreateTable(t.Context(), db, table), "beside Django's")
		_, err := db.ExecContext(t.Context(), "DROP TABLE "+table)
		require.NoError(t, err)
		require.NoError(t, dbcache.CreateTable(t.Context(), db, table))
		for i, line := range want { // but for the collation of MySQL's keys
			if column, ok := strings.CutPrefix(line, "cache_key varchar(255) NO PRI utf8mb4_"); ok {
				want[i] = strings.TrimSuffix(line, column) + "bin"
			}
		}
		assert.Equal(t, want, describe(t, db, dialect))
	})
}

func TestCreateTableInManyProcessesAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		const processes = 8
		start := make(chan struct{})
		errs := make([]error, processes)
		var group sync.WaitGroup
		for i := range processes {
			db, _ := rawDB(t, database)
			group.Go(func() {
				<-start
				errs[i] = dbcache.CreateTable(t.Context(), db, table)
			})
		}
		close(start)
		group.Wait()
		for i, err := range errs {
			assert.NoError(t, err, "process %d", i)
		}
	})
}

func TestCreateTableRefuses(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		_, err := db.ExecContext(t.Context(), "CREATE TABLE strangers (id integer)")
		require.NoError(t, err)
		for name, bad := range map[string]string{
			"a table with other columns": "strangers",
			"a name with a quote":        "cache`; DROP TABLE strangers --",
			"an empty name":              "",
			"an empty schema":            ".cache",
			"a name too long":            strings.Repeat("n", 256),
		} {
			assert.Error(t, dbcache.CreateTable(t.Context(), db, bad), name)
		}
	})
}

func TestTableInASchema(t *testing.T) {
	db, _ := rawDB(t, engines[1].fresh(t))
	_, err := db.ExecContext(t.Context(), "CREATE SCHEMA apart")
	require.NoError(t, err)
	require.NoError(t, dbcache.CreateTable(t.Context(), db, "apart.entries"))
	store, err := dbcache.New(db, "apart.entries", dbcache.Options{})
	require.NoError(t, err)
	added, err := store.Add(t.Context(), "k", cache.Item{Value: []byte("v")}, time.Minute)
	require.NoError(t, err)
	assert.True(t, added)
	var index string
	require.NoError(t, db.QueryRowContext(t.Context(),
		"SELECT indexname FROM pg_indexes WHERE schemaname = 'apart' AND indexname LIKE '%expires'").Scan(&index))
	assert.Equal(t, "entries_expires", index)
}

// recorded is a row that Django wrote.
type recorded struct {
	Key     string `json:"cache_key"`
	Value   string `json:"value"`
	Expires string `json:"expires"`
}

// recordings returns the rows that Django stored in a database.
func recordings(t *testing.T, dialect *sqldialect.Dialect) []recorded {
	t.Helper()
	name := strings.Replace(dialect.Name(), "postgresql", "postgres", 1)
	file, err := os.Open(filepath.Join("..", "..", "driver", "drivertest", "testdata", "recorded", "django-cache-db-"+name+".jsonl"))
	require.NoError(t, err)
	defer file.Close()
	var rows []recorded
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Store *recorded }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
		if line.Store != nil {
			rows = append(rows, *line.Store)
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, rows)
	return rows
}

func TestRowsThatDjangoWroteAreReadAndWrittenAlike(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, dialect := rawDB(t, database)
		djangoTable(t, db, dialect)
		for _, row := range recordings(t, dialect) {
			checkRecorded(t, db, dialect, row)
		}
	})
}

// checkRecorded inserts a row as Django left it, reads it, writes it again as
// the same moment and compares the columns.
func checkRecorded(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect, row recorded) {
	t.Helper()
	expires, err := sqldialect.ParseTime(row.Expires)
	require.NoError(t, err)
	insert := dialect.Rebind("INSERT INTO my_cache_table (cache_key, value, expires) VALUES ($1, $2, $3)")
	_, err = db.ExecContext(t.Context(), insert.Text, insert.Args(row.Key, row.Value, row.Expires)...)
	require.NoError(t, err)
	store, err := dbcache.New(db, table, dbcache.Options{Now: func() time.Time { return expires.Add(-24 * time.Hour) }})
	require.NoError(t, err)

	item, err := store.Get(t.Context(), row.Key)
	require.NoError(t, err, row.Key)
	raw, err := base64.StdEncoding.DecodeString(row.Value)
	require.NoError(t, err)
	require.Equal(t, raw, item.Value, row.Key)

	require.NoError(t, store.Set(t.Context(), row.Key, item, 24*time.Hour))
	value, at := readRow(t, db, dialect, row.Key)
	require.Equal(t, row.Value, value, row.Key)
	require.Equal(t, expires, at, row.Key)
}

// readRow returns the value and expires columns of a row.
func readRow(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect, key string) (value string, expires time.Time) {
	t.Helper()
	q := dialect.Rebind("SELECT value, expires FROM my_cache_table WHERE cache_key = $1")
	require.NoError(t, db.QueryRowContext(t.Context(), q.Text, key).Scan(&value, dialect.ScanTime(&expires)))
	return value, expires
}

func TestExpiryIsWrittenAsDjangoWritesIt(t *testing.T) {
	now := time.Date(2026, 11, 21, 23, 0, 0, 250_000_000, time.FixedZone("", 3600))
	lifetimes := map[string]struct {
		ttl  time.Duration
		want string
	}{
		"whole seconds, rounded up": {time.Second, "2026-11-21 22:00:02"},
		"a fraction of a second":    {time.Millisecond, "2026-11-21 22:00:01"},
		"up to a whole second":      {750 * time.Millisecond, "2026-11-21 22:00:01"},
		"over 24 hours":             {30 * time.Hour, "2026-11-23 04:00:01"},
		"the longest":               {1<<63 - 1, "2319-03-03 21:47:18"},
		"never":                     {cache.Never, "9999-12-31 23:59:59"},
	}
	onEach(t, func(t *testing.T, database cache.Database) {
		db, dialect := rawDB(t, database)
		djangoTable(t, db, dialect)
		store, err := dbcache.New(db, table, dbcache.Options{Now: func() time.Time { return now }})
		require.NoError(t, err)
		for name, tc := range lifetimes {
			require.NoError(t, store.Set(t.Context(), "k", value("v"), tc.ttl))
			assert.Equal(t, tc.want, expiresText(t, db, dialect), name)
		}
	})
}

// expiresText returns the expires column of the only row as text.
func expiresText(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect) string {
	t.Helper()
	expression := map[*sqldialect.Dialect]string{
		sqldialect.SQLite:     "CAST(expires AS text)",
		sqldialect.MySQL:      "trim(TRAILING '.000000' FROM CAST(expires AS char))",
		sqldialect.PostgreSQL: "(expires AT TIME ZONE 'UTC')::text",
	}[dialect]
	var text string
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT "+expression+" FROM my_cache_table").Scan(&text))
	return text
}

func TestAMissingTableSaysHowToMakeIt(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, err := dbcache.New(db, "nowhere", dbcache.Options{})
		require.NoError(t, err)
		_, err = store.Get(t.Context(), "k")
		require.ErrorIs(t, err, dbcache.ErrNoTable)
		assert.ErrorContains(t, err, "createcachetable")
		_, err = store.Add(t.Context(), "k", cache.Item{}, time.Hour)
		require.ErrorIs(t, err, dbcache.ErrNoTable)
	})
}

func TestKeysOfOurOwnTableAreComparedByTheirBytes(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		store := open(t, database, cache.Options{})
		keys := []string{"key", "KEY", "k\u00e9y", "ke\u0301y"}
		for _, key := range keys {
			added, err := store.Add(t.Context(), key, cache.Item{Value: []byte(key)}, time.Hour)
			require.NoError(t, err)
			assert.True(t, added, key)
		}
		for _, key := range keys {
			got, err := store.Get(t.Context(), key)
			require.NoError(t, err, key)
			assert.Equal(t, key, string(got.Value))
		}
	})
}
