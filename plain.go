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
	p.addFields(m, last, inAll)
	if m.Row != nil && m.Row.ID != 0 {
		p.addRow(m)
	} else if m.Extended {
		p.addFields(m, inExtended)
	}
	p.addFields(m, whereSet, ours, stamps)
	p.addExtra(m)
	return p.fields, p.err
}

// addFields adds the fields of some classes.
func (p *plainMeta) addFields(m *TaskMeta, classes ...fieldClass) {
	for _, class := range classes {
		for i := range metaFields {
			f := &metaFields[i]
			if at := f.at(m); f.class == class && f.stands(at, true) {
				p.addField(m, f.name.(string), at)
			}
		}
	}
}

// addField adds a field as Field returns it.
func (p *plainMeta) addField(m *TaskMeta, name string, at any) {
	switch f := at.(type) {
	case *string:
		p.add(name, textOrNone(*f))
	case *State:
		p.add(name, string(*f))
	case *int:
		p.add(name, int64(*f))
	case *[]ResultTuple:
		p.add(name, tuples(*f))
	case *[]string:
		p.add(name, texts(*f))
	case *time.Time:
		t := *f
		if name == "date_done" {
			t = m.dateDone()
		}
		p.add(name, timeOrNone(t))
	case *Value:
		if name == "result" {
			p.addResult(m)
		} else {
			p.addValue(name, *f)
		}
	}
}

func texts(list []string) []any {
	plain := make([]any, len(list))
	for i, text := range list {
		plain[i] = text
	}
	return plain
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

func (p *plainMeta) addText(name, text string) {
	if text != "" {
		p.add(name, text)
	}
}

// addExtra adds the stamps and what other writers added, as far as their names
// are free.
func (p *plainMeta) addExtra(m *TaskMeta) {
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
