package json

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

func (codec) Append(dst []byte, v any) ([]byte, error) {
	w := writer{dst: dst, left: serialization.MaxNodes}
	if err := w.value(v, 0); err != nil {
		return dst, err
	}
	return w.dst, nil
}

type writer struct {
	dst  []byte
	left int // values that may still be written
}

func (w *writer) raw(s string) { w.dst = append(w.dst, s...) }

// value writes v, which is inside of depth containers.
func (w *writer) value(v any, depth int) error {
	if w.left--; w.left < 0 {
		return errTooMany
	}
	switch v := v.(type) {
	case nil:
		w.raw("null")
	case bool:
		w.dst = strconv.AppendBool(w.dst, v)
	case string:
		return w.text(v)
	case int64:
		w.dst = strconv.AppendInt(w.dst, v, 10)
	case int:
		w.dst = strconv.AppendInt(w.dst, int64(v), 10)
	case float64:
		w.float(v)
	case []any, map[string]any, python.Dict, python.Tuple, python.Envelope, []string, map[string]string:
		return w.container(v, depth)
	case serialization.Value:
		return w.encoded(v, depth)
	default:
		return w.special(v, depth)
	}
	return nil
}

func (w *writer) float(f float64) {
	switch {
	case f != f:
		w.raw("NaN")
	case f-f == 0:
		w.dst = python.AppendFloat(w.dst, f)
	case f > 0:
		w.raw("Infinity")
	default:
		w.raw("-Infinity")
	}
}

func (w *writer) container(v any, depth int) error {
	if depth >= serialization.MaxDepth {
		return errTooDeep
	}
	switch v := v.(type) {
	case []any:
		return writeList(w, v, v == nil, depth+1)
	case python.Tuple:
		return writeList(w, v, false, depth+1)
	case []string:
		return writeList(w, v, v == nil, depth+1)
	case map[string]any:
		return writeMap(w, v, depth+1)
	case map[string]string:
		return writeMap(w, v, depth+1)
	case python.Dict:
		return w.dict(v, depth+1)
	default:
		e := v.(python.Envelope)
		return w.dict(python.Dict{{Key: typeKey, Value: e.Type}, {Key: valueKey, Value: e.Value}}, depth+1)
	}
}

func writeList[T any](w *writer, items []T, isNil bool, depth int) error {
	if isNil {
		w.raw("null")
		return nil
	}
	w.dst = append(w.dst, '[')
	for i, item := range items {
		w.separate(i)
		if err := w.value(item, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, ']')
	return nil
}

func (w *writer) separate(i int) {
	if i > 0 {
		w.raw(", ")
	}
}

type entry[T any] struct {
	key   string
	value T
}

// writeMap writes the entries in the order of their keys. Up to 16 of them are
// sorted without an allocation.
func writeMap[T any](w *writer, m map[string]T, depth int) error {
	if m == nil {
		w.raw("null")
		return nil
	}
	var few [16]entry[T]
	entries := few[:0]
	for key, value := range m {
		entries = append(entries, entry[T]{key, value})
	}
	slices.SortFunc(entries, func(a, b entry[T]) int { return strings.Compare(a.key, b.key) })
	w.dst = append(w.dst, '{')
	for i := range entries {
		w.separate(i)
		if err := w.pair(entries[i].key, entries[i].value, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '}')
	return nil
}

func (w *writer) pair(key string, value any, depth int) error {
	if err := w.text(key); err != nil {
		return err
	}
	w.raw(": ")
	return w.value(value, depth)
}

func (w *writer) dict(pairs python.Dict, depth int) error {
	w.dst = append(w.dst, '{')
	for i, p := range pairs {
		w.separate(i)
		key, ok := p.Key.(string)
		if !ok {
			var err error
			if key, err = keyText(p.Key); err != nil {
				return err
			}
		}
		if err := w.pair(key, p.Value, depth); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '}')
	return nil
}

// keyText returns the text that json.dumps makes of a key.
func keyText(key any) (string, error) {
	key, err := plain(key)
	if err != nil {
		return "", err
	}
	switch key := key.(type) {
	case string:
		return key, nil
	case nil, bool, int64, float64, *big.Int:
		var w writer
		w.left = 1
		err := w.value(key, 0)
		return string(w.dst), err
	}
	return "", unsupported("a key of type %T; keys are str, int, float, bool or None", key)
}

// encoded writes a Value, that of this codec as it is.
func (w *writer) encoded(v serialization.Value, depth int) error {
	if v.Codec == Codec {
		r := reader{data: v.Data, left: w.left}
		if err := r.check(depth); err != nil {
			return err
		}
		w.dst = append(w.dst, v.Data...)
		return nil
	}
	tree, err := v.Decode()
	if err != nil {
		return err
	}
	return w.value(tree, depth)
}

// special writes the values that kombu puts into an envelope, and brings
// everything that is not plain into plain form.
func (w *writer) special(v any, depth int) error {
	switch v := v.(type) {
	case *big.Int:
		return w.integer(v)
	case []byte:
		return w.bytes(v)
	case time.Time:
		return w.dateTime(v, python.AppendISO)
	case python.DateTime:
		return w.dateTime(v.Time, appendNaive)
	case python.Date:
		return w.date(v)
	case python.Time:
		return w.clock(v)
	case python.Decimal:
		return w.decimal(v)
	case python.UUID:
		w.uuid(v)
		return nil
	case python.Timedelta:
		return unsupported("timedelta; store its total seconds, or use pickle")
	case *python.Set:
		return w.set(v)
	case complex128, python.Class, *python.Object:
		return unsupported("%T; only pickle can hold it", v)
	}
	tree, err := plain(v)
	if err != nil {
		return err
	}
	return w.value(tree, depth)
}

func plain(v any) (any, error) {
	tree, err := python.Plain(v)
	if err != nil {
		return nil, fmt.Errorf("json: %w", err)
	}
	return tree, nil
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("json: %w: %s", serialization.ErrUnsupported, fmt.Sprintf(format, args...))
}

func (w *writer) set(s *python.Set) error {
	if s == nil {
		w.raw("null")
		return nil
	}
	return unsupported("set; store a list of its items, or use pickle")
}

func (w *writer) integer(i *big.Int) error {
	if i == nil {
		w.raw("null")
		return nil
	}
	if i.BitLen() > serialization.MaxDigits*4 {
		return errTooLong
	}
	start := len(w.dst)
	w.dst = i.Append(w.dst, 10)
	return checkDigits(w.dst[start:])
}

// envelope writes the beginning of an envelope, open the same with a string.
func (w *writer) envelope(name string) {
	w.raw(`{"` + typeKey + `": "`)
	w.raw(name)
	w.raw(`", "` + valueKey + `": `)
}

func (w *writer) open(name string) {
	w.envelope(name)
	w.dst = append(w.dst, '"')
}

func (w *writer) close() { w.raw(`"}`) }

func (w *writer) bytes(b []byte) error {
	switch {
	case b == nil:
		w.raw("null")
	case utf8.Valid(b):
		w.envelope(typeBytes)
		w.quoted(string(b))
		w.dst = append(w.dst, '}')
	default:
		w.open(typeBase64)
		w.dst = base64.StdEncoding.AppendEncode(w.dst, b)
		w.close()
	}
	return nil
}

func (w *writer) dateTime(t time.Time, appendISO func([]byte, time.Time) []byte) error {
	_, offset := t.Zone()
	if t.Year() < 1 || t.Year() > 9999 || offset <= -86400 || offset >= 86400 {
		return unsupported("a time that Python's datetime cannot hold: %s", t)
	}
	w.open(typeDateTime)
	w.dst = appendISO(w.dst, t)
	w.close()
	return nil
}

func appendNaive(dst []byte, t time.Time) []byte {
	return python.DateTime{Time: t}.AppendISO(dst)
}

func (w *writer) date(d python.Date) error {
	text := d.String()
	if _, err := python.ParseDate(text); err != nil {
		return unsupported("a date that Python cannot hold: %s", text)
	}
	w.open(typeDate)
	w.raw(text)
	w.close()
	return nil
}

func (w *writer) clock(t python.Time) error {
	text := t.String()
	if _, err := python.ParseTime(text); err != nil {
		return unsupported("a time of day that Python cannot hold: %s", text)
	}
	w.open(typeTime)
	w.raw(text)
	w.close()
	return nil
}

func (w *writer) decimal(d python.Decimal) error {
	if _, err := python.ParseDecimal(string(d)); err != nil {
		return unsupported("the Decimal %q, which is no number", string(d))
	}
	w.envelope(typeDecimal)
	if err := w.text(string(d)); err != nil {
		return err
	}
	w.dst = append(w.dst, '}')
	return nil
}

func (w *writer) uuid(id python.UUID) {
	w.envelope(typeUUID)
	w.raw(`{"hex": "`)
	w.dst = hex.AppendEncode(w.dst, id[:])
	w.raw(`"}}`)
}

// text writes s as a string of ASCII characters.
func (w *writer) text(s string) error {
	if !w.quoted(s) {
		return unsupported("text that is not UTF-8")
	}
	return nil
}

// quoted reports false when it met a byte that is not UTF-8.
func (w *writer) quoted(s string) bool {
	w.dst = append(w.dst, '"')
	start := 0
	for i := 0; i < len(s); {
		if plainASCII[s[i]] {
			i++
			continue
		}
		w.raw(s[start:i])
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			return false
		}
		w.escape(r)
		i += size
		start = i
	}
	w.raw(s[start:])
	w.dst = append(w.dst, '"')
	return true
}

// plainASCII holds the bytes that stand for themselves.
var plainASCII = func() (table [256]bool) {
	for c := ' '; c <= '~'; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

func (w *writer) escape(r rune) {
	switch {
	case r == '"' || r == '\\':
		w.dst = append(w.dst, '\\', byte(r))
	case r == '\n':
		w.raw(`\n`)
	case r == '\r':
		w.raw(`\r`)
	case r == '\t':
		w.raw(`\t`)
	case r == '\f':
		w.raw(`\f`)
	case r == '\b':
		w.raw(`\b`)
	case r < 0x10000:
		w.unit(r)
	default:
		high, low := utf16.EncodeRune(r)
		w.unit(high)
		w.unit(low)
	}
}

// unit writes a UTF-16 code unit as \uXXXX.
func (w *writer) unit(u rune) {
	const digits = "0123456789abcdef"
	w.dst = append(w.dst, '\\', 'u', digits[u>>12&15], digits[u>>8&15], digits[u>>4&15], digits[u&15])
}
