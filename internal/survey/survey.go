// Package survey looks through the results of stores without lists, for people who want a list
// of them all the same.
package survey

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/pattern"
	"github.com/celeryresults/celeryresults/python"
)

// Survey is what a look at the results of a store without lists has found.
type Survey struct {
	// Results meet the query, newest first among all that were looked at: by when they
	// were recorded or became ready, as the query's Order says. Most stores but databases do
	// not keep when a result was first recorded: when it became ready counts there.
	Results []*celeryresults.TaskMeta

	Looked     int  // results that were looked at
	Whole      bool // these were all
	More       int  // how many more of them meet the query than its Limit
	Unreadable int  // records that can't be read
}

// DefaultMost is how many results Look looks at unless it is told otherwise.
const DefaultMost = 10_000

// Look looks at results of a store without lists, such as redis and caches, for people who
// want a list of them all the same. It goes through up to most of them, in no order; zero or
// less means DefaultMost. Where there are more, others that are newer may be among those that
// it did not look at: it is no list. A query's Cursor is celeryresults.ErrCursor, and a backend that can't
// be gone through errors.ErrUnsupported. The wait is as long as that takes.
func Look(ctx context.Context, b *celeryresults.Backend, q celeryresults.Query, most int) (*Survey, error) {
	limit, err := q.PageLimit()
	if err != nil {
		return nil, err
	}
	if q.Cursor != "" {
		return nil, fmt.Errorf("%w: a backend without lists has none", celeryresults.ErrCursor)
	}
	if most <= 0 {
		most = DefaultMost
	}
	s := &Survey{Whole: true}
	seen := map[string]struct{}{} // a walk may come to one twice
	for meta, err := range b.Walk(ctx) {
		if s.Looked == most {
			s.Whole = false
			break
		}
		if _, unreadable := errors.AsType[*celeryresults.UnreadableError](err); unreadable {
			s.Looked++
			s.Unreadable++
			continue
		}
		if err != nil {
			return nil, err
		}
		if !Matches(q, meta) {
			s.Looked++
			continue
		}
		if _, twice := seen[meta.TaskID]; twice {
			continue
		}
		seen[meta.TaskID] = struct{}{}
		s.Looked++
		if s.Results = append(s.Results, meta); len(s.Results) >= 2*limit+64 {
			s.keep(q.Order, limit)
		}
	}
	s.keep(q.Order, limit)
	s.More = len(seen) - len(s.Results)
	return s, nil
}

// keep keeps the newest ones.
func (s *Survey) keep(order celeryresults.Order, limit int) {
	slices.SortFunc(s.Results, func(x, y *celeryresults.TaskMeta) int {
		if c := sortTime(y, order).Compare(sortTime(x, order)); c != 0 {
			return c
		}
		return strings.Compare(x.TaskID, y.TaskID)
	})
	if len(s.Results) > limit {
		clear(s.Results[limit:])
		s.Results = s.Results[:limit]
	}
}

// Matches reports whether a result meets all conditions of the query, whatever its Order, Limit and
// Cursor, but that ByDone leaves out what is not ready.
func Matches(q celeryresults.Query, m *celeryresults.TaskMeta) bool {
	switch {
	case len(q.States) > 0 && !slices.Contains(q.States, m.State),
		q.Task != "" && !pattern.Matches(q.Task, m.Name),
		q.Worker != "" && q.Worker != m.Worker,
		q.PeriodicTask != "" && q.PeriodicTask != m.PeriodicTaskName,
		q.GroupID != "" && q.GroupID != m.GroupID,
		q.Order == celeryresults.ByDone && m.DateDone.IsZero(),
		!within(m.DateCreated, q.CreatedFrom, q.CreatedBefore),
		!within(m.DateDone, q.DoneFrom, q.DoneBefore):
		return false
	}
	return HasLabels(m, q.Labels)
}

// within reports whether a time is at or after the one and before the other, as far as
// they are asked for.
func within(t, from, before time.Time) bool {
	if from.IsZero() && before.IsZero() {
		return true
	}
	return !t.IsZero() && !t.Before(from) && (before.IsZero() || t.Before(before))
}

// HasLabels reports whether the entries of a record's Meta have all of these texts; see Label.
func HasLabels(m *celeryresults.TaskMeta, labels map[string]string) bool {
	if len(labels) == 0 {
		return true
	}
	tree, err := m.Meta.Any()
	if err != nil {
		return false
	}
	pairs, _ := python.Pairs(tree)
	found := 0
	for _, pair := range pairs {
		name, _ := pair.Key.(string)
		want, asked := labels[name]
		if text, ok := Label(pair.Value); asked && ok && text == want {
			found++
		}
	}
	return found == len(labels)
}

// Label returns the text by which lists look for an entry of Meta: texts are themselves,
// numbers, truth values and times are written as in JSON. Containers and None have none.
func Label(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case nil, []any, map[string]any, python.Dict, python.Tuple, *python.Object:
		return "", false
	}
	return strings.Trim(string(python.JSON(nil, value)), `"`), true
}

// sortTime returns what a list sorts a result by.
func sortTime(m *celeryresults.TaskMeta, order celeryresults.Order) time.Time {
	if order == celeryresults.ByCreated && !m.DateCreated.IsZero() {
		return m.DateCreated
	}
	return m.DateDone
}
