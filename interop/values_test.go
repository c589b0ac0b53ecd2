package interop_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

// value is one result in both languages: what Go stores reads in Python as
// the Python source evaluates, and the other way round.
type value struct {
	name   string
	in     any    // Go
	source string // Python

	// What a reader gets where that is something else.
	read  any    // Go of Python's
	reads string // Python of Go's
}

var moment = time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.UTC)

// invoice is a result of a program's own type.
type invoice struct {
	Number int            `json:"number"`
	Paid   time.Time      `json:"paid"`
	Total  python.Decimal `json:"total"`
}

// values are of every kind that JSON holds as kombu writes it. The entries of a
// mapping are in the order of their keys, in which Go writes a map.
var values = []value{
	{name: "none", in: nil, source: "None"},
	{name: "true", in: true, source: "True"},
	{name: "false", in: false, source: "False"},
	{name: "zero", in: 0, source: "0"},
	{name: "int", in: 5, source: "5"},
	{name: "negative", in: -5, source: "-5"},
	{name: "largest int64", in: math.MaxInt64, source: "9223372036854775807"},
	{name: "smallest int64", in: math.MinInt64, source: "-9223372036854775808"},
	{name: "largest uint64", in: uint64(math.MaxUint64), source: "18446744073709551615"},
	{name: "big int", in: new(big.Int).Lsh(big.NewInt(1), 100), source: "1267650600228229401496703205376"},
	{name: "negative big int", in: new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 100)), source: "-1267650600228229401496703205376"},
	{name: "float", in: 0.1, source: "0.1"},
	{name: "sum of floats", in: math.Float64frombits(0x3fd3333333333334), source: "0.30000000000000004"},
	{name: "whole float", in: 3.0, source: "3.0"},
	{name: "negative zero", in: math.Copysign(0, -1), source: "-0.0"},
	{name: "small float", in: 1e-7, source: "1e-07"},
	{name: "large float", in: 1e16, source: "1e+16"},
	{name: "largest float", in: math.MaxFloat64, source: "1.7976931348623157e+308"},
	{name: "nan", in: math.NaN(), source: "nan"},
	{name: "infinity", in: math.Inf(1), source: "inf"},
	{name: "negative infinity", in: math.Inf(-1), source: "-inf"},
	{name: "empty text", in: "", source: "''"},
	{name: "text", in: "héllo wörld 🎉", source: "'héllo wörld 🎉'"},
	{name: "text with control bytes", in: "a\x00b\"\\\n\u2028</script>", source: `'a\x00b"\\\n\u2028</script>'`},
	{name: "text that is a number", in: "5", source: "'5'"},
	{name: "long text", in: strings.Repeat("x", 100_000), source: "'x' * 100_000"},
	{name: "bytes", in: []byte("plain"), source: "b'plain'"},
	{name: "binary", in: []byte{0, 0xff, 0xfe}, source: `b'\x00\xff\xfe'`},
	{name: "empty bytes", in: []byte{}, source: "b''"},
	{name: "list", in: []int{1, 2, 3}, source: "[1, 2, 3]"},
	{name: "mixed list", in: []any{1, "two", 3.5, nil, []any{true, map[string]any{}}}, source: "[1, 'two', 3.5, None, [True, {}]]"},
	{name: "empty list", in: []string{}, source: "[]"},
	{name: "empty dict", in: map[string]int{}, source: "{}"},
	{name: "dict", in: map[string]any{"a": 1, "nested": map[string]any{"b": []int{1, 2, 3}}}, source: "{'a': 1, 'nested': {'b': [1, 2, 3]}}"},
	{name: "deep", in: []any{[]any{[]any{[]any{map[string]any{"a": []any{map[string]any{"b": nil}}}}}}}, source: "[[[[{'a': [{'b': None}]}]]]]"},
	{
		name: "struct", in: invoice{7, moment, "1.50"},
		source: "{'number': 7, 'paid': datetime.datetime(2026, 11, 21, 8, 30, 15, 123456, tzinfo=datetime.timezone.utc), 'total': Decimal('1.50')}",
		read:   map[string]any{"number": 7, "paid": moment, "total": python.Decimal("1.50")},
	},
	{name: "tuple", in: python.Tuple{1, "two", 3.0}, source: "(1, 'two', 3.0)", read: []any{1, "two", 3.0}, reads: "[1, 'two', 3.0]"},
	{name: "datetime", in: moment, source: "datetime.datetime(2026, 11, 21, 8, 30, 15, 123456, tzinfo=datetime.timezone.utc)"},
	{
		name: "datetime with an offset", in: moment.In(time.FixedZone("", -5*3600-1800)),
		source: "datetime.datetime(2026, 11, 21, 3, 0, 15, 123456, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=66600)))",
	},
	{name: "naive datetime", in: python.DateTime{Time: moment.Truncate(time.Second)}, source: "datetime.datetime(2026, 11, 21, 8, 30, 15)"},
	{name: "date", in: python.Date{Year: 2026, Month: time.February, Day: 28}, source: "datetime.date(2026, 2, 28)"},
	{name: "time", in: python.Time{Hour: 23, Minute: 59, Second: 59, Microsecond: 5}, source: "datetime.time(23, 59, 59, 5)"},
	{name: "decimal", in: python.Decimal("12345678901234567890.0000000001"), source: "Decimal('12345678901234567890.0000000001')"},
	{name: "decimal with an exponent", in: python.Decimal("1.5E+3"), source: "Decimal('1.5E+3')"},
	{
		name: "uuid", in: python.UUID{0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78, 0x12, 0x34, 0x56, 0x78},
		source: "UUID('12345678-1234-5678-1234-567812345678')",
	},
	{name: "typed values in a dict", in: map[string]any{"b": []byte{0xff}, "d": python.Decimal("0.10"), "t": []any{moment}},
		source: `{'b': b'\xff', 'd': Decimal('0.10'), 't': [datetime.datetime(2026, 11, 21, 8, 30, 15, 123456, tzinfo=datetime.timezone.utc)]}`},
}

// pickled are values that pickle holds and JSON does not.
var pickled = []value{
	{name: "tuple", in: python.Tuple{1, "two", 3.0}, source: "(1, 'two', 3.0)"},
	{name: "timedelta", in: 90 * time.Second, source: "datetime.timedelta(seconds=90)"},
	{name: "negative timedelta", in: -time.Second, source: "datetime.timedelta(days=-1, seconds=86399)"},
	{name: "set", in: &python.Set{Items: []any{1}}, source: "{1}"},
	{name: "frozenset", in: &python.Set{Items: []any{"a"}, Frozen: true}, source: "frozenset({'a'})"},
	{name: "complex", in: complex(1, -2), source: "(1-2j)"},
	{name: "dict with other keys", in: python.Dict{{Key: 1, Value: "one"}, {Key: python.Tuple{1, 2}, Value: nil}}, source: "{1: 'one', (1, 2): None}"},
}

func readsValuesOfGo(t *testing.T, p *pair)     { p.readsValues(t, values) }
func readsValuesOfPython(t *testing.T, p *pair) { p.readsPythonValues(t, values) }

// evaluated is a Python value.
type evaluated struct {
	Canon any
	Repr  string
}

func (p *pair) readsValues(t *testing.T, values []value) {
	for _, v := range values {
		id := "go-value " + v.name
		if err := p.app.MarkAsDone(t.Context(), &celeryresults.Request{ID: id}, v.in); !assert.NoError(t, err, v.name) {
			continue
		}
		source := v.source
		if v.reads != "" {
			source = v.reads
		}
		want := ask[evaluated](t, p.project, "evaluate", arguments{"value": source})
		got := p.read(t, id)
		assert.Equal(t, "SUCCESS", got.State, v.name)
		assert.Equal(t, shortened(want.Repr), shortened(got.Repr), v.name)
		assert.Equal(t, want.Canon, got.Canon, v.name)
		assert.Nil(t, got.Raised, v.name)
	}
}

func (p *pair) readsPythonValues(t *testing.T, values []value) {
	for _, v := range values {
		id := "python-value " + v.name
		p.do(t, "store", arguments{"id": id, "state": "SUCCESS", "value": v.source})
		want := v.in
		if v.read != nil {
			want = v.read
		}
		tree, err := python.Plain(want)
		require.NoError(t, err, v.name)
		meta := p.meta(t, id)
		assert.Equal(t, celeryresults.Success, meta.State, v.name)
		got, err := meta.Result.Any()
		require.NoError(t, err, v.name)
		assert.Equal(t, fmt.Sprintf("%T", tree), fmt.Sprintf("%T", got), v.name)
		assert.Equal(t, shortened(string(python.JSON(nil, tree))), shortened(string(python.JSON(nil, got))), v.name)
	}
}

// shortened cuts text for messages, and keeps its length.
func shortened(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
}
