package celeryresults

import (
	"context"
	"fmt"
)

// Phase is how far a task is, as its record tells. It keeps apart what the state
// PENDING does not: a task that is queued, and one that nobody knows.
type Phase int

// The phases.
const (
	// PhaseUnknown: no record stands. The task was never sent, or was sent and not
	// recorded (see App.RecordPending), or its record is lost, forgotten or expired.
	PhaseUnknown Phase = iota

	// PhaseQueued: the task waits for a worker. PENDING is recorded, RECEIVED, RETRY
	// or REJECTED.
	PhaseQueued

	// PhaseRunning: STARTED is recorded, or any state that Celery does not have,
	// such as PROGRESS.
	PhaseRunning

	// PhaseReady: SUCCESS, FAILURE or REVOKED is recorded.
	PhaseReady

	// PhaseExpired: the record has expired or was forgotten, and the store still
	// knows. Tables know what has expired until somebody cleans up. With
	// Settings.ResultTombstones all stores know of both, for that long; otherwise it
	// is PhaseUnknown.
	PhaseExpired
)

// String returns unknown, queued, running, ready or expired.
func (p Phase) String() string {
	if names := [...]string{"unknown", "queued", "running", "ready", "expired"}; p >= 0 && int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("Phase(%d)", int(p))
}

// Status is what counts of a record beside what the task returned.
type Status struct {
	State State // empty where the record can't be read

	// Unknown and Expired are those of TaskMeta.
	Unknown, Expired bool
}

// Status returns what counts beside the result.
func (m *TaskMeta) Status() Status { return Status{m.State, m.Unknown, m.Expired} }

// Phase returns how far the task is.
func (m *TaskMeta) Phase() Phase { return m.Status().Phase() }

// Phase returns how far the task is; PhaseUnknown, where the record can't be read.
func (s Status) Phase() Phase {
	switch {
	case s.Expired:
		return PhaseExpired
	case s.Unknown:
		return PhaseUnknown
	case s.State.Ready():
		return PhaseReady
	}
	switch s.State {
	case "":
		return PhaseUnknown
	case Pending, Received, Retry, Rejected:
		return PhaseQueued
	}
	return PhaseRunning
}

// Lookup tells how far the task is: whether it is unknown, queued, running,
// ready or expired.
func (r *AsyncResult) Lookup(ctx context.Context) (Phase, error) {
	return read(ctx, r, (*TaskMeta).Phase)
}
