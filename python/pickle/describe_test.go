package pickle_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the corpus has zones

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
)

// describe says what v is in the words of testdata/corpus.py.
func describe(v any) any {
	switch v := v.(type) {
	case nil:
		return []any{"None"}
	case bool:
		return []any{map[bool]string{true: "True", false: "False"}[v]}
	case int64:
		return []any{"int", fmt.Sprint(v)}
	case *big.Int:
		return []any{"int", v.String()}
	case float64:
		return []any{"float", floatHex(v)}
	case complex128:
		return []any{"complex", floatHex(real(v)), floatHex(imag(v))}
	case string:
		return []any{"str", v}
	case []byte:
		return []any{"bytes", hex.EncodeToString(v)}
	case []any:
		return describeAll("list", v)
	case python.Tuple:
		return describeAll("tuple", v)
	case *python.Set:
		kind := map[bool]string{true: "frozenset", false: "set"}[v.Frozen]
		return sorted(describeAll(kind, v.Items))
	case map[string]any:
		out := []any{"dict"}
		for k, x := range v {
			out = append(out, []any{describe(k), describe(x)})
		}
		return sorted(out)
	case python.Dict:
		return append([]any{"dict"}, describePairs(v)...)
	case time.Time:
		return []any{"datetime", string(python.AppendISO(nil, v))}
	case python.DateTime:
		return []any{"datetime", v.String()}
	case python.Date:
		return []any{"date", v.String()}
	case python.Time:
		return []any{"time", v.String()}
	case python.Timedelta:
		return []any{"timedelta", v.Days, v.Seconds, v.Microseconds}
	case python.Decimal:
		return []any{"Decimal", string(v)}
	case python.UUID:
		return []any{"UUID", v.String()}
	case python.Class:
		return []any{"class", v.String()}
	case *python.Object:
		return []any{
			"object", v.Class.String(), describeAll("", v.Args)[1:],
			describe(notNil(v.Kwargs)), describe(v.State),
			describeAll("", v.Items)[1:], describePairs(v.Pairs),
		}
	}
	panic(fmt.Sprintf("no description of %T", v))
}

func notNil(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

func describeAll(kind string, items []any) []any {
	out := []any{kind}
	for _, item := range items {
		out = append(out, describe(item))
	}
	return out
}

func describePairs(pairs []python.Pair) []any {
	out := []any{}
	for _, p := range pairs {
		out = append(out, []any{describe(p.Key), describe(p.Value)})
	}
	return out
}

// sorted sorts all but the first item.
func sorted(items []any) []any {
	byText := make(map[string]any)
	for _, item := range items[1:] {
		byText[marshal(item)] = item
	}
	for i, text := range slices.Sorted(maps.Keys(byText)) {
		items[i+1] = byText[text]
	}
	return items
}

func floatHex(f float64) string {
	if math.IsNaN(f) {
		return "nan"
	}
	return fmt.Sprintf("%016x", math.Float64bits(f))
}

// marshal returns a description as text, for comparison.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// normal returns a description that Python wrote as marshal writes it.
func normal(t *testing.T, b []byte) string {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return marshal(resorted(v))
}

// resorted sorts dicts with text keys and sets, which Python sorted by another
// spelling of the same text.
func resorted(v any) any {
	items, ok := v.([]any)
	if !ok {
		return v
	}
	for i := range items {
		items[i] = resorted(items[i])
	}
	if len(items) > 0 && (items[0] == "set" || items[0] == "frozenset" || isTextDict(items)) {
		sorted(items)
	}
	return items
}

func isTextDict(items []any) bool {
	if items[0] != "dict" {
		return false
	}
	for _, pair := range items[1:] {
		if pair.([]any)[0].([]any)[0] != "str" {
			return false
		}
	}
	return true
}

// python3 runs a script of testdata and returns what it prints.
func python3(t testing.TB, stdin string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "python3", args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "python3 is needed by these tests: %s", stderr.String())
	return out
}

// readByPython returns Python's description of each pickle.
func readByPython(t *testing.T, pickles [][]byte) []string {
	t.Helper()
	var in strings.Builder
	for _, p := range pickles {
		in.WriteString(base64.StdEncoding.EncodeToString(p) + "\n")
	}
	lines := strings.Split(strings.TrimSpace(string(python3(t, in.String(), "testdata/corpus.py", "describe"))), "\n")
	require.Len(t, lines, len(pickles))
	for i := range lines {
		lines[i] = normal(t, []byte(lines[i]))
	}
	return lines
}
