package python_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

type (
	anys  = []any
	tuple = python.Tuple
	dict  = map[string]any
	pairs = python.Dict
)

func setOf(items ...any) *python.Set { return &python.Set{Items: items} }

func frozen(items ...any) *python.Set { return &python.Set{Items: items, Frozen: true} }

func power(base, exponent int64) *big.Int {
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(exponent), nil)
}

func instance(class string, args ...any) *python.Object {
	return &python.Object{Class: python.Class{Module: "builtins", Name: class}, Args: args}
}

func numbers(n int) anys {
	var out anys
	for i := range n {
		out = append(out, i)
	}
	return out
}

func wall(year int, month time.Month, day, hour, minute, second, us int) python.DateTime {
	return python.DateTime{Time: time.Date(year, month, day, hour, minute, second, us*1000, time.UTC)}
}

func aware(offset int) time.Time {
	return time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.FixedZone("", offset))
}

// represented are Go values by the Python expression of the same value.
var represented = map[string]any{
	"None":  nil,
	"True":  true,
	"False": false,

	"0": 0, "-5": int8(-5), "2**63-1": int64(math.MaxInt64), "2**64-1": uint64(math.MaxUint64),
	"2**70": power(2, 70), "-10**100": new(big.Int).Neg(power(10, 100)), "10**4299": power(10, 4299),
	"1.0": 1.0, "-0.0": math.Copysign(0, -1), "0.1": 0.1, "1e-07": 1e-7, "1e+16": 1e16, "123456.789": 123456.789,
	"float('nan')": math.NaN(), "float('-inf')": math.Inf(-1), "5e-324": 5e-324, "(1+2j)": 1 + 2i, "-2j": complex(math.Copysign(0, -1), -2),

	"''": "", "'abc'": "abc", "\"it's\"": "it's", "'say \"hi\"'": `say "hi"`, `'it\'s "both"'`: `it's "both"`,
	`'a\nb'`: "a\nb", `'\t\r\x00\x07\x1f\x7f'`: "\t\r\x00\x07\x1f\x7f", `'back\\slash'`: `back\slash`,
	`'\x80\x9f\xa0\xad'`: "\u0080\u009f\u00a0\u00ad", "'é日本 🎉'": "é日本 🎉", `'\u2028\u2029\u200b\ufeff\u3000'`: "\u2028\u2029\u200b\ufeff\u3000",
	`'\ue000\U000e0001\U0010ffff'`: "\ue000\U000e0001\U0010ffff", `'\ufffd'`: "\ufffd", `'e\u0301'`: "e\u0301",

	"b''": []byte{}, "b'abc'": []byte("abc"), `b'\xff'`: []byte{0xff}, "b\"it's\"": []byte("it's"), `b'\'"'`: []byte(`'"`),
	`bytes(range(256))`: allBytes(),

	"[]": anys{}, "()": tuple(nil), "{}": pairs(nil), "set()": setOf(), "frozenset()": frozen(),
	"(1,)": tuple{1}, "(2, 3)": tuple{2, 3}, "[1, 2, 3]": anys{1, 2, 3}, "{1}": setOf(1), "frozenset({1})": frozen(1),
	"{'a': 1, 'b': 2}": dict{"b": 2, "a": 1}, "{'b': 1, 'a': 2}": pairs{{"b", 1}, {"a", 2}},
	"{1: 'x', (1, 2): None, None: 2.5}":       pairs{{1, "x"}, {tuple{1, 2}, nil}, {nil, 2.5}},
	"('a', None, True, False)":                tuple{"a", nil, true, false},
	"(1.0, 1e-07, 1e+16)":                     tuple{1.0, 1e-7, 1e16},
	"(float('nan'), float('inf'))":            tuple{math.NaN(), math.Inf(1)},
	"({'a': [{'b': 1}]},)":                    tuple{dict{"a": anys{dict{"b": 1}}}},
	"[[[[[[[['deep']]]]]]]]":                  anys{anys{anys{anys{anys{anys{anys{anys{"deep"}}}}}}}},
	"{'x': {'y': {'z': {'w': ({1}, [()])}}}}": dict{"x": dict{"y": dict{"z": dict{"w": tuple{setOf(1), anys{tuple{}}}}}}},
	"[[[1]]]":                             anys{anys{anys{1}}},
	"[[[[1]]]]":                           anys{anys{anys{anys{1}}}},
	"[[[[]]]]":                            anys{anys{anys{anys{}}}},
	"[[[()]]]":                            anys{anys{anys{tuple{}}}},
	"[[[(1,)]]]":                          anys{anys{anys{tuple{1}}}},
	"[[[(1, 2)]]]":                        anys{anys{anys{tuple{1, 2}}}},
	"[[[{}]]]":                            anys{anys{anys{dict{}}}},
	"[[[{'a': 1}]]]":                      anys{anys{anys{dict{"a": 1}}}},
	"[[[{1}]]]":                           anys{anys{anys{setOf(1)}}},
	"[[[set()]]]":                         anys{anys{anys{setOf()}}},
	"[[[frozenset({1})]]]":                anys{anys{anys{frozen(1)}}},
	"{(1, (2, (3, (4,)))): 1}":            pairs{{tuple{1, tuple{2, tuple{3, tuple{4}}}}, 1}},
	"'x'*200":                             strings.Repeat("x", 200),
	"('x'*200,)":                          tuple{strings.Repeat("x", 200)},
	"('x'*200, 2)":                        tuple{strings.Repeat("x", 200), 2},
	"list(range(100))":                    numbers(100),
	"tuple(range(100))":                   tuple(numbers(100)),
	"{'k'*200: 1, 'b': 2}":                pairs{{strings.Repeat("k", 200), 1}, {"b", 2}},
	"{'a': 'x'*200, 'b': 2}":              dict{"a": strings.Repeat("x", 200), "b": 2},
	"{'a': [1]*100, 'b': [1, 2]}":         dict{"a": make100(1), "b": []int{1, 2}},
	"(10**200, 'x')":                      tuple{power(10, 200), "x"},
	"[{'a': {'b': list(range(100))}}, 1]": anys{dict{"a": dict{"b": numbers(100)}}, 1},
	"[date(2026, 2, 28)]":                 anys{python.Date{Year: 2026, Month: 2, Day: 28}},
	"[datetime(2026, 2, 28, 8, 30)]":      anys{wall(2026, 2, 28, 8, 30, 0, 0)},
	"[time(23, 59)]":                      anys{python.Time{Hour: 23, Minute: 59}},
	"[timedelta(1)]":                      anys{24 * time.Hour},
	"[Decimal('1.50')]":                   anys{python.Decimal("1.50")},
	"[uuid.UUID(int=1)]":                  anys{python.UUID{15: 1}},
	"[[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6, 7, 8], 3]": anys{numbers(7)[1:], numbers(9)[1:], 3},

	"datetime(1, 1, 1)":                                                                   wall(1, 1, 1, 0, 0, 0, 0),
	"datetime(2026, 2, 28, 8, 30, 15)":                                                    wall(2026, 2, 28, 8, 30, 15, 0),
	"datetime(2026, 2, 28, 8, 30, 0, 5)":                                                  wall(2026, 2, 28, 8, 30, 0, 5),
	"datetime(2026, 11, 21, 8, 30, 15, 123456, timezone.utc)":                             aware(0),
	"datetime(2026, 11, 21, 8, 30, 15, 123456, timezone(timedelta(hours=2)))":             aware(7200),
	"datetime(2026, 11, 21, 8, 30, 15, 123456, timezone(-timedelta(hours=5, seconds=1)))": aware(-18001),
	"time(0, 0)":                     python.Time{},
	"time(23, 59, 59, 5)":            python.Time{Hour: 23, Minute: 59, Second: 59, Microsecond: 5},
	"time(1, 2, 3, 0, timezone.utc)": python.Time{Hour: 1, Minute: 2, Second: 3, Aware: true},
	"time(1, 0, tzinfo=timezone(-timedelta(minutes=30)))": python.Time{Hour: 1, Aware: true, Offset: -30 * time.Minute},
	"timedelta(0)":          python.Timedelta{},
	"timedelta(-1, 5, 7)":   python.Timedelta{Days: -1, Seconds: 5, Microseconds: 7},
	"timedelta(seconds=90)": 90 * time.Second,
	"Decimal('1E+3')":       python.Decimal("1E+3"),
	"Decimal('NaN')":        python.Decimal("NaN"),
	"uuid.UUID('12345678-1234-5678-1234-567812345678')": python.UUID{0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78},

	"ValueError('no')":          instance("ValueError", "no"),
	"(ValueError('no', 1),)":    tuple{instance("ValueError", "no", 1)},
	"KeyError()":                instance("KeyError"),
	"[KeyError(('a', 1), [2])]": anys{instance("KeyError", tuple{"a", 1}, anys{2})},
	"int":                       python.Class{Module: "builtins", Name: "int"},
	"Decimal":                   python.Class{Module: "decimal", Name: "Decimal"},
	"[timezone, {'c': date}]":   anys{python.Class{Module: "datetime", Name: "timezone"}, dict{"c": python.Class{Module: "datetime", Name: "date"}}},
	"__import__('collections').deque([1, 2])":         &python.Object{Class: python.Class{Module: "collections", Name: "deque"}, Items: anys{1, 2}},
	"__import__('collections').Counter('a')":          &python.Object{Class: python.Class{Module: "collections", Name: "Counter"}, Pairs: []python.Pair{{"a", 1}}},
	"__import__('types').SimpleNamespace(a=1, b='x')": &python.Object{Class: python.Class{Module: "types", Name: "namespace"}, Kwargs: dict{"b": "x", "a": 1}},
	"{'__type__': 'new', '__value__': [1]}":           python.Envelope{Type: "new", Value: anys{1}},
}

func allBytes() []byte {
	out := make([]byte, 256)
	for i := range out {
		out[i] = byte(i)
	}
	return out
}

func make100(v int) []int {
	out := make([]int, 100)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestReprIsPythons(t *testing.T) {
	var expressions []string
	for expression := range represented {
		expressions = append(expressions, expression)
	}
	require.Greater(t, len(expressions), 100)
	for i, want := range answers(t, "repr(eval(s))", expressions) {
		value := represented[expressions[i]]
		assert.Equal(t, want, python.Repr(value, 0), expressions[i])
		plain, err := python.Plain(value)
		require.NoError(t, err)
		assert.Equal(t, want, python.Repr(plain, -1), "plain form of %s", expressions[i])
	}
}

// The two may follow different versions of Unicode.
func TestReprEscapesTheCharactersThatPythonEscapes(t *testing.T) {
	assigned := []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.C}
	var inputs []string
	for r := rune(0); r <= unicode.MaxRune; r += 0x100 {
		inputs = append(inputs, fmt.Sprint(r))
	}
	expression := `" ".join("?" if __import__("unicodedata").category(c) in ("Cn", "Cs") else repr(c).encode().hex()` +
		` for c in map(chr, range(int(s), int(s) + 256)))`
	for i, line := range answers(t, expression, inputs) {
		for j, want := range strings.Fields(line) {
			r := rune(i*0x100 + j)
			if want == "?" || !unicode.IsOneOf(assigned, r) {
				continue
			}
			got := fmt.Sprintf("%x", python.Repr(string(r), 0))
			require.Equal(t, want, got, "U+%04X", r)
		}
	}
}

// fact is one line of testdata/saferepr.jsonl.
type fact struct {
	Expression, Saferepr, Repr string
	Maxlen                     int
}

func facts(t *testing.T) []fact {
	t.Helper()
	data, err := os.ReadFile("testdata/saferepr.jsonl")
	require.NoError(t, err)
	var out []fact
	for line := range strings.Lines(string(data)) {
		var f fact
		require.NoError(t, json.Unmarshal([]byte(line), &f))
		out = append(out, f)
	}
	return out
}

func TestReprIsCelerysWhereNothingIsCut(t *testing.T) {
	escaped := map[string]bool{"\"it's\"": true, `'a\nb'`: true, `'back\\slash'`: true, `b'\xff'`: true, "b\"it's\"": true}
	for _, f := range facts(t) {
		value, known := represented[f.Expression]
		require.True(t, known, f.Expression)
		got := python.Repr(value, f.Maxlen)
		switch {
		case escaped[f.Expression]:
			assert.Equal(t, f.Repr, got)
			assert.NotEqual(t, f.Repr, f.Saferepr)
		case f.Maxlen == 1024:
			assert.Equal(t, f.Saferepr, got)
		}
	}
}

func TestReprIsCutWhereCelerysIs(t *testing.T) {
	for _, f := range facts(t) {
		if f.Maxlen == 1024 || len(python.Repr(represented[f.Expression], 1024)) <= f.Maxlen {
			continue
		}
		got := python.Repr(represented[f.Expression], f.Maxlen)
		assert.LessOrEqual(t, len(got), f.Maxlen)
		head, tail, cut := strings.Cut(got, "...")
		assert.True(t, cut, "%s gives %s", f.Expression, got)
		assert.True(t, strings.HasPrefix(f.Saferepr, strings.TrimSuffix(head, ", ")), "%s: %s but Celery %s", f.Expression, got, f.Saferepr)
		assert.Less(t, len(f.Saferepr)-len(got), 20, "%s: %s but Celery %s", f.Expression, got, f.Saferepr)
		assert.NotContains(t, tail, "x")
	}
}

func TestReprMarksWhereItIsCut(t *testing.T) {
	text := strings.Repeat("x", 100)
	for _, test := range []struct {
		value any
		limit int
		want  string
	}{
		{anys{1, 2, 3}, 9, "[1, 2, 3]"},
		{anys{1, 2, 3}, 8, "[1, ...]"},
		{anys{1, 2, 3}, 7, "[...]"},
		{anys{1, 2, 3}, 4, "..."},
		{anys{1, 2, 3}, 2, ".."},
		{text, 10, "'xxxxx...'"},
		{text, 102, "'" + text + "'"},
		{"it's " + text, 12, `"it's xx..."`},
		{tuple{text}, 20, "('xxxxxxxx...', ...)"},
		{[]byte(text), 10, "b'xxxx...'"},
		{power(10, 50), 10, "1000000..."},
		{python.Decimal("1" + text), 20, "Decimal('1xxxxx...')"},
		{"日本語日本語", 12, "'日本...'"},
		{"\x00\x00\x00\x00", 12, `'\x00...'`},
		{"\U000e0001\U000e0001", 15, `'\U000e0001...'`},
		{dict{"a": anys{1, 2, 3, 4, 5}, "b": 1}, 20, "{'a': [1, 2, ...]}"},
		{dict{"a": 1, "b": text}, 16, "{'a': 1, ...}"},
		{map[int]int{2: 3, 1: 2, 3: 4}, 16, "{1: 2, ...}"},
		{struct{ A, B string }{"x", text}, 18, "{'A': 'x', ...}"},
		{[]int{1, 2, 3}, 8, "[1, ...]"},
		{frozen(1, 2, 3), 19, "frozenset({1, ...})"},
		{instance("ValueError", text, 1), 27, "ValueError('xxxxx...', ...)"},
	} {
		assert.Equal(t, test.want, python.Repr(test.value, test.limit), "%v in %d bytes", test.value, test.limit)
	}
}

func TestReprNeverExceedsItsLimit(t *testing.T) {
	for expression, value := range represented {
		whole := python.Repr(value, 1<<20)
		for limit := 1; limit <= min(len(whole)+1, 300); limit++ {
			got := python.Repr(value, limit)
			assert.LessOrEqual(t, len(got), limit, "%s: %s", expression, got)
			assert.True(t, utf8.ValidString(got), "%s: %q", expression, got)
			if limit >= len(whole) {
				assert.Equal(t, whole, got)
			}
		}
	}
}

func TestReprShowsGoValuesInTheirPlainForm(t *testing.T) {
	type inner struct {
		Note string `json:"note,omitempty"`
		N    *int   `json:"n"`
	}
	type order struct {
		ID     string            `json:"id"`
		Tags   []string          `json:"tags"`
		Prices map[string]uint16 `json:"prices"`
		Skip   chan int          `json:"-"`
		inner
	}
	for _, value := range []any{
		order{ID: "x", Tags: []string{"a", "b"}, Prices: map[string]uint16{"z": 1, "a": 2}},
		&order{inner: inner{Note: "n", N: new(int)}},
		[]order{{}, {ID: "y"}},
		map[int]string{3: "c", -1: "a", 2: "b"},
		map[[2]int8]bool{{2, 1}: true, {1, 2}: false},
		map[fruit]int{"pear": 1, "apple": 2},
		[3]byte{1, 2, 3},
		[]float32{1.5},
		[][]byte{{1}, nil},
		json.Number("1.50"), json.RawMessage(`{"a": [1, null]}`), time.Duration(1500),
		python.Set{Items: anys{1}}, *power(2, 80), instance("A", 1),
		[]any(nil), map[string]any(nil), []int(nil), map[int]int(nil), (*order)(nil), (*python.Set)(nil), (*python.Object)(nil), (*big.Int)(nil), []byte(nil),
		fruit("x"), []fruit{"y"}, new(any), []*python.Set{setOf(1), nil}, []python.Tuple{{1}}, []python.Set{{}}, [2][]int{{1}},
	} {
		plain, err := python.Plain(value)
		require.NoError(t, err)
		assert.Equal(t, python.Repr(plain, 0), python.Repr(value, 0), "%T", value)
	}
}

type fruit string

func TestReprNamesTheTypesThatHaveNoPythonForm(t *testing.T) {
	value := anys{1, make(chan int), dict{"f": func() {}}, errors.New("secret"), struct{ C chan int }{}}
	assert.Equal(t, "[1, <chan int>, {'f': <func()>}, <errors.errorString>, {'C': <chan int>}]", python.Repr(value, 0))
	assert.Equal(t, "<int>", python.Repr(power(10, 4300), 0))
	assert.Equal(t, "<int>", python.Repr(power(2, 14284+1), 0))
	assert.Equal(t, "'\ufffda\ufffd'", python.Repr("\xffa\xc3", 0))
	state := &python.Object{Class: python.Class{Module: "shop.models", Name: "Order"}, State: dict{"secret": 1}}
	assert.Equal(t, "<shop.models.Order object>", python.Repr(state, 0))
	hostile := &python.Object{Class: python.Class{Module: "m", Name: "A\n'\x1b[31m"}}
	assert.Equal(t, `A\n\'\x1b[31m()`, python.Repr(hostile, 0))
}

type node struct{ Next, Other *node }

func TestReprOfCyclesEnds(t *testing.T) {
	cycle := anys{1, nil}
	cycle[1] = cycle
	assert.Equal(t, "[1, [...]]", python.Repr(cycle, 0))
	assert.Equal(t, "[1, [...]]", python.Repr(cycle, 1024))

	inTuple := anys{nil}
	inTuple[0] = tuple{inTuple}
	assert.Equal(t, "[([...],)]", python.Repr(inTuple, 0))
	one := tuple{anys{nil}}
	one[0].(anys)[0] = one
	assert.Equal(t, "([(...)],)", python.Repr(one, 0), "as Python has it")

	m := dict{}
	m["self"] = m
	assert.Equal(t, "{'self': {...}}", python.Repr(m, 0))
	object := instance("A")
	object.Args = tuple{object, 1}
	assert.Equal(t, "A(A(...), 1)", python.Repr(object, 0))

	loop := &node{}
	loop.Next, loop.Other = loop, nil
	assert.Contains(t, python.Repr(loop, 0), "{...}")
	assert.Equal(t, "{'Next': {'Next': {'Next': {...}, 'Other': None}, 'Other': None}, 'Other': None}", python.Repr(loop, 1024))
	type slices []slices
	inside := slices{nil}
	inside[0] = inside
	assert.Equal(t, "[[...]]", python.Repr(inside, 0))
	type maps map[int]maps
	self := maps{}
	self[1] = self
	assert.Equal(t, "{1: {...}}", python.Repr(self, 0))

	var p any
	p = &p
	assert.Equal(t, "...", python.Repr(p, 0))
}

func TestReprOfDeepValuesEnds(t *testing.T) {
	var deep any = 1
	for range 100_000 {
		deep = anys{deep}
	}
	assert.Equal(t, strings.Repeat("[", 513)+"..."+strings.Repeat("]", 513), python.Repr(deep, 0))
	assert.Equal(t, "[[[[...]]]]", python.Repr(deep, 100))

	var key any = 1
	for range 100_000 {
		key = pairs{{key, 1}}
	}
	assert.Less(t, len(python.Repr(key, 0)), 10_000)
	assert.LessOrEqual(t, len(python.Repr(key, 1000)), 1000)
}

func TestReprOfSharedPartsEnds(t *testing.T) {
	laugh := any("ha")
	for range 60 {
		laugh = anys{laugh, laugh, laugh}
	}
	assert.LessOrEqual(t, len(python.Repr(laugh, 1024)), 1024)
	text := python.Repr(laugh, 0)
	assert.True(t, strings.HasSuffix(text, "]"))
	assert.Contains(t, text, ", ...]]]")

	long := strings.Repeat("x", 1<<20)
	text = python.Repr(anys{anys{long, long}, long}, 0)
	assert.Len(t, text, 3<<20+len("[['', ''], '']"))
	many := make(anys, 70)
	for i := range many {
		many[i] = long
	}
	text = python.Repr(many, 0)
	assert.LessOrEqual(t, len(text), 64<<20)
	assert.True(t, strings.HasSuffix(text, "x...', ...]"))
}

func TestReprAllocatesForItsLimitOnly(t *testing.T) {
	large := strings.Repeat("x", 64<<20)
	keys := make(dict, 200_000)
	for i := range 200_000 {
		keys[fmt.Sprint("key", i)] = i
	}
	for name, value := range map[string]any{
		"str": large, "bytes": []byte(large), "decimal": python.Decimal(large), "class": python.Class{Name: large},
		"object":            &python.Object{Class: python.Class{Module: large, Name: large}, Kwargs: dict{large: 1}},
		"object with state": &python.Object{Class: python.Class{Module: large}, State: 1},
		"list":              make(anys, 8<<20), "ints": make([]int, 8<<20), "structs": make([]node, 8<<20), "dict": keys,
		"keys": dict{large: 1}, "int": new(big.Int).Lsh(big.NewInt(1), 64<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		text := python.Repr(value, 1024)
		runtime.ReadMemStats(&after)
		assert.LessOrEqual(t, len(text), 1024)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), name)
	}
	first, _, _ := strings.Cut(python.Repr(keys, 1024), ":")
	assert.Equal(t, "{'key0'", first)
}

func BenchmarkRepr(b *testing.B) {
	args := tuple{"order-1", 12, dict{"a": anys{1.5, nil, true}, "b": "text"}}
	b.ReportAllocs()
	for b.Loop() {
		python.Repr(args, 1024)
	}
}

// grower makes a value of bytes; parts of it may be shared or inside
// themselves.
type grower struct {
	data []byte
	made []any
}

func (g *grower) next() byte {
	if len(g.data) == 0 {
		return 0
	}
	c := g.data[0]
	g.data = g.data[1:]
	return c
}

func (g *grower) text() string {
	n := min(int(g.next()), len(g.data))
	s := string(g.data[:n])
	g.data = g.data[n:]
	return s
}

func (g *grower) items(depth int) anys {
	items := make(anys, g.next()%6)
	g.made = append(g.made, items)
	for i := range items {
		items[i] = g.value(depth + 1)
	}
	return items
}

func (g *grower) pairs(depth int) pairs {
	var out pairs
	for range g.next() % 4 {
		out = append(out, python.Pair{Key: g.value(depth + 1), Value: g.value(depth + 1)})
	}
	return out
}

func (g *grower) dict(depth int) dict {
	m := dict{}
	g.made = append(g.made, m)
	for range g.next() % 4 {
		m[g.text()] = g.value(depth + 1)
	}
	return m
}

func (g *grower) value(depth int) any {
	kind := g.next()
	if depth > 40 {
		kind %= 12
	}
	switch kind % 24 {
	case 1:
		return kind > 100
	case 2:
		return int64(g.next()) - 100
	case 3:
		return math.Float64frombits(uint64(g.next())<<56 | uint64(g.next())<<48)
	case 4, 5:
		return g.text()
	case 6:
		return []byte(g.text())
	case 7:
		return new(big.Int).SetBytes([]byte(g.text()))
	case 8:
		return time.Unix(int64(g.next())<<32, int64(g.next())<<10).In(time.FixedZone("", int(g.next())*100-9000))
	case 9:
		return python.Timedelta{Days: int64(g.next()) - 9, Seconds: int64(g.next())}
	case 10:
		return python.Decimal(g.text())
	case 11:
		return python.Class{Module: g.text(), Name: g.text()}
	case 12, 13:
		return g.items(depth)
	case 14:
		return tuple(g.items(depth))
	case 15:
		return &python.Set{Items: g.items(depth), Frozen: kind > 100}
	case 16, 17:
		return g.dict(depth)
	case 18:
		return g.pairs(depth)
	case 19:
		return &python.Object{Class: python.Class{Module: g.text(), Name: g.text()}, Args: tuple(g.items(depth)),
			Kwargs: g.dict(depth), State: g.next(), Items: g.items(depth), Pairs: g.pairs(depth)}
	case 20:
		return python.Envelope{Type: g.text(), Value: g.value(depth + 1)}
	case 21, 22:
		if len(g.made) > 0 {
			return g.made[int(g.next())%len(g.made)]
		}
	case 23:
		return []string{g.text(), g.text()}
	}
	return nil
}

func FuzzRepr(f *testing.F) {
	f.Add([]byte("\x0c\x03\x02\x05\x04\x03a'b\x10\x02\x01k\x15\x00"), 20)
	f.Add([]byte("\x13\x01m\x01N\x02\x04\x02\xff\n\x01\x01\x01a\x02\x05"), 1024)
	f.Add([]byte("\x0c\x02\x15\x00\x15\x00"), 7)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		value := (&grower{data: data}).value(0)
		limit = limit&2047 + 1
		whole, got := python.Repr(value, 1<<26), python.Repr(value, limit)
		switch {
		case len(whole) <= limit && got != whole:
			t.Fatalf("cut though it fits %d bytes: %s, not %s", limit, got, whole)
		case len(got) > limit:
			t.Fatalf("%d bytes, not %d: %s", len(got), limit, got)
		case !utf8.ValidString(got):
			t.Fatalf("not UTF-8: %q", got)
		case strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }):
			t.Fatalf("unprintable: %q", got)
		}
	})
}
