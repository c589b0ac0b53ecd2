package python_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

type (
	colour string
	level  int
	ulid   [16]byte // another 16 byte identifier with a text of its own
	digest [4]byte
	blob   []byte
	list   []list
	loop   *loop
)

func (u ulid) MarshalText() ([]byte, error) { return []byte("01ARZ3NDEKTSV4RRFFQ69G5FAV"), nil }

type point struct{ X, Y int }

// Point is exported, for embedding under a name.
type Point struct{ X, Y int }

// celsius marshals itself, and only through a pointer.
type celsius struct{ degrees int }

func (c *celsius) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"celsius": %d, "exact": 1.5}`, c.degrees), nil
}

type broken struct{}

var errBroken = errors.New("broken")

func (broken) MarshalText() ([]byte, error) { return nil, errBroken }

type base struct {
	ID   int
	Note string `json:"note,omitempty"`
}

type hidden struct{ Seen bool }

type order struct {
	base
	*hidden
	Customer string            `json:"customer"`
	Prices   []float32         `json:"prices,omitempty"`
	Paid     time.Time         `json:"paid,omitzero"`
	Tags     map[colour]string `json:"tags"`
	Secret   string            `json:"-"`
	private  int
	Parent   *order `json:",omitempty"`
}

var (
	someUUID    = uuid.MustParse("12345678-1234-5678-1234-567812345678")
	somePython  = python.UUID(someUUID)
	someTime    = time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.UTC)
	beyondInt64 = new(big.Int).Lsh(big.NewInt(1), 100)
)

func ptr[T any](v T) *T { return &v }

func TestPlainConverts(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want any
	}{
		{"int", 5, int64(5)},
		{"int8", int8(-5), int64(-5)},
		{"a named int", level(7), int64(7)},
		{"uint64 that fits", uint64(math.MaxInt64), int64(math.MaxInt64)},
		{"uint64 that does not fit", uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{"float32", float32(0.5), 0.5},
		{"complex64", complex64(1 + 2i), 1 + 2i},
		{"a named string", colour("red"), "red"},
		{"named bytes", blob("ab"), []byte("ab")},
		{"a byte array", digest{1, 2, 3, 4}, []byte{1, 2, 3, 4}},
		{"nil bytes", []byte(nil), nil},
		{"nil named bytes", blob(nil), nil},
		{"google's UUID", someUUID, somePython},
		{"google's NullUUID goes by its JSON", uuid.NullUUID{}, nil},
		{"16 bytes that are no UUID", ulid{}, "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
		{"16 bytes without a text", [16]byte{15: 1}, append(make([]byte, 15), 1)},
		{"a duration", 90 * time.Minute, python.Timedelta{Seconds: 5400}},
		{"a negative duration", -time.Microsecond, python.Timedelta{Days: -1, Seconds: 86399, Microseconds: 999999}},
		{"a big.Int", *beyondInt64, beyondInt64},
		{"a nil *big.Int", (*big.Int)(nil), nil},
		{"a decimal", decimal.RequireFromString("12345678901234567890.0000000001"), python.Decimal("12345678901234567890.0000000001")},
		{"a decimal with an endless tail of zeros", decimal.New(-12, 2_000_000_000), python.Decimal("-12E2000000000")},
		{"a json.Number that is an int", json.Number("12"), int64(12)},
		{"a json.Number that is a big int", json.Number("1267650600228229401496703205376"), beyondInt64},
		{"a json.Number that is a float", json.Number("1e2"), 100.0},
		{"a json.Number beyond float64", json.Number("-1e999"), math.Inf(-1)},
		{"an empty json.Number", json.Number(""), int64(0)},
		{"raw JSON", json.RawMessage(`{"a": [1, 2.0, null]}`), map[string]any{"a": []any{int64(1), 2.0, nil}}},
		{"nil raw JSON", json.RawMessage(nil), nil},
		{"a json.Marshaler on a pointer, by value", celsius{20}, map[string]any{"celsius": int64(20), "exact": 1.5}},
		{"a json.Marshaler by pointer", &celsius{20}, map[string]any{"celsius": int64(20), "exact": 1.5}},
		{"a TextMarshaler", netip.MustParseAddr("10.0.0.1"), "10.0.0.1"},
		{"a TextMarshaler that is a slice of bytes", net.IPv4(10, 0, 0, 1), "10.0.0.1"},
		{"a marshaler that is an int", slog.LevelWarn, "WARN"},
		{"strings", []string{"a", "b"}, []any{"a", "b"}},
		{"an array", [2]int{1, 2}, []any{int64(1), int64(2)}},
		{"a nil slice", []string(nil), nil},
		{"a nil []any", []any(nil), nil},
		{"an empty slice", []string{}, []any{}},
		{"a map with text keys", map[colour]int{"red": 1}, map[string]any{"red": int64(1)}},
		{"a nil map", map[string]int(nil), nil},
		{"a nil map[string]any", map[string]any(nil), nil},
		{"a map with int keys", map[int]string{2: "b", -1: "a", 10: "c"},
			python.Dict{{Key: int64(-1), Value: "a"}, {Key: int64(2), Value: "b"}, {Key: int64(10), Value: "c"}}},
		{"a map with UUID keys", map[uuid.UUID]bool{someUUID: true}, python.Dict{{Key: somePython, Value: true}}},
		{"a map with keys of several types", map[any]int{"b": 1, "a": 2, 3: 4, 2.5: 5, true: 6},
			python.Dict{{true, int64(6)}, {2.5, int64(5)}, {int64(3), int64(4)}, {"a", int64(2)}, {"b", int64(1)}}},
		{"a struct", point{1, 2}, python.Dict{{"X", int64(1)}, {"Y", int64(2)}}},
		{"a pointer to a pointer", ptr(ptr(point{1, 2})), python.Dict{{"X", int64(1)}, {"Y", int64(2)}}},
		{"a nil pointer", (*point)(nil), nil},
		{"a set by value", python.Set{Items: []any{1}}, &python.Set{Items: []any{int64(1)}}},
		{"a nil set", (*python.Set)(nil), nil},
		{"a pointer to a plain value", ptr(python.Decimal("1.50")), python.Decimal("1.50")},
		{"a tuple with an int", python.Tuple{1, "x"}, python.Tuple{int64(1), "x"}},
		{"a dict with an int", python.Dict{{"a", 1}, {2, "b"}}, python.Dict{{"a", int64(1)}, {int64(2), "b"}}},
		{"an envelope", python.Envelope{Type: "money", Value: 5}, python.Envelope{Type: "money", Value: int64(5)}},
		{"a map with one value to convert", map[string]any{"a": 1, "b": "x"}, map[string]any{"a": int64(1), "b": "x"}},
		{"an object", python.Object{Args: python.Tuple{1}, State: map[string]int{"a": 1}},
			&python.Object{Args: python.Tuple{int64(1)}, State: map[string]any{"a": int64(1)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := python.Plain(tt.in)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got, "Plain(%#v)", tt.in)
		})
	}
}

func TestPlainStructFollowsJSONTags(t *testing.T) {
	o := order{
		base:     base{ID: 7},
		Customer: "ann",
		Tags:     map[colour]string{"red": "x"},
		Secret:   "s",
		private:  1,
		Parent:   &order{hidden: &hidden{true}, Prices: []float32{1.5}, Paid: someTime},
	}
	got, err := python.Plain(&o)
	require.NoError(t, err)
	assert.Equal(t, python.Dict{
		{"ID", int64(7)},
		{"customer", "ann"},
		{"tags", map[string]any{"red": "x"}},
		{"Parent", python.Dict{
			{"ID", int64(0)},
			{"Seen", true},
			{"customer", ""},
			{"prices", []any{1.5}},
			{"paid", someTime},
			{"tags", nil},
		}},
	}, got)
}

type (
	left   struct{ Both, OnlyLeft int }
	right  struct{ Both, OnlyRight int }
	tagged struct {
		Renamed int `json:"Both"`
	}
	ambiguous struct {
		left
		right
	}
	decided struct {
		left
		tagged
	}
	shadowed struct {
		left
		Both string
	}
	recursive struct {
		*recursive
		N int
	}
)

func TestPlainNamesTheSameFieldsAsEncodingJSON(t *testing.T) {
	for _, v := range []any{
		ambiguous{left{1, 2}, right{3, 4}}, decided{left{1, 2}, tagged{3}}, shadowed{left{1, 2}, "x"},
		recursive{N: 1}, recursive{&recursive{N: 2}, 1}, order{}, struct{}{},
		struct {
			Point `json:"p"`
			Any   any `json:",omitempty"`
			F     float64
			B     bool   `json:",omitzero"`
			Tags  [0]int `json:"t,omitempty"`
		}{},
	} {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		want, err := python.Plain(json.RawMessage(text))
		require.NoError(t, err)
		dict, err := python.Plain(v)
		require.NoError(t, err)
		got := map[string]any{}
		for _, p := range dict.(python.Dict) {
			got[p.Key.(string)] = p.Value
		}
		for k, v := range got { // JSON has no time and no nested dict order
			if v == (time.Time{}) {
				delete(got, k)
			}
		}
		assert.Equal(t, len(want.(map[string]any)), len(got), "%T: want %v, got %v", v, want, got)
		for k := range got {
			assert.Contains(t, want, k, "%T", v)
		}
	}
}

func TestPlainKeepsWhatIsPlain(t *testing.T) {
	tree := map[string]any{
		"list": []any{nil, true, int64(1), 1.5, "x", []byte{1}, 2i},
		"dict": python.Dict{{int64(1), python.Tuple{}}},
		"set":  &python.Set{Items: []any{"x"}},
		"obj":  &python.Object{Class: python.Class{Module: "m", Name: "C"}},
		"env":  python.Envelope{Type: "x"},
		"time": someTime,
	}
	var v any = tree
	got, err := python.Plain(v)
	require.NoError(t, err)
	assert.Equal(t, reflect.ValueOf(tree).Pointer(), reflect.ValueOf(got).Pointer(), "the map was copied")
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = python.Plain(v) }), 1.0, "allocations")
}

func TestPlainDoesNotChangeItsArgument(t *testing.T) {
	inner := []any{1, "x"}
	in := map[string]any{"a": inner, "d": python.Dict{{1, 2}}}
	_, err := python.Plain(in)
	require.NoError(t, err)
	assert.Equal(t, map[string]any{"a": []any{1, "x"}, "d": python.Dict{{1, 2}}}, in)
}

func TestPlainRefuses(t *testing.T) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	var pointers loop
	pointers = &pointers
	deep := list{}
	for range 512 {
		deep = list{deep}
	}
	wide := any(int64(1))
	for range 64 {
		wide = []any{wide, wide}
	}
	tests := []struct {
		name string
		in   any
		want error
		text string
	}{
		{"a channel in a struct", struct{ C []any }{[]any{1, make(chan int)}}, python.ErrUnsupported, "chan int has no Python form at .C[1]"},
		{"a function", func() {}, python.ErrUnsupported, "func() has no Python form"},
		{"an unsafe pointer", unsafe.Pointer(nil), python.ErrUnsupported, "unsafe.Pointer"},
		{"an error", errBroken, python.ErrUnsupported, "errorString is an error"},
		{"an error under an odd key", map[string]any{"a b": errBroken}, python.ErrUnsupported, `at ["a b"]`},
		{"an unsupported key", map[any]int{broken{}: 1}, errBroken, "at [key]"},
		{"what a marshaler refuses", []any{broken{}}, errBroken, "broken at [0]"},
		{"raw JSON that is broken", json.RawMessage(`{"a"`), nil, "unexpected EOF"},
		{"raw JSON with a tail", json.RawMessage(`1 2`), nil, "more than one value"},
		{"a number that is none", json.Number("0x1"), python.ErrUnsupported, "not a number"},
		{"a number without end", json.Number(strings.Repeat("7", 4301)), python.ErrLimit, "4300 digits"},
		{"a map that holds itself", cycle, python.ErrLimit, "512 levels"},
		{"a pointer to itself", pointers, python.ErrLimit, "512 levels"},
		{"a deep slice", deep, python.ErrLimit, "512 levels"},
		{"a small value with 2^64 paths", wide, python.ErrLimit, "1048576 values"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := python.Plain(tt.in)
			assert.Nil(t, got)
			var conversion *python.ConversionError
			require.ErrorAs(t, err, &conversion)
			assert.ErrorContains(t, err, tt.text)
			if tt.want != nil {
				assert.ErrorIs(t, err, tt.want)
			}
		})
	}
}

func TestPlainAcceptsTheDeepestNesting(t *testing.T) {
	deep := list{}
	for range 511 {
		deep = list{deep}
	}
	_, err := python.Plain(deep)
	require.NoError(t, err)
}
