package yaml

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// maxSimpleKey is the longest key, in bytes, on the line of its value. Readers
// look for the colon in the first 1024 characters only.
const maxSimpleKey = 1000

// newLine is cut to the indentation that is needed.
var newLine = "\n" + strings.Repeat("  ", serialization.MaxDepth)

// encoder appends values in block style. It does without the dumper of yaml/v4:
// v4.0.0 allocates 1.7 KB for each value and takes several times as long.
type encoder struct {
	out   []byte
	fresh bool // what comes next needs neither a space nor a new line before it
	left  int  // values that may still be written
	limit int  // of out, beyond which the document could not be read back
}

func (e *encoder) value(v any, depth int) error {
	if e.left--; e.left < 0 || depth > serialization.MaxDepth || len(e.out) > e.limit {
		return limitError("a value that is too large or nested too deeply")
	}
	v, err := simplify(v)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case []any:
		if v != nil {
			return e.list(v, depth)
		}
	case map[string]any:
		if v != nil {
			return e.dict(sortedDict(v), depth)
		}
	case *python.Set:
		if v != nil {
			return e.set(v, depth)
		}
	case python.Tuple:
		return e.list(v, depth)
	case python.Dict:
		return e.dict(v, depth)
	default:
		return e.scalar(v)
	}
	return e.scalar(nil)
}

// simplify returns v as one of the types that value and appendScalar take.
func simplify(v any) (any, error) {
	switch v := v.(type) {
	case string, nil, bool, int64, float64, map[string]any, []any, python.Dict, python.Tuple, *python.Set:
		return v, nil
	case serialization.Value:
		decoded, err := v.Decode()
		if err != nil {
			return nil, fmt.Errorf("yaml: %w", err)
		}
		return simplify(decoded)
	}
	plain, err := python.Plain(v)
	if err != nil {
		return nil, fmt.Errorf("yaml: %w", err)
	}
	return plain, nil
}

func (e *encoder) list(items []any, depth int) error {
	if len(items) == 0 {
		e.token("[]")
	}
	for _, item := range items {
		e.line(depth)
		e.out = append(e.out, "- "...)
		if err := e.value(item, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func sortedDict(m map[string]any) python.Dict {
	dict := make(python.Dict, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		dict = append(dict, python.Pair{Key: key, Value: m[key]})
	}
	return dict
}

// dict keeps the order of its pairs. Of pairs with one key readers take the
// last value.
func (e *encoder) dict(dict python.Dict, depth int) error {
	if len(dict) == 0 {
		e.token("{}")
	}
	for _, pair := range dict {
		if err := e.entry(pair.Key, pair.Value, depth); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) set(s *python.Set, depth int) error {
	if s.Frozen {
		return fmt.Errorf("yaml: %w: a frozenset", serialization.ErrUnsupported)
	}
	e.token("!!set")
	dict := make(python.Dict, len(s.Items))
	for i, item := range s.Items {
		dict[i].Key = item
	}
	return e.dict(dict, depth)
}

func (e *encoder) entry(key, value any, depth int) error {
	e.line(depth)
	start := len(e.out)
	key, err := simplify(key)
	if err != nil {
		return err
	}
	if err := e.scalar(key); err != nil {
		return fmt.Errorf("%w as a key", err)
	}
	if len(e.out)-start > maxSimpleKey {
		e.out = slices.Insert(e.out, start, '?', ' ')
		e.line(depth)
	}
	e.out = append(e.out, ':')
	e.fresh = false
	return e.value(value, depth+1)
}

// line begins a line, unless what is on this one are only the dashes of lists
// that begin here.
func (e *encoder) line(depth int) {
	if !e.fresh {
		e.out = append(e.out, newLine[:1+2*depth]...)
	}
	e.fresh = true
}

func (e *encoder) token(s string) {
	if !e.fresh {
		e.out = append(e.out, ' ')
	}
	e.out = append(e.out, s...)
	e.fresh = false
}

func (e *encoder) scalar(v any) (err error) {
	e.token("")
	e.out, err = appendScalar(e.out, v)
	return err
}

func appendScalar(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return appendFloat(dst, v), nil
	case string:
		return appendText(dst, v), nil
	case []byte:
		dst = append(dst, `!!binary "`...)
		return append(base64.StdEncoding.AppendEncode(dst, v), '"'), nil
	case *big.Int:
		return appendBig(dst, v)
	case python.Date:
		return append(dst, v.String()...), checkYear(v.Year)
	case python.DateTime:
		return append(dst, v.String()...), checkYear(v.Year())
	case time.Time:
		return appendTime(dst, v)
	}
	return dst, fmt.Errorf("yaml: %w: %T", serialization.ErrUnsupported, v)
}

// appendText leaves words without quotes. Go's escapes are all YAML's.
func appendText(dst []byte, s string) []byte {
	if all(s, wordByte) && (digit(s[0]) || letter(s[0])) && resolve(s) == text {
		return append(dst, s...)
	}
	return strconv.AppendQuoteToASCII(dst, strings.ToValidUTF8(s, "\uFFFD"))
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func wordByte(c byte) bool {
	return digit(c) || letter(c) || c == '_' || c == '-' || c == '.' || c == '/'
}

func appendBig(dst []byte, n *big.Int) ([]byte, error) {
	s := n.String()
	if len(unsigned(s)) > serialization.MaxDigits {
		return dst, limitError("an integer of " + strconv.Itoa(len(s)) + " digits")
	}
	return append(dst, s...), nil
}

// appendFloat appends Python's repr with a dot in the mantissa, without which
// YAML 1.1 reads text.
func appendFloat(dst []byte, f float64) []byte {
	s := string(python.AppendFloat(nil, f))
	switch {
	case math.IsInf(f, -1):
		s = "-.inf"
	case f-f != 0: // nan and inf
		s = "." + s
	case !strings.Contains(s, "."):
		s = strings.Replace(s, "e", ".0e", 1)
	}
	return append(dst, s...)
}

// appendTime appends isoformat. An offset with seconds has no form that
// safe_load reads, so such a time is written in UTC.
func appendTime(dst []byte, t time.Time) ([]byte, error) {
	if _, offset := t.Zone(); offset%60 != 0 {
		t = t.UTC()
	}
	return python.AppendISO(dst, t), checkYear(t.Year())
}

// checkYear refuses what Python's datetime cannot hold.
func checkYear(year int) error {
	if year < 1 || year > 9999 {
		return fmt.Errorf("yaml: %w: a date in the year %d", serialization.ErrUnsupported, year)
	}
	return nil
}
