package dbbackend_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func TestUpdatesAndRefusalsBurnNoID(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		store(t, backend, inState("first", "PROGRESS"))
		before := b.row(t, "first")["id"].(int64)
		for range 250 { // from one caller, and from several
			store(t, backend, inState("first", "PROGRESS"))
			metas := []*celeryresults.TaskMeta{inState("first", "PROGRESS"), inState("first", celeryresults.Started), inState("first", celeryresults.Retry)}
			everyone(3, func(i int) { assert.NoError(t, backend.StoreResult(t.Context(), metas[i])) })
		}
		assert.Equal(t, before, b.row(t, "first")["id"])
		store(t, backend, done("first", 1))
		for range 20 {
			everyone(4, func(i int) {
				assert.ErrorIs(t, backend.StoreResult(t.Context(), done("first", i)), celeryresults.ErrRefused)
			})
		}
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
		store(t, backend, done("second", 2))
		assert.Equal(t, before+1, b.row(t, "second")["id"])
	})
}

func TestRowsAreInsertedWithConsecutiveIDsByManyCallers(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		everyone(64, func(i int) {
			for n := range 4 {
				assert.NoError(t, backend.StoreResult(t.Context(), done(fmt.Sprintf("%d-%d", i, n), n)))
			}
		})
		assert.Equal(t, 256, b.count(t, `SELECT COUNT(*) FROM django_celery_results_taskresult`))
		assert.Equal(t, 256, b.count(t, `SELECT MAX(id) FROM django_celery_results_taskresult`))
	})
}
