package celeryresults

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// Request is one run of a task, as a worker or a sender knows it: the part of
// Celery's request (celery.app.task.Context) that results need. Every field
// but ID may be empty.
type Request struct {
	ID   string // task id
	Task string // task name, which chooses the backend

	// Args are the positional arguments and Kwargs the named ones: a slice
	// and a map or struct, or anything that a Value holds.
	Args, Kwargs any

	// ArgsRepr and KwargsRepr are what people are shown of the arguments in a
	// table of results, such as "(<card number>, 5)" to keep a secret from
	// them (Celery's argsrepr and kwargsrepr). Where ArgsRepr is set, Args are not
	// stored, and so with the other. Default: Python's repr of the arguments.
	ArgsRepr, KwargsRepr string

	Worker  string // Celery's hostname
	Retries int    // how often it ran before; 0 for the first run
	Queue   string // Celery's routing key

	ParentID string        // of the task that sent this one
	RootID   string        // of the first task of the workflow
	GroupID  string        // of the group that the task belongs to
	Children []ResultTuple // tasks that this one sent

	// Stamps are Celery's stamps by header. StampedHeaders names those to
	// store, in order; nil: all, sorted.
	StampedHeaders []string
	Stamps         map[string]any

	PeriodicTaskName string // of celery beat's entry

	// Meta is the caller's own metadata, kept beside the result.
	Meta map[string]any

	// IgnoreResult and StoreErrorsEvenIfIgnored override the settings of the
	// same names. Default: nil, which follows the settings.
	IgnoreResult, StoreErrorsEvenIfIgnored *bool
}

// RecordPending records that the task was sent, and when, for readers who want
// to tell a queued task from an unknown one; the next store replaces that record whole. It never overwrites anything: when a
// record stands already, it changes nothing and returns nil. Celery has no
// counterpart; Python reads the record as PENDING.
func (a *App) RecordPending(ctx context.Context, req *Request) error {
	if req == nil {
		return ErrNoTaskID
	}
	if a.ignored(req) {
		return nil
	}
	meta := a.meta(req, Pending, Value{})
	meta.DateCreated = now()
	err := a.BackendFor(req.Task).StoreResult(ctx, meta)
	if errors.Is(err, ErrRefused) {
		return nil
	}
	return err
}

// MarkAsStarted stores STARTED with the process id and worker name, only if
// task_track_started is set (Celery's mark_as_started).
func (a *App) MarkAsStarted(ctx context.Context, req *Request) error {
	if req == nil {
		return ErrNoTaskID
	}
	if !a.settings.TaskTrackStarted || a.ignored(req) {
		return nil
	}
	running := python.Dict{{Key: "pid", Value: os.Getpid()}, {Key: "hostname", Value: req.Worker}}
	meta := a.meta(req, Started, NewValue(running))
	meta.DateStarted = now()
	return a.BackendFor(req.Task).StoreResult(ctx, meta)
}

// UpdateState stores a state of the caller's own with its meta, such as
// PROGRESS with a map of numbers (Celery's Task.update_state). As there, it
// stores even where results are ignored: the call is explicit.
func (a *App) UpdateState(ctx context.Context, req *Request, state State, info any) error {
	return a.store(ctx, req, state, NewValue(info), "")
}

// MarkAsDone stores SUCCESS with the return value (Celery's mark_as_done).
func (a *App) MarkAsDone(ctx context.Context, req *Request, result any) error {
	if req != nil && a.ignored(req) {
		return nil
	}
	return a.store(ctx, req, Success, NewValue(result), "")
}

// MarkAsFailure stores FAILURE with the error as Python's exception; see
// NewTaskError for how it is named (Celery's mark_as_failure). A nil error is
// an empty Exception.
func (a *App) MarkAsFailure(ctx context.Context, req *Request, err error) error {
	return a.storeError(ctx, req, Failure, err)
}

// MarkAsRetry stores RETRY with the error that made the task run again
// (Celery's mark_as_retry).
func (a *App) MarkAsRetry(ctx context.Context, req *Request, err error) error {
	return a.storeError(ctx, req, Retry, err)
}

// MarkAsRevoked stores REVOKED with Celery's TaskRevokedError of the reason
// (Celery's mark_as_revoked).
func (a *App) MarkAsRevoked(ctx context.Context, req *Request, reason string) error {
	return a.storeError(ctx, req, Revoked, &TaskError{
		Type: "TaskRevokedError", Module: "celery.exceptions", Args: []any{reason},
	})
}

// Apply runs the task at once, in this goroutine, and returns its result
// without a store (Celery's Task.apply). With task_store_eager_result the
// result is stored, too; an error of the store is returned beside the result.
func (a *App) Apply(ctx context.Context, req *Request, run func(context.Context) (any, error)) (*AsyncResult, error) {
	if req == nil {
		return nil, ErrNoTaskID
	}
	value, err := run(ctx)
	if err != nil {
		eager := NewEagerResult(req.ID, NewTaskError(err), Failure)
		if a.settings.TaskStoreEagerResult {
			return eager, a.MarkAsFailure(ctx, req, err)
		}
		return eager, nil
	}
	eager := NewEagerResult(req.ID, value, Success)
	if a.settings.TaskStoreEagerResult {
		return eager, a.MarkAsDone(ctx, req, value)
	}
	return eager, nil
}

func (a *App) ignored(req *Request) bool {
	if req.IgnoreResult != nil {
		return *req.IgnoreResult
	}
	return a.settings.TaskIgnoreResult
}

func (a *App) errorsIgnored(req *Request) bool {
	if req.StoreErrorsEvenIfIgnored != nil {
		return a.ignored(req) && !*req.StoreErrorsEvenIfIgnored
	}
	return a.ignored(req) && !a.settings.TaskStoreErrorsEvenIfIgnored
}

func (a *App) storeError(ctx context.Context, req *Request, state State, err error) error {
	if req != nil && a.errorsIgnored(req) {
		return nil
	}
	failure := NewTaskError(err)
	return a.store(ctx, req, state, NewValue(failure), failure.Traceback)
}

func (a *App) store(ctx context.Context, req *Request, state State, result Value, traceback string) error {
	if req == nil {
		return ErrNoTaskID
	}
	meta := a.meta(req, state, result)
	meta.Traceback = traceback
	return a.BackendFor(req.Task).StoreResult(ctx, meta)
}

// meta returns what there is to store of the request. Which of it is stored
// is the backend's matter (result_extended).
func (a *App) meta(req *Request, state State, result Value) *TaskMeta {
	m := &TaskMeta{
		TaskID: req.ID, State: state, Result: result,
		Children: req.Children,
		GroupID:  req.GroupID, ParentID: req.ParentID, RootID: req.RootID,
		Name: req.Task, Args: NewValue(req.Args), Kwargs: NewValue(req.Kwargs),
		Worker: req.Worker, Retries: req.Retries, Queue: req.Queue,
		PeriodicTaskName: req.PeriodicTaskName,
		StampedHeaders:   req.StampedHeaders,
	}
	if len(a.settings.ResultRedact) > 0 {
		m.Args, m.Kwargs = hiddenArgs(req.Args), redacted(req.Kwargs, a.settings.ResultRedact)
	}
	if m.Children == nil {
		m.Children = []ResultTuple{}
	}
	if req.ArgsRepr != "" || req.KwargsRepr != "" {
		m.redact(req)
	}
	if state.Ready() {
		m.DateDone = now()
	}
	if len(req.Meta) > 0 {
		m.Meta = NewValue(req.Meta)
	}
	if m.StampedHeaders == nil {
		m.StampedHeaders = sortedNames(req.Stamps)
	}
	for _, header := range m.StampedHeaders {
		if value, ok := req.Stamps[header]; ok {
			m.Extra = append(m.Extra, Extra{header, NewValue(value)})
		}
	}
	return m
}

// redacted returns named arguments without the values that are not to be stored.
func redacted(kwargs any, names []string) Value {
	tree, err := NewValue(kwargs).Any()
	if err != nil { // it can't be stored: StoreResult says so
		return NewValue(kwargs)
	}
	return NewValue(python.Redact(tree, names))
}

// hiddenArgs returns positional arguments of which only the number is to be seen.
func hiddenArgs(args any) Value {
	tree, err := NewValue(args).Any()
	if err != nil {
		return NewValue(args)
	}
	var list []any
	switch t := tree.(type) {
	case nil:
		return Value{}
	case []any:
		list = t
	case python.Tuple:
		list = t
	default:
		return NewValue(python.Redacted)
	}
	hidden := make([]any, len(list))
	for i := range hidden {
		hidden[i] = python.Redacted
	}
	return NewValue(hidden)
}

// redact puts texts of the caller's own in the place of arguments.
func (m *TaskMeta) redact(req *Request) {
	m.Row = &Row{Args: req.ArgsRepr, Kwargs: req.KwargsRepr}
	if req.ArgsRepr != "" {
		m.Args = NewValue(req.ArgsRepr)
	}
	if req.KwargsRepr != "" {
		m.Kwargs = NewValue(req.KwargsRepr)
	}
}

// now is the time as results keep it: UTC with microseconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
