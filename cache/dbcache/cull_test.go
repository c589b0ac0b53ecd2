package dbcache_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
)

func TestTheTableStaysWithinItsBound(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		const most = 200
		store, clock := withClock(t, db, dbcache.Options{MaxEntries: most})
		for i := range 3 * most {
			key := fmt.Sprint("k", i)
			require.NoError(t, store.Set(t.Context(), key, value("v"), time.Hour))
			require.Equal(t, "v", got(t, store, key), "just written")
			clock.advance(time.Second)
			if i%20 == 0 {
				require.LessOrEqual(t, count(t, db), most+most/100, "after %d writes", i+1)
			}
		}
		assert.GreaterOrEqual(t, count(t, db), most/2, "no more is dropped than the third that CullFrequency says")
		assert.Equal(t, "(miss)", got(t, store, "k0"), "the first to expire")
	})
}

func TestManyWritersKeepTheBoundTogether(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		const most, processes, writers = 200, 3, 4
		var group sync.WaitGroup
		for p := range processes {
			store, _ := withClock(t, db, dbcache.Options{MaxEntries: most})
			for w := range writers {
				group.Go(func() {
					for i := range 60 {
						_, err := store.Add(t.Context(), fmt.Sprint(p, w, i), value("v"), time.Hour)
						assert.NoError(t, err)
					}
				})
			}
		}
		group.Wait()
		bound := most + processes*(most/2)
		assert.LessOrEqual(t, count(t, db), bound)
	})
}

func TestExpiredEntriesGoFirst(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, clock := withClock(t, db, dbcache.Options{MaxEntries: 10})
		for i := range 5 {
			require.NoError(t, store.Set(t.Context(), fmt.Sprint("short", i), value("v"), time.Second))
			require.NoError(t, store.Set(t.Context(), fmt.Sprint("long", i), value("v"), time.Hour))
		}
		clock.advance(time.Minute)
		require.NoError(t, store.Set(t.Context(), "last", value("v"), time.Hour))
		assert.Equal(t, 6, count(t, db), "the five that expired are gone")
		for i := range 5 {
			assert.Equal(t, "v", got(t, store, fmt.Sprint("long", i)))
		}
	})
}

func TestEntriesThatExpireFirstGoNext(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{MaxEntries: 10, CullFrequency: 2})
		require.NoError(t, store.Set(t.Context(), "a", value("v"), cache.Never))
		for i := range 9 {
			require.NoError(t, store.Set(t.Context(), fmt.Sprint("k", i), value("v"), time.Duration(100-i)*time.Minute))
		}
		require.NoError(t, store.Set(t.Context(), "soonest", value("v"), time.Second))
		for key, want := range map[string]string{
			"a": "v", "soonest": "v", "k0": "v", "k3": "v", "k4": "(miss)", "k8": "(miss)",
		} {
			assert.Equal(t, want, got(t, store, key), key)
		}
		assert.Equal(t, 6, count(t, db), "half of the eleven are gone, but not the one just written")
	})
}

func TestATableFarTooLargeIsCutAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		roomy, _ := withClock(t, db, dbcache.Options{MaxEntries: 10_000})
		items := map[string]cache.Item{}
		for i := range 2500 {
			items[fmt.Sprint("k", i)] = value("v")
		}
		require.NoError(t, roomy.SetMany(t.Context(), items, time.Hour))
		small, _ := withClock(t, db, dbcache.Options{MaxEntries: 100})
		require.NoError(t, small.Set(t.Context(), "last", value("v"), time.Second))
		assert.Equal(t, 100, count(t, db))
		assert.Equal(t, "v", got(t, small, "last"))
	})
}

func TestCullAllSparesWhatWasJustWritten(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{MaxEntries: 3, CullFrequency: cache.CullAll})
		for i := range 3 {
			require.NoError(t, store.Set(t.Context(), fmt.Sprint("k", i), value("v"), time.Hour))
		}
		items := map[string]cache.Item{"x": value("x"), "y": value("y")}
		require.NoError(t, store.SetMany(t.Context(), items, time.Hour))
		assert.Equal(t, 2, count(t, db))
		assert.Equal(t, "x", got(t, store, "x"))
		assert.Equal(t, "y", got(t, store, "y"))
	})
}

func TestDeleteExpiredRemovesWhatIsExpiredAndNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		store := open(t, database, cache.Options{MaxEntries: 100_000})
		items := map[string]cache.Item{}
		for i := range 2500 {
			items[fmt.Sprintf("expired-%d", i)] = cache.Item{Value: []byte("v")}
		}
		require.NoError(t, store.SetMany(t.Context(), items, time.Second))
		require.NoError(t, store.Set(t.Context(), "long", cache.Item{Value: []byte("v")}, time.Hour))
		require.NoError(t, store.Set(t.Context(), "endless", cache.Item{Value: []byte("v")}, cache.Never))
		var deleted int64
		require.Eventually(t, func() bool {
			n, err := store.DeleteExpired(t.Context())
			require.NoError(t, err)
			deleted += n
			return deleted == 2500
		}, 20*time.Second, 50*time.Millisecond)
		for _, key := range []string{"long", "endless"} {
			_, err := store.Get(t.Context(), key)
			require.NoError(t, err, key)
		}
	})
}
