package pickle

import (
	"bytes"
	"math"
	"math/big"
	"slices"

	"github.com/celeryresults/celeryresults/python"
)

// maxLong is the most bytes that an integer of MaxDigits needs.
const maxLong = MaxDigits*3322/8000 + 1

// smallDocument is the size up to which all texts of a tree are cut from one
// copy of the document, instead of one copy each.
const smallDocument = 4 << 10

// tree converts values of a graph, which it only reads, to Go values.
type tree struct {
	*graph

	small    bool   // texts are cut from the document
	document string // a copy of the data, once it is needed
	left     int    // values that may still be made
	depth    int
	once     map[uint64]any // values that may occur again, by offset
	open     []bool         // objects that are being converted; nil: none can occur in itself
}

// tree returns v as a tree of Go values.
func (g *graph) tree(v value) (any, error) {
	t := tree{graph: g, left: MaxValues}
	if v.kind >= kindList && g.shared {
		if err := g.measure(v); err != nil {
			return nil, err
		}
		t.open = make([]bool, len(g.objects))
	}
	if g.shared || g.copies {
		t.once = make(map[uint64]any)
	}
	t.small = len(g.data) <= smallDocument && v.kind >= kindList
	return t.value(v)
}

func (t *tree) value(v value) (any, error) {
	if t.left--; t.left < 0 {
		return nil, limitError("number of values")
	}
	if v.kind >= kindList {
		return t.container(v)
	}
	switch v.kind {
	case kindBool:
		return v.x != 0, nil
	case kindInt:
		return int64(v.x), nil
	case kindFloat:
		return math.Float64frombits(v.x), nil
	case kindText, kindBytes, kindLong, kindDigits:
		return t.data(v)
	case kindMade:
		return t.finished(v), nil
	case kindClass:
		return t.classes[v.x].name, nil
	}
	return nil, nil
}

// finished returns a value of the machine's. Bytes can be changed by whoever
// gets them: each tree has its own.
func (t *tree) finished(v value) any {
	b, ok := t.made[v.x].([]byte)
	if !ok {
		return t.made[v.x]
	}
	if t.once == nil {
		return bytes.Clone(b)
	}
	key := ^v.x // no offset
	if _, ok := t.once[key]; !ok {
		t.once[key] = bytes.Clone(b)
	}
	return t.once[key]
}

// data converts a value that points into the data, once if it may be there
// again.
func (t *tree) data(v value) (any, error) {
	if t.once == nil {
		return t.fresh(v)
	}
	if out, ok := t.once[v.x]; ok {
		return out, nil
	}
	out, err := t.fresh(v)
	t.once[v.x] = out
	return out, err
}

func (t *tree) fresh(v value) (any, error) {
	switch v.kind {
	case kindBytes:
		return append([]byte{}, t.bytes(v)...), nil
	case kindLong:
		return longInt(t.bytes(v))
	case kindDigits:
		return decimalInt(t.bytes(v))
	}
	if s, ok := known(t.bytes(v)); ok {
		return s, nil
	}
	return t.string(v), nil
}

// string returns a text value.
func (t *tree) string(v value) string {
	if !t.small {
		return string(t.bytes(v))
	}
	if t.document == "" {
		t.document = string(t.graph.data)
	}
	return t.document[v.x : v.x+uint64(v.n)]
}

// key returns a text that is a dict's key.
func (t *tree) key(v value) string {
	if v.kind == kindText && t.small {
		return t.string(v)
	}
	s, _ := t.text(v)
	return s
}

// longInt converts a little-endian two's complement integer of more than 8
// bytes.
func longInt(b []byte) (any, error) {
	if len(b) > maxLong {
		return nil, limitError("digits of an integer")
	}
	be := slices.Clone(b)
	slices.Reverse(be)
	n := new(big.Int).SetBytes(be)
	if be[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(be))))
	}
	return smallest(n), nil
}

func decimalInt(b []byte) (any, error) {
	if len(b) > MaxDigits+1 {
		return nil, limitError("digits of an integer")
	}
	n, _ := new(big.Int).SetString(string(b), 10)
	return smallest(n), nil
}

// smallest returns n as an int64 where it fits.
func smallest(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

func (t *tree) container(v value) (any, error) {
	if t.depth++; t.depth > MaxDepth {
		return nil, limitError("depth")
	}
	defer func() { t.depth-- }()
	switch v.kind {
	case kindTuple:
		items, err := t.items(t.seqs[v.x])
		return python.Tuple(items), err
	case kindSet, kindFrozen:
		items, err := t.items(t.seqs[v.x])
		return &python.Set{Items: items, Frozen: v.kind == kindFrozen}, err
	case kindDict:
		return t.dict(t.seqs[v.x])
	case kindObject:
		return t.object(v.x)
	}
	return t.items(t.seqs[v.x])
}

func (t *tree) items(seq []value) ([]any, error) {
	items := make([]any, len(seq))
	for i, v := range seq {
		item, err := t.value(v)
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return items, nil
}

func (t *tree) dict(seq []value) (any, error) {
	for i := 0; i < len(seq); i += 2 {
		if !t.isText(seq[i]) {
			pairs, err := t.pairs(seq)
			return python.Dict(pairs), err
		}
	}
	return t.mapping(seq)
}

// mapping converts a dict whose keys are text.
func (t *tree) mapping(seq []value) (map[string]any, error) {
	m := make(map[string]any, len(seq)/2)
	for i := 0; i < len(seq); i += 2 {
		v, err := t.value(seq[i+1])
		if err != nil {
			return nil, err
		}
		m[t.key(seq[i])] = v
	}
	return m, nil
}

func (t *tree) pairs(seq []value) ([]python.Pair, error) {
	flat, err := t.items(seq)
	if err != nil {
		return nil, err
	}
	pairs := make([]python.Pair, len(flat)/2)
	for i := range pairs {
		pairs[i] = python.Pair{Key: flat[2*i], Value: flat[2*i+1]}
	}
	return pairs, nil
}
