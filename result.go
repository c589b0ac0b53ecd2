package celeryresults

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// AsyncResult is a handle on the result of one task, with the names and
// meanings of Celery's AsyncResult. Each method that takes a context reads the
// backend once; a ready result is kept in the handle and not read again.
// It is safe for concurrent use.
type AsyncResult struct {
	id      string
	backend *Backend
	err     error // of finding the backend; reported by every read

	ready atomic.Pointer[TaskMeta]
	ended atomic.Pointer[Status] // set where only that was asked for
}

// NewAsyncResult returns a handle on the task's result in backend. Nothing is
// read yet.
func NewAsyncResult(taskID string, backend *Backend) *AsyncResult {
	return &AsyncResult{id: taskID, backend: backend}
}

// NewEagerResult returns the handle of a task that has already run, without a
// store (Celery's EagerResult). For an exception state, value is the error.
func NewEagerResult(taskID string, value any, state State) *AsyncResult {
	r := NewAsyncResult(taskID, nil)
	meta := &TaskMeta{TaskID: taskID, State: state, Result: NewValue(value), Children: []ResultTuple{}}
	if err, ok := value.(error); ok && state.Exception() {
		meta.Result = NewValue(NewTaskError(err))
	}
	if state.Ready() {
		meta.DateDone = now()
	}
	r.ready.Store(meta)
	return r
}

// ID returns the task id.
func (r *AsyncResult) ID() string { return r.id }

// Backend returns the backend that the handle asks; nil for an eager result.
func (r *AsyncResult) Backend() *Backend { return r.backend }

// String returns the task id.
func (r *AsyncResult) String() string { return r.id }

// Meta returns all that is stored, in one read. Use it to see several fields
// of the same moment.
func (r *AsyncResult) Meta(ctx context.Context) (*TaskMeta, error) {
	if meta := r.ready.Load(); meta != nil {
		return meta, nil
	}
	if err := r.usable(); err != nil {
		return nil, err
	}
	meta, err := r.backend.GetTaskMeta(ctx, r.id)
	if err != nil {
		return nil, err
	}
	return r.keep(meta), nil
}

func (r *AsyncResult) usable() error {
	switch {
	case r.err != nil:
		return r.err
	case r.id == "":
		return ErrNoTaskID
	case r.backend == nil:
		return errors.New("celeryresults: the result has no backend: it is eager and was forgotten, or From(nil) was given")
	}
	return nil
}

// known returns what the handle keeps of a task that has ended.
func (r *AsyncResult) known() (Status, bool) {
	if meta := r.ready.Load(); meta != nil {
		return meta.Status(), true
	}
	if status := r.ended.Load(); status != nil {
		return *status, true
	}
	return Status{}, false
}

// drop forgets what the handle keeps.
func (r *AsyncResult) drop() {
	r.ready.Store(nil)
	r.ended.Store(nil)
}

func (r *AsyncResult) keep(meta *TaskMeta) *TaskMeta {
	if meta.State.Ready() {
		r.ready.Store(meta)
	}
	return meta
}

// Wait returns the meta once the task is ready, whatever the outcome. It waits
// as the backend does best, at the latest until ctx ends; the error is then
// ctx's.
func (r *AsyncResult) Wait(ctx context.Context) (*TaskMeta, error) {
	if meta := r.ready.Load(); meta != nil {
		return meta, nil
	}
	if err := r.usable(); err != nil {
		return nil, err
	}
	meta, err := r.backend.WaitFor(ctx, r.id)
	if err != nil {
		return nil, err
	}
	return r.keep(meta), nil
}

// Get waits for the result and returns it (Celery's get). A task that failed
// or was revoked is a *TaskError.
func (r *AsyncResult) Get(ctx context.Context) (Value, error) {
	meta, err := r.Wait(ctx)
	if err != nil {
		return Value{}, err
	}
	return meta.Result, meta.Err()
}

// Get waits for the result and decodes it into a T. A task that failed or was
// revoked is a *TaskError.
func Get[T any](ctx context.Context, r *AsyncResult) (T, error) {
	value, err := r.Get(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return As[T](value)
}

// read returns what f finds in the meta.
func read[T any](ctx context.Context, r *AsyncResult, f func(*TaskMeta) T) (T, error) {
	meta, err := r.Meta(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	return f(meta), nil
}

// State returns the state; Pending when nothing is known of the task.
func (r *AsyncResult) State(ctx context.Context) (State, error) {
	return read(ctx, r, func(m *TaskMeta) State { return m.State })
}

// Ready reports whether the task has ended: SUCCESS, FAILURE or REVOKED.
func (r *AsyncResult) Ready(ctx context.Context) (bool, error) {
	return read(ctx, r, func(m *TaskMeta) bool { return m.State.Ready() })
}

// Successful reports whether the state is SUCCESS.
func (r *AsyncResult) Successful(ctx context.Context) (bool, error) {
	return read(ctx, r, func(m *TaskMeta) bool { return m.State == Success })
}

// Failed reports whether the state is FAILURE.
func (r *AsyncResult) Failed(ctx context.Context) (bool, error) {
	return read(ctx, r, func(m *TaskMeta) bool { return m.State == Failure })
}

// Result returns what is stored as the result, without waiting: the return
// value, or the meta of a custom state. For an exception state it is the
// exception as it lies in the store; see TaskMeta.Err and Get.
func (r *AsyncResult) Result(ctx context.Context) (Value, error) {
	return read(ctx, r, func(m *TaskMeta) Value { return m.Result })
}

// Traceback returns the traceback of a failed task, empty when there is none.
func (r *AsyncResult) Traceback(ctx context.Context) (string, error) {
	return read(ctx, r, func(m *TaskMeta) string { return m.Traceback })
}

// Children returns handles on the tasks that this one sent, asking the same
// backend. For a group that it sent, these are the members.
func (r *AsyncResult) Children(ctx context.Context) ([]*AsyncResult, error) {
	return read(ctx, r, func(m *TaskMeta) []*AsyncResult { return r.handles(m.Children, nil) })
}

func (r *AsyncResult) handles(tuples []ResultTuple, list []*AsyncResult) []*AsyncResult {
	for _, t := range tuples {
		if t.Children != nil {
			list = r.handles(t.Children, list)
			continue
		}
		list = append(list, NewAsyncResult(t.ID, r.backend))
	}
	return list
}

// Parent returns a handle on the task that sent this one, or nil when none is
// recorded.
func (r *AsyncResult) Parent(ctx context.Context) (*AsyncResult, error) {
	return read(ctx, r, func(m *TaskMeta) *AsyncResult {
		if m.ParentID == "" {
			return nil
		}
		return NewAsyncResult(m.ParentID, r.backend)
	})
}

// DateDone returns when the task became ready, in UTC; zero until then.
func (r *AsyncResult) DateDone(ctx context.Context) (time.Time, error) {
	return read(ctx, r, func(m *TaskMeta) time.Time { return m.DateDone })
}

// Forget deletes the result from the backend and from the handle.
func (r *AsyncResult) Forget(ctx context.Context) error {
	if r.backend == nil && r.err == nil {
		r.drop()
		return nil
	}
	if err := r.usable(); err != nil {
		return err
	}
	err := r.backend.Forget(ctx, r.id)
	r.drop()
	return err
}
