package pickle_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// recording is what a real Celery worker stored, and its meaning in plain JSON.
// A group of Celery's SQLAlchemy backend has none: it is a tree of objects.
type recording struct {
	Name   string
	Pickle []byte
	Canon  any
	Inert  bool
}

func recordings(t testing.TB) []recording {
	t.Helper()
	lines, err := os.ReadFile("testdata/recorded.jsonl")
	require.NoError(t, err)
	var all []recording
	in := bufio.NewScanner(bytes.NewReader(lines))
	for in.Scan() {
		var r recording
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.UseNumber()
		require.NoError(t, d.Decode(&r))
		all = append(all, r)
	}
	require.NoError(t, in.Err())
	require.Greater(t, len(all), 250)
	return all
}

func TestDecodeReadsTheRecordings(t *testing.T) {
	for _, r := range recordings(t) {
		got, err := pickle.Unmarshal(r.Pickle)
		require.NoError(t, err, "%s: %q", r.Name, r.Pickle)
		if r.Inert {
			assert.IsType(t, &python.Object{}, got, r.Name)
			continue
		}
		assert.Equal(t, plain(r.Canon), plain(got), "%s: %q", r.Name, r.Pickle)
	}
}

func TestFieldsAgreeWithDecode(t *testing.T) {
	for _, r := range recordings(t) {
		whole, err := pickle.Unmarshal(r.Pickle)
		require.NoError(t, err)
		doc, ok := whole.(map[string]any)
		if !ok {
			continue
		}
		fields, err := pickle.Fields(nil, r.Pickle)
		require.NoError(t, err, r.Name)
		got := make(map[string]any)
		for _, f := range fields {
			got[f.Name], err = f.Value.Decode()
			require.NoError(t, err, "%s of %s", f.Name, r.Name)
		}
		assert.Equal(t, marshal(describe(doc)), marshal(describe(got)), r.Name)
	}
}

// Python writes a text that it holds once, once: those recordings differ.
func TestAppendWritesTheBytesOfTheRecordings(t *testing.T) {
	same := 0
	for _, r := range recordings(t) {
		fields, err := pickle.Fields(nil, r.Pickle)
		if err != nil {
			continue
		}
		var doc python.Dict
		for _, f := range fields {
			doc = append(doc, python.Pair{Key: f.Name, Value: f.Value})
		}
		got, err := pickle.Append(nil, doc)
		if err != nil {
			assert.ErrorIs(t, err, python.ErrUnsupported, r.Name)
			continue
		}
		want := bytes.Clone(r.Pickle)
		want[1] = 4
		if bytes.Equal(want, got) {
			same++
			continue
		}
		again, err := pickle.Unmarshal(got)
		require.NoError(t, err, r.Name)
		first, err := pickle.Unmarshal(r.Pickle)
		require.NoError(t, err, r.Name)
		assert.Equal(t, marshal(describe(first)), marshal(describe(again)), r.Name)
	}
	assert.Greater(t, same, 150, "recordings written back with the same bytes")
}

var address = regexp.MustCompile(` at 0x[0-9a-f]+`)

// plain returns v as the plain JSON of the recordings.
func plain(v any) string {
	return address.ReplaceAllString(marshal(canonical(v)), "")
}

func canonical(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any)
		for k, x := range v {
			out[k] = canonical(x)
		}
		return out
	case []any:
		return canonicalItems(v)
	case python.Tuple:
		return canonicalItems(v)
	case *python.Set:
		return canonicalItems(v.Items)
	case *python.Object:
		return canonicalException(v)
	case float64:
		return canonicalFloat(v)
	case python.Timedelta:
		return canonicalFloat(v.TotalSeconds())
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return string(python.AppendISO(nil, v))
	case *big.Int, json.Number:
		return v
	case fmt.Stringer:
		return v.String()
	}
	return v
}

func canonicalItems(items []any) any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = canonical(item)
	}
	return out
}

func canonicalFloat(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == math.Trunc(f):
		return json.Number(fmt.Sprintf("%.1f", f))
	}
	return f
}

// canonicalException unwraps an exception that could not be pickled, as
// Python's backend does, with the repr of an argument that is an object.
func canonicalException(o *python.Object) any {
	module, name, args := o.Class.Module, o.Class.Name, o.Args
	switch {
	case name == "object":
		return "<object object at 0x0>"
	case name == "UnpickleableExceptionWrapper":
		module, name, args = args[0].(string), args[1].(string), args[2].(python.Tuple)
	}
	return map[string]any{"exc_type": name, "exc_message": canonicalItems(args), "exc_module": module}
}
