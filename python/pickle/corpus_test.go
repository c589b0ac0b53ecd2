package pickle_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python/pickle"
)

// corpusCase is a line of testdata/corpus.py.
type corpusCase struct {
	Name     string
	Protocol int
	Pickle   []byte
	Want     json.RawMessage
}

func (c corpusCase) String() string { return fmt.Sprintf("%s, protocol %d", c.Name, c.Protocol) }

func readCorpus(t *testing.T, lines []byte) []corpusCase {
	t.Helper()
	var cases []corpusCase
	in := bufio.NewScanner(bytes.NewReader(lines))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c corpusCase
		require.NoError(t, json.Unmarshal(in.Bytes(), &c))
		cases = append(cases, c)
	}
	require.NoError(t, in.Err())
	require.NotEmpty(t, cases)
	return cases
}

func storedCorpus(t *testing.T, file string) []corpusCase {
	t.Helper()
	lines, err := os.ReadFile(file)
	require.NoError(t, err)
	return readCorpus(t, lines)
}

func checkCorpus(t *testing.T, cases []corpusCase) {
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			got, err := pickle.Unmarshal(c.Pickle)
			require.NoError(t, err, "input %q", c.Pickle)
			assert.Equal(t, normal(t, c.Want), marshal(describe(got)), "input %q", c.Pickle)
		})
	}
}

func TestDecodeReadsTheStoredCorpus(t *testing.T) {
	checkCorpus(t, storedCorpus(t, "testdata/corpus.jsonl"))
}

func TestDecodeReadsWhatPython2Wrote(t *testing.T) {
	checkCorpus(t, storedCorpus(t, "testdata/python2.jsonl"))
}

func TestDecodeReadsWhatThisPythonWrites(t *testing.T) {
	checkCorpus(t, readCorpus(t, python3(t, "", "testdata/corpus.py")))
}

func TestTheStoredCorpusIsWhatItsScriptMakes(t *testing.T) {
	names := func(cases []corpusCase) (all []string) {
		for _, c := range cases {
			all = append(all, c.String())
		}
		return all
	}
	stored := names(storedCorpus(t, "testdata/corpus.jsonl"))
	made := names(readCorpus(t, python3(t, "", "testdata/corpus.py", "small")))
	assert.Equal(t, stored, made)
	assert.Greater(t, len(stored), 4*90)
}
