package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
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

func TestADeliveredRecordNeedsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPushStore()
		r := celeryresults.NewAsyncResult("id", backendOver(t, s, celeryresults.Settings{}))
		go func() {
			synctest.Wait()
			s.Live("id")
			synctest.Wait()
			s.set(func(s *fakeStore) { s.reads, s.err = 0, errors.New("nobody should ask") })
			for _, state := range []celeryresults.State{"STARTED", "PROGRESS", "FAILURE"} {
				s.put("id", state)
				s.Deliver(s.record("id"))
				synctest.Wait()
			}
		}()
		var states []celeryresults.State
		for meta, err := range r.Watch(t.Context()) {
			require.NoError(t, err)
			states = append(states, meta.State)
		}
		assert.Equal(t, []celeryresults.State{"PENDING", "STARTED", "PROGRESS", "FAILURE"}, states)
		s.set(func(s *fakeStore) { assert.Zero(t, s.reads) })
	})
}

func TestAFallbackThatDoesNotKnowHidesNoExpiredRecord(t *testing.T) {
	b := backendOver(t, expiredStore{newStore()}, celeryresults.Settings{})
	b.AddFallbacks(backendOver(t, newStore(), celeryresults.Settings{}))
	meta, err := b.GetTaskMeta(t.Context(), "old")
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, meta.Phase())
	metas, err := b.GetMany(t.Context(), []string{"old"})
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, metas[0].Phase())
	statuses, err := b.GetStatuses(t.Context(), []string{"old"})
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, statuses[0].Phase())
}

// expiredStore knows of each record that it has expired.
type expiredStore struct{ *fakeStore }

func (expiredStore) Get(_ context.Context, _ driver.Kind, records []driver.Record, _ driver.How) error {
	for i := range records {
		records[i].Expired = true
	}
	return nil
}
