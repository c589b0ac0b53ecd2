package driver

import (
	"fmt"
	"time"
)

// Order is what a list is sorted by, newest first.
type Order int

// The orders.
const (
	ByCreated Order = iota // by when a task was first recorded
	ByDone                 // by when a task became ready; records that are not ready are left out
)

// DefaultLimit and MaxLimit bound the results of a page.
const DefaultLimit, MaxLimit = 50, 1000

// Query describes a list of results. Conditions that are zero do not count, and
// a result must meet all others. The zero Query lists everything.
type Query struct {
	States       []State           // any of these
	Task         string            // a task name, or a pattern, in which * stands for any text and ? for one character
	Worker       string            // Celery's hostname
	PeriodicTask string            // of celery beat's entry
	GroupID      string            // of the group that the task belongs to
	Labels       map[string]string // entries of Request.Meta, text or numbers, with their text

	// The times are in any zone, and precise to the microsecond. DoneFrom and
	// DoneBefore leave out records that are not ready.
	CreatedFrom, CreatedBefore time.Time // at or after, and before
	DoneFrom, DoneBefore       time.Time

	Order  Order  // what the list is sorted by. Default: ByCreated
	Limit  int    // of results. Default: DefaultLimit. More than MaxLimit means that; negative is an error. Stores get it within these bounds
	Cursor string // the next one of the page before. Default: the first page. A malformed one, or one issued for a different query, is ErrCursor
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
	From    time.Time // at or after. Default: a day before Until
	Until   time.Time // before. Default: now
	Buckets int       // equal parts of the span, at most MaxBuckets. Default: 24
}

// DefaultBuckets and MaxBuckets bound the parts of a span of time.
const DefaultBuckets, MaxBuckets = 24, 500

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
	Done, Failed int64         // tasks of any state, and failures among them
	Median, P95  time.Duration // of the processing times of tasks whose start is known; zero where there are none
}
