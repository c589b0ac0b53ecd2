package json_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/python"
)

// pythonLoads reads one base64 text a line and answers with what json.dumps
// makes of it, or with an empty line when json.loads refuses it.
const pythonLoads = `
import base64, json, sys
for line in sys.stdin:
    try:
        value = json.loads(base64.b64decode(line).decode("utf-8"))
        print(json.dumps(value, sort_keys=True))
    except ValueError:
        print()
`

// throughPython returns Python's answers to texts, in one process.
func throughPython(t *testing.T, texts [][]byte) []string {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, text := range texts {
		in.WriteString(base64.StdEncoding.EncodeToString(text) + "\n")
	}
	cmd := exec.CommandContext(t.Context(), "python3", "-c", pythonLoads)
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "python3: %s", &stderr)
	var answers []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		answers = append(answers, lines.Text())
	}
	require.Len(t, answers, len(texts))
	return answers
}

// randomTree returns a value that json.dumps would write, of any shape.
func randomTree(r *rand.Rand, depth int) any {
	switch n := r.IntN(12); {
	case n < 2 && depth > 0:
		list := make([]any, r.IntN(5))
		for i := range list {
			list[i] = randomTree(r, depth-1)
		}
		return list
	case n < 5 && depth > 0:
		dict := map[string]any{}
		for range r.IntN(20) {
			dict[randomText(r)] = randomTree(r, depth-1)
		}
		return dict
	case n == 5:
		return nil
	case n == 6:
		return r.IntN(2) == 0
	case n == 7:
		return r.Int64() >> r.IntN(64) * int64(1-2*r.IntN(2))
	case n == 8:
		return new(big.Int).Lsh(big.NewInt(r.Int64()-math.MaxInt64/2), uint(r.IntN(2000)))
	case n == 9:
		return randomFloat(r)
	}
	return randomText(r)
}

func randomFloat(r *rand.Rand) float64 {
	switch r.IntN(3) {
	case 0:
		return math.Float64frombits(r.Uint64())
	case 1:
		return float64(r.IntN(2_000_000)-1_000_000) / 100
	}
	return math.Pow10(r.IntN(45)-22) * float64(r.IntN(100))
}

func randomText(r *rand.Rand) string {
	alphabets := []string{"abcdefgh_ ", "\"\\/\b\f\n\r\t\x00\x1f\x7f<&>", "é€🎉\u2028\uffff\U0010ffff"}
	var b strings.Builder
	for range r.IntN(12) {
		runes := []rune(alphabets[r.IntN(len(alphabets))])
		b.WriteRune(runes[r.IntN(len(runes))])
	}
	return b.String()
}

func TestAppendWritesTheSameBytesAsPython(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var texts [][]byte
	for range 600 {
		text, err := json.Codec.Append(nil, randomTree(r, 4))
		require.NoError(t, err)
		texts = append(texts, text)
	}
	for i, answer := range throughPython(t, texts) {
		assert.Equal(t, answer, string(texts[i]))
	}
}

func TestDecodeReadsAndRefusesTheSameTextsAsPython(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var texts [][]byte
	for range 4000 {
		text, err := json.Codec.Append(nil, randomTree(r, 2))
		require.NoError(t, err)
		texts = append(texts, damaged(r, text))
	}
	refused := 0
	for i, answer := range throughPython(t, texts) {
		tree, err := json.Codec.Decode(texts[i])
		if answer == "" {
			refused++
		}
		if (err != nil) != (answer == "") {
			t.Errorf("%q: Python says %q, Decode says %v", texts[i], answer, err)
			continue
		}
		if err == nil && !hasLoneSurrogate(answer) {
			got, err := json.Codec.Append(nil, tree)
			require.NoError(t, err)
			assert.Equal(t, answer, string(got), "%q", texts[i])
		}
	}
	assert.Greater(t, refused, 500, "texts that were refused")
}

// damaged replaces, removes or adds one piece of text.
func damaged(r *rand.Rand, text []byte) []byte {
	pieces := []string{`"`, `\`, `\u`, `\ud83c`, "{", "}", "[", "]", ",", ":", "0", "-", ".", "e5", "E", " ", "\n", "NaN", "\x00", "\xff", "é", "\ufeff", ""}
	at := r.IntN(len(text) + 1)
	end := min(len(text), at+r.IntN(2))
	return fmt.Appendf(nil, "%s%s%s", text[:at], pieces[r.IntN(len(pieces))], text[end:])
}

// hasLoneSurrogate tells whether Python kept a surrogate that has no UTF-8.
func hasLoneSurrogate(text string) bool {
	v, err := json.Codec.Decode([]byte(text))
	return err == nil && strings.Contains(string(python.JSON(nil, v)), "\uFFFD")
}
