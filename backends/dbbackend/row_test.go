package dbbackend_test

import (
	"encoding/base64"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// known is a meta with everything that a row or its column meta has a place for.
func known(id string) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: id, State: celeryresults.Success,
		Result:      celeryresults.NewValue(python.Dict{{Key: "sum", Value: 5}, {Key: "note", Value: "grün"}}),
		Children:    []celeryresults.ResultTuple{{ID: "child", Parent: &celeryresults.ResultTuple{ID: id}}},
		DateDone:    start,
		DateCreated: start.Add(-3 * time.Second), DateStarted: start.Add(-2 * time.Second),
		GroupID: "group-1", ParentID: "parent-1", RootID: "root-1",
		Name: "shop.add", Worker: "w1@host", Retries: 2, Queue: "billing", PeriodicTaskName: "nightly",
		Args:           celeryresults.NewValue([]any{2, "zwei", nil}),
		Kwargs:         celeryresults.NewValue(python.Dict{{Key: "deep", Value: []any{true}}}),
		Meta:           celeryresults.NewValue(python.Dict{{Key: "tenant", Value: "acme"}, {Key: "cost", Value: 12}, {Key: "status", Value: "mine"}}),
		StampedHeaders: []string{"stamp"},
		Extra: []celeryresults.Extra{
			{Name: "stamp", Value: celeryresults.NewValue([]any{"s"})}, {Name: "other", Value: celeryresults.NewValue(1.5)},
		},
	}
}

const knownColumnMeta = `{"children": [[["child", [["` + `{id}` + `", null], null]], null]], "retries": 2, "queue": "billing", ` +
	`"celeryresults.args": [2, "zwei", null], "celeryresults.kwargs": {"deep": [true]}, ` +
	`"group_id": "group-1", "parent_id": "parent-1", "root_id": "root-1", "stamped_headers": ["stamp"], "stamp": ["s"], ` +
	`"celeryresults.extra": {"other": 1.5}, "tenant": "acme", "cost": 12, "celeryresults.meta": {"status": "mine"}}`

func forever(s *celeryresults.Settings) {
	s.ResultExpires = celeryresults.Never
	s.DjangoDB.UnfinishedExpires = celeryresults.Never
}

func TestEveryColumnIsWrittenAsDjangoWritesIt(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		store(t, b.open(t, forever), known("task-1"))
		row := b.row(t, "task-1")
		want := map[string]any{
			"task_id": "task-1", "status": "SUCCESS", "content_type": "application/json", "content_encoding": "utf-8",
			"result":    `{"sum": 5, "note": "gr\u00fcn"}`,
			"traceback": nil,
			"task_args": `"(2, 'zwei', None)"`, "task_kwargs": `"{'deep': [True]}"`,
			"task_name": "shop.add", "worker": "w1@host", "periodic_task_name": "nightly",
			"date_done": start, "date_created": start.Add(-3 * time.Second), "date_started": start.Add(-2 * time.Second),
			"group_id": "group-1",
			"meta":     strings.ReplaceAll(knownColumnMeta, "{id}", "task-1"),
		}
		for _, column := range []string{"date_started", "group_id"} {
			if !b.has(t, resultschema.TaskTable, column) {
				delete(want, column)
			}
		}
		id := row["id"]
		delete(row, "id")
		assert.Equal(t, want, row)
		assert.EqualValues(t, 1, id)
	})
}

func TestEverythingIsReadBack(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend, want := b.open(t, forever), known("task-1")
		store(t, backend, want)
		many, err := backend.GetMany(t.Context(), []string{"task-1"})
		require.NoError(t, err)
		for _, got := range []*celeryresults.TaskMeta{get(t, backend, "task-1"), many[0]} {
			assert.Equal(t, want.Children, got.Children)
			assert.Equal(t, []any{want.DateDone, want.DateCreated}, []any{got.DateDone, got.DateCreated})
			assert.Equal(t, want.StampedHeaders, got.StampedHeaders)
			for _, pair := range [][2]any{
				{want.State, got.State}, {want.GroupID, got.GroupID}, {want.ParentID, got.ParentID}, {want.RootID, got.RootID}, {want.Name, got.Name},
				{want.Worker, got.Worker}, {want.Retries, got.Retries}, {want.Queue, got.Queue}, {want.PeriodicTaskName, got.PeriodicTaskName}, {true, got.Extended},
			} {
				assert.Equal(t, pair[0], pair[1])
			}
			for _, pair := range [][2]celeryresults.Value{{want.Result, got.Result}, {want.Args, got.Args}, {want.Kwargs, got.Kwargs}} {
				assert.JSONEq(t, plain(t, pair[0]), plain(t, pair[1]))
			}
			assert.JSONEq(t, `{"tenant": "acme", "cost": 12, "status": "mine"}`, plain(t, got.Meta))
			stamp, _ := got.ExtraValue("stamp")
			other, _ := got.ExtraValue("other")
			assert.Equal(t, `["s"] 1.5`, plain(t, stamp)+" "+plain(t, other))
			assert.Equal(t, celeryresults.Row{
				ID: 1, Updated: start, Args: "(2, 'zwei', None)", Kwargs: "{'deep': [True]}",
			}, *got.Row)
			if b.has(t, resultschema.TaskTable, "date_started") {
				assert.Equal(t, want.DateStarted, got.DateStarted)
			}
		}
	})
}

func TestWithoutResultExtendedTheRowSaysLittle(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t, forever, func(s *celeryresults.Settings) { s.ResultExtended = false })
		store(t, backend, known("task-1"))
		row := b.row(t, "task-1")
		for _, column := range []string{"task_name", "worker", "task_args", "task_kwargs"} {
			assert.Nil(t, row[column], column)
		}
		assert.NotContains(t, row["meta"], "zwei")
		got := get(t, backend, "task-1")
		assert.False(t, got.Extended)
		assert.Equal(t, "nightly", got.PeriodicTaskName)
	})
}

// TestTimesOfARow follows a task through its states.
func TestTimesOfARow(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, forever)
		created := start.Add(-time.Second)
		first := inState("task", celeryresults.Pending)
		first.DateCreated = created
		steps := []struct {
			meta            *celeryresults.TaskMeta
			started, doneAt time.Time
		}{
			{first, time.Time{}, time.Time{}},
			{inState("task", celeryresults.Started), start.Add(1 * time.Minute), time.Time{}},
			{inState("task", "PROGRESS"), start.Add(1 * time.Minute), time.Time{}},
			{inState("task", celeryresults.Retry), start.Add(1 * time.Minute), time.Time{}},
			{inState("task", celeryresults.Started), start.Add(4 * time.Minute), time.Time{}},
			{done("task", 1), start.Add(4 * time.Minute), start.Add(5 * time.Minute)},
		}
		for i, step := range steps {
			now = start.Add(time.Duration(i) * time.Minute)
			store(t, backend, step.meta)
			row, got := b.row(t, "task"), get(t, backend, "task")
			assert.Equal(t, created, row["date_created"], "%d", i)
			assert.Equal(t, now, row["date_done"], "%d: every write sets it", i)
			assert.Equal(t, now, got.Row.Updated, "%d", i)
			assert.Equal(t, step.doneAt, got.DateDone, "%d: only when it is ready", i)
			assert.Equal(t, step.started, got.DateStarted, "%d", i)
			assert.Equal(t, created, got.DateCreated, "%d", i)
		}
		got := get(t, backend, "task")
		waiting, _ := got.WaitingTime()
		processing, _ := got.ProcessingTime()
		total, _ := got.TotalTime()
		assert.Equal(t, []time.Duration{4*time.Minute + time.Second, time.Minute, 5*time.Minute + time.Second}, []time.Duration{waiting, processing, total})
	})
}

func TestTimesAreInUTCWhateverTheirZone(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		meta := known("zoned")
		zone := time.FixedZone("", 5*3600+1800)
		meta.DateDone, meta.DateCreated, meta.DateStarted = meta.DateDone.In(zone).Add(789), meta.DateCreated.In(zone), meta.DateStarted.In(zone)
		backend := b.open(t, forever)
		store(t, backend, meta)
		got := get(t, backend, "zoned")
		assert.Equal(t, []time.Time{start, start.Add(-3 * time.Second), start.Add(-2 * time.Second)}, []time.Time{got.DateDone, got.DateCreated, got.DateStarted})
		if text, ok := b.rows(t, `SELECT date_done FROM `+resultschema.TaskTable)[0]["date_done"].(string); ok {
			assert.Equal(t, "2026-11-25 12:00:00.123456", text)
		}
	})
}

func TestTimesThatNoTableHoldsAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t, forever)
		for _, year := range []int{-4, 0, 10_000, 300_000} {
			odd := time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)
			for _, set := range []func(*celeryresults.TaskMeta){
				func(m *celeryresults.TaskMeta) { m.DateDone = odd },
				func(m *celeryresults.TaskMeta) { m.DateCreated = odd },
				func(m *celeryresults.TaskMeta) { m.DateStarted = odd },
			} {
				meta := done("odd", 1)
				set(meta)
				err := backend.StoreResult(t.Context(), meta)
				require.Error(t, err, year)
				assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err), err)
			}
		}
		assert.True(t, get(t, backend, "odd").Unknown)
	})
}

// pythonValues are values that only some serializers hold.
var pythonValues = map[string]any{
	"text": "grün \x00 ☃", "integer": int64(-5), "big": new(big.Int).Lsh(big.NewInt(1), 100), "float": 1.5, "infinite": math.Inf(1),
	"list": []any{int64(1), nil, true}, "dict": python.Dict{{Key: "a", Value: []any{"b"}}}, "bytes": []byte{0, 255, 128},
	"date": python.Date{Year: 2026, Month: 11, Day: 25}, "tuple": python.Tuple{int64(1), "x"}, "decimal": python.Decimal("1.50"),
}

func TestEverySerializerRoundTrips(t *testing.T) {
	skip := map[string]string{"yaml": "date decimal tuple", "msgpack": "date decimal tuple big"}
	onEach(t, func(t *testing.T, b base) {
		for _, name := range []string{"json", "pickle", "yaml", "msgpack"} {
			backend := b.open(t, func(s *celeryresults.Settings) {
				s.ResultSerializer, s.ResultAcceptContent = name, []string{name}
			})
			for kind, value := range pythonValues {
				if strings.Contains(skip[name], kind) {
					continue
				}
				id := name + "-" + kind
				meta := known(id)
				meta.DateDone = time.Time{}
				meta.Result, meta.Args = celeryresults.NewValue(value), celeryresults.NewValue([]any{value})
				store(t, backend, meta)
				got := get(t, backend, id)
				assert.Equal(t, plain(t, celeryresults.NewValue(value)), plain(t, got.Result), id)
				assert.Equal(t, plain(t, celeryresults.NewValue([]any{value})), plain(t, got.Args), id)
				assert.Equal(t, "{'deep': [True]}", got.Row.Kwargs, id)
				assert.Equal(t, meta.Children, got.Children, id)
				row := b.row(t, id)
				assert.Equal(t, name == "pickle" || name == "msgpack", row["content_encoding"] == "binary")
				for _, column := range []string{"result", "meta", "task_args"} {
					if row["content_encoding"] == "binary" {
						_, err := base64.StdEncoding.DecodeString(row[column].(string))
						assert.NoError(t, err, "%s of %s", column, id)
					}
				}
			}
			group := celeryresults.ResultTuple{ID: name, Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}}}
			require.NoError(t, backend.SaveGroup(t.Context(), group))
			restored, err := backend.RestoreGroup(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, group, restored)
		}
	})
}

func TestContentThatIsNotAcceptedHidesOnlyItself(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		writer := b.open(t, forever, func(s *celeryresults.Settings) {
			s.ResultSerializer, s.ResultAcceptContent = "pickle", []string{"pickle"}
		})
		store(t, writer, known("pickled"), known("strange"))
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET content_type = 'application/x-strange' WHERE task_id = 'strange'`)
		require.NoError(t, writer.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "pickled group"}))
		reader := b.open(t, forever)
		for _, id := range []string{"pickled", "strange"} {
			got := get(t, reader, id)
			assert.Equal(t, celeryresults.Success, got.State)
			assert.Equal(t, []any{start, "shop.add", "w1@host", "group-1"}, []any{got.DateDone, got.Name, got.Worker, got.GroupID})
			_, err := got.Result.Any()
			assert.Error(t, err)
			_, err = celeryresults.NewAsyncResult(id, reader).State(t.Context())
			assert.NoError(t, err)
		}
		_, err := reader.RestoreGroup(t.Context(), "pickled group")
		var unreadable *celeryresults.UnreadableError
		require.ErrorAs(t, err, &unreadable)
		metas, err := reader.GetMany(t.Context(), []string{"pickled", "strange"})
		require.NoError(t, err)
		assert.Len(t, metas, 2)
	})
}

func TestBrokenColumnsHideNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t, forever)
		store(t, backend, known("broken"), known("whole"))
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET result = '{', meta = '{"children": [], "queue": "q", "x": {', task_args = 'bare (1, 2)', task_kwargs = NULL WHERE task_id = 'broken'`)
		got := get(t, backend, "broken")
		assert.Equal(t, []any{celeryresults.Success, "shop.add", "q"}, []any{got.State, got.Name, got.Queue})
		assert.Equal(t, []string{"bare (1, 2)", ""}, []string{got.Row.Args, got.Row.Kwargs})
		_, err := got.Result.Any()
		assert.Error(t, err)
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET status = '' WHERE task_id = 'broken'`)
		_, err = backend.GetTaskMeta(t.Context(), "broken")
		var unreadable *celeryresults.UnreadableError
		require.ErrorAs(t, err, &unreadable)
		assert.Equal(t, "broken", unreadable.ID)
		metas, err := backend.GetMany(t.Context(), []string{"whole", "broken", "unknown"})
		require.ErrorAs(t, err, &unreadable)
		require.Len(t, metas, 3)
		assert.Nil(t, metas[1])
		assert.Equal(t, []celeryresults.State{celeryresults.Success, celeryresults.Pending}, []celeryresults.State{metas[0].State, metas[2].State})
		page, err := backend.List(t.Context(), celeryresults.Query{})
		require.NoError(t, err)
		assert.Len(t, page.Results, 1)
	})
}

// TestATimeThatIsNoneHidesNothingElse is about SQLite, whose columns take any
// text.
func TestATimeThatIsNoneHidesNothingElse(t *testing.T) {
	b := openBase(t, engines[0].fresh(t))
	b.migrate(t, dbbackend.MigrateOptions{})
	require.Equal(t, sqldialect.SQLite, b.dialect)
	backend := b.open(t)
	store(t, backend, done("odd", 1), done("whole", 2))
	b.exec(t, `UPDATE `+resultschema.TaskTable+` SET date_done = 'soon', date_created = x'ff', date_started = 5 WHERE task_id = 'odd'`)
	metas, err := backend.GetMany(t.Context(), []string{"odd", "whole"})
	require.NoError(t, err)
	assert.Equal(t, []celeryresults.State{celeryresults.Success, celeryresults.Success}, []celeryresults.State{metas[0].State, metas[1].State})
	assert.True(t, get(t, backend, "odd").DateDone.IsZero())
	page, err := backend.List(t.Context(), celeryresults.Query{})
	require.NoError(t, err)
	assert.Len(t, page.Results, 2)
	require.ErrorIs(t, backend.StoreResult(t.Context(), inState("odd", celeryresults.Failure)), celeryresults.ErrRefused)
}
