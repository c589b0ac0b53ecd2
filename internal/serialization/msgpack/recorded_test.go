package msgpack_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
	"github.com/celeryresults/celeryresults/python"
)

// record is a line of testdata/redis-msgpack.jsonl: what Celery 5.6.3 stored, as
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
	for _, r := range readRecords(t, "testdata/redis-msgpack.jsonl") {
		t.Run(r.Case, func(t *testing.T) {
			v, err := msgpack.Codec.Decode(r.Store.Value)
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

func TestRecordedDocumentsAreWrittenBackAsTheyWere(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-msgpack.jsonl") {
		out, err := msgpack.Codec.Append(nil, inOrder(t, r.Store.Value))
		require.NoError(t, err, r.Case)
		assert.Equal(t, string(r.Store.Value), string(out), r.Case)
	}
}

// inOrder decodes data with its maps, lists excepted, in the order in which
// they were written.
func inOrder(t *testing.T, data []byte) any {
	t.Helper()
	fields, err := msgpack.Codec.Fields(nil, data)
	if err != nil {
		v, err := msgpack.Codec.Decode(data)
		require.NoError(t, err)
		return v
	}
	dict := python.Dict{}
	for _, field := range fields {
		dict = append(dict, python.Pair{Key: field.Name, Value: inOrder(t, field.Value.Data)})
	}
	return dict
}

func TestRecordedFieldsAreTheEntriesOfTheDocument(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-msgpack.jsonl") {
		whole, err := msgpack.Codec.Decode(r.Store.Value)
		require.NoError(t, err, r.Case)
		fields, err := msgpack.Codec.Fields(nil, r.Store.Value)
		require.NoError(t, err, r.Case)
		entries := map[string]any{}
		for _, field := range fields {
			entries[field.Name], err = field.Value.Decode()
			require.NoError(t, err, r.Case)
		}
		assert.Equal(t, typed(whole), typed(entries), r.Case)
	}
}

func TestFieldsAreWrittenBackWithoutDecoding(t *testing.T) {
	for _, r := range readRecords(t, "testdata/redis-msgpack.jsonl") {
		fields, err := msgpack.Codec.Fields(nil, r.Store.Value)
		require.NoError(t, err, r.Case)
		var dict python.Dict
		for _, field := range fields {
			dict = append(dict, python.Pair{Key: field.Name, Value: field.Value})
		}
		out, err := msgpack.Codec.Append(nil, dict)
		require.NoError(t, err, r.Case)
		assert.Equal(t, string(r.Store.Value), string(out), r.Case)
	}
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

// pythonRepr returns Python's repr of a number of ordinary size.
func pythonRepr(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
