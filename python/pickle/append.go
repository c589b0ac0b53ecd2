package pickle

import (
	"encoding/binary"
	"slices"
	"sync"
)

const (
	protocol   = 4
	headerSize = 2 + 9 // PROTO, then FRAME and its length
	leastFrame = 4     // CPython frames no less
	batch      = 1000  // items or pairs after one mark, as in CPython

	maxBuffer = 1 << 16 // what an encoder keeps for its next call
)

// Marshal returns v as a pickle. [Append] says what v may be.
func Marshal(v any) ([]byte, error) { return Append(nil, v) }

// Append appends v as a pickle of protocol 4, which Python 3.4 and later read.
// Plain data has CPython's own form. On error it returns dst as it was.
//
// v is any value that python.Plain accepts, a python.Dict or []python.Pair for
// a dict in that order, a [Lazy] or a [Trusted]. The keys of a map[string]any
// are sorted. A time.Time becomes an aware datetime at a fixed offset, cut to
// microseconds.
//
// Errors wrap python.ErrUnsupported for values that pickle or Python
// cannot hold (text that is not UTF-8, years outside 1 to 9999, dict keys that
// cannot be hashed) and for a *python.Object or python.Class that is not
// [Harmless], and python.ErrLimit for values that Unmarshal would refuse.
func Append(dst []byte, v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer e.release()
	e.left = MaxValues
	if err := e.value(v); err != nil {
		return dst, err
	}
	e.op(opStop)
	dst = slices.Grow(dst, headerSize+len(e.buf))
	dst = append(dst, opProto, protocol)
	if len(e.buf) >= leastFrame {
		dst = append(dst, opFrame)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(len(e.buf)))
	}
	return append(dst, e.buf...), nil
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// encoder is one call of Append. It is reused for its memory.
type encoder struct {
	buf   []byte   // what follows the frame's length
	keys  []string // of the maps being written, to sort them
	depth int
	left  int // values that may still be written

	hashed bool // inside a dict's key or a set: lists and the like are refused
	inert  bool // inside the arguments of a builtin: objects are refused
}

func (e *encoder) release() {
	clear(e.keys[:cap(e.keys)])
	*e = encoder{buf: e.buf[:0], keys: e.keys[:0]}
	if cap(e.buf) > maxBuffer || cap(e.keys) > maxKept {
		*e = encoder{}
	}
	encoders.Put(e)
}

func (e *encoder) op(codes ...byte) { e.buf = append(e.buf, codes...) }

// enter counts one level of nesting, and leave ends it.
func (e *encoder) enter() error {
	if e.depth++; e.depth > MaxDepth {
		return limitError("depth")
	}
	return nil
}

func (e *encoder) leave() { e.depth-- }

// ordered writes n elements. With one code they follow each other after a
// mark, in batches; a single one has its own opcode.
func (e *encoder) ordered(n int, single, many byte, element func(i int) error) error {
	if n == 1 && single != 0 {
		err := element(0)
		e.op(single)
		return err
	}
	for i := 0; i < n; i++ {
		if i%batch == 0 {
			e.op(opMark)
		}
		if err := element(i); err != nil {
			return err
		}
		if i%batch == batch-1 || i == n-1 {
			e.op(many)
		}
	}
	return nil
}

// sequence writes a list.
func sequence[T any](e *encoder, items []T, write func(T) error) error {
	if e.hashed {
		return unsupportedError("list as a dict's key or in a set")
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	e.op(opEmptyList, opMemoize)
	return e.ordered(len(items), opAppend, opAppends, func(i int) error { return write(items[i]) })
}

func (e *encoder) tuple(items []any) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	return e.packed(items)
}

// packed writes a tuple on the current level.
func (e *encoder) packed(items []any) error {
	n := len(items)
	if n == 0 {
		e.op(opEmptyTuple)
		return nil
	}
	if n > 3 {
		e.op(opMark)
	}
	for _, item := range items {
		if err := e.value(item); err != nil {
			return err
		}
	}
	e.packTuple(n)
	return nil
}

// packTuple makes a tuple of the top n values, or of those after the mark.
func (e *encoder) packTuple(n int) {
	code := byte(opTuple)
	if n <= 3 {
		code = opTuple1 + byte(n-1)
	}
	e.op(code, opMemoize)
}

// open starts a dict.
func (e *encoder) openDict() error {
	if e.hashed {
		return unsupportedError("dict as a dict's key or in a set")
	}
	if err := e.enter(); err != nil {
		return err
	}
	e.op(opEmptyDict, opMemoize)
	return nil
}

// textMap writes a map with its keys in order.
func textMap[T any](e *encoder, m map[string]T, write func(T) error) error {
	if err := e.openDict(); err != nil {
		return err
	}
	defer e.leave()
	first := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	keys := e.keys[first:]
	slices.Sort(keys)
	err := e.ordered(len(keys), opSetItem, opSetItems, func(i int) error {
		if err := e.text(keys[i]); err != nil {
			return err
		}
		return write(m[keys[i]])
	})
	e.keys = e.keys[:first]
	return err
}

// key writes v where Python needs to hash it.
func (e *encoder) key(v any) error {
	outer := e.hashed
	e.hashed = true
	err := e.value(v)
	e.hashed = outer
	return err
}

// tooMany counts a value and reports whether it is one too many.
func (e *encoder) tooMany() bool {
	e.left--
	return e.left < 0
}
