package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// asCommand in the environment makes the test program the command itself, for
// tests that need a process.
const asCommand = "CELERY_RESULTS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	testserver.Main(m)
}

// result is what one run of the command left.
type result struct {
	status         int
	stdout, stderr string
}

// celeryResults runs the command in this process.
func celeryResults(t testing.TB, environ []string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr, environ)
	return result{status, stdout.String(), stderr.String()}
}

// createTables makes an SQLite database with cache tables, and returns its file.
func createTables(t testing.TB, dir string, tables ...string) string {
	t.Helper()
	file := filepath.Join(dir, "results.sqlite3")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	defer db.Close()
	for _, table := range tables {
		require.NoError(t, dbcache.CreateTable(context.Background(), db, table))
	}
	return file
}

// sqliteEnvironment is settings in the environment: a default backend and one
// named archive, in tables of one SQLite file.
func sqliteEnvironment(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	file := createTables(t, dir, "cache_table", "archive_table")
	settings := filepath.Join(dir, "settings.json")
	require.NoError(t, os.WriteFile(settings, []byte(`{
		"CELERY_RESULT_BACKEND": "django-cache",
		"CELERY_RESULT_BACKENDS": {"archive": {"BACKEND": "django-cache", "CACHE_BACKEND": "archive"}},
		"CACHES": {
			"default": {"BACKEND": "db", "LOCATION": "cache_table", "OPTIONS": {"MAX_ENTRIES": 1000}},
			"archive": {"BACKEND": "db", "LOCATION": "archive_table", "OPTIONS": {"MAX_ENTRIES": 1000}}
		},
		"DATABASES": {"default": {"ENGINE": "sqlite3", "NAME": "`+file+`"}}
	}`), 0o600))
	return []string{"CELERY_RESULTS_SETTINGS=" + settings}
}
