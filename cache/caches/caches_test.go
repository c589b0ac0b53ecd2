package caches_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/caches"
	"github.com/celeryresults/celeryresults/cache/dbcache"
)

func TestDefaultIsInMemoryAsInDjango(t *testing.T) {
	all := caches.New(nil, nil)
	c, err := all.Cache("")
	require.NoError(t, err)
	assert.Equal(t, "locmem", c.Store().Traits().Name)
	again, err := all.Cache("default")
	require.NoError(t, err)
	assert.Same(t, c, again, "a cache is opened once")
	require.NoError(t, all.Close())
	require.NoError(t, all.Close())
	_, err = all.Cache("default")
	require.ErrorIs(t, err, cache.ErrClosed)
}

func TestEveryEngineByEveryName(t *testing.T) {
	database := map[string]cache.Database{"default": {Engine: "sqlite3", Name: filepath.Join(t.TempDir(), "x.sqlite3")}}
	for backend, row := range map[string]struct{ location, engine string }{
		"": {"", "locmem"}, "locmem": {"", "locmem"}, "django.core.cache.backends.locmem.LocMemCache": {"x", "locmem"},
		"memcached": {"127.0.0.1:1", "memcached"}, "pylibmc": {"127.0.0.1:1;127.0.0.1:2", "memcached"},
		"django.core.cache.backends.memcached.PyMemcacheCache": {"127.0.0.1:1", "memcached"},
		"django.core.cache.backends.memcached.PyLibMCCache":    {"unix:/none", "memcached"},
		"redis": {"redis://127.0.0.1:1/2", "redis"}, "django.core.cache.backends.redis.RedisCache": {"rediss://127.0.0.1:1", "redis"},
		"db": {"table_name", "db"}, "django.core.cache.backends.db.DatabaseCache": {"table_name", "db"},
	} {
		s := cache.Settings{Backend: backend}
		if row.location != "" {
			s.Location = []string{row.location}
		}
		c, err := caches.Open(s, database)
		require.NoError(t, err, backend)
		assert.Equal(t, row.engine, c.Store().Traits().Name, backend)
		require.NoError(t, c.Close())
	}
}

func TestWhatCantBeOpenedSaysWhy(t *testing.T) {
	all := caches.New(map[string]cache.Settings{
		"results": {}, "odd": {Backend: "memcash"}, "db": {Backend: "db", Location: []string{"t"}},
		"two": {Location: []string{"a", "b"}}, "version": {Version: -1}, "injection": {Backend: "db", Location: []string{"t; DROP TABLE x"}, Options: cache.Options{Database: "main"}},
	}, map[string]cache.Database{"main": {Engine: "sqlite3", Name: ":memory:"}})
	defer all.Close()
	_, err := all.Cache("result")
	require.ErrorIs(t, err, caches.ErrUnknown)
	for alias, word := range map[string]string{
		"result": "db, injection, odd, results", "odd": "memcash", "db": "main", "two": "one location", "version": "version", "injection": "t; DROP",
	} {
		_, err := all.Cache(alias)
		assert.ErrorContains(t, err, word, alias)
	}
}

func TestOneLocationIsOneStore(t *testing.T) {
	all := caches.New(map[string]cache.Settings{
		"a": {Location: []string{t.Name()}}, "b": {Location: []string{t.Name()}}, "c": {Location: []string{t.Name() + "2"}},
	}, nil)
	defer all.Close()
	open := func(alias string) *cache.Cache {
		c, err := all.Cache(alias)
		require.NoError(t, err)
		return c
	}
	require.NoError(t, open("a").Set(t.Context(), "k", "v", 0))
	got, err := open("b").Get(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, "v", got)
	_, err = open("c").Get(t.Context(), "k")
	require.ErrorIs(t, err, cache.ErrMiss)
}

func TestDatabaseCacheKeepsEntriesBetweenPrograms(t *testing.T) {
	database := cache.Database{URL: "sqlite:///" + filepath.Join(t.TempDir(), "cache.sqlite3")}
	settings := map[string]cache.Settings{"default": {Backend: "db", Location: []string{"entries"}}}
	store, err := dbcache.Open(settings["default"], database)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	require.NoError(t, store.Close())
	for i := range int64(2) {
		all := caches.New(settings, map[string]cache.Database{"default": database})
		c, err := all.Cache("default")
		require.NoError(t, err)
		_, err = c.Add(t.Context(), "n", 0, cache.Never)
		require.NoError(t, err)
		n, err := c.Incr(t.Context(), "n", 1)
		require.NoError(t, err)
		assert.Equal(t, i+1, n)
		require.NoError(t, all.Close())
	}
}
