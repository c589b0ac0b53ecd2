package celeryresults

import (
	"context"
	"time"
)

// Statistician is a Backend that counts its results.
type Statistician interface {
	// Stats counts the tasks that became ready in a span of time.
	Stats(ctx context.Context, q StatsQuery) (*Stats, error)
}

// StatsQuery says what is counted.
type StatsQuery struct {
	From  time.Time // at or after. Default: a day before Until
	Until time.Time // before. Default: now

	// Buckets is into how many equal parts the span is divided, at most MaxBuckets.
	// Default: 24.
	Buckets int
}

// DefaultBuckets and MaxBuckets bound the parts of a span of time.
const (
	DefaultBuckets = 24
	MaxBuckets     = 500
)

// Stats are counts of tasks that became ready.
type Stats struct {
	From, Until time.Time
	Tasks       []TaskStats // those with the most results first
	Buckets     []Bucket    // in their order, empty ones included
}

// TaskStats are the counts of one task.
type TaskStats struct {
	Task   string // its name, empty for results without one
	States map[State]int64
	Total  int64
}

// Failed returns which part of the task's results are failures, from 0 to 1.
func (t TaskStats) Failed() float64 {
	if t.Total == 0 {
		return 0
	}
	return float64(t.States[Failure]) / float64(t.Total)
}

// Bucket is a part of the span of time.
type Bucket struct {
	From         time.Time
	Done, Failed int64 // tasks of any state, and failures among them

	// Median and P95 are of the processing times of tasks whose start is known; zero
	// where there are none.
	Median, P95 time.Duration
}
