package celeryresults

import (
	"github.com/celeryresults/celeryresults/driver"
)

// StatsQuery says what is counted.
type StatsQuery = driver.StatsQuery

// DefaultBuckets and MaxBuckets bound the parts of a span of time.
const (
	DefaultBuckets = driver.DefaultBuckets
	MaxBuckets     = driver.MaxBuckets
)

// Stats are counts of tasks that became ready.
type Stats = driver.Stats

// TaskStats are the counts of one task.
type TaskStats = driver.TaskStats

// Bucket is a part of the span of time.
type Bucket = driver.Bucket
