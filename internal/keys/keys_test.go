package keys_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keys"
)

func newKeys(prefix string) keys.Keys {
	return keys.New(celeryresults.TransportOptions{GlobalKeyPrefix: prefix})
}

func TestKeys(t *testing.T) {
	for prefix, want := range map[string]string{
		"": "celery-task-meta-id", "shop": "shop_celery-task-meta-id", "shop_": "shop_celery-task-meta-id",
		"shop:": "shop:celery-task-meta-id", "shop-": "shop-celery-task-meta-id", "shop.": "shop.celery-task-meta-id",
		"shöp": "shöp_celery-task-meta-id",
	} {
		key, err := newKeys(prefix).Task("id")
		require.NoError(t, err)
		assert.Equal(t, want, key, prefix)
	}
	key, err := newKeys("").Group("id")
	require.NoError(t, err)
	assert.Equal(t, "celery-taskset-meta-id", key)
	_, err = newKeys("x").Task("")
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	_, err = newKeys("x").Tasks([]string{"a", ""})
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
}
