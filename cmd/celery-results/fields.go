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

// A setter puts the decoded value of one field into a meta.
type setter func(m *celeryresults.TaskMeta, value any) error

// setters are the fields that get prints, but stamps.
var setters = map[string]setter{
	"task_id":            text(func(m *celeryresults.TaskMeta) *string { return &m.TaskID }),
	"status":             setState,
	"result":             value(func(m *celeryresults.TaskMeta) *celeryresults.Value { return &m.Result }),
	"traceback":          text(func(m *celeryresults.TaskMeta) *string { return &m.Traceback }),
	"children":           setChildren,
	"date_done":          instant(func(m *celeryresults.TaskMeta) *time.Time { return &m.DateDone }),
	"name":               extended(text(func(m *celeryresults.TaskMeta) *string { return &m.Name })),
	"task_name":          setTaskName,
	"task_args":          extended(text(func(m *celeryresults.TaskMeta) *string { return &rowOf(m).Args })),
	"task_kwargs":        extended(text(func(m *celeryresults.TaskMeta) *string { return &rowOf(m).Kwargs })),
	"args":               extended(argument(func(m *celeryresults.TaskMeta) *celeryresults.Value { return &m.Args })),
	"kwargs":             extended(argument(func(m *celeryresults.TaskMeta) *celeryresults.Value { return &m.Kwargs })),
	"worker":             extended(text(func(m *celeryresults.TaskMeta) *string { return &m.Worker })),
	"retries":            extended(setRetries),
	"queue":              extended(text(func(m *celeryresults.TaskMeta) *string { return &m.Queue })),
	"group_id":           text(func(m *celeryresults.TaskMeta) *string { return &m.GroupID }),
	"parent_id":          text(func(m *celeryresults.TaskMeta) *string { return &m.ParentID }),
	"root_id":            text(func(m *celeryresults.TaskMeta) *string { return &m.RootID }),
	"periodic_task_name": text(func(m *celeryresults.TaskMeta) *string { return &m.PeriodicTaskName }),
	"date_created":       instant(func(m *celeryresults.TaskMeta) *time.Time { return &m.DateCreated }),
	"date_started":       instant(func(m *celeryresults.TaskMeta) *time.Time { return &m.DateStarted }),
	"meta":               value(func(m *celeryresults.TaskMeta) *celeryresults.Value { return &m.Meta }),
	"stamped_headers":    extended(setStampedHeaders),
	"error": func(*celeryresults.TaskMeta, any) error {
		return errors.New("the record could not be read whole where it came from")
	},
}

// parseFields makes the meta to store of the fields that get prints.
func parseFields(fields map[string]any) (*celeryresults.TaskMeta, error) {
	m := &celeryresults.TaskMeta{Children: []celeryresults.ResultTuple{}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		set, known := setters[name]
		if !known {
			continue
		}
		if err := set(m, fields[name]); err != nil {
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
		_, known := setters[name]
		if !known && !slices.Contains(m.StampedHeaders, name) {
			return fmt.Errorf("unknown field %q", name)
		}
	}
	for _, name := range m.StampedHeaders {
		if _, known := setters[name]; known {
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

// text sets a string; null is empty.
func text(field func(*celeryresults.TaskMeta) *string) setter {
	return func(m *celeryresults.TaskMeta, value any) error {
		s, ok := value.(string)
		if !ok && value != nil {
			return errNotText
		}
		*field(m) = s
		return nil
	}
}

func value(field func(*celeryresults.TaskMeta) *celeryresults.Value) setter {
	return func(m *celeryresults.TaskMeta, value any) error {
		*field(m) = celeryresults.NewValue(value)
		return nil
	}
}

// argument is value for what has no value when it is null.
func argument(field func(*celeryresults.TaskMeta) *celeryresults.Value) setter {
	return func(m *celeryresults.TaskMeta, v any) error {
		if v == nil {
			return nil
		}
		return value(field)(m, v)
	}
}

// instant sets a time; null is zero.
func instant(field func(*celeryresults.TaskMeta) *time.Time) setter {
	return func(m *celeryresults.TaskMeta, value any) error {
		t, err := parseInstant(value)
		*field(m) = t
		return err
	}
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

// extended notes that the fields of result_extended are there.
func extended(set setter) setter {
	return func(m *celeryresults.TaskMeta, value any) error {
		m.Extended = true
		return set(m, value)
	}
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

func setState(m *celeryresults.TaskMeta, value any) error {
	s, _ := value.(string)
	if s == "" {
		return errNotText
	}
	for _, known := range knownStates {
		if s != string(known) && strings.EqualFold(s, string(known)) {
			return fmt.Errorf("%q is written %s", s, known)
		}
	}
	m.State = celeryresults.State(s)
	return nil
}

func setRetries(m *celeryresults.TaskMeta, value any) error {
	n, ok := value.(int64)
	if value != nil && (!ok || n < 0 || n > math.MaxInt32) {
		return errNotCount
	}
	m.Retries = int(n)
	return nil
}

func setStampedHeaders(m *celeryresults.TaskMeta, value any) error {
	list, ok := value.([]any)
	if !ok && value != nil {
		return errNotTexts
	}
	for _, item := range list {
		name, ok := item.(string)
		if !ok || slices.Contains(m.StampedHeaders, name) {
			return errNotTexts
		}
		m.StampedHeaders = append(m.StampedHeaders, name)
	}
	return nil
}

func setChildren(m *celeryresults.TaskMeta, value any) error {
	children, ok := parseTuples(value)
	if !ok {
		return errNotTuples
	}
	m.Children = children
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
