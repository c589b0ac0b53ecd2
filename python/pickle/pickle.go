// Package pickle reads and writes Python's pickles without running anything.
//
// A Go program that shares a store with Python meets pickles sooner or later:
// Django pickles what it puts into its caches, and Celery can pickle results.
// Python itself must not load a pickle that a stranger may have written, for
// a pickle is a program for a small stack machine, and that program may call
// any function it names. This package runs the same program over inert data.
// It knows all 68 opcodes of the protocols 0 to 5, imports nothing and calls
// nothing:
//
//	v, err := pickle.Unmarshal(data)
//
// Plain data becomes plain Go data: text, numbers, lists, maps. A few pure
// constructors (the datetime family, Decimal, UUID, sets, bytes and the like)
// are understood by name and give the types of package python, which has the
// whole table. Every other instance or call stays a *python.Object: its class,
// its arguments and its state, to look at. [python.Assign] puts a decoded value
// into a Go variable, a struct for example.
//
// # Writing
//
// [Marshal] and [Append] write protocol 4, which Python 3.4 and later read. For
// plain data the bytes follow CPython's. An object is written only if
// constructing it in Python does nothing but construct it ([Harmless]), so that
// a hostile pickle which was read cannot be passed on to a Python that would
// run it. For classes of your own say [Trusted].
//
// # Reading a part
//
// [Fields] splits a pickled dict into its entries and decodes only those that
// are asked for. A value that cannot be decoded does not hide the others.
//
// # Limits
//
// Time and memory stay in proportion to the payload, but for the values that
// it shares: a few shared lists can stand for more values than any memory
// holds. These are counted before they are made, and [MaxDepth], [MaxValues]
// and [MaxDigits] bound what is made. No input panics. How long data may be is
// for the caller to say.
//
// Errors are a *[SyntaxError], or wrap [python.ErrLimit] or
// [python.ErrUnsupported]. All functions are safe for concurrent use, as long
// as nobody changes the arguments meanwhile.
package pickle

import (
	"fmt"
	"sync"

	"github.com/celeryresults/celeryresults/python"
)

// Limits of what is read and written. What exceeds one is an error that wraps
// python.ErrLimit.
const (
	// MaxDepth is the deepest nesting, in levels of containers and objects.
	MaxDepth = 512

	// MaxValues is the most values in one tree, each counted as often as it
	// is reached.
	MaxValues = 1 << 20

	// MaxDigits is the longest integer, in decimal digits: CPython's own
	// default.
	MaxDigits = 4300
)

// SyntaxError is a pickle that Python could not read either, or, from Fields, one
// whose value is not a dict with text keys.
type SyntaxError struct {
	Offset int    // in bytes from the start, where it was noticed
	Reason string // in a few words
}

// Error names the reason and the offset.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("pickle: %s at byte %d", e.Reason, e.Offset)
}

// Unmarshal returns the value of a pickle of any protocol, in the types that
// package python lists. Like Python's loads, it ignores what follows the
// pickle's end. It keeps no reference to data.
//
// What the pickle holds once and refers to again may be one Go value or
// several equal ones: change a decoded value with care, or not at all. An
// object that contains itself has its class in that place.
//
// It returns a *SyntaxError for a stream that Python could not read either, an
// error that wraps python.ErrLimit for a value beyond the limits above, and one
// that wraps python.ErrUnsupported for lists and dicts that contain themselves,
// persistent ids, extension codes and buffers outside the stream.
func Unmarshal(data []byte) (any, error) {
	m := machines.Get().(*machine)
	defer m.release()
	root, err := m.run(&m.own, data)
	if err != nil {
		return nil, err
	}
	return m.own.tree(root)
}

// machines are reused for their memory. Reading has two steps. A machine builds
// a graph of compact nodes that point into the payload. Then a part of that
// graph, or all of it, is converted to a tree of Go values, which only reads
// the graph.
var machines = sync.Pool{New: func() any { return new(machine) }}

// Reasons that are reported in several places.
const (
	truncated = "pickle data was truncated"
	underflow = "stack underflow"
	oddItems  = "odd number of dict items"
)

func limitError(what string) error {
	return fmt.Errorf("pickle: %s: %w", what, python.ErrLimit)
}

func unsupportedError(what string) error {
	return fmt.Errorf("pickle: %s: %w", what, python.ErrUnsupported)
}
