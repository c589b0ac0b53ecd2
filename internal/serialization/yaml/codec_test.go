package yaml_test

import (
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
	"github.com/celeryresults/celeryresults/python"
)

func TestTagsThatSafeLoadRefusesAreReadAsInertValues(t *testing.T) {
	object := func(class python.Class, args ...any) *python.Object {
		return &python.Object{Class: class, Args: args}
	}
	tests := []struct {
		name, doc string
		want      any
	}{
		{"a tuple", "!!python/tuple [1, [2]]", python.Tuple{int64(1), []any{int64(2)}}},
		{"Python 2 text", "!!python/unicode 'a'", "a"},
		{"a str that looks like a number", "!!python/str 1", "1"},
		{"a long", "!!python/long 12", int64(12)},
		{"a complex", "!!python/complex 1.5-2j", 1.5 - 2i},
		{"bytes", "!!python/bytes aGk=", []byte("hi")},
		{"a list and a dict", "!!python/list [!!python/dict {a: 1}]", []any{map[string]any{"a": int64(1)}}},
		{"a function", "!!python/name:os.system ''", python.Class{Module: "os", Name: "system"}},
		{"a builtin", "!!python/name:print ''", python.Class{Module: "builtins", Name: "print"}},
		{"a module", "!!python/module:os.path ''", python.Class{Module: "os.path"}},
		{"a call", "!!python/object/apply:os.system ['rm -rf /']", object(python.Class{Module: "os", Name: "system"}, "rm -rf /")},
		{
			"a call in parts", "!!python/object/new:a.B {args: [1], kwds: {k: 2}, state: {s: 3}, listitems: [4], dictitems: {5: 6}}",
			&python.Object{
				Class: python.Class{Module: "a", Name: "B"}, Args: python.Tuple{int64(1)}, Kwargs: map[string]any{"k": int64(2)},
				State: map[string]any{"s": int64(3)}, Items: []any{int64(4)}, Pairs: []python.Pair{{Key: int64(5), Value: int64(6)}},
			},
		},
		{
			"an instance", "!!python/object:a.B {x: 1}",
			&python.Object{Class: python.Class{Module: "a", Name: "B"}, State: map[string]any{"x": int64(1)}},
		},
		{"a call without arguments", "!!python/object/apply:a.b ''", object(python.Class{Name: "!!python/object/apply:a.b"}, "")},
		{"a local tag on a scalar", "!money 12", object(python.Class{Name: "!money"}, "12")},
		{"a local tag on a list", "!point [1]", object(python.Class{Name: "!point"}, []any{int64(1)})},
		{"a local tag on a mapping", "!point {x: 1}", object(python.Class{Name: "!point"}, map[string]any{"x": int64(1)})},
		{"a tag of another domain", "!<tag:example.com,2026:t> a", object(python.Class{Name: "tag:example.com,2026:t"}, "a")},
		{"a plain = and <<", "[=, <<]", []any{"=", "<<"}},
		{"a date that does not exist", "2026-13-45", "2026-13-45"},
		{"a tuple as a key", "{!!python/tuple [1]: a}", python.Dict{{Key: python.Tuple{int64(1)}, Value: "a"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := yaml.Codec.Decode([]byte(tt.doc))
			require.NoError(t, err)
			assert.Equal(t, tt.want, v)
		})
	}
}

func TestLoneSurrogatesAreReadAsTheReplacementCharacter(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"one", `"\uD83C"`, "\uFFFD"},
		{"a pair, which is two in Python", `"\uD83C\uDF89"`, "\uFFFD\uFFFD"},
		{"eight digits in lower case", `"a \U0000dc80 b"`, "a \uFFFD b"},
		{"text that only looks like one", `'\uD83C'`, `\uD83C`},
		{"both", "\"\\uD83C \\\\uD83C\"", "\uFFFD \\uD83C"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := yaml.Codec.Decode([]byte("é: 1\nk: " + tt.doc + "\n"))
			require.NoError(t, err)
			assert.Equal(t, tt.want, v.(map[string]any)["k"])
		})
	}
	for _, doc := range []string{`"\uD83"`, `"\uD83`, `"\U00110000"`, `"\U1234D83C"`} {
		_, err := yaml.Codec.Decode([]byte(doc))
		assert.Error(t, err, doc)
	}
}

func TestDecodeKeepsOffsets(t *testing.T) {
	v, err := yaml.Codec.Decode([]byte("2026-11-21 08:30:15.5 +05:30"))
	require.NoError(t, err)
	got := v.(time.Time)
	_, offset := got.Zone()
	assert.Equal(t, 5*3600+30*60, offset)
	assert.True(t, got.Equal(time.Date(2026, 11, 21, 3, 0, 15, 5e8, time.UTC)), got)
}

func TestDictKeysKeepTheirFirstPositionAndTheirLastValue(t *testing.T) {
	v, err := yaml.Codec.Decode([]byte("{1: a, b: c, 1.0: d, true: e}"))
	require.NoError(t, err)
	assert.Equal(t, python.Dict{{Key: int64(1), Value: "e"}, {Key: "b", Value: "c"}}, v)
}

func TestAnAliasIsDecodedIntoItsOwnValue(t *testing.T) {
	v, err := yaml.Codec.Decode([]byte("[&a {k: 1}, *a]"))
	require.NoError(t, err)
	items := v.([]any)
	items[0].(map[string]any)["k"] = int64(2)
	assert.Equal(t, map[string]any{"k": int64(1)}, items[1])
}

func TestFieldsResolveMergeKeysAndAliases(t *testing.T) {
	fields, err := yaml.Codec.Fields(nil, []byte("a: &a {x: 1}\n<<: *a\nb: *a\n=: 2\n"))
	require.NoError(t, err)
	got := map[string]any{}
	for _, field := range fields {
		got[field.Name], err = field.Value.Decode()
		require.NoError(t, err)
	}
	x := map[string]any{"x": int64(1)}
	assert.Equal(t, map[string]any{"x": int64(1), "a": x, "b": x, "=": int64(2)}, got)
}

func TestFieldsRefuseWhatIsNotAMappingWithTextKeys(t *testing.T) {
	for _, doc := range []string{"", "a", "[a]", "{1: a}", "{[a]: b}", "a: [", "a: 1\n---\nb: 2\n"} {
		var syntax *serialization.SyntaxError
		_, err := yaml.Codec.Fields(nil, []byte(doc))
		assert.ErrorAs(t, err, &syntax, doc)
	}
}

func TestFieldsBeforeABadKeyAreReturned(t *testing.T) {
	fields, err := yaml.Codec.Fields(nil, []byte("{a: 1, 2: b, c: 3}"))
	require.Error(t, err)
	require.Len(t, fields, 1)
	assert.Equal(t, "a", fields[0].Name)
}

func TestAValueOfAnotherCodecIsRefused(t *testing.T) {
	_, err := yaml.Codec.Resolve(serialization.Value{Codec: yaml.Codec, Data: []byte("a")})
	assert.Error(t, err)
}

func TestFieldsMayBeDecodedConcurrently(t *testing.T) {
	fields, err := yaml.Codec.Fields(nil, []byte("a: &a [1, {b: 2}]\nc: *a\nd: {<<: {e: 3}, f: *a}\n"))
	require.NoError(t, err)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, field := range fields {
				_, err := field.Value.Decode()
				assert.NoError(t, err)
			}
		})
	}
	group.Wait()
}

func TestSyntaxErrorsSayWhere(t *testing.T) {
	tests := []struct {
		name, doc string
		offset    int
	}{
		{"an open list", "a: [1,", 6},
		{"a second document", "é\n---\nb\n", 3},
		{"an alias to nothing", "é: 1\nb: *x\n", 9},
		{"base64 that is cut off", "é: 1\nb: !!binary a\n", 9},
		{"a value that contains itself", "- é\n- &a [*a]", 11},
		{"a list as a key", "b: {[a]: 1}", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var syntax *serialization.SyntaxError
			_, err := yaml.Codec.Decode([]byte(tt.doc))
			require.ErrorAs(t, err, &syntax)
			assert.Equal(t, "yaml", syntax.Format)
			assert.Equal(t, tt.offset, syntax.Offset, err)
		})
	}
}

func TestAppendTakesOrdinaryGoValues(t *testing.T) {
	type point struct {
		X int `json:"x"`
	}
	zone := time.FixedZone("", 5*3600+53*60+28)
	tests := []struct {
		name string
		v    any
		want string
	}{
		{"an int", 7, "7\n"},
		{"an unsigned integer", uint64(1<<64 - 1), "18446744073709551615\n"},
		{"a big integer", new(big.Int).Lsh(big.NewInt(1), 100), "1267650600228229401496703205376\n"},
		{"a struct", point{1}, "x: 1\n"},
		{"a pointer", &point{1}, "x: 1\n"},
		{"typed slices", []int{1, 2}, "- 1\n- 2\n"},
		{"a typed map", map[string][]string{"b": {"x"}, "a": nil}, "a: null\nb:\n  - x\n"},
		{"a tuple", python.Tuple{1, nil}, "- 1\n- null\n"},
		{"an empty tuple and dict", []any{python.Tuple(nil), python.Dict(nil)}, "- []\n- {}\n"},
		{"nil maps and slices", []any{map[string]any(nil), []any(nil), []byte(nil)}, "- null\n- null\n- null\n"},
		{"a dict keeps its order", python.Dict{{Key: "b", Value: 1}, {Key: "a", Value: 2}}, "b: 1\na: 2\n"},
		{"a dict with a key twice", python.Dict{{Key: "a", Value: 1}, {Key: "a", Value: 2}}, "a: 1\na: 2\n"},
		{"a dict without an order", python.Dict{{Key: "b", Value: 1}, {Key: 1, Value: 2}}, "b: 1\n1: 2\n"},
		{"a set", &python.Set{Items: []any{"b", "a"}}, "!!set\nb: null\na: null\n"},
		{"a value", serialization.Value{Node: []any{true}}, "- true\n"},
		{"the zero value", serialization.Value{}, "null\n"},
		{"an offset with seconds", time.Date(2026, 1, 1, 5, 53, 28, 0, zone), "2026-01-01T00:00:00+00:00\n"},
		{"nanoseconds are cut", time.Date(2026, 1, 1, 0, 0, 0, 1999, time.UTC), "2026-01-01T00:00:00.000001+00:00\n"},
		{"text that is not UTF-8", "a\xff", "\"a\\ufffd\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, err := yaml.Codec.Append(nil, tt.v)
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(out))
		})
	}
}

func TestAppendRefusesWhatSafeDumpRefusesAndNamesTheType(t *testing.T) {
	tests := []struct {
		v    any
		name string
	}{
		{python.Decimal("1.5"), "Decimal"},
		{python.UUID{1}, "UUID"},
		{python.Timedelta{Days: 1}, "Timedelta"},
		{time.Second, "Timedelta"},
		{python.Time{Hour: 1}, "Time"},
		{1 + 2i, "complex"},
		{&python.Set{Frozen: true}, "frozenset"},
		{&python.Object{}, "Object"},
		{python.Class{Name: "a"}, "Class"},
		{python.Envelope{Type: "a"}, "Envelope"},
		{make(chan int), "chan int"},
		{func() {}, "func()"},
		{python.Dict{{Key: python.Tuple{1}, Value: 1}}, "Tuple as a key"},
		{python.Date{Year: 10000, Month: 1, Day: 1}, "year 10000"},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), "year 0"},
	}
	for _, tt := range tests {
		for _, v := range []any{tt.v, map[string]any{"k": []any{tt.v}}} {
			out, err := yaml.Codec.Append([]byte("kept"), v)
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
	for name, v := range map[string]any{
		"a cycle":                      cycle,
		"a list that shares its items": wide,
		"an integer of 5000 digits":    new(big.Int).Exp(big.NewInt(10), big.NewInt(5000), nil),
	} {
		_, err := yaml.Codec.Append(nil, v)
		assert.ErrorIs(t, err, serialization.ErrLimit, name)
	}
}

func TestTheDeepestValueThatIsWrittenIsReadBack(t *testing.T) {
	v := any("end")
	for range serialization.MaxDepth {
		v = []any{v}
	}
	out, err := yaml.Codec.Append(nil, v)
	require.NoError(t, err)
	again, err := yaml.Codec.Decode(out)
	require.NoError(t, err)
	assert.Equal(t, v, again)

	_, err = yaml.Codec.Append(nil, []any{v})
	require.ErrorIs(t, err, serialization.ErrLimit)
	_, err = yaml.Codec.Decode([]byte(strings.Repeat("- ", serialization.MaxDepth+1) + "end"))
	require.ErrorIs(t, err, serialization.ErrLimit)
}
