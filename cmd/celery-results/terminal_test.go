//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openTerminal returns both ends of a pseudo-terminal of that size.
func openTerminal(t *testing.T, width, height uint16) (program, screen *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { screen.Close() })
	control := func(request uintptr, argument unsafe.Pointer) {
		t.Helper()
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(argument))
		require.Zero(t, errno)
	}
	var number, unlocked uint32
	control(syscall.TIOCGPTN, unsafe.Pointer(&number))
	control(syscall.TIOCSPTLCK, unsafe.Pointer(&unlocked))
	size := [4]uint16{height, width}
	control(syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { program.Close() })
	return program, screen
}

// screenText collects what a program writes to its terminal.
type screenText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func readScreen(screen *os.File) *screenText {
	s := new(screenText)
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := screen.Read(buffer)
			s.mu.Lock()
			s.text.Write(buffer[:n])
			s.mu.Unlock()
			if err != nil { // the program has ended
				return
			}
		}
	}()
	return s
}

func (s *screenText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// onTerminal runs the command on a terminal and returns its screen.
func onTerminal(t *testing.T, environ []string, width, height uint16, args ...string) (text *screenText, wait func() int) {
	t.Helper()
	program, screen := openTerminal(t, width, height)
	text = readScreen(screen)
	cmd := process(t, append([]string{"TERM=xterm", "NO_COLOR="}, environ...), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
	require.NoError(t, cmd.Start())
	return text, func() int {
		_ = cmd.Wait() // its error repeats the status
		return cmd.ProcessState.ExitCode()
	}
}

func (s *screenText) await(t *testing.T, pattern string) {
	t.Helper()
	expression := regexp.MustCompile(pattern)
	require.Eventually(t, func() bool { return expression.MatchString(s.String()) }, 20*time.Second, 5*time.Millisecond, "%s", pattern)
}

func TestWatchOnATerminalIsATable(t *testing.T) {
	environ := sqliteEnvironment(t)
	text, wait := onTerminal(t, environ, 60, 24, "watch", "a", "bcd", "a")
	text.await(t, `PENDING. *.*a .*\n.*PENDING.* bcd .*\n.*0 of 2 ready, 0 failed`)
	store := func(args ...string) {
		t.Helper()
		require.Equal(t, 0, celeryResults(t, environ, "", append([]string{"store"}, args...)...).status)
	}
	store("a", "--status", "PROGRESS", "--result", `{"current": 40, "total": 100}`)
	text.await(t, `PROGRESS.*a .*\[########            \] 40 of 100`)
	store("a", "--status", "SUCCESS", "--result", `"`+strings.Repeat("long ", 30)+`"`)
	text.await(t, `SUCCESS.*a .*long`)
	store("bcd", "--status", "FAILURE", "--result", "no \x1b]0;evil\x07")
	assert.Equal(t, statusFailed, wait())
	all := text.String()
	assert.Contains(t, all, green+"SUCCESS"+plain)
	assert.Contains(t, all, red+"FAILURE"+plain)
	assert.Contains(t, all, "\x1b[3A", "lines are written over")
	assert.Contains(t, all, "2 of 2 ready, 1 failed")
	assert.NotContains(t, all, "\x1b]0;evil", "what results contain does not drive the terminal")
	sequences := regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	for line := range strings.Lines(all) {
		line = strings.TrimSpace(sequences.ReplaceAllString(line, ""))
		assert.LessOrEqual(t, len([]rune(line)), 60, "a line that is longer would break the table: %s", line)
	}
}

func TestASmallTerminalGetsLines(t *testing.T) {
	environ := sqliteEnvironment(t)
	require.Equal(t, 0, celeryResults(t, environ, "", "store", "a", "--status", "SUCCESS", "--result", "5").status)
	text, wait := onTerminal(t, environ, 60, 2, "watch", "a")
	assert.Equal(t, 0, wait())
	text.await(t, `\d\d:\d\d:\d\d  .*SUCCESS.*  a  5`)
	assert.NotContains(t, text.String(), "\x1b[2K")
}

func TestColours(t *testing.T) {
	environ := sqliteEnvironment(t)
	require.Equal(t, 0, celeryResults(t, environ, "", "store", "a", "--status", "SUCCESS").status)
	for _, row := range []struct {
		environ []string
		args    []string
		want    string
	}{
		{nil, []string{"get", "a"}, `status: +` + regexp.QuoteMeta(green+"SUCCESS"+plain)},
		{nil, []string{"list"}, regexp.QuoteMeta(green + "SUCCESS" + plain + "  a")},
		{[]string{"NO_COLOR=1"}, []string{"get", "a"}, `status: +SUCCESS`},
		{[]string{"TERM=dumb"}, []string{"get", "a"}, `status: +SUCCESS`},
		{nil, []string{"get", "a", "--format", "json"}, `"status":"SUCCESS"`},
	} {
		text, wait := onTerminal(t, append(row.environ, environ...), 80, 24, row.args...)
		assert.Equal(t, 0, wait(), "%v", row)
		text.await(t, row.want)
		if !strings.Contains(row.want, "\x1b") {
			assert.NotContains(t, text.String(), "\x1b[3", "%v", row)
		}
	}
	assert.NotContains(t, celeryResults(t, environ, "", "get", "a").stdout, "\x1b", "nor is a pipe coloured")
}

func TestImportShowsItsProgressOnATerminal(t *testing.T) {
	environ := sqliteEnvironment(t)
	lines := t.TempDir() + "/lines"
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, `{"task_id": "t%d", "status": "SUCCESS", "result": 1, "traceback": null}`+"\n", i)
	}
	require.NoError(t, os.WriteFile(lines, []byte(text.String()), 0o600))
	input, err := os.Open(lines)
	require.NoError(t, err)
	defer input.Close()
	program, screen := openTerminal(t, 80, 24)
	shown := readScreen(screen)
	cmd := process(t, environ, "import")
	var stdout bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &stdout, program
	require.NoError(t, cmd.Run())
	assert.Contains(t, stdout.String(), "stored:   3000")
	shown.await(t, `imported +\d+%`)
}
