package celeryresults_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/rediscache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/survey"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/settings"
)

// migrated makes the tables in a database.
func migrated(t testing.TB, d cache.Database) cache.Database {
	t.Helper()
	db, dialect, err := sqldialect.Open(d)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(context.Background(), db, dbbackend.MigrateOptions{Engine: dialect.Name()})
	require.NoError(t, errors.Join(err, db.Close()))
	return d
}

// bySettings opens the application from a file alone.
func bySettings(t *testing.T, redisURL, postgresURL string) *celeryresults.App {
	file := filepath.Join(t.TempDir(), "settings.toml")
	require.NoError(t, os.WriteFile(file, []byte(`
CELERY_RESULT_BACKEND = "django-cache"
CELERY_RESULT_EXTENDED = true

[CACHES.default]
BACKEND = "redis"
LOCATION = "`+redisURL+`"

[CELERY_RESULT_BACKENDS.persistent]
BACKEND = "django-db"
RESULT_EXPIRES = "never"

[CELERY_TASK_BACKENDS]
"billing.*" = "persistent"

[DATABASES.default]
URL = "`+postgresURL+`"
`), 0o600))
	s, err := settings.Read(file, nil)
	require.NoError(t, err)
	app, err := backends.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return app
}

// byCode opens it from a client and a pool that the program owns.
func byCode(t *testing.T, redisURL, postgresURL string) *celeryresults.App {
	options, err := redis.ParseURL(redisURL)
	require.NoError(t, err)
	client := redis.NewClient(options)
	pool, err := pgxpool.New(t.Context(), postgresURL)
	require.NoError(t, err)
	db := stdlib.OpenDBFromPool(pool)

	store := rediscache.New(client)
	results, err := cache.New(store, cache.Settings{})
	require.NoError(t, err)
	generic, err := cachebackend.New(results, celeryresults.Settings{ResultExtended: true})
	require.NoError(t, err)
	persistent, err := dbbackend.New(db, celeryresults.Settings{ResultExtended: true, ResultExpires: celeryresults.Never}, dbbackend.Options{})
	require.NoError(t, err)
	app, err := celeryresults.NewApp(celeryresults.Settings{}, generic, nil)
	require.NoError(t, err)
	require.NoError(t, app.Bind("billing.*", persistent))
	t.Cleanup(func() {
		require.NoError(t, errors.Join(app.Close(), store.Close(), db.Close(), client.Close()))
		pool.Close()
	})
	return app
}

func TestGenericInRedisAndPersistentInPostgreSQL(t *testing.T) {
	redisURL := "redis://" + testserver.Redis(t) + "/3"
	for name, open := range map[string]func(*testing.T, string, string) *celeryresults.App{"by settings": bySettings, "in code": byCode} {
		t.Run(name, func(t *testing.T) {
			d := migrated(t, cache.Database{URL: testserver.Postgres(t)})
			app := open(t, redisURL, d.URL)
			mail, bill := &celeryresults.Request{ID: newID(t), Task: "mail.send"}, &celeryresults.Request{ID: newID(t), Task: "billing.charge"}
			require.NoError(t, app.MarkAsDone(t.Context(), mail, "sent"))
			require.NoError(t, app.MarkAsDone(t.Context(), bill, "paid"))

			assert.Equal(t, []string{bill.ID}, rowsOf(t, d), "the table has the bill alone")
			for _, handle := range []*celeryresults.AsyncResult{
				app.AsyncResult(bill.ID, celeryresults.ForTask("billing.charge")),
				app.AsyncResult(bill.ID, celeryresults.From(app.BackendFor("billing.refund"))),
			} {
				got, err := celeryresults.Get[string](t.Context(), handle)
				require.NoError(t, err)
				assert.Equal(t, "paid", got)
			}
			got, err := celeryresults.Get[string](t.Context(), app.AsyncResult(mail.ID))
			require.NoError(t, err)
			assert.Equal(t, "sent", got)
			state, err := app.AsyncResult(bill.ID).State(t.Context())
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Pending, state, "redis does not have it")
		})
	}
}

func newID(t *testing.T) string { return filepath.Base(t.TempDir()) + "-" + t.Name() }

func rowsOf(t *testing.T, d cache.Database) []string {
	db, _, err := sqldialect.Open(d)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), `SELECT task_id FROM django_celery_results_taskresult ORDER BY id`)
	require.NoError(t, err)
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

// twoBackends returns an App whose tasks named billing.* are kept in a SQLite
// table, and all others in memory.
func twoBackends(t *testing.T) *celeryresults.App {
	d := migrated(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.sqlite3")})
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-cache",
		Caches:        map[string]cache.Settings{"default": {Location: []string{t.Name()}}},
		Databases:     map[string]cache.Database{"default": d},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"moved": {Backend: "django-db", Fallbacks: []string{"default"}}, "alone": {Backend: "django-db"},
		},
		TaskBackends:     map[string]string{"billing.*": "moved"},
		TaskTrackStarted: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return app
}

func TestAGroupWhoseMembersLiveInTwoBackendsJoinsInOrder(t *testing.T) {
	app := twoBackends(t)
	var members []*celeryresults.AsyncResult
	var requests []*celeryresults.Request
	for i, task := range []string{"mail.send", "billing.charge", "mail.send", "billing.charge", "billing.refund"} {
		req := &celeryresults.Request{ID: newID(t) + string(rune('a'+i)), Task: task, GroupID: "group"}
		requests = append(requests, req)
		members = append(members, app.AsyncResult(req.ID, celeryresults.ForTask(task)))
	}
	go func() {
		for i := len(requests) - 1; i >= 0; i-- { // they end in another order
			time.Sleep(time.Millisecond)
			if i == 2 {
				_ = app.MarkAsFailure(context.Background(), requests[i], errors.New("bounced"))
				continue
			}
			_ = app.MarkAsDone(context.Background(), requests[i], i)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	metas, err := celeryresults.Join(ctx, members...)
	require.NoError(t, err)
	require.Len(t, metas, len(members))
	for i, meta := range metas {
		assert.Equal(t, requests[i].ID, meta.TaskID)
		if i == 2 {
			assert.EqualError(t, meta.Err(), "Exception: bounced")
			continue
		}
		n, err := celeryresults.As[int](meta.Result)
		require.NoError(t, err)
		assert.Equal(t, i, n)
	}
	again, err := celeryresults.Join(ctx, members...) // all ready: no waiting
	require.NoError(t, err)
	assert.Len(t, again, len(metas))

	cancelled, stop := context.WithCancel(ctx)
	stop()
	_, err = celeryresults.Join(cancelled, app.AsyncResult("never"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = celeryresults.Join(ctx, app.AsyncResult(""))
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
}

func TestTasksThatMovedLeaveReadableResults(t *testing.T) {
	app := twoBackends(t)
	old, err := app.Backend("")
	require.NoError(t, err)
	require.NoError(t, old.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: "old", State: celeryresults.Success, Result: celeryresults.NewValue("before")}))
	require.NoError(t, app.MarkAsDone(t.Context(), &celeryresults.Request{ID: "new", Task: "billing.charge"}, "after"))

	moved := app.BackendFor("billing.charge")
	for id, want := range map[string]string{"old": "before", "new": "after"} {
		got, err := celeryresults.Get[string](t.Context(), celeryresults.NewAsyncResult(id, moved))
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	metas, err := moved.GetMany(t.Context(), []string{"new", "nobody", "old"})
	require.NoError(t, err)
	assert.Equal(t, []celeryresults.State{"SUCCESS", "PENDING", "SUCCESS"}, []celeryresults.State{metas[0].State, metas[1].State, metas[2].State})
	meta, err := old.GetTaskMeta(t.Context(), "new")
	require.NoError(t, err)
	assert.True(t, meta.Unknown, "stores go to the new backend alone")
	alone, err := app.Backend("alone")
	require.NoError(t, err)
	meta, err = alone.GetTaskMeta(t.Context(), "old")
	require.NoError(t, err)
	assert.True(t, meta.Unknown, "fallbacks are opt-in")

	require.NoError(t, old.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "old"}}}))
	group, err := moved.RestoreGroup(t.Context(), "g")
	require.NoError(t, err)
	assert.Equal(t, "old", group.Children[0].ID)
	require.NoError(t, moved.DeleteGroup(t.Context(), "g"))
	_, err = moved.RestoreGroup(t.Context(), "g")
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)

	_, err = moved.List(t.Context(), celeryresults.Query{})
	require.ErrorIs(t, err, errors.ErrUnsupported, "the old one has no lists")
	page, err := alone.List(t.Context(), celeryresults.Query{})
	require.NoError(t, err)
	assert.Equal(t, []string{"new"}, taskIDs(page.Results))
	survey, err := survey.Look(t.Context(), moved, celeryresults.Query{}, 0)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"old", "new"}, taskIDs(survey.Results))

	require.NoError(t, moved.Forget(t.Context(), "old", "new"))
	metas, err = moved.GetMany(t.Context(), []string{"new", "old"})
	require.NoError(t, err)
	assert.True(t, metas[0].Unknown && metas[1].Unknown)
	n, err := app.Cleanup(t.Context())
	require.NoError(t, err)
	assert.Zero(t, n)
}

func TestAFallbackThatFailsIsNotTakenForUnknown(t *testing.T) {
	app := twoBackends(t)
	closed := app.BackendFor("mail.send")
	primary, err := app.Backend("alone")
	require.NoError(t, err)
	primary.AddFallbacks(closed)
	require.NoError(t, closed.Close())
	_, err = primary.GetTaskMeta(t.Context(), "x")
	require.ErrorIs(t, err, celeryresults.ErrClosed)
	metas, err := primary.GetMany(t.Context(), []string{"x"})
	require.ErrorIs(t, err, celeryresults.ErrClosed)
	assert.Nil(t, metas)
	_, err = primary.GetStatuses(t.Context(), []string{"x"})
	require.ErrorIs(t, err, celeryresults.ErrClosed)
	_, err = primary.WaitFor(within(t), "x")
	require.ErrorIs(t, err, celeryresults.ErrClosed)
}

func TestTimesOfATask(t *testing.T) {
	app := twoBackends(t)
	req := &celeryresults.Request{ID: "timed", Task: "billing.charge"}
	require.NoError(t, app.RecordPending(t.Context(), req))
	require.NoError(t, app.MarkAsStarted(t.Context(), req))
	r := app.AsyncResult(req.ID, celeryresults.ForTask(req.Task))
	times, err := r.Times(t.Context())
	require.NoError(t, err)
	assert.Positive(t, times.Waiting)
	assert.Zero(t, times.Processing, "it runs")
	require.NoError(t, app.MarkAsDone(t.Context(), req, nil))
	times, err = r.Times(t.Context())
	require.NoError(t, err)
	assert.Positive(t, times.Processing)
	assert.Equal(t, times.Waiting+times.Processing, times.Total)
	created, err := r.DateCreated(t.Context())
	require.NoError(t, err)
	started, err := r.DateStarted(t.Context())
	require.NoError(t, err)
	assert.Equal(t, times.Waiting, started.Sub(created))
	_, known := (&celeryresults.TaskMeta{DateCreated: created}).WaitingTime()
	assert.False(t, known)
}

func TestAProgramsOwnDatabaseStaysOpen(t *testing.T) {
	d := migrated(t, cache.Database{Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "results.sqlite3")})
	db, err := sql.Open("sqlite", d.Name)
	require.NoError(t, err)
	defer db.Close()
	b, err := dbbackend.New(db, celeryresults.Settings{}, dbbackend.Options{})
	require.NoError(t, err)
	require.NoError(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: "x", State: celeryresults.Success}))
	require.NoError(t, b.Close())
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM django_celery_results_taskresult`).Scan(&n))
	assert.Equal(t, 1, n)
}
