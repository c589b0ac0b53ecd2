package celeryresults

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/celeryresults/celeryresults/python"
)

// MarshalJSON returns the meta as one plain JSON object, the form in which the
// command prints it and HTTP answers it: task_id, status, result, traceback,
// children and date_done, then the fields that the store has, stamps and
// extras. Values take the forms of python.JSON, an exception is an object of
// exc_type, exc_message and exc_module, and a payload that can't be decoded is
// null with the reason under error.
func (m *TaskMeta) MarshalJSON() ([]byte, error) {
	o := object{}
	o.add("task_id", m.TaskID)
	o.add("status", m.State)
	o.addResult(m)
	o.add("traceback", orNull(m.Traceback))
	o.add("children", m.Children)
	o.addTime("date_done", m.DateDone, true)
	o.addText("group_id", m.GroupID)
	o.addText("parent_id", m.ParentID)
	o.addText("root_id", m.RootID)
	if m.Extended {
		o.add("name", orNull(m.Name))
		o.addValue("args", m.Args)
		o.addValue("kwargs", m.Kwargs)
		o.add("worker", orNull(m.Worker))
		o.add("retries", m.Retries)
		o.add("queue", orNull(m.Queue))
	}
	o.addText("periodic_task_name", m.PeriodicTaskName)
	o.addTime("date_created", m.DateCreated, false)
	o.addTime("date_started", m.DateStarted, false)
	if !m.Meta.IsZero() {
		o.addValue("meta", m.Meta)
	}
	if m.StampedHeaders != nil {
		o.add("stamped_headers", m.StampedHeaders)
	}
	for _, e := range m.Extra {
		o.addValue(e.Name, e.Value)
	}
	return o.end()
}

// object builds a JSON object. The first value that can't be decoded is
// reported in it, under error.
type object struct {
	buf    bytes.Buffer
	broken error
	err    error
}

func (o *object) add(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil && o.err == nil {
		o.err = err
	}
	o.raw(name, data)
}

func (o *object) raw(name string, data []byte) {
	separator := byte(',')
	if o.buf.Len() == 0 {
		separator = '{'
	}
	o.buf.WriteByte(separator)
	o.buf.Write(python.JSON(nil, name))
	o.buf.WriteByte(':')
	o.buf.Write(data)
}

func (o *object) addText(name, s string) {
	if s != "" {
		o.add(name, s)
	}
}

func (o *object) addTime(name string, t time.Time, always bool) {
	switch {
	case !t.IsZero():
		o.raw(name, python.JSON(nil, t.UTC()))
	case always:
		o.raw(name, []byte("null"))
	}
}

func (o *object) addValue(name string, v Value) {
	tree, err := v.Any()
	if err != nil && o.broken == nil {
		o.broken = err
	}
	o.raw(name, python.JSON(nil, tree))
}

func (o *object) addResult(m *TaskMeta) {
	if !m.State.Exception() {
		o.addValue("result", m.Result)
		return
	}
	e := m.failure()
	if e.cause != nil {
		o.broken = e.cause
		o.raw("result", []byte("null"))
		return
	}
	o.raw("result", python.JSON(nil, e.tree()))
}

// tree returns the exception as Celery's dict (Backend.prepare_exception).
func (e *TaskError) tree() any {
	args := e.Args
	if args == nil {
		args = []any{}
	}
	return python.Dict{{Key: "exc_type", Value: e.Type}, {Key: "exc_message", Value: args}, {Key: "exc_module", Value: orNull(e.Module)}}
}

func (o *object) end() ([]byte, error) {
	if o.broken != nil {
		o.add("error", o.broken.Error())
	}
	o.buf.WriteByte('}')
	return o.buf.Bytes(), o.err
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// MarshalJSON returns Celery's result tuple, [[id, parent], children or null].
func (r ResultTuple) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{[2]any{r.ID, r.Parent}, r.Children})
}
