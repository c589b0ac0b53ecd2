package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// printMeta prints what is stored of one task. A value that can't be decoded is
// printed as null and reported.
func (c *cli) printMeta(meta *celeryresults.TaskMeta) error {
	r := newRecord(meta)
	if err := c.print(r.fields, r.rows(meta)); err != nil {
		return err
	}
	if r.err != nil {
		c.report(fmt.Sprintf("task %q", meta.TaskID), withStatus(statusFailed, r.err))
	}
	return nil
}

// record is a meta as get prints it.
type record struct {
	fields python.Dict
	err    error // of the values that can't be decoded
}

func newRecord(m *celeryresults.TaskMeta) *record {
	r := &record{fields: make(python.Dict, 0, 20)}
	r.add("task_id", m.TaskID)
	r.add("status", string(m.State))
	r.addResult(m)
	r.add("traceback", textOrNull(m.Traceback))
	r.add("children", tuples(m.Children))
	r.add("date_done", timeOrNull(m.DateDone))
	if m.Extended {
		r.addExtended(m)
	}
	r.addPresent(m)
	r.addExtra(m)
	if r.err != nil {
		r.add("error", reason(r.err))
	}
	return r
}

func (r *record) add(name string, value any) {
	r.fields = append(r.fields, python.Pair{Key: name, Value: value})
}

func (r *record) addResult(m *celeryresults.TaskMeta) {
	failure, ok := errors.AsType[*celeryresults.TaskError](m.Err())
	if !ok {
		r.addValue("result", m.Result)
		return
	}
	if err := failure.Unwrap(); err != nil {
		r.fail("result", err)
		return
	}
	r.add("result", python.Dict{
		{Key: "exc_type", Value: failure.Type},
		{Key: "exc_message", Value: python.Tuple(failure.Args)},
		{Key: "exc_module", Value: textOrNull(failure.Module)},
	})
}

func (r *record) addValue(name string, v celeryresults.Value) {
	tree, err := v.Any()
	if err != nil {
		r.fail(name, err)
		return
	}
	r.add(name, tree)
}

func (r *record) fail(name string, err error) {
	r.add(name, nil)
	r.err = errors.Join(r.err, fmt.Errorf("%s: %w", name, err))
}

func (r *record) addExtended(m *celeryresults.TaskMeta) {
	r.add("name", textOrNull(m.Name))
	r.addValue("args", m.Args)
	r.addValue("kwargs", m.Kwargs)
	r.add("worker", textOrNull(m.Worker))
	r.add("retries", m.Retries)
	r.add("queue", textOrNull(m.Queue))
}

// addPresent adds what is printed only where the store has it.
func (r *record) addPresent(m *celeryresults.TaskMeta) {
	for _, f := range []row{
		{"group_id", m.GroupID}, {"parent_id", m.ParentID}, {"root_id", m.RootID},
		{"periodic_task_name", m.PeriodicTaskName},
	} {
		if f.text != "" {
			r.add(f.name, f.text)
		}
	}
	if !m.DateCreated.IsZero() {
		r.add("date_created", m.DateCreated.UTC())
	}
	if !m.DateStarted.IsZero() {
		r.add("date_started", m.DateStarted.UTC())
	}
	if !m.Meta.IsZero() {
		r.addValue("meta", m.Meta)
	}
}

// addExtra adds the stamps and what other writers added, as far as their names
// are free.
func (r *record) addExtra(m *celeryresults.TaskMeta) {
	if len(m.StampedHeaders) > 0 {
		r.add("stamped_headers", m.StampedHeaders)
	}
	for _, extra := range m.Extra {
		if _, taken := r.fields.Get(extra.Name); !taken {
			r.addValue(extra.Name, extra.Value)
		}
	}
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

// tuples returns a list of result tuples as plain JSON has them, null for nil.
func tuples(list []celeryresults.ResultTuple) any {
	if list == nil {
		return nil
	}
	out := make([]any, len(list))
	for i, t := range list {
		out[i] = tuple(t)
	}
	return out
}

func tuple(t celeryresults.ResultTuple) any {
	var parent any
	if t.Parent != nil {
		parent = tuple(*t.Parent)
	}
	return []any{[]any{t.ID, parent}, tuples(t.Children)}
}

// rows returns the record for people: without what is empty, exceptions and
// children in a line, and the traceback at the end.
func (r *record) rows(m *celeryresults.TaskMeta) []row {
	var rows []row
	for _, field := range r.fields {
		name := field.Key.(string)
		if text := textOf(name, field.Value, m); text != "" && name != "traceback" {
			rows = append(rows, row{name, text})
		}
	}
	if m.Traceback != "" {
		rows = append(rows, row{"traceback", m.Traceback})
	}
	return rows
}

// valueFields are the fields whose text needs quotes, to tell "5" from 5.
var valueFields = map[string]bool{"result": true, "args": true, "kwargs": true, "meta": true}

func textOf(name string, value any, m *celeryresults.TaskMeta) string {
	text, isText := value.(string)
	switch {
	case name == "children":
		return idsOf(m.Children)
	case name == "result" && value != nil && m.State.Exception():
		return m.Err().Error()
	case value == nil && !valueFields[name]:
		return ""
	case isText && !valueFields[name]:
		return text
	}
	if at, ok := value.(time.Time); ok {
		return string(python.AppendISO(nil, at))
	}
	return string(python.JSON(nil, value))
}

// idsOf lists the ids, a group's members behind it in parentheses.
func idsOf(list []celeryresults.ResultTuple) string {
	ids := make([]string, len(list))
	for i, t := range list {
		ids[i] = t.ID
		if t.Children != nil {
			ids[i] += " (" + idsOf(t.Children) + ")"
		}
	}
	return strings.Join(ids, ", ")
}
