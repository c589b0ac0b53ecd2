package main

import (
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/resultschema"
)

// djangoDatabase makes an SQLite file with the tables of django-celery-results
// 2.4 and returns it open, and settings in the environment that use it.
func djangoDatabase(t *testing.T) (*sql.DB, []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "django.sqlite3")
	db, err := sql.Open("sqlite", file)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	dump, err := os.ReadFile("../../internal/resultschema/testdata/2.4.0.sqlite.sql")
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), string(dump))
	require.NoError(t, err)
	return db, []string{"CELERY_RESULT_BACKEND=django-db+sqlite:///" + file}
}

func TestMigrateSaysWhatDjangosTablesLack(t *testing.T) {
	_, environ := djangoDatabase(t)
	people := celeryResults(t, environ, "", "migrate")
	require.Equal(t, 0, people.status, people.stderr)
	assert.Contains(t, people.stdout, "adopted:         django_celery_results_taskresult\n")
	assert.Contains(t, people.stdout, "missing:         django_celery_results_taskresult.date_started\n")
	assert.Contains(t, people.stdout, "missing_indexes: celeryresults_task_created\n")

	var report map[string]any
	altered := celeryResults(t, environ, "", "migrate", "--alter", "--format", "json")
	require.Equal(t, 0, altered.status, altered.stderr)
	require.NoError(t, json.Unmarshal([]byte(altered.stdout), &report))
	assert.Contains(t, report["altered"], "django_celery_results_taskresult.date_started")
	assert.Empty(t, report["missing"])
	assert.Empty(t, report["missing_indexes"])
	assert.Equal(t, []any{"0012_taskresult_date_started"}, report["django_migrations"])
}

func TestMigrateRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ prepare, flag, reason string }{
		"tables of a later program": {
			`UPDATE ` + resultschema.VersionTable + ` SET version = 99`, "--alter", "update the program",
		},
		"migrations that are not done": {`DELETE FROM django_migrations`, "--django-migrations", "date_started"},
	} {
		t.Run(name, func(t *testing.T) {
			db, environ := djangoDatabase(t)
			require.Equal(t, 0, celeryResults(t, environ, "", "migrate").status)
			_, err := db.ExecContext(t.Context(), tc.prepare)
			require.NoError(t, err)
			got := celeryResults(t, environ, "", "migrate", tc.flag)
			assert.Equal(t, statusUsage, got.status)
			assert.Empty(t, got.stdout)
			assert.Contains(t, got.stderr, tc.reason)
			assert.Equal(t, 1, strings.Count(got.stderr, "\n"), "one line: %s", got.stderr)
		})
	}
}
