package pickle_test

import (
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// TestAnObjectMayContainItself is about Django's ValidationError, which keeps
// itself in the list of its errors.
func TestAnObjectMayContainItself(t *testing.T) {
	data, err := exec.Command("python3", "-c", `
import pickle, sys, types
module = types.ModuleType("django.core.exceptions")
class ValidationError(Exception):
    def __init__(self, message, code=None):
        super().__init__(message, code)
        self.message, self.code, self.error_list = message, code, [self]
ValidationError.__module__ = module.__name__
module.ValidationError = ValidationError
sys.modules["django"] = sys.modules["django.core"] = sys.modules[module.__name__] = module
sys.stdout.buffer.write(pickle.dumps({"result": ValidationError("bad", "c"), "status": "FAILURE"}, 5))
`).Output()
	require.NoError(t, err, "python3 is needed")
	got, err := pickle.Unmarshal(data)
	require.NoError(t, err)
	class := python.Class{Module: "django.core.exceptions", Name: "ValidationError"}
	assert.Equal(t, map[string]any{"status": "FAILURE", "result": &python.Object{
		Class: class, Args: python.Tuple{"bad", "c"},
		State: map[string]any{"message": "bad", "code": "c", "error_list": []any{class}},
	}}, got)
}

// TestObjectsThatContainEachOtherAreCountedAsTheyAreConverted builds objects
// each of which holds itself, and the former one twice: 2^60 values in a few
// hundred bytes, which counting must notice.
func TestObjectsThatContainEachOtherAreCountedAsTheyAreConverted(t *testing.T) {
	var s strings.Builder
	s.WriteString("\x80\x02")
	for i := range byte(60) {
		s.WriteString("ccases\nT\n)Rq" + string([]byte{i}) + "h" + string([]byte{i}) + "a")
		if i > 0 {
			former := "h" + string([]byte{i - 1})
			s.WriteString(former + "a" + former + "a")
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := pickle.Unmarshal([]byte(s.String() + "."))
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, python.ErrLimit)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
}

func TestAListMayNotContainItself(t *testing.T) {
	_, err := pickle.Unmarshal([]byte("\x80\x04]\x94h\x00a."))
	require.ErrorIs(t, err, python.ErrUnsupported)
}
