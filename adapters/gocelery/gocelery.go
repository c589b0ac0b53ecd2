// Package gocelery lets programs of github.com/gocelery/gocelery keep their results in
// any backend of celeryresults: a *Backend is a gocelery.CeleryBackend. One line of a
// program changes, the one that makes its backend. Python waits for the results and
// reads them, which gocelery's own backends do not let it: they store no task id, and
// publish nothing.
package gocelery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gocelery/gocelery"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// patience is how long a backend may take, as gocelery has no contexts.
const patience = 30 * time.Second

// ErrNotReady is returned by GetResult for tasks that have not ended, which gocelery's
// AsyncResult then asks for again.
var ErrNotReady = errors.New("gocelery: the result is not available yet")

// Backend is a gocelery.CeleryBackend over a backend of celeryresults. Make one with New.
// It is safe for concurrent use.
type Backend struct {
	backend *celeryresults.Backend
}

var _ gocelery.CeleryBackend = (*Backend)(nil)

// New returns a backend, which the caller closes.
func New(backend *celeryresults.Backend) *Backend { return &Backend{backend} }

// SetResult stores what a task returned. No message stands for a task that returns
// nothing. A result that stands already is no error: of a task that is delivered twice,
// the first counts. gocelery calls it for successes alone, as its workers report no
// failures.
func (b *Backend) SetResult(taskID string, result *gocelery.ResultMessage) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	meta := &celeryresults.TaskMeta{TaskID: taskID, State: celeryresults.Success, Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC()}
	if result != nil {
		if result.Status != "" {
			meta.State = celeryresults.State(result.Status)
		}
		meta.Result = celeryresults.NewValue(result.Result)
		meta.Traceback, _ = result.Traceback.(string)
		if meta.State.Exception() {
			meta.Result = celeryresults.NewValue(&celeryresults.TaskError{Type: "Exception", Module: "builtins", Args: []any{result.Result}})
		}
	}
	if err := b.backend.StoreResult(ctx, meta); err != nil && !errors.Is(err, celeryresults.ErrRefused) {
		return fmt.Errorf("gocelery: set result: %w", err)
	}
	return nil
}

// GetResult returns the result of a task that has ended, whether Go or Python ran it, and
// ErrNotReady before. It does not wait. Values have the types that encoding/json gives,
// as those of gocelery's own backends have.
func (b *Backend) GetResult(taskID string) (*gocelery.ResultMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	meta, err := b.backend.GetTaskMeta(ctx, taskID)
	switch {
	case err != nil:
		return nil, fmt.Errorf("gocelery: get result: %w", err)
	case !meta.State.Ready():
		return nil, ErrNotReady
	}
	message := &gocelery.ResultMessage{ID: taskID, Status: string(meta.State)}
	if meta.Traceback != "" {
		message.Traceback = meta.Traceback
	}
	tree, err := meta.Result.Any()
	if err == nil {
		err = json.Unmarshal(python.JSON(nil, tree), &message.Result)
	}
	if err != nil {
		return nil, fmt.Errorf("gocelery: get result of %q: %w", taskID, err)
	}
	return message, nil
}
