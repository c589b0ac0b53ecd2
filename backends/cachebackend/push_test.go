package cachebackend_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

// countedStore counts reads, and who listens.
type countedStore struct {
	*locmem.Store
	reads, listeners atomic.Int64
}

func (s *countedStore) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	s.reads.Add(1)
	return s.Store.GetMany(ctx, keys)
}

func (s *countedStore) Notify(f func(string)) (stop func()) {
	s.listeners.Add(1)
	end := s.Store.Notify(f)
	return func() { s.listeners.Add(-1); end() }
}

// Time is synctest's: what a test here waits for, it waits for exactly.
func TestAMemoryCacheWakesWaitersByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, err := locmem.New("push", &locmem.Options{MaxEntries: 5000})
		require.NoError(t, err)
		defer memory.Close()
		store := &countedStore{Store: memory}
		c, err := cache.New(store, cache.Settings{KeyPrefix: "shop", Version: 3})
		require.NoError(t, err)
		b, err := cachebackend.New(c, celeryresults.Settings{})
		require.NoError(t, err)
		defer b.Close()
		writer, err := cachebackend.New(c, celeryresults.Settings{}) // another handle of the process
		require.NoError(t, err)
		defer writer.Close()

		const n = 1000
		woken := make(chan time.Duration, n)
		stored := make([]time.Time, n)
		for i := range n {
			go func() {
				_, err := b.WaitFor(context.Background(), strconv.Itoa(i))
				assert.NoError(t, err)
				woken <- time.Since(stored[i])
			}()
		}
		time.Sleep(10 * time.Second)
		assert.EqualValues(t, 1, store.listeners.Load())
		before := store.reads.Load()
		time.Sleep(100 * time.Second)
		assert.LessOrEqual(t, store.reads.Load()-before, int64(200), "a look a second for safety, in no more than two reads")
		for i := range n {
			stored[i] = time.Now()
			require.NoError(t, writer.StoreResult(context.Background(), &celeryresults.TaskMeta{TaskID: strconv.Itoa(i), State: celeryresults.Success}))
			time.Sleep(time.Microsecond)
		}
		for range n {
			assert.Less(t, <-woken, time.Microsecond, "it need not ask")
		}
		synctest.Wait()
		assert.Zero(t, store.listeners.Load(), "nobody waits")
	})
}
