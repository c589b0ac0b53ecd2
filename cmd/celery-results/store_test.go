package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

func TestEveryBadLineIsReportedByItsReason(t *testing.T) {
	for line, want := range map[string]string{
		`5`:                                     "is no JSON object",
		`[]`:                                    "is no JSON object",
		`{"__type__": "x", "__value__": 1}`:     "is a kombu envelope, not a record",
		`{"task_id": "a", "status": `:           "json: ",
		`{"status": "SUCCESS"}`:                 "task_id: is missing",
		`{"task_id": "a"}`:                      "status: is missing",
		`{"task_id": "", "status": "SUCCESS"}`:  "task_id: is missing",
		`{"task_id": 5, "status": "SUCCESS"}`:   "task_id: must be a text",
		`{"task_id": "a", "status": null}`:      "status: must be a text",
		`{"task_id": "a", "status": "Failure"}`: `status: "Failure" is written FAILURE`,
		`{"task_id": "a", "status": "SUCCESS", "colour": 1}`:                                                           `unknown field "colour"`,
		`{"task_id": "a", "status": "SUCCESS", "error": "json: bad"}`:                                                  "error: the record could not be read whole",
		`{"task_id": "a", "status": "SUCCESS", "traceback": 1}`:                                                        "traceback: must be a text",
		`{"task_id": "a", "status": "SUCCESS", "retries": 1.0}`:                                                        "retries: must be a whole number",
		`{"task_id": "a", "status": "SUCCESS", "retries": -1}`:                                                         "retries: must be a whole number",
		`{"task_id": "a", "status": "SUCCESS", "retries": 99999999999999999999}`:                                       "retries: must be a whole number",
		`{"task_id": "a", "status": "SUCCESS", "children": {}}`:                                                        "children: must be a list of result tuples",
		`{"task_id": "a", "status": "SUCCESS", "children": [["c", null]]}`:                                             "children: must be a list of result tuples",
		`{"task_id": "a", "status": "SUCCESS", "children": [[["c", null], [5]]]}`:                                      "children: must be a list of result tuples",
		`{"task_id": "a", "status": "SUCCESS", "children": [[["c", "p"], null]]}`:                                      "children: must be a list of result tuples",
		`{"task_id": "a", "status": "SUCCESS", "children": [[["", null], null]]}`:                                      "children: must be a list of result tuples",
		`{"task_id": "a", "status": "SUCCESS", "date_done": "2026-13-01T00:00:00"}`:                                    "date_done: must be an ISO 8601 time",
		`{"task_id": "a", "status": "SUCCESS", "date_created": 5}`:                                                     "date_created: must be an ISO 8601 time",
		`{"task_id": "a", "status": "SUCCESS", "name": "b", "task_name": "c"}`:                                         `task_name: "c" is not the name, "b"`,
		`{"task_id": "a", "status": "SUCCESS", "task_name": 5}`:                                                        "task_name: must be a text",
		`{"task_id": "a", "status": "SUCCESS", "task_args": [5]}`:                                                      "task_args: must be a text",
		`{"task_id": "a", "status": "SUCCESS", "stamped_headers": "x"}`:                                                "stamped_headers: must be a list",
		`{"task_id": "a", "status": "SUCCESS", "stamped_headers": ["x", "x"], "x": 1}`:                                 "stamped_headers: must be a list of different texts",
		`{"task_id": "a", "status": "SUCCESS", "stamped_headers": ["result"]}`:                                         `stamped_headers: "result" is a field of its own`,
		`{"task_id": "a", "status": "FAILURE", "result": 5}`:                                                           "result: must be {",
		`{"task_id": "a", "status": "FAILURE", "result": {"exc_message": []}}`:                                         "result: must be {",
		`{"task_id": "a", "status": "FAILURE", "result": {"exc_type": 1}}`:                                             "result: must be {",
		`{"task_id": "a", "status": "FAILURE", "result": {"exc_type": "E", "exc_module": 1}}`:                          "result: must be {",
		`{"task_id": "a", "status": "FAILURE", "result": {"exc_type": "E", "exc_mesage": []}}`:                         `result: unknown field "exc_mesage"`,
		`{"task_id": "a", "status": "SUCCESS", "result": ` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`: "limit exceeded",
	} {
		t.Run(line[:min(len(line), 90)], func(t *testing.T) {
			_, err := parseLine([]byte(line))
			require.ErrorContains(t, err, want, "of %s", line)
		})
	}
}

func TestEveryGoodLineIsPrintedAsItWillBeRead(t *testing.T) {
	for line, want := range map[string]string{
		`{"task_id": "a", "status": "STARTED"}`:                                                                            `{"task_id":"a","status":"STARTED","result":null,"traceback":null,"children":[],"date_done":null}`,
		`{"task_id": "a", "status": "PROGRESS", "children": null, "result": {"at": 1e400}}`:                                `{"task_id":"a","status":"PROGRESS","result":{"at":"Infinity"},"traceback":null,"children":null,"date_done":null}`,
		`{"task_id": "a", "status": "SUCCESS", "date_done": "2026-11-21 10:30:15.1234567+02:00"}`:                          `{"task_id":"a","status":"SUCCESS","result":null,"traceback":null,"children":[],"date_done":"2026-11-21T08:30:15.123456+00:00"}`,
		`{"task_id": "a", "status": "SUCCESS", "date_done": {"__type__": "datetime", "__value__": "2026-11-21T08:30:15"}}`: `{"task_id":"a","status":"SUCCESS","result":null,"traceback":null,"children":[],"date_done":"2026-11-21T08:30:15+00:00"}`,
		`{"task_id": "a", "status": "SUCCESS", "date_done": null, "retries": 2}`:                                           `{"task_id":"a","status":"SUCCESS","result":null,"traceback":null,"children":[],"date_done":null,"name":null,"args":null,"kwargs":null,"worker":null,"retries":2,"queue":null}`,
		`{"task_id": "a", "status": "RETRY", "result": "again"}`:                                                           `{"task_id":"a","status":"RETRY","result":{"exc_type":"Exception","exc_message":["again"],"exc_module":"builtins"},"traceback":null,"children":[],"date_done":null}`,
		`{"task_id": "a", "status": "RETRY"}`:                                                                              `{"task_id":"a","status":"RETRY","result":{"exc_type":"Exception","exc_message":[],"exc_module":"builtins"},"traceback":null,"children":[],"date_done":null}`,
		`{"task_id": "a", "status": "RETRY", "result": {"exc_type": "E", "exc_message": 5, "exc_module": null}}`:           `{"task_id":"a","status":"RETRY","result":{"exc_type":"E","exc_message":[5],"exc_module":null},"traceback":null,"children":[],"date_done":null}`,
	} {
		t.Run(line, func(t *testing.T) {
			meta, err := parseLine([]byte(line))
			require.NoError(t, err)
			assert.Equal(t, want, string(python.JSON(nil, newRecord(meta).fields)))
		})
	}
}

func TestAFinalStateIsDoneNowUnlessToldOtherwise(t *testing.T) {
	environ := sqliteEnvironment(t)
	require.Equal(t, result{}, celeryResults(t, environ, "", "store", "a", "--status", "SUCCESS"))
	got := celeryResults(t, environ, "", "get", "a", "--format", "json")
	var printed struct {
		DateDone string `json:"date_done"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &printed))
	_, err := parseISO(printed.DateDone)
	assert.NoError(t, err, printed.DateDone)
	assert.True(t, strings.HasSuffix(printed.DateDone, "+00:00"), printed.DateDone)
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"task_id": "a", "status": "SUCCESS", "result": [1, NaN, 1e999, {"__type__": "bytes", "__value__": "x"}]}`))
	f.Add([]byte(`{"task_id": "a", "status": "FAILURE", "result": {"exc_type": "E", "exc_message": ["x"], "exc_module": null}, "date_done": "2026-11-21T08:30:15+00:00"}`))
	f.Add([]byte(`{"task_id": "a\u001b", "status": "RETRY", "result": "x", "children": [[["c", [["p", null], null]], [[["m", null], null]]]]}`))
	f.Add([]byte(`{"task_id": "a", "status": "X", "date_done": "2026-11-21T08:30:15+00:00", "name": "n", "task_name": "n", "task_args": "(1,)", "task_kwargs": null}`))
	f.Add([]byte(`{"task_id": "a", "status": "SUCCESS", "name": null, "task_name": null, "args": null}`))
	f.Add([]byte(`{"task_id": "a", "status": "X", "stamped_headers": ["s"], "s": {}, "retries": 3, "args": [], "kwargs": {}, "meta": {"k": {"__type__": "uuid", "__value__": 5}}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		meta, err := parseLine(line)
		if err != nil {
			return
		}
		first := newRecord(meta)
		printed := python.JSON(nil, first.fields)
		meta, err = parseLine(printed)
		require.NoError(t, err, "of %s", printed)
		require.Equal(t, string(printed), string(python.JSON(nil, newRecord(meta).fields)))
		requireHarmless(t, string(new(cli).aligned(first.rows(meta))))
	})
}

// FuzzStore feeds the command itself: whatever comes, it ends with a status
// that it documents, and each line of its messages is its own.
func FuzzStore(f *testing.F) {
	f.Add(`{"task_id": "a", "status": "SUCCESS"}` + "\n\n" + `{"task_id": "a", "status": "STARTED"}`)
	f.Add("{\"task_id\": \"\x1b[31m\", \"status\": \"FAILURE\", \"result\": {\"\u202e\": 1}}\n\xff\xfe\n")
	f.Fuzz(func(t *testing.T, input string) {
		got := celeryResults(t, []string{"CELERY_RESULT_BACKEND=cache+memory://"}, input, "store", "--stdin")
		require.Contains(t, []int{0, statusUsage, statusRefused}, got.status, got.stderr)
		require.Empty(t, got.stdout)
		requireHarmless(t, got.stderr)
		for line := range strings.Lines(got.stderr) {
			require.True(t, strings.HasPrefix(line, "celery-results: line "), "%q", line)
		}
	})
}
