package dbbackend_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

func TestAClosedBackendDoesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		for _, backend := range []*celeryresults.Backend{b.open(t), b.over(t, b.db, dbbackend.Options{})} {
			store(t, backend, done("id", 1), inState("waits", celeryresults.Started))
			waits := make(chan error, 3)
			for range cap(waits) {
				go func() {
					_, err := backend.WaitFor(context.WithoutCancel(t.Context()), "waits")
					waits <- err
				}()
			}
			time.Sleep(50 * time.Millisecond)
			require.NoError(t, backend.Close())
			require.NoError(t, backend.Close())
			for range cap(waits) {
				require.ErrorIs(t, <-waits, celeryresults.ErrClosed)
			}
			for name, call := range everyCall(t, backend) {
				assert.ErrorIs(t, call(), celeryresults.ErrClosed, name)
			}
			require.NoError(t, b.db.PingContext(t.Context()))
			b.exec(t, `DELETE FROM django_celery_results_taskresult`)
		}
	})
}

// everyCall has every operation of a backend.
func everyCall(t *testing.T, b *celeryresults.Backend) map[string]func() error {
	ctx := t.Context()
	second := func(_ any, err error) error { return err }
	return map[string]func() error{
		"store":         func() error { return b.StoreResult(ctx, done("id", 1)) },
		"get":           func() error { _, err := b.GetTaskMeta(ctx, "id"); return err },
		"get many":      func() error { _, err := b.GetMany(ctx, []string{"id"}); return err },
		"get none":      func() error { _, err := b.GetMany(ctx, nil); return err },
		"wait":          func() error { _, err := b.WaitFor(ctx, "id"); return err },
		"forget":        func() error { return b.Forget(ctx, "id") },
		"list":          func() error { _, err := b.List(ctx, celeryresults.Query{}); return err },
		"save group":    func() error { return b.SaveGroup(ctx, celeryresults.ResultTuple{ID: "g"}) },
		"restore group": func() error { return second(b.RestoreGroup(ctx, "g")) },
		"delete group":  func() error { return b.DeleteGroup(ctx, "g") },
		"start chord":   func() error { return b.StartChord(ctx, celeryresults.Chord{ID: "c", Members: []string{"m"}}) },
		"report part":   func() error { return b.ReportPart(ctx, "c", "m", nil) },
		"sweep chords":  func() error { return second(b.SweepChords(ctx, nil)) },
		"delete chord":  func() error { return b.DeleteChord(ctx, "c") },
		"start counter": func() error {
			return b.CeleryChord("c").Start(ctx, celeryresults.ResultTuple{Children: []celeryresults.ResultTuple{{ID: "m"}}}, 1)
		},
		"count part": func() error {
			return second(b.CeleryChord("c").Report(ctx, celeryresults.ChordPart{TaskID: "m", State: celeryresults.Success}))
		},
		"clean up": func() error { return second(b.Cleanup(ctx)) },
		"missing":  func() error { return second(storeOf(t, b).MissingColumns(ctx)) },
	}
}

func TestAContextThatIsOverReachesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, backend.SaveGroup(ctx, celeryresults.ResultTuple{ID: "g"}), context.Canceled)
		require.ErrorIs(t, backend.StartChord(ctx, celeryresults.Chord{ID: "c", Members: []string{"m"}}), context.Canceled)
		_, err := backend.List(ctx, celeryresults.Query{})
		require.ErrorIs(t, err, context.Canceled)
		_, err = backend.Cleanup(ctx)
		require.ErrorIs(t, err, context.Canceled)
		_, err = backend.RestoreGroup(t.Context(), "g")
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	})
}

func TestAPoolOfPgxStaysTheCallers(t *testing.T) {
	b := openBase(t, engines[1].fresh(t))
	require.Equal(t, sqldialect.PostgreSQL, b.dialect)
	b.migrate(t, dbbackend.MigrateOptions{})
	pool, err := pgxpool.New(t.Context(), b.database.URL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	db := stdlib.OpenDBFromPool(pool)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	backend := b.over(t, db, dbbackend.Options{})
	everyone(16, func(i int) { assert.NoError(t, backend.StoreResult(t.Context(), done(numbered("id", 16)[i], i))) })
	require.NoError(t, backend.Close())
	var rows int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT COUNT(*) FROM django_celery_results_taskresult`).Scan(&rows))
	assert.Equal(t, 16, rows)
}
