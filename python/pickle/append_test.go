package pickle_test

import (
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

func repeat(v any, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func nested(n int) any {
	var v any = []any{}
	for range n - 1 {
		v = []any{v}
	}
	return v
}

func wideMap(n int) map[string]any {
	m := make(map[string]any)
	for i := range n {
		m[strings.Repeat("k", i%7)+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = int64(i)
	}
	return m
}

type status string

type order struct {
	ID    int      `json:"id"`
	Tags  []string `json:"tags"`
	Note  *string  `json:"note,omitempty"`
	Total float64
}

var (
	nine  = time.FixedZone("", 9*3600)
	odd   = time.FixedZone("", -(3*3600 + 30*60 + 7))
	when  = time.Date(2026, 11, 21, 8, 30, 15, 123456789, time.UTC)
	cut   = when.Truncate(time.Microsecond)
	power = func(e uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), e) }
	class = func(module, name string) python.Class { return python.Class{Module: module, Name: name} }
)

// written are Go values and what Python must read; nil want means v itself.
func written() []struct {
	name    string
	v, want any
} {
	valueError := &python.Object{Class: class("builtins", "ValueError"), Args: python.Tuple{"bad", int64(1)}}
	noted := &python.Object{
		Class: class("builtins", "KeyError"), Args: python.Tuple{},
		State: map[string]any{"__notes__": []any{"a note"}},
	}
	lost := &python.Object{Class: class("billiard.exceptions", "WorkerLostError"), Args: python.Tuple{"signal 9"}}
	wrapper := &python.Object{
		Class: class("celery.utils.serialization", "UnpickleableExceptionWrapper"),
		Args:  python.Tuple{"cases", "Quota", python.Tuple{"acme"}, "Quota('acme')"},
	}
	return []struct {
		name    string
		v, want any
	}{
		{"nothing", nil, nil},
		{"true", true, nil},
		{"false", false, nil},
		{"an int", 5, int64(5)},
		{"a byte's edge", int64(255), nil},
		{"above a byte", int64(256), nil},
		{"two bytes' edge", int64(65535), nil},
		{"above two bytes", int64(65536), nil},
		{"minus one", int64(-1), nil},
		{"int32's greatest", int64(math.MaxInt32), nil},
		{"above int32", int64(math.MaxInt32 + 1), nil},
		{"int32's least", int64(math.MinInt32), nil},
		{"below int32", int64(math.MinInt32 - 1), nil},
		{"int64's greatest", int64(math.MaxInt64), nil},
		{"int64's least", int64(math.MinInt64), nil},
		{"-2^39", int64(-1 << 39), nil},
		{"2^39-1", int64(1<<39 - 1), nil},
		{"2^39", int64(1 << 39), nil},
		{"uint64's greatest", uint64(math.MaxUint64), new(big.Int).SetUint64(math.MaxUint64)},
		{"2^63", power(63), nil},
		{"-2^63-1", new(big.Int).Sub(new(big.Int).Neg(power(63)), big.NewInt(1)), nil},
		{"-2^71", new(big.Int).Neg(power(71)), nil},
		{"-2^72+1", new(big.Int).Add(new(big.Int).Neg(power(72)), big.NewInt(1)), nil},
		{"2^14000", power(14000), nil},
		{"small kinds of int", []any{int8(-1), int16(-2), int32(-3), uint8(4), uint16(5), uint32(6), uint(7)},
			[]any{int64(-1), int64(-2), int64(-3), int64(4), int64(5), int64(6), int64(7)}},
		{"a float", 0.1, nil},
		{"a float32", float32(0.5), 0.5},
		{"minus zero", math.Copysign(0, -1), nil},
		{"infinity", math.Inf(-1), nil},
		{"not a number", math.NaN(), nil},
		{"a complex number", complex(1.5, -2), nil},
		{"empty text", "", nil},
		{"text", "héllo 🎉\x00\n", nil},
		{"text of 255 bytes", strings.Repeat("x", 255), nil},
		{"text of 256 bytes", strings.Repeat("x", 256), nil},
		{"text of 100000 bytes", strings.Repeat("x", 100000), nil},
		{"bytes", []byte{0, 255}, nil},
		{"many bytes", []byte(strings.Repeat("\xff", 1000)), nil},
		{"no bytes", []byte{}, nil},
		{"nil bytes", []byte(nil), nil},
		{"an empty list", []any{}, nil},
		{"a list of one", []any{"x"}, nil},
		{"a list of 1000", repeat(int64(1), 1000), nil},
		{"a list of 1001", repeat(int64(1), 1001), nil},
		{"strings", []string{"a", "b"}, []any{"a", "b"}},
		{"ints", []int{1, 2}, []any{int64(1), int64(2)}},
		{"tuples", python.Tuple{python.Tuple{}, python.Tuple{int64(1)}, python.Tuple{int64(1), "b"},
			python.Tuple{int64(1), int64(2), int64(3)}, python.Tuple(repeat(int64(0), 4))}, nil},
		{"an empty map", map[string]any{}, nil},
		{"a map of one", map[string]any{"a": nil}, nil},
		{"nested maps", map[string]any{"b": map[string]any{"d": int64(1), "c": int64(2)}, "a": []any{}}, nil},
		{"a map of 1000", wideMap(1000), nil},
		{"a map of 2500", wideMap(2500), nil},
		{"a map of strings", map[string]string{"b": "1", "a": "2"}, map[string]any{"a": "2", "b": "1"}},
		{"a map with int keys", map[int]string{2: "b", 1: "a"}, python.Dict{{Key: int64(1), Value: "a"}, {Key: int64(2), Value: "b"}}},
		{"pairs", []python.Pair{{Key: "z", Value: int64(1)}, {Key: "a", Value: int64(2)}}, map[string]any{"a": int64(2), "z": int64(1)}},
		{"a dict with all kinds of keys", python.Dict{
			{Key: int64(1), Value: "int"}, {Key: nil, Value: "none"}, {Key: python.Tuple{"a", int64(2)}, Value: "tuple"},
			{Key: []byte("b"), Value: "bytes"}, {Key: &python.Set{Items: []any{"s"}, Frozen: true}, Value: "frozenset"},
		}, nil},
		{"sets", []any{&python.Set{Items: []any{}}, &python.Set{Items: []any{int64(1)}}, &python.Set{Items: []any{"a"}, Frozen: true},
			&python.Set{Items: []any{}, Frozen: true}}, nil},
		{"an aware datetime", when, cut},
		{"a datetime at another offset", cut.In(nine), nil},
		{"a datetime at an odd offset", cut.In(odd), nil},
		{"a naive datetime", python.DateTime{Time: cut}, nil},
		{"the first datetime", python.DateTime{Time: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		{"the last datetime", python.DateTime{Time: time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)}, nil},
		{"a date", python.Date{Year: 2028, Month: 2, Day: 29}, nil},
		{"a time", python.Time{Hour: 23, Minute: 59, Second: 58, Microsecond: 7}, nil},
		{"an aware time", python.Time{Hour: 1, Aware: true, Offset: -time.Hour}, nil},
		{"a timedelta", python.Timedelta{Days: -1, Seconds: 5, Microseconds: 999999}, nil},
		{"a duration", 1500 * time.Millisecond, python.Timedelta{Seconds: 1, Microseconds: 500000}},
		{"decimals", []any{python.Decimal("1.50"), python.Decimal("-1E+3"), python.Decimal("NaN"), python.Decimal("-Infinity")}, nil},
		{"a UUID", python.UUID{1, 2, 3}, nil},
		{"the last UUID", python.UUID([]byte(strings.Repeat("\xff", 16))), nil},
		{"a small UUID", python.UUID{15: 7}, nil},
		{"an exception", valueError, nil},
		{"an exception with a note", noted, nil},
		{"an exception in a document", map[string]any{"status": "FAILURE", "result": valueError}, nil},
		{"a lost worker", lost, nil},
		{"an unpickleable exception", wrapper, nil},
		{"a class", class("builtins", "ValueError"), nil},
		{"a range", &python.Object{Class: class("builtins", "range"), Args: python.Tuple{int64(1), int64(9), int64(2)}}, nil},
		{"a fraction", &python.Object{Class: class("fractions", "Fraction"), Args: python.Tuple{"1/3"}},
			&python.Object{Class: class("fractions", "Fraction"), Args: python.Tuple{"1/3"}}},
		{"a deque", &python.Object{Class: class("collections", "deque"), Args: python.Tuple{python.Tuple{}, int64(5)}, Items: []any{int64(1)}}, nil},
		{"a trusted object", pickle.Trusted{Object: &python.Object{Class: class("cases", "Plain"), Args: python.Tuple{},
			State: map[string]any{"a": int64(1)}}},
			&python.Object{Class: class("cases", "Plain"), Args: python.Tuple{}, State: map[string]any{"a": int64(1)}}},
		{"a trusted namedtuple", pickle.Trusted{Object: &python.Object{Class: class("cases", "Point"), Args: python.Tuple{int64(1), int64(2)}}},
			&python.Object{Class: class("cases", "Point"), Args: python.Tuple{int64(1), int64(2)}}},
		{"a trusted dict", pickle.Trusted{Object: &python.Object{Class: class("cases", "MyDict"), Args: python.Tuple{},
			Pairs: []python.Pair{{Key: "a", Value: int64(1)}}}},
			&python.Object{Class: class("cases", "MyDict"), Args: python.Tuple{},
				Pairs: []python.Pair{{Key: "a", Value: int64(1)}}}},
		{"an envelope", python.Envelope{Type: "money", Value: "5"}, map[string]any{"__type__": "money", "__value__": "5"}},
		{"a value at hand", later{v: "x"}, "x"},
		{"a named string", status("SUCCESS"), "SUCCESS"},
		{"a struct", order{ID: 1, Tags: []string{"a"}, Total: 2.5}, map[string]any{"id": int64(1), "tags": []any{"a"}, "Total": 2.5}},
		{"512 levels", nested(512), nil},
	}
}

func TestPythonReadsWhatIsWritten(t *testing.T) {
	cases := written()
	pickles := make([][]byte, len(cases))
	for i, c := range cases {
		var err error
		pickles[i], err = pickle.Append(nil, c.v)
		require.NoError(t, err, c.name)
	}
	for i, got := range readByPython(t, pickles) {
		c := cases[i]
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == nil {
				want = c.v
			}
			if b, ok := want.([]byte); ok && b == nil {
				want = nil
			}
			if !strings.Contains(c.name, "fraction") && !strings.Contains(c.name, "trusted") {
				assert.Equal(t, marshal(describe(want)), got, "%q", pickles[i])
			}
			assert.NotContains(t, got, `["error"`)
			back, err := pickle.Unmarshal(pickles[i])
			require.NoError(t, err)
			assert.Equal(t, marshal(describe(want)), marshal(describe(back)), "%q", pickles[i])
		})
	}
}

func TestAppendRefuses(t *testing.T) {
	object := func(module, name string, args ...any) *python.Object {
		return &python.Object{Class: class(module, name), Args: args}
	}
	self := []any{nil}
	self[0] = self
	for _, c := range []struct {
		name string
		v    any
		want error
	}{
		{"text that is not UTF-8", "\xff", python.ErrUnsupported},
		{"a key that is not UTF-8", map[string]any{"\xff": 1}, python.ErrUnsupported},
		{"the year 0", time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC), python.ErrUnsupported},
		{"the year 10000", python.DateTime{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, python.ErrUnsupported},
		{"an offset of a day", when.In(time.FixedZone("", 86400)), python.ErrUnsupported},
		{"the 30th of February", python.Date{Year: 2026, Month: 2, Day: 30}, python.ErrUnsupported},
		{"25 o'clock", python.Time{Hour: 25}, python.ErrUnsupported},
		{"a timedelta out of order", python.Timedelta{Seconds: -1}, python.ErrUnsupported},
		{"a timedelta of 3 million years", python.Timedelta{Days: 1e9}, python.ErrUnsupported},
		{"a decimal of words", python.Decimal("__import__('os')"), python.ErrUnsupported},
		{"an empty decimal", python.Decimal(""), python.ErrUnsupported},
		{"a list as a key", python.Dict{{Key: []any{}, Value: 1}}, python.ErrUnsupported},
		{"a list in a tuple as a key", python.Dict{{Key: python.Tuple{[]any{}}, Value: 1}}, python.ErrUnsupported},
		{"a map in a set", &python.Set{Items: []any{map[string]any{}}}, python.ErrUnsupported},
		{"a set in a set", &python.Set{Items: []any{&python.Set{}}}, python.ErrUnsupported},
		{"a deque as a key", python.Dict{{Key: object("collections", "deque"), Value: 1}}, python.ErrUnsupported},
		{"a channel", make(chan int), python.ErrUnsupported},
		{"a function", func() {}, python.ErrUnsupported},
		{"os.system", object("os", "system", "id"), python.ErrUnsupported},
		{"os.system itself", class("os", "system"), python.ErrUnsupported},
		{"eval", object("builtins", "eval", "1"), python.ErrUnsupported},
		{"an unknown exception", object("cases", "Quota"), python.ErrUnsupported},
		{"os.system in an exception", object("builtins", "ValueError", object("os", "system", "id")), python.ErrUnsupported},
		{"os.system in a trusted object", pickle.Trusted{Object: object("cases", "T", class("os", "system"))}, python.ErrUnsupported},
		{"a trusted module that is no name", pickle.Trusted{Object: object("os\nsystem", "x")}, python.ErrUnsupported},
		{"a trusted class that is no name", pickle.Trusted{Object: object("os", "a..b")}, python.ErrUnsupported},
		{"a trusted class without a name", pickle.Trusted{Object: object("os", "")}, python.ErrUnsupported},
		{"a fraction that takes for ever", object("fractions", "Fraction", "1e1000000000"), python.ErrUnsupported},
		{"a fraction of zero", object("fractions", "Fraction", "1/0"), python.ErrUnsupported},
		{"a deque that takes for ever", object("collections", "deque", object("builtins", "range", 1<<60)), python.ErrUnsupported},
		{"a range with a state", &python.Object{Class: class("builtins", "range"), Args: python.Tuple{1}, State: "x"}, python.ErrUnsupported},
		{"an exception with items", &python.Object{Class: class("builtins", "ValueError"), Items: []any{1}}, python.ErrUnsupported},
		{"513 levels", nested(513), python.ErrLimit},
		{"a list in itself", self, python.ErrLimit},
		{"an integer of 5000 digits", power(16610), python.ErrLimit},
		{"too many values", repeat(nil, pickle.MaxValues), python.ErrLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pickle.Append([]byte("before"), c.v)
			assert.ErrorIs(t, err, c.want)
			assert.Equal(t, "before", string(got), "what was there stays")
			if err != nil {
				assert.True(t, strings.HasPrefix(err.Error(), "pickle: "), err.Error())
			}
		})
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	got, err := pickle.Append([]byte("before"), nil)
	require.NoError(t, err)
	assert.Equal(t, "before\x80\x04N.", string(got))
	got, err = pickle.Append([]byte("before"), "x")
	require.NoError(t, err)
	assert.Equal(t, "before\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94.", string(got))
}

func TestAnUnreadableValueIsAnError(t *testing.T) {
	fields, err := pickle.Fields(nil, []byte("}\x8c\x01a]q\x00h\x00as."))
	require.NoError(t, err)
	_, err = pickle.Append(nil, fields[0].Value)
	assert.ErrorIs(t, err, python.ErrUnsupported)
}

func TestHarmlessClasses(t *testing.T) {
	for _, c := range []python.Class{
		class("builtins", "ZeroDivisionError"), class("builtins", "ExceptionGroup"), class("celery.exceptions", "Retry"),
		class("kombu.exceptions", "OperationalError"), class("billiard.exceptions", "TimeLimitExceeded"),
		class("celery.utils.serialization", "UnpickleableExceptionWrapper"), class("builtins", "object"),
	} {
		assert.True(t, pickle.Harmless(c), c.String())
	}
	for _, c := range []python.Class{
		{}, class("os", "system"), class("builtins", "eval"), class("builtins", "type"), class("builtins", "getattr"),
		class("builtins", "bytes"), class("celery.exceptions", "reraise"), class("", "ValueError"), class("cases", "ValueError"),
	} {
		assert.False(t, pickle.Harmless(c), c.String())
	}
}

func TestTheBuiltinExceptionsAreHarmless(t *testing.T) {
	script := "import builtins\nfor n, o in vars(builtins).items():\n" +
		"  if isinstance(o, type) and issubclass(o, BaseException) and not n.startswith('_'): print(n)"
	names := strings.Fields(string(python3(t, "", "-c", script)))
	assert.Greater(t, len(names), 60)
	newer := map[string]bool{"PythonFinalizationError": true} // than 3.11
	for _, name := range names {
		assert.True(t, pickle.Harmless(class("builtins", name)) || newer[name], name)
	}
}
