package main

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

// m is a table of settings.
type m = map[string]any

func settingsFile(t *testing.T, values m) string {
	t.Helper()
	data, err := json.Marshal(values)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

// with returns the settings with others over them; nil takes one away.
func with(base m, over m) m {
	merged := maps.Clone(base)
	for name, value := range over {
		if value == nil {
			delete(merged, name)
		} else {
			merged[name] = value
		}
	}
	return merged
}

// mismatches runs check and returns the settings that it says differ.
func mismatches(t *testing.T, ours, theirs m) (settings []string, whole result) {
	t.Helper()
	args := []string{"check", "--format", "json", "--settings", settingsFile(t, ours)}
	if theirs != nil {
		args = append(args, "--against", settingsFile(t, theirs))
	}
	got := celeryResults(t, nil, "", args...)
	for line := range strings.Lines(got.stdout) {
		var backend struct {
			Mismatches []struct{ Setting, Ours, Theirs, Effect, Remedy string }
		}
		require.NoError(t, json.Unmarshal([]byte(line), &backend))
		for _, mismatch := range backend.Mismatches {
			assert.NotEmpty(t, mismatch.Effect)
			assert.NotEmpty(t, mismatch.Remedy)
			settings = append(settings, mismatch.Setting)
		}
	}
	assert.NotContains(t, got.stdout+got.stderr, "hunter2")
	return settings, got
}

func TestCheckNamesWhatDiffersFromPython(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	sqlite := filepath.Join(t.TempDir(), "celery.db")
	inRedis := m{"CELERY_RESULT_BACKEND": "redis://" + addr + "/0", "CELERY_RESULT_EXTENDED": true}
	inCache := m{
		"CELERY_RESULT_BACKEND": "django-cache", "CELERY_CACHE_BACKEND": "results",
		"CACHES": m{"results": m{"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://" + addr + "/1", "KEY_PREFIX": "shop"}},
	}
	cacheWith := func(over m) m {
		entry := inCache["CACHES"].(m)["results"].(m)
		return m{"CACHES": m{"results": with(entry, over)}}
	}
	inTables := m{"CELERY_RESULT_BACKEND": "db+sqlite:///" + sqlite}
	for name, tc := range map[string]struct {
		ours, over m
		setting    string
	}{
		"another kind of store":         {inRedis, m{"CELERY_RESULT_BACKEND": "db+postgresql://u:hunter2@h/d"}, "CELERY_RESULT_BACKEND"},
		"another server":                {inRedis, m{"CELERY_RESULT_BACKEND": "redis://:hunter2@r.example/0"}, "CELERY_RESULT_BACKEND"},
		"another database of redis":     {inRedis, m{"CELERY_RESULT_BACKEND": "redis://" + addr + "/2"}, "the database number of CELERY_RESULT_BACKEND"},
		"another prefix of keys":        {inRedis, m{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": m{"global_keyprefix": "shop"}}, "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.global_keyprefix"},
		"another serializer":            {inRedis, m{"CELERY_RESULT_SERIALIZER": "pickle", "CELERY_RESULT_ACCEPT_CONTENT": []string{"pickle", "json"}}, "CELERY_RESULT_SERIALIZER"},
		"content that is not accepted":  {inRedis, m{"CELERY_RESULT_ACCEPT_CONTENT": []string{"yaml"}}, "CELERY_RESULT_ACCEPT_CONTENT"},
		"another expiry":                {inRedis, m{"CELERY_RESULT_EXPIRES": 3600}, "CELERY_RESULT_EXPIRES"},
		"no extended results":           {inRedis, m{"CELERY_RESULT_EXTENDED": false}, "CELERY_RESULT_EXTENDED"},
		"chords in lists":               {inRedis, m{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": m{"result_chord_ordered": false}}, "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.result_chord_ordered"},
		"compression for an old Celery": {with(inRedis, m{"CELERY_RESULT_COMPRESSION": "gzip"}), m{"VERSIONS": m{"celery": "5.6.3"}}, "CELERY_RESULT_COMPRESSION"},
		"another cache":                 {inCache, m{"CELERY_CACHE_BACKEND": "default"}, "CELERY_CACHE_BACKEND"},
		"another prefix of a cache":     {inCache, cacheWith(m{"KEY_PREFIX": "store"}), "CACHES.results.KEY_PREFIX"},
		"another version of a cache":    {inCache, cacheWith(m{"VERSION": 2}), "CACHES.results.VERSION"},
		"another engine":                {inCache, cacheWith(m{"BACKEND": "django_redis.cache.RedisCache"}), "CACHES.results.BACKEND"},
		"another database of a cache":   {inCache, cacheWith(m{"LOCATION": "redis://" + addr + "/3"}), "CACHES.results.LOCATION"},
		"another file":                  {inTables, m{"CELERY_RESULT_BACKEND": "db+sqlite:///other.db"}, "CELERY_RESULT_BACKEND"},
		"another table":                 {inTables, m{"CELERY_DATABASE_TABLE_NAMES": m{"task": "results"}}, "CELERY_DATABASE_TABLE_NAMES.task"},
	} {
		t.Run(name, func(t *testing.T) {
			same, got := mismatches(t, tc.ours, with(tc.ours, m{"VERSIONS": m{"celery": "5.7.0"}}))
			assert.Empty(t, same)
			assert.Equal(t, 0, got.status, got.stderr)
			found, got := mismatches(t, tc.ours, with(tc.ours, tc.over))
			assert.Equal(t, []string{tc.setting}, found)
			assert.Equal(t, statusUsage, got.status)
		})
	}
	unfollowed := with(inCache, cacheWith(m{"KEY_FUNCTION": "shop.keys.make"}))
	_, got := mismatches(t, inCache, unfollowed)
	assert.Equal(t, statusUsage, got.status)
	assert.Contains(t, got.stderr, "KEY_FUNCTION")

	people := celeryResults(t, nil, "", "check", "--settings", settingsFile(t, inRedis), "--against", settingsFile(t, with(inRedis, m{"CELERY_RESULT_EXPIRES": 60})))
	assert.Contains(t, people.stdout, "mismatch:   CELERY_RESULT_EXPIRES: 24h0m0s here, 1m0s there: ")
	assert.Contains(t, people.stdout, `set CELERY_RESULT_EXPIRES to "1m0s" here, or to "24h0m0s" in Python`)
}

func TestCheckNamesWhatLiesInTheStore(t *testing.T) {
	server := testserver.StartRedis(t)
	addr := server.Addr()
	const document = `{"status": "SUCCESS", "result": 5}`
	client := func(t *testing.T, db int) *redis.Client {
		c := redis.NewClient(&redis.Options{Addr: addr, DB: db})
		t.Cleanup(func() { require.NoError(t, c.FlushAll(context.Background()).Err()); c.Close() })
		return c
	}
	inRedis := m{"CELERY_RESULT_BACKEND": "redis://" + addr + "/0"}
	inCache := m{
		"CELERY_RESULT_BACKEND": "django-cache",
		"CACHES":                m{"default": m{"BACKEND": "redis", "LOCATION": "redis://" + addr + "/0", "KEY_PREFIX": "shop", "VERSION": 2}},
	}
	for name, tc := range map[string]struct {
		ours    m
		db      int
		key     string
		value   string
		ttl     int // in hours
		setting string
	}{
		"results in another database":  {inRedis, 3, "celery-task-meta-a", document, 1, "the database number"},
		"another global prefix":        {inRedis, 0, "shop_celery-task-meta-a", document, 1, "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.global_keyprefix"},
		"another serializer":           {inRedis, 0, "celery-task-meta-a", "\x80\x04}.", 1, "CELERY_RESULT_SERIALIZER"},
		"results that never expire":    {inRedis, 0, "celery-task-meta-a", document, 0, "CELERY_RESULT_EXPIRES"},
		"results that stay for longer": {inRedis, 0, "celery-task-meta-a", document, 48, "CELERY_RESULT_EXPIRES"},
		"another prefix of a cache":    {inCache, 0, "store:2:celery-task-meta-a", "\x80\x04}.", 1, "CACHES.default.KEY_PREFIX"},
		"another version of a cache":   {inCache, 0, "shop:1:celery-task-meta-a", "\x80\x04}.", 1, "CACHES.default.VERSION"},
		"keys of Celery's own":         {inCache, 0, "celery-task-meta-a", document, 1, "CELERY_RESULT_BACKEND"},
	} {
		t.Run(name, func(t *testing.T) {
			c := client(t, tc.db)
			found, got := mismatches(t, tc.ours, nil)
			assert.Empty(t, found, got.stderr)
			require.NoError(t, c.Set(t.Context(), tc.key, tc.value, time.Duration(tc.ttl)*time.Hour).Err())
			found, got = mismatches(t, tc.ours, nil)
			assert.Equal(t, []string{tc.setting}, found, got.stderr)
			assert.Equal(t, 0, got.status, "they may be other programs'")
		})
	}
	t.Run("other programs' results beside ours are none", func(t *testing.T) {
		c := client(t, 0)
		require.NoError(t, c.Set(t.Context(), "theirs_celery-task-meta-a", document, time.Hour).Err())
		require.NoError(t, c.Set(t.Context(), "celery-task-meta-a", document, time.Hour).Err())
		found, got := mismatches(t, inRedis, nil)
		assert.Empty(t, found)
		assert.Equal(t, 0, got.status)
	})
	t.Run("a cache in a table", func(t *testing.T) {
		file := createTables(t, t.TempDir(), "cache_table")
		of := func(version int) m {
			return m{
				"CELERY_RESULT_BACKEND": "django-cache", "DATABASES": m{"default": m{"ENGINE": "sqlite3", "NAME": file}},
				"CACHES": m{"default": m{"BACKEND": "db", "LOCATION": "cache_table", "VERSION": version}},
			}
		}
		require.Equal(t, 0, celeryResults(t, nil, "", "store", "a", "--status", "SUCCESS", "--settings", settingsFile(t, of(1))).status)
		found, got := mismatches(t, of(1), nil)
		assert.Empty(t, found, got.stderr)
		found, _ = mismatches(t, of(2), nil)
		assert.Equal(t, []string{"CACHES.default.VERSION"}, found)
	})
	t.Run("columns that a table lacks", func(t *testing.T) {
		_, environ := djangoDatabase(t)
		got := celeryResults(t, environ, "", "check")
		assert.Contains(t, got.stdout, "missing:    django_celery_results_taskresult.date_started\n")
		assert.Contains(t, got.stdout, "remedy:     celery-results migrate --alter\n")
	})
}
