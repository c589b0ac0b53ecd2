package backendtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
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
	lister, ok := celeryresults.BackendAs[celeryresults.Lister](b)
	if !ok {
		surveys(t, h, b)
		return
	}
	name := newID("list")
	want := storeForList(t, b, name)
	assert.Equal(t, want, listed(t, lister, celeryresults.Query{Task: name, Limit: 2}))
	assert.Equal(t, want, listed(t, lister, celeryresults.Query{Task: name + "*", Limit: 3}))
	assert.Equal(t, []string{want[0], want[3], want[6]}, listed(t, lister, celeryresults.Query{Task: name, States: []celeryresults.State{celeryresults.Failure}, Limit: 1}))
	assert.Empty(t, listed(t, lister, celeryresults.Query{Task: name, Worker: "nobody"}))
	_, err := lister.List(t.Context(), celeryresults.Query{Cursor: "none"})
	require.ErrorIs(t, err, celeryresults.ErrCursor)
	_, err = lister.List(t.Context(), celeryresults.Query{Limit: -1})
	require.Error(t, err)
}

// surveys looks for the same in a store without lists, as far as that shows its results.
func surveys(t *testing.T, h Harness, b celeryresults.Backend) {
	name := newID("list")
	want := storeForList(t, b, name)
	q := celeryresults.Query{Task: name + "*", States: []celeryresults.State{celeryresults.Failure}}
	s, err := celeryresults.SurveyResults(withTimeout(t, time.Minute), b, q, 1_000_000)
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
func storeForList(t *testing.T, b celeryresults.Backend, name string) (want []string) {
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
func listed(t *testing.T, lister celeryresults.Lister, q celeryresults.Query) []string {
	t.Helper()
	var ids []string
	for {
		page, err := lister.List(t.Context(), q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Results), q.Limit+celeryresults.DefaultLimit*max(0, 1-q.Limit))
		for _, meta := range page.Results {
			ids = append(ids, meta.TaskID)
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return ids
		}
	}
}

func chorder(t *testing.T, h Harness) (celeryresults.Backend, celeryresults.Chorder) {
	b := open(t, h, celeryresults.Settings{})
	c, ok := celeryresults.BackendAs[celeryresults.Chorder](b)
	if !ok {
		t.Log("the store keeps no chords")
	}
	return b, c
}

// chordsFireOnce reports every member one to three times from many goroutines.
func chordsFireOnce(t *testing.T, h Harness) {
	b, chords := chorder(t, h)
	if chords == nil {
		return
	}
	const count, size = 20, 8
	prefix := newID("chord")
	var mu sync.Mutex
	fired := map[string][]string{}
	body := func(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
		mu.Lock()
		defer mu.Unlock()
		name, err := celeryresults.As[string](chord.Body)
		assert.NoError(t, err)
		assert.Equal(t, chord.ID+" body", name)
		for i, meta := range results {
			assert.Equal(t, chord.Members[i], meta.TaskID)
			assert.Equal(t, celeryresults.Success, meta.State)
		}
		fired[chord.ID] = append(fired[chord.ID], fmt.Sprint(chord.Members))
		return nil
	}
	type part struct{ chord, member string }
	var parts []part
	want := map[string][]string{}
	for i := range count {
		chord := celeryresults.Chord{ID: fmt.Sprintf("%s-%d", prefix, i)}
		chord.Body = celeryresults.NewValue(chord.ID + " body")
		for m := range size {
			member := fmt.Sprintf("%s-%d", chord.ID, m)
			chord.Members = append(chord.Members, member)
			store(t, b, done(member, m))
			for range 1 + rand.IntN(3) {
				parts = append(parts, part{chord.ID, member})
			}
		}
		require.NoError(t, chords.StartChord(t.Context(), chord))
		require.NoError(t, chords.StartChord(t.Context(), chord), "a chord that stands is left as it is")
		want[chord.ID] = []string{fmt.Sprint(chord.Members)}
	}
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	work := make(chan part)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for p := range work {
				assert.NoError(t, chords.ReportPart(t.Context(), p.chord, p.member, body))
			}
		})
	}
	for _, p := range parts {
		work <- p
	}
	close(work)
	group.Wait()
	assert.Equal(t, want, fired)
}

// chordBodies checks what becomes of a chord whose body fails, and of what is no
// chord.
func chordBodies(t *testing.T, h Harness) {
	b, chords := chorder(t, h)
	if chords == nil {
		return
	}
	chord := celeryresults.Chord{ID: newID("chord"), Members: []string{newID("a"), newID("b")}}
	broken, calls := errors.New("the broker is down"), 0
	body := func(_ context.Context, got celeryresults.Chord, results []*celeryresults.TaskMeta) error {
		if got.ID != chord.ID { // a sweep may find those of other tests
			return errors.New("not mine")
		}
		calls++
		assert.True(t, results[1].Unknown, "a member without a result is unknown")
		return broken
	}
	require.NoError(t, chords.StartChord(t.Context(), chord))
	store(t, b, done(chord.Members[0], 1))
	require.NoError(t, chords.ReportPart(t.Context(), chord.ID, chord.Members[0], body))
	require.NoError(t, chords.ReportPart(t.Context(), chord.ID, "a stranger", body))
	require.NoError(t, chords.ReportPart(t.Context(), newID("unknown"), "x", body))
	assert.Zero(t, calls)
	require.ErrorIs(t, chords.ReportPart(t.Context(), chord.ID, chord.Members[1], body), broken)
	assert.Equal(t, 1, calls)
	_, err := chords.SweepChords(t.Context(), body)
	require.ErrorIs(t, err, broken, "the claim was given back")
	broken = nil
	_, _ = chords.SweepChords(t.Context(), body) // an error is another test's
	assert.Equal(t, 3, calls)
	require.NoError(t, chords.ReportPart(t.Context(), chord.ID, chord.Members[1], body), "it is gone")
	assert.Equal(t, 3, calls)

	require.NoError(t, chords.StartChord(t.Context(), chord))
	require.NoError(t, chords.DeleteChord(t.Context(), chord.ID))
	require.NoError(t, chords.DeleteChord(t.Context(), chord.ID))
	for _, id := range chord.Members {
		require.NoError(t, chords.ReportPart(t.Context(), chord.ID, id, body))
	}
	assert.Equal(t, 3, calls)
	require.ErrorIs(t, chords.StartChord(t.Context(), celeryresults.Chord{Members: []string{"a"}}), celeryresults.ErrNoTaskID)
	require.Error(t, chords.StartChord(t.Context(), celeryresults.Chord{ID: newID("empty")}))
	require.Error(t, chords.StartChord(t.Context(), celeryresults.Chord{ID: newID("twice"), Members: []string{"a", "a"}}))
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
	for meta, err := range celeryresults.Walk(withTimeout(t, time.Minute), b) {
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
	for range celeryresults.Walk(t.Context(), b) {
		break // it ends when nobody wants more
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range celeryresults.Walk(ctx, b) {
		require.ErrorIs(t, err, context.Canceled)
	}
}
