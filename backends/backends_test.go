package backends_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
)

func TestOpenBindsTasksAsTheSettingsSay(t *testing.T) {
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "generic",
		Caches:        map[string]cache.Settings{"default": {Location: []string{t.Name()}}, "other": {Location: []string{t.Name() + "2"}}},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"generic": {Backend: "django-cache"}, "other": {Backend: "django-cache", CacheBackend: "other"},
		},
		TaskBackends: map[string]string{"billing.*": "other"},
	})
	require.NoError(t, err)
	defer app.Close()
	req := &celeryresults.Request{ID: "id", Task: "billing.charge"}
	require.NoError(t, app.MarkAsDone(t.Context(), req, "paid"))
	state, err := app.AsyncResult("id").State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Pending, state, "the generic backend does not have it")
	got, err := celeryresults.Get[string](t.Context(), app.AsyncResult("id", celeryresults.ForTask("billing.charge")))
	require.NoError(t, err)
	assert.Equal(t, "paid", got)
	generic, err := app.Backend("generic")
	require.NoError(t, err)
	assert.True(t, generic == app.BackendFor("mail.send"), "the default backend is the named one, opened once")
}

func TestWithoutABackendNothingIsKept(t *testing.T) {
	for _, backend := range []string{"", "disabled"} {
		app, err := backends.Open(celeryresults.Settings{ResultBackend: backend})
		require.NoError(t, err)
		require.NoError(t, app.MarkAsDone(t.Context(), &celeryresults.Request{ID: "id"}, 1))
		r := app.AsyncResult("id")
		_, err = r.State(t.Context())
		require.ErrorIs(t, err, backends.ErrDisabled)
		_, err = r.Get(t.Context())
		require.ErrorIs(t, err, backends.ErrDisabled)
		require.ErrorIs(t, r.Forget(t.Context()), backends.ErrDisabled)
		_, err = app.BackendFor("t").GetMany(t.Context(), []string{"id"})
		require.ErrorIs(t, err, backends.ErrDisabled)
		require.NoError(t, app.Close())
	}
}

func TestWhatCantBeOpenedSaysWhyAndHidesPasswords(t *testing.T) {
	for _, row := range []struct {
		s    celeryresults.Settings
		want error
		word string
	}{
		{celeryresults.Settings{ResultBackend: "mongodb://u:hunter2@h/"}, backends.ErrUnsupported, "django-cache"},
		{celeryresults.Settings{ResultBackend: "cache+memcached://"}, nil, "memcached://127.0.0.1:11211/"},
		{celeryresults.Settings{ResultBackend: "cache+riak://h"}, nil, "memory://"},
		{celeryresults.Settings{ResultBackend: "cache+memcached://h/?password=hunter2"}, nil, "no parameters"},
		{celeryresults.Settings{ResultBackend: "nowhere"}, celeryresults.ErrSettings, "nowhere"},
		{celeryresults.Settings{ResultBackend: "django-cache", Caches: map[string]cache.Settings{"default": {Backend: "redis", Location: []string{"redis://:hunter2@h:port"}}}}, nil, "redis"},
		{celeryresults.Settings{ResultBackends: map[string]celeryresults.BackendSettings{"a": {Backend: "cache+memory://"}, "b": {Backend: "amqp://:hunter2@h"}}}, backends.ErrUnsupported, "amqp"},
	} {
		_, err := backends.Open(row.s)
		require.Error(t, err)
		if row.want != nil {
			require.ErrorIs(t, err, row.want)
		}
		assert.ErrorContains(t, err, row.word)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestCeleryCacheByEverySpelling(t *testing.T) {
	for _, s := range []celeryresults.Settings{
		{ResultBackend: "cache+memory://"}, {ResultBackend: "cache", CacheBackend: "memory://"},
		{ResultBackend: "django-cache", CacheBackend: "memory://"},
	} {
		app, err := backends.Open(s)
		require.NoError(t, err, s.ResultBackend)
		require.NoError(t, app.MarkAsDone(t.Context(), &celeryresults.Request{ID: s.ResultBackend + s.CacheBackend}, 1))
		other, err := backends.Open(celeryresults.Settings{ResultBackend: "cache+memory://"})
		require.NoError(t, err)
		state, err := other.AsyncResult(s.ResultBackend + s.CacheBackend).State(t.Context())
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Success, state, "memory is one store for the process")
		require.NoError(t, app.Close())
		require.NoError(t, other.Close())
	}
}

func TestClassPathsOfDjangoCeleryResults(t *testing.T) {
	b, err := backends.OpenBackend(celeryresults.Settings{ResultBackend: "django_celery_results.backends:CacheBackend"}, "")
	require.NoError(t, err)
	require.NoError(t, b.Close())
}
