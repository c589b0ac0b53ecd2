package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// printMeta prints what is stored of one task. A value that can't be decoded is
// printed as null and reported.
func (c *cli) printMeta(meta *celeryresults.TaskMeta) error {
	r := newRecord(meta)
	err := c.print(r.fields, r.rows(meta))
	if errors.Is(err, serialization.ErrUnsupported) { // kombu's JSON does not hold it
		c.report(fmt.Sprintf("task %q", meta.TaskID), err)
		return nil
	}
	if err != nil {
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
	fields, err := m.Plain()
	if err != nil {
		fields = append(fields, python.Pair{Key: "error", Value: reason(err)})
	}
	return &record{fields, err}
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
