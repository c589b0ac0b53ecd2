package python_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

// setting takes only JSON.
type setting struct{ text string }

func (s *setting) UnmarshalJSON(b []byte) error {
	s.text = string(b)
	return nil
}

var naive = python.DateTime{Time: someTime}

func TestAssignConverts(t *testing.T) {
	tests := []struct {
		name  string
		value any
		want  any // of the type to assign to
	}{
		{"int to int8", int64(-128), int8(-128)},
		{"int to a named int", int64(3), level(3)},
		{"int to uint64", new(big.Int).SetUint64(math.MaxUint64), uint64(math.MaxUint64)},
		{"a whole float to int", 2.0, 2},
		{"int to float", int64(5), 5.0},
		{"int to float32", int64(1 << 24), float32(1 << 24)},
		{"float to float32", 0.1, float32(0.1)},
		{"infinity to float32", math.Inf(1), float32(math.Inf(1))},
		{"int to complex", int64(2), 2 + 0i},
		{"complex to complex64", 1 + 2i, complex64(1 + 2i)},
		{"int to big.Int", int64(5), *big.NewInt(5)},
		{"int to *big.Int", int64(5), big.NewInt(5)},
		{"big int to *big.Int", beyondInt64, beyondInt64},
		{"int to json.Number", int64(5), json.Number("5")},
		{"Decimal to json.Number", python.Decimal("1.50"), json.Number("1.50")},
		{"bool", true, true},
		{"str", "x", "x"},
		{"str to a named string", "red", colour("red")},
		{"Decimal to string", python.Decimal("1.50"), "1.50"},
		{"UUID to string", somePython, "12345678-1234-5678-1234-567812345678"},
		{"datetime to string", someTime, "2026-11-21T08:30:15.123456+00:00"},
		{"naive datetime to string", naive, "2026-11-21T08:30:15.123456"},
		{"date to string", python.Date{Year: 2026, Month: 2, Day: 28}, "2026-02-28"},
		{"time to string", python.Time{Hour: 1}, "01:00:00"},
		{"bytes", []byte("ab"), []byte("ab")},
		{"bytes to named bytes", []byte("ab"), blob("ab")},
		{"str to bytes", "é", []byte("é")},
		{"bytes to an array", []byte("abcd"), digest([]byte("abcd"))},
		{"list to strings", []any{"a", "b"}, []string{"a", "b"}},
		{"tuple to ints", python.Tuple{int64(1), int64(2)}, []int{1, 2}},
		{"set to ints", &python.Set{Items: []any{int64(1)}}, []int{1}},
		{"list to an array, rest zero", []any{int64(1)}, [2]int{1, 0}},
		{"list to a tuple", []any{int64(1)}, python.Tuple{int64(1)}},
		{"list to a set", []any{int64(1)}, python.Set{Items: []any{int64(1)}}},
		{"set to a set", &python.Set{Frozen: true}, python.Set{Frozen: true}},
		{"set to *Set", &python.Set{Frozen: true}, &python.Set{Frozen: true}},
		{"set to a map to struct{}", &python.Set{Items: []any{"a"}}, map[string]struct{}{"a": {}}},
		{"set to a map to bool", &python.Set{Items: []any{int64(1)}}, map[int]bool{1: true}},
		{"dict to a map", map[string]any{"a": int64(1)}, map[colour]int{"a": 1}},
		{"dict with int keys to a map", python.Dict{{1, "a"}, {2, "b"}}, map[int]string{1: "a", 2: "b"}},
		{"dict with text keys to a map with int keys", map[string]any{"1": "a"}, map[uint8]string{1: "a"}},
		{"dict with text keys to a map with float keys", map[string]any{"1.5": "a", "2": "b"}, map[float64]string{1.5: "a", 2: "b"}},
		{"dict with text keys to a map with UUID keys", map[string]any{someUUID.String(): int64(1)}, map[uuid.UUID]int{someUUID: 1}},
		{"dict to Dict in order of its keys", map[string]any{"b": nil, "a": true}, python.Dict{{"a", true}, {"b", nil}}},
		{"Dict to map[string]any", python.Dict{{"a", int64(1)}}, map[string]any{"a": int64(1)}},
		{"dict to a struct", map[string]any{"X": int64(1), "Y": int64(2), "Z": "ignored"}, point{1, 2}},
		{"dict to a struct in other case", map[string]any{"x": int64(1), "y": int64(2)}, point{1, 2}},
		{"the exact name before others", map[string]any{"X": int64(1), "x": int64(2), "y": int64(3)}, point{1, 3}},
		{"Dict to a struct, other keys ignored", python.Dict{{"X", int64(1)}, {7, 7}}, point{X: 1}},
		{"pointers are allocated", int64(5), ptr(ptr(5))},
		{"None to a pointer", nil, (*int)(nil)},
		{"None to an int", nil, 0},
		{"datetime", someTime, someTime},
		{"naive datetime to time.Time", naive, someTime},
		{"date to time.Time", python.Date{Year: 2026, Month: 2, Day: 28}, time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC)},
		{"ISO text to time.Time", "2026-11-21T08:30:15.123456", someTime},
		{"ISO text to DateTime", "2026-11-21T09:30:15.123456+01:00", naive},
		{"aware datetime to DateTime", someTime, naive},
		{"timedelta to duration", python.Timedelta{Days: -1, Seconds: 86399}, -time.Second},
		{"int to duration", int64(90), 90 * time.Second},
		{"float to duration", 1.5, 1500 * time.Millisecond},
		{"timedelta", python.Timedelta{Days: 1}, python.Timedelta{Days: 1}},
		{"text to Date", "2026-02-28", python.Date{Year: 2026, Month: 2, Day: 28}},
		{"text to Time", "01:02", python.Time{Hour: 1, Minute: 2}},
		{"text to UUID", someUUID.String(), somePython},
		{"bytes to UUID", somePython[:], somePython},
		{"text to Decimal", "-1.5E+3", python.Decimal("-1.5E+3")},
		{"int to Decimal", int64(5), python.Decimal("5")},
		{"UUID to google's", somePython, someUUID},
		{"text to google's UUID", someUUID.String(), someUUID},
		{"UUID to 16 bytes", somePython, [16]byte(somePython)},
		{"Decimal to shopspring's", python.Decimal("1.50"), decimal.RequireFromString("1.50")},
		{"int to shopspring's decimal", int64(5), decimal.RequireFromString("5")},
		{"float to shopspring's decimal", 0.1, decimal.RequireFromString("0.1")},
		{"text to an address", "10.0.0.1", netip.MustParseAddr("10.0.0.1")},
		{"a dict to a json.Unmarshaler", map[string]any{"b": math.NaN(), "a": python.Tuple{"é"}}, setting{`{"a":["é"],"b":"NaN"}`}},
		{"a list to raw JSON", []any{int64(1), someTime}, json.RawMessage(`[1,"2026-11-21T08:30:15.123456+00:00"]`)},
		{"an envelope", python.Envelope{Type: "money"}, python.Envelope{Type: "money"}},
		{"an object", &python.Object{Class: python.Class{Name: "C"}}, python.Object{Class: python.Class{Name: "C"}}},
		{"a Go value that is not plain", map[int]int{1: 2}, map[int8]int8{1: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dst := reflect.New(reflect.TypeOf(tt.want))
			require.NoError(t, python.Assign(dst.Interface(), tt.value))
			got := dst.Elem().Interface()
			if d, ok := got.(decimal.Decimal); ok { // two forms of one number differ inside
				assert.Equal(t, fmt.Sprint(tt.want), d.String())
				return
			}
			assert.Equal(t, tt.want, got, "Assign(%#v)", tt.value)
		})
	}
}

func TestAssignGivesTheTreeToAny(t *testing.T) {
	tree := map[string]any{"a": python.Tuple{int64(1)}}
	var got any
	require.NoError(t, python.Assign(&got, tree))
	assert.Equal(t, any(tree), got)
	require.NoError(t, python.Assign(&got, nil))
	assert.Nil(t, got)
	var text fmt.Stringer
	require.NoError(t, python.Assign(&text, somePython))
	assert.Equal(t, somePython, text)
}

func TestAssignFillsStructs(t *testing.T) {
	dst := order{base: base{ID: 1, Note: "kept"}, private: 3}
	require.NoError(t, python.Assign(&dst, map[string]any{
		"ID": int64(7), "customer": "ann", "prices": []any{1.5, int64(2)}, "paid": someTime, "-": "x", "Secret": "x", "private": int64(9),
		"tags":   map[string]any{"red": "x"},
		"parent": map[string]any{"ID": int64(8)},
	}))
	assert.Equal(t, order{
		base: base{ID: 7, Note: "kept"}, private: 3,
		Customer: "ann", Prices: []float32{1.5, 2}, Paid: someTime, Tags: map[colour]string{"red": "x"},
		Parent: &order{base: base{ID: 8}},
	}, dst)
}

type Embedded struct{ Seen bool }

func TestAssignAllocatesEmbeddedPointers(t *testing.T) {
	var dst struct {
		*Embedded
		N int
	}
	require.NoError(t, python.Assign(&dst, map[string]any{"N": int64(1)}))
	assert.Nil(t, dst.Embedded)
	require.NoError(t, python.Assign(&dst, map[string]any{"Seen": true}))
	assert.True(t, dst.Seen)
}

func TestAssignKeepsWhatAMapHolds(t *testing.T) {
	dst := map[string]int{"a": 1}
	require.NoError(t, python.Assign(&dst, map[string]any{"b": int64(2)}))
	assert.Equal(t, map[string]int{"a": 1, "b": 2}, dst)
}

func TestAssignRefuses(t *testing.T) {
	type items struct {
		Items []struct{ Price int } `json:"items"`
	}
	type cell loop
	tests := []struct {
		name  string
		dst   any
		value any
		text  string
	}{
		{"nil", nil, 1, "<nil> is not a pointer"},
		{"a value", 5, 1, "int is not a pointer"},
		{"a nil pointer", (*int)(nil), 1, "*int is not a pointer"},
		{"a value that is no tree", new(any), make(chan int), "chan int has no Python form"},
		{"text deep inside", new(items), map[string]any{"items": []any{map[string]any{"Price": 1}, map[string]any{"Price": "x"}}},
			"python: cannot put str into int at .items[1].Price"},
		{"a fraction to int", new(int), 1.5, "cannot put float into int"},
		{"NaN to int", new(int), math.NaN(), "cannot put float into int"},
		{"infinity to uint", new(uint), math.Inf(1), "cannot put float into uint"},
		{"bool to int", new(int), true, "cannot put bool into int"},
		{"int to bool", new(bool), 1, "cannot put int into bool"},
		{"int to string", new(string), 1, "cannot put int into string"},
		{"bytes to string", new(string), []byte("x"), "cannot put bytes into string"},
		{"300 to int8", new(int8), 300, "cannot put int into int8: out of range"},
		{"-1 to uint", new(uint), -1, "out of range"},
		{"a huge float to int64", new(int64), 1e300, "out of range"},
		{"a big int to int64", new(int64), beyondInt64, "out of range"},
		{"an inexact int to float64", new(float64), int64(1<<53 + 1), "out of range"},
		{"an inexact int to float32", new(float32), 1<<24 + 1, "out of range"},
		{"a huge int to float64", new(float64), new(big.Int).Lsh(big.NewInt(1), 5000), "out of range"},
		{"a huge float to float32", new(float32), 1e300, "out of range"},
		{"text to complex", new(complex64), "x", "cannot put str into complex64"},
		{"a huge complex to complex64", new(complex64), 1e300i, "out of range"},
		{"three items to an array of two", new([2]int), []any{1, 2, 3}, "out of range"},
		{"bytes to a shorter array", new(digest), []byte("abc"), "out of range"},
		{"a dict to a slice", new([]int), map[string]any{}, "cannot put dict into []int"},
		{"an int to an array", new([1]int), 1, "cannot put int into [1]int"},
		{"a list to a map", new(map[string]int), []any{}, "cannot put list into map[string]int"},
		{"a list to a struct", new(point), []any{}, "cannot put list into python_test.point"},
		{"a set to a map to int", new(map[string]int), &python.Set{Items: []any{"x"}}, "needs a map to bool"},
		{"a set with other members", new(map[string]bool), &python.Set{Items: []any{1}}, "cannot put int into string at [member]"},
		{"a text key that is no number", new(map[int]int), map[string]any{"x": 1}, "cannot put str into int at .x"},
		{"an int key to a map with text keys", new(map[string]int), python.Dict{{1, 1}}, "cannot put int into string at [int]"},
		{"a key that cannot be one", new(map[any]int), python.Dict{{python.Tuple{}, 1}}, "cannot put tuple into interface"},
		{"a member that cannot be one", new(map[any]bool), &python.Set{Items: []any{python.Tuple{}}}, "cannot put tuple into interface"},
		{"text that is no time", new(time.Time), "yesterday", "cannot put str into time.Time"},
		{"a timedelta of 300 years", new(time.Duration), python.Timedelta{Days: 110000}, "cannot put timedelta into time.Duration"},
		{"too many seconds", new(time.Duration), int64(1) << 40, "cannot put int into time.Duration"},
		{"NaN seconds", new(time.Duration), math.NaN(), "cannot put float into time.Duration"},
		{"text that is no UUID", new(python.UUID), "x", "cannot put str into python.UUID"},
		{"text that is no decimal", new(python.Decimal), "one", "cannot put str into python.Decimal"},
		{"a Timedelta from text", new(python.Timedelta), "x", "cannot put str into python.Timedelta"},
		{"NaN to json.Number", new(json.Number), math.NaN(), "cannot put float into json.Number"},
		{"what UnmarshalText refuses", new([]netip.Addr), []any{"x"}, "cannot put str into netip.Addr: ParseAddr"},
		{"another interface", new(fmt.Stringer), "x", "cannot put str into fmt.Stringer"},
		{"a channel", new(chan int), 1, "cannot put int into chan int"},
		{"a type without end", new(cell), 1, "512 levels"},
		{"a pointer to an unexported embedded struct", new(struct{ *hidden }), map[string]any{"Seen": true}, "unexported python_test.hidden at .Seen"},
		{"a struct that only looks like text", new(sql.NullString), "x", "cannot put str into sql.NullString"},
		{"an envelope", new(string), python.Envelope{Type: "money"}, "cannot put envelope into string"},
		{"an object", new(string), &python.Object{Class: python.Class{Module: "shop", Name: "Cart"}}, "cannot put shop.Cart into string"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := python.Assign(tt.dst, tt.value)
			var conversion *python.ConversionError
			require.ErrorAs(t, err, &conversion)
			assert.ErrorContains(t, err, tt.text)
		})
	}
}

func TestAssignReadsWhatPlainWrites(t *testing.T) {
	want := order{
		base: base{ID: 7, Note: "n"}, Customer: "ann", Prices: []float32{1.5}, Paid: someTime,
		Tags: map[colour]string{"red": "x"}, Parent: &order{Customer: "bob", Paid: someTime},
	}
	tree, err := python.Plain(want)
	require.NoError(t, err)
	var got order
	require.NoError(t, python.Assign(&got, tree))
	assert.Equal(t, want, got)
}

// target has a field of every kind for fuzzing.
type target struct {
	A []map[string]int
	B map[int][]byte
	C *target
	D time.Duration
	E time.Time
	F [2]float32
	G decimal.Decimal
	H uuid.UUID
	I any
	J complex64
	K map[any]bool
	L big.Int
	M json.RawMessage
	N python.Set
	O uint8
	P string
}

func FuzzAssign(f *testing.F) {
	f.Add([]byte(`{"A": [{"x": 1}], "B": {"1": "x"}, "C": {"D": 1.5, "E": "2026-11-21"}, "F": [1, 2], "G": "1.5"}`))
	f.Add([]byte(`{"H": "12345678-1234-5678-1234-567812345678", "I": [], "J": 1, "L": 12345678901234567890, "M": {}, "N": [1], "O": 255}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		tree, err := python.Plain(json.RawMessage(text))
		if err != nil {
			return
		}
		var dst target
		if python.Assign(&dst, tree) != nil {
			return
		}
		if _, err := python.Plain(dst); err != nil && !json.Valid(python.JSON(nil, dst)) {
			t.Fatalf("%v: %s", err, text)
		}
	})
}
