package json

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

func (codec) Decode(data []byte) (any, error) {
	return decode(data, 0)
}

// Resolve decodes the text that Fields found one level below the top.
func (codec) Resolve(v serialization.Value) (any, error) {
	return decode(v.Data, 1)
}

func decode(data []byte, depth int) (any, error) {
	r := reader{data: data, left: serialization.MaxNodes}
	v, err := r.value(depth)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// reader is a cursor in JSON text. Its methods start at pos and leave pos
// behind what they read.
type reader struct {
	data []byte
	pos  int
	left int // values that may still be read

	keys [32]string // keys seen before, by a hash
}

func (r *reader) fail(reason string) error {
	return &serialization.SyntaxError{Format: "json", Offset: r.pos, Reason: reason}
}

// peek skips white space and returns the next byte, zero at the end.
func (r *reader) peek() byte {
	for ; r.pos < len(r.data); r.pos++ {
		if c := r.data[r.pos]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
	}
	return 0
}

// end checks that nothing but white space is left.
func (r *reader) end() error {
	if r.peek(); r.pos < len(r.data) {
		return r.fail("data after the value")
	}
	return nil
}

// value reads a value that is inside of depth containers.
func (r *reader) value(depth int) (any, error) {
	if r.left--; r.left < 0 {
		return nil, errTooMany
	}
	switch c := r.peek(); c {
	case '"':
		return boxed(r.text())
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	case 'n':
		return nil, r.word("null")
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'N':
		return math.NaN(), r.word("NaN")
	case 'I':
		return math.Inf(1), r.word("Infinity")
	default:
		return r.number()
	}
}

func boxed[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (r *reader) word(w string) error {
	if !r.has(w) {
		return r.fail("unexpected character")
	}
	r.pos += len(w)
	return nil
}

func (r *reader) has(w string) bool {
	rest := r.data[r.pos:]
	return len(rest) >= len(w) && string(rest[:len(w)]) == w
}

// enter steps into a container and reports whether it is an empty one.
func (r *reader) enter(depth int, closing byte) (empty bool, err error) {
	if depth >= serialization.MaxDepth {
		return false, errTooDeep
	}
	r.pos++
	if r.peek() != closing {
		return false, nil
	}
	r.pos++
	return true, nil
}

// more steps over a comma, or over the closing bracket and reports false.
func (r *reader) more(closing byte) (bool, error) {
	switch r.peek() {
	case ',':
		r.pos++
		return true, nil
	case closing:
		r.pos++
		return false, nil
	}
	return false, r.fail("expected , or " + string(closing))
}

func (r *reader) array(depth int) (any, error) {
	list := []any{}
	empty, err := r.enter(depth, ']')
	for more := !empty; more && err == nil; {
		var item any
		if item, err = r.value(depth + 1); err != nil {
			return nil, err
		}
		list = append(list, item)
		more, err = r.more(']')
	}
	return boxed(list, err)
}

func (r *reader) object(depth int) (any, error) {
	dict := map[string]any{}
	empty, err := r.enter(depth, '}')
	for more := !empty; more && err == nil; {
		var key string
		if key, err = r.key(); err != nil {
			return nil, err
		}
		if dict[key], err = r.value(depth + 1); err != nil {
			return nil, err
		}
		more, err = r.more('}')
	}
	if err != nil {
		return nil, err
	}
	return opened(dict), nil
}

// key reads a key and the colon behind it.
func (r *reader) key() (string, error) {
	if r.peek() != '"' {
		return "", r.fail("expected a key in double quotes")
	}
	raw, simple, err := r.span()
	if err != nil {
		return "", err
	}
	key := r.intern(raw)
	if !simple {
		if key, err = unescape(raw); err != nil {
			return "", r.fail(err.Error())
		}
	}
	return key, r.colon()
}

func (r *reader) colon() error {
	if r.peek() != ':' {
		return r.fail("expected :")
	}
	r.pos++
	return nil
}

// intern returns raw as a string, the same one for a key that came before.
func (r *reader) intern(raw []byte) string {
	if key := knownName(raw); key != "" || len(raw) == 0 {
		return key
	}
	slot := &r.keys[(len(raw)+7*int(raw[0])+3*int(raw[len(raw)-1]))%len(r.keys)]
	if *slot != string(raw) {
		*slot = string(raw)
	}
	return *slot
}

func (r *reader) text() (string, error) {
	raw, simple, err := r.span()
	if err != nil || simple {
		return string(raw), err
	}
	s, err := unescape(raw)
	if err != nil {
		return "", r.fail(err.Error())
	}
	return s, nil
}

// span reads a string and returns what is between the quotes, and whether that
// is free of escapes.
func (r *reader) span() (raw []byte, simple bool, err error) {
	r.pos++
	start, ascii := r.pos, true
	simple = true
	for ; r.pos < len(r.data); r.pos++ {
		switch c := r.data[r.pos]; {
		case plainASCII[c]:
		case c == '"':
			raw = r.data[start:r.pos]
			if !ascii && !utf8.Valid(raw) {
				return nil, false, r.fail("string is not UTF-8")
			}
			r.pos++
			return raw, simple, nil
		case c == '\\':
			simple = false
			r.pos++
		case c < ' ':
			return nil, false, r.fail("control character in a string")
		default:
			ascii = ascii && c < utf8.RuneSelf
		}
	}
	r.pos = len(r.data)
	return nil, false, r.fail("string without an end")
}

var errEscape = errors.New("invalid escape in a string")

// unescape replaces the escapes in raw. Surrogates that form no pair become
// U+FFFD.
func unescape(raw []byte) (string, error) {
	out := make([]byte, 0, len(raw))
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return string(append(out, raw...)), nil
		}
		out = append(out, raw[:i]...)
		r, n := character(raw[i:])
		if n == 0 {
			return "", errEscape
		}
		out = utf8.AppendRune(out, r)
		raw = raw[i+n:]
	}
}

// character returns the character that raw begins with as one escape, or as a
// pair of them, and the length of it, zero when there is none.
func character(raw []byte) (rune, int) {
	r, n := escaped(raw)
	if !utf16.IsSurrogate(r) {
		return r, n
	}
	low, m := escaped(raw[n:])
	if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
		return pair, n + m
	}
	return utf8.RuneError, n
}

// escaped returns the code unit of the escape that raw begins with, and its
// length, zero when there is none.
func escaped(raw []byte) (rune, int) {
	if len(raw) < 2 || raw[0] != '\\' {
		return 0, 0
	}
	switch c := raw[1]; c {
	case '"', '\\', '/':
		return rune(c), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		return hexUnit(raw[2:])
	}
	return 0, 0
}

func hexUnit(raw []byte) (rune, int) {
	if len(raw) < 4 {
		return 0, 0
	}
	var r rune
	for _, c := range raw[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, 0
		}
	}
	return r, len(`\uXXXX`)
}

// number reads an int, a float or -Infinity.
func (r *reader) number() (any, error) {
	if r.has("-Infinity") {
		return math.Inf(-1), r.word("-Infinity")
	}
	start := r.pos
	isFloat, err := r.skipNumber()
	if err != nil {
		return nil, err
	}
	text := r.data[start:r.pos]
	if isFloat {
		f, _ := strconv.ParseFloat(string(text), 64) // its only error is an infinite result
		return f, nil
	}
	if len(text) < 19 {
		return smallInt(text), nil
	}
	return bigInt(text)
}

// skipNumber steps over a number.
func (r *reader) skipNumber() (isFloat bool, err error) {
	if r.at(r.pos) == '-' {
		r.pos++
	}
	first := r.at(r.pos)
	switch n := r.skipDigits(); {
	case n == 0:
		return false, r.fail("unexpected " + r.found())
	case n > 1 && first == '0':
		return false, r.fail("number with a leading zero")
	}
	if r.at(r.pos) == '.' {
		r.pos++
		if isFloat = true; r.skipDigits() == 0 {
			return false, r.fail("number without digits behind the point")
		}
	}
	if r.at(r.pos)|0x20 == 'e' {
		r.pos++
		if c := r.at(r.pos); c == '+' || c == '-' {
			r.pos++
		}
		if isFloat = true; r.skipDigits() == 0 {
			return false, r.fail("number without an exponent")
		}
	}
	return isFloat, nil
}

// found names what is at the cursor.
func (r *reader) found() string {
	if r.pos >= len(r.data) {
		return "end"
	}
	return "character"
}

// at returns the byte at i, zero behind the end.
func (r *reader) at(i int) byte {
	if i < len(r.data) {
		return r.data[i]
	}
	return 0
}

func (r *reader) skipDigits() int {
	start := r.pos
	for c := r.at(r.pos); '0' <= c && c <= '9'; c = r.at(r.pos) {
		r.pos++
	}
	return r.pos - start
}

// smallInt reads an integer of at most 18 digits.
func smallInt(text []byte) int64 {
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	var n int64
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if text[0] == '-' {
		return -n
	}
	return n
}

func bigInt(text []byte) (any, error) {
	if err := checkDigits(text); err != nil {
		return nil, err
	}
	if i, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return i, nil
	}
	i, _ := new(big.Int).SetString(string(text), 10) // digits only
	return i, nil
}

func checkDigits(text []byte) error {
	if len(bytes.TrimPrefix(text, []byte{'-'})) > serialization.MaxDigits {
		return errTooLong
	}
	return nil
}
