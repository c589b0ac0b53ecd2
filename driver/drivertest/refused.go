package drivertest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

func reservedNames(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, b, nil)
	require.NoError(t, err)
	for _, name := range []string{"status", "result", "task_id", "args", "stamped_headers", "meta", ""} {
		req := &celeryresults.Request{ID: newID("reserved"), Stamps: map[string]any{name: "STARTED"}}
		require.Error(t, app.MarkAsDone(t.Context(), req, 1), "a stamp called %q", name)
		assert.True(t, get(t, b, req.ID).Unknown, "a stamp called %q", name)
	}
	twice := done(newID("twice"), 1)
	twice.Extra = []celeryresults.Extra{{Name: "x"}, {Name: "x"}}
	require.Error(t, b.StoreResult(t.Context(), twice))
}

func noState(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("stateless")
	require.ErrorIs(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: id}), celeryresults.ErrNoState)
	require.Error(t, b.StoreResult(t.Context(), nil))
	assert.True(t, get(t, b, id).Unknown)
}

// tooLarge returns a text that the store refuses; empty if it takes everything
// of a size that a test can send.
func tooLarge(t *testing.T, b *celeryresults.Backend) string {
	t.Helper()
	text := strings.Repeat("x", 4<<20)
	err := b.StoreResult(t.Context(), done(newID("size"), text))
	if err == nil {
		return ""
	}
	require.True(t, isTooLarge(err), "%v", err)
	return text
}

// isTooLarge reports whether an error is that of a record which the store can't hold.
func isTooLarge(err error) bool {
	return errors.Is(err, celeryresults.ErrTooLarge) || errors.Is(err, cache.ErrTooLarge)
}

func overrideTooLarge(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	text := tooLarge(t, b)
	if text == "" {
		t.Log("the store takes 4 MiB: there is nothing to refuse")
		return
	}
	id := newID("stands")
	store(t, b, done(id, "first"))
	err := b.StoreResult(t.Context(), done(id, text), celeryresults.Override)
	require.True(t, isTooLarge(err), "%v", err)
	got, err := celeryresults.As[string](get(t, b, id).Result)
	require.NoError(t, err)
	assert.Equal(t, "first", got)
}

func failureTooLarge(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	text := tooLarge(t, b)
	id := newID("failure")
	meta := failed(id, celeryresults.Failure, &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"begins" + text}})
	meta.Traceback, meta.Args = "Traceback"+text, celeryresults.NewValue([]any{text})
	store(t, b, meta)
	var failure *celeryresults.TaskError
	require.ErrorAs(t, get(t, b, id).Err(), &failure)
	assert.Equal(t, "ValueError", failure.Type)
	assert.True(t, strings.HasPrefix(failure.Message(), "begins"))
	assert.True(t, strings.HasPrefix(failure.Traceback, "Traceback"))
	if text != "" {
		assert.Contains(t, failure.Message(), "bytes in all")
		assert.Contains(t, failure.Traceback, "bytes in all")
	}
}

func waitBadID(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("good")
	good := make(chan error, 1)
	go func() {
		_, err := celeryresults.NewAsyncResult(id, b).Wait(withTimeout(t, time.Minute))
		good <- err
	}()
	for _, bad := range []string{newID("long") + strings.Repeat("x", 10_000), newID("nul") + "\x00"} {
		_, err := celeryresults.NewAsyncResult(bad, b).Wait(withTimeout(t, 20*time.Millisecond))
		require.Error(t, err)
		assert.True(t, errors.Is(err, cache.ErrBadKey) || !errors.Is(err, celeryresults.ErrClosed), "%v", err)
	}
	store(t, b, done(id, 1))
	require.NoError(t, <-good)
}
