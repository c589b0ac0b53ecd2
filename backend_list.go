package celeryresults

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// lister returns the store's lists, or errors.ErrUnsupported.
func (b *Backend) lister(what string) (driver.Lister, error) {
	if l, ok := b.store.(driver.Lister); ok {
		return l, nil
	}
	return nil, b.unsupported(what)
}

func (b *Backend) unsupported(what string) error {
	return fmt.Errorf("celeryresults: %s can't %s: %w", b.traits.Name, what, errors.ErrUnsupported)
}

// List returns a page of the results that the query describes, newest first, also of the
// fallbacks. A store without lists is errors.ErrUnsupported: see SurveyResults. A malformed
// cursor, or one issued for a different query, is ErrCursor.
func (b *Backend) List(ctx context.Context, q Query) (*Page, error) {
	limit, err := q.PageLimit()
	if err != nil {
		return nil, err
	}
	q.Limit = limit
	if len(b.fallbacks) == 0 {
		return b.listOwn(ctx, q)
	}
	return b.listAll(ctx, q)
}

// listOwn lists the store's own results.
func (b *Backend) listOwn(ctx context.Context, q Query) (*Page, error) {
	l, err := b.lister("list results")
	if err != nil {
		return nil, err
	}
	var records []driver.Record
	page := &Page{}
	err = b.repeat(ctx, "list", func() (err error) {
		records, page.Next, err = l.List(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	page.Results = make([]*TaskMeta, 0, len(records))
	for i := range records {
		if meta, err := b.decode(&records[i]); err == nil && !meta.Unknown {
			page.Results = append(page.Results, meta)
		}
	}
	return page, nil
}

// place is where the list of one backend of several goes on: after the result Last of the
// page at Cursor, or where that is gone by now, after the time that it was sorted by.
type place struct {
	Cursor string `json:"c,omitempty"`
	Last   string `json:"l,omitempty"`
	Time   int64  `json:"t,omitempty"` // in microseconds
	Ended  bool   `json:"e,omitempty"`
}

// listAll merges the lists of the store and of its fallbacks. A result of one hides those of
// the same id further back.
func (b *Backend) listAll(ctx context.Context, q Query) (*Page, error) {
	all := append([]*Backend{b}, b.fallbacks...)
	places, err := placesOfCursor(q, len(all))
	if err != nil {
		return nil, err
	}
	parts := make([]*part, len(all))
	for i, backend := range all {
		parts[i] = &part{backend: backend, place: places[i], query: q}
		if err := parts[i].fill(ctx, all[:i]); err != nil {
			return nil, err
		}
	}
	page := &Page{}
	for len(page.Results) < q.Limit {
		next := newest(parts, q.Order)
		if next == nil {
			break
		}
		page.Results = append(page.Results, next.take())
		if err := next.fill(ctx, all[:slices.Index(parts, next)]); err != nil {
			return nil, err
		}
	}
	if newest(parts, q.Order) != nil {
		page.Next = cursorOfPlaces(q, parts)
	}
	return page, nil
}

// part is the list of one backend of several.
type part struct {
	backend *Backend
	query   Query
	place   place
	next    string      // cursor of the next page
	left    []*TaskMeta // of the page
}

// fill reads pages until there is a result, which none of the backends before hides.
func (p *part) fill(ctx context.Context, before []*Backend) error {
	for len(p.left) == 0 && !p.place.Ended {
		if p.next != "" {
			p.place = place{Cursor: p.next}
		}
		p.query.Cursor = p.place.Cursor
		page, err := p.backend.listOwn(ctx, p.query)
		if err != nil {
			return err
		}
		p.left, p.next = page.Results, page.Next
		p.left = p.place.after(p.left, p.query.Order)
		if p.left, err = unhidden(ctx, p.left, before); err != nil {
			return err
		}
		p.place.Ended = len(p.left) == 0 && p.next == ""
	}
	return nil
}

// after returns those of a page's results that follow.
func (p *place) after(page []*TaskMeta, order Order) []*TaskMeta {
	if p.Last == "" {
		return page
	}
	if i := slices.IndexFunc(page, func(m *TaskMeta) bool { return m.TaskID == p.Last }); i >= 0 {
		return page[i+1:]
	}
	return slices.DeleteFunc(page, func(m *TaskMeta) bool { return sortTime(m, order).UnixMicro() > p.Time })
}

// unhidden leaves out the results that other backends have, too.
func unhidden(ctx context.Context, metas []*TaskMeta, before []*Backend) ([]*TaskMeta, error) {
	for _, b := range before {
		if len(metas) == 0 {
			break
		}
		ids := make([]string, len(metas))
		for i, meta := range metas {
			ids[i] = meta.TaskID
		}
		records, err := b.fetch(ctx, driver.Task, ids, driver.States)
		if err != nil {
			return nil, err
		}
		known := map[string]bool{}
		for i := range records {
			known[records[i].ID] = stands(&records[i])
		}
		metas = slices.DeleteFunc(slices.Clone(metas), func(m *TaskMeta) bool { return known[m.TaskID] })
	}
	return metas, nil
}

// take takes the first result.
func (p *part) take() *TaskMeta {
	meta := p.left[0]
	p.left = p.left[1:]
	p.place.Last, p.place.Time = meta.TaskID, sortTime(meta, p.query.Order).UnixMicro()
	p.place.Ended = len(p.left) == 0 && p.next == ""
	return meta
}

// newest returns the part whose first result comes first, nil at the end.
func newest(parts []*part, order Order) *part {
	var first *part
	for _, p := range parts {
		if len(p.left) > 0 && (first == nil || sortTime(p.left[0], order).After(sortTime(first.left[0], order))) {
			first = p
		}
	}
	return first
}

// sortTime returns what a list sorts a result by.
func sortTime(m *TaskMeta, order Order) time.Time {
	if order == ByCreated && !m.DateCreated.IsZero() {
		return m.DateCreated
	}
	return m.DateDone
}

// placesOfCursor reads a cursor of several lists.
func placesOfCursor(q Query, n int) ([]place, error) {
	if q.Cursor == "" {
		return make([]place, n), nil
	}
	var c struct {
		Sum    uint32  `json:"q"`
		Places []place `json:"p"`
	}
	data, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil || len(c.Places) != n || c.Sum != sumOf(q) {
		return nil, ErrCursor
	}
	return c.Places, nil
}

func cursorOfPlaces(q Query, parts []*part) string {
	places := make([]place, len(parts))
	for i, p := range parts {
		places[i] = p.place
	}
	data, _ := json.Marshal(map[string]any{"q": sumOf(q), "p": places}) // of texts and a number: it can't fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// sumOf tells queries apart, whatever their Cursor and Limit.
func sumOf(q Query) uint32 {
	q.Cursor, q.Limit = "", 0
	hash := fnv.New32a()
	data, _ := json.Marshal(q)
	_, _ = hash.Write(data)
	return hash.Sum32()
}

// Walk yields every result that stands from the beginning to the end, in any order; one may
// be there twice, and one that is stored or forgotten meanwhile may or may not be among them.
// An *UnreadableError is a record that can't be read, and others follow; any other error is
// the last value. The fallbacks follow, without what a backend before them has. A store that
// does not show what it holds is errors.ErrUnsupported.
func (b *Backend) Walk(ctx context.Context) iter.Seq2[*TaskMeta, error] {
	return func(yield func(*TaskMeta, error) bool) {
		for meta, err := range b.walkOwn(ctx) {
			if !yield(meta, err) || err != nil && len(unreadable(err)) == 0 {
				return
			}
		}
		before := []*Backend{b}
		for _, f := range b.fallbacks {
			if !walkBehind(ctx, f, before, yield) {
				return
			}
			before = append(before, f)
		}
	}
}

// walkOwn walks through the store.
func (b *Backend) walkOwn(ctx context.Context) iter.Seq2[*TaskMeta, error] {
	return func(yield func(*TaskMeta, error) bool) {
		l, err := b.lister("show its results")
		if err == nil {
			err = b.ready(ctx)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for r, err := range l.Walk(ctx) {
			if err != nil {
				if errors.Is(err, errors.ErrUnsupported) {
					err = errors.Join(b.unsupported("show its results"), err)
				}
				yield(nil, b.failed(ctx, "walk", time.Now(), err))
				return
			}
			meta, err := b.decode(&r)
			if err != nil {
				err = asUnreadable(r.ID, err)
			} else if meta.Unknown {
				continue
			}
			if !yield(meta, err) {
				return
			}
		}
	}
}

// walkBehind walks through a fallback, and reports whether more is wanted.
func walkBehind(ctx context.Context, f *Backend, before []*Backend, yield func(*TaskMeta, error) bool) bool {
	var some []*TaskMeta
	flush := func() bool {
		metas, err := unhidden(ctx, some, before)
		some = some[:0]
		if err != nil {
			return yield(nil, err) && false
		}
		for _, meta := range metas {
			if !yield(meta, nil) {
				return false
			}
		}
		return true
	}
	for meta, err := range f.walkOwn(ctx) {
		if err != nil {
			if !yield(nil, err) || len(unreadable(err)) == 0 {
				return false
			}
			continue
		}
		if some = append(some, meta); len(some) == 100 && !flush() {
			return false
		}
	}
	return flush()
}

// Tally counts, by what has become of them, the tasks whose last record was stored with the
// group's id in TaskMeta.GroupID, in one round trip, and nothing else: Unknown is zero. An
// unknown group has no tasks. Of a Backend with fallbacks the group must be saved, and its
// members are looked at. A store that does not count is errors.ErrUnsupported.
func (b *Backend) Tally(ctx context.Context, groupID string) (Progress, error) {
	if groupID == "" {
		return Progress{}, ErrNoTaskID
	}
	if len(b.fallbacks) > 0 {
		return b.tallyMembers(ctx, groupID)
	}
	l, err := b.lister("count members")
	if err != nil {
		return Progress{}, err
	}
	var counts map[State]int
	err = b.repeat(ctx, "tally", func() (err error) {
		counts, err = l.Count(ctx, driver.Members{Group: groupID})
		return err
	})
	if err != nil {
		return Progress{}, err
	}
	var p Progress
	for state, n := range counts {
		p.Total += n
		p.Add(Status{State: state}, n)
	}
	return p, nil
}

func (b *Backend) tallyMembers(ctx context.Context, groupID string) (Progress, error) {
	group, err := b.RestoreGroup(ctx, groupID)
	if errors.Is(err, ErrUnknownGroup) {
		return Progress{}, b.unsupported("count members of a group that is not saved, together with its fallbacks,")
	}
	if err != nil {
		return Progress{}, err
	}
	statuses, err := b.GetStatuses(ctx, slices.Collect(iter.Seq[string](leaves(group.Children))))
	if statuses == nil && err != nil {
		return Progress{}, err
	}
	var p Progress
	for _, s := range statuses {
		if s.State != "" && !s.Unknown {
			p.Total++
			p.Add(s, 1)
		}
	}
	return p, err
}

// Stats counts the tasks that became ready in a span of time, also those of the fallbacks:
// there, a task that is stored in two backends counts twice, and times of several backends
// are not known together. A store that does not count is errors.ErrUnsupported.
func (b *Backend) Stats(ctx context.Context, q driver.StatsQuery) (*driver.Stats, error) {
	stats, err := b.statsOwn(ctx, q)
	if err != nil || len(b.fallbacks) == 0 {
		return stats, err
	}
	q.From, q.Until, q.Buckets = stats.From, stats.Until, len(stats.Buckets)
	for _, f := range b.fallbacks {
		more, err := f.statsOwn(ctx, q)
		if err != nil {
			return nil, err
		}
		addStats(stats, more)
	}
	return stats, nil
}

func (b *Backend) statsOwn(ctx context.Context, q driver.StatsQuery) (*driver.Stats, error) {
	l, err := b.lister("count results")
	if err != nil {
		return nil, err
	}
	var stats *driver.Stats
	err = b.repeat(ctx, "count", func() (err error) {
		stats, err = l.Stats(ctx, q)
		return err
	})
	return stats, err
}

// addStats adds counts of the same span.
func addStats(stats, more *driver.Stats) {
	tasks := map[string]*driver.TaskStats{}
	for _, t := range append(stats.Tasks, more.Tasks...) {
		sum := tasks[t.Task]
		if sum == nil {
			sum = &driver.TaskStats{Task: t.Task, States: map[State]int64{}}
			tasks[t.Task] = sum
		}
		sum.Total += t.Total
		for state, n := range t.States {
			sum.States[state] += n
		}
	}
	stats.Tasks = stats.Tasks[:0:0]
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		stats.Tasks = append(stats.Tasks, *tasks[name])
	}
	slices.SortStableFunc(stats.Tasks, func(x, y driver.TaskStats) int { return int(y.Total - x.Total) })
	for i := range min(len(stats.Buckets), len(more.Buckets)) {
		sum, other := &stats.Buckets[i], more.Buckets[i]
		switch {
		case other.Done == 0:
		case sum.Done == 0:
			sum.Median, sum.P95 = other.Median, other.P95
		default:
			sum.Median, sum.P95 = 0, 0
		}
		sum.Done, sum.Failed = sum.Done+other.Done, sum.Failed+other.Failed
	}
}

// Cleanup removes expired results and returns how many (Celery's cleanup), not those of the
// fallbacks. A store that drops them by itself removes none.
func (b *Backend) Cleanup(ctx context.Context) (int64, error) {
	l, ok := b.store.(driver.Lister)
	if !ok || b.traits.ReadOnly {
		return 0, nil
	}
	if err := b.ready(ctx); err != nil {
		return 0, err
	}
	began := time.Now()
	n, err := l.Cleanup(ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return 0, nil
	}
	return n, b.failed(ctx, "clean up", began, err)
}
