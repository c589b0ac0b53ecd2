package pickle

import "math"

// Field is one entry of a pickled dict.
type Field struct {
	Name  string
	Value Value
}

// Value is a value that was read but not yet converted. It keeps the data
// that it was read from. The zero Value is None. It is safe for concurrent
// use, and Marshal and Append write it as what it stands for.
type Value struct{ part *part }

// part is a value that waits in a graph.
type part struct {
	graph *graph
	value value
}

// Decode returns the value as Unmarshal would, anew at each call. The error
// wraps python.ErrLimit or python.ErrUnsupported.
func (v Value) Decode() (any, error) {
	if ready, ok := v.Ready(); ok {
		return ready, nil
	}
	return v.part.graph.tree(v.part.value)
}

// Ready returns the value, and true, if converting it costs next to nothing:
// None, a bool, a float, an int of 64 bits, and a few texts that are
// kept at hand. Of all other values it returns false.
func (v Value) Ready() (any, bool) {
	if v.part == nil {
		return nil, true
	}
	return v.part.graph.instant(v.part.value)
}

// Fields reads a pickle whose value is a dict with text keys. It appends the
// entries to dst, which may be nil, in their order and without converting
// their values. Of entries with one name the last counts. The Values keep data:
// it must not change afterwards.
//
// Errors are those of Unmarshal, and a *SyntaxError for a value that is not
// such a dict. Entries that were certainly read before an error are returned
// beside it, so that the start of a document that was cut off is not lost.
func Fields(dst []Field, data []byte) ([]Field, error) {
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
func (g *graph) entries(dst []Field, seq []value) []Field {
	parts := make([]part, len(seq)/2)
	for i := range parts {
		name, _ := g.text(seq[2*i])
		parts[i] = part{g, seq[2*i+1]}
		dst = append(dst, Field{Name: name, Value: Value{&parts[i]}})
	}
	return dst
}

// instant returns scalars that need no work as they are.
func (g *graph) instant(v value) (any, bool) {
	switch v.kind {
	case kindNone:
		return nil, true
	case kindBool:
		return v.x != 0, true
	case kindInt:
		return int64(v.x), true
	case kindFloat:
		return math.Float64frombits(v.x), true
	case kindText:
		return known(g.bytes(v))
	}
	return nil, false
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
