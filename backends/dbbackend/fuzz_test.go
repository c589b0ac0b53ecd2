package dbbackend

import (
	"database/sql"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/survey"
)

// newDecoder returns a backend that accepts every serializer, and the layout of
// tables that have all columns.
func newDecoder(t testing.TB) (*DatabaseBackend, *layout) {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	_, err = Migrate(t.Context(), db, MigrateOptions{})
	require.NoError(t, err)
	backend, err := New(db, celeryresults.Settings{
		ResultExpires: celeryresults.Never, ResultExtended: true, ResultAcceptContent: []string{"json", "pickle", "yaml", "msgpack"},
	}, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	b, _ := StoreOf(backend)
	l, err := b.tables(t.Context())
	require.NoError(t, err)
	require.Len(t, l.columns, len(taskColumns), resultschema.TaskTable)
	return b, l
}

// FuzzRow reads rows with anything in their columns: none may panic, nor hide
// its state, and each can be stored again or is refused.
func FuzzRow(f *testing.F) {
	b, l := newDecoder(f)
	f.Add("id", "SUCCESS", "application/json", "utf-8", []byte(`5`), []byte(`{"children": []}`), []byte(`"(2, 3)"`), []byte(`"{}"`), "", "cases.add", "vm", "", "", int64(1))
	f.Add("id", "FAILURE", "application/json", "utf-8", []byte(`{"exc_type": "E", "exc_message": ["m"], "exc_module": "m"}`), []byte(nil), []byte(nil), []byte(nil), "tb", "", "", "p", "g", int64(-5))
	f.Add("id", "RETRY", "application/x-python-serialize", "binary", []byte(`gASVBQAAAAAAAACMAXiULg==`), []byte(`gAR9Lg==`), []byte(`gASVBQAAAAAAAACMAXiULg==`), []byte(`!`), "", "", "", "", "", int64(0))
	f.Add("id", "PROGRESS", "application/x-msgpack", "binary", []byte(`oXg=`), []byte(`gA==`), []byte(`/w==`), []byte(``), "", "", "", "", "", int64(1<<62))
	f.Add("id", "X", "application/x-yaml", "utf-8", []byte("a: &b [*b]"), []byte("children: [[[c, null], null]]\nretries: 1.5"), []byte("- 1"), []byte("{}"), "", "", "", "", "", int64(7))
	f.Add("id", "X", "application/json", "utf-8", []byte(`null`), []byte(`{"children": [[["c", null], [[["d", null], null]]]], "retries": "x", "queue": 1, "stamped_headers": ["s", 1], "s": 2,
		"celeryresults.args": [1], "celeryresults.kwargs": 5, "celeryresults.args_cut": {"size": 1, "sha256": "x"}, "celeryresults.kwargs_cut": [], "celeryresults.extra": {"a": 1, "status": 2}, "celeryresults.meta": 5, "own": {"b": 1}}`), []byte(`[1, 2]`), []byte(`{"a": 1}`), "", "", "", "", "", int64(7))
	f.Fuzz(func(t *testing.T, id, status, contentType, contentEncoding string, result, meta, args, kwargs []byte, traceback, name, worker, periodic, group string, done int64) {
		r := row{
			id: 1, taskID: id, status: celeryresults.State(status), contentType: contentType, contentEncoding: contentEncoding,
			result: result, meta: meta, args: args, kwargs: kwargs, traceback: nullText(traceback), name: nullText(name), worker: nullText(worker),
			periodic: nullText(periodic), group: nullText(group), done: time.UnixMicro(done), created: time.UnixMicro(done), started: time.UnixMicro(done),
		}
		var read driver.Record
		b.read(&read, &r)
		if status == "" {
			if read.Err == nil {
				t.Fatal("a row without a status was read")
			}
			return
		}
		got, err := b.Decode(&read)
		if err != nil || got == nil || string(got.State) != status || got.TaskID != id {
			t.Fatalf("%q of %q became %+v, %v", status, id, got, err)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatal(err)
		}
		if got.State.Exception() != (got.Err() != nil) {
			t.Fatalf("%s has the error %v", got.State, got.Err())
		}
		survey.HasLabels(got, map[string]string{"a": "b"})
		e, err := b.encode(l, got)
		if err == nil && string(e.state) != status {
			t.Fatalf("%q is stored again as %q", status, e.state)
		}
	})
}

func nullText(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
