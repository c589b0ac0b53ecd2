package msgpack_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
	"github.com/celeryresults/celeryresults/python"
)

// golden is a line of testdata/golden.jsonl, which testdata/golden.py wrote
// and explains.
type golden struct {
	Hex    string
	Value  json.RawMessage
	Packed bool
	Error  string
}

func (g golden) bytes(t *testing.T) []byte {
	t.Helper()
	data, err := hex.DecodeString(g.Hex)
	require.NoError(t, err)
	return data
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

func TestDecodeReadsWhatPythonReads(t *testing.T) {
	count := 0
	for _, g := range readGolden(t, "testdata/golden.jsonl") {
		v, err := msgpack.Codec.Decode(g.bytes(t))
		switch {
		case g.Error == "UnicodeDecodeError":
			if s, ok := v.(string); !ok || !strings.Contains(s, "\uFFFD") {
				t.Errorf("got %v, %v; want repaired text\ninput %s", v, err, g.Hex)
			}
		case g.Error != "":
			if err == nil {
				t.Errorf("Python refuses with %s, got %v\ninput %s", g.Error, v, g.Hex)
			}
		case err != nil:
			t.Errorf("error %v\nwant %s\ninput %s", err, g.Value, g.Hex)
		default:
			count++
			if got, want := typed(v), canonical(t, g.Value); got != want {
				t.Errorf("got  %s\nwant %s\ninput %s", got, want, g.Hex)
			}
		}
	}
	require.Greater(t, count, 200, "documents compared")
}

func TestAppendWritesTheBytesThatPythonWrites(t *testing.T) {
	count := 0
	for _, g := range readGolden(t, "testdata/golden.jsonl") {
		if !g.Packed {
			continue
		}
		count++
		want := g.bytes(t)
		out, err := msgpack.Codec.Append([]byte("kept"), ordered(t, g.Value))
		if err != nil {
			t.Errorf("error %v\nwant %s", err, g.Hex)
		} else if got := bytes.TrimPrefix(out, []byte("kept")); !bytes.Equal(got, want) {
			t.Errorf("got  %x\nwant %x", got, want)
		}
	}
	require.Greater(t, count, 200, "documents compared")
}

// ordered returns the value that golden.py's typed wrote, with every dict as a
// python.Dict in its order.
func ordered(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	return untyped(v)
}

func untyped(v any) any {
	tagged, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for kind, v := range tagged {
		switch kind {
		case "int":
			n, _ := new(big.Int).SetString(v.(string), 10)
			return n
		case "float":
			return unhex(v.(string))
		case "bytes":
			data, _ := base64.StdEncoding.DecodeString(v.(string))
			return data
		case "list":
			items := []any{}
			for _, item := range v.([]any) {
				items = append(items, untyped(item))
			}
			return items
		case "dict":
			dict := python.Dict{}
			for _, pair := range v.([]any) {
				pair := pair.([]any)
				dict = append(dict, python.Pair{Key: untyped(pair[0]), Value: untyped(pair[1])})
			}
			return dict
		}
	}
	panic(fmt.Sprint("unknown type in ", v))
}

func unhex(s string) float64 {
	if s == "nan" {
		return math.NaN()
	}
	bits, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		panic(err)
	}
	return math.Float64frombits(bits)
}

func canonical(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	return compact(reordered(v))
}

// reordered returns v with the entries of every dict sorted.
func reordered(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = reordered(v[i])
		}
	case map[string]any:
		for kind, items := range v {
			v[kind] = reordered(items)
			if kind == "dict" {
				sorted(v[kind].([]any))
			}
		}
	}
	return v
}

func sorted(items []any) []any {
	slices.SortFunc(items, func(a, b any) int { return strings.Compare(compact(a), compact(b)) })
	return items
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
		if math.IsNaN(v) {
			return tag("float", "nan")
		}
		return tag("float", fmt.Sprintf("%016x", math.Float64bits(v)))
	case []byte:
		return tag("bytes", base64.StdEncoding.EncodeToString(v))
	case time.Time:
		return tag("aware", string(python.AppendISO(nil, v)))
	case *python.Object:
		data := v.Args[1].([]byte)
		return tag("ext", []any{fmt.Sprint(v.Args[0]), base64.StdEncoding.EncodeToString(data)})
	case []any:
		items := []any{}
		for _, item := range v {
			items = append(items, typedValue(item))
		}
		return tag("list", items)
	case map[string]any:
		pairs := []any{}
		for key, value := range v {
			pairs = append(pairs, []any{key, typedValue(value)})
		}
		return tag("dict", sorted(pairs))
	case python.Dict:
		pairs := []any{}
		for _, pair := range v {
			pairs = append(pairs, []any{typedValue(pair.Key), typedValue(pair.Value)})
		}
		return tag("dict", sorted(pairs))
	}
	panic(fmt.Sprintf("a value of another type, %T", v))
}
