package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func TestWatchYieldsEveryStateUntilTheTaskIsReady(t *testing.T) {
	app := twoBackends(t)
	for _, task := range []string{"mail.send", "billing.charge"} {
		req := &celeryresults.Request{ID: newID(t) + task, Task: task}
		next := make(chan bool)
		go func() {
			for _, store := range []func() error{
				func() error { return app.RecordPending(context.Background(), req) },
				func() error { return app.MarkAsStarted(context.Background(), req) },
				func() error { return app.UpdateState(context.Background(), req, "PROGRESS", 40) },
				func() error { return app.UpdateState(context.Background(), req, "PROGRESS", 80) },
				func() error { return app.MarkAsDone(context.Background(), req, "done") },
			} {
				<-next
				assert.NoError(t, store())
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var seen []string
		r := app.AsyncResult(req.ID, celeryresults.ForTask(task))
		for meta, err := range r.Watch(ctx) {
			require.NoError(t, err)
			seen = append(seen, fmt.Sprintf("%s %t", meta.State, meta.Unknown))
			if !meta.State.Ready() {
				next <- true
			}
		}
		assert.Equal(t, []string{"PENDING true", "PENDING false", "STARTED false", "PROGRESS false", "PROGRESS false", "SUCCESS false"}, seen)
		for meta, err := range r.Watch(ctx) { // ready: kept in the handle
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
		}
	}
}

func TestWatchEndsWithItsContextAndWithItsReader(t *testing.T) {
	app := twoBackends(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for meta, err := range app.AsyncResult(newID(t)).Watch(ctx) {
		if err == nil {
			assert.True(t, meta.Unknown)
			cancel()
		}
		last = err
	}
	require.ErrorIs(t, last, context.Canceled)
	for range app.AsyncResult(newID(t)).Watch(t.Context()) {
		break // nobody waits any more: goleak would tell
	}
	for _, err := range app.AsyncResult("").Watch(t.Context()) {
		require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	}
}

// fakePush notes what a Poller asks of it.
type fakePush struct {
	mu      sync.Mutex
	watched map[string]int
}

func (f *fakePush) Watch(ids []string)   { f.count(ids, 1) }
func (f *fakePush) Unwatch(ids []string) { f.count(ids, -1) }

func (f *fakePush) count(ids []string, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.watched[id] += by
		if f.watched[id] == 0 {
			delete(f.watched, id)
		}
	}
}

func (f *fakePush) all() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watched)
}

func TestAPollerThatIsToldReadsRarelyAndWakesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, push := &fakeReads{ready: map[string]bool{}}, &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller(f.read)
		p.SetPush(push)
		woken := make(chan time.Time, 2)
		for range 2 { // two wait for one task, which is watched once
			go func() {
				_, err := p.WaitFor(t.Context(), "id")
				assert.NoError(t, err)
				woken <- time.Now()
			}()
		}
		synctest.Wait()
		assert.Equal(t, map[string]int{"id": 1}, push.watched)
		p.Live("id")
		synctest.Wait()
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(10 * time.Second)
		f.set(func(f *fakeReads) { assert.InDelta(t, 10, f.reads, 1, "a read a second, for safety") })

		time.Sleep(300 * time.Millisecond)
		f.set(func(f *fakeReads) { f.ready["id"] = true })
		stored := time.Now()
		p.Changed("other", "id")
		assert.Zero(t, (<-woken).Sub(stored))
		assert.Zero(t, (<-woken).Sub(stored))
		synctest.Wait()
		assert.Zero(t, push.all(), "nothing is watched that nobody waits for")
		require.NoError(t, p.Close())
	})
}

func TestALostMessageDelaysByTheSafetyIntervalAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, push := &fakeReads{ready: map[string]bool{}}, &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller(f.read)
		p.SetPush(push)
		go func() {
			time.Sleep(time.Millisecond / 2)
			p.Live("id")
			time.Sleep(5 * time.Second)
			f.set(func(f *fakeReads) { f.ready["id"] = true }) // and nobody says so
		}()
		started := time.Now()
		_, err := p.WaitFor(t.Context(), "id")
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(started), 6*time.Second+2*time.Millisecond)
		require.NoError(t, p.Close())
	})
}

func TestWhileNothingIsPushedThePollerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, push := &fakeReads{ready: map[string]bool{}}, &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller(f.read)
		p.SetPush(push)
		var stored time.Time
		go func() {
			time.Sleep(10 * time.Millisecond)
			p.Live("id")
			time.Sleep(time.Hour)
			p.Lost()
			time.Sleep(50 * time.Millisecond)
			f.set(func(f *fakeReads) { f.ready["id"], stored = true, time.Now() })
		}()
		_, err := p.WaitFor(t.Context(), "id")
		require.NoError(t, err)
		assert.Less(t, time.Since(stored), 5*time.Millisecond)
		require.NoError(t, p.Close())
	})
}

func TestADeliveredRecordNeedsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, push := &fakeReads{ready: map[string]bool{}}, &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller(f.read)
		p.SetPush(push)
		var states []celeryresults.State
		done := make(chan error, 1)
		go func() {
			_, err := p.Await(t.Context(), "id", func(meta *celeryresults.TaskMeta) bool {
				states = append(states, meta.State)
				return meta.State.Ready()
			})
			done <- err
		}()
		synctest.Wait()
		p.Live("id")
		synctest.Wait()
		assert.True(t, p.Waits("id"))
		f.set(func(f *fakeReads) { f.reads, f.err = 0, errors.New("nobody should ask") })
		for _, state := range []celeryresults.State{"STARTED", "PROGRESS", "FAILURE"} {
			p.Deliver(&celeryresults.TaskMeta{TaskID: "id", State: state})
		}
		require.NoError(t, <-done)
		assert.Equal(t, []celeryresults.State{"STARTED", "PROGRESS", "FAILURE"}, states[len(states)-3:])
		f.set(func(f *fakeReads) { assert.Zero(t, f.reads) })
		assert.False(t, p.Waits("id"))
		require.NoError(t, p.Close())
	})
}

func TestManyWaitersOfOneTaskLeaveOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller((&fakeReads{ready: map[string]bool{}}).read)
		p.SetPush(push)
		var group sync.WaitGroup
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			group.Go(func() {
				_, err := p.WaitFor(ctx, "id")
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		group.Wait()
		synctest.Wait()
		assert.Zero(t, push.all())
		require.NoError(t, p.Close())
	})
}

func TestWhoComesBackAtOnceIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := &fakePush{watched: map[string]int{}}
		p := celeryresults.NewPoller((&fakeReads{ready: map[string]bool{}}).read)
		p.SetPush(push)
		for range 20 { // leaves and comes back before the poller has looked
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := p.WaitFor(ctx, "id")
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := p.WaitFor(ctx, "id")
			done <- err
		}()
		synctest.Wait()
		push.mu.Lock()
		assert.Equal(t, map[string]int{"id": 1}, push.watched)
		push.mu.Unlock()
		require.ErrorIs(t, <-done, context.DeadlineExceeded)
		synctest.Wait()
		assert.Zero(t, push.all())
		require.NoError(t, p.Close())
	})
}

func TestAFallbackThatDoesNotKnowHidesNoExpiredRecord(t *testing.T) {
	expired := &celeryresults.TaskMeta{TaskID: "old", State: celeryresults.Pending, Unknown: true, Expired: true}
	chain := celeryresults.NewChain(constBackend{meta: expired}, constBackend{meta: celeryresults.NewUnknownMeta("old")})
	meta, err := chain.GetTaskMeta(t.Context(), "old")
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, meta.Phase())
	metas, err := chain.GetMany(t.Context(), []string{"old"})
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, metas[0].Phase())
}

// constBackend knows one meta.
type constBackend struct {
	celeryresults.Backend
	meta *celeryresults.TaskMeta
}

func (b constBackend) GetTaskMeta(context.Context, string) (*celeryresults.TaskMeta, error) {
	return b.meta, nil
}

func (b constBackend) GetMany(context.Context, []string) ([]*celeryresults.TaskMeta, error) {
	return []*celeryresults.TaskMeta{b.meta}, nil
}
