package observe_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/observe"
)

// record keeps events.
type record struct {
	mu     sync.Mutex
	events []observe.Event
	waits  func() // called when a wait begins
}

func (r *record) Begin(ctx context.Context, e observe.Event) context.Context {
	if e.Operation == observe.Wait && r.waits != nil {
		r.waits()
	}
	return context.WithValue(ctx, r, e.Operation) //nolint:staticcheck // the key is the test's own
}

func (r *record) End(ctx context.Context, e observe.Event) {
	if ctx.Value(r) != e.Operation {
		e.Err = errors.New("End has another context than Begin gave")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// last returns the newest event, without what is another each time.
func (r *record) last(t *testing.T) observe.Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.NotEmpty(t, r.events)
	e := r.events[len(r.events)-1]
	assert.Positive(t, e.Duration)
	assert.WithinDuration(t, time.Now(), e.Began, time.Minute)
	e.Began, e.Duration = time.Time{}, 0
	return e
}

func openRedis(t *testing.T, s celeryresults.Settings) (*miniredis.Miniredis, *celeryresults.Backend) {
	t.Helper()
	server := miniredis.RunT(t)
	return server, openOn(t, server, s)
}

func openOn(t *testing.T, server *miniredis.Miniredis, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	b, err := redisbackend.New(client, s, redisbackend.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(b.Close(), client.Close())) })
	return b
}

func success(id string, value any) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value), Name: "shop.bill",
		Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC(),
	}
}

func TestAnObservedBackendKeepsTheRules(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			server := miniredis.RunT(t)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
			b, err := redisbackend.New(client, s, redisbackend.Options{})
			require.NoError(t, err)
			stop := make(chan struct{})
			t.Cleanup(func() { close(stop); _ = client.Close() })
			go func() { // the fake's time stands still by itself
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						server.FastForward(10 * time.Millisecond)
					}
				}
			}()
			return observe.Backend("observed", b, &record{}, observe.Log(slog.New(slog.DiscardHandler)))
		},
		ShortestExpiry: time.Second, RaceIDs: 500,
	})
}

func TestEvents(t *testing.T) {
	server, b := openRedis(t, celeryresults.Settings{ResultExtended: true})
	r := new(record)
	observe.Backend("main", b, r)
	ctx := t.Context()

	require.NoError(t, b.StoreResult(ctx, success("one", "text")))
	document, err := server.Get("celery-task-meta-one")
	require.NoError(t, err)
	assert.Equal(t, observe.Event{
		Backend: "main", Operation: observe.Store, TaskIDs: []string{"one"}, Task: "shop.bill", State: celeryresults.Success,
		Outcome: celeryresults.OutcomeStored, Sent: int64(len(document)), Ended: observe.OK,
	}, r.last(t))

	late := success("one", nil)
	late.State = celeryresults.Started
	require.ErrorIs(t, b.StoreResult(ctx, late), celeryresults.ErrRefused)
	e := r.last(t)
	assert.Equal(t, celeryresults.OutcomeRefused, e.Outcome)
	assert.Equal(t, observe.Refused, e.Ended)
	assert.ErrorIs(t, e.Err, celeryresults.ErrRefused)

	_, err = b.GetTaskMeta(ctx, "one")
	require.NoError(t, err)
	e = r.last(t)
	assert.Equal(t, int64(len(`"text"`+`null`+`null`)), e.Received)
	e.Received = 0
	assert.Equal(t, observe.Event{Backend: "main", Operation: observe.Get, TaskIDs: []string{"one"}, Task: "shop.bill", State: celeryresults.Success, Ended: observe.OK}, e)

	require.NoError(t, server.Set("celery-task-meta-broken", "no document"))
	require.NoError(t, server.Set("celery-task-meta-odd", `{"status": "SUCCESS", "result": `+strings.Repeat("9", 1_000_000)+`}`))
	metas, err := b.GetMany(ctx, []string{"one", "nobody", "broken", "odd"})
	assert.Len(t, metas, 4)
	require.Error(t, err)
	e = r.last(t)
	assert.Equal(t, observe.GetMany, e.Operation)
	assert.Equal(t, observe.Unreadable, e.Ended)
	assert.Equal(t, 1, e.Unknown)
	assert.Equal(t, 1, e.Undecodable, "records")

	decoding := new(record)
	_, err = observe.Backend("main", openOn(t, server, celeryresults.Settings{}), observe.Decoding(decoding)).GetMany(ctx, []string{"one", "broken", "odd"})
	require.Error(t, err)
	assert.Equal(t, 2, decoding.last(t).Undecodable, "records and results")

	progress, err := celeryresults.NewResultSet(celeryresults.NewAsyncResult("one", b), celeryresults.NewAsyncResult("nobody", b)).Progress(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, progress.Successful)
	e = r.last(t)
	assert.Equal(t, observe.GetStatuses, e.Operation, "no results are read for states")
	assert.Equal(t, 1, e.Unknown)

	require.NoError(t, b.Forget(ctx, "one", "nobody"))
	assert.Equal(t, observe.Event{Backend: "main", Operation: observe.Forget, TaskIDs: []string{"one", "nobody"}, Ended: observe.OK}, r.last(t))
}

func TestExpiredResultsAreCounted(t *testing.T) {
	server, b := openRedis(t, celeryresults.Settings{ResultExpires: time.Minute, ResultTombstones: time.Hour})
	r := new(record)
	observe.Backend("main", b, r)
	require.NoError(t, b.StoreResult(t.Context(), success("one", 1)))
	server.FastForward(2 * time.Minute)
	_, err := b.GetTaskMeta(t.Context(), "one")
	require.NoError(t, err)
	e := r.last(t)
	assert.Equal(t, 1, e.Expired)
	assert.Equal(t, 1, e.Unknown)
}

func TestRetriesAreCounted(t *testing.T) {
	server, b := openRedis(t, celeryresults.Settings{})
	r := new(record)
	observe.Backend("main", b, r)
	require.NoError(t, b.StoreResult(t.Context(), success("one", 1)))
	server.SetError("LOADING the dataset")
	time.AfterFunc(100*time.Millisecond, func() { server.SetError("") })
	require.NoError(t, b.StoreResult(t.Context(), success("two", 2)))
	assert.Positive(t, r.last(t).Retries)
}

func TestWaitsTellHowLateTheyAre(t *testing.T) {
	server, b := openRedis(t, celeryresults.Settings{})
	worker := openOn(t, server, celeryresults.Settings{})
	r := new(record)
	observe.Backend("main", b, r)
	wait := func(ids ...string) observe.Event {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var storing sync.WaitGroup
		r.waits = func() {
			storing.Go(func() {
				for _, id := range ids {
					assert.NoError(t, worker.StoreResult(ctx, success(id, id)))
				}
			})
		}
		defer func() { storing.Wait(); cancel() }()
		var handles []*celeryresults.AsyncResult
		for _, id := range ids {
			handles = append(handles, celeryresults.NewAsyncResult(id, b))
		}
		if len(handles) == 1 {
			_, err := handles[0].Wait(ctx)
			require.NoError(t, err)
		} else {
			_, err := celeryresults.NewResultSet(handles...).Join(ctx)
			require.NoError(t, err)
		}
		e := r.last(t)
		assert.Equal(t, observe.Wait, e.Operation)
		assert.Equal(t, ids, e.TaskIDs)
		return e
	}
	for name, ids := range map[string][]string{"one": {"a"}, "many": {"b", "c", "d"}} {
		e := wait(ids...)
		if assert.NoError(t, e.Err, name) && assert.True(t, e.Waited, name) {
			assert.Less(t, e.Late, time.Minute, name)
			assert.Positive(t, e.Late, name)
		}
	}
	r.waits = nil
	_, err := celeryresults.NewAsyncResult("a", b).Wait(t.Context())
	require.NoError(t, err)
	assert.False(t, r.last(t).Waited, "it was ready before")
}

func TestABackendIsObservedInItsPlace(t *testing.T) {
	_, b := openRedis(t, celeryresults.Settings{})
	assert.Same(t, b, observe.Backend("main", b), "without observers")
	r := new(record)
	assert.Same(t, b, observe.Backend("main", b, r))
	require.NoError(t, b.Forget(t.Context(), "nobody"))
	assert.Equal(t, observe.Forget, r.last(t).Operation)
}

func TestAnAppIsObserved(t *testing.T) {
	_, first := openRedis(t, celeryresults.Settings{})
	_, second := openRedis(t, celeryresults.Settings{})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, first, map[string]*celeryresults.Backend{"second": second, "again": first})
	require.NoError(t, err)
	require.NoError(t, app.Bind("billing.*", second))
	_, third := openRedis(t, celeryresults.Settings{})
	require.NoError(t, app.Bind("mail.*", third))
	r := new(record)
	assert.Same(t, app, observe.App(app, r))
	for task, backend := range map[string]string{"shop.add": "default", "billing.charge": "second", "mail.send": "mail.*"} {
		req := &celeryresults.Request{ID: task, Task: task}
		require.NoError(t, app.MarkAsDone(t.Context(), req, 1))
		assert.Equal(t, backend, r.last(t).Backend)
		value, err := celeryresults.Get[int](t.Context(), app.AsyncResult(task, celeryresults.ForTask(task)))
		require.NoError(t, err)
		assert.Equal(t, 1, value)
		assert.Equal(t, observe.Wait, r.last(t).Operation)
	}
	again, err := app.Backend("again")
	require.NoError(t, err)
	byDefault, err := app.Backend("")
	require.NoError(t, err)
	assert.Same(t, byDefault, again, "one backend stays one")
}

func TestLog(t *testing.T) {
	server, b := openRedis(t, celeryresults.Settings{ResultBackendMaxRetries: -1})
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	observe.Backend("main", b, observe.Log(log))
	line := func(want ...string) {
		t.Helper()
		for _, text := range want {
			assert.Contains(t, out.String(), text)
		}
		assert.NotContains(t, out.String(), "secret")
		out.Reset()
	}
	require.NoError(t, b.StoreResult(t.Context(), success("one", "secret")))
	line("level=DEBUG", "backend=main", "operation=store", "task_id=one", "task=shop.bill", "state=SUCCESS", "outcome=stored", "sent=")
	late := success("one", "secret")
	late.State = celeryresults.Started
	require.Error(t, b.StoreResult(t.Context(), late))
	line("level=WARN", "outcome=refused")
	_, err := b.GetMany(t.Context(), []string{"one", "two"})
	require.NoError(t, err)
	line("level=DEBUG", "tasks=2", "unknown=1")
	server.SetError("ERR broken")
	_, err = b.GetTaskMeta(t.Context(), "one")
	require.Error(t, err)
	line("level=ERROR", "operation=get", "ERR broken")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.GetTaskMeta(over, "one")
	require.Error(t, err)
	line("level=DEBUG", "canceled")
}
