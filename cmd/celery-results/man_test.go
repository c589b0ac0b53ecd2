package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTheManualPage(t *testing.T) {
	got := celeryResults(t, nil, "", "man")
	require.Equal(t, 0, got.status, got.stderr)
	assert.True(t, strings.HasPrefix(got.stdout, ".TH CELERY-RESULTS 1"))
	root := new(cli).root()
	var look func(*cobra.Command, string)
	look = func(cmd *cobra.Command, path string) {
		for _, sub := range cmd.Commands() {
			assert.Contains(t, got.stdout, "\n.SS "+roff(path+sub.Use)+"\n")
			if sub.Name() == "completion" {
				continue
			}
			look(sub, path+sub.Name()+" ")
		}
	}
	look(root, "")
	for line := range strings.Lines(got.stdout) {
		if strings.HasPrefix(line, ".") {
			name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			assert.Contains(t, []string{".TH", ".SH", ".SS", ".TP", ".PP", ".B", ".I", ".nf", ".fi"}, name, "a text must not be taken for a request")
		}
		assert.False(t, strings.HasPrefix(line, "'"), line)
	}
	if groff, err := exec.LookPath("groff"); err == nil {
		page := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww")
		page.Stdin = strings.NewReader(got.stdout)
		var warnings strings.Builder
		page.Stderr = &warnings
		shown, err := page.Output()
		require.NoError(t, err)
		assert.Empty(t, warnings.String())
		assert.Contains(t, string(shown), "A SUCCESS that stands is never overwritten")
	} else {
		t.Log("there is no groff to read the page")
	}
}
