package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/survey"
)

func outcomes(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("outcome")
	assert.Equal(t, celeryresults.OutcomeStored, celeryresults.OutcomeOf(b.StoreResult(t.Context(), done(id, 1))))
	assert.Equal(t, celeryresults.OutcomeRefused, celeryresults.OutcomeOf(b.StoreResult(t.Context(), metaOf(id, celeryresults.Started))))
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(b.StoreResult(t.Context(), done("", 1))))
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: id})))
}

func watchStates(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("watch")
	next := make(chan celeryresults.State)
	var storing sync.WaitGroup // a waiter may be awake before the store has returned
	storing.Go(func() {
		for state := range next {
			assert.NoError(t, b.StoreResult(context.WithoutCancel(t.Context()), metaOf(id, state)))
		}
	})
	rest := []celeryresults.State{celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Started, celeryresults.Failure}
	var seen []celeryresults.State
	for meta, err := range celeryresults.NewAsyncResult(id, b).Watch(withTimeout(t, time.Minute)) {
		require.NoError(t, err)
		seen = append(seen, meta.State)
		if len(rest) > 0 {
			next <- rest[0]
			rest = rest[1:]
		}
	}
	close(next)
	storing.Wait()
	assert.Equal(t, []celeryresults.State{celeryresults.Pending, celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Started, celeryresults.Failure}, seen)
}

// lists needs a name of its own, as several tests share a store.
func lists(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	if _, err := b.List(t.Context(), celeryresults.Query{}); errors.Is(err, errors.ErrUnsupported) {
		surveys(t, h, b)
		return
	}
	name := newID("list")
	want := storeForList(t, b, name)
	assert.Equal(t, want, listed(t, b, celeryresults.Query{Task: name, Limit: 2}))
	assert.Equal(t, want, listed(t, b, celeryresults.Query{Task: name + "*", Limit: 3}))
	assert.Equal(t, []string{want[0], want[3], want[6]}, listed(t, b, celeryresults.Query{Task: name, States: []celeryresults.State{celeryresults.Failure}, Limit: 1}))
	assert.Empty(t, listed(t, b, celeryresults.Query{Task: name, Worker: "nobody"}))
	_, err := b.List(t.Context(), celeryresults.Query{Cursor: "none"})
	require.ErrorIs(t, err, celeryresults.ErrCursor)
	_, err = b.List(t.Context(), celeryresults.Query{Limit: -1})
	require.Error(t, err)
}

// surveys looks for the same in a store without lists, as far as that shows its results.
func surveys(t *testing.T, h Harness, b *celeryresults.Backend) {
	name := newID("list")
	want := storeForList(t, b, name)
	q := celeryresults.Query{Task: name + "*", States: []celeryresults.State{celeryresults.Failure}}
	s, err := survey.Look(withTimeout(t, time.Minute), b, q, 1_000_000)
	if h.Hidden {
		require.ErrorIs(t, err, errors.ErrUnsupported)
		return
	}
	require.NoError(t, err)
	require.True(t, s.Whole)
	var ids []string
	for _, meta := range s.Results {
		ids = append(ids, meta.TaskID)
	}
	assert.Equal(t, []string{want[0], want[3], want[6]}, ids)
}

// storeForList stores seven results, every third of which has failed, and returns their ids,
// newest first.
func storeForList(t *testing.T, b *celeryresults.Backend, name string) (want []string) {
	t.Helper()
	for i := range 7 {
		meta := done(fmt.Sprintf("%s-%d", name, i), i)
		meta.Name, meta.DateCreated = name, time.Now().UTC().Truncate(time.Microsecond)
		if i%3 == 0 {
			meta.State, meta.Result = celeryresults.Failure, celeryresults.NewValue(celeryresults.NewTaskError(errors.New("no")))
		}
		store(t, b, meta)
		want = append([]string{meta.TaskID}, want...)
	}
	return want
}

// listed walks over all pages.
func listed(t *testing.T, b *celeryresults.Backend, q celeryresults.Query) []string {
	t.Helper()
	var ids []string
	for {
		page, err := b.List(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Results), q.Limit+driver.DefaultLimit*max(0, 1-q.Limit))
		for _, meta := range page.Results {
			ids = append(ids, meta.TaskID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids
		}
	}
}

// walks looks for its own results, as several tests share a store.
func walks(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	wanted := map[string]int{}
	many := min(2500, h.RaceIDs)
	for i := range many {
		id := newID("walk")
		wanted[id] = i
	}
	for id, value := range wanted {
		store(t, b, done(id, value))
	}
	found := 0
	for meta, err := range b.Walk(withTimeout(t, time.Minute)) {
		if h.Hidden {
			require.ErrorIs(t, err, errors.ErrUnsupported)
			return
		}
		require.NoError(t, err)
		value, own := wanted[meta.TaskID]
		if !own {
			continue
		}
		tree, err := meta.Result.Any()
		require.NoError(t, err)
		assert.EqualValues(t, value, tree)
		delete(wanted, meta.TaskID)
		found++
	}
	assert.Equal(t, many, found)
	for range b.Walk(t.Context()) {
		break // it ends when nobody wants more
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range b.Walk(ctx) {
		require.ErrorIs(t, err, context.Canceled)
	}
}
