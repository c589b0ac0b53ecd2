package main

import (
	"bufio"
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// recording is what Python stored for one task or group, and what get must
// print for it.
type recording struct {
	Backend string
	Case    string
	TaskID  string `json:"task_id"`
	GroupID string `json:"group_id"`
	Canon   json.RawMessage
	Tuple   json.RawMessage
	Store   stored
}

// stored is an entry of a cache, or a row.
type stored struct {
	Key      string
	CacheKey string `json:"cache_key"`
	Value    string // base64
	Flags    uint32

	columns map[string]any // of a row of django-celery-results
}

func (s *stored) UnmarshalJSON(data []byte) error {
	type entry stored
	return errors.Join(json.Unmarshal(data, (*entry)(s)), json.Unmarshal(data, &s.columns))
}

func (r recording) raw(t testing.TB) []byte {
	t.Helper()
	value, err := base64.StdEncoding.DecodeString(r.Store.Value)
	require.NoError(t, err, r.Case)
	return value
}

// readRecordings reads the recordings whose name begins with the first word.
func readRecordings(t testing.TB, name string) []recording {
	t.Helper()
	name, _, _ = strings.Cut(name, " ")
	file, err := os.Open(filepath.Join("../../driver/drivertest/testdata/recorded", name+".jsonl"))
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

	"django-db-sqlite":                             loadRows(newSQLite, asDjango),
	"django-db-postgres":                           loadRows(testserver.Postgres, asDjango),
	"django-db-mysql":                              loadRows(testserver.MySQL, asDjango),
	"django-db-sqlite in tables made by migrate":   loadRows(newSQLite, asMigrate),
	"django-db-postgres in tables made by migrate": loadRows(testserver.Postgres, asMigrate),
	"django-db-mysql in tables made by migrate":    loadRows(testserver.MySQL, asMigrate),
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

func newSQLite(t testing.TB) string {
	return "sqlite:///" + filepath.Join(t.TempDir(), "django.sqlite3")
}

// asDjango makes the tables that the migrations of django-celery-results 2.6
// make, and asMigrate those that the command makes.
func asDjango(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect) {
	dump, err := os.ReadFile("../../internal/resultschema/testdata/2.6.0." + dialect.Name() + ".sql")
	require.NoError(t, err)
	for statement := range strings.SplitSeq(strings.TrimSpace(string(dump)), ";\n") {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

func asMigrate(t *testing.T, db *sql.DB, dialect *sqldialect.Dialect) {
	_, err := dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{Engine: dialect.Name()})
	require.NoError(t, err)
}

// loadRows puts the recorded rows, column by column, into tables that make
// makes in a fresh database. They are old, so nothing expires.
func loadRows(fresh func(testing.TB) string, make func(*testing.T, *sql.DB, *sqldialect.Dialect)) func(t *testing.T, list []recording) string {
	return func(t *testing.T, list []recording) string {
		address := fresh(t)
		db, dialect, err := sqldialect.Open(cache.Database{URL: address})
		require.NoError(t, err)
		defer db.Close()
		make(t, db, dialect)
		for _, r := range list {
			table := resultschema.TaskTable
			if r.GroupID != "" {
				table = resultschema.GroupTable
			}
			insertRow(t, db, dialect, table, r.Store.columns)
		}
		return tablesSettings(address)
	}
}

func insertRow(t testing.TB, db *sql.DB, dialect *sqldialect.Dialect, table string, columns map[string]any) {
	t.Helper()
	var values []any
	names := slices.Sorted(maps.Keys(columns))
	for _, name := range names {
		if number, ok := columns[name].(float64); ok {
			values = append(values, int64(number))
		} else {
			values = append(values, columns[name])
		}
	}
	q := dialect.Rebind(`INSERT INTO ` + table + ` (` + strings.Join(names, ", ") + `) VALUES (` + sqldialect.Parameters(1, len(values)) + `)`)
	_, err := db.ExecContext(t.Context(), q.Text, q.Args(values...)...)
	require.NoError(t, err, "%v", columns)
}

// tablesSettings are settings with a default backend in the tables of a
// database, where nothing expires.
func tablesSettings(address string) string {
	return `{"CELERY_RESULT_BACKEND": "django-db", "CELERY_RESULT_EXPIRES": "never", "DATABASES": {"default": {"URL": "` + address + `"}}}`
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
	printed, want := decodeExactly(t, []byte(got.stdout)), decodeExactly(t, r.Canon)
	if strings.HasPrefix(r.Backend, "django-db") { // of a row there is more to print than Python reads
		maps.DeleteFunc(printed, func(name string, _ any) bool { _, read := want[name]; return !read })
	}
	if r.Case == "unserializable-failure" {
		checkUnserializable(t, printed, want)
	}
	assert.Equal(t, want, printed)
}

// checkUnserializable takes out what holds the address of an object, which
// Python prints anew each time. The wrapper may be there or not.
func checkUnserializable(t *testing.T, printed, want map[string]any) {
	exception := printed["result"].(map[string]any)
	assert.Contains(t, []any{"Unserializable", "UnpickleableExceptionWrapper"}, exception["exc_type"])
	assert.Contains(t, []any{"cases", "celery.utils.serialization"}, exception["exc_module"])
	delete(printed, "result")
	delete(want, "result")
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

// Rows keep what a cache keeps, too, on their way there and back.
func TestRowsGoThroughAPipeUnchanged(t *testing.T) {
	list := readRecordings(t, "django-db-sqlite")
	args := []string{"get", "--format", "kombu"}
	for _, r := range list {
		if r.TaskID != "" {
			args = append(args, r.TaskID)
		}
	}
	first := writeSettings(t, loadRows(newSQLite, asDjango)(t, list))
	ours := ourRows()
	args = slices.AppendSeq(args, maps.Keys(recordsOf(t, ours)))
	require.Equal(t, result{}, celeryResults(t, first, ours, "store", "--stdin"))
	printed := celeryResults(t, first, "", args...)
	require.Equal(t, result{stdout: printed.stdout}, printed)

	for name, between := range map[string][]string{
		"a cache":       sqliteEnvironment(t),
		"another table": freshTables(t),
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, result{}, celeryResults(t, between, printed.stdout, "store", "--stdin"))
			stored := celeryResults(t, between, "", args...)
			require.Equal(t, result{stdout: stored.stdout}, stored)
			if name == "a cache" {
				requireNothingInvented(t, stored.stdout)
			}

			last := freshTables(t)
			require.Equal(t, result{}, celeryResults(t, last, stored.stdout, "store", "--stdin"))
			again := celeryResults(t, last, "", args...)
			require.Equal(t, recordsOf(t, printed.stdout), recordsOf(t, again.stdout))
		})
	}
}

// requireNothingInvented makes sure that a cache does not keep what only a table
// prints.
func requireNothingInvented(t testing.TB, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		r := decodeExactly(t, []byte(bareWords.Replace(line)))
		if !celeryresults.State(r["status"].(string)).Ready() {
			require.Nil(t, r["date_done"], "when it was last written is not when it was done: %s", line)
		}
		if r["task_id"] == "plain" {
			require.NotContains(t, r, "name", "nothing extended was there: %s", line)
		}
	}
}

func writeSettings(t testing.TB, settings string) (environ []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(file, []byte(settings), 0o600))
	return []string{"CELERY_RESULTS_SETTINGS=" + file}
}

// freshTables is settings in the environment, with tables that migrate made.
func freshTables(t testing.TB) (environ []string) {
	t.Helper()
	environ = writeSettings(t, tablesSettings(newSQLite(t)))
	require.Equal(t, 0, celeryResults(t, environ, "", "migrate").status)
	return environ
}

// ourRows are records with all that this library keeps beyond Python.
func ourRows() string {
	return strings.ReplaceAll(`{"task_id": "plain", "status": "SUCCESS", "result": 3}
{"task_id": "typed", "status": "SUCCESS", "result": {"__type__": "decimal", "__value__": "1.50"}, "name": "shop.add",
 "args": [1, {"__type__": "date", "__value__": "2026-02-28"}, NaN, "x"], "kwargs": {"tax": {"__type__": "decimal", "__value__": "0.10"}},
 "worker": "w1", "retries": 2, "queue": "celery", "parent_id": "p", "root_id": "r", "group_id": "g",
 "children": [[["c", [["p", null], null]], null], [["gg", null], [[["m", null], null]]]], "periodic_task_name": "nightly",
 "date_created": "2026-11-21T08:00:00+00:00", "date_started": "2026-11-21T08:00:01.5+00:00", "date_done": "2026-11-21T08:00:02+00:00",
 "meta": {"by": "ann", "at": {"__type__": "uuid", "__value__": "6d0b0b1c-6f0e-4f6e-8f4e-2f0f6f3f5a11"}}, "stamped_headers": ["tenant"], "tenant": "acme"}
{"task_id": "hidden", "status": "SUCCESS", "name": "shop.pay", "args": "('<card>',)", "task_args": "('<card>',)", "kwargs": "{}", "task_kwargs": "{}"}
{"task_id": "none", "status": "SUCCESS", "name": "shop.now", "args": [], "kwargs": {}}
{"task_id": "runs", "status": "PROGRESS", "result": {"current": 40}, "name": "shop.add", "date_started": "2026-11-21T08:00:01+00:00"}
{"task_id": "failed", "status": "FAILURE", "result": {"exc_type": "Oops", "exc_message": ["acme", 10], "exc_module": "shop"}, "traceback": "Traceback:\n  here\n"}
`, ",\n ", ", ")
}

// bareWords makes JSON of Python's dialect.
var bareWords = strings.NewReplacer("-Infinity", `"-Infinity"`, "Infinity", `"Infinity"`, "NaN", `"NaN"`)

// recordsOf decodes lines. When a record that is not ready was last written is
// left out: it is the table's own matter.
func recordsOf(t testing.TB, lines string) map[string]map[string]any {
	t.Helper()
	records := map[string]map[string]any{}
	for line := range strings.Lines(lines) {
		r := decodeExactly(t, []byte(bareWords.Replace(line)))
		if !celeryresults.State(r["status"].(string)).Ready() {
			delete(r, "date_done")
		}
		records[r["task_id"].(string)] = r
	}
	return records
}
