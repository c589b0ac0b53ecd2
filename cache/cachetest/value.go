package cachetest

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/python"
)

func valueRows() []row {
	return []row{
		{name: "an empty value is an entry", rule: "no bytes are not the same as no entry", run: func(e *env) {
			e.roundTrips("")
			e.adds(e.key("k"), "other", false)
		}},
		{name: "a byte is kept", rule: "the smallest value comes back", run: func(e *env) {
			e.roundTrips("\x00")
			e.roundTrips("1")
		}},
		{name: "64 KiB are kept", rule: "a value larger than a buffer comes back", run: func(e *env) {
			e.roundTrips(noise(64 << 10))
			e.roundTrips(noise(64<<10 + 1))
		}},
		{name: "a large value is kept", rule: "4 MiB come back, or as much as the store holds", run: func(e *env) {
			e.roundTrips(noise(largest(e.traits.MaxValue)))
		}},
		{name: "the largest value is kept", rule: "MaxValue bytes are stored", needs: valueLimit, run: func(e *env) {
			e.roundTrips(noise(e.traits.MaxValue))
		}},
		{name: "a larger value is refused", rule: "ErrTooLarge leaves no stale value under Set, and Add and Update leave the entry", needs: valueLimit, run: tooLarge},
		{name: "all 256 bytes are kept", rule: "values are binary", run: func(e *env) {
			e.roundTrips(allBytes())
			e.roundTrips(strings.Repeat(allBytes(), 40))
		}},
		{name: "values that look like a protocol are kept", rule: "no value is taken for a command, a number or an end", run: func(e *env) {
			for _, v := range []string{"\r\n", "END\r\n", "STORED\r\nget x\r\n", "$-1\r\n", "+OK\r\n", "-0", "007", "1.0", "nil", "'; --", `\x00`, "%s", "\xff\xfe"} {
				e.roundTrips(v)
			}
		}},
		{name: "many returns binary values whole", rule: "SetMany and GetMany keep every byte, also of empty values", run: manyBinary},
		{name: "python values come back as they were", rule: "every type of package python survives the cache", run: pythonValues},
		{name: "python values come back from many", rule: "GetMany decodes as Get does", run: pythonMany},
		{name: "get into decodes to Go types", rule: "GetInto follows python.Assign", run: getInto},
		{name: "integers of any size come back", rule: "ints beyond an int64 are a *big.Int", run: bigIntegers},
	}
}

// roundTrips sets the value and reads it back.
func (e *env) roundTrips(value string) {
	e.Helper()
	e.set(e.key("k"), value, long)
	got := string(e.get(e.key("k")).Value)
	require.True(e, got == value, "stored %d bytes %.40q, got %d bytes %.40q", len(value), value, len(got), got)
}

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// noise returns n bytes that do not compress, the same ones every time.
func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

func largest(limit int) int {
	const enough = 4 << 20
	if limit == 0 {
		return enough
	}
	return min(limit, enough)
}

func tooLarge(e *env) {
	c := e.cache()
	large := cache.Item{Value: []byte(noise(e.traits.MaxValue + 1)), Format: cache.Bytes}
	e.set(e.whole("k"), "old", long)
	require.ErrorIs(e, c.SetItem(e.ctx, "k", large, long), cache.ErrTooLarge)
	e.misses(e.whole("k"))

	_, err := c.Add(e.ctx, "k", large.Value, long)
	require.ErrorIs(e, err, cache.ErrTooLarge)
	e.misses(e.whole("k"))

	e.set(e.whole("k"), "old", long)
	err = c.Update(e.ctx, "k", long, func(cache.Item, bool) (cache.Item, error) { return large, nil })
	if swapper(e.h, e.store) == "" {
		require.ErrorIs(e, err, cache.ErrTooLarge)
	}
	e.holds(e.whole("k"), "old")

	require.ErrorIs(e, c.SetMany(e.ctx, map[string]any{"k": large.Value, "small": 1}, long), cache.ErrTooLarge)
	e.misses(e.whole("k"))
}

func manyBinary(e *env) {
	c := e.cache()
	want := map[string]string{"empty": "", "zero": "\x00", "all": allBytes(), "line": "\r\n", "long": noise(20_000)}
	keys := make([]string, 0, len(want))
	items := map[string]cache.Item{}
	for name, value := range want {
		keys = append(keys, name)
		items[e.whole(name)] = raw(value)
	}
	e.storeAll(items)
	got, err := c.GetItems(e.ctx, keys)
	require.NoError(e, err)
	require.Len(e, got, len(want))
	for name, value := range want {
		require.True(e, string(got[name].Value) == value, "%s: stored %.40q, got %.40q", name, value, got[name].Value)
	}
}

func (e *env) storeAll(items map[string]cache.Item) {
	e.Helper()
	if many, ok := e.store.(cache.ManySetter); ok {
		require.NoError(e, many.SetMany(e.ctx, items, long))
		return
	}
	for key, item := range items {
		require.NoError(e, e.store.Set(e.ctx, key, item, long))
	}
}

// pythonTypes has a value of every type that package python names.
func pythonTypes() map[string]any {
	berlin := time.FixedZone("", 2*3600)
	moment := time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.UTC)
	return map[string]any{
		"None": nil, "True": true, "False": false,
		"zero": int64(0), "int": int64(-42), "least": int64(math.MinInt64), "most": int64(math.MaxInt64),
		"float": 1.5, "whole float": 2.0, "infinity": math.Inf(-1),
		"str": "text", "empty str": "", "digits": "123", "unicode": "grüß 世界 \U0001f600", "control": "a\x00\r\n",
		"bytes": []byte{0, 1, 0xff}, "digit bytes": []byte("123"), "empty bytes": []byte{},
		"list": []any{int64(1), "two", nil, []any{}}, "tuple": python.Tuple{int64(1), python.Tuple{}},
		"dict":           map[string]any{"a": int64(1), "b": map[string]any{"c": []any{true}}},
		"dict of ints":   python.Dict{{Key: int64(1), Value: "one"}, {Key: int64(2), Value: "two"}},
		"set":            &python.Set{Items: []any{int64(1)}},
		"frozenset":      &python.Set{Items: []any{"x"}, Frozen: true},
		"aware datetime": moment, "datetime with offset": moment.In(berlin),
		"naive datetime": python.DateTime{Time: moment},
		"date":           python.Date{Year: 2026, Month: 2, Day: 28},
		"time":           python.Time{Hour: 23, Minute: 59, Second: 1, Microsecond: 5},
		"timedelta":      python.Timedelta{Days: -1, Seconds: 86399, Microseconds: 1},
		"Decimal":        python.Decimal("1.50"), "UUID": python.UUID{0x12, 15: 0xff},
		"complex": complex(1, -2), "class": python.Class{Module: "builtins", Name: "ValueError"},
	}
}

// samePython compares decoded values. Times are equal when they are the same
// moment at the same offset, and a Dict equals a pointer to it.
func samePython(want, got any) bool {
	switch w := want.(type) {
	case time.Time:
		g, ok := got.(time.Time)
		return ok && w.Equal(g) && offset(w) == offset(g)
	case python.Dict:
		if g, ok := got.(*python.Dict); ok {
			return assert.ObjectsAreEqual(w, *g)
		}
	}
	return assert.ObjectsAreEqual(want, got)
}

func offset(t time.Time) int {
	_, seconds := t.Zone()
	return seconds
}

func pythonValues(e *env) {
	c := e.cache()
	for name, want := range pythonTypes() {
		require.NoError(e, c.Set(e.ctx, "k", want, long), name)
		got, err := c.Get(e.ctx, "k")
		require.NoError(e, err, name)
		require.True(e, samePython(want, got), "%s: stored %#v, got %#v", name, want, got)
	}
}

func pythonMany(e *env) {
	c := e.cache()
	values, keys := map[string]any{}, []string{}
	for name, value := range pythonTypes() {
		key := strings.ReplaceAll(name, " ", "-")
		values[key], keys = value, append(keys, key)
	}
	require.NoError(e, c.SetMany(e.ctx, values, long))
	got, err := c.GetMany(e.ctx, keys)
	require.NoError(e, err)
	require.Len(e, got, len(values))
	for key, want := range values {
		require.True(e, samePython(want, got[key]), "%s: stored %#v, got %#v", key, want, got[key])
	}
}

func getInto(e *env) {
	type point struct{ X, Y int }
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "p", map[string]any{"X": 3, "Y": -4}, long))
	var p point
	require.NoError(e, c.GetInto(e.ctx, "p", &p))
	require.Equal(e, point{3, -4}, p)

	n := 7
	require.ErrorIs(e, c.GetInto(e.ctx, "absent", &n), cache.ErrMiss)
	require.Equal(e, 7, n, "a miss leaves the target alone")
	require.Error(e, c.GetInto(e.ctx, "p", &n), "a dict is no int")
}

func bigIntegers(e *env) {
	c := e.cache()
	for _, text := range []string{"9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + strings.Repeat("0", 400)} {
		want, _ := new(big.Int).SetString(text, 10)
		require.NoError(e, c.Set(e.ctx, "k", want, long))
		got, err := c.Get(e.ctx, "k")
		require.NoError(e, err, text)
		n, ok := got.(*big.Int)
		require.True(e, ok && n.Cmp(want) == 0, "stored %s, got %v", text, got)
	}
}
