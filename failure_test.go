package celeryresults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

type BalanceError struct{}

func (*BalanceError) Error() string { return "balance too low" }

func TestErrorsAsExceptions(t *testing.T) {
	for name, row := range map[string]struct {
		err          error
		typ, module  string
		wantAsString string
	}{
		"errors.New":       {errors.New("x"), "Exception", "builtins", "Exception: x"},
		"fmt.Errorf":       {fmt.Errorf("y: %w", errors.New("x")), "Exception", "builtins", "Exception: y: x"},
		"a named type":     {&BalanceError{}, "BalanceError", module + "_test", "BalanceError: balance too low"},
		"a deadline":       {fmt.Errorf("task: %w", context.DeadlineExceeded), "TimeoutError", "builtins", "TimeoutError: task: context deadline exceeded"},
		"a cancellation":   {context.Canceled, "TaskRevokedError", "celery.exceptions", "TaskRevokedError: context canceled"},
		"a task's error":   {fmt.Errorf("in a chain: %w", &celeryresults.TaskError{Type: "KeyError", Module: "builtins", Args: []any{"k"}}), "KeyError", "builtins", "KeyError: k"},
		"invalid UTF-8":    {errors.New("a\xffb"), "Exception", "builtins", "Exception: a\uFFFDb"},
		"joined errors":    {errors.Join(errors.New("a"), errors.New("b")), "Exception", "builtins", "Exception: a\nb"},
		"several argument": {&celeryresults.TaskError{Type: "E", Args: []any{"a", 1}}, "E", "", `E: ["a",1]`},
	} {
		e := celeryresults.NewTaskError(row.err)
		assert.Equal(t, row.typ, e.Type, name)
		assert.Equal(t, row.module, e.Module, name)
		assert.EqualError(t, e, row.wantAsString, name)
	}
}

func TestTaskErrorIs(t *testing.T) {
	e := fmt.Errorf("wrapped: %w", &celeryresults.TaskError{Type: "KeyError", Module: "builtins"})
	assert.ErrorIs(t, e, &celeryresults.TaskError{Type: "KeyError"})
	assert.ErrorIs(t, e, &celeryresults.TaskError{Type: "KeyError", Module: "builtins"})
	assert.NotErrorIs(t, e, &celeryresults.TaskError{Type: "KeyError", Module: "shop"})
	assert.NotErrorIs(t, e, &celeryresults.TaskError{Type: "ValueError"})
}

// TestForeignFailures covers what writers other than Celery leave as the
// result of a failure.
func TestForeignFailures(t *testing.T) {
	for name, row := range map[string]struct {
		result any
		want   string
	}{
		"Celery's dict":            {map[string]any{"exc_type": "E", "exc_message": []any{"m"}, "exc_module": "shop"}, "E: m"},
		"with a text message":      {map[string]any{"exc_type": "E", "exc_message": "m"}, "E: m"},
		"without a message":        {map[string]any{"exc_type": "E"}, "E"},
		"a plain text":             {"it broke", "Exception: it broke"},
		"a dict without exc_type":  {map[string]any{"error": "x"}, `Exception: {"error":"x"}`},
		"exc_type of another type": {map[string]any{"exc_type": int64(5)}, `Exception: {"exc_type":5}`},
		"nothing":                  {nil, "Exception"},
		"an instance":              {&python.Object{Class: python.Class{Module: "os", Name: "system"}, Args: python.Tuple{"rm"}}, "system: rm"},
		"a class":                  {python.Class{Module: "builtins", Name: "KeyError"}, "KeyError"},
		"a list":                   {[]any{"E", "m"}, `Exception: ["E","m"]`},
		"the wrapper": {&python.Object{
			Class: python.Class{Module: "celery.utils.serialization", Name: "UnpickleableExceptionWrapper"},
			Args:  python.Tuple{"shop", "Quota", python.Tuple{"acme"}, "Quota('acme')"},
		}, "Quota: acme"},
		"a broken wrapper": {&python.Object{
			Class: python.Class{Module: "celery.utils.serialization", Name: "UnpickleableExceptionWrapper"}, Args: python.Tuple{int64(1), "Quota", nil},
		}, `UnpickleableExceptionWrapper: [1,"Quota",null]`},
	} {
		meta := celeryresults.TaskMeta{State: celeryresults.Failure, Result: celeryresults.NewValue(row.result), Traceback: "tb"}
		var e *celeryresults.TaskError
		require.ErrorAs(t, meta.Err(), &e, name)
		assert.EqualError(t, e, row.want, name)
		assert.Equal(t, "tb", e.Traceback, name)
		assert.False(t, e.Importable, name)
		_, err := json.Marshal(&meta)
		assert.NoError(t, err, name)
	}
}

func TestStates(t *testing.T) {
	for state, want := range map[celeryresults.State][2]bool{
		celeryresults.Pending: {false, false}, celeryresults.Received: {false, false}, celeryresults.Started: {false, false},
		celeryresults.Success: {true, false}, celeryresults.Failure: {true, true}, celeryresults.Revoked: {true, true},
		celeryresults.Retry: {false, true}, celeryresults.Rejected: {false, false}, celeryresults.Ignored: {false, false}, "PROGRESS": {false, false},
	} {
		assert.Equal(t, want, [2]bool{state.Ready(), state.Exception()}, state)
	}
}
