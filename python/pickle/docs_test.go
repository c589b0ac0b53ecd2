package pickle_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// TestTheDocumentedProgramsPrintWhatTheDocumentSays runs the programs of
// docs/pickle.md. What each prints is in the block that follows it.
func TestTheDocumentedProgramsPrintWhatTheDocumentSays(t *testing.T) {
	page, err := os.ReadFile("../../docs/pickle.md")
	require.NoError(t, err)
	blocks := fence.FindAllStringSubmatch(string(page), -1)
	require.Len(t, blocks, 8)
	for i := 0; i < len(blocks); i += 2 {
		require.Equal(t, "go", blocks[i][1])
		require.Equal(t, "text", blocks[i+1][1])
		assert.Equal(t, blocks[i+1][2], output(t, blocks[i][2]))
	}
}

// output runs a program, which has to please gofmt and vet.
func output(t *testing.T, program string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	unformatted, err := exec.Command("gofmt", "-l", file).Output()
	require.NoError(t, err)
	assert.Empty(t, string(unformatted), "gofmt would change:\n%s", program)
	out, err := exec.Command("go", "vet", file).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.Command("go", "run", file).CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}
