package celeryresults_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
)

func TestArgumentsAreRedactedBeforeTheyAreStored(t *testing.T) {
	dir := t.TempDir()
	d := migrated(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(dir, "results.sqlite3")})
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-db", ResultExtended: true, TaskTrackStarted: true, ResultRedact: []string{"card", "token"},
		Databases: map[string]cache.Database{"default": d},
	})
	require.NoError(t, err)
	type address struct {
		Street string `json:"street"`
		Token  string `json:"token"`
	}
	req := func(id string) *celeryresults.Request {
		return &celeryresults.Request{
			ID: id, Task: "shop.charge", Args: []any{"hidden-1", 2},
			Kwargs: map[string]any{"Card": "hidden-2", "to": address{"seen-3", "hidden-4"}, "list": []any{map[string]any{"card": []int{47114711}}}},
		}
	}
	ctx := t.Context()
	require.NoError(t, app.RecordPending(ctx, req("pending")))
	require.NoError(t, app.MarkAsStarted(ctx, req("started")))
	require.NoError(t, app.UpdateState(ctx, req("progress"), "PROGRESS", 1))
	require.NoError(t, app.MarkAsDone(ctx, req("done"), 1))
	require.NoError(t, app.MarkAsFailure(ctx, req("failed"), assert.AnError))
	require.NoError(t, app.MarkAsDone(ctx, &celeryresults.Request{ID: "none", Task: "shop.charge"}, 1))
	own := req("own")
	own.ArgsRepr = "(<card>, 2)"
	require.NoError(t, app.MarkAsDone(ctx, own, 1))
	require.Error(t, app.MarkAsDone(ctx, &celeryresults.Request{ID: "odd", Task: "shop.charge", Kwargs: map[string]any{"card": "hidden-5", "c": make(chan int)}}, 1))

	meta, err := app.AsyncResult("done").Meta(ctx)
	require.NoError(t, err)
	args, err := celeryresults.As[[]string](meta.Args)
	require.NoError(t, err)
	assert.Equal(t, []string{"***", "***"}, args)
	kwargs, err := meta.Kwargs.MarshalJSON()
	require.NoError(t, err)
	assert.JSONEq(t, `{"Card": "***", "to": {"street": "seen-3", "token": "***"}, "list": [{"card": "***"}]}`, string(kwargs))
	meta, err = app.AsyncResult("none").Meta(ctx)
	require.NoError(t, err)
	assert.NotContains(t, meta.Row.Args, "***")
	meta, err = app.AsyncResult("own").Meta(ctx)
	require.NoError(t, err)
	assert.Equal(t, "(<card>, 2)", meta.Row.Args)
	require.NoError(t, app.Close())

	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	seen := false
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotContains(t, string(data), "hidden-", file)
		assert.NotContains(t, string(data), "47114711", file)
		seen = seen || len(data) > 0 && assert.Contains(t, string(data), "seen-3", file)
	}
	assert.True(t, seen)
}
