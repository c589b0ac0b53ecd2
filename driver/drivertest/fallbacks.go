package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/survey"
)

// fallbacks asks the store before another one, and behind it.
func fallbacks(t *testing.T, h Harness) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprintf("the store comes first: %v", first), func(t *testing.T) {
			own := open(t, h, celeryresults.Settings{ResultExtended: true})
			l, err := newListing(celeryresults.Settings{ResultExtended: true})
			require.NoError(t, err)
			other := OpenStore(t, l, celeryresults.Settings{ResultExtended: true})
			t.Cleanup(func() { require.NoError(t, other.Close()) })
			front, back := own, other
			if !first {
				front, back = other, own
			}
			front.AddFallbacks(back)
			p := &pair{front: front, back: back, name: newID("pair"), hidden: h.Hidden}
			p.fill(t)
			p.reads(t)
			p.goesThrough(t)
			p.counts(t)
			p.keepsGroups(t)
			p.waits(t)
			p.forgets(t)
		})
	}
}

// pair is a backend and its fallback.
type pair struct {
	front, back *celeryresults.Backend
	name        string // of the tasks
	hidden      bool
	known       []string // ids, newest first
}

func (p *pair) id(name string) string { return p.name + "-" + name }

// fill stores results in one, in the other, and in both.
func (p *pair) fill(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Minute)
	put := func(b *celeryresults.Backend, name string, state celeryresults.State, value any) {
		at = at.Add(time.Second)
		meta := done(p.id(name), value)
		meta.State, meta.Name, meta.GroupID, meta.DateCreated, meta.DateDone = state, p.name, p.id("group"), at, at
		if !state.Ready() {
			meta.DateDone = time.Time{}
		}
		store(t, b, meta)
	}
	put(p.back, "both", celeryresults.Success, "of the back") // which the front hides
	for i := range 3 {
		put(p.back, fmt.Sprint("back", i), celeryresults.Success, i)
		put(p.front, fmt.Sprint("front", i), celeryresults.Failure, celeryresults.NewTaskError(errors.New("no")))
		p.known = append([]string{p.id(fmt.Sprint("front", i)), p.id(fmt.Sprint("back", i))}, p.known...)
	}
	put(p.front, "both", celeryresults.Started, "of the front")
	put(p.back, "running", celeryresults.Started, nil)
	p.known = append([]string{p.id("running"), p.id("both")}, p.known...)
}

// statuses returns what is to be found of ids, in their order.
func (p *pair) asked() (ids []string, want []celeryresults.State) {
	ids = []string{p.id("back0"), p.id("unknown"), p.id("both"), p.id("front1"), p.id("running"), p.id("back0")}
	return ids, []celeryresults.State{
		celeryresults.Success, celeryresults.Pending, celeryresults.Started, celeryresults.Failure, celeryresults.Started, celeryresults.Success,
	}
}

func (p *pair) reads(t *testing.T) {
	ids, want := p.asked()
	metas, err := p.front.GetMany(t.Context(), ids)
	require.NoError(t, err)
	statuses, err := p.front.GetStatuses(t.Context(), ids)
	require.NoError(t, err)
	for i, id := range ids {
		status := celeryresults.Status{State: want[i], Unknown: want[i] == celeryresults.Pending}
		assert.Equal(t, status, metas[i].Status(), id)
		assert.Equal(t, status, statuses[i], id)
		assert.Equal(t, status, get(t, p.front, id).Status(), id)
		assert.Equal(t, id, metas[i].TaskID)
	}
	for _, meta := range []*celeryresults.TaskMeta{metas[2], get(t, p.front, p.id("both"))} {
		value, err := meta.Result.Any()
		require.NoError(t, err)
		assert.Equal(t, "of the front", value)
	}
	assert.Equal(t, "of the back", fmt.Sprint(p.value(t, p.back, "both")), "nothing is stored in a fallback")
}

func (p *pair) value(t *testing.T, b *celeryresults.Backend, name string) any {
	value, err := get(t, b, p.id(name)).Result.Any()
	require.NoError(t, err)
	return value
}

// goesThrough checks walks, lists and surveys.
func (p *pair) goesThrough(t *testing.T) {
	ctx := withTimeout(t, time.Minute)
	if p.hidden {
		_, err := survey.Look(ctx, p.front, celeryresults.Query{}, 0)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = p.front.List(ctx, celeryresults.Query{})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	found := map[string]celeryresults.State{}
	for meta, err := range p.front.Walk(ctx) {
		require.NoError(t, err)
		if meta.Name == p.name {
			require.NotContains(t, found, meta.TaskID)
			found[meta.TaskID] = meta.State
		}
	}
	assert.Len(t, found, len(p.known))
	assert.Equal(t, celeryresults.Started, found[p.id("both")])
	survey, err := survey.Look(ctx, p.front, celeryresults.Query{Task: p.name}, 1_000_000)
	require.NoError(t, err)
	assert.ElementsMatch(t, p.known, idsOf(survey.Results))
	q := celeryresults.Query{Task: p.name}
	if _, err := p.front.List(ctx, q); errors.Is(err, errors.ErrUnsupported) {
		t.Log("the store lists nothing")
		return
	}
	for _, q.Limit = range []int{1, 2, 3, 100} {
		assert.Equal(t, p.known, listed(t, p.front, q), "%d to a page", q.Limit)
	}
	q.States, q.Limit = []celeryresults.State{celeryresults.Success}, 2
	assert.Equal(t, []string{p.id("back2"), p.id("back1"), p.id("back0")}, listed(t, p.front, q), "what is hidden is no success")
	page, err := p.front.List(ctx, q)
	require.NoError(t, err)
	_, err = p.front.List(ctx, celeryresults.Query{Task: p.name, Cursor: page.Next})
	require.ErrorIs(t, err, celeryresults.ErrCursor, "it is of another query")
	_, err = p.front.List(ctx, celeryresults.Query{Cursor: "none"})
	require.ErrorIs(t, err, celeryresults.ErrCursor)
}

func idsOf(metas []*celeryresults.TaskMeta) []string {
	var ids []string
	for _, meta := range metas {
		ids = append(ids, meta.TaskID)
	}
	return ids
}

// counts checks tallies and statistics.
func (p *pair) counts(t *testing.T) {
	group := celeryresults.ResultTuple{ID: p.id("group")}
	for _, id := range p.known {
		group.Children = append(group.Children, celeryresults.ResultTuple{ID: id})
	}
	require.NoError(t, p.back.SaveGroup(t.Context(), group)) // as it was before the tasks moved
	want := celeryresults.Progress{Total: len(p.known)}
	statuses, err := p.front.GetStatuses(t.Context(), p.known)
	require.NoError(t, err)
	for _, status := range statuses {
		want.Add(status, 1)
	}
	got, err := p.front.Tally(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	progress, err := celeryresults.RestoreGroup(t.Context(), p.front, group.ID)
	require.NoError(t, err)
	looked, err := progress.Progress(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, looked)
	_, err = p.front.Tally(t.Context(), newID("unsaved"))
	require.ErrorIs(t, err, errors.ErrUnsupported)

	stats, err := p.front.Stats(t.Context(), driver.StatsQuery{})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Log("the store has no statistics")
		return
	}
	require.NoError(t, err)
	i := slices.IndexFunc(stats.Tasks, func(s driver.TaskStats) bool { return s.Task == p.name })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, map[celeryresults.State]int64{celeryresults.Success: 4, celeryresults.Failure: 3}, stats.Tasks[i].States)
	assert.EqualValues(t, 7, stats.Tasks[i].Total)
}

func (p *pair) keepsGroups(t *testing.T) {
	group := celeryresults.ResultTuple{ID: p.id("moved"), Children: []celeryresults.ResultTuple{{ID: "a"}}}
	require.NoError(t, p.back.SaveGroup(t.Context(), group))
	got, err := p.front.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, group, got)
	newer := celeryresults.ResultTuple{ID: group.ID, Children: []celeryresults.ResultTuple{{ID: "b"}}}
	require.NoError(t, p.front.SaveGroup(t.Context(), newer))
	got, err = p.front.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, newer, got)
	require.NoError(t, p.front.DeleteGroup(t.Context(), group.ID))
	for _, b := range []*celeryresults.Backend{p.front, p.back} {
		_, err = b.RestoreGroup(t.Context(), group.ID)
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	}
}

// waits waits for what stands in the fallback, and for what comes to either.
func (p *pair) waits(t *testing.T) {
	ctx := withTimeout(t, time.Minute)
	meta, err := p.front.WaitFor(ctx, p.id("back1"))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Success, meta.State)
	one, many := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := p.front.WaitFor(ctx, p.id("running"))
		one <- err
	}()
	go func() {
		many <- p.front.AwaitMany(ctx, []string{p.id("back2"), p.id("late"), p.id("latest"), p.id("both")}, func(m *celeryresults.TaskMeta) bool {
			return m.State.Ready()
		})
	}()
	store(t, p.back, done(p.id("running"), 1)) // by a worker that knows nothing of the front
	store(t, p.front, done(p.id("late"), 1))
	store(t, p.front, done(p.id("both"), 1))
	store(t, p.back, done(p.id("latest"), 1))
	require.NoError(t, <-one)
	require.NoError(t, <-many)
	short, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = p.front.WaitFor(short, p.id("never"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func (p *pair) forgets(t *testing.T) {
	require.NoError(t, p.front.Forget(t.Context(), p.id("both"), p.id("back0"), p.id("front0"), p.id("unknown")))
	for _, b := range []*celeryresults.Backend{p.front, p.back} {
		for _, name := range []string{"both", "back0", "front0"} {
			assert.True(t, get(t, b, p.id(name)).Unknown, name)
		}
	}
}
