package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// recording is what Python stored for one task or group, and what get must
// print for it.
type recording struct {
	Case    string
	TaskID  string `json:"task_id"`
	GroupID string `json:"group_id"`
	Canon   json.RawMessage
	Tuple   json.RawMessage
	Store   struct {
		Key      string
		CacheKey string `json:"cache_key"`
		Value    string // base64
		Flags    uint32
	}
}

func (r recording) raw(t testing.TB) []byte {
	t.Helper()
	value, err := base64.StdEncoding.DecodeString(r.Store.Value)
	require.NoError(t, err, r.Case)
	return value
}

func readRecordings(t testing.TB, name string) []recording {
	t.Helper()
	file, err := os.Open(filepath.Join("../../backends/backendtest/testdata/recorded", name+".jsonl"))
	require.NoError(t, err)
	defer file.Close()
	var list []recording
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var r recording
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		if r.Case != "" {
			list = append(list, r)
		}
	}
	require.NoError(t, lines.Err())
	require.Greater(t, len(list), 30, name)
	return list
}

// loaders put recordings into a real store, as the client of that store sends
// bytes, and return the settings under which Python wrote them.
var loaders = map[string]func(t *testing.T, list []recording) string{
	"django-cache-redis":       loadRedis,
	"django-cache-pymemcache":  loadMemcached(`{"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "KEY_PREFIX": "pymc"`),
	"django-cache-pylibmc":     loadMemcached(`{"BACKEND": "django.core.cache.backends.memcached.PyLibMCCache", "KEY_PREFIX": "pylib", "VERSION": 2`),
	"django-cache-db-sqlite":   loadSQLite,
	"django-cache-db-postgres": loadPostgres,
	"django-cache-db-mysql":    loadMySQL,
	"memcached-json":           loadCeleryMemcached,
}

func loadRedis(t *testing.T, list []recording) string {
	address := testserver.StartRedis(t).Addr()
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	for _, r := range list {
		require.NoError(t, client.Set(t.Context(), r.Store.Key, r.raw(t), time.Hour).Err())
	}
	return `{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": {"BACKEND": "redis", "LOCATION": "redis://` + address + `"}}}`
}

func fillMemcached(t *testing.T, list []recording) (address string) {
	address = testserver.StartMemcached(t).Addr()
	client := memcache.New(address)
	defer client.Close()
	for _, r := range list {
		item := &memcache.Item{Key: r.Store.Key, Value: r.raw(t), Flags: r.Store.Flags, Expiration: 3600}
		require.NoError(t, client.Set(item))
	}
	return address
}

func loadMemcached(entry string) func(t *testing.T, list []recording) string {
	return func(t *testing.T, list []recording) string {
		return `{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": ` + entry + `, "LOCATION": "` + fillMemcached(t, list) + `"}}}`
	}
}

func loadCeleryMemcached(t *testing.T, list []recording) string {
	return `{"CELERY_RESULT_BACKEND": "cache+memcached://` + fillMemcached(t, list) + `/"}`
}

func loadSQLite(t *testing.T, list []recording) string {
	file := filepath.Join(t.TempDir(), "django.sqlite3")
	return fillTable(t, list, "sqlite", file, `INSERT INTO cache_table VALUES (?, ?, ?)`, "sqlite:///"+file)
}

func loadPostgres(t *testing.T, list []recording) string {
	address := testserver.Postgres(t)
	return fillTable(t, list, "pgx", address, `INSERT INTO cache_table VALUES ($1, $2, $3)`, address)
}

func loadMySQL(t *testing.T, list []recording) string {
	address := testserver.MySQL(t)
	u, err := url.Parse(address)
	require.NoError(t, err)
	source := fmt.Sprintf("%s@tcp(%s)%s", u.User, u.Host, u.Path)
	return fillTable(t, list, "mysql", source, `INSERT INTO cache_table VALUES (?, ?, ?)`, address)
}

// fillTable inserts the rows as Django's database cache does, which keeps the
// recorded text as it is.
func fillTable(t *testing.T, list []recording, driver, source, statement, address string) string {
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, dbcache.CreateTable(t.Context(), db, "cache_table"))
	tomorrow := time.Now().UTC().Add(24 * time.Hour).Format(time.DateTime)
	for _, r := range list {
		_, err := db.ExecContext(t.Context(), statement, r.Store.CacheKey, r.Store.Value, tomorrow)
		require.NoError(t, err, r.Case)
	}
	return `{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": {"BACKEND": "db", "LOCATION": "cache_table"}},
		"DATABASES": {"default": {"URL": "` + address + `"}}}`
}

func TestGetPrintsWhatPythonReadsFromEveryRecording(t *testing.T) {
	for name, load := range loaders {
		t.Run(name, func(t *testing.T) {
			list := readRecordings(t, name)
			settings := filepath.Join(t.TempDir(), "settings.json")
			require.NoError(t, os.WriteFile(settings, []byte(load(t, list)), 0o600))
			environ := []string{"CELERY_RESULTS_SETTINGS=" + settings}
			for _, r := range list {
				t.Run(r.Case, func(t *testing.T) {
					if r.GroupID != "" {
						checkGroup(t, environ, r)
						return
					}
					checkTask(t, environ, r)
				})
			}
		})
	}
}

func checkTask(t *testing.T, environ []string, r recording) {
	got := celeryResults(t, environ, "", "get", r.TaskID, "--format", "json")
	assert.Equal(t, 0, got.status, got.stderr)
	assert.Empty(t, got.stderr)
	if r.Case == "unserializable-failure" {
		checkUnserializable(t, got.stdout, r)
		return
	}
	assert.Equal(t, decodeExactly(t, r.Canon), decodeExactly(t, []byte(got.stdout)))
}

// checkUnserializable compares all but what holds the address of an object,
// which Python prints anew each time. The wrapper may be there or not.
func checkUnserializable(t *testing.T, stdout string, r recording) {
	got, want := decodeExactly(t, []byte(stdout)), decodeExactly(t, r.Canon)
	exception := got["result"].(map[string]any)
	assert.Contains(t, []any{"Unserializable", "UnpickleableExceptionWrapper"}, exception["exc_type"])
	assert.Contains(t, []any{"cases", "celery.utils.serialization"}, exception["exc_module"])
	delete(got, "result")
	delete(want, "result")
	assert.Equal(t, want, got)
}

func checkGroup(t *testing.T, environ []string, r recording) {
	got := celeryResults(t, environ, "", "group", "get", r.GroupID, "--format", "json")
	assert.Equal(t, 0, got.status, got.stderr)
	want := fmt.Sprintf(`{"group_id": %q, "result": %s}`, r.GroupID, r.Tuple)
	assert.Equal(t, decodeExactly(t, []byte(want)), decodeExactly(t, []byte(got.stdout)))
}

// decodeExactly decodes JSON with its numbers as they are spelled.
func decodeExactly(t testing.TB, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v), "of %.200q", data)
	return v
}

func TestRecordingsGoThroughAPipeUnchanged(t *testing.T) {
	list := readRecordings(t, "django-cache-db-sqlite")
	from := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(from, []byte(loadSQLite(t, list)), 0o600))
	args := []string{"get", "--format", "json"}
	for _, r := range list {
		if r.TaskID != "" {
			args = append(args, r.TaskID)
		}
	}
	printed := celeryResults(t, []string{"CELERY_RESULTS_SETTINGS=" + from}, "", args...)
	require.Equal(t, 0, printed.status, printed.stderr)

	into := sqliteEnvironment(t)
	stored := celeryResults(t, into, printed.stdout, "store", "--stdin")
	require.Equal(t, result{}, stored)
	again := celeryResults(t, into, "", args...)
	require.Equal(t, strings.Split(printed.stdout, "\n"), strings.Split(again.stdout, "\n"))
}
