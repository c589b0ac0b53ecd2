package drivertest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/survey"
)

// listing is a Memory that also lists and counts.
type listing struct {
	*Memory
	encoding *document.Encoding
}

// newListing returns a listing whose records are encoded as the settings say.
func newListing(s celeryresults.Settings) (*listing, error) {
	m := &Memory{}
	encoding, err := document.NewEncoding(s, m.Traits())
	return &listing{m, encoding}, err
}

// entry is a record and what it holds.
type entry struct {
	record driver.Record
	meta   *celeryresults.TaskMeta
}

// at returns what a list sorts the record by.
func (e *entry) at(order driver.Order) time.Time {
	if order == driver.ByCreated && !e.meta.DateCreated.IsZero() {
		return e.meta.DateCreated
	}
	return e.meta.DateDone
}

// entries returns all records that can be read and that are such.
func (l *listing) entries(ctx context.Context, such func(*celeryresults.TaskMeta) bool) ([]entry, error) {
	var list []entry
	for r, err := range l.Walk(ctx) {
		if err != nil {
			return nil, err
		}
		if meta, err := l.encoding.Decode(&r); err == nil && such(meta) {
			list = append(list, entry{r, meta})
		}
	}
	return list, nil
}

// position is where a list goes on.
type position struct {
	Query uint32
	Time  int64 // in microseconds
	ID    string
}

func (p position) compare(other position) int {
	return cmp.Or(cmp.Compare(other.Time, p.Time), strings.Compare(p.ID, other.ID))
}

// List implements driver.Lister.
func (l *listing) List(ctx context.Context, q driver.Query) ([]driver.Record, string, error) {
	sum := sumOf(q)
	var after position
	if q.Cursor != "" {
		if err := json.Unmarshal([]byte(q.Cursor), &after); err != nil || after.Query != sum {
			return nil, "", driver.ErrCursor
		}
	}
	list, err := l.entries(ctx, func(m *celeryresults.TaskMeta) bool { return survey.Matches(q, m) })
	if err != nil {
		return nil, "", err
	}
	place := func(e entry) position { return position{sum, e.at(q.Order).UnixMicro(), e.record.ID} }
	slices.SortFunc(list, func(x, y entry) int { return place(x).compare(place(y)) })
	if q.Cursor != "" {
		list = slices.DeleteFunc(list, func(e entry) bool { return place(e).compare(after) <= 0 })
	}
	next := ""
	if len(list) > q.Limit {
		list = list[:q.Limit]
		data, err := json.Marshal(place(list[len(list)-1]))
		if err != nil {
			return nil, "", err
		}
		next = string(data)
	}
	page := make([]driver.Record, len(list))
	for i, e := range list {
		page[i] = e.record
	}
	return page, next, nil
}

// sumOf tells queries apart, whatever their Cursor and Limit.
func sumOf(q driver.Query) uint32 {
	q.Cursor, q.Limit = "", 0
	hash := fnv.New32a()
	fmt.Fprintf(hash, "%+v", q)
	return hash.Sum32()
}

// Count implements driver.Lister.
func (l *listing) Count(ctx context.Context, of driver.Members) (map[driver.State]int, error) {
	counts := map[driver.State]int{}
	list, err := l.entries(ctx, func(m *celeryresults.TaskMeta) bool {
		if of.Group != "" {
			return m.GroupID == of.Group
		}
		return slices.Contains(of.IDs, m.TaskID)
	})
	for _, e := range list {
		counts[e.meta.State]++
	}
	return counts, err
}

// Stats implements driver.Lister, without processing times.
func (l *listing) Stats(ctx context.Context, q driver.StatsQuery) (*driver.Stats, error) {
	if q.Until.IsZero() {
		q.Until = time.Now().UTC()
	}
	if q.From.IsZero() {
		q.From = q.Until.Add(-24 * time.Hour)
	}
	if q.Buckets == 0 {
		q.Buckets = driver.DefaultBuckets
	}
	list, err := l.entries(ctx, func(m *celeryresults.TaskMeta) bool {
		return !m.DateDone.IsZero() && !m.DateDone.Before(q.From) && m.DateDone.Before(q.Until)
	})
	if err != nil {
		return nil, err
	}
	stats := &driver.Stats{From: q.From, Until: q.Until, Buckets: make([]driver.Bucket, q.Buckets)}
	width := q.Until.Sub(q.From) / time.Duration(q.Buckets)
	for i := range stats.Buckets {
		stats.Buckets[i].From = q.From.Add(time.Duration(i) * width)
	}
	for _, e := range list {
		i := slices.IndexFunc(stats.Tasks, func(s driver.TaskStats) bool { return s.Task == e.meta.Name })
		if i < 0 {
			i = len(stats.Tasks)
			stats.Tasks = append(stats.Tasks, driver.TaskStats{Task: e.meta.Name, States: map[driver.State]int64{}})
		}
		bucket := &stats.Buckets[min(int(e.meta.DateDone.Sub(q.From)/width), q.Buckets-1)]
		bucket.Done++
		if e.meta.State == driver.Failure {
			bucket.Failed++
		}
		stats.Tasks[i].States[e.meta.State]++
		stats.Tasks[i].Total++
	}
	slices.SortStableFunc(stats.Tasks, func(x, y driver.TaskStats) int { return cmp.Compare(y.Total, x.Total) })
	return stats, nil
}
