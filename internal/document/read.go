package document

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
	"github.com/celeryresults/celeryresults/python"
)

var fieldsPool = sync.Pool{New: func() any { return new([]serialization.Field) }}

// EachField calls f with the entries of a document up to where it breaks off, and
// returns why it does. The entries' values keep data, and f may keep these.
func EachField(codec serialization.Codec, data []byte, f func(*serialization.Field)) error {
	pooled := fieldsPool.Get().(*[]serialization.Field)
	fields, broken := codec.Fields((*pooled)[:0], data)
	for i := range fields {
		f(&fields[i])
	}
	clear(fields)
	*pooled = fields[:0]
	fieldsPool.Put(pooled)
	return broken
}

// Read returns the meta in a document, with its payload still encoded. It
// keeps data. Broken entries do not hide the others: only a document whose state
// can't be read is an *UnreadableError, and a payload that is missing because the
// document breaks off reports that when it is decoded.
func (d Documents) Read(taskID string, data []byte) (*celeryresults.TaskMeta, error) {
	data, err := plainly(data)
	if err != nil {
		return nil, &celeryresults.UnreadableError{ID: taskID, Err: err}
	}
	meta := &celeryresults.TaskMeta{TaskID: taskID}
	r := reader{meta: meta}
	broken := EachField(d.Codec, data, r.read)
	meta.Extra = lastOfEach(meta.Extra)
	if meta.State == "" {
		return nil, &celeryresults.UnreadableError{ID: taskID, Err: orNoStatus(broken)}
	}
	if broken != nil && !r.result {
		meta.Result = celeryresults.StoredValue(Unread(d.Codec, broken))
	}
	return meta, nil
}

// lastOfEach returns the list with the last entry of each name: what counts of
// a name that a document has twice.
func lastOfEach(list []celeryresults.Extra) []celeryresults.Extra {
	if len(list) < 2 {
		return list
	}
	seen := make(map[string]bool, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		if seen[list[i].Name] {
			list[i].Name = ""
		}
		seen[list[i].Name] = true
	}
	return slices.DeleteFunc(list, func(e celeryresults.Extra) bool { return e.Name == "" })
}

var (
	errNoStatus = errors.New("it has no status")
	errNoTuple  = errors.New("it has no result tuple")
)

func orNoStatus(err error) error {
	if err == nil {
		return errNoStatus
	}
	return err
}

// Status returns what counts of a document beside its result: unknown, if data is
// nil, and an *UnreadableError where Read would return one.
func (d Documents) Status(taskID string, data []byte) (celeryresults.Status, error) {
	if data == nil {
		return celeryresults.Status{State: celeryresults.Pending, Unknown: true}, nil
	}
	state, broken := d.state(data)
	if state == "" {
		return celeryresults.Status{}, &celeryresults.UnreadableError{ID: taskID, Err: orNoStatus(broken)}
	}
	return celeryresults.Status{State: state}, nil
}

// StateOf returns the state in a document, empty when there is none to be read.
func (d Documents) StateOf(data []byte) celeryresults.State {
	state, _ := d.state(data)
	return state
}

func (d Documents) state(data []byte) (state celeryresults.State, broken error) {
	if data, broken = plainly(data); broken != nil {
		return "", broken
	}
	if state, broken = stateIn(d.Codec, data); state != "" {
		return state, broken
	}
	if codec, ok := registry.ByName(serializer(data)); ok && codec != d.Codec { // that of another writer
		if state, _ := stateIn(codec, data); state != "" {
			return state, nil
		}
	}
	return "", broken
}

func stateIn(codec serialization.Codec, data []byte) (state celeryresults.State, broken error) {
	broken = EachField(codec, data, func(f *serialization.Field) {
		if f.Name == "status" {
			state = celeryresults.State(Text(f.Value))
		}
	})
	return state, broken
}

// reader fills a meta from the entries of its document.
type reader struct {
	meta   *celeryresults.TaskMeta
	result bool // the result entry was there
}

func (r *reader) read(f *serialization.Field) {
	m := r.meta
	at, extended := m.Field(f.Name)
	m.Extended = m.Extended || extended
	switch f.Name {
	case "task_id": // the caller's id is the one that was asked for
		return
	case "result":
		r.result = true
	}
	if !Set(at, f.Value) {
		m.Extra = append(m.Extra, celeryresults.Extra{Name: f.Name, Value: celeryresults.StoredValue(f.Value)})
	}
}

// Set decodes a value into a field, as TaskMeta.Field returns it, and reports whether there is
// one. A value of another type than the field's is nothing.
func Set(field any, v serialization.Value) bool {
	switch p := field.(type) {
	case *string:
		*p = Text(v)
	case *celeryresults.State:
		*p = celeryresults.State(Text(v))
	case *celeryresults.Value:
		*p = celeryresults.StoredValue(v)
	case *int:
		*p = Number(v)
	case *time.Time:
		*p = instant(v)
	case *[]celeryresults.ResultTuple:
		*p = Tuples(v)
	case *[]string:
		*p = Texts(v)
	default:
		return false
	}
	return true
}

// Text returns a str, and nothing for any other value.
func Text(v serialization.Value) string {
	if data, ok := plainJSON(v); ok {
		return textOfState(data)
	}
	tree, _ := v.Decode()
	s, _ := tree.(string)
	return s
}

// plainJSON returns the characters of most texts in JSON, those without escapes
// and beyond ASCII, and nothing for null.
func plainJSON(v serialization.Value) ([]byte, bool) {
	if v.Codec != json.Codec {
		return nil, false
	}
	if string(v.Data) == "null" {
		return nil, true
	}
	last := len(v.Data) - 1
	if last < 1 || v.Data[0] != '"' || v.Data[last] != '"' {
		return nil, false
	}
	text := v.Data[1:last]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return nil, false
		}
	}
	return text, true
}

// textOfState returns a text, that of a state without making one.
func textOfState(data []byte) string {
	switch string(data) {
	case string(celeryresults.Success):
		return string(celeryresults.Success)
	case string(celeryresults.Failure):
		return string(celeryresults.Failure)
	case string(celeryresults.Started):
		return string(celeryresults.Started)
	}
	return string(data)
}

// Number returns an int, and 0 for any other value.
func Number(v serialization.Value) int {
	if v.Codec == json.Codec && len(v.Data) == 1 && '0' <= v.Data[0] && v.Data[0] <= '9' {
		return int(v.Data[0] - '0')
	}
	tree, _ := v.Decode()
	n, _ := tree.(int64)
	return int(n)
}

// Texts returns the strs of a list.
func Texts(v serialization.Value) []string {
	tree, _ := v.Decode()
	list, _ := items(tree)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// instant reads a time that Celery wrote: ISO 8601 text, with an offset or,
// up to Celery 5.2, without one and in UTC; or a datetime.
func instant(v serialization.Value) time.Time {
	if data, ok := plainJSON(v); ok {
		return parseISO(string(data))
	}
	tree, _ := v.Decode()
	switch t := tree.(type) {
	case time.Time:
		return t.UTC()
	case python.DateTime:
		return t.Time.UTC()
	case string:
		return parseISO(t)
	}
	return time.Time{}
}

func parseISO(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// Tuples reads a list of result tuples, nil for None and for anything else.
func Tuples(v serialization.Value) []celeryresults.ResultTuple {
	if v.Codec == json.Codec && string(v.Data) == "[]" {
		return []celeryresults.ResultTuple{}
	}
	tree, _ := v.Decode()
	return tuples(tree, 0)
}

// maxNesting bounds groups in groups, far above what workflows have.
const maxNesting = 64

// tuples reads a list of result tuples; nil for None and for anything else.
// Members that are no result tuple are left out.
func tuples(tree any, depth int) []celeryresults.ResultTuple {
	list, ok := items(tree)
	if !ok || depth > maxNesting {
		return nil
	}
	out := make([]celeryresults.ResultTuple, 0, len(list))
	for _, item := range list {
		if t, ok := readTuple(item, depth); ok {
			out = append(out, t)
		}
	}
	return out
}

// readTuple reads one result tuple, [[id, parent], children], or its older
// form [id, children] (celery.result.result_from_tuple).
func readTuple(tree any, depth int) (celeryresults.ResultTuple, bool) {
	list, ok := items(tree)
	if !ok || len(list) != 2 || depth > maxNesting {
		return celeryresults.ResultTuple{}, false
	}
	t := celeryresults.ResultTuple{Children: tuples(list[1], depth+1)}
	if id, ok := list[0].(string); ok {
		t.ID = id
		return t, true
	}
	head, ok := items(list[0])
	if !ok || len(head) != 2 {
		return celeryresults.ResultTuple{}, false
	}
	t.ID, ok = head[0].(string)
	if parent, found := readTuple(head[1], depth+1); found {
		t.Parent = &parent
	}
	return t, ok
}

func items(tree any) ([]any, bool) {
	switch t := tree.(type) {
	case []any:
		return t, true
	case python.Tuple:
		return t, true
	}
	return nil, false
}

// decode decodes the whole of a document.
func (d Documents) decode(data []byte) (any, error) {
	data, err := plainly(data)
	if err != nil {
		return nil, err
	}
	return d.Codec.Decode(data)
}

// ReadGroup returns the group in a document.
func (d Documents) ReadGroup(groupID string, data []byte) (celeryresults.ResultTuple, error) {
	tree, err := d.decode(data)
	if err != nil {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: err}
	}
	doc, _ := tree.(map[string]any)
	return groupOf(groupID, doc["result"])
}

// ReadTuple returns the group whose result tuple stands alone.
func (d Documents) ReadTuple(groupID string, data []byte) (celeryresults.ResultTuple, error) {
	tree, err := d.Codec.Decode(data)
	if err != nil {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: err}
	}
	return groupOf(groupID, tree)
}

func groupOf(groupID string, tree any) (celeryresults.ResultTuple, error) {
	group, ok := readTuple(tree, 0)
	if !ok {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: groupID, Err: errNoTuple}
	}
	if group.Children == nil {
		group.Children = []celeryresults.ResultTuple{}
	}
	return group, nil
}

// ReadPart returns what AppendPart wrote: a task's id, state and result.
func (d Documents) ReadPart(data []byte) (*celeryresults.TaskMeta, error) {
	tree, err := d.decode(data)
	if err != nil {
		return nil, &celeryresults.UnreadableError{ID: "chord part", Err: err}
	}
	list, _ := items(tree)
	if len(list) != 4 {
		return nil, &celeryresults.UnreadableError{ID: "chord part", Err: errNoPart}
	}
	id, _ := list[1].(string)
	state, _ := list[2].(string)
	if id == "" || state == "" {
		return nil, &celeryresults.UnreadableError{ID: "chord part", Err: errNoPart}
	}
	result := celeryresults.StoredValue(serialization.Value{Codec: decoded{d.Codec}, Node: list[3]})
	return &celeryresults.TaskMeta{TaskID: id, State: celeryresults.State(state), Result: result}, nil
}

var errNoPart = errors.New("it is no list of 1, an id, a state and a result")

// decoded resolves values that were decoded with what was around them.
type decoded struct{ serialization.Codec }

func (decoded) Resolve(v serialization.Value) (any, error) { return v.Node, nil }

// unreadable stands for the codec of a payload that its document broke off
// before.
type unreadable struct {
	serialization.Codec
	err error
}

func (u unreadable) Resolve(serialization.Value) (any, error) { return nil, u.err }

// Whole returns a document as a value that is decoded when asked. The value keeps
// data.
func Whole(codec serialization.Codec, data []byte) serialization.Value {
	if codec != json.Codec { // whose documents are values
		codec = document{codec}
	}
	return serialization.Value{Codec: codec, Data: data}
}

// Unread stands for a value that can't be decoded, for the reason that err says.
func Unread(codec serialization.Codec, err error) serialization.Value {
	return serialization.Value{Codec: unreadable{codec, err}}
}

// document resolves values that are whole documents.
type document struct{ serialization.Codec }

func (d document) Resolve(v serialization.Value) (any, error) { return d.Decode(v.Data) }

// TuplesOf reads what JSON wrote, nil for anything else.
func TuplesOf(data []byte) []celeryresults.ResultTuple {
	return Tuples(serialization.Value{Codec: json.Codec, Data: data})
}
