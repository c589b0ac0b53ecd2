package dbcache_test

import (
	"bytes"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// mysqlWith opens a database with the driver's own parameters.
func mysqlWith(t *testing.T, parameters string) *sql.DB {
	t.Helper()
	address := strings.TrimPrefix(testserver.MySQL(t), "mysql://")
	login, rest, _ := strings.Cut(address, "@")
	host, name, _ := strings.Cut(rest, "/")
	db, err := sql.Open("mysql", login+"@tcp("+host+")/"+name+"?"+parameters)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestTheCallersMySQLParametersDoNotMatter(t *testing.T) {
	for _, parameters := range []string{
		"", "clientFoundRows=true", "interpolateParams=true", "parseTime=true&loc=Asia%2FTokyo&time_zone=%27-05:00%27",
	} {
		t.Run(parameters, func(t *testing.T) {
			t.Parallel()
			store, clock := withClock(t, mysqlWith(t, parameters), dbcache.Options{})
			checkOutcomes(t, store, clock)
		})
	}
}

// checkOutcomes checks what the operations report, also where they change
// nothing.
func checkOutcomes(t *testing.T, store *dbcache.Store, clock *clock) {
	t.Helper()
	ctx := t.Context()
	add := func() (bool, error) { return store.Add(ctx, "k", value("v"), time.Minute) }
	touch := func() (bool, error) { return store.Touch(ctx, "k", time.Minute) }
	swap := func() (bool, error) { return store.CompareAndSwap(ctx, "k", value("v"), value("v"), time.Minute) }
	remove := func() (bool, error) { return store.Delete(ctx, "k") }
	expire := func() (bool, error) { clock.advance(time.Hour); return true, nil }
	for i, step := range []struct {
		name string
		do   func() (bool, error)
		want bool
	}{
		{"touch of nothing", touch, false}, {"swap of nothing", swap, false}, {"delete of nothing", remove, false},
		{"add", add, true}, {"add again", add, false}, {"add once more", add, false},
		{"touch to the same moment", touch, true}, {"swap for itself", swap, true},
		{"time passes", expire, true}, {"touch of an expired one", touch, false},
		{"add over an expired one", add, true}, {"add over that", add, false},
		{"delete", remove, true}, {"delete again", remove, false}, {"add after delete", add, true},
	} {
		got, err := step.do()
		require.NoError(t, err, "%d: %s", i, step.name)
		require.Equal(t, step.want, got, "%d: %s", i, step.name)
	}
}

func TestAValueOverMySQLsPacketIsTooLarge(t *testing.T) {
	db := mysqlWith(t, "")
	store, _ := withClock(t, db, dbcache.Options{})
	var packet int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT @@max_allowed_packet").Scan(&packet))
	large := cache.Item{Value: bytes.Repeat([]byte("v"), packet/4*3)}
	require.NoError(t, store.Set(t.Context(), "k", value("old"), time.Hour))

	_, err := store.Add(t.Context(), "other", large, time.Hour)
	require.ErrorIs(t, err, cache.ErrTooLarge)
	require.ErrorIs(t, store.Set(t.Context(), "k", large, time.Hour), cache.ErrTooLarge)
	assert.Equal(t, "(miss)", got(t, store, "k"), "no stale value is left")

	require.NoError(t, store.Set(t.Context(), "k", value("old"), time.Hour))
	err = store.SetMany(t.Context(), map[string]cache.Item{"a": value("v"), "k": large}, time.Hour)
	require.ErrorIs(t, err, cache.ErrTooLarge)
	assert.Equal(t, "(miss)", got(t, store, "k"), "no stale value is left")

	fits := cache.Item{Value: large.Value[:len(large.Value)-8<<10]}
	require.NoError(t, store.Set(t.Context(), "k", fits, time.Hour))
}

func TestIdleConnectionsThatDiedAreReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		fresh func(testing.TB) string
		kill  string
	}{
		"postgresql": {testserver.Postgres,
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"},
		"mysql": {testserver.MySQL,
			"BEGIN NOT ATOMIC FOR p IN (SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()) DO KILL p.id; END FOR; END"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := cache.Database{URL: tc.fresh(t)}
			store := open(t, database, cache.Options{PoolSize: 4})
			killer, _ := rawDB(t, database)
			for range 5 {
				addTogether(t, store, 4)
				_, err := killer.ExecContext(t.Context(), tc.kill)
				require.NoError(t, err)
				require.NoError(t, store.Set(t.Context(), "k", value("v"), time.Hour))
				require.Equal(t, "v", got(t, store, "k"))
			}
		})
	}
}

func TestCloseLeavesTheCallersDatabaseOpen(t *testing.T) {
	db, _ := rawDB(t, engines[0].fresh(t))
	store, _ := withClock(t, db, dbcache.Options{})
	require.NoError(t, store.Close())
	require.NoError(t, store.Close())
	assert.NoError(t, db.PingContext(t.Context()))
	_, err := store.Get(t.Context(), "k")
	assert.ErrorIs(t, err, cache.ErrClosed)
}

func TestOpenAndNewRefuse(t *testing.T) {
	memory := cache.Database{Engine: "sqlite3", Name: ":memory:"}
	for name, tc := range map[string]struct {
		settings cache.Settings
		database cache.Database
	}{
		"no table":                {cache.Settings{}, memory},
		"two tables":              {cache.Settings{Location: []string{"a", "b"}}, memory},
		"a table with a quote":    {cache.Settings{Location: []string{`a"`}}, memory},
		"an unknown engine":       {cache.Settings{Location: []string{table}}, cache.Database{Engine: "oracle"}},
		"negative MaxEntries":     {cache.Settings{Location: []string{table}, Options: cache.Options{MaxEntries: -1}}, memory},
		"a bad CullFrequency":     {cache.Settings{Location: []string{table}, Options: cache.Options{CullFrequency: -2}}, memory},
		"a URL that is malformed": {cache.Settings{Location: []string{table}}, cache.Database{URL: "postgresql://u:hidden@[::1/db"}},
	} {
		store, err := dbcache.Open(tc.settings, tc.database)
		assert.Error(t, err, name)
		assert.Nil(t, store, name)
		assert.NotContains(t, err.Error(), "hidden")
	}
	_, err := dbcache.New(nil, table, dbcache.Options{Engine: "oracle"})
	assert.Error(t, err)
}

func TestADatabaseInMemoryIsOneForAllCallers(t *testing.T) {
	store := open(t, cache.Database{URL: "sqlite://"}, cache.Options{})
	assert.Len(t, addTogether(t, store, 32), 1)
}
