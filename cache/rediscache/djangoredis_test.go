package rediscache_test

import (
	"bytes"
	"compress/zlib"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/rediscache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func openDjangoRedis(t *testing.T, compressor, url string) *rediscache.DjangoRedis {
	t.Helper()
	store, err := rediscache.OpenDjangoRedis(cache.Settings{Location: []string{url}, Options: cache.Options{Compressor: compressor}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func TestSuiteOnDjangoRedis(t *testing.T) {
	t.Parallel()
	for _, compressor := range []string{"", "zlib", "zstd"} {
		t.Run(compressor, func(t *testing.T) {
			cachetest.Harness{Open: func(t *testing.T) cache.Store { return openDjangoRedis(t, compressor, "redis://"+testserver.Redis(t)) }, Stall: stall}.Run(t)
		})
	}
}

func TestValuesAreCompressedAsDjangoRedisDoes(t *testing.T) {
	addr := testserver.Redis(t)
	raw, long := rawClient(t, addr), bytes.Repeat([]byte("long "), 100)
	store := openDjangoRedis(t, "zlib", "redis://"+addr)
	require.NoError(t, store.Set(t.Context(), "zlib", cache.Item{Value: long, Format: cache.Pickled}, time.Minute))
	stored, err := raw.Get(t.Context(), "zlib").Bytes()
	require.NoError(t, err)
	r, err := zlib.NewReader(bytes.NewReader(stored))
	require.NoError(t, err)
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.Equal(t, long, plain)

	short := []byte("fifteen bytes..")
	require.NoError(t, store.Set(t.Context(), "short", cache.Item{Value: short, Format: cache.Pickled}, time.Minute))
	stored, err = raw.Get(t.Context(), "short").Bytes()
	require.NoError(t, err)
	assert.Equal(t, short, stored)

	require.NoError(t, raw.Set(t.Context(), "before", long, 0).Err()) // stored before somebody set the compressor
	item, err := store.Get(t.Context(), "before")
	require.NoError(t, err)
	assert.Equal(t, long, item.Value)
	swapped, err := store.CompareAndSwap(t.Context(), "before", item, cache.Item{Value: short}, time.Minute)
	require.NoError(t, err)
	assert.True(t, swapped)

	_, err = rediscache.OpenDjangoRedis(cache.Settings{Location: []string{"redis://" + addr}, Options: cache.Options{Compressor: "brotli"}})
	require.ErrorContains(t, err, "known are gzip, lz4, lzma, zlib, zstd")
}
