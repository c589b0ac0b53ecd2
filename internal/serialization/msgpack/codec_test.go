package msgpack_test

import (
	"bytes"
	"encoding/hex"
	"math"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
	"github.com/celeryresults/celeryresults/python"
)

func unhexed(t *testing.T, s string) []byte {
	t.Helper()
	data, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	require.NoError(t, err)
	return data
}

func TestHostileBytesFailFastAndSmall(t *testing.T) {
	limit := serialization.ErrLimit
	tests := []struct {
		name string
		data []byte
		want error // ErrLimit, or nil for a syntax error
	}{
		{"an array of four billion items in six bytes", unhexed(t, "dd ff ff ff ff 01"), nil},
		{"a map of four billion entries in six bytes", unhexed(t, "df ff ff ff ff 01"), nil},
		{"a string of four gigabytes in six bytes", unhexed(t, "db ff ff ff ff 61"), nil},
		{"bytes of four gigabytes in six bytes", unhexed(t, "c6 ff ff ff ff 61"), nil},
		{"an extension of four gigabytes in seven bytes", unhexed(t, "c9 ff ff ff ff 05 61"), nil},
		{"a megabyte of arrays that claim the rest", bytes.Repeat(unhexed(t, "dd 00 0f ff ff"), 200_000), limit},
		{"a megabyte of maps that claim the rest", bytes.Repeat(unhexed(t, "df 00 0f ff ff c0"), 200_000), limit},
		{"20 MB of nested arrays", bytes.Repeat([]byte{0x91}, 20_000_000), limit},
		{"20 MB of nested maps", bytes.Repeat([]byte{0x81, 0xc0}, 10_000_000), limit},
		{"20 MB of maps as keys", bytes.Repeat([]byte{0x81}, 20_000_000), limit},
		{"more values than the limit", append(unhexed(t, "dd 00 4c 4b 40"), bytes.Repeat([]byte{0xc0}, 5_000_000)...), limit},
		{"nothing", nil, nil},
		{"the byte that is never used", []byte{0xc1}, nil},
		{"a list as a key", unhexed(t, "81 90 c0"), nil},
		{"two values", unhexed(t, "c0 c0"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			took, allocated, err := cost(func() error {
				_, err := msgpack.Codec.Decode(tt.data)
				return err
			})
			require.Error(t, err)
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
			} else {
				var syntax *serialization.SyntaxError
				assert.ErrorAs(t, err, &syntax)
			}
			assert.Less(t, took, patience)
			assert.Less(t, allocated, uint64(10<<20+100*len(tt.data)), "bytes allocated")

			took, allocated, _ = cost(func() error {
				_, err := msgpack.Codec.Fields(nil, tt.data)
				return err
			})
			assert.Less(t, took, patience)
			assert.Less(t, allocated, uint64(10<<20), "bytes allocated")
		})
	}
}

// patience is many times what a document may take, for slow machines.
const patience = 20 * time.Second

// cost runs f and returns how long it took and how much it allocated.
func cost(f func() error) (time.Duration, uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc, err
}

func TestFieldsBeforeAnErrorAreReturned(t *testing.T) {
	tests := []struct {
		name, data string
		names      []string
	}{
		{"a value that is cut off", "83 a161 01 a162 a3ff", []string{"a"}},
		{"a key that is not text", "82 a161 01 05 02", []string{"a"}},
		{"fewer entries than claimed", "df ffffffff a161 01 a162 02", []string{"a", "b"}},
		{"bytes behind the map", "81 a161 01 c0", []string{"a"}},
		{"no map", "91 a161", nil},
		{"nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var syntax *serialization.SyntaxError
			fields, err := msgpack.Codec.Fields(nil, unhexed(t, tt.data))
			require.ErrorAs(t, err, &syntax)
			var names []string
			for _, field := range fields {
				names = append(names, field.Name)
			}
			assert.Equal(t, tt.names, names)
		})
	}
}

func TestFieldsAreAppendedAndTheirDataEndsWithTheValue(t *testing.T) {
	first := []serialization.Field{{Name: "first"}}
	fields, err := msgpack.Codec.Fields(first, unhexed(t, "82 a161 9101 a162 c0"))
	require.NoError(t, err)
	require.Len(t, fields, 3)
	assert.Equal(t, "first", fields[0].Name)
	data := fields[1].Value.Data
	assert.Equal(t, []byte{0x91, 1}, data)
	assert.Len(t, append(data, 0xff)[2:], 1)
	assert.Equal(t, []byte{0xc0}, fields[2].Value.Data)
}

func TestSyntaxErrorsSayWhere(t *testing.T) {
	tests := []struct {
		name, data string
		offset     int
	}{
		{"the end", "92 01", 2},
		{"a byte that starts no value", "92 01 c1", 2},
		{"a string that is cut off", "a3 61", 0},
		{"bytes behind the value", "c0 c0", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var syntax *serialization.SyntaxError
			_, err := msgpack.Codec.Decode(unhexed(t, tt.data))
			require.ErrorAs(t, err, &syntax)
			assert.Equal(t, "msgpack", syntax.Format)
			assert.Equal(t, tt.offset, syntax.Offset, err)
		})
	}
}

func TestDecodeOfWhatPythonWouldRefuseOrName(t *testing.T) {
	ext := func(code int64, data ...byte) *python.Object {
		class := python.Class{Module: "msgpack", Name: "ExtType"}
		return &python.Object{Class: class, Args: python.Tuple{code, append([]byte{}, data...)}}
	}
	tests := []struct {
		name, data string
		want       any
	}{
		{"an application's extension", "d4 05 01", ext(5, 1)},
		{"a negative code", "d5 80 01 02", ext(-128, 1, 2)},
		{"an empty extension", "c7 00 05", ext(5)},
		{"a time in seconds", "d6 ff 00000001", time.Unix(1, 0).UTC()},
		{"a time with nanoseconds", "d7 ff 0000000400000001", time.Unix(1, 1).UTC()},
		{"a time before 1970", "c7 0c ff 00000005 ffffffffffffffff", time.Unix(-1, 5).UTC()},
		{"a time beyond Python's years", "c7 0c ff 00000000 7fffffffffffffff", ext(-1, 0, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255)},
		{"a time of another size", "d4 ff 01", ext(-1, 1)},
		{"text that is not UTF-8", "a3 61 ff 62", "a\uFFFDb"},
		{"no bytes, which are not None", "c4 00", []byte{}},
		{"numbers that are one key", "83 01 a161 cb3ff0000000000000 a162 c3 a163", python.Dict{{Key: int64(1), Value: "c"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := msgpack.Codec.Decode(unhexed(t, tt.data))
			require.NoError(t, err)
			assert.Equal(t, tt.want, v)
		})
	}
}

func TestAppendTakesOrdinaryGoValues(t *testing.T) {
	type point struct {
		X int `json:"x"`
	}
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"an int", 7, "07"},
		{"an unsigned integer", uint64(math.MaxUint64), "cf ffffffffffffffff"},
		{"a big integer that fits", big.NewInt(-1), "ff"},
		{"a struct", point{1}, "81 a178 01"},
		{"a pointer", &point{1}, "81 a178 01"},
		{"typed slices", []int{1, 200}, "92 01 cc c8"},
		{"a Go map, sorted", map[string]any{"b": 1, "a": 2}, "82 a161 02 a162 01"},
		{"a dict in its order", python.Dict{{Key: "b", Value: 1}, {Key: 2, Value: 2}}, "82 a162 01 02 02"},
		{"a tuple", python.Tuple{1, nil}, "92 01 c0"},
		{"an empty tuple and dict", []any{python.Tuple(nil), python.Dict(nil)}, "92 90 80"},
		{"nil maps and slices", []any{map[string]any(nil), []any(nil), []byte(nil)}, "93 c0 c0 c0"},
		{"a value", serialization.Value{Node: []any{true}}, "91 c3"},
		{"the zero value", serialization.Value{}, "c0"},
		{"NaN as Python writes it", math.NaN(), "cb 7ff8000000000000"},
		{"text that is not UTF-8", "a\xff", "a4 61 efbfbd"},
		{"a float of 32 bits", float32(0.5), "cb 3fe0000000000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := msgpack.Codec.Append(nil, tt.v)
			require.NoError(t, err)
			assert.Equal(t, hex.EncodeToString(unhexed(t, tt.want)), hex.EncodeToString(out))
		})
	}
}

func TestAppendRefusesWhatPackbRefusesAndNamesTheType(t *testing.T) {
	tests := []struct {
		v    any
		name string
	}{
		{time.Now(), "time.Time"},
		{python.DateTime{}, "DateTime"},
		{python.Date{}, "Date"},
		{python.Time{}, "Time"},
		{time.Second, "Timedelta"},
		{python.Decimal("1.5"), "Decimal"},
		{python.UUID{1}, "UUID"},
		{&python.Set{}, "Set"},
		{1 + 2i, "complex"},
		{&python.Object{}, "Object"},
		{python.Class{}, "Class"},
		{python.Envelope{Type: "a"}, "Envelope"},
		{make(chan int), "chan int"},
		{new(big.Int).Lsh(big.NewInt(1), 64), "65 bits"},
		{new(big.Int).Lsh(big.NewInt(-1), 64), "65 bits"},
	}
	for _, tt := range tests {
		for _, v := range []any{tt.v, map[string]any{"k": []any{tt.v}}} {
			out, err := msgpack.Codec.Append([]byte("kept"), v)
			require.ErrorIs(t, err, serialization.ErrUnsupported, tt.name)
			assert.Contains(t, err.Error(), tt.name)
			assert.Equal(t, "kept", string(out))
		}
	}
}

func TestAppendRefusesWhatHasNoEnd(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = []any{cycle}
	wide := []any{}
	for range 60 {
		wide = []any{wide, wide}
	}
	for name, v := range map[string]any{"a cycle": cycle, "a list that shares its items": wide} {
		_, err := msgpack.Codec.Append(nil, v)
		assert.ErrorIs(t, err, serialization.ErrLimit, name)
	}
}

func TestTheDeepestValueThatIsWrittenIsReadBack(t *testing.T) {
	v := any("end")
	for range serialization.MaxDepth {
		v = []any{v}
	}
	out, err := msgpack.Codec.Append(nil, v)
	require.NoError(t, err)
	again, err := msgpack.Codec.Decode(out)
	require.NoError(t, err)
	assert.Equal(t, v, again)
	_, err = msgpack.Codec.Append(nil, []any{v})
	require.ErrorIs(t, err, serialization.ErrLimit)
	_, err = msgpack.Codec.Decode(append([]byte{0x91}, out...))
	require.ErrorIs(t, err, serialization.ErrLimit)
}

func TestLongHeaders(t *testing.T) {
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"text of 65535 bytes", strings.Repeat("a", 65535), "da ffff 61"},
		{"text of 65536 bytes", strings.Repeat("a", 65536), "db 00010000 61"},
		{"65535 bytes", make([]byte, 65535), "c5 ffff 00"},
		{"65536 bytes", make([]byte, 65536), "c6 00010000 00"},
		{"65535 items", make([]any, 65535), "dc ffff c0"},
		{"65536 items", make([]any, 65536), "dd 00010000 c0"},
		{"65536 entries", make(python.Dict, 65536), "df 00010000 c0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := msgpack.Codec.Append(nil, tt.v)
			require.NoError(t, err)
			want := unhexed(t, tt.want)
			assert.Equal(t, want, out[:len(want)])
		})
	}
}

func TestKeysThatNoReaderTakesAreRefused(t *testing.T) {
	for name, v := range map[string]any{
		"a list":   python.Dict{{Key: []any{int64(1)}, Value: nil}},
		"a tuple":  python.Dict{{Key: python.Tuple{int64(1)}, Value: nil}},
		"an array": map[[2]int]string{{1, 2}: "x"},
	} {
		_, err := msgpack.Codec.Append(nil, v)
		require.ErrorIs(t, err, serialization.ErrUnsupported, name)
	}
}
