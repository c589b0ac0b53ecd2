package locmem_test

import (
	"context"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func set(t testing.TB, s *locmem.Store, key string, ttl time.Duration) {
	t.Helper()
	item := cache.Item{Value: []byte("value of " + key), Format: cache.Bytes}
	require.NoError(t, s.Set(ctx, key, item, ttl))
}

// kept returns which of the keys are there, without making them used if they
// are not.
func kept(t testing.TB, s *locmem.Store, keys ...string) (found []string) {
	t.Helper()
	items, err := s.GetMany(ctx, keys)
	require.NoError(t, err)
	for _, key := range keys {
		if _, ok := items[key]; ok {
			found = append(found, key)
		}
	}
	return found
}

func names(from, to int) (keys []string) {
	for i := from; i < to; i++ {
		keys = append(keys, "k"+strconv.Itoa(i))
	}
	return keys
}

func TestLocationsAreShared(t *testing.T) {
	a, b, other := open(t, "shared", nil), open(t, "shared", nil), open(t, "other", nil)
	set(t, a, "k", cache.Never)
	assert.Equal(t, []string{"k"}, kept(t, b, "k"), "same location")
	assert.Empty(t, kept(t, other, "k"), "other location")
}

func TestEntriesLastAsLongAsSomeHandleIsOpen(t *testing.T) {
	a, b := open(t, "lasting", nil), open(t, "lasting", nil)
	set(t, a, "k", cache.Never)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	_, err := a.Get(ctx, "k")
	require.ErrorIs(t, err, cache.ErrClosed)
	require.Equal(t, []string{"k"}, kept(t, b, "k"), "the other handle is open")
	require.NoError(t, b.Close())
	require.Empty(t, kept(t, open(t, "lasting", nil), "k"), "all handles were closed")
}

func TestHandlesOpenAndCloseConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 50 {
				s, err := locmem.New(t.Name(), nil)
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, s.Set(ctx, "k", cache.Item{}, cache.Never))
				assert.Equal(t, []string{"k"}, kept(t, s, "k"), "while this handle is open")
				assert.NoError(t, s.Close())
			}
		})
	}
	wg.Wait()
	require.Empty(t, kept(t, open(t, t.Name(), nil), "k"), "all handles were closed")
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, o := range []locmem.Options{{MaxEntries: -1}, {CullFrequency: -2}} {
		_, err := locmem.New("bad", &o)
		require.Error(t, err, "%+v", o)
	}
}

func TestCulling(t *testing.T) {
	for _, test := range []struct {
		name    string
		options *locmem.Options
		entries int      // written one after the other, used being read before the last
		used    []string // read after all but the last entry are written
		want    []string
	}{
		{"a full store drops its oldest third", &locmem.Options{MaxEntries: 9}, 10, nil, names(3, 10)},
		{"reading is a use", &locmem.Options{MaxEntries: 9}, 10, []string{"k0", "k2"}, []string{"k0", "k2", "k5", "k6", "k7", "k8", "k9"}},
		{"uses are in order", &locmem.Options{MaxEntries: 3}, 4, []string{"k2", "k0", "k1"}, []string{"k0", "k1", "k3"}},
		{"half goes", &locmem.Options{MaxEntries: 8, CullFrequency: 2}, 9, nil, names(4, 9)},
		{"everything goes but the entry just written", &locmem.Options{MaxEntries: 8, CullFrequency: cache.CullAll}, 9, nil, names(8, 9)},
		{"a frequency of one is everything", &locmem.Options{MaxEntries: 8, CullFrequency: 1}, 9, nil, names(8, 9)},
		{"at least one goes", &locmem.Options{MaxEntries: 2, CullFrequency: 100}, 3, nil, names(1, 3)},
		{"one entry is the least", &locmem.Options{MaxEntries: 1}, 3, nil, names(2, 3)},
		{"the default is a third of 300", nil, 301, nil, names(100, 301)},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t, t.Name(), test.options)
			keys := names(0, test.entries)
			for _, key := range keys[:len(keys)-1] {
				set(t, s, key, cache.Never)
			}
			for _, key := range test.used {
				kept(t, s, key)
			}
			set(t, s, keys[len(keys)-1], cache.Never)
			assert.Equal(t, test.want, kept(t, s, keys...))
		})
	}
}

func TestReplacingAnEntryDropsNothing(t *testing.T) {
	s := open(t, t.Name(), &locmem.Options{MaxEntries: 3})
	for range 3 {
		for _, key := range names(0, 3) {
			set(t, s, key, cache.Never)
		}
	}
	require.Equal(t, names(0, 3), kept(t, s, names(0, 3)...))
}

func TestASmallerHandleKeepsItsOwnBound(t *testing.T) {
	big := open(t, t.Name(), &locmem.Options{MaxEntries: 1000})
	small := open(t, t.Name(), &locmem.Options{MaxEntries: 10})
	for _, key := range names(0, 1000) {
		set(t, big, key, cache.Never)
	}
	set(t, small, "last", cache.Never)
	found := kept(t, small, append(names(0, 1000), "last")...)
	require.Equal(t, append(names(991, 1000), "last"), found)
}

func TestExpiredEntriesAreDroppedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Name(), &locmem.Options{MaxEntries: 6})
		for _, key := range names(0, 4) {
			set(t, s, key, cache.Never)
		}
		set(t, s, "k4", time.Millisecond)
		set(t, s, "k5", time.Millisecond)
		time.Sleep(2 * time.Millisecond)
		set(t, s, "k6", cache.Never)
		require.Equal(t, []string{"k0", "k1", "k2", "k3", "k6"}, kept(t, s, names(0, 7)...))
	})
}

func TestLifetimesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Name(), nil)
		for _, ttl := range []time.Duration{1, time.Microsecond, time.Second, 48 * time.Hour} {
			set(t, s, "k", ttl)
			time.Sleep(ttl)
			require.Equal(t, []string{"k"}, kept(t, s, "k"), "at %v", ttl)
			time.Sleep(time.Nanosecond)
			require.Empty(t, kept(t, s, "k"), "after %v", ttl)
		}
	})
}

func TestCountingKeepsTheLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Name(), nil)
		require.NoError(t, s.Set(ctx, "n", cache.Item{Value: []byte("1"), Format: cache.Integer}, time.Second))
		for range 9 {
			time.Sleep(100 * time.Millisecond)
			_, err := s.Incr(ctx, "n", 1)
			require.NoError(t, err)
		}
		time.Sleep(101 * time.Millisecond)
		_, err := s.Incr(ctx, "n", 1)
		require.ErrorIs(t, err, cache.ErrMiss)
	})
}

func TestExpiredEntriesAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.Name(), &locmem.Options{MaxEntries: 1 << 20})
		require.NoError(t, s.Set(ctx, "large", cache.Item{Value: make([]byte, 16<<20)}, time.Second))
		before := heap()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Less(t, heap(), before-15<<20, "bytes of heap after the sweep, %d before", before)
		runtime.KeepAlive(s)
	})
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAMillionSetsStayBounded(t *testing.T) {
	s := open(t, t.Name(), &locmem.Options{MaxEntries: 10_000})
	before := heap()
	for i := range 1_000_000 {
		key := strconv.Itoa(i)
		if err := s.Set(ctx, key, cache.Item{Value: []byte(key)}, time.Hour); err != nil {
			t.Fatal(err)
		}
		if i%97 != 0 {
			continue
		}
		if item, err := s.Get(ctx, key); err != nil || string(item.Value) != key {
			t.Fatalf("get %s just after set: %q, %v", key, item.Value, err)
		}
	}
	require.Less(t, heap(), before+8<<20, "bytes of heap for 10 000 entries, %d before", before)
	require.Equal(t, []string{"999998", "999999"}, kept(t, s, "0", "900000", "999998", "999999"))
	runtime.KeepAlive(s)
}
