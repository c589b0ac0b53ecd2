package locmem_test

import (
	"strconv"
	"testing"
	"time"

	gocache "github.com/patrickmn/go-cache"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

func BenchmarkStore(b *testing.B) {
	cachetest.Bench(b, open(b, b.Name(), &locmem.Options{MaxEntries: 100_000}))
}

// benchSize is the number of entries in the comparison with the bare map.
const benchSize = 1 << 17

func benchKeys() []string {
	keys := make([]string, benchSize)
	for i := range keys {
		keys[i] = "celery-task-meta-" + strconv.Itoa(i)
	}
	return keys
}

// BenchmarkBare measures go-cache alone, which the store is built on.
func BenchmarkBare(b *testing.B) {
	c := gocache.New(gocache.NoExpiration, 0)
	item := &cache.Item{Value: []byte("value")}
	compare(b, func(key string) { c.Get(key) }, func(key string) { c.Set(key, item, time.Hour) })
}

// BenchmarkLocmem measures the same through the store, with room for all.
func BenchmarkLocmem(b *testing.B) {
	s := open(b, b.Name(), &locmem.Options{MaxEntries: benchSize})
	item := cache.Item{Value: []byte("value")}
	compare(b, func(key string) { _, _ = s.Get(ctx, key) }, func(key string) { _ = s.Set(ctx, key, item, time.Hour) })
}

// BenchmarkOverflow measures sets of new keys into a full store.
func BenchmarkOverflow(b *testing.B) {
	for _, most := range []int{300, 10_000} {
		b.Run(strconv.Itoa(most), func(b *testing.B) {
			s := open(b, b.Name(), &locmem.Options{MaxEntries: most})
			item := cache.Item{Value: []byte("value")}
			for n := 0; b.Loop(); n++ {
				_ = s.Set(ctx, strconv.Itoa(n), item, time.Hour)
			}
		})
	}
}

func compare(b *testing.B, get, set func(key string)) {
	keys := benchKeys()
	for _, key := range keys {
		set(key)
	}
	for name, do := range map[string]func(string){"get": get, "set": set} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					do(keys[n*7919%benchSize])
				}
			})
		})
	}
}
