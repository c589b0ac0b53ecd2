package celeryresults_test

import (
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// djangoCache returns settings of results in a cache.
func djangoCache(c cache.Settings, databases map[string]cache.Database) celeryresults.Settings {
	return celeryresults.Settings{
		ResultBackend: "django-cache",
		Caches:        map[string]cache.Settings{"default": c},
		Databases:     databases,
	}
}

// TestBackendsOfSettings opens one of each kind by settings alone. The suite of each runs
// beside its driver.
func TestBackendsOfSettings(t *testing.T) {
	dir := t.TempDir()
	table := migrated(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(dir, "results.sqlite3")})
	of := func(backend string) celeryresults.Settings { return celeryresults.Settings{ResultBackend: backend} }
	for name, s := range map[string]celeryresults.Settings{
		"Django's local memory":  djangoCache(cache.Settings{Location: []string{t.Name()}}, nil),
		"Django's redis cache":   djangoCache(cache.Settings{Backend: "redis", Location: []string{"redis://" + testserver.Redis(t) + "/1"}}, nil),
		"Django's memcached":     djangoCache(cache.Settings{Backend: "memcached", Location: []string{testserver.Memcached(t)}}, nil),
		"django-celery-results":  {ResultBackend: "django-db", Databases: map[string]cache.Database{"default": table}},
		"Celery's redis":         of("redis://" + testserver.Redis(t) + "/3"),
		"Celery's memcached":     of("cache+memcached://" + testserver.Memcached(t) + "/"),
		"Celery's memory":        of("cache+memory://"),
		"Celery's own tables":    of("db+sqlite:///" + filepath.Join(dir, "celery.sqlite3")),
		"Celery's in PostgreSQL": of("db+" + testserver.Postgres(t)),
	} {
		t.Run(name, func(t *testing.T) {
			app, err := backends.Open(s)
			require.NoError(t, err)
			defer app.Close()
			req := &celeryresults.Request{ID: newID(t), Task: "shop.add"}
			require.NoError(t, app.MarkAsDone(t.Context(), req, 5))
			got, err := celeryresults.Get[int](within(t), app.AsyncResult(req.ID))
			require.NoError(t, err)
			assert.Equal(t, 5, got)
			assert.NotEmpty(t, app.BackendFor("").Name())
			require.NoError(t, app.AsyncResult(req.ID).Forget(t.Context()))
		})
	}
}

// TestSuiteOfSettings runs the suite over backends that settings opened.
func TestSuiteOfSettings(t *testing.T) {
	d := migrated(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.sqlite3")})
	drivertest.Run(t, drivertest.Harness{
		ShortestExpiry: 50 * time.Millisecond,
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			s.ResultBackend, s.Databases = "django-db", map[string]cache.Database{"default": d}
			b, err := backends.OpenBackend(s, "")
			require.NoError(t, err)
			return b
		},
	})
}
