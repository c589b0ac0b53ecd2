package interop_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func readsWorkers(t *testing.T, p *pair) {
	t.Run("success", func(t *testing.T) {
		meta := p.run(t, "w-add", "add", arguments{"args": "(2, 3)"})
		number, err := celeryresults.As[int](meta.Result)
		require.NoError(t, err)
		assert.Equal(t, 5, number)
		assert.Equal(t, "shop.tasks.add", meta.Name)
		assert.Equal(t, "worker@shop", meta.Worker)
		assert.Equal(t, []celeryresults.ResultTuple{}, meta.Children)
		text, err := celeryresults.As[string](meta.Args)
		require.NoError(t, err)
		assert.Equal(t, "(2, 3)", text)
		row := p.row(t, "w-add")
		assert.True(t, row.time(t, "date_done").Equal(meta.DateDone), "%v", meta.DateDone)
		assert.True(t, row.time(t, "date_created").Equal(meta.DateCreated), "%v", meta.DateCreated)
		assert.True(t, row.time(t, "date_started").Equal(meta.DateStarted), "%v", meta.DateStarted)
	})
	t.Run("arguments by name", func(t *testing.T) {
		meta := p.run(t, "w-echo", "echo", arguments{"kwargs": "{'value': 'é', 'n': 5}"})
		assert.Equal(t, `{"n":5,"value":"é"}`, compact(t, meta.Result))
		text, err := celeryresults.As[string](meta.Kwargs)
		require.NoError(t, err)
		assert.Equal(t, "{'value': 'é', 'n': 5}", text)
	})
	t.Run("failure", func(t *testing.T) {
		meta := p.run(t, "w-divide", "divide", arguments{"args": "(1, 0)"})
		assert.Equal(t, celeryresults.Failure, meta.State)
		failure, ok := errors.AsType[*celeryresults.TaskError](meta.Err())
		require.True(t, ok)
		assert.Equal(t, "ZeroDivisionError", failure.Type)
		assert.Equal(t, "builtins", failure.Module)
		assert.Equal(t, []any{"division by zero"}, failure.Args)
		assert.Contains(t, failure.Traceback, "ZeroDivisionError: division by zero")
	})
	t.Run("failure of the project's own", func(t *testing.T) {
		meta := p.run(t, "w-quota", "quota", nil)
		failure, ok := errors.AsType[*celeryresults.TaskError](meta.Err())
		require.True(t, ok)
		assert.Equal(t, "QuotaExceeded", failure.Type)
		assert.Equal(t, "shop.errors", failure.Module)
		assert.Equal(t, []any{"acme", int64(10)}, failure.Args)
	})
	t.Run("retry", func(t *testing.T) {
		meta := p.run(t, "w-flaky", "flaky", nil)
		assert.Equal(t, celeryresults.Retry, meta.State)
		assert.ErrorIs(t, meta.Err(), &celeryresults.TaskError{Type: "ConnectionError", Module: "builtins"})
		assert.True(t, meta.DateDone.IsZero(), "%v", meta.DateDone)
	})
	t.Run("progress", func(t *testing.T) {
		meta := p.run(t, "w-progress", "progress", nil)
		assert.Equal(t, celeryresults.State("PROGRESS"), meta.State)
		assert.Equal(t, `{"current":40,"total":100}`, compact(t, meta.Result))
		assert.True(t, meta.DateDone.IsZero(), "%v", meta.DateDone)
	})
	t.Run("children", func(t *testing.T) {
		meta := p.run(t, "w-spawns", "spawns", nil)
		assert.Equal(t, []celeryresults.ResultTuple{{ID: "child-of-w-spawns"}}, meta.Children)
		assert.Equal(t, celeryresults.Success, p.meta(t, "child-of-w-spawns").State)
	})
}

// agree compares the metadata that Python reads, field by field, with what Go
// prints of it.
func (p *pair) agree(t *testing.T, id string) {
	t.Helper()
	ours := decode[map[string]any](t, []byte(compact(t, p.meta(t, id))))
	callers, _ := ours["meta"].(map[string]any) // beside the others in Python
	for name, want := range p.read(t, id).Meta {
		got, ok := ours[name]
		if !ok {
			got = callers[name]
		}
		assert.Equal(t, want, got, "%s of %s", name, id)
	}
}

func readsStatesOfPython(t *testing.T, p *pair) {
	for _, c := range []struct {
		state celeryresults.State
		value string
		want  string // the result in JSON
	}{
		{celeryresults.Started, "{'pid': 7, 'hostname': 'worker@shop'}", `{"hostname":"worker@shop","pid":7}`},
		{celeryresults.Received, "None", "null"},
		{"CRUNCHING", "[1]", "[1]"},
		{celeryresults.Pending, "None", "null"},
	} {
		id := "python-" + string(c.state)
		_, source := full(id)
		p.do(t, "store", arguments{"id": id, "state": c.state, "value": c.value, "request": source})
		meta := p.meta(t, id)
		assert.Equal(t, c.state, meta.State)
		assert.False(t, meta.Unknown)
		assert.Equal(t, c.want, compact(t, meta.Result), id)
		assert.Equal(t, "nightly", meta.PeriodicTaskName, id)
		assert.Contains(t, compact(t, meta), `"tenant":"acme"`, id)
		p.agree(t, id)
	}
	p.do(t, "store", arguments{"id": "python-revoked", "state": "REVOKED", "value": "TaskRevokedError('terminated')"})
	assert.ErrorIs(t, p.meta(t, "python-revoked").Err(), &celeryresults.TaskError{Type: "TaskRevokedError", Module: "celery.exceptions"})
	p.agree(t, "python-revoked")
}

func readsMany(t *testing.T, p *pair) {
	ids := []string{"many-2", "many-unknown", "many-0", "many-1"}
	for i := range 3 {
		p.do(t, "run", arguments{"id": fmt.Sprint("many-", i), "task": "shop.tasks.add", "args": fmt.Sprintf("(%d, 0)", i)})
	}
	metas, err := p.backend().GetMany(t.Context(), ids)
	require.NoError(t, err)
	require.Len(t, metas, len(ids))
	for i, want := range []string{"2", "null", "0", "1"} {
		assert.Equal(t, ids[i], metas[i].TaskID)
		assert.Equal(t, want, compact(t, metas[i].Result))
	}
	assert.True(t, metas[1].Unknown)
}

func waitsForPython(t *testing.T, p *pair) {
	type answer struct {
		number int
		err    error
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerTimeout)
	defer cancel()
	waited := make(chan answer, 1)
	go func() {
		number, err := celeryresults.Get[int](ctx, p.app.AsyncResult("waited-for"))
		waited <- answer{number, err}
	}()
	time.Sleep(50 * time.Millisecond) // the wait is under way, most likely
	p.do(t, "run", arguments{"id": "waited-for", "task": "shop.tasks.add", "args": "(20, 3)"})
	assert.Equal(t, answer{23, nil}, <-waited)
}

// lists: what Go finds by is what columns have, whoever wrote them.
func lists(t *testing.T, p *pair) {
	lister := p.backend()
	request, _ := full("list-go")
	request.Worker = "lister@shop"
	require.NoError(t, p.app.MarkAsDone(t.Context(), request, 5))
	_, source := full("list-python")
	source = strings.Replace(source, request.Queue, "fast", 1)
	source = strings.Replace(source, "worker@shop", request.Worker, 1)
	p.do(t, "store", arguments{"id": "list-python", "state": "FAILURE", "value": "ValueError('bad')", "request": source})
	ids := func(q celeryresults.Query) (ids []string) {
		q.Worker = request.Worker
		page, err := lister.List(t.Context(), q)
		require.NoError(t, err)
		for _, meta := range page.Results {
			ids = append(ids, meta.TaskID)
		}
		return ids
	}
	both := []string{"list-python", "list-go"} // newest first
	assert.Equal(t, both, ids(celeryresults.Query{}))
	assert.Equal(t, both, ids(celeryresults.Query{Order: celeryresults.ByDone}))
	assert.Equal(t, both, ids(celeryresults.Query{Task: "shop.*", PeriodicTask: "nightly"}))
	assert.Equal(t, both[:1], ids(celeryresults.Query{States: []celeryresults.State{celeryresults.Failure}}))
	created := p.row(t, "list-python").time(t, "date_created")
	assert.Equal(t, both[:1], ids(celeryresults.Query{CreatedFrom: created}))
	assert.Equal(t, both[1:], ids(celeryresults.Query{CreatedBefore: created}))
}
