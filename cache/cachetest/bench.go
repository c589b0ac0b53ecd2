package cachetest

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/celeryresults/celeryresults/cache"
)

// Bench measures the store's Get, Set, Add and Update with a value of 600
// bytes, the size of an ordinary result, at 1 and at 64 callers. It leaves its
// entries to their lifetime of an hour.
func Bench(b *testing.B, store cache.Store) {
	c, err := cache.New(store, cache.Settings{KeyPrefix: randomPrefix()})
	if err != nil {
		b.Fatal(err)
	}
	item := raw(noise(600))
	for n := range int64(benchKeys) {
		if err := c.SetItem(b.Context(), benchKey(n), item, long); err != nil {
			b.Fatal(err)
		}
	}
	for _, work := range workloads(c, item) {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", work.name, callers), func(b *testing.B) { work.bench(b, callers) })
		}
	}
}

// workload is one kind of call on the n-th key.
type workload struct {
	name string
	do   func(ctx context.Context, n int64) error
}

// benchKeys is how many entries Get, Set and Update use in turn.
const benchKeys = 128

func workloads(c *cache.Cache, item cache.Item) []workload {
	same := func(cache.Item, bool) (cache.Item, error) { return item, nil }
	return []workload{
		{"Get", func(ctx context.Context, n int64) error { _, err := c.GetItem(ctx, benchKey(n)); return err }},
		{"Set", func(ctx context.Context, n int64) error { return c.SetItem(ctx, benchKey(n), item, long) }},
		{"Add", func(ctx context.Context, n int64) error {
			_, err := c.Add(ctx, "add-"+strconv.FormatInt(n, 10), item.Value, long)
			return err
		}},
		{"Update", func(ctx context.Context, n int64) error { return c.Update(ctx, benchKey(n), long, same) }},
	}
}

func benchKey(n int64) string { return strconv.FormatInt(n%benchKeys, 10) }

func (w workload) bench(b *testing.B, callers int) {
	b.ReportAllocs()
	var n atomic.Int64
	if callers == 1 {
		for b.Loop() {
			w.must(b, n.Add(1))
		}
		return
	}
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() && !b.Failed() {
			w.must(b, n.Add(1))
		}
	})
}

func (w workload) must(b *testing.B, n int64) {
	if err := w.do(b.Context(), n); err != nil {
		b.Errorf("%s of key %d: %v", w.name, n, err)
	}
}
