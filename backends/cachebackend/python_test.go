package cachebackend_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/python"
)

// written are results of every kind, for Python to read. A time.Duration and a
// set can be pickled only.
func written() []*celeryresults.TaskMeta {
	at := time.Date(2026, 11, 21, 8, 30, 15, 123456000, time.UTC)
	results := []any{
		nil, true, 5, -5, math.MaxInt64, new(big.Int).Lsh(big.NewInt(1), 100), 0.1, 3.0, 1e-7, 1e16, math.NaN(), math.Inf(1),
		"", "héllo wörld 🎉", "a\x00b\"\\</script>", []byte("plain"), []byte{0, 0xff}, []int{1, 2}, []any{1, "two", []string{}},
		map[string]any{"a": 1, "b": map[string]int{"c": 2}}, struct {
			Name string    `json:"name"`
			At   time.Time `json:"at"`
		}{"x", at},
		at, at.In(time.FixedZone("", -5*3600-1800)), python.DateTime{Time: at}, python.Date{Year: 2026, Month: 2, Day: 28},
		python.Time{Hour: 23, Minute: 59, Second: 59, Microsecond: 5}, python.Decimal("12345678901234567890.0000000001"), python.UUID{1, 2, 3},
		python.Tuple{1, "two", 3.0},
	}
	var metas []*celeryresults.TaskMeta
	add := func(m celeryresults.TaskMeta) {
		m.TaskID, m.Extended, m.Name, m.Worker, m.Queue = "id", true, "shop.add", "w@h", "celery"
		m.Args, m.Kwargs = celeryresults.NewValue([]any{1, "x"}), celeryresults.NewValue(map[string]any{"k": nil})
		metas = append(metas, &m)
	}
	for _, r := range results {
		add(celeryresults.TaskMeta{State: celeryresults.Success, Result: celeryresults.NewValue(r), DateDone: at, Children: []celeryresults.ResultTuple{}})
	}
	for _, err := range []error{
		errors.New("broke"), &celeryresults.TaskError{Type: "ZeroDivisionError", Module: "builtins", Args: []any{"division by zero"}},
		&celeryresults.TaskError{Type: "QuotaExceeded", Module: "shop.errors", Args: []any{"acme", 10}},
		&celeryresults.TaskError{Type: "MaxRetriesExceededError", Module: "celery.exceptions"},
		&celeryresults.TaskError{Type: "system", Module: "os", Args: []any{"true"}},
	} {
		for _, state := range []celeryresults.State{celeryresults.Failure, celeryresults.Retry, celeryresults.Revoked} {
			add(celeryresults.TaskMeta{State: state, Result: celeryresults.NewValue(celeryresults.NewTaskError(err)), Traceback: "Traceback\n  é"})
		}
	}
	add(celeryresults.TaskMeta{State: "PROGRESS", Result: celeryresults.NewValue(map[string]int{"current": 40}), Children: []celeryresults.ResultTuple{
		{ID: "a", Parent: &celeryresults.ResultTuple{ID: "p"}}, {ID: "g", Children: []celeryresults.ResultTuple{{ID: "m"}}},
	}, GroupID: "g", ParentID: "p", StampedHeaders: []string{"h"}, Extra: []celeryresults.Extra{{Name: "h", Value: celeryresults.NewValue([]string{"v"})}}})
	return metas
}

// pythonLine is one line of testdata/read.py's input.
type pythonLine struct {
	Format string `json:"format"`
	Value  []byte `json:"value"`
}

func TestPythonReadsWhatIsWritten(t *testing.T) {
	store := newStore(t)
	c, err := cache.New(store, cache.Settings{})
	require.NoError(t, err)
	django, err := cachebackend.New(c, celeryresults.Settings{})
	require.NoError(t, err)
	own, err := cachebackend.NewCelery(store, celeryresults.Settings{})
	require.NoError(t, err)
	var input bytes.Buffer
	for _, meta := range written() {
		writeLine(t, &input, "pickle", django, store, ":1:celery-task-meta-id", meta)
		writeLine(t, &input, "json", own, store, "celery-task-meta-id", meta)
	}
	command := exec.Command("python3", filepath.Join("testdata", "read.py"))
	command.Stdin = &input
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	require.NoError(t, err, "python3 is needed: %s", stderr.String())
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	require.Len(t, lines, 2*len(written()))
	for i, meta := range written() {
		want, err := json.Marshal(meta)
		require.NoError(t, err)
		assert.Equal(t, exact(t, want), exact(t, lines[2*i]), "pickle")
		assert.Equal(t, exact(t, want), exact(t, lines[2*i+1]), "json")
	}
}

func writeLine(t *testing.T, input *bytes.Buffer, format string, b *celeryresults.Backend, store cache.Store, key string, meta *celeryresults.TaskMeta) {
	t.Helper()
	require.NoError(t, b.StoreResult(t.Context(), meta, celeryresults.Override))
	item, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	line, err := json.Marshal(pythonLine{format, item.Value})
	require.NoError(t, err)
	input.Write(append(line, '\n'))
}
