package dbbackend_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

func TestTextsThatAColumnCannotHoldAreWholeForGo(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		long := strings.Repeat("ü", 300)
		meta := done("odd", 1)
		meta.State, meta.Result = celeryresults.Failure, celeryresults.NewValue(&celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"a\x00b"}})
		meta.Traceback, meta.Name, meta.Worker, meta.PeriodicTaskName = "line\x00line", "task\x00"+long, "w\x00", long
		meta.GroupID, meta.ParentID = "group\x00", "parent\x00"
		meta.Meta = celeryresults.NewValue(map[string]any{"nul\x00": "x\x00y", "long": long, strings.Repeat("n", 100): "v"})
		store(t, backend, meta)
		got := get(t, backend, "odd")
		assert.Equal(t, []string{meta.Traceback, meta.Name, meta.Worker, meta.PeriodicTaskName, meta.GroupID, meta.ParentID},
			[]string{got.Traceback, got.Name, got.Worker, got.PeriodicTaskName, got.GroupID, got.ParentID})
		assert.Equal(t, plain(t, meta.Meta), plain(t, got.Meta))
		require.EqualError(t, got.Err(), "ValueError: a\x00b")

		row := b.row(t, "odd")
		assert.Equal(t, "line␀line", row["traceback"])
		assert.Equal(t, "w␀", row["worker"])
		wantName, wantPeriodic := "task␀"+strings.Repeat("ü", 249)+"…", strings.Repeat("ü", 254)+"…"
		if b.dialect == sqldialect.SQLite { // whose columns have no limit
			wantName, wantPeriodic = "task␀"+long, long
		}
		assert.Equal(t, wantName, row["task_name"])
		assert.Equal(t, wantPeriodic, row["periodic_task_name"])
		if b.has(t, resultschema.TaskTable, "group_id") {
			assert.Nil(t, row["group_id"])
		}
	})
}

func TestTextsThatFitAreNotKeptTwice(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		meta := done("fits", 1)
		meta.Traceback, meta.Name, meta.Worker, meta.PeriodicTaskName = "", strings.Repeat("ü", 255), strings.Repeat("w", 100), strings.Repeat("p", 255)
		store(t, b.open(t), meta)
		row := b.row(t, "fits")
		assert.Equal(t, meta.Name, row["task_name"])
		assert.Equal(t, `{"children": [], "retries": 0}`, row["meta"])
	})
}

func TestTextsThatAreNotUTF8AreMadeSoOrRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend, meta := b.open(t), done("latin", 1)
		meta.Traceback, meta.Name = "caf\xe9", "n\xff"
		meta.Args = celeryresults.NewValue("a\xff")
		store(t, backend, meta)
		got := get(t, backend, "latin")
		assert.Equal(t, []string{"caf\uFFFD", "n\uFFFD", "a\uFFFD"}, []string{got.Traceback, got.Name, got.Row.Args})
		for _, set := range []func(*celeryresults.TaskMeta){
			func(m *celeryresults.TaskMeta) { m.Queue = "q\xff" }, func(m *celeryresults.TaskMeta) { m.GroupID = "g\xff" },
			func(m *celeryresults.TaskMeta) { m.Result = celeryresults.NewValue("r\xff") },
		} {
			meta := done("refused", 1)
			set(meta)
			err := backend.StoreResult(t.Context(), meta)
			require.ErrorIs(t, err, python.ErrUnsupported)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		}
	})
}

func TestIDsThatAColumnCannotHoldAreRefused(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		ids := []string{"nul\x00", "latin\xff"}
		if b.dialect != sqldialect.SQLite {
			ids = append(ids, strings.Repeat("ü", 256))
		}
		for _, id := range ids {
			err := backend.StoreResult(t.Context(), done(id, 1))
			require.ErrorIs(t, err, celeryresults.ErrBadID)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
			assert.Less(t, len(err.Error()), 1000)
			_, err = backend.GetTaskMeta(t.Context(), id)
			require.ErrorIs(t, err, celeryresults.ErrBadID)
			_, err = backend.GetMany(t.Context(), []string{"fine", id})
			require.ErrorIs(t, err, celeryresults.ErrBadID)
			_, err = backend.WaitFor(t.Context(), id)
			require.ErrorIs(t, err, celeryresults.ErrBadID)
			require.ErrorIs(t, backend.Forget(t.Context(), id), celeryresults.ErrBadID)
			require.ErrorIs(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: id}), celeryresults.ErrBadID)
			_, err = backend.RestoreGroup(t.Context(), id)
			require.ErrorIs(t, err, celeryresults.ErrBadID)
			require.ErrorIs(t, backend.DeleteGroup(t.Context(), id), celeryresults.ErrBadID)
			chord := celeryresults.Chord{ID: "chord", Members: []string{id}}
			require.ErrorIs(t, backend.StartChord(t.Context(), chord), celeryresults.ErrBadID)
			require.ErrorIs(t, backend.ReportPart(t.Context(), "chord", id, nil), celeryresults.ErrBadID)
			require.ErrorIs(t, backend.ReportPart(t.Context(), id, "fine", nil), celeryresults.ErrBadID)
		}
		for _, id := range []string{strings.Repeat("ü", 255), " ", "'\"\\;--%_", "é"} {
			store(t, backend, done(id, id))
			assert.Equal(t, fmt.Sprintf("%q", id), plain(t, get(t, backend, id).Result))
		}
	})
}

func TestStatesThatAColumnCannotHoldAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		states := []celeryresults.State{"", "A\x00", "A\xff"}
		if b.dialect != sqldialect.SQLite {
			states = append(states, celeryresults.State(strings.Repeat("S", 51)))
		}
		for _, state := range states {
			err := backend.StoreResult(t.Context(), inState("odd", state))
			require.Error(t, err)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
			assert.Equal(t, state == "", errors.Is(err, celeryresults.ErrNoState))
		}
		long := celeryresults.State(strings.Repeat("S", 50))
		store(t, backend, inState("long", long))
		assert.Equal(t, long, get(t, backend, "long").State)
	})
}

// TestIDsThatACollationMixesUpAreKeptApartOrRefused is about MySQL: Django's
// columns take "a" for "A", and ours "a" for "a ".
func TestIDsThatACollationMixesUpAreKeptApartOrRefused(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		spellings := []string{"twin-a", "twin-A", "twin-a ", "twin-á"}
		errs := make([]error, len(spellings))
		started := time.Now()
		everyone(len(spellings), func(i int) { errs[i] = backend.StoreResult(t.Context(), done(spellings[i], i)) })
		stored := 0
		for i, err := range errs {
			got := get(t, backend, spellings[i])
			if err != nil {
				require.ErrorIs(t, err, celeryresults.ErrBadID)
				assert.True(t, got.Unknown, spellings[i])
				continue
			}
			stored++
			assert.Equal(t, fmt.Sprint(i), plain(t, got.Result))
		}
		assert.Positive(t, stored)
		if b.dialect != sqldialect.MySQL {
			assert.Equal(t, len(spellings), stored)
		}
		groups := 0
		for _, id := range spellings {
			err := backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: id})
			if err == nil {
				groups++
			} else {
				require.ErrorIs(t, err, celeryresults.ErrBadID)
			}
		}
		assert.Equal(t, stored, groups)
		require.NoError(t, backend.Forget(t.Context(), "TWIN-A"))
		assert.Equal(t, stored, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable))
		assert.Less(t, time.Since(started), 10*time.Second)
	})
}

func TestArgumentsOverTheLimitLeaveTheirSizeAndHash(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t, func(s *celeryresults.Settings) { s.DjangoDB.ArgsLimit = 100 })
		meta := done("cut", 1)
		meta.Name = "shop.import"
		meta.Args = celeryresults.NewValue([]any{strings.Repeat("x", 5000)})
		meta.Kwargs = celeryresults.NewValue(map[string]any{"small": 1})
		store(t, backend, meta)
		encoded := `["` + strings.Repeat("x", 5000) + `"]`
		sum := sha256.Sum256([]byte(encoded))
		for range 2 {
			got := get(t, backend, "cut")
			require.NotNil(t, got.Row.ArgsCut)
			assert.Equal(t, celeryresults.Cut{Size: len(encoded), SHA256: hex.EncodeToString(sum[:])}, *got.Row.ArgsCut)
			assert.Nil(t, got.Row.KwargsCut)
			assert.JSONEq(t, `{"small": 1}`, plain(t, got.Kwargs))
			assert.True(t, strings.HasPrefix(got.Row.Args, "('xxxx"), got.Row.Args)
			assert.LessOrEqual(t, len(got.Row.Args), 1100)
			text, err := celeryresults.As[string](got.Args)
			require.NoError(t, err)
			assert.Equal(t, got.Row.Args, text)
			require.NoError(t, backend.StoreResult(t.Context(), got, celeryresults.Override), "what was read, stored again")
		}
	})
}

func TestNegativeArgsLimitKeepsTheTextsAlone(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend, meta := b.open(t, func(s *celeryresults.Settings) { s.DjangoDB.ArgsLimit = -1 }), known("none")
		meta.DateDone = time.Time{}
		store(t, backend, meta)
		got := get(t, backend, "none")
		assert.Equal(t, "(2, 'zwei', None)", got.Row.Args)
		assert.Equal(t, "{'deep': [True]}", got.Row.Kwargs)
		require.NotNil(t, got.Row.ArgsCut)
		assert.NotContains(t, b.row(t, "none")["meta"], "zwei")
	})
}

func TestARedactedArgumentIsNowhereInTheRow(t *testing.T) {
	const secret = "4111-1111"
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		app, err := celeryresults.NewApp(b.settings(), backend, nil)
		require.NoError(t, err)
		request := &celeryresults.Request{
			ID: "paid", Task: "shop.pay", Args: []any{secret, 5}, Kwargs: map[string]any{"card": secret, "amount": 5},
			ArgsRepr: "('<card>', 5)", KwargsRepr: "{'card': '<card>'}", Meta: map[string]any{"tenant": "acme"},
		}
		require.NoError(t, app.RecordPending(t.Context(), request))
		for range 2 {
			row := b.row(t, "paid")
			assert.NotContains(t, fmt.Sprint(row), secret)
			assert.Equal(t, `"('<card>', 5)"`, row["task_args"])
			got := get(t, backend, "paid")
			assert.Equal(t, []string{"('<card>', 5)", "{'card': '<card>'}"}, []string{got.Row.Args, got.Row.Kwargs})
			require.NoError(t, app.MarkAsRetry(t.Context(), request, errors.New("later")))
		}
	})
}

func TestLargeArgumentsRoundTripWhole(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		var rows []any
		for i := range 700 {
			rows = append(rows, map[string]any{
				"number": i, "when": time.Date(2026, 11, 25, 8, i%60, 0, 5000, time.UTC), "price": python.Decimal("19.99"),
				"tags": []any{"größe", nil, true, map[string]any{"deep": []any{1.5}}}, "raw": []byte{0, byte(i), 255},
			})
		}
		for _, serializer := range []string{"json", "pickle"} {
			backend := b.open(t, func(s *celeryresults.Settings) {
				s.ResultSerializer, s.ResultAcceptContent = serializer, []string{serializer}
			})
			meta := done("large-"+serializer, 1)
			meta.Name = "shop.import"
			meta.Args, meta.Kwargs = celeryresults.NewValue([]any{rows}), celeryresults.NewValue(map[string]any{"rows": rows})
			store(t, backend, meta)
			got := get(t, backend, meta.TaskID)
			assert.Greater(t, len(b.row(t, meta.TaskID)["meta"].(string)), 100_000)
			assert.Equal(t, plain(t, meta.Args), plain(t, got.Args))
			assert.Equal(t, plain(t, meta.Kwargs), plain(t, got.Kwargs))
			assert.LessOrEqual(t, len(got.Row.Args), 1100)
			assert.Nil(t, got.Row.ArgsCut)
		}
	})
}

func TestMetadataThatIsNoMappingIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		for _, odd := range []any{"text", []any{1}, python.Dict{{Key: 1, Value: 2}}, map[string]any{"": 1}} {
			meta := done("odd", 1)
			meta.Meta = celeryresults.NewValue(odd)
			err := backend.StoreResult(t.Context(), meta)
			require.Error(t, err, "%v", odd)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		}
	})
}
