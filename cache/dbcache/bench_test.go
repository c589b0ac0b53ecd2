package dbcache_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// operationsPerRound is how many operations run before store and raw database
// take turns.
const operationsPerRound = 256

// BenchmarkAgainstRawSQL runs the store and the same statements through
// database/sql in turns on one pool, and reports how many times the raw
// throughput the store reaches.
func BenchmarkAgainstRawSQL(b *testing.B) {
	for _, engine := range engines {
		for _, callers := range []int{1, 64} {
			for _, operation := range []string{"set", "get"} {
				b.Run(fmt.Sprintf("%s/%s/%d", engine.name, operation, callers), func(b *testing.B) {
					store, raw := contenders(b, engine.fresh(b), operation)
					compare(b, callers, store, raw)
				})
			}
		}
	}
}

// contenders returns the operation through the store and without it.
func contenders(b *testing.B, database cache.Database, operation string) (store, raw func(context.Context, int) error) {
	db, dialect := rawDB(b, database)
	s, err := dbcache.New(db, table, dbcache.Options{MaxEntries: 100_000})
	require.NoError(b, err)
	require.NoError(b, s.CreateTable(b.Context()))
	item := cache.Item{Value: bytes.Repeat([]byte("0123456789abcdef"), 38)}
	text := base64.StdEncoding.EncodeToString(item.Value)
	set := dialect.Rebind("INSERT INTO " + table + " (cache_key, value, expires) VALUES ($1, $2, $3) " +
		dialect.Upsert("cache_key", "value", "expires"))
	get := dialect.Rebind("SELECT value FROM " + table + " WHERE cache_key = $1")
	expires := dialect.Time(time.Now().Add(time.Hour).Truncate(time.Second))
	rawSet := func(ctx context.Context, i int) error {
		_, err := db.ExecContext(ctx, set.Text, set.Args(benchKey(i), text, expires)...)
		return err
	}
	if operation == "set" {
		return func(ctx context.Context, i int) error { return s.Set(ctx, benchKey(i), item, time.Hour) }, rawSet
	}
	for i := range operationsPerRound {
		require.NoError(b, rawSet(b.Context(), i))
	}
	return func(ctx context.Context, i int) error { _, err := s.Get(ctx, benchKey(i)); return err },
		func(ctx context.Context, i int) error { return rawGet(ctx, db, get, benchKey(i)) }
}

func rawGet(ctx context.Context, db *sql.DB, q sqldialect.Query, key string) error {
	var text string
	if err := db.QueryRowContext(ctx, q.Text, key).Scan(&text); err != nil {
		return err
	}
	_, err := base64.StdEncoding.DecodeString(text)
	return err
}

func benchKey(i int) string { return fmt.Sprint(":1:celery-task-meta-", i) }

// compare runs b.N operations each way in rounds, after one that opens the
// connections.
func compare(b *testing.B, callers int, store, raw func(context.Context, int) error) {
	var spent [2]time.Duration
	rounds := b.N/operationsPerRound + 1
	spread(b, callers, store)
	spread(b, callers, raw)
	b.ResetTimer()
	for range rounds {
		for way, do := range []func(context.Context, int) error{store, raw} {
			started := time.Now()
			spread(b, callers, do)
			spent[way] += time.Since(started)
		}
	}
	operations := float64(rounds * operationsPerRound)
	b.ReportMetric(operations/spent[0].Seconds(), "store/s")
	b.ReportMetric(spent[1].Seconds()/spent[0].Seconds(), "×raw")
}

// spread divides one round's operations among callers.
func spread(b *testing.B, callers int, do func(context.Context, int) error) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < operationsPerRound; i = next.Add(1) - 1 {
				if err := do(b.Context(), int(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
}
