package celeryresults_test

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/backendtest"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// opener returns a harness's Open that lays the suite's settings over base.
func opener(base celeryresults.Settings) func(*testing.T, celeryresults.Settings) celeryresults.Backend {
	return func(t *testing.T, s celeryresults.Settings) celeryresults.Backend {
		t.Helper()
		merged := base
		merged.ResultExpires, merged.ResultExtended = s.ResultExpires, s.ResultExtended
		merged.ResultTombstones, merged.ResultTally = s.ResultTombstones, s.ResultTally
		b, err := backends.OpenBackend(merged, "")
		require.NoError(t, err)
		return b
	}
}

func djangoCache(c cache.Settings, databases map[string]cache.Database) celeryresults.Settings {
	return celeryresults.Settings{
		ResultBackend: "django-cache",
		Caches:        map[string]cache.Settings{"default": c},
		Databases:     databases,
	}
}

func TestLocmemCache(t *testing.T) {
	s := djangoCache(cache.Settings{Location: []string{t.Name()}, Options: cache.Options{MaxEntries: 100_000}}, nil)
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond})
}

func TestRedisCache(t *testing.T) {
	s := djangoCache(cache.Settings{Backend: "redis", Location: []string{"redis://" + testserver.Redis(t) + "/1"}}, nil)
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond})
}

func TestDjangoRedisCache(t *testing.T) {
	for i, compressor := range []string{"", "zlib", "gzip", "lzma", "zstd", "lz4"} {
		t.Run(compressor, func(t *testing.T) {
			s := djangoCache(cache.Settings{
				Backend: "django-redis", Location: []string{fmt.Sprintf("redis://%s/%d", testserver.Redis(t), 5+i)},
				Options: cache.Options{Compressor: compressor},
			}, nil)
			ids := 1000
			if compressor == "lzma" || compressor == "lz4" { // which take milliseconds for a record, or do under the race detector
				ids = 200
			}
			backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond, RaceIDs: ids})
		})
	}
}

func TestMiniredisCache(t *testing.T) {
	server := miniredis.RunT(t)
	s := djangoCache(cache.Settings{Backend: "redis", Location: []string{"redis://" + server.Addr()}}, nil)
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second, Advance: server.FastForward})
}

func TestMemcachedCache(t *testing.T) {
	s := djangoCache(cache.Settings{Backend: "memcached", KeyPrefix: "shop", Location: []string{testserver.Memcached(t)}}, nil)
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second, Hidden: true})
}

func TestJSONCacheForGoAlone(t *testing.T) {
	s := djangoCache(cache.Settings{
		Backend: "redis", Location: []string{"redis://" + testserver.Redis(t) + "/2"},
		Options: cache.Options{Serializer: "json"},
	}, nil)
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond})
}

// The db cache, whose table is made first.

func TestSQLiteCache(t *testing.T) {
	testDBCache(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "cache.sqlite3")})
}

func TestPostgreSQLCache(t *testing.T) {
	testDBCache(t, cache.Database{URL: testserver.Postgres(t)})
}

func TestMySQLCache(t *testing.T) {
	testDBCache(t, cache.Database{URL: testserver.MySQL(t)})
}

func testDBCache(t *testing.T, d cache.Database) {
	c := cache.Settings{Backend: "db", Location: []string{"cache_table"}, Options: cache.Options{MaxEntries: 100_000}}
	store, err := dbcache.Open(c, d)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	require.NoError(t, store.Close())
	s := djangoCache(c, map[string]cache.Database{"default": d})
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second})
}

// The tables of django-celery-results, made by ourselves.

func TestSQLiteTables(t *testing.T) {
	testTables(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.sqlite3")})
}

func TestPostgreSQLTables(t *testing.T) {
	testTables(t, cache.Database{URL: testserver.Postgres(t)})
}

func TestMySQLTables(t *testing.T) {
	testTables(t, cache.Database{URL: testserver.MySQL(t)})
}

func testTables(t *testing.T, d cache.Database) {
	db, dialect, err := sqldialect.Open(d)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{Engine: dialect.Name()})
	require.NoError(t, errors.Join(err, db.Close()))
	s := celeryresults.Settings{ResultBackend: "django-db", Databases: map[string]cache.Database{"default": d}}
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond})
}

// Celery's own tables, as the backend makes them, and as Celery 5.7 extends them.

func TestSQLiteOfSQLAlchemy(t *testing.T) {
	testSQLAlchemy(t, "json", func(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "celery.sqlite3") })
}

func TestPostgreSQLOfSQLAlchemy(t *testing.T) {
	for _, serializer := range []string{"json", "pickle", "yaml", "msgpack"} {
		t.Run(serializer, func(t *testing.T) {
			testSQLAlchemy(t, serializer, func(t *testing.T) string { return testserver.Postgres(t) })
		})
	}
}

func TestMySQLOfSQLAlchemy(t *testing.T) {
	testSQLAlchemy(t, "json", func(t *testing.T) string { return testserver.MySQL(t) })
}

func testSQLAlchemy(t *testing.T, serializer string, fresh func(t *testing.T) string) {
	for _, alter := range []bool{false, true} {
		t.Run(fmt.Sprintf("altered %v", alter), func(t *testing.T) {
			s := celeryresults.Settings{ResultBackend: "db+" + fresh(t), ResultSerializer: serializer, ResultAcceptContent: []string{serializer}}
			if alter {
				db, err := sqlalchemybackend.OpenDatabase(s)
				require.NoError(t, err)
				_, err = sqlalchemybackend.Migrate(t.Context(), db, s, sqlalchemybackend.MigrateOptions{Alter: true})
				require.NoError(t, errors.Join(err, db.Close()))
			}
			backendtest.Run(t, backendtest.Harness{
				Open: opener(s), ShortestExpiry: 50 * time.Millisecond, RaceIDs: 1000,
				PlainValues: alter && (serializer == "yaml" || serializer == "msgpack"), // else results are pickles
			})
		})
	}
}

// Celery's own cache backend.

func TestCeleryMemory(t *testing.T) {
	s := celeryresults.Settings{ResultBackend: "cache+memory://"}
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: 50 * time.Millisecond, RaceIDs: 2000})
}

func TestCeleryMemcached(t *testing.T) {
	for _, serializer := range []string{"json", "pickle", "yaml", "msgpack"} {
		t.Run(serializer, func(t *testing.T) {
			s := celeryresults.Settings{
				ResultBackend:       "cache+memcached://" + testserver.Memcached(t) + "/",
				ResultSerializer:    serializer,
				ResultAcceptContent: []string{serializer},
			}
			s.ResultBackendTransportOptions.GlobalKeyPrefix = serializer
			backendtest.Run(t, backendtest.Harness{
				Open: opener(s), ShortestExpiry: time.Second, RaceIDs: 2500,
				PlainValues: serializer == "yaml" || serializer == "msgpack", Hidden: true,
			})
		})
	}
}

// Celery's own redis backend.

func redisBackend(url, serializer string) celeryresults.Settings {
	s := celeryresults.Settings{ResultBackend: url, ResultSerializer: serializer, ResultAcceptContent: []string{serializer}}
	s.ResultBackendTransportOptions.GlobalKeyPrefix = serializer
	return s
}

func TestRedis(t *testing.T) {
	for _, serializer := range []string{"json", "pickle", "yaml", "msgpack"} {
		t.Run(serializer, func(t *testing.T) {
			backendtest.Run(t, backendtest.Harness{
				Open: opener(redisBackend("redis://"+testserver.Redis(t)+"/3", serializer)), ShortestExpiry: time.Second,
				PlainValues: serializer == "yaml" || serializer == "msgpack",
			})
		})
	}
}

// Records that are compressed, whose states the server can't tell.
func TestRedisCompressed(t *testing.T) {
	for serializer, method := range map[string]string{"json": "zstd", "pickle": "gzip"} {
		t.Run(serializer+" by "+method, func(t *testing.T) {
			s := redisBackend("redis://"+testserver.Redis(t)+"/4", serializer)
			s.ResultCompression = method
			backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second, RaceIDs: 2000})
		})
	}
	_, err := backends.Open(celeryresults.Settings{ResultBackend: "redis://127.0.0.1", ResultCompression: "brotli"})
	require.ErrorContains(t, err, "CELERY_RESULT_COMPRESSION")
}

func TestRedisSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	testserver.StartRedis(t, "--unixsocket", path)
	backendtest.Run(t, backendtest.Harness{
		Open: opener(redisBackend("redis+socket://"+path+"?virtual_host=2", "json")), ShortestExpiry: time.Second, RaceIDs: 2000,
	})
}

func TestMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	backendtest.Run(t, backendtest.Harness{
		Open: opener(redisBackend("redis://"+server.Addr(), "json")), ShortestExpiry: time.Second, Advance: server.FastForward, RaceIDs: 2000,
	})
}

func TestRedisTLS(t *testing.T) {
	server := testserver.StartRedisTLS(t)
	query := url.Values{
		"ssl_cert_reqs": {"CERT_REQUIRED"}, "ssl_ca_certs": {server.CAFile}, "ssl_certfile": {server.CertFile}, "ssl_keyfile": {server.KeyFile},
	}
	backendtest.Run(t, backendtest.Harness{
		Open: opener(redisBackend(server.URL()+"/0?"+query.Encode(), "json")), ShortestExpiry: time.Second, RaceIDs: 2000,
	})
}

func TestRedisSentinel(t *testing.T) {
	servers := testserver.StartSentinel(t, 1, 3)
	s := redisBackend("sentinel://"+strings.Join(servers.SentinelAddrs(), "/0;sentinel://")+"/0", "json")
	s.ResultBackendTransportOptions.Other = map[string]any{"master_name": servers.MasterName()}
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second, RaceIDs: 2000})
}

func TestRedisCluster(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	s := redisBackend("redis+cluster://"+strings.Join(nodes.Addrs(), ","), "json")
	backendtest.Run(t, backendtest.Harness{Open: opener(s), ShortestExpiry: time.Second, RaceIDs: 2000, Hidden: true})
}

func TestRedisClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t), DB: 4, ContextTimeoutEnabled: true})
	defer client.Close()
	backendtest.Run(t, backendtest.Harness{ShortestExpiry: time.Second, RaceIDs: 2000, Open: func(t *testing.T, s celeryresults.Settings) celeryresults.Backend {
		b, err := redisbackend.New(client, s, redisbackend.Options{})
		require.NoError(t, err)
		return b
	}})
}
