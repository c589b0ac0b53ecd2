//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// process returns the command as a process of its own.
func process(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(append(os.Environ(), environ...), asCommand+"=1")
	return cmd
}

// endedBy returns the signal that ended the process, within two seconds.
func endedBy(t *testing.T, cmd *exec.Cmd) syscall.Signal {
	t.Helper()
	timer := time.AfterFunc(2*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait() // its error repeats the state
	return cmd.ProcessState.Sys().(syscall.WaitStatus).Signal()
}

func TestSignalsEndAWaitAtOnce(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			environ := sqliteEnvironment(t)
			require.Equal(t, result{}, celeryResults(t, environ, "", "store", "ready", "--status", "SUCCESS"))
			cmd := process(t, environ, "wait", "ready", "never", "--format", "json")
			stdout, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(stdout).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, `"ready"`, "what is ready is printed without delay")

			require.NoError(t, cmd.Process.Signal(signal))
			assert.Equal(t, signal, endedBy(t, cmd))
		})
	}
}

func TestASignalEndsStoreWhileItWaitsForItsInput(t *testing.T) {
	environ := sqliteEnvironment(t)
	cmd := process(t, environ, "store", "--stdin")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.WriteString(stdin, `{"task_id": "first", "status": "SUCCESS"}`+"\n")
	require.NoError(t, err)
	require.Equal(t, 0, celeryResults(t, environ, "", "wait", "first", "--timeout", "10s").status, "a line is stored when it comes")

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	assert.Equal(t, syscall.SIGINT, endedBy(t, cmd))
}

func TestASignalEndsACleanupAndTheNextOneGoesOn(t *testing.T) {
	const rows = 5000
	environ := freshTables(t)
	var lines strings.Builder
	for i := range rows {
		fmt.Fprintf(&lines, `{"task_id": "old-%d", "status": "SUCCESS", "date_done": "2026-01-21T08:30:15+00:00"}`+"\n", i)
	}
	require.Equal(t, result{}, celeryResults(t, environ, lines.String(), "store", "--stdin"))
	left := func() string {
		return celeryResults(t, environ, "", "cleanup", "--older-than", "1d", "--dry-run").stdout
	}
	require.Contains(t, left(), fmt.Sprint(rows, " would be removed"))

	cmd := process(t, environ, "cleanup", "--older-than", "1d", "--batch", "1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool { return !strings.Contains(left(), fmt.Sprint(rows, " would")) }, 10*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Equal(t, syscall.SIGINT, endedBy(t, cmd), stdout.String())
	assert.Empty(t, stdout.String()+stderr.String(), "without a terminal there is no progress")

	var done, more int
	_, err := fmt.Sscanf(fieldOf(t, left(), "results:"), "%d would", &more)
	require.NoError(t, err)
	require.NotZero(t, more)
	_, err = fmt.Sscanf(fieldOf(t, celeryResults(t, environ, "", "cleanup", "--older-than", "1d").stdout, "results:"), "%d removed", &done)
	require.NoError(t, err)
	assert.Equal(t, more, done)
	assert.Contains(t, left(), " 0 would be removed")
}

// fieldOf returns the text of a row of the form for people.
func fieldOf(t *testing.T, printed, name string) string {
	t.Helper()
	_, rest, found := strings.Cut(printed, name)
	require.True(t, found, printed)
	text, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	return text
}

func TestAProcessReportsAnUnreachableStoreInOneLine(t *testing.T) {
	settings := filepath.Join(t.TempDir(), "settings.json")
	content := `{"CACHES": {"default": {"BACKEND": "redis", "LOCATION": "redis://ann:secret@127.0.0.1:1/"}}}`
	require.NoError(t, os.WriteFile(settings, []byte(content), 0o600))
	for name, environ := range map[string][]string{
		"memcached": {"CELERY_RESULT_BACKEND=cache+memcached://127.0.0.1:1/"},
		"redis":     {"CELERY_RESULT_BACKEND=django-cache", "CELERY_RESULTS_SETTINGS=" + settings},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := process(t, environ, "get", "a")
			var stderr strings.Builder
			cmd.Stderr = &stderr
			require.Error(t, cmd.Run())
			assert.Equal(t, statusUnreachable, cmd.ProcessState.ExitCode(), stderr.String())
			assert.Equal(t, 1, strings.Count(stderr.String(), "\n"), stderr.String())
			assert.NotContains(t, stderr.String(), "secret")
		})
	}
}

func TestASignalEndsServeAfterTheRequestsUnderWay(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := process(t, sqliteEnvironment(t), "serve", "--no-auth", "--listen", "127.0.0.1:0")
			stderr, err := cmd.StderrPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(stderr).ReadString('\n')
			require.NoError(t, err)
			found := servingOn.FindStringSubmatch(line)
			require.NotNil(t, found, line)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, found[1]+"api/tasks/never/events", nil)
			require.NoError(t, err)
			answer, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			defer answer.Body.Close()
			stream := bufio.NewReader(answer.Body)
			_, err = stream.ReadString('\n')
			require.NoError(t, err)
			require.NoError(t, cmd.Process.Signal(signal))
			_, err = io.Copy(io.Discard, stream)
			assert.NoError(t, err, "the stream ends as it should")
			assert.NoError(t, cmd.Wait())
		})
	}
}
