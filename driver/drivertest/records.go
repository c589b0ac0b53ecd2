package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

func unknownIsPending(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	meta := get(t, b, newID("unknown"))
	assert.Equal(t, celeryresults.Pending, meta.State)
	assert.True(t, meta.Result.IsZero())
	assert.Nil(t, meta.Children)
}

func emptyID(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	require.ErrorIs(t, b.StoreResult(t.Context(), done("", 1)), celeryresults.ErrNoTaskID)
	_, err := b.GetTaskMeta(t.Context(), "")
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	_, err = b.GetMany(t.Context(), []string{"a", ""})
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	require.ErrorIs(t, b.Forget(t.Context(), ""), celeryresults.ErrNoTaskID)
	_, err = celeryresults.NewAsyncResult("", b).Get(t.Context())
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
}

var huge, _ = new(big.Int).SetString("1267650600228229401496703205376", 10)

// values are Python values that every serializer holds.
var values = map[string]any{
	"none": nil, "true": true, "zero": int64(0), "negative": int64(-5),
	"largest int64": int64(math.MaxInt64), "smallest int64": int64(math.MinInt64),
	"float": 0.30000000000000004, "whole float": 3.0, "tiny": 5e-324, "infinite": math.Inf(-1),
	"text": "héllo wörld 🎉", "empty": "", "markup": "</script> \" \\ \u2028", "NUL": "a\x00b",
	"list":  []any{int64(1), "two", 3.5, nil, []any{true, map[string]any{}}},
	"dict":  map[string]any{"a": int64(1), "nested": map[string]any{"b": []any{int64(1), int64(2)}}},
	"bytes": []byte("plain bytes"), "binary": []byte{0, 0xff, 0xfe, 0x80},
}

// richValues are values that json and pickle hold, and neither yaml nor msgpack.
var richValues = map[string]any{
	"time":    python.Time{Hour: 23, Minute: 59, Second: 59, Microsecond: 5},
	"decimal": python.Decimal("12345678901234567890.0000000001"),
	"uuid":    python.UUID{0x12, 0x34, 0x56, 0x78},
	"nested":  []any{python.Decimal("1.50"), map[string]any{"at": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
}

func valuesRoundTrip(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	for name, value := range values {
		assertRoundTrip(t, b, name, value)
	}
	for name, value := range richValues {
		if h.PlainValues {
			assertRefusedValue(t, b, name, value)
			continue
		}
		assertRoundTrip(t, b, name, value)
	}
}

func assertRoundTrip(t *testing.T, b *celeryresults.Backend, name string, value any) {
	t.Helper()
	id := newID("value")
	store(t, b, done(id, value))
	got, err := get(t, b, id).Result.Any()
	require.NoError(t, err, name)
	assertSame(t, value, got, name)
}

// assertRefusedValue checks that a value which the serializer can't hold is an
// error, and that nothing is stored.
func assertRefusedValue(t *testing.T, b *celeryresults.Backend, name string, value any) {
	t.Helper()
	id := newID("value")
	require.Error(t, b.StoreResult(t.Context(), done(id, value)), name)
	assert.Equal(t, celeryresults.Pending, get(t, b, id).State, name)
}

func datesRoundTrip(t *testing.T, h Harness) {
	if h.PlainValues {
		t.Log("yaml and msgpack have their own rules for dates, which their packages test")
		return
	}
	b := open(t, h, celeryresults.Settings{})
	for name, value := range map[string]any{
		"big int": huge,
		"aware":   time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.UTC),
		"naive":   python.DateTime{Time: time.Date(2026, 11, 21, 8, 30, 15, 0, time.UTC)},
		"date":    python.Date{Year: 2026, Month: 2, Day: 28},
	} {
		assertRoundTrip(t, b, name, value)
	}
}

// assertSame compares values; instants by the moment they mean.
func assertSame(t *testing.T, want, got any, name string) {
	t.Helper()
	assert.Equal(t, string(python.JSON(nil, want)), string(python.JSON(nil, got)), name)
	assert.IsType(t, want, got, name)
}

func typedResults(t *testing.T, h Harness) {
	type invoice struct {
		Number int             `json:"number"`
		Total  python.Decimal  `json:"total"`
		Paid   time.Time       `json:"paid"`
		Lines  []string        `json:"lines"`
		Tags   map[string]bool `json:"tags"`
	}
	want := invoice{7, "19.99", time.Date(2026, 11, 21, 8, 0, 0, 5000, time.UTC), []string{"a", "b"}, map[string]bool{"x": true}}
	b := open(t, h, celeryresults.Settings{})
	id := newID("typed")
	if h.PlainValues {
		assertRefusedValue(t, b, "a struct with a Decimal", want)
		return
	}
	store(t, b, done(id, want))
	got, err := celeryresults.Get[invoice](withTimeout(t, time.Minute), celeryresults.NewAsyncResult(id, b))
	require.NoError(t, err)
	assert.True(t, want.Paid.Equal(got.Paid), "got %v", got.Paid)
	got.Paid = want.Paid
	assert.Equal(t, want, got)
	_, err = celeryresults.Get[[]int](withTimeout(t, time.Minute), celeryresults.NewAsyncResult(id, b))
	assert.Error(t, err, "a dict is no list of numbers")
}

// transitions stores every pair of states and asks MayReplace what must stand.
func transitions(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	states := []celeryresults.State{
		celeryresults.Pending, celeryresults.Received, celeryresults.Started, celeryresults.Retry, "PROGRESS",
		celeryresults.Success, celeryresults.Failure, celeryresults.Revoked,
	}
	for _, stands := range states {
		for _, next := range states {
			id := newID("transition")
			store(t, b, metaOf(id, stands))
			err := b.StoreResult(t.Context(), metaOf(id, next))
			want := stands
			if next.MayReplace(stands) {
				want = next
				assert.NoError(t, err, "%s over %s", next, stands)
			} else {
				assert.ErrorIs(t, err, celeryresults.ErrRefused, "%s over %s", next, stands)
			}
			assert.Equal(t, want, get(t, b, id).State, "%s over %s", next, stands)
		}
	}
}

// pendingNowhere tells the rule without asking MayReplace, and checks what that says.
func pendingNowhere(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	stands := []celeryresults.State{
		celeryresults.Pending, celeryresults.Received, celeryresults.Started, celeryresults.Retry, celeryresults.Rejected,
		celeryresults.Ignored, "PROGRESS", celeryresults.Success, celeryresults.Failure, celeryresults.Revoked,
	}
	for _, state := range stands {
		assert.False(t, celeryresults.Pending.MayReplace(state), "%s", state)
		assert.True(t, state.MayReplace(""), "%s where nothing stands", state)
		id := newID("pending")
		store(t, b, metaOf(id, state))
		var refused *celeryresults.RefusedError
		require.ErrorAs(t, b.StoreResult(t.Context(), metaOf(id, celeryresults.Pending)), &refused, "over %s", state)
		assert.Equal(t, celeryresults.RefusedError{TaskID: id, Stands: state, Stored: celeryresults.Pending}, *refused)
		assert.Equal(t, state, get(t, b, id).State)
		require.NoError(t, b.Forget(t.Context(), id))
		store(t, b, metaOf(id, celeryresults.Pending))
		assert.False(t, get(t, b, id).Unknown, "it is recorded")
		require.NoError(t, b.StoreResult(t.Context(), metaOf(id, celeryresults.Success)))
	}
}

// sameBytes stores a record whose maps are gone through in another order each time.
func sameBytes(t *testing.T, h Harness) {
	if h.Raw == nil {
		t.Log("the bytes in the store are not shown")
		return
	}
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	id := newID("bytes")
	many := func() map[string]any {
		m := map[string]any{}
		for i := range 20 {
			m[fmt.Sprint("key ", i)] = map[string]any{"a": i, "b": "text", "c": []any{1, map[string]int{"x": 1, "y": 2}}}
		}
		return m
	}
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	var first []byte
	for range 20 {
		meta := done(id, many())
		meta.DateDone, meta.DateCreated = at, at
		meta.Name, meta.Args, meta.Kwargs, meta.Meta = "t", celeryresults.NewValue([]any{many()}), celeryresults.NewValue(many()), celeryresults.NewValue(many())
		meta.StampedHeaders, meta.Extra = []string{"stamp"}, []celeryresults.Extra{{Name: "stamp", Value: celeryresults.NewValue(many())}}
		require.NoError(t, b.StoreResult(t.Context(), meta, celeryresults.Override))
		raw := h.Raw(t, b, id)
		require.NotEmpty(t, raw)
		if first == nil {
			first = raw
		}
		require.Equal(t, string(first), string(raw))
	}
}

func refusal(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("refused")
	store(t, b, done(id, "first"))
	err := b.StoreResult(t.Context(), failed(id, celeryresults.Failure, errors.New("late")))
	var refused *celeryresults.RefusedError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, celeryresults.RefusedError{TaskID: id, Stands: celeryresults.Success, Stored: celeryresults.Failure}, *refused)
	err = b.StoreResult(t.Context(), done(id, "second"))
	require.ErrorIs(t, err, celeryresults.ErrRefused)
	got, err := celeryresults.As[string](get(t, b, id).Result)
	require.NoError(t, err)
	assert.Equal(t, "first", got)
}

func override(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("override")
	store(t, b, done(id, "first"))
	require.NoError(t, b.StoreResult(t.Context(), metaOf(id, celeryresults.Started), celeryresults.Override))
	assert.Equal(t, celeryresults.Started, get(t, b, id).State)
}

type quotaError struct{ account string }

func (e quotaError) Error() string { return "over quota: " + e.account }

func (e quotaError) PythonException() (string, string, []any) {
	return "QuotaExceeded", "shop.errors", []any{e.account, int64(10)}
}

func failures(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	table := map[string]struct {
		err  error
		want celeryresults.TaskError
	}{
		"a builtin":           {&celeryresults.TaskError{Type: "ZeroDivisionError", Module: "builtins", Args: []any{"division by zero"}}, celeryresults.TaskError{Type: "ZeroDivisionError", Module: "builtins", Args: []any{"division by zero"}}},
		"one of Celery's":     {&celeryresults.TaskError{Type: "MaxRetriesExceededError", Module: "celery.exceptions", Args: []any{"too often"}}, celeryresults.TaskError{Type: "MaxRetriesExceededError", Module: "celery.exceptions", Args: []any{"too often"}}},
		"one of the program":  {quotaError{"acme"}, celeryresults.TaskError{Type: "QuotaExceeded", Module: "shop.errors", Args: []any{"acme", int64(10)}}},
		"a plain Go error":    {errors.New("broke"), celeryresults.TaskError{Type: "Exception", Module: "builtins", Args: []any{"broke"}}},
		"a wrapped Go error":  {fmt.Errorf("outer: %w", quotaError{"x"}), celeryresults.TaskError{Type: "QuotaExceeded", Module: "shop.errors", Args: []any{"x", int64(10)}}},
		"a named Go error":    {&celeryresults.UnreadableError{ID: "i", Err: errors.New("odd")}, celeryresults.TaskError{Type: "UnreadableError", Module: "github.com/celeryresults/celeryresults", Args: []any{"celeryresults: unreadable record of \"i\": odd"}}},
		"without arguments":   {&celeryresults.TaskError{Type: "KeyError", Module: "builtins"}, celeryresults.TaskError{Type: "KeyError", Module: "builtins"}},
		"typed arguments":     {&celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{int64(1), []any{"a"}, python.Decimal("1.5")}}, celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{int64(1), []any{"a"}, python.Decimal("1.5")}}},
		"with a dotted class": {&celeryresults.TaskError{Type: "Model.DoesNotExist", Module: "shop.models", Args: []any{"gone"}}, celeryresults.TaskError{Type: "Model.DoesNotExist", Module: "shop.models", Args: []any{"gone"}}},
	}
	for name, row := range table {
		if h.PlainValues && name == "typed arguments" {
			continue // see failureWithOddArguments
		}
		id := newID("failure")
		store(t, b, failed(id, celeryresults.Failure, row.err))
		meta := get(t, b, id)
		var got *celeryresults.TaskError
		require.ErrorAs(t, meta.Err(), &got, name)
		assert.Equal(t, row.want.Type, got.Type, name)
		assert.Equal(t, row.want.Module, got.Module, name)
		assert.Equal(t, plain(row.want.Args), plain(got.Args), name)
		assert.Contains(t, got.Traceback, "Traceback", name)
		assert.ErrorIs(t, meta.Err(), &celeryresults.TaskError{Type: row.want.Type}, name)
		_, err := celeryresults.NewAsyncResult(id, b).Get(withTimeout(t, time.Minute))
		assert.ErrorAs(t, err, &got, name)
	}
}

// plain returns the arguments as JSON, none as an empty list.
func plain(args []any) string { return string(python.JSON(nil, append([]any{}, args...))) }

func failureWithOddArguments(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("odd")
	odd := &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"kept", make(chan int)}}
	store(t, b, failed(id, celeryresults.Failure, odd))
	var got *celeryresults.TaskError
	require.ErrorAs(t, get(t, b, id).Err(), &got)
	assert.Equal(t, []any{"kept", "<chan int>"}, got.Args)
	assert.Error(t, b.StoreResult(t.Context(), done(newID("odd"), make(chan int))), "a value that can't be stored is an error")
}

func retryAndRevoked(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	for _, state := range []celeryresults.State{celeryresults.Retry, celeryresults.Revoked} {
		id := newID("exception")
		store(t, b, failed(id, state, &celeryresults.TaskError{Type: "ConnectionError", Module: "builtins", Args: []any{"upstream closed"}}))
		meta := get(t, b, id)
		assert.Equal(t, state, meta.State)
		assert.EqualError(t, meta.Err(), "ConnectionError: upstream closed")
		assert.Equal(t, state.Ready(), !meta.DateDone.IsZero())
	}
}

func progress(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("progress")
	meta := metaOf(id, "PROGRESS")
	meta.Result = celeryresults.NewValue(map[string]int{"current": 40, "total": 100})
	store(t, b, meta)
	got := get(t, b, id)
	assert.True(t, got.DateDone.IsZero())
	info, err := celeryresults.As[map[string]int](got.Result)
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"current": 40, "total": 100}, info)
	assert.NoError(t, got.Err())
}

func dateDone(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExpires: celeryresults.Never}) // the time is long ago
	id := newID("date")
	meta := done(id, 1)
	meta.DateDone = time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.FixedZone("", 2*3600))
	store(t, b, meta)
	assert.Equal(t, time.Date(2026, 11, 21, 8, 0, 0, 123456000, time.UTC), get(t, b, id).DateDone)
}

func relations(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("relations")
	meta := done(id, 1)
	meta.ParentID, meta.GroupID = "parent", "group"
	meta.Children = []celeryresults.ResultTuple{
		{ID: "child", Parent: &celeryresults.ResultTuple{ID: id}},
		{ID: "members", Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}}},
	}
	store(t, b, meta)
	got := get(t, b, id)
	assert.Equal(t, meta.Children, got.Children)
	assert.Equal(t, "parent", got.ParentID)
	assert.Equal(t, "group", got.GroupID)
	children, err := celeryresults.NewAsyncResult(id, b).Children(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "[child a b]", fmt.Sprint(children))
}

func extended(t *testing.T, h Harness) {
	plain := open(t, h, celeryresults.Settings{})
	full := open(t, h, celeryresults.Settings{ResultExtended: true})
	for _, b := range []*celeryresults.Backend{plain, full} {
		id := newID("extended")
		meta := done(id, 1)
		meta.Name, meta.Worker, meta.Queue, meta.Retries = "shop.add", "w1@host", "celery", 3
		meta.Args, meta.Kwargs = celeryresults.NewValue([]any{1, "x"}), celeryresults.NewValue(map[string]any{"k": nil})
		store(t, b, meta)
		got := get(t, b, id)
		assert.Equal(t, b == full, got.Extended)
		if !got.Extended {
			assert.Empty(t, got.Name)
			continue
		}
		assert.Equal(t, []any{"shop.add", "w1@host", "celery", 3}, []any{got.Name, got.Worker, got.Queue, got.Retries})
		args, err := got.Args.Any()
		require.NoError(t, err)
		assert.Equal(t, `[1, "x"]`, strings.ReplaceAll(string(python.JSON(nil, args)), ",\"", ", \""))
		kwargs, err := celeryresults.As[map[string]any](got.Kwargs)
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"k": nil}, kwargs)
	}
}

func extras(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExtended: true})
	id := newID("extras")
	meta := done(id, 1)
	meta.Name = "t"
	meta.StampedHeaders = []string{"tenant"}
	meta.Extra = []celeryresults.Extra{{Name: "tenant", Value: celeryresults.NewValue([]string{"acme"})}}
	meta.Meta = celeryresults.NewValue(map[string]any{"owner": "ann"})
	meta.RootID, meta.PeriodicTaskName = "root", "nightly"
	store(t, b, meta)
	got := get(t, b, id)
	assert.Equal(t, []string{"tenant"}, got.StampedHeaders)
	stamp, ok := got.ExtraValue("tenant")
	require.True(t, ok)
	tenants, err := celeryresults.As[[]string](stamp)
	require.NoError(t, err)
	assert.Equal(t, []string{"acme"}, tenants)
	labels, err := celeryresults.As[map[string]string](got.Meta)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"owner": "ann"}, labels)
	assert.Equal(t, []string{"root", "nightly"}, []string{got.RootID, got.PeriodicTaskName})
}

func getMany(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	one, two, unknown := newID("one"), newID("two"), newID("unknown")
	store(t, b, done(one, 1))
	store(t, b, done(two, 2))
	metas, err := b.GetMany(t.Context(), []string{two, unknown, one, two})
	require.NoError(t, err)
	var got []string
	for _, m := range metas {
		value, err := m.Result.Any()
		require.NoError(t, err)
		got = append(got, fmt.Sprint(m.TaskID, m.State, value))
	}
	assert.Equal(t, []string{
		fmt.Sprint(two, "SUCCESS", 2), fmt.Sprint(unknown, "PENDING", nil), fmt.Sprint(one, "SUCCESS", 1), fmt.Sprint(two, "SUCCESS", 2),
	}, got)
	metas, err = b.GetMany(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, metas)
}

func getManyMany(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	prefix := newID("many")
	ids := make([]string, 2500)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%d", prefix, i)
		if i%5 == 0 {
			store(t, b, done(ids[i], i))
		}
	}
	store(t, b, &celeryresults.TaskMeta{TaskID: ids[1], State: celeryresults.Started})
	ids = append(ids, ids[5], ids[1], ids[2])
	want := func(i int) celeryresults.Status {
		switch id := ids[i]; {
		case id == ids[1]:
			return celeryresults.Status{State: celeryresults.Started}
		case i%5 == 0 && i <= 2500: // so is the one behind the last
			return celeryresults.Status{State: celeryresults.Success}
		}
		return celeryresults.Status{State: celeryresults.Pending, Unknown: true}
	}
	metas, err := b.GetMany(t.Context(), ids)
	require.NoError(t, err)
	require.Len(t, metas, len(ids))
	for i, m := range metas {
		require.Equal(t, want(i), m.Status(), "%d", i)
		require.Equal(t, ids[i], m.TaskID)
	}
	statuses, err := b.GetStatuses(t.Context(), ids)
	require.NoError(t, err)
	require.Len(t, statuses, len(ids))
	for i, status := range statuses {
		require.Equal(t, want(i), status, "%d", i)
	}
	none, err := b.GetStatuses(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, none)
	_, err = b.GetStatuses(t.Context(), []string{""})
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
}

func forget(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	ids := []string{newID("forget"), newID("forget"), newID("absent")}
	store(t, b, done(ids[0], 1))
	store(t, b, done(ids[1], 1))
	r := celeryresults.NewAsyncResult(ids[0], b)
	_, err := r.Get(withTimeout(t, time.Minute))
	require.NoError(t, err)
	require.NoError(t, r.Forget(t.Context()))
	state, err := r.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Pending, state)
	require.NoError(t, b.Forget(t.Context(), ids...))
	assert.Equal(t, celeryresults.Pending, get(t, b, ids[1]).State)
	store(t, b, done(ids[0], 2))
}

func expires(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExpires: h.ShortestExpiry})
	id, group := newID("short"), newID("short-group")
	store(t, b, done(id, 1))
	require.NoError(t, b.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: group}))
	if h.Advance != nil {
		h.Advance(h.ShortestExpiry + time.Second)
	}
	require.Eventually(t, func() bool { return get(t, b, id).State == celeryresults.Pending }, 10*time.Second, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := b.RestoreGroup(t.Context(), group)
		return errors.Is(err, celeryresults.ErrUnknownGroup)
	}, 10*time.Second, 20*time.Millisecond)
	store(t, b, metaOf(id, celeryresults.Started))
}

func longExpiry(t *testing.T, h Harness) {
	for _, expiry := range []time.Duration{30 * 24 * time.Hour, 31 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, celeryresults.Never} {
		b := open(t, h, celeryresults.Settings{ResultExpires: expiry})
		id := newID("long")
		store(t, b, metaOf(id, celeryresults.Started))
		store(t, b, done(id, 1))
		if h.Advance != nil {
			h.Advance(29 * 24 * time.Hour)
		}
		assert.Equal(t, celeryresults.Success, get(t, b, id).State, "%s", expiry)
	}
}

// tombstones goes through the five answers that a Lookup has.
func tombstones(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultExpires: h.ShortestExpiry, ResultTombstones: time.Hour})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, b, nil)
	require.NoError(t, err)
	id, ended, unknown := newID("tomb"), newID("ended"), newID("unknown")
	lookup := func(want celeryresults.Phase, id string) {
		t.Helper()
		got, err := app.AsyncResult(id).Lookup(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
		p, err := celeryresults.NewResultSet(app.AsyncResult(id)).Progress(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want == celeryresults.PhaseExpired, p.Expired == 1, "%+v", p)
	}
	long := open(t, h, celeryresults.Settings{ResultTombstones: time.Hour}) // by the clock of whoever is slow
	app2, err := celeryresults.NewApp(celeryresults.Settings{}, long, nil)
	require.NoError(t, err)
	lookup(celeryresults.PhaseUnknown, id)
	require.NoError(t, app2.RecordPending(t.Context(), &celeryresults.Request{ID: id}))
	for _, step := range []struct {
		state celeryresults.State
		want  celeryresults.Phase
	}{
		{celeryresults.Pending, celeryresults.PhaseQueued}, {celeryresults.Started, celeryresults.PhaseRunning}, {celeryresults.Success, celeryresults.PhaseReady},
	} {
		if step.state != celeryresults.Pending {
			store(t, long, metaOf(id, step.state))
		}
		got, err := app2.AsyncResult(id).Lookup(t.Context())
		require.NoError(t, err)
		assert.Equal(t, step.want, got)
	}
	require.NoError(t, long.Forget(t.Context(), id, unknown))
	got, err := app2.AsyncResult(id).Lookup(t.Context())
	require.NoError(t, err)
	assert.Equal(t, celeryresults.PhaseExpired, got, "it is forgotten")
	gone := get(t, long, id)
	assert.True(t, gone.Unknown && gone.Expired && gone.Result.IsZero() && gone.Name == "", "%+v", gone)
	lookup(celeryresults.PhaseUnknown, unknown)

	store(t, b, done(ended, 1))
	if h.Advance != nil {
		h.Advance(h.ShortestExpiry + time.Second)
	}
	require.Eventually(t, func() bool { return get(t, b, ended).Unknown }, time.Minute, 20*time.Millisecond)
	lookup(celeryresults.PhaseExpired, ended)
	metas, err := b.GetMany(t.Context(), []string{unknown, ended})
	require.NoError(t, err)
	assert.Equal(t, []celeryresults.Phase{celeryresults.PhaseUnknown, celeryresults.PhaseExpired}, []celeryresults.Phase{metas[0].Phase(), metas[1].Phase()})

	require.NoError(t, app.RecordPending(t.Context(), &celeryresults.Request{ID: ended}))
	store(t, b, done(ended, 2))
	require.NoError(t, app2.RecordPending(t.Context(), &celeryresults.Request{ID: id})) // it is sent again
	assert.Equal(t, celeryresults.PhaseQueued, get(t, long, id).Phase())
	store(t, long, done(id, 2))
	assert.Equal(t, celeryresults.PhaseReady, get(t, long, id).Phase())
}

func bigResult(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	for _, size := range []int{64 << 10, 900 << 10, 2 << 20} {
		id := newID("big")
		value := bytes.Repeat([]byte("x"), size)
		err := b.StoreResult(t.Context(), done(id, string(value)))
		if isTooLarge(err) {
			assert.Equal(t, celeryresults.Pending, get(t, b, id).State)
			store(t, b, failed(id, celeryresults.Failure, err))
			assert.Error(t, get(t, b, id).Err())
			continue
		}
		require.NoError(t, err)
		got, err := celeryresults.As[string](get(t, b, id).Result)
		require.NoError(t, err)
		assert.Len(t, got, size)
	}
}

func unusualIDs(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	base := newID("unusual")
	ids := []string{base + ":a", base + ":A", base + "%2F", base + "/", base + "é", base + "e", base + "'\"`;--", base + "*"}
	for i, id := range ids {
		store(t, b, done(id, i))
	}
	for i, id := range ids {
		got, err := celeryresults.As[int](get(t, b, id).Result)
		require.NoError(t, err, id)
		assert.Equal(t, i, got, id)
	}
}

func closeTwice(t *testing.T, h Harness) {
	b := h.Open(t, celeryresults.Settings{})
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
}
