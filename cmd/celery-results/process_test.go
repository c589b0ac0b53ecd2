//go:build unix

package main

import (
	"bufio"
	"io"
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
