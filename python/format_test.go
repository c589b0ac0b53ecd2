package python_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

// answers has Python evaluate an expression for each of the inputs, which it
// sees as the text s.
func answers(t *testing.T, expression string, inputs []string) []string {
	t.Helper()
	script := `
import sys, struct, uuid
from datetime import *
from decimal import Decimal
def answer(s):
    try:
        return ` + expression + `
    except Exception:
        return "error"
for line in sys.stdin:
    print(answer(line.rstrip("\n")))
`
	cmd := exec.CommandContext(t.Context(), "python3", "-c", script)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(strings.Join(inputs, "\n")+"\n"), &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "python3: %s", &stderr)
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	require.Len(t, lines, len(inputs))
	return lines
}

func randomFloats(n int) []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	floats := []float64{0, math.Copysign(0, -1), 1, 0.1, 1e16, 9999999999999998, 1e-4, 0.00009999, 1e22, 1e23, 5e-324,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1), 1 << 53, 123456789012345680}
	for len(floats) < n {
		floats = append(floats, math.Float64frombits(r.Uint64()), math.Pow10(r.IntN(40)-20)*float64(r.IntN(1000)),
			float64(r.Int64()>>r.IntN(60)), r.NormFloat64())
	}
	return floats
}

func TestAppendFloatWritesWhatReprWrites(t *testing.T) {
	floats := randomFloats(10_000)
	var inputs []string
	for _, f := range floats {
		inputs = append(inputs, fmt.Sprintf("%016x", math.Float64bits(f)))
	}
	for i, want := range answers(t, `repr(struct.unpack(">d", bytes.fromhex(s))[0])`, inputs) {
		assert.Equal(t, want, string(python.AppendFloat([]byte{}, floats[i])), "%x", floats[i])
	}
}

func TestJSONWritesComplexNumbersAsPythonDoes(t *testing.T) {
	parts := []float64{0, math.Copysign(0, -1), 1, -1.5, 1e16, math.NaN(), math.Inf(1), math.Inf(-1)}
	var inputs []string
	var numbers []complex128
	for _, re := range parts {
		for _, im := range parts {
			numbers = append(numbers, complex(re, im))
			inputs = append(inputs, fmt.Sprintf("%016x%016x", math.Float64bits(re), math.Float64bits(im)))
		}
	}
	for i, want := range answers(t, `str(complex(*struct.unpack(">dd", bytes.fromhex(s))))`, inputs) {
		assert.Equal(t, `"`+want+`"`, string(python.JSON(nil, numbers[i])))
	}
}

func TestParseISOReadsWhatPythonReads(t *testing.T) {
	inputs := []string{
		"2026-11-21T08:30:15.123456+00:00", "2026-11-21T08:30:15", "2026-11-21 08:30:15", "2026-11-21T08:30", "2026-11-21T08", "2026-11-21",
		"2026-11-21T08:30:15Z", "2026-11-21T08:30:15.1", "2026-11-21T08:30:15.1234567", "2026-11-21T08:30:15,5", "2026-11-21T08:30:15-23:59:59",
		"2026-11-21T08:30:15+0130", "2026-11-21T08:30:15+01", "2026-11-21T08:30+05:30", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999",
		"2024-02-29T00:00:00", "2026-02-29T00:00:00", "2026-13-01", "2026-00-01", "2026-01-00", "2026-01-32", "0000-01-01", "2026-11-21T",
		"2026-11-21T24:00:00", "2026-11-21T08:60:00", "2026-11-21T08:30:60", "2026-11-21T8:30", "2026-11-21T08:30:", "2026-11-21T08:30:15.",
		"2026-11-21T08:30:15+", "2026-11-21T08:30:15+24:00", "2026-11-21T08:30:15z+", "", "yesterday", "2026/11/21",
		"2026-11-21T08:30:15.5Z", "-026-11-21", "+026-11-21", "2026-11-21T-8:30", "2026-11-21T08:30:15++1:00",
	}
	for i, want := range answers(t, `datetime.fromisoformat(s).isoformat()`, inputs) {
		got := "error"
		if at, aware, err := python.ParseISO(inputs[i]); err == nil && aware {
			got = string(python.AppendISO(nil, at))
		} else if err == nil {
			got = python.DateTime{Time: at}.String()
		}
		assert.Equal(t, want, got, "%q", inputs[i])
	}
}

func TestParseTimeReadsWhatPythonReads(t *testing.T) {
	inputs := []string{
		"23:59:59.000005", "23:59", "23", "T23:59", "01:02:03+02:00", "01:02:03Z", "01:02:03-00:30", "24:00", "1:02", "", "T", "01:02:03.",
		"01:02:03.1234567", "01:02:03+", "01:02:03 ", "noon",
	}
	for i, want := range answers(t, `time.fromisoformat(s).isoformat()`, inputs) {
		got := "error"
		if v, err := python.ParseTime(inputs[i]); err == nil {
			got = v.String()
		}
		assert.Equal(t, want, got, "%q", inputs[i])
	}
}

func TestParseUUIDReadsWhatPythonReads(t *testing.T) {
	inputs := []string{
		"12345678-1234-5678-1234-567812345678", "12345678123456781234567812345678", "{12345678-1234-5678-1234-567812345678}",
		"urn:uuid:12345678-1234-5678-1234-567812345678", "ABCDEF78-1234-5678-1234-567812345678", "1234", "", "x2345678-1234-5678-1234-567812345678",
		"1-2345678-1234-5678-1234567812345678",
	}
	for i, want := range answers(t, `str(uuid.UUID(s))`, inputs) {
		got := "error"
		if id, err := python.ParseUUID(inputs[i]); err == nil {
			got = id.String()
		}
		assert.Equal(t, want, got, "%q", inputs[i])
	}
}

func TestParseDecimalAcceptsWhatPythonAccepts(t *testing.T) {
	inputs := []string{
		"1", "-1.50", "+.5", "5.", "1E+3", "1e-3", "1e3", "NaN", "nan123", "sNaN", "-Infinity", "inf", "inf1", "infinity2", "", "+", ".", "1.2.3",
		"1e", "e5", "--1", "+-1", "1e++5", "one", "0x10", "1.5e1.5",
	}
	for i, want := range answers(t, `("ok", Decimal(s))[0]`, inputs) {
		got := "ok"
		if _, err := python.ParseDecimal(inputs[i]); err != nil {
			got = "error"
		}
		assert.Equal(t, want, got, "%q", inputs[i])
	}
}

func TestTimedeltaAgreesWithPython(t *testing.T) {
	deltas := []python.Timedelta{
		{}, {Days: 1, Seconds: 2, Microseconds: 500000}, {Days: -1, Seconds: 86399, Microseconds: 999999}, {Days: 999999999, Seconds: 86399, Microseconds: 999999},
		{Days: -999999999}, {Microseconds: 1}, {Days: 104249, Seconds: 86399, Microseconds: 999999},
	}
	var inputs []string
	for _, d := range deltas {
		inputs = append(inputs, fmt.Sprintf("%d %d %d", d.Days, d.Seconds, d.Microseconds))
	}
	for i, want := range answers(t, `repr(timedelta(*map(int, s.split())).total_seconds())`, inputs) {
		assert.Equal(t, want, string(python.JSON(nil, deltas[i])), "%+v", deltas[i])
	}
}

func TestTimedeltaDurationHasALimit(t *testing.T) {
	longest := python.TimedeltaOf(math.MaxInt64)
	for _, d := range []time.Duration{0, 1500 * time.Millisecond, -time.Microsecond, math.MaxInt64 / 1000 * 1000, math.MinInt64 / 1000 * 1000} {
		got, ok := python.TimedeltaOf(d).Duration()
		assert.True(t, ok, "%v", d)
		assert.Equal(t, d, got)
	}
	for _, d := range []python.Timedelta{
		{Days: longest.Days, Seconds: longest.Seconds + 1}, {Days: -longest.Days - 2}, {Days: math.MaxInt64}, {Days: math.MinInt64},
	} {
		_, ok := d.Duration()
		assert.False(t, ok, "%+v", d)
	}
}

func TestISOFormsArePythons(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", -(5*3600+30*60+15)))
	assert.Equal(t, "2026-01-02T03:04:05-05:30:15", string(python.AppendISO(nil, at)))
	assert.Equal(t, "2026-01-02T03:04:05.000007+00:00", string(python.AppendISO(nil, time.Date(2026, 1, 2, 3, 4, 5, 7999, time.UTC))))
	assert.Equal(t, "0026-01-02", python.Date{Year: 26, Month: 1, Day: 2}.String())
	assert.Equal(t, "12026--1-123", python.Date{Year: 12026, Month: -1, Day: 123}.String())
	assert.Equal(t, "01:02:03.000004+05:30", python.Time{Hour: 1, Minute: 2, Second: 3, Microsecond: 4, Aware: true, Offset: 5*time.Hour + 30*time.Minute}.String())
	assert.Equal(t, time.Date(2026, 2, 28, 0, 0, 0, 0, time.Local), python.Date{Year: 2026, Month: 2, Day: 28}.In(time.Local))
}

func TestNamesOfInertValues(t *testing.T) {
	class := python.Class{Module: "builtins", Name: "ValueError"}
	assert.Equal(t, "builtins.ValueError", class.String())
	assert.Equal(t, "C", python.Class{Name: "C"}.String())
	assert.Equal(t, "<builtins.ValueError with 1 arguments>", (&python.Object{Class: class, Args: python.Tuple{"secret"}}).String())
	text, err := somePython.MarshalText()
	require.NoError(t, err)
	assert.Equal(t, somePython.String(), string(text))
}

func TestDictGetReturnsTheLastValue(t *testing.T) {
	d := python.Dict{{"a", 1}, {2, 2}, {"a", 3}}
	got, ok := d.Get("a")
	assert.True(t, ok)
	assert.Equal(t, 3, got)
	_, ok = d.Get("2")
	assert.False(t, ok)
}

func TestJSONIsPlain(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"None", nil, `null`},
		{"scalars", []any{true, int64(-5), beyondInt64, 1.0, 1e16, "x"}, `[true,-5,1267650600228229401496703205376,1.0,1e+16,"x"]`},
		{"floats that are no numbers", []any{math.NaN(), math.Inf(1), math.Inf(-1)}, `["NaN","Infinity","-Infinity"]`},
		{"text", "é🎉<\"\\\n\r\t\x00\x7f", "\"é🎉<\\\"\\\\\\n\\r\\t\\u0000\x7f\""},
		{"text that is not UTF-8", "a\xffb\xed\xa0\x80", `"a` + "\uFFFDb\uFFFD\uFFFD\uFFFD" + `"`},
		{"bytes", []byte{0, 0xff}, `"AP8="`},
		{"tuples and sets", []any{python.Tuple{}, &python.Set{Items: []any{int64(1)}}}, `[[],[1]]`},
		{"times", []any{someTime, naive, python.Date{Year: 2026, Month: 2, Day: 28}, python.Time{Hour: 1}},
			`["2026-11-21T08:30:15.123456+00:00","2026-11-21T08:30:15.123456","2026-02-28","01:00:00"]`},
		{"a timedelta", python.Timedelta{Days: 1, Seconds: 2, Microseconds: 500000}, `86402.5`},
		{"exact numbers and ids", []any{python.Decimal("1.50"), somePython}, `["1.50","12345678-1234-5678-1234-567812345678"]`},
		{"a class", python.Class{Module: "builtins", Name: "int"}, `"builtins.int"`},
		{"an empty object", &python.Object{Class: python.Class{Module: "m", Name: "C"}}, `{"__class__":"m.C","args":[]}`},
		{"a full object", &python.Object{Args: python.Tuple{int64(1)}, Kwargs: map[string]any{"k": nil}, State: "s", Items: []any{"i"}, Pairs: []python.Pair{{"p", "v"}}},
			`{"__class__":"","args":[1],"kwargs":{"k":null},"state":"s","items":["i"],"pairs":{"p":"v"}}`},
		{"an envelope", python.Envelope{Type: "money", Value: int64(1)}, `{"__type__":"money","__value__":1}`},
		{"map keys in order", map[string]any{"b": nil, "a": nil}, `{"a":null,"b":null}`},
		{"Dict keys as they stand", python.Dict{{"b", nil}, {int64(1), nil}, {1.0, nil}, {true, nil}, {nil, nil}, {python.Tuple{"x", int64(1)}, nil}, {somePython, nil}},
			`{"b":null,"1":null,"1.0":null,"true":null,"null":null,"[\"x\",1]":null,"12345678-1234-5678-1234-567812345678":null}`},
		{"nil containers", []any{[]any(nil), map[string]any(nil), (*python.Set)(nil), (*python.Object)(nil), (*big.Int)(nil), python.Dict(nil), python.Tuple(nil)},
			`[null,null,null,null,null,{},[]]`},
		{"other Go values", []any{point{1, 2}, 5}, `[{"X":1,"Y":2},5]`},
		{"what has no Python form", []any{make(chan int)}, `["python: unsupported value: chan int has no Python form"]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := string(python.JSON([]byte("> "), tt.in))
			assert.Equal(t, "> "+tt.want, got, "JSON(%#v)", tt.in)
			assert.True(t, json.Valid([]byte(got[2:])), got)
		})
	}
}

func TestJSONOfACycleEnds(t *testing.T) {
	cycle := map[string]any{}
	cycle["list"], cycle["self"] = []any{cycle, python.Dict{{"x", cycle}}}, cycle
	got := python.JSON(nil, cycle)
	assert.True(t, json.Valid(got))
	assert.Less(t, len(got), 64<<20)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026-11-21T08:30:15.123456+00:00", "23:59:59.5Z", "{12345678123456781234567812345678}", "-1.5E+3", "NaN1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, _, err := python.ParseISO(s); err == nil {
			again, aware, err := python.ParseISO(string(python.AppendISO(nil, at)))
			if err != nil || !aware || !again.Equal(at) {
				t.Fatalf("%q: %v became %v (%v)", s, at, again, err)
			}
		}
		if v, err := python.ParseTime(s); err == nil {
			if again, err := python.ParseTime(v.String()); err != nil || again != v {
				t.Fatalf("%q: %v became %v (%v)", s, v, again, err)
			}
		}
		if id, err := python.ParseUUID(s); err == nil {
			if again, err := python.ParseUUID(id.String()); err != nil || again != id {
				t.Fatalf("%q: %v became %v (%v)", s, id, again, err)
			}
		}
		_, _ = python.ParseDate(s)
		_, _ = python.ParseDecimal(s)
	})
}
