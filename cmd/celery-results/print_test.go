package main

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// requireHarmless fails if the text holds anything that could drive a terminal.
func requireHarmless(t testing.TB, text string) {
	t.Helper()
	i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r))
	})
	require.Negative(t, i, "%q", text)
}

func TestResultsCannotDriveTheTerminal(t *testing.T) {
	environ := sqliteEnvironment(t)
	evil := "\x1b]0;title\x07 \u009b31m \u202egnp.exe \x7f"
	id := "id\x1b[2J"
	require.Equal(t, result{}, celeryResults(t, environ, "", "store", id, "--status", "FAILURE", "--result", evil,
		"--traceback", evil+"\n\tin "+evil, "--name", evil, "--worker", evil, "--kwargs", `{"`+`k\u001b": "\u001b"}`))
	got := celeryResults(t, environ, "", "get", id)
	requireHarmless(t, got.stdout)
	assert.Contains(t, got.stdout, `id\x1b[2J`)
	assert.Contains(t, got.stdout, `\u202egnp.exe \x7f`)

	refused := celeryResults(t, environ, "", "store", id, "--status", "STARTED\x1b")
	assert.Equal(t, statusRefused, refused.status)
	requireHarmless(t, refused.stderr)
	unknown := celeryResults(t, environ, "", "get", "x", "--backend", evil)
	assert.Equal(t, statusUsage, unknown.status)
	requireHarmless(t, unknown.stderr)
}

func FuzzEscape(f *testing.F) {
	f.Add("plain\ttext\n\n")
	f.Add("\x1b[31m\xff\u2028\u202e\U000e0001")
	f.Fuzz(func(t *testing.T, text string) {
		requireHarmless(t, escapeLines(text))
		require.NotContains(t, escape(text), "\n")
		requireHarmless(t, reason(errors.New(text)))
	})
}

// Documents of another writer's, each under its task id.
var brokenDocuments = map[string]string{
	"undecodable": `{"status": "SUCCESS", "result": tru, "traceback": null, "children": [], "date_done": "2026-11-21T08:30:15+00:00", "name": "shop.add", "args": [01], "kwargs": {}}`,
	"failed":      `{"status": "FAILURE", "result": {"exc_type": tru}, "traceback": "here", "children": [], "date_done": null}`,
	"stateless":   `{"result": 1}`,
	"garbage":     "\x00\x01",
	"whole":       `{"status": "SUCCESS", "result": 1, "traceback": null, "children": [], "date_done": "2026-11-21T08:30:14+00:00", "stamped_headers": ["tenant"], "tenant": "acme", "result_url": "x"}`,
}

func brokenEnvironment(t *testing.T) []string {
	address := testserver.StartMemcached(t).Addr()
	client := memcache.New(address)
	defer client.Close()
	for id, document := range brokenDocuments {
		require.NoError(t, client.Set(&memcache.Item{Key: "celery-task-meta-" + id, Value: []byte(document), Flags: 16}))
	}
	return []string{"CELERY_RESULT_BACKEND=cache+memcached://" + address + "/"}
}

func TestAPayloadThatCannotBeDecodedHidesNothingElse(t *testing.T) {
	environ := brokenEnvironment(t)
	got := celeryResults(t, environ, "", "get", "undecodable", "failed", "stateless", "garbage", "whole", "--format", "json")
	assert.Equal(t, statusFailed, got.status)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	require.Len(t, lines, 3, got.stdout)

	undecodable := decodeExactly(t, []byte(lines[0]))
	assert.Equal(t, "SUCCESS", undecodable["status"])
	assert.Nil(t, undecodable["result"])
	assert.Equal(t, "2026-11-21T08:30:15+00:00", undecodable["date_done"])
	assert.Regexp(t, `^result: decode value: json: .* args: decode value: json: `, undecodable["error"])
	failed := decodeExactly(t, []byte(lines[1]))
	assert.Equal(t, "FAILURE", failed["status"])
	assert.Nil(t, failed["result"])
	assert.Equal(t, "here", failed["traceback"])
	assert.NotEmpty(t, failed["error"])
	assert.Equal(t, `{"task_id":"whole","status":"SUCCESS","result":1,"traceback":null,"children":[],"date_done":"2026-11-21T08:30:14+00:00","stamped_headers":["tenant"],"tenant":"acme","result_url":"x"}`, lines[2])

	assert.Len(t, strings.Split(strings.TrimSpace(got.stderr), "\n"), 4, got.stderr)
	assert.Contains(t, got.stderr, `celery-results: get: unreadable record of "stateless": it has no status`)
	assert.Contains(t, got.stderr, `celery-results: task "undecodable": result: decode value: json: `)
}

func TestWaitGoesOnAfterARecordThatCannotBeRead(t *testing.T) {
	got := celeryResults(t, brokenEnvironment(t), "", "wait", "stateless", "undecodable", "whole", "--format", "json")
	assert.Equal(t, statusFailed, got.status)
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	require.Len(t, lines, 2, got.stdout)
	assert.Contains(t, lines[0], `"whole"`, "the one that was ready first comes first")
}

func TestPasswordsInURLsAreMasked(t *testing.T) {
	err := errors.New("celeryresults: open \"redis://ann:pass@word@host/0?password=x\":\n  it\tfailed")
	assert.Equal(t, `open "redis://ann:**@host/0?password=** it failed`, reason(err))
}

func TestStatusesOfErrors(t *testing.T) {
	assert.Equal(t, statusUnreachable, statusOf(errors.New("dial tcp: refused")))
	assert.Equal(t, statusRefused, statusOf(&celeryresults.RefusedError{}))
	assert.Equal(t, statusFailed, statusOf(&celeryresults.UnreadableError{Err: celeryresults.ErrNoTaskID}))
}
