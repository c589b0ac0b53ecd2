package yaml_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
	"github.com/celeryresults/celeryresults/python"
)

// golden is a line of testdata/golden.jsonl, which testdata/golden.py wrote
// and explains.
type golden struct {
	YAML  string
	Value json.RawMessage
	Error string
}

func readGolden(t *testing.T, name string) []golden {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	var all []golden
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		require.NoError(t, json.Unmarshal(lines.Bytes(), &g))
		all = append(all, g)
	}
	require.NoError(t, lines.Err())
	return all
}

// lenient reports whether a document that PyYAML refuses may be read: tags and
// text that it cannot construct, and the few shapes that the parser allows.
func lenient(g golden) bool {
	switch g.Error {
	case "ValueError", "ConstructorError":
		return true
	}
	switch strings.Trim(g.YAML, "- \n") {
	case "...", ":", "a:\t1", "a: 1\t":
		return true
	}
	return false
}

func TestDecodeReadsWhatPyYAMLReads(t *testing.T) {
	count := 0
	for _, g := range readGolden(t, "testdata/golden.jsonl") {
		v, err := yaml.Codec.Decode([]byte(g.YAML))
		if g.Error != "" {
			if !lenient(g) && err == nil {
				t.Errorf("PyYAML refuses with %s, got %s\ninput %q", g.Error, typed(v), g.YAML)
			}
			continue
		}
		count++
		if err != nil {
			t.Errorf("error %v\nwant %s\ninput %q", err, g.Value, g.YAML)
			continue
		}
		if got, want := typed(v), canonical(t, g.Value); got != want {
			t.Errorf("got  %s\nwant %s\ninput %q", got, want, g.YAML)
		}
	}
	require.Greater(t, count, 1000, "documents compared")
}

func canonical(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	return compact(reordered(v))
}

// reordered returns v with the items of every dict and set ordered.
func reordered(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = reordered(v[i])
		}
	case map[string]any:
		for kind, items := range v {
			v[kind] = reordered(items)
			if kind == "dict" || kind == "set" {
				v[kind] = ordered(v[kind].([]any))
			}
		}
	}
	return v
}

func compact(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(out)
}

// typed returns v in the form that golden.py's typed writes.
func typed(v any) string { return compact(typedValue(v)) }

func typedValue(v any) any {
	tag := func(name string, v any) any { return map[string]any{name: v} }
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case int64:
		return tag("int", strconv.FormatInt(v, 10))
	case *big.Int:
		return tag("int", v.String())
	case float64:
		return tag("float", pythonRepr(v))
	case []byte:
		return tag("bytes", base64.StdEncoding.EncodeToString(v))
	case time.Time:
		return tag("aware", string(python.AppendISO(nil, v)))
	case python.DateTime:
		return tag("naive", v.String())
	case python.Date:
		return tag("date", v.String())
	case []any:
		return tag("list", typedItems(v))
	case python.Tuple:
		return tag("tuple", typedItems(v))
	case *python.Set:
		return tag("set", ordered(typedItems(v.Items)))
	case map[string]any:
		pairs := []any{}
		for key, value := range v {
			pairs = append(pairs, []any{key, typedValue(value)})
		}
		return tag("dict", ordered(pairs))
	case python.Dict:
		pairs := []any{}
		for _, pair := range v {
			pairs = append(pairs, []any{typedValue(pair.Key), typedValue(pair.Value)})
		}
		return tag("dict", ordered(pairs))
	case *python.Object:
		return tag("object", []any{v.Class.String(), typedItems(v.Args), typedValue(v.State)})
	case python.Class:
		return tag("class", v.String())
	case complex128:
		return tag("complex", strconv.FormatComplex(v, 'g', -1, 128))
	}
	panic("a value of another type")
}

func typedItems(items []any) []any {
	out := []any{}
	for _, item := range items {
		out = append(out, typedValue(item))
	}
	return out
}

// ordered sorts what has no order in Python, or none that a Go map keeps.
func ordered(items []any) []any {
	slices.SortFunc(items, func(a, b any) int { return strings.Compare(compact(a), compact(b)) })
	return items
}

func pythonRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.ToLower(strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+"))
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	if e, _ := strconv.Atoi(exponent); e < -4 || e >= 16 {
		return mantissa + "e" + exponent
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
