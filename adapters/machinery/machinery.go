// Package machinery lets programs of github.com/RichardKnop/machinery/v2 keep their
// results in any backend of celeryresults: a *Backend is machinery's iface.Backend. One
// line of a program changes, the one that makes its backend. Python and whoever else
// knows a task's id then reads its result as one of Celery's.
package machinery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/RichardKnop/machinery/v2/backends/iface"
	"github.com/RichardKnop/machinery/v2/tasks"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// patience is how long a backend may take, as machinery has no contexts here.
const patience = 30 * time.Second

// typesName is the entry of a result's metadata that has machinery's names of the values'
// types.
const typesName = "machinery_types"

// Backend is machinery's Backend over one of celeryresults. Make one with New. It is safe for
// concurrent use.
//
// The result of a task that returns one value is that value, of one that returns
// several a list of them, and of one that returns none None. A result that stands
// already is no error: of a task that is delivered twice, the first counts.
type Backend struct {
	backend *celeryresults.Backend
}

var _ iface.Backend = (*Backend)(nil)

// New returns a Backend over one that the caller closes.
func New(backend *celeryresults.Backend) *Backend { return &Backend{backend} }

func withPatience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// InitGroup saves a group.
func (b *Backend) InitGroup(groupUUID string, taskUUIDs []string) error {
	ctx, cancel := withPatience()
	defer cancel()
	group := celeryresults.ResultTuple{ID: groupUUID, Children: []celeryresults.ResultTuple{}}
	for _, id := range taskUUIDs {
		group.Children = append(group.Children, celeryresults.ResultTuple{ID: id})
	}
	return wrap("init group", b.backend.SaveGroup(ctx, group))
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("machinery: %s: %w", what, err)
}

// members returns the results of a group's tasks.
func (b *Backend) members(ctx context.Context, groupUUID string) ([]*celeryresults.TaskMeta, error) {
	group, err := b.backend.RestoreGroup(ctx, groupUUID)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(group.Children))
	for i, child := range group.Children {
		ids[i] = child.ID
	}
	return b.backend.GetMany(ctx, ids)
}

// GroupCompleted reports whether as many tasks of the group as it is to have are done,
// whether or not they succeeded.
func (b *Backend) GroupCompleted(groupUUID string, groupTaskCount int) (bool, error) {
	ctx, cancel := withPatience()
	defer cancel()
	metas, err := b.members(ctx, groupUUID)
	if err != nil {
		return false, wrap("group completed", err)
	}
	done := 0
	for _, meta := range metas {
		if meta.State.Ready() {
			done++
		}
	}
	return done == groupTaskCount, nil
}

// GroupTaskStates returns the states of the group's tasks, in their order.
func (b *Backend) GroupTaskStates(groupUUID string, _ int) ([]*tasks.TaskState, error) {
	ctx, cancel := withPatience()
	defer cancel()
	metas, err := b.members(ctx, groupUUID)
	if err != nil {
		return nil, wrap("group task states", err)
	}
	states := make([]*tasks.TaskState, len(metas))
	for i, meta := range metas {
		if states[i], err = stateOf(meta); err != nil {
			return nil, wrap("group task states", err)
		}
	}
	return states, nil
}

// chordOf is the id of the record that says that a group's chord was triggered.
func chordOf(groupUUID string) string { return "machinery-chord-" + groupUUID }

// TriggerChord reports to one caller, and to no other, that it is to trigger the group's
// chord: a record decides, of which the first stands.
func (b *Backend) TriggerChord(groupUUID string) (bool, error) {
	ctx, cancel := withPatience()
	defer cancel()
	err := b.backend.StoreResult(ctx, &celeryresults.TaskMeta{
		TaskID: chordOf(groupUUID), State: celeryresults.Success, Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC(),
	})
	if errors.Is(err, celeryresults.ErrRefused) {
		return false, nil
	}
	return err == nil, wrap("trigger chord", err)
}

func (b *Backend) set(signature *tasks.Signature, state celeryresults.State, change func(*celeryresults.TaskMeta)) error {
	ctx, cancel := withPatience()
	defer cancel()
	meta := &celeryresults.TaskMeta{
		TaskID: signature.UUID, State: state, Name: signature.Name, GroupID: signature.GroupUUID,
		Children: []celeryresults.ResultTuple{}, Extended: true,
	}
	if state.Ready() {
		meta.DateDone = time.Now().UTC()
	}
	if change != nil {
		change(meta)
	}
	if err := b.backend.StoreResult(ctx, meta); err != nil && !errors.Is(err, celeryresults.ErrRefused) {
		return fmt.Errorf("machinery: set state %s: %w", state, err)
	}
	return nil
}

// SetStatePending records that a task was sent.
func (b *Backend) SetStatePending(signature *tasks.Signature) error {
	return b.set(signature, celeryresults.Pending, nil)
}

// SetStateReceived records that a worker has a task.
func (b *Backend) SetStateReceived(signature *tasks.Signature) error {
	return b.set(signature, tasks.StateReceived, nil)
}

// SetStateStarted records that a task runs.
func (b *Backend) SetStateStarted(signature *tasks.Signature) error {
	return b.set(signature, celeryresults.Started, nil)
}

// SetStateRetry records that a task will run again.
func (b *Backend) SetStateRetry(signature *tasks.Signature) error {
	return b.set(signature, celeryresults.Retry, func(meta *celeryresults.TaskMeta) {
		meta.Result = celeryresults.NewValue(failure("retry"))
	})
}

// SetStateSuccess stores what a task returned.
func (b *Backend) SetStateSuccess(signature *tasks.Signature, results []*tasks.TaskResult) error {
	values, types := make([]any, len(results)), make([]string, len(results))
	for i, result := range results {
		values[i], types[i] = result.Value, result.Type
	}
	return b.set(signature, celeryresults.Success, func(meta *celeryresults.TaskMeta) {
		switch len(values) {
		case 0:
		case 1:
			meta.Result = celeryresults.NewValue(values[0])
		default:
			meta.Result = celeryresults.NewValue(values)
		}
		meta.Meta = celeryresults.NewValue(map[string]any{typesName: types})
	})
}

// SetStateFailure stores why a task failed.
func (b *Backend) SetStateFailure(signature *tasks.Signature, err string) error {
	return b.set(signature, celeryresults.Failure, func(meta *celeryresults.TaskMeta) {
		meta.Result = celeryresults.NewValue(failure(err))
	})
}

func failure(text string) error {
	return &celeryresults.TaskError{Type: "Exception", Module: "builtins", Args: []any{text}}
}

// GetState returns a task's state: PENDING for one that is unknown. The results of a task
// that Python or another Go program ran have the types that their values suggest.
func (b *Backend) GetState(taskUUID string) (*tasks.TaskState, error) {
	ctx, cancel := withPatience()
	defer cancel()
	meta, err := b.backend.GetTaskMeta(ctx, taskUUID)
	if err != nil {
		return nil, wrap("get state", err)
	}
	state, err := stateOf(meta)
	return state, wrap("get state", err)
}

func stateOf(meta *celeryresults.TaskMeta) (*tasks.TaskState, error) {
	state := &tasks.TaskState{TaskUUID: meta.TaskID, TaskName: meta.Name, State: string(meta.State), CreatedAt: meta.DateCreated}
	switch {
	case meta.State == celeryresults.Success:
		var err error
		state.Results, err = resultsOf(meta)
		return state, err
	case meta.State.Ready(): // machinery knows no REVOKED
		state.State, state.Error = tasks.StateFailure, errorOf(meta)
	}
	return state, nil
}

// errorOf returns the text that a program gave, or what Python's exception says.
func errorOf(meta *celeryresults.TaskMeta) string {
	err := meta.Err()
	if e, ok := errors.AsType[*celeryresults.TaskError](err); ok && e.Type == "Exception" && len(e.Args) == 1 {
		return fmt.Sprint(e.Args[0])
	}
	return fmt.Sprint(err)
}

func resultsOf(meta *celeryresults.TaskMeta) ([]*tasks.TaskResult, error) {
	tree, err := meta.Result.Any()
	if err != nil {
		return nil, err
	}
	value, err := numbered(tree)
	if err != nil {
		return nil, err
	}
	types, known := typesOf(meta)
	values := []any{value}
	switch list, isList := value.([]any); {
	case known && len(types) == 0, !known && value == nil:
		return []*tasks.TaskResult{}, nil
	case known && isList && len(types) == len(list) && len(types) > 1:
		values = list
	case !known:
		types = []string{guess(tree)}
	}
	results := make([]*tasks.TaskResult, len(values))
	for i, v := range values {
		results[i] = &tasks.TaskResult{Type: types[i], Value: v}
	}
	return results, nil
}

// numbered returns a value as machinery's own backends do: from JSON, numbers being
// json.Number.
func numbered(tree any) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(python.JSON(nil, tree)))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// typesOf returns the types that SetStateSuccess kept.
func typesOf(meta *celeryresults.TaskMeta) ([]string, bool) {
	tree, err := meta.Meta.Any()
	doc, ok := tree.(map[string]any)
	if err != nil || !ok {
		return nil, false
	}
	list, ok := doc[typesName].([]any)
	types := make([]string, len(list))
	for i, item := range list {
		types[i], _ = item.(string)
	}
	return types, ok
}

// guess returns machinery's name for the type of a value of Python's.
func guess(tree any) string {
	switch t := tree.(type) {
	case bool:
		return "bool"
	case int64:
		return "int64"
	case float64:
		return "float64"
	case []byte:
		return "[]byte"
	case []any:
		if len(t) > 0 {
			if first := guess(t[0]); first != "[]byte" {
				return "[]" + first
			}
		}
		return "[]string"
	}
	return "string"
}

// IsAMQP is false: results stay when they have been read.
func (b *Backend) IsAMQP() bool { return false }

// PurgeState deletes a result.
func (b *Backend) PurgeState(taskUUID string) error {
	ctx, cancel := withPatience()
	defer cancel()
	return wrap("purge state", b.backend.Forget(ctx, taskUUID))
}

// PurgeGroupMeta deletes a group, not its tasks' results.
func (b *Backend) PurgeGroupMeta(groupUUID string) error {
	ctx, cancel := withPatience()
	defer cancel()
	return wrap("purge group", errors.Join(b.backend.DeleteGroup(ctx, groupUUID), b.backend.Forget(ctx, chordOf(groupUUID))))
}
