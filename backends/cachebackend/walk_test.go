package cachebackend_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

func TestAWalkPassesKeysThatAreNoResults(t *testing.T) {
	store, err := locmem.New(t.Name(), nil)
	require.NoError(t, err)
	defer store.Close()
	c, err := cache.New(store, cache.Settings{})
	require.NoError(t, err)
	b, err := cachebackend.New(c, celeryresults.Settings{})
	require.NoError(t, err)
	defer b.Close()
	for _, key := range []string{"celery-task-meta-", "celery-taskset-meta-g", "other"} {
		require.NoError(t, c.Set(t.Context(), key, "odd", time.Hour))
	}
	require.NoError(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: "one", State: celeryresults.Success}))
	var ids []string
	for meta, err := range b.Walk(t.Context()) {
		require.NoError(t, err)
		ids = append(ids, meta.TaskID)
	}
	assert.Equal(t, []string{"one"}, ids)
}
