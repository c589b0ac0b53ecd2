package yaml_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
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

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/python"
)

// pythonWithYAML returns a python that has PyYAML: python3, or else that of the
// interoperability tests, which is installed when it is missing. Without one it
// skips the test, or fails it when CELERYRESULTS_TEST_REQUIRE has python.
func pythonWithYAML(t *testing.T) string {
	t.Helper()
	if exec.CommandContext(t.Context(), "python3", "-c", "import yaml").Run() == nil {
		return "python3"
	}
	var problem bytes.Buffer
	install := exec.CommandContext(t.Context(), "sh", "../../../scripts/interop-venv.sh")
	install.Stderr = &problem
	path, err := install.Output()
	switch {
	case err == nil:
		return strings.TrimSpace(string(path))
	case (&testserver.Service{Name: "python"}).Required():
		t.Fatalf("python with PyYAML is required: %v: %s", err, &problem)
	default:
		t.Skipf("no python with PyYAML: %v: %s", err, &problem)
	}
	return ""
}

// readByPython returns what PyYAML's safe_load reads from documents, in the
// form that typed returns.
func readByPython(t *testing.T, docs [][]byte) []string {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, doc := range docs {
		in.WriteString(base64.StdEncoding.EncodeToString(doc) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), pythonWithYAML(t), "testdata/golden.py", "read")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "python: %s", &stderr)
	var answers []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var answer struct {
			Value json.RawMessage
			Error string
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &answer))
		if answer.Error != "" {
			answers = append(answers, answer.Error)
			continue
		}
		answers = append(answers, canonical(t, answer.Value))
	}
	require.Len(t, answers, len(docs))
	return answers
}

// requireReadEqual checks that PyYAML and this package read what is written of
// values as those values.
func requireReadEqual(t *testing.T, values []any) {
	t.Helper()
	docs, want := make([][]byte, len(values)), make([]string, len(values))
	for i, v := range values {
		out, err := yaml.Codec.Append([]byte("kept"), v)
		require.NoError(t, err, "%#v", v)
		docs[i] = bytes.TrimPrefix(out, []byte("kept"))
		want[i] = typed(asRead(v))
		again, err := yaml.Codec.Decode(docs[i])
		require.NoError(t, err, string(docs[i]))
		assert.Equal(t, want[i], typed(again), "read by Go: %s", docs[i])
	}
	for i, got := range readByPython(t, docs) {
		assert.Equal(t, want[i], got, "read by Python: %s", docs[i])
	}
}

// asRead returns v as a reader makes it of what is written: tuples are lists,
// an offset has no seconds and text is UTF-8.
func asRead(v any) any {
	switch v := v.(type) {
	case string:
		return strings.ToValidUTF8(v, "\uFFFD")
	case time.Time:
		if _, offset := v.Zone(); offset%60 != 0 {
			return v.UTC()
		}
	case python.Tuple:
		return asRead([]any(v))
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			items[i] = asRead(item)
		}
		return items
	case map[string]any:
		entries := make(map[string]any, len(v))
		for key, value := range v {
			entries[strings.ToValidUTF8(key, "\uFFFD")] = asRead(value)
		}
		return entries
	case python.Dict:
		dict := make(python.Dict, len(v))
		for i, pair := range v {
			dict[i] = python.Pair{Key: asRead(pair.Key), Value: asRead(pair.Value)}
		}
		return dict
	}
	return v
}

func TestWhatPyYAMLReadsIsWrittenSoThatItReadsEqual(t *testing.T) {
	var values []any
	for _, g := range readGolden(t, "testdata/golden.jsonl") {
		if g.Error != "" {
			continue
		}
		v, err := yaml.Codec.Decode([]byte(g.YAML))
		require.NoError(t, err, g.YAML)
		values = append(values, v)
	}
	require.Greater(t, len(values), 1000)
	requireReadEqual(t, values)
}

func TestRecordedDocumentsAreWrittenSoThatTheyReadEqual(t *testing.T) {
	var values []any
	for _, r := range readRecords(t, "testdata/redis-yaml.jsonl") {
		v, err := yaml.Codec.Decode(r.Store.Value)
		require.NoError(t, err, r.Case)
		values = append(values, v)
		out, err := yaml.Codec.Append(nil, v)
		require.NoError(t, err, r.Case)
		// A script in Redis finds the state by its line, and knows documents by their first key.
		assert.Regexp(t, `^(?:[a-z_]+:.*\n(?:  .*\n)*)+$`, string(out), r.Case)
		if status, ok := v.(map[string]any)["status"]; ok {
			assert.Contains(t, "\n"+string(out), fmt.Sprintf("\nstatus: %s\n", status), r.Case)
		}
	}
	require.Len(t, values, 37)
	requireReadEqual(t, values)
}

func TestRandomValuesAreWrittenSoThatTheyReadEqual(t *testing.T) {
	r := rand.New(rand.NewPCG(20261121, 1))
	values := make([]any, 2000)
	for i := range values {
		values[i] = randomTree(r, 5)
	}
	requireReadEqual(t, values)
}

func TestKeysOfEveryLengthAndTypeAreReadEqual(t *testing.T) {
	var values []any
	for _, n := range []int{0, 1, 127, 128, 998, 999, 1000, 1001, 1023, 1024, 1025, 5000} {
		for _, letter := range []string{"x", "'", " ", "\u00e9", "\n"} {
			key := strings.Repeat(letter, n)
			values = append(values,
				map[string]any{key: key},
				[]any{[]any{map[string]any{key: []any{map[string]any{key: []any{1.5, key}, key + "1": map[string]any{}}}}}},
				map[string]any{key: map[string]any{key: &python.Set{Items: []any{key}}}},
			)
		}
		values = append(values, python.Dict{{Key: bytes.Repeat([]byte{1}, n), Value: python.Tuple{}}})
	}
	for _, key := range []any{nil, true, int64(1), 1e16, math.Inf(-1), python.Date{Year: 1, Month: 2, Day: 3}, time.Unix(0, 0).UTC()} {
		values = append(values, python.Dict{{Key: key, Value: key}, {Key: "a", Value: []any{python.Dict{{Key: key, Value: &python.Set{}}}}}})
	}
	requireReadEqual(t, values)
}

func TestEveryShortTextAndEveryCharacterIsReadEqual(t *testing.T) {
	alphabet := strings.Split("ayNe019._-+:=<~!#&*?|>%@`'\"\\/,[]{} \t\n\r\u0085\u2028\ufeff\U0001f389\xff", "")
	var values []any
	for _, a := range alphabet {
		var row []any
		for _, b := range alphabet {
			row = append(row, a+b, map[string]any{a + b: a + b})
			for _, c := range alphabet {
				row = append(row, a+b+c)
			}
		}
		values = append(values, a, row)
	}
	for block := rune(0); block < 0x11000; block += 0x100 {
		var text strings.Builder
		for c := block; c < block+0x100; c++ {
			text.WriteRune(c)
		}
		values = append(values, text.String())
	}
	requireReadEqual(t, values)
}

var pieces = []string{
	" ", "  ", "\n", "'", `"`, ":", ": ", "#", " #", "-", "- ", "a", "b", "word ", "é", "\t", "\u0085", "\u2028", "\u2029", "\ufeff", "🎉",
	`\`, "\r", "\x00", "\x7f", "\x9f", "\uffff", "12", ".", ",", "[", "]", "{", "!", "%", "---", "...", "<<", "=", "yes", "null", "~", "e", "+",
	"0x", "_", "2026-11-21", "T08:30:15", "?", "|", ">", "&a", "*a", "\xed\xa0\x80", "\xff", strings.Repeat("x", 90),
}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN([]int{2, 3, 5, 40}[r.IntN(4)]) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func randomScalar(r *rand.Rand) any {
	switch r.IntN(12) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return r.Int64() >> r.IntN(64) * int64(1-2*r.IntN(2))
	case 3:
		return new(big.Int).Lsh(big.NewInt(r.Int64()-math.MaxInt64/2), uint(64+r.IntN(500)))
	case 4:
		return math.Float64frombits(r.Uint64())
	case 5:
		return float64(r.IntN(2000)-1000) * math.Pow10(r.IntN(40)-20)
	case 6:
		return bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(200))
	case 7:
		return randomTime(r)
	}
	return randomText(r)
}

func randomTime(r *rand.Rand) any {
	at := time.Unix(r.Int64N(200_000_000_000)-50_000_000_000, r.Int64N(1_000_000)*1000).UTC()
	switch r.IntN(4) {
	case 0:
		return python.Date{Year: at.Year(), Month: at.Month(), Day: at.Day()}
	case 1:
		return python.DateTime{Time: at}
	case 2:
		return at
	}
	return at.In(time.FixedZone("", r.IntN(170_000)-85_000))
}

// randomTree returns a value that can be written, of any shape.
func randomTree(r *rand.Rand, depth int) any {
	kind := r.IntN(12)
	switch {
	case depth == 0 || kind < 4:
		return randomScalar(r)
	case kind < 6:
		list := make([]any, r.IntN(5))
		for i := range list {
			list[i] = randomTree(r, depth-1)
		}
		return list
	case kind == 6:
		return python.Tuple{randomTree(r, depth-1)}
	case kind == 7:
		return &python.Set{Items: []any{int64(r.IntN(9)), "text " + asRead(randomText(r)).(string)}}
	case kind == 8:
		return python.Dict{{Key: int64(r.IntN(9)), Value: randomTree(r, depth-1)}, {Key: asRead(randomText(r)), Value: randomTree(r, depth-1)}}
	case kind == 9:
		return python.Dict{{Key: randomScalar(r), Value: randomTree(r, depth-1)}}
	}
	dict := map[string]any{}
	for range r.IntN(9) {
		dict[asRead(randomText(r)).(string)] = randomTree(r, depth-1)
	}
	return dict
}

func TestAFieldIsWrittenAsTheValueItStandsFor(t *testing.T) {
	fields, err := yaml.Codec.Fields(nil, []byte("a: &a [yes, 'yes']\nb: {<<: {c: *a}}\n"))
	require.NoError(t, err)
	out, err := yaml.Codec.Append(nil, []any{fields[0].Value, python.Dict{{Key: fields[1].Name, Value: fields[1].Value}}, serialization.Value{}})
	require.NoError(t, err)
	assert.Equal(t, "- - true\n  - \"yes\"\n- b:\n    c:\n      - true\n      - \"yes\"\n- null\n", string(out))
}
