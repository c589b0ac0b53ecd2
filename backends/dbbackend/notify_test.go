package dbbackend_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// notifying returns a backend in a fresh PostgreSQL database, with the trigger,
// and another handle on it.
func notifying(t *testing.T, url string, notify *bool) (*celeryresults.Backend, *sql.DB) {
	t.Helper()
	d := cache.Database{URL: url}
	db, _, err := sqldialect.Open(d)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{NotifyTrigger: true})
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{NotifyTrigger: true})
	require.NoError(t, err, "a second time changes nothing")
	b, err := dbbackend.Open(celeryresults.Settings{
		ResultBackend: "django-db", Databases: map[string]cache.Database{"default": d}, DjangoDB: celeryresults.DjangoDBSettings{Notify: notify},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, errors.Join(b.Close(), db.Close())) })
	return b, db
}

// listening counts the connections that listen, as the server sees them.
func listening(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(),
		`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = 'LISTEN celeryresults'`).Scan(&n))
	return n
}

// wait starts a wait and returns once it is pushed to, with what it will return.
func wait(t *testing.T, b *celeryresults.Backend, db *sql.DB, id string) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := b.WaitFor(ctx, id)
		ended <- err
	}()
	require.Eventually(t, func() bool { return listening(t, db) == 1 }, 10*time.Second, time.Millisecond)
	return ended
}

// countReads counts the statements that read results, as the server does.
func countReads(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT COALESCE(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE 'SELECT t.id, t.task_id%'`).Scan(&n))
	return n
}

func TestAStoreWakesWhoWaitsWithoutPolling(t *testing.T) {
	server := testserver.StartPostgres(t, "shared_preload_libraries=pg_stat_statements")
	b, db := notifying(t, server.URL(), nil)
	_, err := db.ExecContext(t.Context(), `CREATE EXTENSION pg_stat_statements`)
	require.NoError(t, err)
	ended := wait(t, b, db, "waited")
	time.Sleep(200 * time.Millisecond) // it may ask a few times until it is told
	before := countReads(t, db)
	time.Sleep(2500 * time.Millisecond)
	assert.LessOrEqual(t, countReads(t, db)-before, 3, "one read a second, for safety")
	stored := time.Now()
	store(t, b, done("waited", 1))
	require.NoError(t, <-ended)
	assert.Less(t, time.Since(stored), time.Second)
}

func TestRowsOfPythonWakeWhoWaitsByTheTrigger(t *testing.T) {
	b, db := notifying(t, testserver.Postgres(t), nil)
	for i := range 5 {
		id := fmt.Sprint("python-", i)
		ended := wait(t, b, db, id)
		_, err := db.ExecContext(t.Context(), `INSERT INTO django_celery_results_taskresult
			(task_id, status, content_type, content_encoding, result, date_done, date_created) VALUES ($1, 'SUCCESS', 'application/json', 'utf-8', '1', now(), now())`, id)
		require.NoError(t, err)
		require.NoError(t, <-ended)
	}
}

func TestWaitsOutliveTheListeningConnection(t *testing.T) {
	b, db := notifying(t, testserver.Postgres(t), nil)
	for i := range 5 {
		id := fmt.Sprint("cut-", i)
		ended := wait(t, b, db, id)
		_, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN celeryresults' AND datname = current_database()`)
		require.NoError(t, err)
		store(t, b, done(id, 1))
		require.NoError(t, <-ended)
	}
}

func TestAThousandWaitersShareOneListeningConnection(t *testing.T) {
	b, db := notifying(t, testserver.Postgres(t), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	gone, leave := context.WithCancel(ctx)
	var group sync.WaitGroup
	for i := range 1000 {
		group.Go(func() {
			if i%2 == 1 {
				_, err := b.WaitFor(gone, fmt.Sprint("cancelled-", i))
				assert.ErrorIs(t, err, context.Canceled)
				return
			}
			meta, err := b.WaitFor(ctx, fmt.Sprint("shared-", i))
			assert.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
		})
	}
	require.Eventually(t, func() bool { return listening(t, db) == 1 }, 10*time.Second, time.Millisecond)
	leave()
	for i := 0; i < 1000; i += 2 {
		store(t, b, done(fmt.Sprint("shared-", i), i))
	}
	group.Wait()
	assert.Equal(t, 1, listening(t, db), "it lingers for those who come next")
	require.Eventually(t, func() bool { return listening(t, db) == 0 }, 20*time.Second, 50*time.Millisecond, "nobody waits any more")
	ended := wait(t, b, db, "again")
	store(t, b, done("again", 1))
	require.NoError(t, <-ended)
}

func TestWithoutNotifyNothingListens(t *testing.T) {
	no := false
	b, db := notifying(t, testserver.Postgres(t), &no)
	ended := make(chan error, 1)
	go func() {
		_, err := b.WaitFor(t.Context(), "polled")
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond)
	assert.Zero(t, listening(t, db))
	store(t, b, done("polled", 1))
	require.NoError(t, <-ended)
}

func TestTheNotifyTriggerIsForPostgreSQLAlone(t *testing.T) {
	db, _, err := sqldialect.Open(cache.Database{Engine: "sqlite3", Name: ":memory:"})
	require.NoError(t, err)
	defer db.Close()
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{NotifyTrigger: true})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestAPoolOfOneConnectionIsNotTakenForListening(t *testing.T) {
	d := cache.Database{URL: testserver.Postgres(t)}
	db, _, err := sqldialect.Open(d)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{})
	require.NoError(t, err)
	b, err := dbbackend.New(db, celeryresults.Settings{}, dbbackend.Options{})
	require.NoError(t, err)
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := b.WaitFor(ctx, "one")
		ended <- err
	}()
	for i := range 20 {
		require.NoError(t, b.StoreResult(ctx, done(fmt.Sprint("other-", i), i)))
	}
	require.NoError(t, b.StoreResult(ctx, done("one", 1)))
	require.NoError(t, <-ended)
}
