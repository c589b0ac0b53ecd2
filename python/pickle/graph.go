package pickle

import "github.com/celeryresults/celeryresults/python"

// kind says what a value is. Those from kindList on are containers: they refer to
// a node and can be shared.
type kind uint8

const (
	kindNone   kind = iota
	kindBool        // x: 0 or 1
	kindInt         // x: an int64
	kindFloat       // x: the bits of a float64
	kindText        // x, n: offset and length of UTF-8 in the data
	kindBytes       // x, n: offset and length of bytes in the data
	kindLong        // x, n: offset and length of a little-endian integer
	kindDigits      // x, n: offset and length of a decimal integer
	kindMade        // x: index of a finished Go value
	kindClass       // x: index of a class or function
	kindList        // x: index of a sequence; the same for the next four
	kindTuple       //
	kindSet         //
	kindFrozen      //
	kindDict        // keys and values take turns
	kindObject      // x: index of an object
	kindUnset       // no value: a gap in the memo
)

// emptyTuple has no node of its own.
var emptyTuple = value{kind: kindTuple}

// value is one Python value: a scalar, a reference into the data, or a
// reference to a node of the graph. It holds no pointers, so that stacks and
// sequences of values are cheap to keep and to collect.
type value struct {
	kind   kind
	height uint16 // of the values it was made from; list and dict grow later
	n      uint32
	x      uint64
}

// graph is what a pickle describes. Once the machine has stopped it is only
// read.
type graph struct {
	data    []byte
	seqs    [][]value // the first is the empty tuple
	objects []object
	classes []global
	made    []any
	arena   []value // what small sequences are cut from

	shared bool // a container may be reachable on two ways
	copies bool // a long text may be
}

// object is an instance of a class, or a call.
type object struct {
	class, args, kwargs, state value

	items []value // appended
	pairs []value // assigned: keys and values take turns
}

// global is a class or a function, and how to call it if that is known.
type global struct {
	name python.Class
	call constructor
}

// reset prepares the graph for a new payload and keeps its memory.
func (g *graph) reset(data []byte) {
	clear(g.made)
	clear(g.seqs)
	clear(g.objects)
	clear(g.classes)
	*g = graph{
		data:    data,
		seqs:    append(g.seqs[:0], nil),
		objects: g.objects[:0],
		classes: g.classes[:0],
		made:    g.made[:0],
		arena:   g.arena[:0],
	}
}

// newGraph returns a graph with room for the nodes that a result usually has.
func newGraph(data []byte) *graph {
	return &graph{seqs: make([][]value, 0, min(4+len(data)/64, 64))}
}

// bytes returns what a text, binary, long or digits value points to.
func (g *graph) bytes(v value) []byte {
	return g.data[v.x : v.x+uint64(v.n)]
}

// text returns v as text, and whether it is text.
func (g *graph) text(v value) (string, bool) {
	switch v.kind {
	case kindText:
		b := g.bytes(v)
		if s, ok := known(b); ok {
			return s.(string), true
		}
		return string(b), true
	case kindMade:
		s, ok := g.made[v.x].(string)
		return s, ok
	}
	return "", false
}

// isText reports whether v is text.
func (g *graph) isText(v value) bool {
	if v.kind == kindMade {
		_, ok := g.made[v.x].(string)
		return ok
	}
	return v.kind == kindText
}

// keep keeps a finished Go value, which nobody may change any more.
func (g *graph) keep(v any) value {
	g.made = append(g.made, v)
	return value{kind: kindMade, x: uint64(len(g.made) - 1)}
}

// sequence makes a node of the items, which it keeps.
func (g *graph) sequence(k kind, items []value) value {
	g.seqs = append(g.seqs, items)
	return value{kind: k, x: uint64(len(g.seqs) - 1)}
}

// copyOf returns the items in memory of their own.
func (g *graph) copyOf(items []value) []value {
	n := len(items)
	if n == 0 {
		return nil
	}
	if cap(g.arena)-len(g.arena) < n {
		g.arena = make([]value, 0, max(n, min(max(len(g.data)/16, 16), 1024)))
	}
	start := len(g.arena)
	g.arena = append(g.arena, items...)
	return g.arena[start : start+n : start+n]
}

// extend appends items, which are not kept, to seq.
func (g *graph) extend(seq, items []value) []value {
	if len(seq) == 0 {
		return g.copyOf(items)
	}
	return append(seq, items...)
}

// lookup returns the value under a text key of a dict, the last if there are
// several.
func (g *graph) lookup(d value, key string) (value, bool) {
	if d.kind != kindDict {
		return value{}, false
	}
	items := g.seqs[d.x]
	for i := len(items) - 2; i >= 0; i -= 2 {
		if s, ok := g.text(items[i]); ok && s == key {
			return items[i+1], true
		}
	}
	return value{}, false
}

// known returns texts that every result has, as string and boxed once.
func known(b []byte) (any, bool) {
	if len(b) > longestKnown {
		return nil, false
	}
	s, ok := knownTexts[string(b)]
	return s, ok
}

const longestKnown = 10

var knownTexts = boxed(
	"", "status", "result", "traceback", "children", "date_done", "group_id", "parent_id", "task_id",
	"name", "args", "kwargs", "worker", "retries", "queue", "id", "meta", "current", "total", "celery",
	"SUCCESS", "FAILURE", "PENDING", "STARTED", "RECEIVED", "RETRY", "REVOKED", "REJECTED", "IGNORED", "PROGRESS",
)

func boxed(names ...string) map[string]any {
	m := make(map[string]any, len(names))
	for _, s := range names {
		m[s] = s
	}
	return m
}
