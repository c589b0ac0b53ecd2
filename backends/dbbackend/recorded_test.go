package dbbackend_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// record is one line of a recording of real tables.
type record struct {
	Backend string          `json:"backend"`
	Case    string          `json:"case"`
	TaskID  string          `json:"task_id"`
	GroupID string          `json:"group_id"`
	Canon   json.RawMessage `json:"canon"`
	Tuple   json.RawMessage `json:"tuple"`
	Store   map[string]any  `json:"store"`
}

// recordings returns what Python and Django left in the tables of each
// database.
func recordings(t *testing.T) []record {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "driver", "drivertest", "testdata", "recorded", "django-db-*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 3)
	var all []record
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(data) {
			var r record
			require.NoError(t, json.Unmarshal(line, &r))
			if r.Case != "" {
				all = append(all, r)
			}
		}
	}
	require.Len(t, all, 3*37)
	return all
}

// insert puts the recorded row into the table, but for its primary key.
func (r record) insert(t *testing.T, b base, tables resultschema.Tables) {
	t.Helper()
	table := resultschema.TaskTable
	if r.TaskID == "" {
		table = resultschema.GroupTable
	}
	delete(r.Store, "id")
	columns := slices.DeleteFunc(slices.Sorted(maps.Keys(r.Store)), func(column string) bool { return !tables.Has(table, column) })
	args := make([]any, len(columns))
	for i, column := range columns {
		args[i] = r.Store[column]
		if text, ok := args[i].(string); ok && strings.HasPrefix(column, "date_") {
			at, err := sqldialect.ParseTime(text)
			require.NoError(t, err)
			args[i] = b.dialect.Time(at)
		}
	}
	b.exec(t, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (`+sqldialect.Parameters(1, len(columns))+`)`, args...)
}

func TestRowsOfPythonAreReadAndKept(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t, forever)
		copies := b.open(t, forever, func(s *celeryresults.Settings) { s.ResultExtended = false })
		tables, err := resultschema.Django.Inspect(t.Context(), b.db, b.dialect)
		require.NoError(t, err)
		for _, r := range recordings(t) {
			r.insert(t, b, tables)
			if r.TaskID == "" {
				r.checkGroup(t, backend)
				continue
			}
			meta := get(t, backend, r.TaskID)
			r.check(t, meta)
			row := b.row(t, r.TaskID)
			require.NoError(t, copies.StoreResult(t.Context(), meta, celeryresults.Override), r.Case)
			again := get(t, backend, r.TaskID)
			r.check(t, again)
			assert.Equal(t, meta.Row.ID, again.Row.ID)
			assert.Equal(t, meta.DateCreated, again.DateCreated)
			assert.Equal(t, meta.DateStarted, again.DateStarted)
			after := b.row(t, r.TaskID)
			for _, column := range []string{"status", "content_type", "result", "traceback", "task_args", "task_kwargs", "task_name", "worker", "date_created"} {
				assert.Equal(t, row[column], after[column], "%s of %s", column, r.TaskID)
			}
		}
	})
}

// check compares all that Python says of a task. What only Go says may stand
// beside it.
func (r record) check(t *testing.T, meta *celeryresults.TaskMeta) {
	t.Helper()
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	got, want := exact(t, printed), exact(t, r.Canon)
	if !meta.State.Ready() {
		delete(want, "date_done") // that of the row's last write, which a copy is
	}
	if r.Case == "unserializable-failure" { // whose message Python makes anew of an object's address
		delete(got["result"].(map[string]any), "exc_message")
		delete(want["result"].(map[string]any), "exc_message")
	}
	for name, value := range want {
		assert.Equal(t, value, got[name], "%s of %s", name, r.TaskID)
	}
}

func (r record) checkGroup(t *testing.T, backend *celeryresults.Backend) {
	t.Helper()
	for range 2 {
		group, err := backend.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		got, err := json.Marshal(group)
		require.NoError(t, err)
		assert.JSONEq(t, string(r.Tuple), string(got))
		require.NoError(t, backend.SaveGroup(t.Context(), group))
	}
}

// exact decodes with numbers as their digits.
func exact(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}
