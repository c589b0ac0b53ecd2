package sqldialect_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestOpenConnectsAndKnowsItsDialect(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a file?with #odd% name.db")
	for name, tc := range map[string]struct {
		database cache.Database
		want     *sqldialect.Dialect
	}{
		"postgresql by URL":    {cache.Database{URL: testserver.Postgres(t)}, sqldialect.PostgreSQL},
		"mysql by URL":         {cache.Database{URL: testserver.MySQL(t)}, sqldialect.MySQL},
		"sqlite by file":       {cache.Database{Engine: "django.db.backends.sqlite3", Name: file}, sqldialect.SQLite},
		"sqlite in memory":     {cache.Database{Engine: "sqlite", Name: ":memory:"}, sqldialect.SQLite},
		"sqlite by URL":        {cache.Database{URL: "sqlite:////" + strings.TrimPrefix(t.TempDir(), "/") + "/x.db"}, sqldialect.SQLite},
		"sqlite with a driver": {cache.Database{URL: "db+sqlite+pysqlite://"}, sqldialect.SQLite},
	} {
		t.Run(name, func(t *testing.T) {
			db, dialect, err := sqldialect.Open(tc.database)
			require.NoError(t, err)
			defer db.Close()
			assert.Same(t, tc.want, dialect)
			guessed, err := sqldialect.ForDriver(db)
			require.NoError(t, err)
			assert.Same(t, tc.want, guessed)
			var one int
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT 1").Scan(&one))
		})
	}
	matches, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	assert.Contains(t, matches, file)
}

func TestTimesSurviveEveryDatabase(t *testing.T) {
	want := time.Date(2026, 11, 21, 8, 49, 41, 123_456_000, time.UTC)
	for name, tc := range map[string]struct {
		database cache.Database
		column   string
	}{
		"postgresql": {cache.Database{URL: testserver.Postgres(t)}, "timestamp with time zone"},
		"mysql":      {cache.Database{URL: testserver.MySQL(t)}, "datetime(6)"},
		"sqlite":     {cache.Database{Engine: "sqlite3", Name: ":memory:"}, "datetime"},
	} {
		t.Run(name, func(t *testing.T) {
			db, dialect, err := sqldialect.Open(tc.database)
			require.NoError(t, err)
			defer db.Close()
			_, err = db.ExecContext(t.Context(), "CREATE TABLE times (at "+tc.column+")")
			require.NoError(t, err)
			insert := dialect.Rebind("INSERT INTO times VALUES ($1)")
			_, err = db.ExecContext(t.Context(), insert.Text, dialect.Time(want.In(time.FixedZone("", 3600))))
			require.NoError(t, err)
			var got time.Time
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT at FROM times").Scan(dialect.ScanTime(&got)))
			assert.Equal(t, want, got)
		})
	}
}

func TestOpenSetsSQLiteUp(t *testing.T) {
	db, _, err := sqldialect.Open(cache.Database{
		Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "x.db"), Options: map[string]string{"timeout": "1.5"},
	})
	require.NoError(t, err)
	defer db.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1", "busy_timeout": "1500"} {
		var got string
		require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		assert.Equal(t, want, got, pragma)
	}
	assert.Equal(t, 1, db.Stats().MaxOpenConnections)
}

func TestOpenRefusesWithoutShowingThePassword(t *testing.T) {
	for name, tc := range map[string]struct {
		database cache.Database
		want     string
	}{
		"nothing":                    {cache.Database{}, `unknown database engine ""`},
		"an unknown engine":          {cache.Database{Engine: "oracle", Password: "hidden"}, `unknown database engine "oracle"`},
		"an unknown scheme":          {cache.Database{URL: "redis://:hidden@host/0"}, `unknown database engine "redis"`},
		"a malformed URL":            {cache.Database{URL: "mysql://u:hidden@host:port/x"}, "malformed"},
		"a malformed query":          {cache.Database{URL: "mysql://u:hidden@host/x?%zz"}, "malformed"},
		"no name":                    {cache.Database{Engine: "mysql", Password: "hidden"}, "NAME is missing"},
		"an unknown option":          {cache.Database{URL: "postgres://u:hidden@host/x?colour=red"}, `unknown option "colour": there are application_name`},
		"an option twice":            {cache.Database{URL: "postgres://u:hidden@host/x?sslmode=disable&sslmode=require"}, "more than once"},
		"a bad MySQL timeout":        {cache.Database{URL: "mysql://u:hidden@host/x?connect_timeout=soon"}, "connect_timeout"},
		"a MySQL user with a colon":  {cache.Database{Engine: "mysql", Name: "x", User: "a:b", Password: "hidden"}, "colon"},
		"a value the driver refuses": {cache.Database{URL: "mysql://u:hidden@host/x?tls=nosuch"}, "refuses the settings"},
		"a bad SQLite timeout":       {cache.Database{Engine: "sqlite3", Name: "x", Options: map[string]string{"timeout": "-1"}}, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := sqldialect.Open(tc.database)
			require.ErrorContains(t, err, tc.want)
			assert.NotContains(t, err.Error(), "hidden")
		})
	}
}

func TestConnectingDoesNotShowThePassword(t *testing.T) {
	for _, url := range []string{
		"postgres://u:hidden@127.0.0.1:1/x?connect_timeout=1", "mysql://u:hidden@127.0.0.1:1/x?connect_timeout=1",
	} {
		db, _, err := sqldialect.Open(cache.Database{URL: url})
		require.NoError(t, err)
		defer db.Close()
		err = db.PingContext(t.Context())
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hidden")
	}
}

func FuzzOpenTakesAnyURL(f *testing.F) {
	for _, seed := range []string{
		"postgres://u:SECRET@h:5432/d?sslmode=disable", "mysql://u:SECRET@h/d", "sqlite:///x.db", "db+mysql+pymysql://SECRET@/d",
		"postgresql:///d?host=/run/postgresql", "://", "mysql://[::1]/d", "mysql://u:SECRET@h/a%2Fb?tls=true",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		db, dialect, err := sqldialect.Open(cache.Database{URL: url})
		if err == nil {
			if dialect == nil {
				t.Errorf("%q opened without a dialect", url)
			}
			db.Close()
		}
	})
}

// stranger is a driver whose type tells nothing.
type stranger struct{}

func (stranger) Open(string) (driver.Conn, error) { return nil, errors.New("no connection") }

func TestAnUnknownDriverNeedsAnEngine(t *testing.T) {
	sql.Register("stranger", stranger{})
	db, err := sql.Open("stranger", "")
	require.NoError(t, err)
	defer db.Close()
	_, err = sqldialect.ForDriver(db)
	assert.ErrorContains(t, err, "name the engine")
}
