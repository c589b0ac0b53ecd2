package celeryresults_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	gocache "github.com/patrickmn/go-cache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// rawClient is an engine's own client, storing and reading bytes as they are.
type rawClient struct {
	set func(ctx context.Context, key string, value []byte) error
	get func(ctx context.Context, key string) ([]byte, error)
}

// engine is a raw client beside a backend over the same server.
type engine struct {
	name    string
	raw     rawClient
	backend *celeryresults.Backend
}

// BenchmarkBackend compares guarded stores of new results, and gets of stored
// ones, with the raw client's set and get of the same bytes in the same run:
// the rounds alternate, and x/raw is the ratio of the median throughputs.
func BenchmarkBackend(b *testing.B) {
	for _, open := range []func(*testing.B) engine{
		locmemEngine, redisEngine, memcachedEngine, sqliteEngine, postgresEngine, mysqlEngine,
	} {
		e := open(b)
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/store/%d", e.name, callers), func(b *testing.B) { e.benchStore(b, callers) })
			b.Run(fmt.Sprintf("%s/get/%d", e.name, callers), func(b *testing.B) { e.benchGet(b, callers) })
		}
	}
}

// benchMeta returns a realistic result, whose document has about 600 bytes.
func benchMeta(id string) *celeryresults.TaskMeta {
	meta := benchResult
	meta.TaskID = id
	return &meta
}

var benchResult = celeryresults.TaskMeta{
	State: celeryresults.Success, Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC(), Extended: true,
	Result: celeryresults.NewValue(map[string]any{
		"order": 4711, "total": "1234.50", "currency": "EUR", "paid": true, "note": "delivered to the neighbour, second floor",
		"lines": []any{map[string]any{"sku": "A-100", "count": 2, "price": 99.5}, map[string]any{"sku": "B-200", "count": 1, "price": 1035.5}},
	}),
	Name: "shop.tasks.settle_order", Worker: "celery@worker-7.example.org", Queue: "billing",
	Args: celeryresults.NewValue([]any{4711}), Kwargs: celeryresults.NewValue(map[string]any{"notify": true, "locale": "de_DE"}),
}

func (e engine) benchStore(b *testing.B, callers int) {
	value := make([]byte, 600)
	_, _ = rand.Read(value)
	run := rand.Text()
	var n atomic.Int64
	compare(b, callers, func() error {
		return e.raw.set(context.Background(), run+strconv.FormatInt(n.Add(1), 10), value)
	}, func() error {
		return e.backend.StoreResult(context.Background(), benchMeta(run+strconv.FormatInt(n.Add(1), 10)))
	})
}

func (e engine) benchGet(b *testing.B, callers int) {
	run := rand.Text()
	value := make([]byte, 600)
	_, _ = rand.Read(value)
	ids := make([]string, 2000) // so that callers ask for different ones
	for i := range ids {
		ids[i] = fmt.Sprint(run, i)
		require.NoError(b, e.raw.set(context.Background(), ids[i], value))
		require.NoError(b, e.backend.StoreResult(context.Background(), benchMeta(ids[i])))
	}
	var n atomic.Int64
	next := func() string { return ids[n.Add(1)%int64(len(ids))] }
	compare(b, callers, func() error {
		_, err := e.raw.get(context.Background(), next())
		return err
	}, func() error {
		_, err := e.backend.GetTaskMeta(context.Background(), next())
		return err
	})
}

// compare runs rounds of both in turns.
func compare(b *testing.B, callers int, raw, ours func() error) {
	const round = 100 * time.Millisecond
	var rawRates, ourRates []float64
	rate(b, callers, raw, round)
	rate(b, callers, ours, round)
	for b.Loop() {
		rawRates = append(rawRates, rate(b, callers, raw, round))
		ourRates = append(ourRates, rate(b, callers, ours, round))
	}
	ratios := make([]float64, len(rawRates))
	for i := range ratios {
		ratios[i] = ourRates[i] / rawRates[i]
	}
	b.ReportMetric(median(ratios), "x/raw")
	b.ReportMetric(median(ourRates), "op/s")
	b.ReportMetric(median(rawRates), "raw-op/s")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// rate returns how often per second the callers together get f done.
func rate(b *testing.B, callers int, f func() error, d time.Duration) float64 {
	var done atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for range callers {
		group.Go(func() {
			for time.Since(start) < d {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

func benchBackend(b *testing.B, c cache.Settings, databases map[string]cache.Database) *celeryresults.Backend {
	backend, err := backends.OpenBackend(djangoCache(c, databases), "")
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, backend.Close()) })
	return backend
}

func locmemEngine(b *testing.B) engine {
	raw := gocache.New(time.Hour, 0)
	return engine{"locmem", rawClient{
		set: func(_ context.Context, key string, value []byte) error {
			raw.Set(key, value, time.Hour)
			return nil
		},
		get: func(_ context.Context, key string) ([]byte, error) {
			v, _ := raw.Get(key)
			return v.([]byte), nil
		},
	}, benchBackend(b, cache.Settings{Location: []string{b.Name()}, Options: cache.Options{MaxEntries: 1 << 30}}, nil)}
}

func redisEngine(b *testing.B) engine {
	addr := testserver.Redis(b)
	raw := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 64})
	b.Cleanup(func() { _ = raw.Close() })
	return engine{"redis", rawClient{
		set: func(ctx context.Context, key string, value []byte) error {
			return raw.Set(ctx, key, value, time.Hour).Err()
		},
		get: func(ctx context.Context, key string) ([]byte, error) { return raw.Get(ctx, key).Bytes() },
	}, benchBackend(b, cache.Settings{Backend: "redis", Location: []string{"redis://" + addr}}, nil)}
}

func memcachedEngine(b *testing.B) engine {
	addr := testserver.Memcached(b)
	raw := memcache.New(addr)
	raw.MaxIdleConns, raw.Timeout = 64, 10*time.Second
	b.Cleanup(func() { _ = raw.Close() })
	return engine{"memcached", rawClient{
		set: func(_ context.Context, key string, value []byte) error {
			return raw.Set(&memcache.Item{Key: key, Value: value, Expiration: 3600})
		},
		get: func(_ context.Context, key string) ([]byte, error) {
			item, err := raw.Get(key)
			if err != nil {
				return nil, err
			}
			return item.Value, nil
		},
	}, benchBackend(b, cache.Settings{Backend: "memcached", Location: []string{addr}}, nil)}
}

func sqliteEngine(b *testing.B) engine {
	return dbEngine(b, "sqlite", cache.Database{Engine: "sqlite3", Name: filepath.Join(b.TempDir(), "cache.sqlite3")},
		`INSERT INTO raw_cache (cache_key, value, expires) VALUES (?, ?, ?)
		ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires`,
		`SELECT value FROM raw_cache WHERE cache_key = ?`)
}

func postgresEngine(b *testing.B) engine {
	return dbEngine(b, "postgresql", cache.Database{URL: testserver.Postgres(b)},
		`INSERT INTO raw_cache (cache_key, value, expires) VALUES ($1, $2, $3)
		ON CONFLICT (cache_key) DO UPDATE SET value = excluded.value, expires = excluded.expires`,
		`SELECT value FROM raw_cache WHERE cache_key = $1`)
}

func mysqlEngine(b *testing.B) engine {
	return dbEngine(b, "mysql", cache.Database{URL: testserver.MySQL(b)},
		`INSERT INTO raw_cache (cache_key, value, expires) VALUES (?, ?, ?)
		ON DUPLICATE KEY UPDATE value = VALUES(value), expires = VALUES(expires)`,
		`SELECT value FROM raw_cache WHERE cache_key = ?`)
}

func dbEngine(b *testing.B, name string, d cache.Database, upsert, query string) engine {
	db, _, err := sqldialect.Open(d)
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	for _, table := range []string{"raw_cache", "cache_table"} {
		require.NoError(b, dbcache.CreateTable(context.Background(), db, table))
	}
	return engine{name, rawSQL(db, upsert, query), benchBackend(b,
		cache.Settings{Backend: "db", Location: []string{"cache_table"}, Options: cache.Options{MaxEntries: 1 << 30}},
		map[string]cache.Database{"default": d})}
}

func rawSQL(db *sql.DB, upsert, query string) rawClient {
	return rawClient{
		set: func(ctx context.Context, key string, value []byte) error {
			_, err := db.ExecContext(ctx, upsert, key, base64.StdEncoding.EncodeToString(value), "2099-01-01 00:00:00")
			return err
		},
		get: func(ctx context.Context, key string) ([]byte, error) {
			var value []byte
			err := db.QueryRowContext(ctx, query, key).Scan(&value)
			return value, err
		},
	}
}
