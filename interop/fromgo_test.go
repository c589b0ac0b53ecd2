package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// States

var failures = []struct {
	name        string
	err         error
	typ, module string // of what get raises
	args        []any
	base        string // that an except clause may name
}{
	{
		name: "builtin", err: &celeryresults.TaskError{Type: "ZeroDivisionError", Args: []any{"division by zero"}},
		typ: "ZeroDivisionError", module: "builtins", args: []any{"division by zero"}, base: "builtins.ArithmeticError",
	},
	{
		name: "a class of the project", err: &celeryresults.TaskError{Type: "QuotaExceeded", Module: "shop.errors", Args: []any{"acme", 10}, Importable: true},
		typ: "QuotaExceeded", module: "shop.errors", args: []any{"acme", json.Number("10")}, base: "builtins.Exception",
	},
	{
		name: "Celery's own", err: &celeryresults.TaskError{Type: "MaxRetriesExceededError", Module: "celery.exceptions", Args: []any{"too often"}},
		typ: "MaxRetriesExceededError", module: "celery.exceptions", args: []any{"too often"}, base: "celery.exceptions.TaskError",
	},
	{name: "a plain error", err: errors.New("bröke 🎉"), typ: "Exception", module: "builtins", args: []any{"bröke 🎉"}, base: "builtins.BaseException"},
	{name: "a deadline", err: context.DeadlineExceeded, typ: "TimeoutError", module: "builtins", args: []any{context.DeadlineExceeded.Error()}, base: "builtins.OSError"},
	{name: "nil", err: nil, typ: "Exception", module: "builtins", args: []any{}, base: "builtins.BaseException"},
}

func readsFailuresOfGo(t *testing.T, p *pair) {
	for _, f := range failures {
		id := "go-failure " + f.name
		require.NoError(t, p.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: id}, f.err), f.name)
		got := p.read(t, id)
		assert.Equal(t, "FAILURE", got.State, f.name)
		if assert.NotNil(t, got.Raised, f.name) {
			assert.Equal(t, f.typ, got.Raised.Type, f.name)
			assert.Equal(t, f.module, got.Raised.Module, f.name)
			assert.Equal(t, f.args, got.Raised.Args, f.name)
			assert.Contains(t, got.Raised.Bases, f.base, f.name)
		}
		want := map[string]any{"exc_type": f.typ, "exc_message": f.args, "exc_module": f.module}
		assert.Equal(t, want, got.Canon, f.name)
	}
	readsClassNobodyHas(t, p)
	readsTraceback(t, p)
}

// readsClassNobodyHas stores a class that Python cannot import: it raises one
// of that name.
func readsClassNobodyHas(t *testing.T, p *pair) {
	t.Helper()
	failure := &celeryresults.TaskError{Type: "BalanceTooLow", Module: "billing.errors", Args: []any{"acme"}}
	require.NoError(t, p.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: "nobody-has"}, failure))
	got := p.read(t, "nobody-has")
	require.NotNil(t, got.Raised)
	assert.Equal(t, "BalanceTooLow", got.Raised.Type)
	assert.Equal(t, []any{"acme"}, got.Raised.Args)
	assert.Contains(t, got.Raised.Bases, "builtins.Exception")
}

func readsTraceback(t *testing.T, p *pair) {
	t.Helper()
	const traceback = "Traceback (most recent call last):\n  at shop/é.go:7\nbroke 🎉"
	failure := &celeryresults.TaskError{Type: "ValueError", Args: []any{"x"}, Traceback: traceback}
	require.NoError(t, p.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: "traceback"}, failure))
	got := p.read(t, "traceback")
	require.NotNil(t, got.Traceback)
	assert.Equal(t, traceback, *got.Traceback)
	assert.Equal(t, traceback, p.meta(t, "traceback").Traceback)
}

func readsStatesOfGo(t *testing.T, p *pair) {
	ctx := t.Context()
	request := func(id string) *celeryresults.Request {
		return &celeryresults.Request{ID: id, Task: "shop.tasks.add", Worker: "go@shop"}
	}
	t.Run("unknown", func(t *testing.T) {
		assert.Equal(t, "PENDING", p.read(t, "go-unknown").State)
		assert.Empty(t, p.rows(t, "task", "go-unknown"))
	})
	t.Run("PENDING", func(t *testing.T) {
		require.NoError(t, p.app.RecordPending(ctx, request("go-pending")))
		got := p.read(t, "go-pending")
		assert.Equal(t, "PENDING", got.State)
		assert.Nil(t, got.Canon)
		row := p.row(t, "go-pending")
		assert.WithinDuration(t, time.Now(), row.time(t, "date_created"), time.Minute)
		assert.Nil(t, row["date_started"])
	})
	t.Run("STARTED", func(t *testing.T) {
		require.NoError(t, p.app.MarkAsStarted(ctx, request("go-started")))
		got := p.read(t, "go-started")
		assert.Equal(t, "STARTED", got.State)
		assert.Equal(t, "go@shop", got.Canon.(map[string]any)["hostname"])
		assert.WithinDuration(t, time.Now(), p.row(t, "go-started").time(t, "date_started"), time.Minute)
	})
	t.Run("PROGRESS", func(t *testing.T) {
		require.NoError(t, p.app.UpdateState(ctx, request("go-progress"), "PROGRESS", map[string]int{"current": 40, "total": 100}))
		got := p.read(t, "go-progress")
		assert.Equal(t, "PROGRESS", got.State)
		assert.False(t, got.Ready)
		assert.Equal(t, "{'current': 40, 'total': 100}", got.Repr)
	})
	t.Run("RETRY", func(t *testing.T) {
		failure := &celeryresults.TaskError{Type: "ConnectionError", Args: []any{"upstream closed"}, Traceback: "Traceback"}
		require.NoError(t, p.app.MarkAsRetry(ctx, request("go-retry"), failure))
		got := p.read(t, "go-retry")
		assert.Equal(t, "RETRY", got.State)
		assert.Equal(t, "ConnectionError('upstream closed')", got.Repr)
	})
	t.Run("REVOKED", func(t *testing.T) {
		require.NoError(t, p.app.MarkAsRevoked(ctx, request("go-revoked"), "terminated"))
		got := p.read(t, "go-revoked")
		assert.Equal(t, "REVOKED", got.State)
		require.NotNil(t, got.Raised)
		assert.Equal(t, "TaskRevokedError", got.Raised.Type)
		assert.Equal(t, "celery.exceptions", got.Raised.Module)
		assert.Equal(t, []any{"terminated"}, got.Raised.Args)
	})
	t.Run("SUCCESS after all of them", func(t *testing.T) {
		require.NoError(t, p.app.RecordPending(ctx, request("go-life")))
		require.NoError(t, p.app.MarkAsStarted(ctx, request("go-life")))
		started := p.row(t, "go-life")
		require.NoError(t, p.app.UpdateState(ctx, request("go-life"), "PROGRESS", 1))
		require.NoError(t, p.app.MarkAsDone(ctx, request("go-life"), 5))
		done := p.row(t, "go-life")
		for _, column := range []string{"id", "date_created", "date_started"} {
			assert.Equal(t, started[column], done[column], column)
		}
		assert.False(t, done.time(t, "date_done").Before(done.time(t, "date_started")))
		assert.Equal(t, "5", p.read(t, "go-life").Repr)
	})
}

// Fields

// full is a request with every field, and what Python is told of the same.
func full(id string) (request *celeryresults.Request, source string) {
	return &celeryresults.Request{
			ID: id, Task: "shop.tasks.add", Args: python.Tuple{2, "zwei"}, Kwargs: map[string]any{"k": nil},
			Worker: "worker@shop", Retries: 2, Queue: "slow", ParentID: "parent", RootID: "root", GroupID: "group",
			Children: []celeryresults.ResultTuple{
				{ID: "child", Parent: &celeryresults.ResultTuple{ID: id}},
				{ID: "family", Children: []celeryresults.ResultTuple{{ID: "member"}}},
			},
			PeriodicTaskName: "nightly", Meta: map[string]any{"tenant": "acme"},
		}, fmt.Sprintf(`{"task": "shop.tasks.add", "args": (2, "zwei"), "kwargs": {"k": None}, "hostname": "worker@shop", "retries": 2,
		"delivery_info": {"routing_key": "slow"}, "parent_id": "parent", "root_id": "root", "group": "group",
		"children": [[["child", [[%q, None], None]], None], [["family", None], [[["member", None], None]]]],
		"periodic_task_name": "nightly", "meta": {"tenant": "acme"}}`, id)
}

func readsFieldsOfGo(t *testing.T, p *pair) {
	request, _ := full("go-full")
	require.NoError(t, p.app.MarkAsDone(t.Context(), request, 5))
	got := p.read(t, "go-full")
	assert.Equal(t, `[[["child",[["go-full",null],null]],null],[["family",null],[[["member",null],null]]]]`, compact(t, got.Children))
	assert.Equal(t, "(2, 'zwei')", got.Args)
	assert.Equal(t, "{'k': None}", got.Kwargs)
	assert.Equal(t, "worker@shop", deref(got.Worker))
	assert.Equal(t, json.Number("2"), got.Retries)
	assert.Equal(t, "slow", deref(got.Queue))
	assert.Equal(t, "parent", got.Meta["parent_id"])
	assert.Equal(t, "group", got.Meta["group_id"])
	assert.Equal(t, "root", got.Meta["root_id"])
	assert.Equal(t, "acme", got.Meta["tenant"])
	assert.Equal(t, "shop.tasks.add", got.Meta["task_name"])
	if done, ok := instantOf(got.DateDone).(time.Time); assert.True(t, ok, "%v", got.DateDone) {
		assert.WithinDuration(t, time.Now(), done, time.Minute)
		assert.True(t, p.meta(t, "go-full").DateDone.Equal(done))
	}
	assert.Equal(t, "nightly", p.row(t, "go-full")["periodic_task_name"])
	t.Run("and Go all of its own", func(t *testing.T) { readsOwnFields(t, p, request) })
}

func readsOwnFields(t *testing.T, p *pair, request *celeryresults.Request) {
	meta := p.meta(t, request.ID)
	assert.Equal(t, request.Task, meta.Name)
	assert.Equal(t, request.Worker, meta.Worker)
	assert.Equal(t, request.Retries, meta.Retries)
	assert.Equal(t, request.Queue, meta.Queue)
	assert.Equal(t, request.ParentID, meta.ParentID)
	assert.Equal(t, request.RootID, meta.RootID)
	assert.Equal(t, request.GroupID, meta.GroupID)
	assert.Equal(t, request.PeriodicTaskName, meta.PeriodicTaskName)
	assert.Equal(t, request.Children, meta.Children)
	assert.Equal(t, `[2,"zwei"]`, compact(t, meta.Args))
	assert.Equal(t, `{"k":null}`, compact(t, meta.Kwargs))
	assert.Contains(t, compact(t, meta), `"tenant":"acme"`)
}

// writesTheSameRows stores the same record from both sides and compares the
// columns. Only the metadata of Go's row may say more than Python's.
func writesTheSameRows(t *testing.T, p *pair) {
	bad := &celeryresults.TaskError{Type: "ValueError", Args: []any{"bad"}, Traceback: "Traceback"}
	for _, c := range []struct {
		state             celeryresults.State
		store             func(ctx context.Context, request *celeryresults.Request) error
		source, traceback string
	}{
		{celeryresults.Success, func(ctx context.Context, r *celeryresults.Request) error {
			return p.app.MarkAsDone(ctx, r, []any{1, "zwei", nil})
		}, "[1, 'zwei', None]", ""},
		{celeryresults.Failure, func(ctx context.Context, r *celeryresults.Request) error {
			return p.app.MarkAsFailure(ctx, r, bad)
		}, "ValueError('bad')", "Traceback"},
		{celeryresults.Retry, func(ctx context.Context, r *celeryresults.Request) error {
			return p.app.MarkAsRetry(ctx, r, bad)
		}, "ValueError('bad')", "Traceback"},
		{celeryresults.Revoked, func(ctx context.Context, r *celeryresults.Request) error {
			return p.app.MarkAsRevoked(ctx, r, "terminated")
		}, "TaskRevokedError('terminated')", ""},
		{"PROGRESS", func(ctx context.Context, r *celeryresults.Request) error {
			return p.app.UpdateState(ctx, r, "PROGRESS", map[string]int{"current": 40})
		}, "{'current': 40}", ""},
	} {
		t.Run(string(c.state), func(t *testing.T) {
			ours, theirs := "same-go-"+string(c.state), "same-py-"+string(c.state)
			request, _ := full(ours)
			_, source := full(theirs)
			require.NoError(t, c.store(t.Context(), request))
			given := arguments{"id": theirs, "state": c.state, "value": c.source, "request": source}
			if c.traceback != "" {
				given["traceback"] = c.traceback
			}
			p.do(t, "store", given)
			compareRows(t, p.row(t, theirs), p.row(t, ours))
		})
	}
}

func compareRows(t *testing.T, want, got row) {
	t.Helper()
	for _, column := range []string{
		"content_type", "content_encoding", "result", "status", "traceback", "task_args", "task_kwargs", "task_name", "worker",
		"periodic_task_name", "date_started",
	} {
		assert.Equal(t, want[column], got[column], column)
	}
	meta := strings.ReplaceAll(want["meta"].(string), want["task_id"].(string), got["task_id"].(string))
	ours := decode[map[string]any](t, []byte(got["meta"].(string)))
	for name, v := range decode[map[string]any](t, []byte(meta)) {
		assert.Equal(t, v, ours[name], "%s in meta", name)
	}
}

// keepsMetadataApart: django-celery-results lays the metadata column over the
// other columns, so that names of Celery's own there would hide these.
func keepsMetadataApart(t *testing.T, p *pair) {
	request := &celeryresults.Request{ID: "go-names", Meta: map[string]any{
		"tenant": "acme", "status": "FAILURE", "result": "no", "children": []any{1}, "date_done": "never", "task_id": "other", "traceback": "no", "worker": "no",
	}}
	if err := p.app.MarkAsDone(t.Context(), request, 5); err != nil {
		t.Logf("refused: %v", err)
		assert.Empty(t, p.rows(t, "task", "go-names"))
		return
	}
	got := p.read(t, "go-names")
	assert.Equal(t, "SUCCESS", got.State)
	assert.Equal(t, "5", got.Repr)
	assert.Equal(t, "[]", compact(t, got.Children))
	assert.Equal(t, "go-names", got.Meta["task_id"])
	assert.Nil(t, got.Traceback)
	assert.Nil(t, got.Worker)
	assert.Equal(t, "acme", got.Meta["tenant"])
}

func takesAnyID(t *testing.T, p *pair) {
	for _, id := range []string{"it's \"50%\" – ✓ 🎉", `back\slash`, "with space", "%s ? :1 $1", strings.Repeat("i", 255), strings.Repeat("é", 255)} {
		require.NoError(t, p.app.MarkAsDone(t.Context(), &celeryresults.Request{ID: id}, id), id)
		assert.Equal(t, id, p.read(t, id).Canon)
		theirs := string([]rune(id)[1:]) // another one, no longer
		p.do(t, "store", arguments{"id": theirs, "state": "SUCCESS", "value": "7"})
		assert.Equal(t, celeryresults.Success, p.meta(t, theirs).State, theirs)
	}
}

// readsLongTexts: columns are as wide as Django made them, and no database
// holds a NUL in every text.
func readsLongTexts(t *testing.T, p *pair) {
	worker := strings.Repeat("wörker", 30)
	request := &celeryresults.Request{ID: "go-long", Task: strings.Repeat("shop.", 60), Worker: worker}
	failure := &celeryresults.TaskError{Type: "ValueError", Args: []any{"a\x00b"}, Traceback: "at a\x00b"}
	require.NoError(t, p.app.MarkAsFailure(t.Context(), request, failure))
	got := p.read(t, "go-long")
	assert.Equal(t, worker, deref(got.Worker))
	assert.Equal(t, failure.Traceback, deref(got.Traceback))
	assert.Equal(t, request.Task, got.Meta["task_name"])
	if assert.NotNil(t, got.Raised) {
		assert.Equal(t, failure.Args, got.Raised.Args)
	}
	meta := p.meta(t, "go-long")
	assert.Equal(t, worker, meta.Worker)
	assert.Equal(t, request.Task, meta.Name)
	assert.Equal(t, failure.Traceback, meta.Traceback)
}

func hidesArguments(t *testing.T, p *pair) {
	const secret = "4111111111111111"
	request := &celeryresults.Request{
		ID: "go-secret", Args: []any{secret, 5}, ArgsRepr: "(<card number>, 5)", Kwargs: map[string]any{"card": secret}, KwargsRepr: "{'card': <card number>}",
	}
	require.NoError(t, p.app.MarkAsDone(t.Context(), request, nil))
	got := p.read(t, "go-secret")
	assert.Equal(t, request.ArgsRepr, got.Args)
	assert.Equal(t, request.KwargsRepr, got.Kwargs)
	assert.NotContains(t, compact(t, p.row(t, "go-secret")), secret)
	assert.NotContains(t, compact(t, p.meta(t, "go-secret")), secret)
}

func showsInAdmin(t *testing.T, p *pair) {
	request, _ := full("go-admin")
	require.NoError(t, p.app.MarkAsFailure(t.Context(), request, &celeryresults.TaskError{Type: "ValueError", Args: []any{"bad"}, Traceback: "at shop/main.go:7"}))
	texts := []string{"(2, 'zwei')", "{'k': None}", "shop.tasks.add", "worker@shop", "nightly", "FAILURE", "at shop/main.go:7", "ValueError"}
	page := ask[struct {
		Change, List int
		Found, Shown []string
	}](t, p.project, "admin", arguments{"id": "go-admin", "texts": texts})
	assert.Equal(t, 200, page.Change)
	assert.Equal(t, 200, page.List)
	assert.Equal(t, []string{"go-admin"}, page.Found)
	assert.Equal(t, texts, page.Shown)
}
