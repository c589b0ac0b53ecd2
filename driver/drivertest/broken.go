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
)

// unreadable looks at a record without a readable state, and at others beside it.
func unreadable(t *testing.T, h Harness) {
	if h.Break == nil {
		t.Log("no record is made unreadable")
		return
	}
	b := open(t, h, celeryresults.Settings{})
	broken := func() string {
		id := newID("broken")
		store(t, b, metaOf(id, celeryresults.Started))
		h.Break(t, b, id)
		return id
	}
	good, unknown, bad := newID("good"), newID("unknown"), broken()
	store(t, b, done(good, 1))
	metas, err := b.GetMany(t.Context(), []string{good, bad, unknown, bad})
	assertUnreadable(t, bad, err)
	require.Len(t, metas, 4)
	assert.Equal(t, celeryresults.Success, metas[0].State)
	assert.True(t, metas[2].Unknown)
	assert.Nil(t, metas[1])
	assert.Nil(t, metas[3])
	statuses, err := b.GetStatuses(t.Context(), []string{good, bad, unknown})
	assertUnreadable(t, bad, err)
	assert.Equal(t, []celeryresults.Status{{State: celeryresults.Success}, {}, {State: celeryresults.Pending, Unknown: true}}, statuses)
	_, err = b.GetTaskMeta(t.Context(), bad)
	assertUnreadable(t, bad, err)
	walksPast(t, h, b, bad, good)
	waitsPast(t, b, bad)

	for _, state := range []celeryresults.State{celeryresults.Pending, celeryresults.Started, celeryresults.Retry, "PROGRESS"} {
		var refused *celeryresults.RefusedError
		require.ErrorAs(t, b.StoreResult(t.Context(), metaOf(bad, state)), &refused, "%s", state)
		assert.Empty(t, refused.Stands)
		_, err = b.GetTaskMeta(t.Context(), bad)
		assertUnreadable(t, bad, err)
	}
	for _, state := range []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Revoked} {
		id := broken()
		store(t, b, metaOf(id, state))
		assert.Equal(t, state, get(t, b, id).State)
	}
	require.NoError(t, b.StoreResult(t.Context(), metaOf(bad, celeryresults.Started), celeryresults.Override))
	assert.Equal(t, celeryresults.Started, get(t, b, bad).State)
	gone := broken()
	require.NoError(t, b.Forget(t.Context(), gone))
	assert.True(t, get(t, b, gone).Unknown)
}

func assertUnreadable(t *testing.T, id string, err error) {
	t.Helper()
	var e *celeryresults.UnreadableError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, id, e.ID)
}

// walksPast walks over a record that can't be read.
func walksPast(t *testing.T, h Harness, b *celeryresults.Backend, bad, good string) {
	if h.Hidden {
		return
	}
	found := false
	var errs []error
	for meta, err := range b.Walk(withTimeout(t, time.Minute)) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = found || meta.TaskID == good
	}
	assert.True(t, found)
	var ids []string
	for _, err := range errs {
		var e *celeryresults.UnreadableError
		require.ErrorAs(t, err, &e)
		ids = append(ids, e.ID)
	}
	assert.Contains(t, ids, bad)
}

// waitsPast waits for a record that can't be read, and for others with it.
func waitsPast(t *testing.T, b *celeryresults.Backend, bad string) {
	ctx := withTimeout(t, time.Minute)
	_, err := b.WaitFor(ctx, bad)
	assertUnreadable(t, bad, err)
	late, own := newID("late"), newID("own")
	alone, together, joined := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	var seen []string
	go func() {
		_, err := b.WaitFor(ctx, own)
		alone <- err
	}()
	go func() {
		together <- b.AwaitMany(ctx, []string{bad, late}, func(m *celeryresults.TaskMeta) bool {
			if m.State.Ready() {
				seen = append(seen, m.TaskID)
			}
			return m.State.Ready()
		})
	}()
	go func() {
		set := celeryresults.NewResultSet(celeryresults.NewAsyncResult(late, b), celeryresults.NewAsyncResult(bad, b))
		_, err := set.Join(ctx)
		joined <- err
	}()
	time.Sleep(10 * time.Millisecond) // they wait, most likely
	select {
	case err := <-together:
		t.Fatalf("one record ended the waits for others: %v", err)
	default:
	}
	store(t, b, done(own, 1))
	store(t, b, done(late, 1))
	require.NoError(t, <-alone)
	assertUnreadable(t, bad, <-together)
	assertUnreadable(t, bad, <-joined)
	assert.Equal(t, []string{late}, seen)
}

// deadStore runs every kind of operation at once, until their contexts end.
func deadStore(t *testing.T, h Harness) {
	if h.Dead == nil {
		t.Log("no server is dead")
		return
	}
	deadline, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	cancelled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	b := h.Dead(t)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	var all sync.WaitGroup
	for _, ctx := range []context.Context{deadline, cancelled} {
		for name, operation := range operations(b) {
			all.Go(func() {
				began := time.Now()
				err := operation(ctx)
				if errors.Is(err, errors.ErrUnsupported) {
					return
				}
				want := context.Canceled
				if ctx == deadline {
					want = context.DeadlineExceeded
				}
				assert.ErrorIs(t, err, want, name)
				assert.True(t, isOver(ctx), "%s ended before its context: %v", name, err)
				assert.Less(t, time.Since(began), 2*time.Second, name)
				assertSays(t, name, began, err)
			})
		}
	}
	all.Wait()
}

// isOver reports whether a context is over, by the clock where it does not know that itself
// yet.
func isOver(ctx context.Context) bool {
	deadline, timed := ctx.Deadline()
	return ctx.Err() != nil || timed && !time.Now().Before(deadline)
}

// operations are all that need the server.
func operations(b *celeryresults.Backend) map[string]func(ctx context.Context) error {
	ids := []string{newID("dead"), newID("dead")}
	set := celeryresults.NewResultSet(celeryresults.NewAsyncResult(ids[0], b), celeryresults.NewAsyncResult(ids[1], b))
	return map[string]func(ctx context.Context) error{
		"store": func(ctx context.Context) error { return b.StoreResult(ctx, done(newID("dead"), 1)) },
		"get": func(ctx context.Context) error {
			_, err := b.GetTaskMeta(ctx, ids[0])
			return err
		},
		"get many": func(ctx context.Context) error {
			_, err := b.GetMany(ctx, ids)
			return err
		},
		"statuses": func(ctx context.Context) error {
			_, err := b.GetStatuses(ctx, ids)
			return err
		},
		"forget":     func(ctx context.Context) error { return b.Forget(ctx, ids...) },
		"save group": func(ctx context.Context) error { return b.SaveGroup(ctx, celeryresults.ResultTuple{ID: newID("dead")}) },
		"restore group": func(ctx context.Context) error {
			_, err := b.RestoreGroup(ctx, ids[0])
			return err
		},
		"wait": func(ctx context.Context) error {
			_, err := b.WaitFor(ctx, ids[0])
			return err
		},
		"wait for many": func(ctx context.Context) error {
			return b.AwaitMany(ctx, ids, func(*celeryresults.TaskMeta) bool { return true })
		},
		"join": func(ctx context.Context) error {
			_, err := set.Join(ctx)
			return err
		},
		"completed": func(ctx context.Context) error {
			for _, err := range set.AsCompleted(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"watch": func(ctx context.Context) error {
			for _, err := range celeryresults.NewAsyncResult(ids[0], b).Watch(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"progress": func(ctx context.Context) error {
			_, err := set.Progress(ctx)
			return err
		},
		"list": func(ctx context.Context) error {
			_, err := b.List(ctx, celeryresults.Query{})
			return err
		},
		"tally": func(ctx context.Context) error {
			_, err := b.Tally(ctx, ids[0])
			return err
		},
		"start chord": func(ctx context.Context) error {
			return b.StartChord(ctx, celeryresults.Chord{ID: newID("dead"), Members: ids})
		},
		"report part": func(ctx context.Context) error {
			return b.ReportPart(ctx, newID("dead"), ids[0], nil)
		},
	}
}

// assertSays checks that an error tells since when the store has been silent, and why;
// one of a store tells what became of the result.
func assertSays(t *testing.T, name string, began time.Time, err error) {
	if name == "store" {
		var e *celeryresults.StoreError
		if assert.ErrorAs(t, err, &e, name) {
			assert.Contains(t, []celeryresults.Outcome{celeryresults.OutcomeNotStored, celeryresults.OutcomeUnknown}, e.Outcome)
		}
		return
	}
	if name == "save group" {
		return
	}
	var silent *celeryresults.SilentError
	if assert.ErrorAs(t, err, &silent, fmt.Sprintf("%s: %v", name, err)) {
		assert.WithinRange(t, silent.Since, began.Add(-time.Second), began.Add(time.Second), name)
		assert.Error(t, silent.Last, name)
	}
}
