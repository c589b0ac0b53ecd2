package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckSaysWhatDjangosTablesLack(t *testing.T) {
	_, environ := djangoDatabase(t)
	people := celeryResults(t, environ, "", "check")
	require.Equal(t, 0, people.status, people.stderr)
	assert.Contains(t, people.stdout, "stored, read back equal, a late STARTED refused, deleted\n")
	assert.Contains(t, people.stdout, "missing:    django_celery_results_taskresult.date_started\n            django_celery_results_taskresult.group_id\n")
	assert.Contains(t, people.stdout, "            celeryresults_label\n")
	assert.Contains(t, people.stdout, "remedy:     celery-results migrate --alter\n")

	check := func() (missing, remedy any) {
		t.Helper()
		var report map[string]any
		got := celeryResults(t, environ, "", "check", "--format", "json")
		require.Equal(t, 0, got.status, got.stderr)
		require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
		return report["missing"], report["remedy"]
	}
	require.Equal(t, 0, celeryResults(t, environ, "", "migrate").status)
	missing, remedy := check()
	assert.Equal(t, []any{"django_celery_results_taskresult.date_started", "django_celery_results_taskresult.group_id"}, missing)
	assert.Equal(t, "celery-results migrate --alter", remedy)

	require.Equal(t, 0, celeryResults(t, environ, "", "migrate", "--alter").status)
	missing, remedy = check()
	assert.Empty(t, missing)
	assert.Nil(t, remedy)
}
