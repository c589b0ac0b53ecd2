package celeryresults_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
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
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/rediscache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// setEngine is a backend with the results of ten thousand tasks, beside the same
// server asked for them directly.
type setEngine struct {
	name    string
	backend *celeryresults.Backend
	ids     []string
	group   string                // that the tasks are of
	get     func(id string) error // the raw client's
	trips   func() int64          // how often the server was asked so far
}

// BenchmarkResultSet compares the progress and the values of ten thousand tasks
// that are done, whose handles know nothing yet, with as many gets of the raw
// client, in turns; "as completed" takes them one by one.
func BenchmarkResultSet(b *testing.B) {
	for _, e := range []setEngine{redisSetEngine(b), djangoSetEngine(b), postgresSetEngine(b)} {
		b.Run(e.name+"/progress", func(b *testing.B) {
			e.bench(b, func(set *celeryresults.ResultSet) (int, error) { return set.CompletedCount(context.Background()) })
		})
		if _, err := e.backend.Tally(context.Background(), e.group); err == nil {
			b.Run(e.name+"/tally", func(b *testing.B) {
				e.bench(b, func(*celeryresults.ResultSet) (int, error) {
					p, err := celeryresults.NewGroupResult(e.group, e.backend).Tally(context.Background())
					return p.Successful, err
				})
			})
		}
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
		before := e.trips()
		n, err := ask(e.fresh())
		if n != setSize {
			return errors.Join(fmt.Errorf("%d of %d", n, setSize), err)
		}
		trips += e.trips() - before
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
	e.group = rand.Text()
	e.ids = make([]string, setSize)
	for i := range e.ids {
		e.ids[i] = e.group + strconv.Itoa(i)
		meta := benchMeta(e.ids[i])
		meta.GroupID = e.group
		require.NoError(b, e.backend.StoreResult(context.Background(), meta))
	}
	return e
}

// redisSetEngine keeps results in redis as Celery's own backend does, in JSON.
func redisSetEngine(b *testing.B) setEngine {
	client := redis.NewClient(&redis.Options{Addr: testserver.StartRedis(b).Addr()})
	b.Cleanup(func() { _ = client.Close() })
	backend, err := redisbackend.New(client, celeryresults.Settings{ResultExtended: true, ResultTally: true}, redisbackend.Options{})
	require.NoError(b, err)
	return ofRedis(b, "redis", "celery-task-meta-", client, backend)
}

// djangoSetEngine keeps results in redis as Django's cache does, pickled.
func djangoSetEngine(b *testing.B) setEngine {
	client := redis.NewClient(&redis.Options{Addr: testserver.StartRedis(b).Addr()})
	b.Cleanup(func() { _ = client.Close() })
	c, err := cache.New(rediscache.New(client), cache.Settings{})
	require.NoError(b, err)
	backend, err := cachebackend.New(c, celeryresults.Settings{ResultExtended: true})
	require.NoError(b, err)
	return ofRedis(b, "django-cache on redis", ":1:celery-task-meta-", client, backend)
}

func ofRedis(b *testing.B, name, prefix string, client *redis.Client, backend *celeryresults.Backend) setEngine {
	b.Cleanup(func() { require.NoError(b, backend.Close()) })
	counted := new(countedTrips)
	client.AddHook(counted)
	return setEngine{
		name: name, backend: backend,
		get:   func(id string) error { return client.Get(context.Background(), prefix+id).Err() },
		trips: counted.n.Load,
	}.filled(b)
}

// countedTrips counts the round trips of a client.
type countedTrips struct{ n atomic.Int64 }

func (c *countedTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *countedTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

func (c *countedTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmds)
	}
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
		trips: counted.n.Load,
	}.filled(b)
}
