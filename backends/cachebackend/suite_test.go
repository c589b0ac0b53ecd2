package cachebackend_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/caches"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/cache/locmem"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// run runs the suite over a named cache.
func run(t *testing.T, c cache.Settings, databases map[string]cache.Database, h drivertest.Harness) {
	h.Open = func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
		store, err := caches.Open(c, databases)
		require.NoError(t, err)
		b, err := cachebackend.New(store, s)
		require.NoError(t, err)
		b.OnClose(store.Close)
		return b
	}
	h.Raw, h.Break = raw, breakRecord
	drivertest.Run(t, h)
}

func cacheOf(b *celeryresults.Backend) *cache.Cache {
	return b.Driver().(*cachebackend.CacheBackend).Cache()
}

func raw(t *testing.T, b *celeryresults.Backend, id string) []byte {
	item, err := cacheOf(b).GetItem(t.Context(), "celery-task-meta-"+id)
	require.NoError(t, err)
	return item.Value
}

func breakRecord(t *testing.T, b *celeryresults.Backend, id string) {
	broken := cache.Item{Value: []byte("\x80\x05broken"), Format: cache.Pickled}
	require.NoError(t, cacheOf(b).SetItem(t.Context(), "celery-task-meta-"+id, broken, time.Hour))
}

// nobody returns an address where nobody listens.
func nobody(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// dead returns how to open a backend over a cache whose server is not there.
func dead(c cache.Settings, databases map[string]cache.Database) func(t *testing.T) *celeryresults.Backend {
	return func(t *testing.T) *celeryresults.Backend {
		store, err := caches.Open(c, databases)
		require.NoError(t, err)
		b, err := cachebackend.New(store, celeryresults.Settings{})
		require.NoError(t, err)
		b.OnClose(store.Close)
		return b
	}
}

func TestLocmem(t *testing.T) {
	c := cache.Settings{Location: []string{t.Name()}, Options: cache.Options{MaxEntries: 100_000}}
	run(t, c, nil, drivertest.Harness{ShortestExpiry: 50 * time.Millisecond})
}

func TestRedis(t *testing.T) {
	c := cache.Settings{Backend: "redis", Location: []string{"redis://" + testserver.Redis(t) + "/1"}}
	run(t, c, nil, drivertest.Harness{
		ShortestExpiry: 50 * time.Millisecond,
		Dead:           dead(cache.Settings{Backend: "redis", Location: []string{"redis://" + nobody(t) + "/1"}}, nil),
	})
}

func TestDjangoRedis(t *testing.T) {
	for i, compressor := range []string{"", "zlib", "gzip", "lzma", "zstd", "lz4"} {
		t.Run(compressor, func(t *testing.T) {
			c := cache.Settings{
				Backend: "django-redis", Location: []string{fmt.Sprintf("redis://%s/%d", testserver.Redis(t), 5+i)},
				Options: cache.Options{Compressor: compressor},
			}
			run(t, c, nil, drivertest.Harness{ShortestExpiry: 50 * time.Millisecond, ValuesOnly: compressor != "zlib"})
		})
	}
}

func TestMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	c := cache.Settings{Backend: "redis", Location: []string{"redis://" + server.Addr()}}
	run(t, c, nil, drivertest.Harness{ShortestExpiry: time.Second, Advance: server.FastForward})
}

func TestMemcached(t *testing.T) {
	c := cache.Settings{Backend: "memcached", KeyPrefix: "shop", Location: []string{testserver.Memcached(t)}}
	run(t, c, nil, drivertest.Harness{
		ShortestExpiry: time.Second, Hidden: true,
		Dead: dead(cache.Settings{Backend: "memcached", Location: []string{nobody(t)}}, nil),
	})
}

func TestJSONForGoAlone(t *testing.T) {
	c := cache.Settings{
		Backend: "redis", Location: []string{"redis://" + testserver.Redis(t) + "/2"}, Options: cache.Options{Serializer: "json"},
	}
	run(t, c, nil, drivertest.Harness{ShortestExpiry: 50 * time.Millisecond, ValuesOnly: true})
}

// The db cache, whose table is made first.

func TestSQLite(t *testing.T) {
	testTable(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "cache.sqlite3")}, nil)
}

func TestPostgreSQL(t *testing.T) {
	testTable(t, cache.Database{URL: testserver.Postgres(t)}, &cache.Database{URL: "postgresql://celery@" + nobody(t) + "/none"})
}

func TestMySQL(t *testing.T) {
	testTable(t, cache.Database{URL: testserver.MySQL(t)}, &cache.Database{URL: "mysql://celery@" + nobody(t) + "/none"})
}

func testTable(t *testing.T, d cache.Database, away *cache.Database) {
	c := cache.Settings{Backend: "db", Location: []string{"cache_table"}, Options: cache.Options{MaxEntries: 100_000}}
	store, err := dbcache.Open(c, d)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	require.NoError(t, store.Close())
	h := drivertest.Harness{ShortestExpiry: time.Second}
	if away != nil {
		h.Dead = dead(c, map[string]cache.Database{"default": *away})
	}
	run(t, c, map[string]cache.Database{"default": d}, h)
}

// Celery's own cache backend.

func TestCeleryMemory(t *testing.T) {
	runCelery(t, "json", drivertest.Harness{ShortestExpiry: 50 * time.Millisecond}, func(t *testing.T) cache.Store {
		store, err := locmem.New("celery", &locmem.Options{MaxEntries: 5000})
		require.NoError(t, err)
		return store
	})
}

func TestCeleryMemcached(t *testing.T) {
	for _, serializer := range []string{"json", "pickle", "yaml", "msgpack"} {
		t.Run(serializer, func(t *testing.T) {
			addr := testserver.Memcached(t)
			runCelery(t, serializer, drivertest.Harness{
				ShortestExpiry: time.Second, PlainValues: serializer == "yaml" || serializer == "msgpack", Hidden: true, ValuesOnly: serializer != "json",
			}, func(t *testing.T) cache.Store {
				store, err := memcached.Open(cache.Settings{Backend: "pylibmc", Location: []string{addr}})
				require.NoError(t, err)
				return store
			})
		})
	}
}

func runCelery(t *testing.T, serializer string, h drivertest.Harness, open func(t *testing.T) cache.Store) {
	h.Open = func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
		s.ResultSerializer, s.ResultAcceptContent = serializer, []string{serializer}
		store := open(t)
		b, err := cachebackend.NewCelery(store, s)
		require.NoError(t, err)
		b.OnClose(store.Close)
		return b
	}
	drivertest.Run(t, h)
}
