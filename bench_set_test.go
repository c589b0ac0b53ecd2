package celeryresults_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/rediscache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// setEngine is a backend with the results of ten thousand tasks, beside the same
// server asked for them directly.
type setEngine struct {
	name    string
	backend celeryresults.Backend
	ids     []string
	get     func(id string) error  // the raw client's
	trips   func(*testing.B) int64 // how often the server was asked for results so far
}

// BenchmarkResultSet compares the progress and the values of ten thousand tasks
// that are done, whose handles know nothing yet, with as many gets of the raw
// client, in turns; "as completed" takes them one by one.
func BenchmarkResultSet(b *testing.B) {
	for _, e := range []setEngine{redisSetEngine(b, true), redisSetEngine(b, false), postgresSetEngine(b)} {
		b.Run(e.name+"/progress", func(b *testing.B) {
			e.bench(b, func(set *celeryresults.ResultSet) (int, error) { return set.CompletedCount(context.Background()) })
		})
		b.Run(e.name+"/join", func(b *testing.B) {
			e.bench(b, func(set *celeryresults.ResultSet) (int, error) {
				values, err := set.Get(context.Background())
				return len(values), err
			})
		})
		b.Run(e.name+"/as completed", func(b *testing.B) {
			e.bench(b, func(set *celeryresults.ResultSet) (n int, err error) {
				for _, err = range set.AsCompleted(context.Background()) {
					n++
				}
				return n, err
			})
		})
	}
}

const setSize = 10_000

func (e setEngine) bench(b *testing.B, ask func(*celeryresults.ResultSet) (int, error)) {
	var asked atomic.Int64
	var trips int64
	compare(b, 1, func() error {
		for _, id := range e.ids {
			if err := e.get(id); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		before := e.trips(b)
		n, err := ask(e.fresh())
		if n != setSize {
			return errors.Join(fmt.Errorf("%d of %d", n, setSize), err)
		}
		trips += e.trips(b) - before
		asked.Add(1)
		return err
	})
	b.ReportMetric(float64(trips)/float64(asked.Load()), "trips")
}

// fresh returns the set with handles that know nothing.
func (e setEngine) fresh() *celeryresults.ResultSet {
	results := make([]*celeryresults.AsyncResult, len(e.ids))
	for i, id := range e.ids {
		results[i] = celeryresults.NewAsyncResult(id, e.backend)
	}
	return celeryresults.NewResultSet(results...)
}

func (e setEngine) filled(b *testing.B) setEngine {
	run := rand.Text()
	e.ids = make([]string, setSize)
	for i := range e.ids {
		e.ids[i] = run + strconv.Itoa(i)
		require.NoError(b, e.backend.StoreResult(context.Background(), benchMeta(e.ids[i])))
	}
	return e
}

// redisSetEngine keeps results in redis: as Django's cache does, pickled, or in
// documents of JSON, as Celery does.
func redisSetEngine(b *testing.B, django bool) setEngine {
	client := redis.NewClient(&redis.Options{Addr: testserver.StartRedis(b).Addr()})
	b.Cleanup(func() { _ = client.Close() })
	name, key := "redis pickle", ":1:celery-task-meta-"
	open := func(store cache.Store) (*cachebackend.CacheBackend, error) {
		c, err := cache.New(store, cache.Settings{})
		require.NoError(b, err)
		return cachebackend.New(c, celeryresults.Settings{ResultExtended: true})
	}
	if !django {
		name, key = "redis json", "celery-task-meta-"
		open = func(store cache.Store) (*cachebackend.CacheBackend, error) {
			return cachebackend.NewCelery(store, celeryresults.Settings{ResultExtended: true})
		}
	}
	backend, err := open(rediscache.New(client))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, backend.Close()) })
	return setEngine{
		name: name, backend: backend,
		get:   func(id string) error { return client.Get(context.Background(), key+id).Err() },
		trips: func(b *testing.B) int64 { return redisCalls(b, client, "mget") + redisCalls(b, client, "get") },
	}.filled(b)
}

// redisCalls returns how often a command was called.
func redisCalls(b *testing.B, client *redis.Client, command string) int64 {
	info, err := client.Info(context.Background(), "commandstats").Result()
	require.NoError(b, err)
	_, after, _ := strings.Cut(info, "cmdstat_"+command+":calls=")
	text, _, _ := strings.Cut(after, ",")
	n, _ := strconv.ParseInt(text, 10, 64) // it is not listed before the first call
	return n
}

// countedQueries counts the statements of a pool.
type countedQueries struct{ n atomic.Int64 }

func (c *countedQueries) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.n.Add(1)
	return ctx
}

func (c *countedQueries) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func postgresSetEngine(b *testing.B) setEngine {
	d := migrated(b, cache.Database{URL: testserver.Postgres(b)})
	config, err := pgxpool.ParseConfig(d.URL)
	require.NoError(b, err)
	counted := new(countedQueries)
	config.ConnConfig.Tracer = counted
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	require.NoError(b, err)
	b.Cleanup(pool.Close)
	db := stdlib.OpenDBFromPool(pool)
	b.Cleanup(func() { _ = db.Close() })
	backend, err := dbbackend.New(db, celeryresults.Settings{ResultExtended: true}, dbbackend.Options{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, backend.Close()) })
	return setEngine{
		name: "postgresql", backend: backend,
		get: func(id string) error {
			var status string
			var result sql.NullString
			return pool.QueryRow(context.Background(), `SELECT status, result FROM django_celery_results_taskresult WHERE task_id = $1`, id).Scan(&status, &result)
		},
		trips: func(*testing.B) int64 { return counted.n.Load() },
	}.filled(b)
}
