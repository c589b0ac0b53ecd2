package celeryresults_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// fakeReads answers a Poller; time is synctest's.
type fakeReads struct {
	mu    sync.Mutex
	ready map[string]bool
	err   error
	reads int
	asked int
}

func (f *fakeReads) read(_ context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	f.asked += len(ids)
	if f.err != nil {
		return nil, f.err
	}
	metas := make([]*celeryresults.TaskMeta, len(ids))
	for i, id := range ids {
		metas[i] = celeryresults.NewUnknownMeta(id)
		if f.ready[id] {
			metas[i].State = celeryresults.Success
		}
	}
	return metas, nil
}

func (f *fakeReads) set(change func(f *fakeReads)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func TestPollerIsQuickAtFirstAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeReads{ready: map[string]bool{}}
		p := celeryresults.NewPoller(f.read)
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 1000 {
			group.Go(func() {
				_, err := p.WaitFor(ctx, string(rune('a'+i%26))+time.Duration(i).String())
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		time.Sleep(time.Second)
		var first int
		f.set(func(f *fakeReads) { first = f.reads })
		assert.Greater(t, first, 50, "reads in the first second")
		time.Sleep(59 * time.Second)
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(10 * time.Second)
		f.set(func(f *fakeReads) {
			assert.LessOrEqual(t, f.reads, 10+1, "1 000 waiters take a batch a second after a minute")
			assert.Positive(t, f.reads)
		})
		cancel()
		group.Wait()
		require.NoError(t, p.Close())
	})
}

func TestPollerWakesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, 10 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second, time.Hour} {
			f := &fakeReads{ready: map[string]bool{}}
			p := celeryresults.NewPoller(f.read)
			var stored time.Time
			time.AfterFunc(after, func() {
				f.set(func(f *fakeReads) { f.ready["id"], stored = true, time.Now() })
			})
			meta, err := p.WaitFor(t.Context(), "id")
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
			late := time.Since(stored)
			assert.LessOrEqual(t, late, min(max(after/50, time.Millisecond), time.Second)+time.Millisecond, "stored after %s", after)
			require.NoError(t, p.Close())
		}
	})
}

func TestPollerOutlivesShortFailuresAndReportsLastingOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("store is down")
		f := &fakeReads{ready: map[string]bool{"id": true}, err: down}
		p := celeryresults.NewPoller(f.read)
		time.AfterFunc(3*time.Second, func() { f.set(func(f *fakeReads) { f.err = nil }) })
		_, err := p.WaitFor(t.Context(), "id")
		require.NoError(t, err, "a failure of three seconds only delays")
		f.set(func(f *fakeReads) { f.err = down })
		start := time.Now()
		_, err = p.WaitFor(t.Context(), "id")
		require.ErrorIs(t, err, down)
		assert.Less(t, time.Since(start), 7*time.Second)
		require.NoError(t, p.Close())
		_, err = p.WaitFor(t.Context(), "id")
		require.ErrorIs(t, err, celeryresults.ErrClosed)
	})
}

func TestPollerEndsTheWaitOfAnUnreadableRecordAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := celeryresults.NewPoller(func(_ context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
			metas := make([]*celeryresults.TaskMeta, len(ids))
			var errs []error
			for i, id := range ids {
				if id == "bad" {
					errs = append(errs, &celeryresults.UnreadableError{ID: id, Err: errors.New("garbage")})
					continue
				}
				metas[i] = &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success}
			}
			return metas, errors.Join(errs...)
		})
		var group sync.WaitGroup
		group.Go(func() {
			_, err := p.WaitFor(t.Context(), "bad")
			var unreadable *celeryresults.UnreadableError
			assert.ErrorAs(t, err, &unreadable)
		})
		group.Go(func() {
			_, err := p.WaitFor(t.Context(), "good")
			assert.NoError(t, err)
		})
		group.Wait()
		require.NoError(t, p.Close())
	})
}

func TestPollerReadsNothingWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeReads{ready: map[string]bool{}}
		p := celeryresults.NewPoller(f.read)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.WaitFor(ctx, "id")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(time.Minute)
		f.set(func(f *fakeReads) { assert.Zero(t, f.reads) })
		require.NoError(t, p.Close())
	})
}

// TestPollerIsSafeForConcurrentUse has no fake time: it is for -race.
func TestPollerIsSafeForConcurrentUse(t *testing.T) {
	var served atomic.Int64
	p := celeryresults.NewPoller(func(_ context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
		served.Add(1)
		metas := make([]*celeryresults.TaskMeta, len(ids))
		for i, id := range ids {
			metas[i] = &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success}
		}
		return metas, nil
	})
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				id := string(rune('a' + (i+j)%26))
				meta, err := p.WaitFor(t.Context(), id)
				assert.NoError(t, err)
				assert.Equal(t, id, meta.TaskID)
			}
		})
	}
	group.Wait()
	require.NoError(t, p.Close())
	assert.Positive(t, served.Load())
}

// idlePush watches nothing.
type idlePush struct{}

func (idlePush) Watch([]string)   {}
func (idlePush) Unwatch([]string) {}

func TestAReadThatWasOvertakenIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meta := func(state celeryresults.State) *celeryresults.TaskMeta {
			return &celeryresults.TaskMeta{TaskID: "a", State: state}
		}
		answer := make(chan *celeryresults.TaskMeta) // of the reads, one by one
		reads := 0
		p := celeryresults.NewPoller(func(ctx context.Context, _ []string) ([]*celeryresults.TaskMeta, error) {
			reads++
			select {
			case meta := <-answer:
				return []*celeryresults.TaskMeta{meta}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		p.SetPush(idlePush{})
		var seen []celeryresults.State
		ended := make(chan error)
		go func() {
			_, err := p.Await(t.Context(), "a", func(m *celeryresults.TaskMeta) bool {
				seen = append(seen, m.State)
				return m.State.Ready()
			})
			ended <- err
		}()
		answer <- meta(celeryresults.Pending)
		p.Live("a")
		synctest.Wait() // a read is under way, and has seen the table as it was
		p.Deliver(meta("PROGRESS"))
		answer <- meta(celeryresults.Started)
		synctest.Wait()
		assert.Equal(t, []celeryresults.State{celeryresults.Pending, "PROGRESS"}, seen, "STARTED was before PROGRESS")
		p.Changed("a")
		answer <- meta(celeryresults.Retry) // a later read counts
		synctest.Wait()
		p.Changed("a")
		synctest.Wait()
		p.Deliver(meta("PROGRESS"))
		answer <- meta(celeryresults.Success) // and so does the end, whenever it was read
		require.NoError(t, <-ended)
		assert.Equal(t, []celeryresults.State{celeryresults.Pending, "PROGRESS", celeryresults.Retry, "PROGRESS", celeryresults.Success}, seen)
		require.NoError(t, p.Close())
	})
}
