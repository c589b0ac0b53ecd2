package celeryresults_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/settings"
)

var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// snippets returns the README's blocks of one language.
func snippets(t *testing.T, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var list []string
	for _, m := range fence.FindAllStringSubmatch(string(readme), -1) {
		if m[1] == language {
			list = append(list, m[2])
		}
	}
	require.NotEmpty(t, list)
	return list
}

func TestReadmePrograms(t *testing.T) {
	for _, program := range snippets(t, "go") {
		file := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
		out, err := exec.Command("go", "vet", file).CombinedOutput()
		require.NoError(t, err, "%s\n%s", out, program)
		formatted, err := exec.Command("gofmt", "-l", file).Output()
		require.NoError(t, err)
		assert.Empty(t, string(formatted), "gofmt would change:\n%s", program)
	}
}

func TestReadmeStartPrintsItsResult(t *testing.T) {
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(snippets(t, "go")[0]), 0o600))
	out, err := exec.Command("go", "run", file).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Equal(t, "[1 2 3] <nil>\n", string(out))
}

func TestReadmeSettings(t *testing.T) {
	for _, text := range snippets(t, "toml") {
		file := filepath.Join(t.TempDir(), "settings.toml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := settings.Read(file, nil)
		require.NoError(t, err, text)
	}
}

// TestReadmeCommands runs the README's celery-results lines in their order.
func TestReadmeCommands(t *testing.T) {
	dir := t.TempDir()
	command := filepath.Join(dir, "celery-results")
	out, err := exec.Command("go", "build", "-o", command, "./cmd/celery-results").CombinedOutput()
	require.NoError(t, err, string(out))
	table := strings.Join([]string{
		`CELERY_RESULT_BACKEND = "django-db"`,
		`[DATABASES.default]`, `ENGINE = "sqlite3"`, `NAME = '` + filepath.Join(dir, "results.sqlite3") + `'`,
	}, "\n")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "settings.toml"), []byte(table), 0o600))
	theirs := fmt.Sprintf(`{"CELERY_RESULT_BACKEND": "django-db", "DATABASES": {"default": {"ENGINE": "sqlite", "NAME": %q}}}`, filepath.Join(dir, "results.sqlite3"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "theirs.json"), []byte(theirs), 0o600)) // as the README's script writes it
	ran := 0
	for _, block := range snippets(t, "sh") {
		for line := range strings.Lines(block) {
			if !strings.HasPrefix(line, "celery-results ") {
				continue
			}
			run := exec.Command("sh", "-c", line)
			run.Dir = dir
			run.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CELERY_RESULTS_SETTINGS="+filepath.Join(dir, "settings.toml"))
			out, err := run.CombinedOutput()
			require.NoError(t, err, "%s%s", line, out)
			ran++
		}
	}
	assert.Equal(t, 14, ran)
}
