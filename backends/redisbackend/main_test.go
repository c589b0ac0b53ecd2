package redisbackend_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/settings"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// open opens a backend that the test closes.
func open(t testing.TB, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	b, err := redisbackend.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// at opens a backend on a server.
func at(t testing.TB, addr string) *celeryresults.Backend {
	t.Helper()
	return open(t, celeryresults.Settings{ResultBackend: "redis://" + addr})
}

func rawClient(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func taskKey(id string) string { return "celery-task-meta-" + id }

func inState(id string, state celeryresults.State) *celeryresults.TaskMeta {
	meta := done(id, nil)
	meta.State = state
	if !state.Ready() {
		meta.DateDone = time.Time{}
	}
	if state.Exception() {
		meta.Result = celeryresults.NewValue(&celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"no"}})
	}
	return meta
}

func done(id string, value any) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value),
		Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC().Truncate(time.Microsecond),
	}
}

func store(t testing.TB, b *celeryresults.Backend, meta *celeryresults.TaskMeta) {
	t.Helper()
	require.NoError(t, b.StoreResult(t.Context(), meta))
}

func get(t testing.TB, b *celeryresults.Backend, id string) *celeryresults.TaskMeta {
	t.Helper()
	meta, err := b.GetTaskMeta(t.Context(), id)
	require.NoError(t, err)
	return meta
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// everyone runs n goroutines and waits for them.
func everyone(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// ids returns n different ids.
func ids(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return list
}

// channels returns how many channels of tasks somebody is subscribed to.
func channels(t testing.TB, raw *redis.Client) int {
	t.Helper()
	list, err := raw.PubSubChannels(t.Context(), "celery-task-meta-*").Result()
	require.NoError(t, err)
	return len(list)
}

func TestSettingsDescribeTheStoreAndHideThePassword(t *testing.T) {
	s := celeryresults.Settings{ResultBackend: "sentinel://:hunter2@a:26379/0;sentinel://:hunter2@b:26379", ResultExpires: time.Hour}
	s.ResultBackendTransportOptions.GlobalKeyPrefix = "shop"
	s.ResultBackendTransportOptions.Other = map[string]any{"master_name": "main"}
	s.ResultBackends = map[string]celeryresults.BackendSettings{
		"fast": {Backend: "redis://:hunter2@r.example:6379/3", ResultSerializer: "msgpack"},
		"wide": {Backend: "redis+cluster://a,b"},
	}
	descriptions := settings.Describe(s)
	require.Len(t, descriptions, 3)
	require.Equal(t, `backend:    default (sentinel://:**@a:26379/0;sentinel://:**@b:26379)
store:      sentinel://:**@a:26379/0;sentinel://:**@b:26379 (master main)
key:        shop_celery-task-meta-<task_id>
expires:    1h0m0s
serializer: json
extended:   no
compatible: Celery's own redis backend
`, descriptions[0].String())
	require.Equal(t, "redis://:**@r.example:6379/3", descriptions[1].Store)
	require.Equal(t, "msgpack", descriptions[1].Serializer)
	require.Contains(t, descriptions[2].Compatible, "Celery itself has no cluster")
}
