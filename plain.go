package celeryresults

import (
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// Plain returns the meta as a mapping of plain values, in the order in which
// the command prints it: task_id, status, result, traceback, children and
// date_done, then the fields that the store has, stamps and extras. An
// exception is a mapping of exc_type, exc_message and exc_module, as Celery
// stores it in JSON. A value that can't be decoded is None, and the error,
// which joins all of these, says why.
func (m *TaskMeta) Plain() (python.Dict, error) {
	p := plainMeta{fields: make(python.Dict, 0, 20)}
	p.add("task_id", m.TaskID)
	p.add("status", string(m.State))
	p.addResult(m)
	p.add("traceback", textOrNone(m.Traceback))
	p.add("children", tuples(m.Children))
	p.add("date_done", timeOrNone(m.dateDone()))
	if m.Row != nil && m.Row.ID != 0 {
		p.addRow(m)
	} else if m.Extended {
		p.addExtended(m)
	}
	p.addPresent(m)
	p.addExtra(m)
	return p.fields, p.err
}

// MarshalJSON returns what Plain does as one object of plain JSON (see
// python.JSON), with the error, if there is one, under error.
func (m *TaskMeta) MarshalJSON() ([]byte, error) {
	fields, err := m.Plain()
	if err != nil {
		fields = append(fields, python.Pair{Key: "error", Value: err.Error()})
	}
	return python.JSON(nil, fields), nil
}

// plainMeta collects the fields of Plain.
type plainMeta struct {
	fields python.Dict
	err    error // of the values that can't be decoded
}

func (p *plainMeta) add(name string, value any) {
	p.fields = append(p.fields, python.Pair{Key: name, Value: value})
}

func (p *plainMeta) addValue(name string, v Value) {
	tree, err := v.Any()
	p.addDecoded(name, tree, err)
}

func (p *plainMeta) addDecoded(name string, tree any, err error) {
	if err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("%s: %w", name, err))
		tree = nil
	}
	p.add(name, tree)
}

func (p *plainMeta) addResult(m *TaskMeta) {
	if !m.State.Exception() {
		p.addValue("result", m.Result)
		return
	}
	e := m.failure()
	if e.cause != nil {
		p.addDecoded("result", nil, e.cause)
		return
	}
	tree, err := e.tree()
	p.addDecoded("result", tree, err)
}

// tree returns the exception as Celery stores it in JSON
// (Backend.prepare_exception).
func (e *TaskError) tree() (any, error) {
	args, err := python.Plain(append([]any{}, e.Args...))
	if err != nil {
		return nil, fmt.Errorf("celeryresults: arguments of %s: %w", e.Type, err)
	}
	return python.Dict{
		{Key: "exc_type", Value: e.Type}, {Key: "exc_message", Value: args}, {Key: "exc_module", Value: textOrNone(e.Module)},
	}, nil
}

func (p *plainMeta) addExtended(m *TaskMeta) {
	p.add("name", textOrNone(m.Name))
	p.addValue("args", m.Args)
	p.addValue("kwargs", m.Kwargs)
	p.add("worker", textOrNone(m.Worker))
	p.add("retries", int64(m.Retries))
	p.add("queue", textOrNone(m.Queue))
}

// dateDone returns the time that Python reads as date_done: in a table that of
// the last write, whatever the state.
func (m *TaskMeta) dateDone() time.Time {
	if m.Row != nil && !m.Row.Updated.IsZero() {
		return m.Row.Updated
	}
	return m.DateDone
}

// addRow adds the columns of django-celery-results, under the names that it
// gives them, too, and of the other extended fields those that are there.
func (p *plainMeta) addRow(m *TaskMeta) {
	p.add("name", textOrNone(m.Name))
	p.add("task_name", textOrNone(m.Name))
	p.add("task_args", textOrNone(m.Row.Args))
	p.add("task_kwargs", textOrNone(m.Row.Kwargs))
	p.addValue("args", m.Args)
	p.addValue("kwargs", m.Kwargs)
	p.add("worker", textOrNone(m.Worker))
	if m.Retries > 0 {
		p.add("retries", int64(m.Retries))
	}
	p.addText("queue", m.Queue)
	p.addCut("args_cut", m.Row.ArgsCut)
	p.addCut("kwargs_cut", m.Row.KwargsCut)
}

// addCut says what stands for arguments that were too large.
func (p *plainMeta) addCut(name string, cut *Cut) {
	if cut != nil {
		p.add(name, python.Dict{{Key: "size", Value: int64(cut.Size)}, {Key: "sha256", Value: cut.SHA256}})
	}
}

// addPresent adds what is shown only where the store has it.
func (p *plainMeta) addPresent(m *TaskMeta) {
	p.addText("group_id", m.GroupID)
	p.addText("parent_id", m.ParentID)
	p.addText("root_id", m.RootID)
	p.addText("periodic_task_name", m.PeriodicTaskName)
	if !m.DateCreated.IsZero() {
		p.add("date_created", m.DateCreated.UTC())
	}
	if !m.DateStarted.IsZero() {
		p.add("date_started", m.DateStarted.UTC())
	}
	if !m.Meta.IsZero() {
		p.addValue("meta", m.Meta)
	}
}

func (p *plainMeta) addText(name, text string) {
	if text != "" {
		p.add(name, text)
	}
}

// addExtra adds the stamps and what other writers added, as far as their names
// are free.
func (p *plainMeta) addExtra(m *TaskMeta) {
	if len(m.StampedHeaders) > 0 {
		headers := make([]any, len(m.StampedHeaders))
		for i, header := range m.StampedHeaders {
			headers[i] = header
		}
		p.add("stamped_headers", headers)
	}
	taken := map[string]bool{}
	for _, pair := range p.fields {
		taken[pair.Key.(string)] = true
	}
	for _, extra := range m.Extra {
		if !taken[extra.Name] {
			taken[extra.Name] = true
			p.addValue(extra.Name, extra.Value)
		}
	}
}

func textOrNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeOrNone(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

// Plain returns Celery's result tuple as lists: [[id, parent], children or
// None].
func (r ResultTuple) Plain() any {
	var parent any
	if r.Parent != nil {
		parent = r.Parent.Plain()
	}
	return []any{[]any{r.ID, parent}, tuples(r.Children)}
}

// MarshalJSON returns what Plain does in JSON.
func (r ResultTuple) MarshalJSON() ([]byte, error) { return python.JSON(nil, r.Plain()), nil }

// tuples returns the list of result tuples; None for nil.
func tuples(list []ResultTuple) any {
	if list == nil {
		return nil
	}
	out := make([]any, len(list))
	for i, t := range list {
		out[i] = t.Plain()
	}
	return out
}
