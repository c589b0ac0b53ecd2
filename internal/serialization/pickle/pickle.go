// Package pickle reads and writes Python's pickles.
//
// A pickle is a program for a small stack machine. This package runs that
// program over inert data: it knows all 68 opcodes of the protocols 0 to 5,
// imports nothing and calls nothing. A few pure constructors (the datetime
// family, Decimal, UUID, sets, bytes and the like) are understood by name and
// give the Go types of package python; every other class or call stays a
// *python.Object.
//
// Reading has two steps. The machine builds a graph of compact nodes that
// point into the payload, in memory proportional to it. Then a part of that
// graph, or all of it, is converted to a tree of Go values. The conversion
// only reads the graph. It refuses lists and dicts that contain themselves, and it counts before it
// builds, because a few shared lists can stand for more values than any memory
// holds.
//
// Writing follows CPython's own protocol 4 output for plain data. An object is
// written only if constructing it in Python does nothing but construct it: see
// [Harmless] and [Trusted].
package pickle

import (
	"fmt"
	"sync"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// Codec is kombu's pickle serializer. It is stateless and safe for concurrent
// use.
var Codec serialization.Codec = codec{}

type codec struct{}

func (codec) Name() string            { return "pickle" }
func (codec) ContentType() string     { return "application/x-python-serialize" }
func (codec) ContentEncoding() string { return "binary" }

func (codec) Append(dst []byte, v any) ([]byte, error) { return Append(dst, v) }
func (codec) Decode(data []byte) (any, error)          { return Decode(data) }

func (codec) Fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	return fields(dst, data)
}

func (codec) Resolve(v serialization.Value) (any, error) {
	switch n := v.Node.(type) {
	case *lazy:
		return n.graph.tree(n.value)
	case nil:
		return Decode(v.Data)
	}
	return nil, fmt.Errorf("pickle: resolve %T: %w", v.Node, serialization.ErrUnsupported)
}

// Decode returns the value of a pickle of any protocol, as package python
// describes it. Like Python's loads, it ignores what follows the pickle's
// STOP. It returns a *serialization.SyntaxError for a stream that Python could
// not read either, and errors that wrap serialization.ErrLimit or
// serialization.ErrUnsupported (recursive values, persistent ids, extension
// codes, buffers outside the stream). It keeps no reference to data.
func Decode(data []byte) (any, error) {
	m := machines.Get().(*machine)
	defer m.release()
	root, err := m.run(&m.own, data)
	if err != nil {
		return nil, err
	}
	return m.own.tree(root)
}

var machines = sync.Pool{New: func() any { return new(machine) }}

// Reasons that are reported in several places.
const (
	truncated = "pickle data was truncated"
	underflow = "stack underflow"
	oddItems  = "odd number of dict items"
)

func limitError(what string) error {
	return fmt.Errorf("pickle: %s: %w", what, serialization.ErrLimit)
}

func unsupportedError(what string) error {
	return fmt.Errorf("pickle: %s: %w", what, serialization.ErrUnsupported)
}
