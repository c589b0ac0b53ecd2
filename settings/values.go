package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// setter reads a value into its place in S.
type setter[S any] func(into *S, v any) error

// to makes the setter of a field. Null leaves the field at its default.
func to[S, T any](field func(*S) *T, read func(any) (T, error)) setter[S] {
	set := toNullable(field, read)
	return func(into *S, v any) error {
		if v == nil {
			return nil
		}
		return set(into, v)
	}
}

// toNullable is to for values that mean something when they are null.
func toNullable[S, T any](field func(*S) *T, read func(any) (T, error)) setter[S] {
	return func(into *S, v any) error {
		value, err := read(v)
		if err == nil {
			*field(into) = value
		}
		return err
	}
}

// fields are the known keys of a table.
type fields[S any] map[string]setter[S]

// ignoring adds keys that only Python needs.
func (f fields[S]) ignoring(names string) fields[S] {
	for _, name := range strings.Fields(names) {
		f[name] = func(*S, any) error { return nil }
	}
	return f
}

// read reads the table v into S.
func (f fields[S]) read(into *S, v any) error {
	m, err := mapping(v)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		set, known := f[name]
		if !known {
			return unknown(name, slices.Sorted(maps.Keys(f)))
		}
		if err := set(into, m[name]); err != nil {
			return under(name, err, "")
		}
	}
	return nil
}

// entries makes the reader of a table with names that people choose.
func entries[T any](read func(any) (T, error)) func(any) (map[string]T, error) {
	return func(v any) (map[string]T, error) {
		m, err := mapping(v)
		if err != nil {
			return nil, err
		}
		result := make(map[string]T, len(m))
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if result[name], err = read(m[name]); err != nil {
				return nil, under(name, err, "")
			}
		}
		return result, nil
	}
}

// pointer makes the reader of a setting whose absence means something.
func pointer[T any](read func(any) (T, error)) func(any) (*T, error) {
	return func(v any) (*T, error) {
		value, err := read(v)
		if err != nil {
			return nil, err
		}
		return &value, nil
	}
}

// mismatch says what a value should be, and what kind it is, never the value.
func mismatch(want string, v any) error {
	return fmt.Errorf("must be %s, not %s", want, kind(v))
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case json.Number:
		return "a number"
	}
	switch rv := reflect.ValueOf(v); {
	case rv.Kind() == reflect.String:
		return "text"
	case rv.Kind() == reflect.Bool:
		return "true or false"
	case rv.CanInt(), rv.CanUint(), rv.CanFloat():
		return "a number"
	case rv.Kind() == reflect.Slice:
		return "a list"
	case rv.Kind() == reflect.Map:
		return "a table"
	}
	return "a date or another value"
}

// quoted shows a short text that can hold no secret, for values that are
// nearly right.
func quoted(s string) string {
	if len(s) > 24 || strings.ContainsAny(s, ":/@") {
		return "this text"
	}
	return strconv.QuoteToASCII(s)
}

func text(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	return "", mismatch("text (in quotes)", v)
}

// word is text that names something, and therefore may be shown.
func word(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	if strings.Contains(s, "://") || strings.Contains(s, "@") {
		return "", errors.New("must be a name, not a URL")
	}
	return s, nil
}

// backend is the name or URL of a backend. What is neither may hold a password
// and mustn't get into a message.
func backend(v any) (string, error) {
	s, err := text(v)
	if err != nil {
		return "", err
	}
	if !strings.Contains(s, "://") && strings.ContainsAny(s, "@/") {
		return "", errors.New("is neither a name nor a URL: a URL begins with a scheme and ://")
	}
	return s, nil
}

// booleans are the words of Celery's strtobool.
var booleans = map[string]bool{
	"true": true, "yes": true, "on": true, "1": true,
	"false": false, "no": false, "off": false, "0": false,
}

func boolean(v any) (bool, error) {
	if b, ok := v.(bool); ok {
		return b, nil
	}
	s, ok := numeral(v)
	if !ok {
		return false, mismatch("true or false", v)
	}
	b, ok := booleans[strings.ToLower(s)]
	if !ok {
		return false, fmt.Errorf("must be true or false, not %s", quoted(s))
	}
	return b, nil
}

// numeral returns a number, or text that may hold one, as text.
func numeral(v any) (string, bool) {
	switch n := v.(type) {
	case string:
		return strings.TrimSpace(n), true
	case json.Number:
		return n.String(), true
	}
	switch rv := reflect.ValueOf(v); {
	case rv.CanInt():
		return strconv.FormatInt(rv.Int(), 10), true
	case rv.CanUint():
		return strconv.FormatUint(rv.Uint(), 10), true
	case rv.CanFloat():
		return strconv.FormatFloat(rv.Float(), 'g', -1, 64), true
	}
	return "", false
}

// maxExact is where float64 stops counting by one.
const maxExact = 1 << 53

func whole(v any) (int, error) {
	s, ok := numeral(v)
	if !ok {
		return 0, mismatch("a whole number", v)
	}
	n, err := strconv.Atoi(s)
	if err == nil {
		return n, nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, errors.New("is too great a number")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) >= min(maxExact, math.MaxInt) {
		return 0, fmt.Errorf("must be a whole number, not %s", quoted(s))
	}
	return int(f), nil
}

// count is a number of things, of which 0 means the default.
func count(v any) (int, error) {
	n, err := whole(v)
	if err == nil && n < 0 {
		return 0, fmt.Errorf("is negative (%d)", n)
	}
	return n, err
}

// positive is for settings whose 0 would be mistaken for their default.
func positive(v any) (int, error) {
	n, err := whole(v)
	if err == nil && n < 1 {
		return 0, fmt.Errorf("must be 1 or more, not %d", n)
	}
	return n, err
}

// retries reads result_backend_max_retries, where Settings' 0 is no limit and
// -1 no retry at all.
func retries(v any) (int, error) {
	if s, ok := numeral(v); ok {
		if f, err := strconv.ParseFloat(s, 64); err == nil && math.IsInf(f, 1) {
			return 0, nil
		}
	}
	n, err := whole(v)
	if err == nil && n <= 0 {
		return -1, nil
	}
	return n, err
}
