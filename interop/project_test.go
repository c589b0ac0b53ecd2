package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

const (
	installTimeout = 10 * time.Minute
	answerTimeout  = time.Minute
)

// interpreters are the pythons that have Celery and Django, by what they are made
// from. Each is installed on its first call.
var interpreters = map[string]func() (string, error){
	"requirements.txt":       sync.OnceValues(func() (string, error) { return install("requirements.txt") }),
	"requirements-older.txt": sync.OnceValues(func() (string, error) { return install("requirements-older.txt") }),
}

func install(requirements string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", filepath.Join("..", "scripts", "interop-venv.sh"), requirements)
	var problem bytes.Buffer
	command.Stderr = &problem
	path, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(problem.Bytes()))
	}
	return strings.TrimSpace(string(path)), nil
}

// needPython returns the interpreter of a file of requirements. Without one it skips the test, or fails
// it when CELERYRESULTS_TEST_REQUIRE has python.
func needPython(t *testing.T, requirements string) string {
	t.Helper()
	path, err := interpreters[requirements]()
	switch {
	case err == nil:
		return path
	case (&testserver.Service{Name: "python"}).Required():
		t.Fatalf("python with Celery and Django is required: %v", err)
	default:
		t.Skipf("no python with Celery and Django: %v", err)
	}
	return ""
}

// project is a running Django project: django/serve.py.
type project struct {
	database string // its URL
	input    io.WriteCloser
	output   *bufio.Reader
	log      *bytes.Buffer // what it says on standard error; complete once it has ended
	kill     func()
	end      func() error
}

// arguments are those of one command.
type arguments map[string]any

// startProject starts the project over the database, with more environment. It
// ends with the test.
func startProject(t *testing.T, database string, environment ...string) *project {
	t.Helper()
	return startWith(t, needPython(t, "requirements.txt"), database, environment...)
}

// startWith is startProject with another interpreter.
func startWith(t *testing.T, python, database string, environment ...string) *project {
	t.Helper()
	command := exec.Command(python, "serve.py")
	command.Dir = "django"
	command.Env = append(os.Environ(), "DATABASE_URL="+database, "PYTHONDONTWRITEBYTECODE=1")
	command.Env = append(command.Env, environment...)
	p := &project{database: database, log: new(bytes.Buffer)}
	command.Stderr = p.log
	input, err := command.StdinPipe()
	require.NoError(t, err)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	p.input, p.output = input, bufio.NewReader(output)
	p.kill = func() { _ = command.Process.Kill() }
	p.end = sync.OnceValue(func() error {
		_ = input.Close()
		watchdog := time.AfterFunc(answerTimeout, p.kill)
		defer watchdog.Stop()
		return command.Wait()
	})
	t.Cleanup(func() {
		if err := p.end(); err != nil || t.Failed() && p.log.Len() > 0 {
			t.Logf("serve.py: %v\n%s", err, p.log)
		}
	})
	return p
}

// pythonError is an exception that a command ended with.
type pythonError struct {
	Type, Text, Traceback string
}

func (e *pythonError) Error() string { return e.Type + ": " + e.Text }

// ask has a command done and returns its answer.
func (p *project) ask(command string, given arguments) (json.RawMessage, error) {
	request := arguments{"do": command}
	maps.Copy(request, given)
	line, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	stuck := time.AfterFunc(answerTimeout, p.kill)
	defer stuck.Stop()
	if _, err := p.input.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	if line, err = p.output.ReadBytes('\n'); err != nil {
		return nil, errors.Join(err, p.end(), errors.New(p.log.String()))
	}
	var reply struct {
		Answer json.RawMessage
		Error  *pythonError
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return nil, fmt.Errorf("%w: %s", err, line)
	}
	if reply.Error != nil {
		return nil, reply.Error
	}
	return reply.Answer, nil
}

// ask has a command done that must succeed, and decodes its answer.
func ask[T any](t *testing.T, p *project, command string, given arguments) T {
	t.Helper()
	answer, err := p.ask(command, given)
	if e, ok := errors.AsType[*pythonError](err); ok {
		t.Log(e.Traceback)
	}
	require.NoError(t, err, "%s %v", command, given)
	return decode[T](t, answer)
}

// do has a command done whose answer does not matter.
func (p *project) do(t *testing.T, command string, given arguments) {
	t.Helper()
	ask[json.RawMessage](t, p, command, given)
}

// decode decodes JSON with its numbers as they are written.
func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v T
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}

// reading is what Python reads of a task.
type reading struct {
	State     string
	Ready     bool
	Canon     any
	Repr      string // of the result
	Traceback *string
	Children  any
	Raised    *raised // by get; nil when it returns, or the task is not ready
	Name      *string
	Args      any
	Kwargs    any
	Worker    *string
	DateDone  any `json:"date_done"`
	Retries   any
	Queue     *string
	Meta      map[string]any // the whole metadata
}

// raised is the exception that get raises.
type raised struct {
	Type, Module string
	Args         []any
	Text         string
	Bases        []string // module.Class of all its superclasses
}

func (p *project) read(t *testing.T, id string) reading {
	t.Helper()
	return ask[reading](t, p, "read", arguments{"id": id})
}

// row is one row of a table by its columns.
type row map[string]any

func (r row) time(t *testing.T, column string) time.Time {
	t.Helper()
	text, ok := r[column].(string)
	require.True(t, ok, "%s is %v", column, r[column])
	at, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	return at
}

// rows returns the rows of the id in the table: task, group or chord.
func (p *project) rows(t *testing.T, table, id string) []row {
	t.Helper()
	return ask[[]row](t, p, "rows", arguments{"id": id, "model": table})
}

// row returns the only row of the task.
func (p *project) row(t *testing.T, id string) row {
	t.Helper()
	rows := p.rows(t, "task", id)
	require.Len(t, rows, 1, "rows of %s", id)
	return rows[0]
}
