package driver

import (
	"fmt"
	"time"
)

// Order is what a list is sorted by, newest first.
type Order int

// The orders.
const (
	// ByCreated sorts by when a task was first recorded.
	ByCreated Order = iota

	// ByDone sorts by when a task became ready. Records that are not ready are
	// left out.
	ByDone
)

// DefaultLimit and MaxLimit bound the results of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Query describes a list of results. Conditions that are zero do not count, and
// a result must meet all others. The zero Query lists everything.
type Query struct {
	States []State // any of these

	// Task is a task name, or a pattern of one, in which * stands for any text
	// and ? for one character.
	Task string

	Worker       string // Celery's hostname
	PeriodicTask string // of celery beat's entry
	GroupID      string // of the group that the task belongs to

	// Labels are entries of Request.Meta, text or numbers, with their text.
	Labels map[string]string

	// The times are in any zone, and precise to the microsecond. DoneFrom and
	// DoneBefore leave out records that are not ready.
	CreatedFrom   time.Time // at or after
	CreatedBefore time.Time // before
	DoneFrom      time.Time
	DoneBefore    time.Time

	// Order is what the list is sorted by. Default: ByCreated.
	Order Order

	// Limit is the most results of the page. Default: DefaultLimit. More than
	// MaxLimit means MaxLimit; negative is an error. Stores get it within these bounds.
	Limit int

	// Cursor is the next one of the page before. Default: the first page. A malformed
	// cursor, or one issued for a different query, is ErrCursor.
	Cursor string
}

// PageLimit returns how many results a page of the query has, between 1 and MaxLimit, or an
// error for a negative Limit.
func (q Query) PageLimit() (int, error) {
	switch {
	case q.Limit < 0:
		return 0, fmt.Errorf("celeryresults: list: limit %d is negative", q.Limit)
	case q.Limit == 0:
		return DefaultLimit, nil
	}
	return min(q.Limit, MaxLimit), nil
}

// Members are tasks to count: those whose last record was stored with the group's id, or
// those with the ids.
type Members struct {
	Group string
	IDs   []string // where Group is empty
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
