package pickle

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
)

// maxOpen bounds what only nesting can need: open marks, values that wait
// below the first mark, and values made of values. It is far above MaxDepth,
// which the conversion enforces, so that one deep value does not hide the rest
// of its document.
const maxOpen = 8 * MaxDepth

// maxKept is the largest stack or memo, in values, that a machine keeps for
// its next run.
const maxKept = 1 << 12

// machine runs a pickle. The zero value is ready.
type machine struct {
	*graph

	own   graph // reused by runs whose graph nobody keeps
	stack []value
	marks []int // heights of the stack
	memo  []value

	pos   int // of the next byte
	proto byte
	end   uint64 // of the last frame
	done  bool
	spare int // bytes that constructors may still make or search
	loads int // time zones that may still be looked for on disk
}

// run executes the pickle in data over g and returns the value it stops with.
// After an error, the stack is what was read until then.
func (m *machine) run(g *graph, data []byte) (value, error) {
	g.reset(data)
	*m = machine{
		graph: g, own: m.own,
		stack: m.stack[:0], marks: m.marks[:0], memo: m.memo[:0],
		spare: 2*len(data) + 1<<16, loads: 32,
	}
	if uint64(len(data)) > math.MaxUint32 {
		return value{}, limitError("size")
	}
	for !m.done {
		if err := m.step(); err != nil {
			return value{}, err
		}
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) step() error {
	if m.pos >= len(m.data) {
		return m.fail(truncated)
	}
	code := m.data[m.pos]
	m.pos++
	operation := operations[code]
	if operation == nil {
		return m.failf("unknown opcode %#02x", code)
	}
	if err := operation(m); err != nil {
		return err
	}
	if len(m.stack) > maxOpen && (len(m.marks) == 0 || len(m.stack) > MaxValues) {
		return limitError("stack")
	}
	return nil
}

// release gives the machine back, without the payload and without more memory
// than the next run is likely to need.
func (m *machine) release() {
	m.own.reset(nil)
	if cap(m.stack) > maxKept || cap(m.memo) > maxKept || cap(m.own.seqs) > maxKept || cap(m.own.arena) > maxKept {
		*m = machine{}
	}
	m.graph = nil
	machines.Put(m)
}

func (m *machine) fail(reason string) error {
	return &SyntaxError{Offset: m.pos, Reason: reason}
}

func (m *machine) failf(format string, args ...any) error {
	return m.fail(fmt.Sprintf(format, args...))
}

// Reading.

// take returns the next n bytes.
func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.data)-m.pos) {
		return nil, m.fail(truncated)
	}
	b := m.data[m.pos : m.pos+int(n)]
	m.pos += int(n)
	return b, nil
}

// number returns the next little-endian number of so many bytes.
func (m *machine) number(size uint64) (uint64, error) {
	if size == 1 && m.pos < len(m.data) {
		m.pos++
		return uint64(m.data[m.pos-1]), nil
	}
	b, err := m.take(size)
	if err != nil {
		return 0, err
	}
	var n uint64
	for i, c := range b {
		n |= uint64(c) << (8 * i)
	}
	return n, nil
}

// line returns the text up to the next newline, and where it starts.
func (m *machine) line() ([]byte, int, error) {
	start := m.pos
	n := bytes.IndexByte(m.data[start:], '\n')
	if n < 0 {
		m.pos = len(m.data)
		return nil, start, m.fail(truncated)
	}
	m.pos += n + 1
	return m.data[start : start+n], start, nil
}

// refer returns a value that points to b, which starts at offset start.
func refer(k kind, b []byte, start int) value {
	return value{kind: k, x: uint64(start), n: uint32(len(b))}
}

// The stack.

func (m *machine) push(v value) { m.stack = append(m.stack, v) }

// fence is the height below which nothing may be popped.
func (m *machine) fence() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

// pop removes the top n values. They are valid until the next push.
func (m *machine) pop(n int) ([]value, error) {
	rest := len(m.stack) - n
	if rest < m.fence() {
		return nil, m.fail(underflow)
	}
	top := m.stack[rest:]
	m.stack = m.stack[:rest]
	return top, nil
}

// popMark removes everything above the last mark, and the mark. The values
// are valid until the next push.
func (m *machine) popMark() ([]value, error) {
	if len(m.marks) == 0 {
		return nil, m.fail("no mark")
	}
	start := m.fence()
	m.marks = m.marks[:len(m.marks)-1]
	top := m.stack[start:]
	m.stack = m.stack[:start]
	return top, nil
}

// top returns the value that the next pop would remove.
func (m *machine) top() (value, error) {
	if len(m.stack) <= m.fence() {
		return value{}, m.fail(underflow)
	}
	return m.stack[len(m.stack)-1], nil
}

func (m *machine) mark() error {
	if len(m.marks) >= maxOpen {
		return limitError("marks")
	}
	m.marks = append(m.marks, len(m.stack))
	return nil
}

func (m *machine) discard() error {
	if len(m.marks) > 0 && len(m.stack) == m.fence() {
		return m.discardMark()
	}
	_, err := m.pop(1)
	return err
}

func (m *machine) discardMark() error {
	_, err := m.popMark()
	return err
}

func (m *machine) dup() error {
	v, err := m.top()
	if err == nil {
		m.again(v)
	}
	return err
}

// again pushes a value that is already part of the graph.
func (m *machine) again(v value) {
	switch {
	case v.kind >= kindList && v != emptyTuple:
		m.shared = true
	case v.n > 64, v.kind == kindMade:
		m.copies = true
	}
	m.push(v)
}

func (m *machine) stop() error {
	if _, err := m.top(); err != nil {
		return err
	}
	if m.end > uint64(len(m.data)) {
		return m.fail("frame is longer than the data")
	}
	m.done = true
	return nil
}

func (m *machine) protocol() error {
	b, err := m.take(1)
	if err != nil {
		return err
	}
	if b[0] > 5 {
		return m.failf("unknown protocol %d", b[0])
	}
	m.proto = b[0]
	return nil
}

// frame notes where the frame ends, which stop compares with the data. A
// truncated document can still be read up to there.
func (m *machine) frame() error {
	n, err := m.number(8)
	if err != nil {
		return err
	}
	if m.end = uint64(m.pos) + n; m.end < n {
		return m.fail("frame is longer than the data")
	}
	return nil
}

// Makers of operations.

func pushes(v value) func(*machine) error {
	return func(m *machine) error {
		m.push(v)
		return nil
	}
}

func refuses(what string) func(*machine) error {
	return func(*machine) error { return unsupportedError(what) }
}

// counted reads a length of so many bytes and as many bytes as it says.
func counted(size uint64, then func(m *machine, b []byte, start int) error) func(*machine) error {
	return func(m *machine) error {
		n, err := m.number(size)
		if err != nil {
			return err
		}
		start := m.pos
		b, err := m.take(n)
		if err != nil {
			return err
		}
		return then(m, b, start)
	}
}

func opens(k kind) func(*machine) error {
	return func(m *machine) error {
		m.push(m.sequence(k, nil))
		return nil
	}
}

func tuples(n int) func(*machine) error {
	return func(m *machine) error {
		items, err := m.pop(n)
		if err != nil {
			return err
		}
		return m.collect(kindTuple, items)
	}
}

func gets(size uint64) func(*machine) error {
	return func(m *machine) error {
		i, err := m.number(size)
		if err != nil {
			return err
		}
		return m.get(i)
	}
}

func puts(size uint64) func(*machine) error {
	return func(m *machine) error {
		i, err := m.number(size)
		if err != nil {
			return err
		}
		return m.put(i)
	}
}

// The memo.

func (m *machine) get(i uint64) error {
	if i >= uint64(len(m.memo)) || m.memo[i].kind == kindUnset {
		return m.failf("memo has no entry %d", i)
	}
	m.again(m.memo[i])
	return nil
}

// put keeps the top of the stack. Writers number their entries from 0, so an
// index beyond the number of bytes read is not theirs.
func (m *machine) put(i uint64) error {
	if i > uint64(m.pos) {
		return limitError("memo index")
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	for uint64(len(m.memo)) <= i {
		m.memo = append(m.memo, value{kind: kindUnset})
	}
	m.memo[i] = v
	return nil
}

func (m *machine) memoize() error { return m.put(uint64(len(m.memo))) }

func (m *machine) getLine() error {
	i, err := m.index()
	if err != nil {
		return err
	}
	return m.get(i)
}

func (m *machine) putLine() error {
	i, err := m.index()
	if err != nil {
		return err
	}
	return m.put(i)
}

func (m *machine) index() (uint64, error) {
	b, _, err := m.line()
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseUint(string(b[:min(len(b), 20)]), 10, 64)
	if err != nil {
		return 0, m.fail("bad memo index")
	}
	return i, nil
}
