package json

import (
	"bytes"
	"slices"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// usualFields is the room that Fields makes for the entries of a document.
const usualFields = 16

func (codec) Fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	r := reader{data: data}
	if r.peek() != '{' {
		return dst, r.fail("expected an object")
	}
	if cap(dst) == 0 {
		dst = slices.Grow(dst, usualFields)
	}
	empty, err := r.enter(0, '}')
	for more := !empty; more && err == nil; {
		var f serialization.Field
		if f, err = r.field(); err != nil {
			return dst, err
		}
		dst = append(dst, f)
		more, err = r.more('}')
	}
	if err != nil {
		return dst, err
	}
	return dst, r.end()
}

// field reads a key and the text of its value.
func (r *reader) field() (serialization.Field, error) {
	name, err := r.key()
	if err != nil {
		return serialization.Field{}, err
	}
	r.peek()
	start := r.pos
	if err := r.skip(); err != nil {
		return serialization.Field{}, err
	}
	text := r.data[start:r.pos:r.pos]
	return serialization.Field{Name: name, Value: serialization.Value{Codec: Codec, Data: text}}, nil
}

// skip steps over a value without checking more than where it ends.
func (r *reader) skip() error {
	start := r.pos
	switch c := r.at(r.pos); c {
	case '"':
		return r.skipText()
	case '{', '[':
		return r.skipContainer()
	}
	for r.pos < len(r.data) && !endsWord[r.data[r.pos]] {
		r.pos++
	}
	if r.pos == start {
		return r.fail("expected a value")
	}
	return nil
}

// endsWord holds the bytes that cannot be part of a number or a bare word.
var endsWord = [256]bool{
	' ': true, '\n': true, '\t': true, '\r': true,
	',': true, ':': true, '"': true, '[': true, ']': true, '{': true, '}': true,
}

// skipText steps over a string: to the first quote behind an even number of
// backslashes.
func (r *reader) skipText() error {
	start := r.pos + 1
	for i := start; ; i++ {
		n := bytes.IndexByte(r.data[i:], '"')
		if n < 0 {
			r.pos = len(r.data)
			return r.fail("string without an end")
		}
		i += n
		before := i
		for before > start && r.data[before-1] == '\\' {
			before--
		}
		if (i-before)%2 == 0 {
			r.pos = i + 1
			return nil
		}
	}
}

func (r *reader) skipContainer() error {
	depth := 0
	for r.pos < len(r.data) {
		switch r.data[r.pos] {
		case '"':
			if err := r.skipText(); err != nil {
				return err
			}
			continue
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		}
		r.pos++
		if depth == 0 {
			return nil
		}
	}
	return r.fail("container without an end")
}

// knownName returns the names of Celery's documents without an allocation, and
// nothing for others.
func knownName(raw []byte) string {
	switch string(raw) {
	case "status":
		return "status"
	case "result":
		return "result"
	case "traceback":
		return "traceback"
	case "children":
		return "children"
	case "date_done":
		return "date_done"
	case "group_id":
		return "group_id"
	case "parent_id":
		return "parent_id"
	case "name":
		return "name"
	case "args":
		return "args"
	case "kwargs":
		return "kwargs"
	case "worker":
		return "worker"
	case "retries":
		return "retries"
	case "queue":
		return "queue"
	case "task_id":
		return "task_id"
	case "exc_type":
		return "exc_type"
	case "exc_message":
		return "exc_message"
	case "exc_module":
		return "exc_module"
	case typeKey:
		return typeKey
	case valueKey:
		return valueKey
	}
	return ""
}
