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

// skipText steps over a string.
func (r *reader) skipText() error {
	end := endOfText(r.data, r.pos+1)
	if end < 0 {
		r.pos = len(r.data)
		return r.fail("string without an end")
	}
	r.pos = end
	return nil
}

// endOfText returns where the string ends whose characters begin at i: behind the
// first quote that an even number of backslashes stands before. It is negative if
// there is none.
func endOfText(data []byte, i int) int {
	for short := min(i+64, len(data)); i < short; i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return endOfLongText(data, i)
}

// endOfLongText is endOfText for strings in which looking for quotes is faster
// than looking at each byte.
func endOfLongText(data []byte, start int) int {
	for i := start; i < len(data); i++ {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		before := i
		for before > start && data[before-1] == '\\' {
			before--
		}
		if (i-before)%2 == 0 {
			return i + 1
		}
	}
	return -1
}

// skipContainer steps over an object or array, looking only at what opens, closes
// or quotes.
func (r *reader) skipContainer() error {
	data, depth := r.data, 0
	for i := r.pos; i < len(data); i++ {
		switch structure[data[i]] {
		case opens:
			depth++
		case quotes:
			end := endOfText(data, i+1)
			if end < 0 {
				r.pos = len(data)
				return r.fail("string without an end")
			}
			i = end - 1
		case closes:
			if depth--; depth == 0 {
				r.pos = i + 1
				return nil
			}
		}
	}
	r.pos = len(data)
	return r.fail("container without an end")
}

const (
	opens = iota + 1
	closes
	quotes
)

// structure holds what bytes mean to a container, zero for most.
var structure = [256]byte{'[': opens, '{': opens, ']': closes, '}': closes, '"': quotes}

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
