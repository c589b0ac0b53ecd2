package msgpack_test

import (
	"encoding/hex"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
	"github.com/celeryresults/celeryresults/python"
)

// FuzzDecode checks that no bytes panic, that errors are of the kinds that the
// package promises, that Fields and Decode agree, and that what can be written
// reads back equal.
func FuzzDecode(f *testing.F) {
	for _, r := range readRecords(f, "testdata/redis-msgpack.jsonl") {
		f.Add(r.Store.Value)
	}
	for _, s := range []string{
		"ddffffffff01", "dfffffffff", "81a161c0", "8201a161c3a162", "d6ff00000000", "c70cff3b9ac9ffffffffffffffffff", "d40501",
		"a1ff", "c1", "", "91", "cfffffffffffffffff", "ca7fc00000", "c403010203", "dc00019191", "829101c0",
	} {
		data, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := msgpack.Codec.Decode(data)
		checkError(t, err)
		checkFields(t, data, v, err)
		if err != nil {
			return
		}
		out, err := msgpack.Codec.Append(nil, v)
		if err != nil {
			require.ErrorIs(t, err, serialization.ErrUnsupported)
			return
		}
		again, err := msgpack.Codec.Decode(out)
		require.NoError(t, err)
		require.Equal(t, typed(v), typed(again))
	})
}

// checkFields compares what Fields makes of data with what Decode made of it.
func checkFields(t *testing.T, data []byte, whole any, wholeErr error) {
	t.Helper()
	fields, err := msgpack.Codec.Fields(nil, data)
	checkError(t, err)
	if err != nil {
		_, isMap := whole.(map[string]any)
		require.False(t, isMap && wholeErr == nil, "Decode read a map that Fields refuses: %v", err)
		return
	}
	entries := map[string]any{}
	for _, field := range fields {
		v, err := field.Value.Decode()
		checkError(t, err)
		if err != nil {
			require.Error(t, wholeErr)
			return
		}
		entries[field.Name] = v
	}
	if wholeErr == nil {
		require.Equal(t, typed(whole), typed(entries))
	}
}

// FuzzValue checks that values of every kind read back equal.
func FuzzValue(f *testing.F) {
	f.Add("text", []byte("bytes"), int64(-1), 1.5)
	f.Add("\xff", []byte{}, int64(1<<62), math.Copysign(0, -1))
	f.Fuzz(func(t *testing.T, text string, data []byte, n int64, float float64) {
		v := python.Dict{
			{Key: text, Value: []any{text, n, float, data, nil, true}},
			{Key: n, Value: map[string]any{text: python.Tuple{data}}},
		}
		out, err := msgpack.Codec.Append(nil, v)
		require.NoError(t, err)
		decoded, err := msgpack.Codec.Decode(out)
		require.NoError(t, err)
		again, err := msgpack.Codec.Append(nil, decoded)
		require.NoError(t, err)
		require.Equal(t, out, again)
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var syntax *serialization.SyntaxError
	if err != nil && !errors.As(err, &syntax) && !errors.Is(err, serialization.ErrLimit) {
		t.Fatalf("an error of another kind: %v", err)
	}
}
