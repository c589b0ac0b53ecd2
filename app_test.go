package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/pattern"
)

// memory returns a backend of its own in this process.
func memory(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	return backendOver(t, &drivertest.Memory{}, s)
}

func newApp(t *testing.T, s celeryresults.Settings) *celeryresults.App {
	t.Helper()
	app, err := celeryresults.NewApp(s, memory(t, s), nil)
	require.NoError(t, err)
	return app
}

func TestBindingsByPrecedence(t *testing.T) {
	fallback, exact, short, long, single := memory(t, celeryresults.Settings{}), memory(t, celeryresults.Settings{}),
		memory(t, celeryresults.Settings{}), memory(t, celeryresults.Settings{}), memory(t, celeryresults.Settings{})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, fallback, nil)
	require.NoError(t, err)
	require.NoError(t, app.Bind("*", short))
	require.NoError(t, app.Bind("billing.*", short))
	require.NoError(t, app.Bind("billing.invoice.*", long))
	require.NoError(t, app.Bind("billing.invoice.send", exact))
	require.NoError(t, app.Bind("v?", single))
	require.NoError(t, app.Bind("*", fallback)) // binding again replaces
	for task, want := range map[string]*celeryresults.Backend{
		"": fallback, "mail.send": fallback, "billing": fallback, "billing.charge": short, "billing.": short,
		"billing.invoice.print": long, "billing.invoice.send": exact, "v1": single, "v12": fallback,
	} {
		assert.True(t, want == app.BackendFor(task), "task %q uses another backend", task)
	}
	assert.Error(t, app.Bind("", short))
	assert.Error(t, app.Bind("x", nil))
}

func TestPatternsMatchWholeNames(t *testing.T) {
	b := memory(t, celeryresults.Settings{})
	for pattern, names := range map[string]map[string]bool{
		"a*b":    {"ab": true, "axxb": true, "axbx": false, "a": false},
		"*.send": {"mail.send": true, ".send": true, "mail.sender": false},
		"a*b*c":  {"abc": true, "a.b.b.c": true, "acb": false},
		"**":     {"": true, "x": true},
		"a?c":    {"abc": true, "ac": false},
		"[a]":    {"[a]": true, "a": false},
	} {
		for name, want := range names {
			app := newApp(t, celeryresults.Settings{})
			require.NoError(t, app.Bind(pattern, b))
			assert.Equal(t, want, app.BackendFor(name) == b, "pattern %q, name %q", pattern, name)
		}
	}
}

func TestNamedBackends(t *testing.T) {
	durable := memory(t, celeryresults.Settings{})
	s := celeryresults.Settings{
		ResultBackends: map[string]celeryresults.BackendSettings{"durable": {Backend: "cache+memory://"}},
		TaskBackends:   map[string]string{"billing.*": "durable"},
	}
	app, err := celeryresults.NewApp(s, memory(t, s), map[string]*celeryresults.Backend{"durable": durable})
	require.NoError(t, err)
	assert.True(t, app.BackendFor("billing.charge") == durable)
	assert.Equal(t, []string{"durable"}, app.BackendNames())
	_, err = app.Backend("durabel")
	require.ErrorIs(t, err, celeryresults.ErrUnknownBackend)
	assert.ErrorContains(t, err, "durable")
	_, err = app.AsyncResult("id", celeryresults.FromNamed("durabel")).State(t.Context())
	require.ErrorIs(t, err, celeryresults.ErrUnknownBackend)
	assert.True(t, app.AsyncResult("id", celeryresults.ForTask("billing.x")).Backend() == durable)
	assert.True(t, app.AsyncResult("id", celeryresults.From(durable)).Backend() == durable)
	assert.False(t, app.AsyncResult("id").Backend() == durable)
	_, err = celeryresults.NewApp(s, durable, nil)
	require.ErrorIs(t, err, celeryresults.ErrUnknownBackend)
	_, err = celeryresults.NewApp(celeryresults.Settings{}, nil, nil)
	require.Error(t, err)
}

func TestLifecycleOfATask(t *testing.T) {
	s := celeryresults.Settings{TaskTrackStarted: true, ResultExtended: true}
	app := newApp(t, s)
	req := &celeryresults.Request{
		ID: t.Name(), Task: "shop.add", Args: []int{2, 3}, Kwargs: map[string]any{"k": 1}, Worker: "w1@host", Retries: 1, Queue: "celery",
		ParentID: "p", RootID: "r", GroupID: "g", Children: []celeryresults.ResultTuple{{ID: "c"}},
		Stamps: map[string]any{"tenant": "acme", "batch": 7}, Meta: map[string]any{"owner": "ann"}, PeriodicTaskName: "nightly",
	}
	r := app.AsyncResult(req.ID)
	steps := []struct {
		do   func() error
		want celeryresults.State
	}{
		{func() error { return app.RecordPending(t.Context(), req) }, celeryresults.Pending},
		{func() error { return app.MarkAsStarted(t.Context(), req) }, celeryresults.Started},
		{func() error { return app.UpdateState(t.Context(), req, "PROGRESS", map[string]int{"n": 1}) }, "PROGRESS"},
		{func() error { return app.MarkAsRetry(t.Context(), req, errors.New("again")) }, celeryresults.Retry},
		{func() error { return app.MarkAsFailure(t.Context(), req, errors.New("broke")) }, celeryresults.Failure},
		{func() error { return app.MarkAsRevoked(t.Context(), req, "terminated") }, celeryresults.Revoked},
		{func() error { return app.MarkAsDone(t.Context(), req, 5) }, celeryresults.Success},
	}
	for _, step := range steps {
		require.NoError(t, step.do(), "%s", step.want)
		meta, err := app.AsyncResult(req.ID).Meta(t.Context())
		require.NoError(t, err)
		assert.Equal(t, step.want, meta.State)
		assert.Equal(t, "shop.add w1@host celery 1 p r g nightly", fmt.Sprint(meta.Name, " ", meta.Worker, " ", meta.Queue, " ", meta.Retries, " ", meta.ParentID, " ", meta.RootID, " ", meta.GroupID, " ", meta.PeriodicTaskName))
		assert.Equal(t, []string{"batch", "tenant"}, meta.StampedHeaders)
		assert.Equal(t, step.want.Ready(), !meta.DateDone.IsZero())
		assert.WithinDuration(t, time.Now(), orNow(meta.DateDone), time.Minute)
	}
	require.ErrorIs(t, app.MarkAsStarted(t.Context(), req), celeryresults.ErrRefused)
	checkGetters(t, r)
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

func checkGetters(t *testing.T, r *celeryresults.AsyncResult) {
	t.Helper()
	ctx := t.Context()
	got, err := celeryresults.Get[int](ctx, r)
	require.NoError(t, err)
	assert.Equal(t, 5, got)
	want := func(got any, err error) any {
		require.NoError(t, err)
		return got
	}
	args := func(v celeryresults.Value, err error) any {
		require.NoError(t, err)
		tree, err := v.Any()
		require.NoError(t, err)
		return tree
	}
	kept, err := r.Meta(ctx)
	require.NoError(t, err)
	assert.Equal(t, "shop.add", kept.Name)
	assert.Equal(t, "w1@host", kept.Worker)
	assert.Equal(t, "celery", kept.Queue)
	assert.Equal(t, 1, kept.Retries)
	assert.Equal(t, true, want(r.Ready(ctx)))
	assert.Equal(t, true, want(r.Successful(ctx)))
	assert.Equal(t, false, want(r.Failed(ctx)))
	assert.Equal(t, "", want(r.Traceback(ctx)))
	assert.Equal(t, []any{int64(2), int64(3)}, args(kept.Args, nil))
	assert.Equal(t, map[string]any{"k": int64(1)}, args(kept.Kwargs, nil))
	assert.Equal(t, int64(5), args(r.Result(ctx)))
	assert.Equal(t, "[c]", fmt.Sprint(want(r.Children(ctx))))
	assert.Equal(t, "p", fmt.Sprint(want(r.Parent(ctx))))
	date, err := r.DateDone(ctx)
	require.NoError(t, err)
	assert.Equal(t, time.UTC, date.Location())
}

func TestIgnoredResults(t *testing.T) {
	yes, no := true, false
	table := []struct {
		name                 string
		settings             celeryresults.Settings
		ignore, storeErrors  *bool
		wantDone, wantFailed celeryresults.State
	}{
		{"by default all is stored", celeryresults.Settings{}, nil, nil, "SUCCESS", "FAILURE"},
		{"task_ignore_result stores nothing", celeryresults.Settings{TaskIgnoreResult: true}, nil, nil, "PENDING", "PENDING"},
		{"errors even if ignored", celeryresults.Settings{TaskIgnoreResult: true, TaskStoreErrorsEvenIfIgnored: true}, nil, nil, "PENDING", "FAILURE"},
		{"the request overrules the setting", celeryresults.Settings{TaskIgnoreResult: true}, &no, nil, "SUCCESS", "FAILURE"},
		{"the request ignores", celeryresults.Settings{}, &yes, nil, "PENDING", "PENDING"},
		{"the request stores errors", celeryresults.Settings{}, &yes, &yes, "PENDING", "FAILURE"},
		{"the request ignores errors, too", celeryresults.Settings{TaskIgnoreResult: true, TaskStoreErrorsEvenIfIgnored: true}, nil, &no, "PENDING", "PENDING"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			app := newApp(t, row.settings)
			ok := &celeryresults.Request{ID: t.Name() + "ok", IgnoreResult: row.ignore, StoreErrorsEvenIfIgnored: row.storeErrors}
			bad := &celeryresults.Request{ID: t.Name() + "bad", IgnoreResult: row.ignore, StoreErrorsEvenIfIgnored: row.storeErrors}
			require.NoError(t, app.RecordPending(t.Context(), ok))
			require.NoError(t, app.MarkAsStarted(t.Context(), ok))
			require.NoError(t, app.MarkAsDone(t.Context(), ok, 1))
			require.NoError(t, app.MarkAsFailure(t.Context(), bad, errors.New("broke")))
			state, err := app.AsyncResult(ok.ID).State(t.Context())
			require.NoError(t, err)
			assert.Equal(t, row.wantDone, state)
			state, err = app.AsyncResult(bad.ID).State(t.Context())
			require.NoError(t, err)
			assert.Equal(t, row.wantFailed, state)
		})
	}
}

func TestStartedIsTrackedOnlyWhenAsked(t *testing.T) {
	app := newApp(t, celeryresults.Settings{})
	req := &celeryresults.Request{ID: t.Name()}
	require.NoError(t, app.MarkAsStarted(t.Context(), req))
	state, err := app.AsyncResult(req.ID).State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Pending, state)
}

func TestEagerResults(t *testing.T) {
	for _, stored := range []bool{false, true} {
		app := newApp(t, celeryresults.Settings{TaskStoreEagerResult: stored})
		req := &celeryresults.Request{ID: fmt.Sprint(t.Name(), stored)}
		r, err := app.Apply(t.Context(), req, func(context.Context) (any, error) { return []int{1, 2}, nil })
		require.NoError(t, err)
		got, err := celeryresults.Get[[]int](t.Context(), r)
		require.NoError(t, err)
		assert.Equal(t, []int{1, 2}, got)
		state, err := app.AsyncResult(req.ID).State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, stored, state == celeryresults.Success)

		req.ID += "failed"
		r, err = app.Apply(t.Context(), req, func(context.Context) (any, error) { return nil, errors.New("broke") })
		require.NoError(t, err)
		_, err = r.Get(t.Context())
		require.EqualError(t, err, "Exception: broke")
		require.NoError(t, r.Forget(t.Context()))
		_, err = r.State(t.Context())
		require.Error(t, err, "a forgotten eager result is nowhere")
	}
}

func TestAppClosesEveryBackendOnce(t *testing.T) {
	stores := []*fakeStore{newStore(), newStore(), newStore()}
	var all []*celeryresults.Backend
	for _, s := range stores {
		all = append(all, drivertest.OpenStore(t, s, celeryresults.Settings{}))
	}
	app, err := celeryresults.NewApp(celeryresults.Settings{}, all[0], map[string]*celeryresults.Backend{"n": all[1]})
	require.NoError(t, err)
	require.NoError(t, app.Bind("a", all[1]))
	require.NoError(t, app.Bind("b", all[2]))
	require.NoError(t, app.Close())
	for _, s := range stores {
		assert.Equal(t, 1, s.closes)
	}
}

func TestWaitersShareTheirReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		app, err := celeryresults.NewApp(celeryresults.Settings{}, drivertest.OpenStore(t, s, celeryresults.Settings{}), nil)
		require.NoError(t, err)
		var group sync.WaitGroup
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		for i := range 200 {
			group.Go(func() {
				_, err := app.AsyncResult(fmt.Sprint(t.Name(), i)).Wait(ctx)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		group.Wait()
		s.set(func(s *fakeStore) { assert.Less(t, s.reads, 1000, "200 waiters share their reads") })
		ended := make(chan error, 1)
		go func() {
			_, err := app.AsyncResult("never").Wait(t.Context())
			ended <- err
		}()
		synctest.Wait()
		require.NoError(t, app.Close())
		require.ErrorIs(t, <-ended, celeryresults.ErrClosed)
	})
}

// cleaningStore removes three records each time.
type cleaningStore struct {
	*fakeStore
	cleanups atomic.Int64
}

func (s *cleaningStore) Cleanup(context.Context) (int64, error) {
	s.cleanups.Add(1)
	return 3, nil
}

func TestCleanupAsksEveryBackendOnce(t *testing.T) {
	one, two := &cleaningStore{fakeStore: newStore()}, &cleaningStore{fakeStore: newStore()}
	b, bound := backendOver(t, one, celeryresults.Settings{}), backendOver(t, two, celeryresults.Settings{})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, b, map[string]*celeryresults.Backend{"same": b})
	require.NoError(t, err)
	require.NoError(t, app.Bind("x", bound))
	n, err := app.Cleanup(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int64{6, 1, 1}, []int64{n, one.cleanups.Load(), two.cleanups.Load()})
}

// TestSlipsOfCallersDoNotPanic covers nil arguments and typed nils.
func TestSlipsOfCallersDoNotPanic(t *testing.T) {
	app := newApp(t, celeryresults.Settings{TaskTrackStarted: true})
	ctx := t.Context()
	require.ErrorIs(t, app.RecordPending(ctx, nil), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, app.MarkAsStarted(ctx, nil), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, app.MarkAsDone(ctx, nil, 1), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, app.MarkAsFailure(ctx, nil, nil), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, app.UpdateState(ctx, nil, "X", nil), celeryresults.ErrNoTaskID)
	_, err := app.Apply(ctx, nil, nil)
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	_, err = celeryresults.NewApp(celeryresults.Settings{}, memory(t, celeryresults.Settings{}), map[string]*celeryresults.Backend{"x": nil})
	require.ErrorContains(t, err, `"x"`)
	_, err = app.AsyncResult("id", celeryresults.From(nil)).State(ctx)
	require.ErrorContains(t, err, "From(nil)")
	for name, failure := range map[string]error{
		"nil": nil, "typed nil": (*celeryresults.TaskError)(nil), "nil of another type": (*fs.PathError)(nil),
		"wrapped": fmt.Errorf("outer: %w", (*celeryresults.TaskError)(nil)),
	} {
		req := &celeryresults.Request{ID: t.Name() + name}
		require.NoError(t, app.MarkAsFailure(ctx, req, failure), name)
		_, err := app.AsyncResult(req.ID).Get(ctx)
		assert.ErrorIs(t, err, &celeryresults.TaskError{Type: "Exception"}, name)
		assert.NotErrorIs(t, err, (*celeryresults.TaskError)(nil), name)
	}
	meta := &celeryresults.TaskMeta{TaskID: "x", State: celeryresults.Failure, Result: celeryresults.NewValue((*celeryresults.TaskError)(nil))}
	assert.EqualError(t, meta.Err(), "Exception")
	require.NoError(t, app.BackendFor("").StoreResult(ctx, meta))
	embeds := struct{ *time.Time }{}
	require.Error(t, app.MarkAsDone(ctx, &celeryresults.Request{ID: t.Name() + "embeds"}, embeds))
}

func TestPatternsCountCharacters(t *testing.T) {
	for _, row := range []struct {
		pattern, name string
		want          bool
	}{
		{"caf?", "café", true}, {"caf??", "café", false}, {"*?", "é", true}, {"??", "é", false}, {"?*é?", "xéé", true}, {"*é?", "xéé", true},
		{"*.🎉", "party.🎉", true}, {"?.?", "🎉.🎉", true}, {"a*b*c", "a-b-c", true}, {"a*b*c", "a-c-b", false}, {"?", "\xff", true},
	} {
		assert.Equal(t, row.want, pattern.Matches(row.pattern, row.name), "%q of %q", row.pattern, row.name)
	}
}
