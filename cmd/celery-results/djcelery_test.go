package main

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOldTablesAreCopied(t *testing.T) {
	db, environ := djangoDatabase(t)
	from := "sqlite:///" + environ[0][len("CELERY_RESULT_BACKEND=django-db+sqlite:///"):]
	missing := celeryResults(t, environ, "", "migrate-django-celery", "--from", from)
	assert.Equal(t, statusUsage, missing.status)
	assert.Contains(t, missing.stderr, "no table of django-celery's")
	for _, statement := range []string{
		`CREATE TABLE celery_taskmeta (id integer PRIMARY KEY, task_id text, status text, result text, date_done datetime, traceback text, hidden bool, meta text)`,
		`CREATE TABLE celery_tasksetmeta (id integer PRIMARY KEY, taskset_id text, result text, date_done datetime, hidden bool)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	for id, pickled := range map[string]string{"old": "\x80\x02K\x05.", "broken": "\x80\x02U"} {
		_, err := db.ExecContext(t.Context(), `INSERT INTO celery_taskmeta (task_id, status, result, date_done, hidden) VALUES (?, 'SUCCESS', ?, '2015-03-01 12:00:00', 0)`,
			id, base64.StdEncoding.EncodeToString([]byte(pickled)))
		require.NoError(t, err)
	}
	environ = append(environ, "CELERY_RESULT_EXPIRES=never")
	copied := celeryResults(t, environ, "", "migrate-django-celery", "--from", from, "--format", "json")
	assert.Equal(t, statusFailed, copied.status, "one can't be read")
	assert.JSONEq(t, `{"copied":1,"groups":0,"standing":0,"expired":0,"unreadable":1,"refused":0}`, copied.stdout)
	assert.Contains(t, copied.stderr, "copy broken: ")
	got := celeryResults(t, environ, "", "get", "old", "--format", "json")
	assert.Contains(t, got.stdout, `"result":5`)
	again := celeryResults(t, environ, "", "migrate-django-celery", "--from", from)
	assert.Contains(t, again.stdout, "standing:   1\n")

	same := celeryResults(t, []string{"CELERY_RESULT_BACKEND=django-celery+" + from}, "", "migrate-django-celery", "--from", from)
	assert.Equal(t, statusUsage, same.status)
	unknown := celeryResults(t, environ, "", "migrate-django-celery")
	assert.Equal(t, statusUsage, unknown.status)
	assert.Contains(t, unknown.stderr, `unknown database "default"`)
	extra := celeryResults(t, environ, "", "migrate-django-celery", "x")
	assert.Equal(t, statusUsage, extra.status)
}
