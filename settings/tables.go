package settings

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// list is a list of words, or one text with commas between them.
func list(v any) ([]string, error) {
	if s, ok := v.(string); ok {
		v = strings.FieldsFunc(s, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	}
	return texts(v, word)
}

// texts reads the items of a list.
func texts(v any, read func(any) (string, error)) ([]string, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		return nil, mismatch("a list", v)
	}
	items := make([]string, rv.Len())
	for i := range items {
		var err error
		if items[i], err = read(rv.Index(i).Interface()); err != nil {
			return nil, under(strconv.Itoa(i), err, "")
		}
	}
	return items, nil
}

// mapping returns a table, which may be written as JSON text.
func mapping(v any) (map[string]any, error) {
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	if s, ok := v.(string); ok {
		m, err := decodeJSON([]byte(s))
		if err != nil || m == nil {
			return nil, errors.New("must be a table, or text with a JSON object in it")
		}
		return m, nil
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Map {
		return nil, mismatch("a table", v)
	}
	m := make(map[string]any, rv.Len())
	for key, value := range rv.Seq2() {
		if key.Kind() == reflect.Interface {
			key = key.Elem()
		}
		if key.Kind() != reflect.String {
			return nil, errors.New("must have text for its keys (in quotes)")
		}
		m[key.String()] = value.Interface()
	}
	return m, nil
}

// maxDepth bounds tables that are kept as they are.
const maxDepth = 32

// options is a table that is kept as it is, except that numbers are int64 or
// float64 in whatever notation they were written.
func options(v any) (map[string]any, error) {
	m, err := mapping(v)
	if err != nil {
		return nil, err
	}
	return plainMap(m, maxDepth)
}

func plainMap(m map[string]any, depth int) (map[string]any, error) {
	kept := make(map[string]any, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value, err := plain(m[name], depth-1)
		if err != nil {
			return nil, under(name, err, "")
		}
		kept[name] = value
	}
	return kept, nil
}

func plain(v any, depth int) (any, error) {
	if depth == 0 {
		return nil, errors.New("is nested too deeply")
	}
	if n, ok := v.(json.Number); ok {
		return plainNumber(n)
	}
	switch rv := reflect.ValueOf(v); {
	case rv.Kind() == reflect.Map:
		m, err := mapping(v)
		if err != nil {
			return nil, err
		}
		return plainMap(m, depth)
	case rv.Kind() == reflect.Slice:
		return plainList(rv, depth)
	case rv.CanInt():
		return rv.Int(), nil
	case rv.CanFloat():
		return rv.Float(), nil
	case v == nil, rv.Kind() == reflect.String, rv.Kind() == reflect.Bool:
		return v, nil
	}
	return nil, mismatch("text, a number, true, false, a list or a table", v)
}

func plainList(rv reflect.Value, depth int) ([]any, error) {
	items := make([]any, rv.Len())
	for i := range items {
		var err error
		if items[i], err = plain(rv.Index(i).Interface(), depth-1); err != nil {
			return nil, under(strconv.Itoa(i), err, "")
		}
	}
	return items, nil
}

func plainNumber(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errors.New("is too great a number")
	}
	return f, nil
}
