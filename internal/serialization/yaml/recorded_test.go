package yaml_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
	"github.com/celeryresults/celeryresults/python"
)

// record is a line of testdata/redis-yaml.jsonl: what Celery 5.6.3 stored, as
// value, and what it reads back from that, as plain JSON in canon. A group
// only has the tuple of its result.
type record struct {
	Case  string
	Store struct{ Value []byte }
	Canon json.RawMessage
	Tuple json.RawMessage
}

func readRecords(t testing.TB, name string) []record {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	defer file.Close()
	var all []record
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		if r.Case != "" {
			all = append(all, r)
		}
	}
	require.NoError(t, lines.Err())
	require.NotEmpty(t, all)
	return all
}

func TestRecordedDocumentsDecodeToWhatCeleryReads(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-yaml.jsonl") {
		t.Run(r.Case, func(t *testing.T) {
			v, err := yaml.Codec.Decode(r.Store.Value)
			require.NoError(t, err)
			want := parseJSON(t, r.Canon)
			if r.Canon == nil {
				v, want = v.(map[string]any)["result"], parseJSON(t, r.Tuple)
			}
			if r.Case == "unserializable-failure" {
				// Celery makes an exception of the result, and a tuple of its text.
				want.(map[string]any)["result"] = canon(v.(map[string]any)["result"])
			}
			assert.Equal(t, compact(want), compact(canon(v)))
		})
	}
}

func TestRecordedFieldsAreTheEntriesOfTheDocument(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-yaml.jsonl") {
		whole, err := yaml.Codec.Decode(r.Store.Value)
		require.NoError(t, err, r.Case)
		fields, err := yaml.Codec.Fields(nil, r.Store.Value)
		require.NoError(t, err, r.Case)
		entries := map[string]any{}
		for _, field := range fields {
			entries[field.Name], err = field.Value.Decode()
			require.NoError(t, err, r.Case)
		}
		assert.Equal(t, typed(whole), typed(entries), r.Case)
	}
}

func TestFieldsCanBeWrittenBack(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-yaml.jsonl") {
		fields, err := yaml.Codec.Fields(nil, r.Store.Value)
		require.NoError(t, err, r.Case)
		got, err := yaml.Codec.Append(nil, dictOf(fields))
		require.NoError(t, err, r.Case)
		whole, err := yaml.Codec.Decode(r.Store.Value)
		require.NoError(t, err, r.Case)
		want, err := yaml.Codec.Append(nil, whole)
		require.NoError(t, err, r.Case)
		assert.Equal(t, string(want), string(got), r.Case)
	}
}

func dictOf(fields []serialization.Field) python.Dict {
	var dict python.Dict
	for _, field := range fields {
		dict = append(dict, python.Pair{Key: field.Name, Value: field.Value})
	}
	return dict
}

// parseJSON returns what raw holds, with its numbers as they are written.
func parseJSON(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	if raw == nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	require.NoError(t, decoder.Decode(&v))
	return v
}

// canon returns v in the plain form of a record's canon.
func canon(v any) any {
	switch v := v.(type) {
	case int64, *big.Int:
		return v
	case float64:
		switch {
		case math.IsNaN(v):
			return "NaN"
		case math.IsInf(v, 0):
			return map[bool]string{true: "Infinity", false: "-Infinity"}[v > 0]
		}
		return json.Number(pythonRepr(v))
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return string(python.AppendISO(nil, v))
	case python.DateTime:
		return v.String()
	case python.Date:
		return v.String()
	case []any:
		out := []any{}
		for _, item := range v {
			out = append(out, canon(item))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, value := range v {
			out[key] = canon(value)
		}
		return out
	}
	return v
}
