package celeryresults_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func TestPhases(t *testing.T) {
	for state, want := range map[celeryresults.State]celeryresults.Phase{
		celeryresults.Pending: celeryresults.PhaseQueued, celeryresults.Received: celeryresults.PhaseQueued,
		celeryresults.Retry: celeryresults.PhaseQueued, celeryresults.Rejected: celeryresults.PhaseQueued,
		celeryresults.Started: celeryresults.PhaseRunning, "PROGRESS": celeryresults.PhaseRunning,
		celeryresults.Success: celeryresults.PhaseReady, celeryresults.Failure: celeryresults.PhaseReady, celeryresults.Revoked: celeryresults.PhaseReady,
	} {
		assert.Equal(t, want, (&celeryresults.TaskMeta{State: state}).Phase(), state)
	}
	assert.Equal(t, celeryresults.PhaseUnknown, (&celeryresults.TaskMeta{State: celeryresults.Pending, Unknown: true}).Phase())
	for phase, want := range []string{"unknown", "queued", "running", "ready", "expired"} {
		assert.Equal(t, want, celeryresults.Phase(phase).String())
	}
}

func TestLookupTellsUnknownQueuedRunningAndReadyApart(t *testing.T) {
	app := twoBackends(t)
	for _, task := range []string{"mail.send", "billing.charge"} {
		req := &celeryresults.Request{ID: newID(t) + task, Task: task}
		lookup := func(want celeryresults.Phase) {
			t.Helper()
			got, err := app.AsyncResult(req.ID, celeryresults.ForTask(task)).Lookup(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		lookup(celeryresults.PhaseUnknown)
		require.NoError(t, app.RecordPending(t.Context(), req))
		lookup(celeryresults.PhaseQueued)
		require.NoError(t, app.MarkAsStarted(t.Context(), req))
		lookup(celeryresults.PhaseRunning)
		require.NoError(t, app.RecordPending(t.Context(), req))
		lookup(celeryresults.PhaseRunning) // what came first stands
		require.NoError(t, app.MarkAsRetry(t.Context(), req, errors.New("again")))
		lookup(celeryresults.PhaseQueued)
		require.NoError(t, app.UpdateState(t.Context(), req, "PROGRESS", 5))
		lookup(celeryresults.PhaseRunning)
		require.NoError(t, app.MarkAsDone(t.Context(), req, nil))
		lookup(celeryresults.PhaseReady)
		require.NoError(t, app.AsyncResult(req.ID, celeryresults.ForTask(task)).Forget(t.Context()))
		lookup(celeryresults.PhaseUnknown)
	}
	_, err := app.AsyncResult("").Lookup(t.Context())
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
}
