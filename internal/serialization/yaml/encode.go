package yaml

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// encoder writes values as PyYAML's SafeRepresenter and Serializer describe
// them to its Emitter.
type encoder struct {
	emitter
	left  int // values that may still be written
	limit int // of out, beyond which the document could not be read back
}

func (e *encoder) document(v any) error {
	if err := e.value(v, place{root: true}, 0); err != nil {
		return err
	}
	e.endDocument()
	return nil
}

func (e *encoder) value(v any, at place, depth int) error {
	if e.left--; e.left < 0 || depth > serialization.MaxDepth || len(e.out) > e.limit {
		return limitError("a value that is too large or nested too deeply")
	}
	v, err := simplify(v)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case []any:
		return e.sequence(v, at, depth)
	case python.Dict:
		return e.mapping(v, "", at, depth)
	case *python.Set:
		return e.set(v, at, depth)
	}
	s, err := scalarOf(v)
	if err != nil {
		return err
	}
	e.scalar(s, at)
	return nil
}

// simplify returns v as one of the types that scalarOf takes, or as []any,
// python.Dict with its keys in order, or *python.Set.
func simplify(v any) (any, error) {
	switch v := v.(type) {
	case string, nil, bool, int64, float64, *python.Set:
		return v, nil
	case serialization.Value:
		decoded, err := v.Decode()
		if err != nil {
			return nil, fmt.Errorf("yaml: %w", err)
		}
		return simplify(decoded)
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		return sortedDict(v), nil
	case python.Dict:
		return sortDict(unique(v)), nil
	case python.Tuple:
		return []any(v), nil
	case []any:
		if v == nil {
			return nil, nil
		}
		return v, nil
	}
	return plain(v)
}

// plain leaves the rest to package python. What it returns of a container has
// to be simplified again.
func plain(v any) (any, error) {
	p, err := python.Plain(v)
	if err != nil {
		return nil, fmt.Errorf("yaml: %w", err)
	}
	switch p.(type) {
	case map[string]any, python.Dict, python.Tuple:
		return simplify(p)
	}
	return p, nil
}

func sortedDict(m map[string]any) python.Dict {
	dict := make(python.Dict, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		dict = append(dict, python.Pair{Key: key, Value: m[key]})
	}
	return dict
}

// scalarOf returns how v is written, with the tag that PyYAML gives it.
func scalarOf(v any) (scalarText, error) {
	switch v := v.(type) {
	case nil:
		return scalarText{tag: "!!null", text: "null"}, nil
	case bool:
		return scalarText{tag: "!!bool", text: strconv.FormatBool(v)}, nil
	case int64:
		return scalarText{tag: "!!int", text: strconv.FormatInt(v, 10)}, nil
	case *big.Int:
		return bigText(v)
	case float64:
		return scalarText{tag: "!!float", text: string(appendFloat(nil, v))}, nil
	case string:
		return scalarText{tag: "!!str", text: strings.ToValidUTF8(v, "\uFFFD")}, nil
	case []byte:
		return scalarText{tag: "!!binary", text: encodeBase64(v)}, nil
	case python.Date:
		return dateText(v)
	case python.DateTime:
		return timeText(v.Time, false)
	case time.Time:
		return timeText(v, true)
	}
	return scalarText{}, unsupported(v)
}

func unsupported(v any) error {
	return fmt.Errorf("yaml: %w: %T", serialization.ErrUnsupported, v)
}

func bigText(n *big.Int) (scalarText, error) {
	s := n.String()
	if len(unsigned(s)) > serialization.MaxDigits {
		return scalarText{}, limitError("an integer of " + strconv.Itoa(len(s)) + " digits")
	}
	return scalarText{tag: "!!int", text: s}, nil
}

// encodeBase64 wraps lines as Python's base64.encodebytes does.
func encodeBase64(data []byte) string {
	const perLine = 57
	var b strings.Builder
	for chunk := range slices.Chunk(data, perLine) {
		b.WriteString(base64.StdEncoding.EncodeToString(chunk))
		b.WriteByte('\n')
	}
	return b.String()
}

func dateText(d python.Date) (scalarText, error) {
	if err := checkYear(d.Year); err != nil {
		return scalarText{}, err
	}
	return scalarText{tag: "!!timestamp", text: d.String()}, nil
}

// timeText writes datetime.isoformat(" "). An offset with seconds has no form
// that safe_load reads, so such a time is written in UTC.
func timeText(t time.Time, aware bool) (scalarText, error) {
	if _, offset := t.Zone(); offset%60 != 0 {
		t = t.UTC()
	}
	if err := checkYear(t.Year()); err != nil {
		return scalarText{}, err
	}
	s := python.DateTime{Time: t}.String()
	if aware {
		s = string(python.AppendISO(nil, t))
	}
	return scalarText{tag: "!!timestamp", text: strings.Replace(s, "T", " ", 1)}, nil
}

// checkYear refuses what Python's datetime cannot hold.
func checkYear(year int) error {
	if year < 1 || year > 9999 {
		return fmt.Errorf("yaml: %w: a date in the year %d", serialization.ErrUnsupported, year)
	}
	return nil
}

func (e *encoder) sequence(items []any, at place, depth int) error {
	if len(items) == 0 {
		e.emptySequence()
		return nil
	}
	indent := e.sequenceIndent(at)
	for _, item := range items {
		e.writeIndent(indent)
		e.indicator("-", true, true)
		if err := e.value(item, place{indent: indent}, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) set(s *python.Set, at place, depth int) error {
	if s == nil {
		e.scalar(scalarText{tag: "!!null", text: "null"}, at)
		return nil
	}
	if s.Frozen {
		return fmt.Errorf("yaml: %w: a frozenset", serialization.ErrUnsupported)
	}
	dict := make(python.Dict, len(s.Items))
	for i, item := range s.Items {
		dict[i].Key = item
	}
	return e.mapping(sortDict(unique(dict)), "!!set", at, depth)
}

func (e *encoder) mapping(dict python.Dict, tag string, at place, depth int) error {
	if tag != "" {
		e.indicator(tag, true, false)
	}
	if len(dict) == 0 {
		e.emptyMapping()
		return nil
	}
	indent := at.deeper()
	for _, pair := range dict {
		if err := e.key(pair.Key, indent); err != nil {
			return err
		}
		if err := e.value(pair.Value, place{indent: indent, mapping: true}, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// key writes a key and its colon. Keys that are empty, long or of several
// lines are announced with a question mark.
func (e *encoder) key(v any, indent int) error {
	s, err := keyText(v)
	if err != nil {
		return err
	}
	e.writeIndent(indent)
	if s.isSimpleKey() {
		e.scalar(s, place{indent: indent, mapping: true, simpleKey: true})
		e.indicator(":", false, false)
		return nil
	}
	e.indicator("?", true, true)
	e.scalar(s, place{indent: indent, mapping: true})
	e.writeIndent(indent)
	e.indicator(":", true, true)
	return nil
}

func keyText(v any) (scalarText, error) {
	if s, ok := v.(string); ok {
		return scalarOf(s)
	}
	v, err := simplify(v)
	if err != nil {
		return scalarText{}, err
	}
	switch v.(type) {
	case []any, python.Dict, *python.Set:
		return scalarText{}, fmt.Errorf("yaml: %w: a collection as a key", serialization.ErrUnsupported)
	}
	return scalarOf(v)
}

// unique drops the earlier values of keys that occur twice. A key that cannot
// be hashed is kept and refused when it is written.
func unique(dict python.Dict) python.Dict {
	index := make(map[any]int, len(dict))
	out := make(python.Dict, 0, len(dict))
	for _, pair := range dict {
		key := pair.Key
		if p, err := simplify(key); err == nil {
			key = p
		}
		id, ok := identity(key)
		at, seen := index[id]
		if ok && seen {
			out[at].Value = pair.Value
			continue
		}
		if ok {
			index[id] = len(out)
		}
		out = append(out, python.Pair{Key: key, Value: pair.Value})
	}
	return out
}

// sortDict sorts a dict as Python sorts its items: by key, and not at all when
// two keys have no order, such as a number and text.
func sortDict(dict python.Dict) python.Dict {
	sorted := slices.Clone(dict)
	comparable := true
	slices.SortStableFunc(sorted, func(a, b python.Pair) int {
		order, ok := compare(a.Key, b.Key)
		comparable = comparable && ok
		return order
	})
	if !comparable {
		return dict
	}
	return sorted
}

func compare(a, b any) (order int, ok bool) {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return cmp.Compare(a, b), ok
	case []byte:
		b, ok := b.([]byte)
		return bytes.Compare(a, b), ok
	case python.DateTime:
		b, ok := b.(python.DateTime)
		return a.Compare(b.Time), ok
	case time.Time:
		b, ok := b.(time.Time)
		return a.Compare(b), ok
	case python.Date:
		b, ok := b.(python.Date)
		return cmp.Compare(a.String(), b.String()), ok
	}
	x, okA := number(a)
	y, okB := number(b)
	if !okA || !okB {
		return 0, false
	}
	return x.Cmp(y), true
}

// number returns a finite number as a big.Float that holds it exactly.
func number(v any) (*big.Float, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewFloat(1), true
		}
		return new(big.Float), true
	case int64:
		return new(big.Float).SetInt64(v), true
	case *big.Int:
		return new(big.Float).SetInt(v), true
	case float64:
		if v == v {
			return new(big.Float).SetFloat64(v), true
		}
	}
	return nil, false
}
