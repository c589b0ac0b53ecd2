package merge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/celeryresults/celeryresults/internal/merge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errMiss = errors.New("miss")

// fake answers every key but "absent" with itself, after a while.
type fake struct {
	ones, batches, keys atomic.Int64
	takes               time.Duration
	fail                atomic.Bool
	stopped             atomic.Int64 // batches that were cancelled
}

func (f *fake) one(ctx context.Context, key string) (string, error) {
	f.ones.Add(1)
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(f.takes):
	}
	if key == "absent" {
		return "", errMiss
	}
	return key, nil
}

func (f *fake) many(ctx context.Context, keys []string) ([]string, error) {
	f.batches.Add(1)
	f.keys.Add(int64(len(keys)))
	select {
	case <-ctx.Done():
		f.stopped.Add(1)
		return nil, ctx.Err()
	case <-time.After(f.takes):
	}
	if f.fail.Load() {
		return nil, errBatch
	}
	return slices.Clone(keys), nil
}

var errBatch = errors.New("the batch failed")

func newGroup(f *fake) *merge.Group[string, string] { return merge.New(f.one, f.many, true) }

func TestACallerAloneAsksDirectly(t *testing.T) {
	f := &fake{}
	g := newGroup(f)
	for range 10 {
		got, err := g.Do(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "k", got)
	}
	_, err := g.Do(t.Context(), "absent")
	require.ErrorIs(t, err, errMiss)
	assert.Equal(t, []int64{11, 0}, []int64{f.ones.Load(), f.batches.Load()})
}

func TestConcurrentCallersShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Millisecond}
		g := newGroup(f)
		var group sync.WaitGroup
		start := time.Now()
		for i := range 100 {
			group.Go(func() {
				key := fmt.Sprint(i % 50)
				got, err := g.Do(t.Context(), key)
				assert.NoError(t, err)
				assert.Equal(t, key, got)
			})
		}
		group.Wait()
		assert.Equal(t, 2*time.Millisecond, time.Since(start), "two turns are enough")
		assert.LessOrEqual(t, f.ones.Load()+f.batches.Load(), int64(4))
		assert.Equal(t, int64(100), f.ones.Load()+f.keys.Load())
	})
}

func TestACancelledCallerReturnsAtOnceAndTheOthersDoNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		g := newGroup(f)
		var group sync.WaitGroup
		for range 2 { // takes both turns
			group.Go(func() { _, _ = g.Do(t.Context(), "busy") })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			_, err := g.Do(ctx, "k")
			assert.ErrorIs(t, err, context.Canceled)
			assert.Zero(t, f.batches.Load(), "it did not wait for its turn")
		})
		group.Go(func() {
			got, err := g.Do(t.Context(), "k")
			assert.NoError(t, err)
			assert.Equal(t, "k", got)
		})
		synctest.Wait()
		cancel()
		group.Wait()
		assert.Zero(t, f.stopped.Load())
	})
}

func TestABatchThatNobodyWantsIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Hour}
		g := newGroup(f)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		short, end := context.WithTimeout(t.Context(), time.Millisecond)
		defer end()
		var group sync.WaitGroup
		for range 2 {
			group.Go(func() { _, _ = g.Do(short, "busy") })
		}
		synctest.Wait()
		for range 10 {
			group.Go(func() {
				_, err := g.Do(ctx, "k")
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		group.Wait()
		synctest.Wait()
		assert.Equal(t, int64(1), f.batches.Load())
		assert.Equal(t, int64(1), f.stopped.Load())
		f.takes = 0
		got, err := g.Do(t.Context(), "k")
		require.NoError(t, err, "the turns were given back")
		require.Equal(t, "k", got)
	})
}

func TestAFailedBatchIsAskedOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Millisecond}
		f.fail.Store(true)
		g := newGroup(f)
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				got, err := g.Do(t.Context(), fmt.Sprint(i))
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprint(i), got)
			})
		}
		group.Wait()
		assert.Equal(t, int64(20), f.ones.Load())
		assert.Positive(t, f.batches.Load())
	})
}

func TestAFailedBatchOfRequestsThatMayHaveHappenedFailsItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Millisecond}
		f.fail.Store(true)
		g := merge.New(f.one, f.many, false)
		var group sync.WaitGroup
		var failed atomic.Int64
		for i := range 20 {
			group.Go(func() {
				if _, err := g.Do(t.Context(), fmt.Sprint(i)); err != nil {
					assert.ErrorIs(t, err, errBatch)
					failed.Add(1)
				}
			})
		}
		group.Wait()
		assert.Equal(t, int64(20), failed.Load()+f.ones.Load(), "nothing was sent twice")
		assert.Positive(t, failed.Load())
	})
}

func TestManyCallersForAWhile(t *testing.T) {
	f := &fake{takes: 50 * time.Microsecond}
	g := newGroup(f)
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(j%10)*50*time.Microsecond)
				key := fmt.Sprint(i, j)
				got, err := g.Do(ctx, key)
				if err != nil {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					assert.Equal(t, key, got)
				}
				cancel()
			}
		})
	}
	group.Wait()
}

func TestRequestsThatHangDoNotStopThoseThatComeAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan bool)
		g := merge.New(func(ctx context.Context, n int) (int, error) {
			<-hang
			return n, nil
		}, func(ctx context.Context, ns []int) ([]int, error) { return ns, nil }, false)
		var group sync.WaitGroup
		for n := range 2 {
			group.Go(func() { _, _ = g.Do(t.Context(), n) })
		}
		synctest.Wait()
		for n := range 5 {
			started := time.Now()
			got, err := g.Do(t.Context(), n)
			require.NoError(t, err)
			assert.Equal(t, n, got)
			assert.LessOrEqual(t, time.Since(started), 250*time.Millisecond)
		}
		close(hang)
		group.Wait()
		got, err := g.Do(t.Context(), 7)
		require.NoError(t, err)
		assert.Equal(t, 7, got)
	})
}
