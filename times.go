package celeryresults

import (
	"context"
	"time"
)

// WaitingTime returns how long the task waited for a worker: from DateCreated,
// which App.RecordPending sets when the task is sent, to DateStarted. It
// reports false when one of them is not recorded. Clocks of two machines may
// make it negative.
func (m *TaskMeta) WaitingTime() (time.Duration, bool) { return between(m.DateCreated, m.DateStarted) }

// ProcessingTime returns how long the task ran: from DateStarted, which is
// recorded with task_track_started, to DateDone. It reports false when one of
// them is not recorded.
func (m *TaskMeta) ProcessingTime() (time.Duration, bool) { return between(m.DateStarted, m.DateDone) }

// TotalTime returns the time from DateCreated to DateDone. It reports false
// when one of them is not recorded.
func (m *TaskMeta) TotalTime() (time.Duration, bool) { return between(m.DateCreated, m.DateDone) }

func between(start, end time.Time) (time.Duration, bool) {
	if start.IsZero() || end.IsZero() {
		return 0, false
	}
	return end.Sub(start), true
}

// Times are the durations of a task that are recorded; the others are zero.
type Times struct {
	Waiting    time.Duration // see TaskMeta.WaitingTime
	Processing time.Duration // see TaskMeta.ProcessingTime
	Total      time.Duration // see TaskMeta.TotalTime
}

// Times returns how long the task waited, ran, and took in all.
func (r *AsyncResult) Times(ctx context.Context) (Times, error) {
	return read(ctx, r, func(m *TaskMeta) (t Times) {
		t.Waiting, _ = m.WaitingTime()
		t.Processing, _ = m.ProcessingTime()
		t.Total, _ = m.TotalTime()
		return t
	})
}

// DateCreated returns when the task was first recorded, in UTC; zero where the
// store does not keep it.
func (r *AsyncResult) DateCreated(ctx context.Context) (time.Time, error) {
	return read(ctx, r, func(m *TaskMeta) time.Time { return m.DateCreated })
}

// DateStarted returns when the task was last started, in UTC; zero where that
// is not recorded (task_track_started).
func (r *AsyncResult) DateStarted(ctx context.Context) (time.Time, error) {
	return read(ctx, r, func(m *TaskMeta) time.Time { return m.DateStarted })
}
