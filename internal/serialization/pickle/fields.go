package pickle

import (
	"math"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// lazy is a value that waits in a graph: the Node of a serialization.Value.
type lazy struct {
	graph *graph
	value value
}

// fields runs the machine over a document and leaves its values in the graph.
func fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	m := machines.Get().(*machine)
	defer m.release()
	g := newGraph(data)
	root, err := m.run(g, data)
	if err != nil {
		return g.entries(dst, m.settled()), err
	}
	if root.kind != kindDict || !g.textKeys(g.seqs[root.x]) {
		return dst, m.fail("document is not a dict with text keys")
	}
	return g.entries(dst, g.seqs[root.x]), nil
}

func (g *graph) textKeys(seq []value) bool {
	for i := 0; i < len(seq); i += 2 {
		if !g.isText(seq[i]) {
			return false
		}
	}
	return true
}

// entries appends keys and values, which take turns, as fields.
func (g *graph) entries(dst []serialization.Field, seq []value) []serialization.Field {
	waiting := make([]lazy, 0, len(seq)/2)
	for i := 0; i+1 < len(seq); i += 2 {
		name, _ := g.text(seq[i])
		v, ok := g.instant(seq[i+1])
		if !ok {
			waiting = append(waiting, lazy{g, seq[i+1]})
			v = serialization.Value{Codec: Codec, Node: &waiting[len(waiting)-1]}
		}
		dst = append(dst, serialization.Field{Name: name, Value: v})
	}
	return dst
}

// instant returns scalars that need no work as they are.
func (g *graph) instant(v value) (serialization.Value, bool) {
	switch v.kind {
	case kindNone:
		return serialization.Value{}, true
	case kindBool:
		return serialization.Value{Node: v.x != 0}, true
	case kindInt:
		return serialization.Value{Node: int64(v.x)}, true
	case kindFloat:
		return serialization.Value{Node: math.Float64frombits(v.x)}, true
	case kindText:
		s, ok := known(g.bytes(v))
		return serialization.Value{Node: s}, ok
	}
	return serialization.Value{}, false
}

// settled returns the entries of the document that the machine had read when
// it failed: those in the dict at the bottom of the stack, then those that
// wait above it to be put in.
func (m *machine) settled() []value {
	if len(m.stack) == 0 {
		return nil
	}
	var done []value
	pending := m.stack
	if bottom := m.stack[0]; bottom.kind == kindDict {
		done, pending = m.seqs[bottom.x], m.stack[1:]
	}
	for _, mark := range m.marks {
		if mark > 1 {
			pending = pending[:mark-(len(m.stack)-len(pending))]
			break
		}
	}
	if !m.textKeys(done) {
		return nil
	}
	return append(done[:len(done):len(done)], m.settledPairs(pending)...)
}

// settledPairs returns the leading pairs that are certain. The last values on
// the stack may be parts of one that was not finished, so a pair counts if its
// value is a scalar, and if a known key follows it or nothing does.
func (m *machine) settledPairs(pending []value) []value {
	n := 0
	for n+1 < len(pending) && m.isText(pending[n]) && pending[n+1].kind < kindMade {
		if next := min(n+2, len(pending)-1); !m.isKnown(pending[next]) {
			break
		}
		n += 2
	}
	return pending[:n]
}

// isKnown reports whether v is a text that every result has.
func (m *machine) isKnown(v value) bool {
	if v.kind != kindText {
		return false
	}
	_, ok := known(m.bytes(v))
	return ok
}
