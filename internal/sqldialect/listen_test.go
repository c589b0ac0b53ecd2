package sqldialect_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestListenHearsWhatWasNotifiedUntilItsContextEnds(t *testing.T) {
	db, _, err := sqldialect.Open(cache.Database{URL: testserver.Postgres(t)})
	require.NoError(t, err)
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ready, heard, ended := make(chan bool), make(chan string, 10), make(chan error)
	go func() {
		ended <- sqldialect.Listen(ctx, db, "celeryresults_test", func() { close(ready) }, func(payload string) { heard <- payload })
	}()
	<-ready
	for _, payload := range []string{"one", "", "two 🎉"} {
		_, err := db.ExecContext(t.Context(), `SELECT pg_notify('celeryresults_test', $1)`, payload)
		require.NoError(t, err)
		assert.Equal(t, payload, <-heard)
	}
	started := time.Now()
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	assert.Less(t, time.Since(started), time.Second)
	var listening int
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_listening_channels()`).Scan(&listening))
	assert.Zero(t, listening, "nobody gets a connection that listens")
}

func TestListenEndsWithItsConnection(t *testing.T) {
	db, _, err := sqldialect.Open(cache.Database{URL: testserver.Postgres(t)})
	require.NoError(t, err)
	defer db.Close()
	err = sqldialect.Listen(t.Context(), db, "celeryresults_test", func() {
		_, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		assert.NoError(t, err)
	}, func(string) {})
	require.Error(t, err)
	assert.NotErrorIs(t, err, context.Canceled)
}

func TestListenIsForPgxAlone(t *testing.T) {
	db, _, err := sqldialect.Open(cache.Database{Engine: "sqlite3", Name: ":memory:"})
	require.NoError(t, err)
	defer db.Close()
	err = sqldialect.Listen(t.Context(), db, "c", func() { t.Error("it does not listen") }, func(string) {})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
