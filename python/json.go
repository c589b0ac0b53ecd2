package python

import (
	"encoding/base64"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// JSON appends value as plain JSON for people and for programs that know
// nothing of kombu: no spaces, UTF-8, keys of a map[string]any sorted.
//
//   - Times are ISO 8601 strings, naive ones without an offset. A Timedelta is
//     its total seconds, a float.
//   - Decimals, UUIDs and classes are strings, and so are NaN, Infinity and
//     -Infinity and, as Python prints them, complex numbers.
//   - Bytes are base64. Tuples and sets are arrays.
//   - Other keys of a Dict than text are turned into text as Python's
//     json.dumps does it; one that it refuses becomes the text of its JSON.
//   - An *Object is {"__class__": "module.Name", "args": […]} with "kwargs",
//     "state", "items" and "pairs" when it has them, an Envelope
//     {"__type__": …, "__value__": …}.
//
// Any other Go value goes through [Plain]; one that Plain refuses becomes the
// text of the error. A container nested deeper than 512 levels is the string
// "...", and what comes after four million values is left out; what a decoder
// of this module returns has a million at the most. The result is valid JSON
// in any case: bytes that are not UTF-8 become U+FFFD.
func JSON(dst []byte, value any) []byte {
	w := jsonWriter{dst: dst, left: maxPrinted}
	w.value(value, 0)
	return w.dst
}

type jsonWriter struct {
	dst  []byte
	left int // values that may still be written
}

func (w *jsonWriter) value(v any, depth int) {
	w.left--
	switch v := v.(type) {
	case nil:
		w.raw("null")
	case bool:
		w.dst = strconv.AppendBool(w.dst, v)
	case int64:
		w.dst = strconv.AppendInt(w.dst, v, 10)
	case float64:
		w.float(v)
	case string:
		w.text(v)
	case *big.Int:
		w.integer(v)
	case []byte, complex128, time.Time, DateTime, Date, Time, Timedelta, Decimal, UUID, Class:
		w.scalar(v)
	case []any, Tuple, map[string]any, Dict, *Set, *Object, Envelope:
		w.container(v, depth)
	default:
		w.other(v, depth)
	}
}

func (w *jsonWriter) raw(s string) { w.dst = append(w.dst, s...) }

func (w *jsonWriter) quote() { w.dst = append(w.dst, '"') }

func (w *jsonWriter) float(f float64) {
	switch {
	case f != f:
		w.raw(`"NaN"`)
	case f-f == 0:
		w.dst = AppendFloat(w.dst, f)
	case f > 0:
		w.raw(`"Infinity"`)
	default:
		w.raw(`"-Infinity"`)
	}
}

func (w *jsonWriter) integer(i *big.Int) {
	if i == nil {
		w.raw("null")
		return
	}
	w.dst = i.Append(w.dst, 10)
}

func (w *jsonWriter) scalar(v any) {
	switch v := v.(type) {
	case Timedelta:
		w.float(v.TotalSeconds())
		return
	case Decimal:
		w.text(string(v))
		return
	case Class:
		w.text(v.String())
		return
	}
	w.quote()
	switch v := v.(type) {
	case []byte:
		w.dst = base64.StdEncoding.AppendEncode(w.dst, v)
	case complex128:
		w.dst = appendComplex(w.dst, v)
	case time.Time:
		w.dst = AppendISO(w.dst, v)
	case DateTime:
		w.dst = v.AppendISO(w.dst)
	case Date:
		w.dst = v.AppendISO(w.dst)
	case Time:
		w.dst = v.AppendISO(w.dst)
	case UUID:
		w.dst = v.appendText(w.dst)
	}
	w.quote()
}

func (w *jsonWriter) container(v any, depth int) {
	if depth >= maxDepth {
		w.raw(`"..."`)
		return
	}
	switch v := v.(type) {
	case []any:
		w.array(v, v == nil, depth+1)
	case Tuple:
		w.array(v, false, depth+1)
	case *Set:
		w.array(v.items(), v == nil, depth+1)
	case map[string]any:
		w.sorted(v, depth+1)
	case Dict:
		w.pairs(v, depth+1)
	case *Object:
		w.object(v, depth+1)
	case Envelope:
		w.pairs([]Pair{{"__type__", v.Type}, {"__value__", v.Value}}, depth+1)
	}
}

func (w *jsonWriter) array(items []any, isNil bool, depth int) {
	if isNil {
		w.raw("null")
		return
	}
	w.dst = append(w.dst, '[')
	for i, item := range items {
		if !w.next(i) {
			break
		}
		w.value(item, depth)
	}
	w.dst = append(w.dst, ']')
}

// next begins the i-th part of a container, if one may still be written.
func (w *jsonWriter) next(i int) bool {
	if i > 0 && w.left > 0 {
		w.dst = append(w.dst, ',')
	}
	return w.left > 0
}

func (w *jsonWriter) sorted(m map[string]any, depth int) {
	if m == nil {
		w.raw("null")
		return
	}
	w.dst = append(w.dst, '{')
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if !w.next(i) {
			break
		}
		w.text(key)
		w.dst = append(w.dst, ':')
		w.value(m[key], depth)
	}
	w.dst = append(w.dst, '}')
}

func (w *jsonWriter) pairs(pairs []Pair, depth int) {
	w.dst = append(w.dst, '{')
	for i, p := range pairs {
		if !w.next(i) {
			break
		}
		w.key(p.Key, depth)
		w.dst = append(w.dst, ':')
		w.value(p.Value, depth)
	}
	w.dst = append(w.dst, '}')
}

func (w *jsonWriter) object(o *Object, depth int) {
	if o == nil {
		w.raw("null")
		return
	}
	w.pairs(o.members(), depth)
}

// key writes the JSON of v, in quotes unless it is text already.
func (w *jsonWriter) key(v any, depth int) {
	start := len(w.dst)
	w.value(v, depth)
	if w.dst[start] != '"' {
		text := string(w.dst[start:])
		w.dst = w.dst[:start]
		w.text(text)
	}
}

// other writes a Go value that is not plain.
func (w *jsonWriter) other(v any, depth int) {
	tree, err := Plain(v)
	if err != nil {
		w.text(err.Error())
		return
	}
	w.value(tree, depth)
}

// text writes s as a JSON string.
func (w *jsonWriter) text(s string) {
	w.quote()
	start := 0
	for i := 0; i < len(s); {
		size, safe := safePrefix(s[i:])
		if !safe {
			w.raw(s[start:i])
			w.escape(s[i])
			start = i + size
		}
		i += size
	}
	w.raw(s[start:])
	w.quote()
}

// safePrefix returns the length of the character that s begins with, and
// whether it stands for itself in JSON.
func safePrefix(s string) (size int, safe bool) {
	if c := s[0]; c < utf8.RuneSelf {
		return 1, c >= ' ' && c != '"' && c != '\\'
	}
	r, size := utf8.DecodeRuneInString(s)
	return size, r != utf8.RuneError || size > 1
}

func (w *jsonWriter) escape(c byte) {
	const hex = "0123456789abcdef"
	switch {
	case c >= utf8.RuneSelf:
		w.raw("\uFFFD")
	case c == '"' || c == '\\':
		w.dst = append(w.dst, '\\', c)
	case c == '\n':
		w.raw(`\n`)
	case c == '\t':
		w.raw(`\t`)
	case c == '\r':
		w.raw(`\r`)
	default:
		w.dst = append(w.dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
}

// members lists what JSON shows of an object.
func (o *Object) members() []Pair {
	args := o.Args
	if args == nil {
		args = Tuple{}
	}
	out := []Pair{{"__class__", o.Class}, {"args", args}}
	if len(o.Kwargs) > 0 {
		out = append(out, Pair{"kwargs", o.Kwargs})
	}
	if o.State != nil {
		out = append(out, Pair{"state", o.State})
	}
	if len(o.Items) > 0 {
		out = append(out, Pair{"items", o.Items})
	}
	if len(o.Pairs) > 0 {
		out = append(out, Pair{"pairs", Dict(o.Pairs)})
	}
	return out
}

// items returns the items of a set, none of a nil one.
func (s *Set) items() []any {
	if s == nil {
		return nil
	}
	return s.Items
}
