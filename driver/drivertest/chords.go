package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// openChords opens a backend, or returns nil where the store keeps no b.
func openChords(t *testing.T, h Harness) *celeryresults.Backend {
	t.Helper()
	b := open(t, h, celeryresults.Settings{})
	if err := b.DeleteChord(t.Context(), newID("chord")); errors.Is(err, errors.ErrUnsupported) {
		t.Log("the store keeps no chords")
		return nil
	}
	return b
}

// chordsFireOnce reports every member one to three times from many goroutines.
func chordsFireOnce(t *testing.T, h Harness) {
	b := openChords(t, h)
	if b == nil {
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
		require.NoError(t, b.StartChord(t.Context(), chord))
		require.NoError(t, b.StartChord(t.Context(), chord), "a chord that stands is left as it is")
		want[chord.ID] = []string{fmt.Sprint(chord.Members)}
	}
	rand.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	work := make(chan part)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for p := range work {
				assert.NoError(t, b.ReportPart(t.Context(), p.chord, p.member, body))
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
	b := openChords(t, h)
	if b == nil {
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
	require.NoError(t, b.StartChord(t.Context(), chord))
	store(t, b, done(chord.Members[0], 1))
	require.NoError(t, b.ReportPart(t.Context(), chord.ID, chord.Members[0], body))
	require.NoError(t, b.ReportPart(t.Context(), chord.ID, "a stranger", body))
	require.NoError(t, b.ReportPart(t.Context(), newID("unknown"), "x", body))
	assert.Zero(t, calls)
	require.ErrorIs(t, b.ReportPart(t.Context(), chord.ID, chord.Members[1], body), broken)
	assert.Equal(t, 1, calls)
	_, err := b.SweepChords(t.Context(), body)
	require.ErrorIs(t, err, broken, "the claim was given back")
	broken = nil
	_, _ = b.SweepChords(t.Context(), body) // an error is another test's
	assert.Equal(t, 3, calls)
	require.NoError(t, b.ReportPart(t.Context(), chord.ID, chord.Members[1], body), "it is handed over")
	assert.Equal(t, 3, calls)

	chord.ID = newID("deleted")
	require.NoError(t, b.StartChord(t.Context(), chord))
	require.NoError(t, b.DeleteChord(t.Context(), chord.ID))
	require.NoError(t, b.DeleteChord(t.Context(), chord.ID))
	for _, id := range chord.Members {
		require.NoError(t, b.ReportPart(t.Context(), chord.ID, id, body))
	}
	assert.Equal(t, 3, calls)
	require.ErrorIs(t, b.StartChord(t.Context(), celeryresults.Chord{Members: []string{"a"}}), celeryresults.ErrNoTaskID)
	require.Error(t, b.StartChord(t.Context(), celeryresults.Chord{ID: newID("empty")}))
	require.Error(t, b.StartChord(t.Context(), celeryresults.Chord{ID: newID("twice"), Members: []string{"a", "a"}}))
}

// chordMarks starts and reports a chord again that was handed over, and once more when
// the mark of that was deleted.
func chordMarks(t *testing.T, h Harness) {
	b := openChords(t, h)
	if b == nil {
		return
	}
	chord := celeryresults.Chord{ID: newID("marked"), Members: []string{newID("a"), newID("b")}}
	calls := 0
	body := func(_ context.Context, got celeryresults.Chord, _ []*celeryresults.TaskMeta) error {
		if got.ID != chord.ID {
			return errors.New("not mine")
		}
		calls++
		return nil
	}
	run := func() {
		t.Helper()
		require.NoError(t, b.StartChord(t.Context(), chord))
		for _, id := range chord.Members {
			require.NoError(t, b.ReportPart(t.Context(), chord.ID, id, body))
		}
		_, _ = b.SweepChords(t.Context(), body) // an error is another test's
	}
	run()
	assert.Equal(t, 1, calls)
	run()
	assert.Equal(t, 1, calls, "it was handed over")
	require.NoError(t, b.DeleteChord(t.Context(), chord.ID))
	run()
	assert.Equal(t, 2, calls, "nothing is known of it any more")
}
