package rediscache_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// BenchmarkAgainstTheRawClient runs each operation in turns with go-redis
// alone, in one run, and reports our throughput as a fraction of its.
func BenchmarkAgainstTheRawClient(b *testing.B) {
	addr := testserver.StartRedis(b).Addr()
	raw, store := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 64}), at(b, "redis://"+addr)
	defer raw.Close()
	value := make([]byte, 600)
	background := context.Background()
	require.NoError(b, raw.Set(background, "get", value, 0).Err())
	swap := redis.NewScript(`if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])`)
	var serial atomic.Int64
	fresh := func(prefix string) string { return fmt.Sprint(prefix, serial.Add(1)) }
	for _, c := range []struct {
		name string
		raw  func() error
		ours func(ctx context.Context) error
	}{
		{"Add", func() error {
			return raw.SetNX(background, fresh("raw"), value, time.Hour).Err()
		}, func(ctx context.Context) error {
			_, err := store.Add(ctx, fresh("ours"), cache.Item{Value: value}, time.Hour)
			return err
		}},
		{"Get", func() error {
			return raw.Get(background, "get").Err()
		}, func(ctx context.Context) error {
			_, err := store.Get(ctx, "get")
			return err
		}},
		{"CompareAndSwap", func() error {
			return swap.Run(background, raw, []string{fresh("raw")}, value, value, 3600).Err()
		}, func(ctx context.Context) error {
			_, err := store.CompareAndSwap(ctx, fresh("ours"), cache.Item{Value: value}, cache.Item{Value: value}, time.Hour)
			return err
		}},
	} {
		for _, callers := range []int{1, 64} {
			for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": b.Context()} {
				b.Run(fmt.Sprintf("%s/%d/%s", c.name, callers, name), func(b *testing.B) {
					takeTurns(b, callers, c.raw, func() error { return c.ours(ctx) })
				})
			}
		}
	}
}

// takeTurns runs b.N calls of each, 20 per caller at a time, alternately, and
// compares the medians: other work on the machine then weighs less.
func takeTurns(b *testing.B, callers int, raw, ours func() error) {
	const turn = 20
	var rawTimes, ourTimes []time.Duration
	for done := 0; done < b.N; done += callers * turn {
		rawTimes = append(rawTimes, together(b, callers, turn, raw))
		ourTimes = append(ourTimes, together(b, callers, turn, ours))
	}
	b.ReportMetric(median(rawTimes).Seconds()/median(ourTimes).Seconds(), "of-raw")
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

func together(b *testing.B, callers, calls int, f func() error) time.Duration {
	started := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range calls {
				if err := f(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return time.Since(started)
}
