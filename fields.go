package celeryresults

import (
	"slices"

	"github.com/celeryresults/celeryresults/python"
)

// metaFields declares the fields of a record once, in the order in which Celery's documents
// have them: what is stored as documents or in rows, printed, and read by the command goes
// by it.
var metaFields = [...]metaField{
	{"status", inAll, func(m *TaskMeta) any { return &m.State }},
	{"result", inAll, func(m *TaskMeta) any { return &m.Result }},
	{"traceback", inAll, func(m *TaskMeta) any { return &m.Traceback }},
	{"children", inAll, func(m *TaskMeta) any { return &m.Children }},
	{"date_done", inAll, func(m *TaskMeta) any { return &m.DateDone }},
	{"group_id", whereSet, func(m *TaskMeta) any { return &m.GroupID }},
	{"parent_id", whereSet, func(m *TaskMeta) any { return &m.ParentID }},
	{"name", inExtended, func(m *TaskMeta) any { return &m.Name }},
	{"args", inExtended, func(m *TaskMeta) any { return &m.Args }},
	{"kwargs", inExtended, func(m *TaskMeta) any { return &m.Kwargs }},
	{"worker", inExtended, func(m *TaskMeta) any { return &m.Worker }},
	{"retries", inExtended, func(m *TaskMeta) any { return &m.Retries }},
	{"queue", inExtended, func(m *TaskMeta) any { return &m.Queue }},
	{"stamped_headers", stamps, func(m *TaskMeta) any { return &m.StampedHeaders }},
	{"root_id", ours, func(m *TaskMeta) any { return &m.RootID }},
	{"periodic_task_name", ours, func(m *TaskMeta) any { return &m.PeriodicTaskName }},
	{"date_created", ours, func(m *TaskMeta) any { return &m.DateCreated }},
	{"date_started", ours, func(m *TaskMeta) any { return &m.DateStarted }},
	{"meta", ours, func(m *TaskMeta) any { return &m.Meta }},
	{"task_id", last, func(m *TaskMeta) any { return &m.TaskID }},
}

// metaField is one field of a record.
type metaField struct {
	name  any // a string, as documents have it
	class fieldClass
	at    func(*TaskMeta) any // where it stands
}

// fieldClass says which documents have a field.
type fieldClass int

const (
	inAll      fieldClass = iota // null where it has no value
	whereSet                     // only with a value
	inExtended                   // with result_extended
	stamps                       // with result_extended, and a value; stamps and extras follow
	ours                         // only with a value; Python does not know it
	last                         // behind all others
)

// Field returns a pointer to the field that Celery's documents call name, and whether it is
// one of result_extended: a *string, *State, *int, *time.Time, *Value, *[]ResultTuple or
// *[]string. Other names give nil. What is in Row and Extra is not among them.
func (m *TaskMeta) Field(name string) (at any, extended bool) {
	for at := placeOfName(name); fieldPlaces[at] > 0; at = (at + 1) % fieldRoom {
		if f := &metaFields[fieldPlaces[at]-1]; f.name.(string) == name {
			return f.at(m), f.class == inExtended
		}
	}
	return nil, false
}

// fieldRoom is how many places there are for names.
const fieldRoom = 128

// fieldPlaces has the places of the fields, from 1 on, by placeOfName, or at the next place
// that is free.
var fieldPlaces = func() (places [fieldRoom]uint8) {
	for i, f := range metaFields {
		at := placeOfName(f.name.(string))
		for places[at] > 0 {
			at = (at + 1) % fieldRoom
		}
		places[at] = uint8(i) + 1
	}
	return places
}()

// placeOfName returns where to look for a name first.
func placeOfName(name string) int {
	if name == "" {
		return 0
	}
	return (len(name) + 5*int(name[0]) + 11*int(name[len(name)-1])) % fieldRoom
}

// AppendFields appends the entries that a document of the record has, in Celery's order, with
// the values that value returns for the fields: it gets what Field returns, and for stamps
// and extras a *Value. The fields of result_extended are among them with extended, or where the
// record has them. Of fields without a value there are only those that Celery writes as null.
func (m *TaskMeta) AppendFields(dst python.Dict, extended bool, value func(name string, at any) any) python.Dict {
	extended = extended || m.Extended
	for i := range metaFields {
		f := &metaFields[i]
		if at := f.at(m); f.stands(at, extended) {
			dst = append(dst, python.Pair{Key: f.name, Value: value(f.name.(string), at)})
		}
		if f.class != stamps {
			continue
		}
		for i := range m.Extra {
			if e := &m.Extra[i]; extended || !slices.Contains(m.StampedHeaders, e.Name) {
				dst = append(dst, python.Pair{Key: e.Name, Value: value(e.Name, &e.Value)})
			}
		}
	}
	return dst
}

// stands reports whether a document has a field.
func (f *metaField) stands(at any, extended bool) bool {
	switch f.class {
	case inAll, last:
		return true
	case inExtended:
		return extended
	case stamps:
		return extended && isSet(at)
	}
	return isSet(at)
}

// isSet reports whether there is a value where Field points to.
func isSet(at any) bool {
	switch p := at.(type) {
	case *string:
		return *p != ""
	case *[]string:
		return len(*p) > 0
	case interface{ IsZero() bool }: // *time.Time, *Value
		return !p.IsZero()
	}
	return true
}
