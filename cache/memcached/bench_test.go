package memcached_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// BenchmarkAgainstTheRawClient runs each operation in turns with gomemcache
// alone, in one run, and reports our throughput as a fraction of its.
func BenchmarkAgainstTheRawClient(b *testing.B) {
	addr := testserver.StartMemcached(b, "-m", "512").Addr()
	raw, store := rawClient(b, addr), at(b, addr)
	value := make([]byte, 600)
	require.NoError(b, raw.Set(&memcache.Item{Key: "get", Value: value}))
	var serial atomic.Int64
	fresh := func(prefix string) string { return fmt.Sprint(prefix, serial.Add(1)) }
	for _, c := range []struct {
		name string
		raw  func() error
		ours func(ctx context.Context) error
	}{
		{"Add", func() error {
			return raw.Add(&memcache.Item{Key: fresh("raw"), Value: value, Expiration: 3600})
		}, func(ctx context.Context) error {
			_, err := store.Add(ctx, fresh("ours"), cache.Item{Value: value}, time.Hour)
			return err
		}},
		{"Get", func() error {
			_, err := raw.Get("get")
			return err
		}, func(ctx context.Context) error {
			_, err := store.Get(ctx, "get")
			return err
		}},
		{"CompareAndSwap", func() error {
			item := &memcache.Item{Key: fresh("raw"), Value: value, Expiration: 3600, CasID: 1}
			return ignore(raw.CompareAndSwap(item), memcache.ErrCacheMiss)
		}, func(ctx context.Context) error {
			_, err := store.CompareAndSwap(ctx, fresh("ours"), cache.Item{Token: 1}, cache.Item{Value: value}, time.Hour)
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

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
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
