package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// others are the fields that get prints beside those of a record: what only tables have.
var others = map[string]func(m *celeryresults.TaskMeta, value any) error{
	"task_name":   setTaskName,
	"task_args":   func(m *celeryresults.TaskMeta, value any) error { return setRow(m, &rowOf(m).Args, value) },
	"task_kwargs": func(m *celeryresults.TaskMeta, value any) error { return setRow(m, &rowOf(m).Kwargs, value) },
	"error": func(*celeryresults.TaskMeta, any) error {
		return errors.New("the record could not be read whole where it came from")
	},
}

// known reports whether get prints a field of that name, but for stamps.
func known(name string) bool {
	at, _ := new(celeryresults.TaskMeta).Field(name)
	return at != nil || others[name] != nil
}

// setField puts the decoded value of a field into a meta.
func setField(m *celeryresults.TaskMeta, name string, value any) error {
	if set := others[name]; set != nil {
		return set(m, value)
	}
	at, extended := m.Field(name)
	m.Extended = m.Extended || extended || name == "stamped_headers"
	switch p := at.(type) {
	case *string:
		return setText(p, value)
	case *celeryresults.State:
		return setState(p, value)
	case *celeryresults.Value:
		if value != nil || !extended { // null arguments are none
			*p = celeryresults.NewValue(value)
		}
	case *int:
		return setCount(p, value)
	case *time.Time:
		t, err := parseInstant(value)
		*p = t
		return err
	case *[]string:
		return setTexts(p, value)
	case *[]celeryresults.ResultTuple:
		return setChildren(p, value)
	}
	return nil
}

// parseFields makes the meta to store of the fields that get prints.
func parseFields(fields map[string]any) (*celeryresults.TaskMeta, error) {
	m := &celeryresults.TaskMeta{Children: []celeryresults.ResultTuple{}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := setField(m, name, fields[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := setStamps(m, fields); err != nil {
		return nil, err
	}
	switch {
	case m.TaskID == "":
		return nil, errors.New("task_id: is missing")
	case m.State == "":
		return nil, errors.New("status: is missing")
	}
	return m, complete(m, fields)
}

// complete sets what depends on several fields: the exception of an exception
// state, and the time of a final one. Of others a table keeps when they were
// written.
func complete(m *celeryresults.TaskMeta, fields map[string]any) error {
	if m.State.Exception() {
		failure, err := exception(fields["result"])
		if err != nil {
			return fmt.Errorf("result: %w", err)
		}
		m.Result = celeryresults.NewValue(failure)
	}
	if _, isRow := fields["task_name"]; isRow && !hasExtended(m) {
		m.Extended = false // a row prints these fields in any case
	}
	_, given := fields["date_done"]
	switch {
	case !given && m.State.Ready():
		m.DateDone = time.Now().UTC().Truncate(time.Microsecond)
	case !m.DateDone.IsZero() && !m.State.Ready():
		rowOf(m).Updated, m.DateDone = m.DateDone, time.Time{}
	}
	return nil
}

// hasExtended reports whether one of the fields of result_extended says
// something.
func hasExtended(m *celeryresults.TaskMeta) bool {
	return m.Name != "" || m.Worker != "" || m.Queue != "" || m.Retries > 0 || len(m.StampedHeaders) > 0 ||
		!m.Args.IsZero() || !m.Kwargs.IsZero() || m.Row != nil && m.Row.Args+m.Row.Kwargs != ""
}

// setStamps takes the fields that stamped_headers lists and refuses all other
// unknown ones.
func setStamps(m *celeryresults.TaskMeta, fields map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !known(name) && !slices.Contains(m.StampedHeaders, name) {
			return fmt.Errorf("unknown field %q", name)
		}
	}
	for _, name := range m.StampedHeaders {
		if known(name) {
			return fmt.Errorf("stamped_headers: %q is a field of its own", name)
		}
		if stamp, ok := fields[name]; ok {
			m.Extra = append(m.Extra, celeryresults.Extra{Name: name, Value: celeryresults.NewValue(stamp)})
		}
	}
	return nil
}

var (
	errNotText      = errors.New("must be a text")
	errNotCount     = errors.New("must be a whole number, 0 or more")
	errNotTime      = errors.New("must be an ISO 8601 time, such as 2026-11-21T08:30:15.123456+00:00")
	errNotTexts     = errors.New("must be a list of different texts")
	errNotTuples    = errors.New("must be a list of result tuples, [[[id, parent], children], …], or null")
	errNotException = errors.New(`must be {"exc_type": …, "exc_message": …, "exc_module": …} or a text`)
)

// setText sets a string; null is empty.
func setText(p *string, value any) error {
	s, ok := value.(string)
	if !ok && value != nil {
		return errNotText
	}
	*p = s
	return nil
}

// setRow sets a text that only a row has.
func setRow(m *celeryresults.TaskMeta, p *string, value any) error {
	m.Extended = true
	return setText(p, value)
}

// rowOf returns what only a table keeps of the record.
func rowOf(m *celeryresults.TaskMeta) *celeryresults.Row {
	if m.Row == nil {
		m.Row = new(celeryresults.Row)
	}
	return m.Row
}

// setTaskName sets the name, which a table prints as name, too.
func setTaskName(m *celeryresults.TaskMeta, value any) error {
	name, ok := value.(string)
	switch {
	case value == nil:
		return nil
	case !ok:
		return errNotText
	case m.Name != "" && m.Name != name:
		return fmt.Errorf("%q is not the name, %q", name, m.Name)
	}
	m.Extended, m.Name = true, name
	return nil
}

// parseInstant reads a time in any form that plain or kombu's JSON has. One
// without an offset is in UTC.
func parseInstant(value any) (time.Time, error) {
	switch v := value.(type) {
	case nil:
		return time.Time{}, nil
	case time.Time:
		return v.UTC(), nil
	case python.DateTime:
		return v.Time.UTC(), nil
	case string:
		return parseISO(v)
	}
	return time.Time{}, errNotTime
}

func parseISO(s string) (time.Time, error) {
	s = strings.Replace(s, " ", "T", 1)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		t, err := time.Parse(layout, s)
		if utc := t.UTC(); err == nil && utc.Year() >= 1 && utc.Year() <= 9999 {
			return utc.Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, errNotTime
}

// knownStates are Celery's, to notice what is meant to be one of them.
var knownStates = []celeryresults.State{
	celeryresults.Pending, celeryresults.Received, celeryresults.Started, celeryresults.Success, celeryresults.Failure,
	celeryresults.Revoked, celeryresults.Rejected, celeryresults.Retry, celeryresults.Ignored,
}

func setState(p *celeryresults.State, value any) error {
	s, _ := value.(string)
	if s == "" {
		return errNotText
	}
	for _, known := range knownStates {
		if s != string(known) && strings.EqualFold(s, string(known)) {
			return fmt.Errorf("%q is written %s", s, known)
		}
	}
	*p = celeryresults.State(s)
	return nil
}

func setCount(p *int, value any) error {
	n, ok := value.(int64)
	if value != nil && (!ok || n < 0 || n > math.MaxInt32) {
		return errNotCount
	}
	*p = int(n)
	return nil
}

func setTexts(p *[]string, value any) error {
	list, ok := value.([]any)
	if !ok && value != nil {
		return errNotTexts
	}
	for _, item := range list {
		name, ok := item.(string)
		if !ok || slices.Contains(*p, name) {
			return errNotTexts
		}
		*p = append(*p, name)
	}
	return nil
}

func setChildren(p *[]celeryresults.ResultTuple, value any) error {
	children, ok := parseTuples(value)
	if !ok {
		return errNotTuples
	}
	*p = children
	return nil
}

// parseTuples reads a list of result tuples; null is nil.
func parseTuples(value any) ([]celeryresults.ResultTuple, bool) {
	list, ok := value.([]any)
	if !ok {
		return nil, value == nil
	}
	tuples := make([]celeryresults.ResultTuple, len(list))
	for i, item := range list {
		if tuples[i], ok = parseTuple(item); !ok {
			return nil, false
		}
	}
	return tuples, true
}

// parseTuple reads [[id, parent], children].
func parseTuple(value any) (t celeryresults.ResultTuple, ok bool) {
	pair, _ := value.([]any)
	if len(pair) != 2 {
		return t, false
	}
	head, _ := pair[0].([]any)
	if len(head) != 2 {
		return t, false
	}
	if t.ID, _ = head[0].(string); t.ID == "" {
		return t, false
	}
	if t.Children, ok = parseTuples(pair[1]); !ok || head[1] == nil {
		return t, ok
	}
	parent, ok := parseTuple(head[1])
	t.Parent = &parent
	return t, ok
}

// exception reads the result of an exception state: Celery's object, a text,
// or nothing.
func exception(result any) (*celeryresults.TaskError, error) {
	plain := &celeryresults.TaskError{Type: "Exception", Module: "builtins"}
	switch r := result.(type) {
	case nil:
		return plain, nil
	case string:
		plain.Args = []any{r}
		return plain, nil
	case map[string]any:
		return exceptionObject(r)
	}
	return nil, errNotException
}

func exceptionObject(object map[string]any) (*celeryresults.TaskError, error) {
	for name := range object {
		if name != "exc_type" && name != "exc_message" && name != "exc_module" {
			return nil, fmt.Errorf("unknown field %q: %w", name, errNotException)
		}
	}
	typ, _ := object["exc_type"].(string)
	module, ok := object["exc_module"].(string)
	if typ == "" || !ok && object["exc_module"] != nil {
		return nil, errNotException
	}
	e := &celeryresults.TaskError{Type: typ, Module: module}
	switch message := object["exc_message"].(type) {
	case nil:
	case []any:
		e.Args = message
	default:
		e.Args = []any{message}
	}
	return e, nil
}
