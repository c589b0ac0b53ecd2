// Package backendtest is the suite that every celeryresults.Backend runs. Each
// row of the table states the rule that it checks.
package backendtest

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// Harness opens the backend under test.
type Harness struct {
	// Open returns a backend with the settings that concern every backend
	// (result_expires, result_extended, global_keyprefix). It is closed by the
	// test's cleanup. Several may share one store: tests use ids of their own.
	Open func(t *testing.T, s celeryresults.Settings) celeryresults.Backend

	// ShortestExpiry is the shortest result_expires that the store keeps to.
	ShortestExpiry time.Duration

	// Advance moves the store's clock, for fakes whose time stands still. Nil:
	// time passes by itself.
	Advance func(d time.Duration)

	// PlainValues is set when the serializer holds only what JSON and bytes can
	// say (yaml, msgpack): the suite then checks that other values are refused.
	PlainValues bool

	// Hidden is set when the store does not show what lies in it: the suite then checks
	// that a walk says so.
	Hidden bool

	// RaceIDs is how many ids the race for one record uses, and at most how many a walk goes
	// through. Default: 10 000.
	RaceIDs int
}

type row struct {
	rule string
	test func(t *testing.T, h Harness)
}

var rows = []row{
	{"an unknown task is PENDING and no error", unknownIsPending},
	{"an empty id is ErrNoTaskID", emptyID},
	{"a walk finds every result, where there are walks", walks}, // while there are few
	{"a list is sorted, filtered and paged, where there are lists", lists},
	{"a stored value of every Python type is read back equal", valuesRoundTrip},
	{"dates and integers of any size are read back equal", datesRoundTrip},
	{"a result decodes into a Go type", typedResults},
	{"a state may replace exactly what MayReplace says", transitions},
	{"a refusal names the task and both states, and changes nothing", refusal},
	{"Override replaces even a SUCCESS", override},
	{"a failure is read back as a *TaskError with type, module and arguments", failures},
	{"a failure whose arguments can't be stored is stored with their text", failureWithOddArguments},
	{"RETRY and REVOKED carry their exception", retryAndRevoked},
	{"a custom state carries its meta and has no date_done", progress},
	{"date_done is set in UTC with microseconds", dateDone},
	{"children, parent and group are kept", relations},
	{"the extended fields are kept with result_extended only", extended},
	{"stamps, extras and the caller's metadata are kept", extras},
	{"GetMany answers in order, with PENDING for the unknown and twice for a double", getMany},
	{"GetMany of 2 500 tasks works, and GetStatuses says the same", getManyMany},
	{"Forget removes one, many and absent results", forget},
	{"a group is saved, restored and deleted", groups},
	{"an unknown group is ErrUnknownGroup", unknownGroup},
	{"a tally is what a look at all members finds, where there are tallies", tallies},
	{"a group of groups keeps its shape", nestedGroup},
	{"results expire after result_expires", expires},
	{"results with an expiry over 30 days and without one stay", longExpiry},
	{"with tombstones, what has expired or was forgotten is told from what is unknown", tombstones},
	{"a wait ends when the result is stored", waitWakes},
	{"a wait for a ready result returns at once", waitReady},
	{"many waits end, each with its own result", manyWaits},
	{"a wait ends with its context", waitCancelled},
	{"a wait ends with ErrClosed when the backend closes", waitClosed},
	{"a context that is over reaches nothing", contextOver},
	{"recording as pending overwrites nothing", recordPending},
	{"a SUCCESS and a late FAILURE or STARTED stored at once end as SUCCESS", raceForOneRecord},
	{"everything is safe for concurrent use", concurrency},
	{"a big result is stored whole or refused with an error", bigResult},
	{"ids with unusual characters are kept apart", unusualIDs},
	{"a stamp or extra never takes the place of a field", reservedNames},
	{"a meta without a state, and none, are refused", noState},
	{"Override with a result that is too large leaves what stands", overrideTooLarge},
	{"a failure that is too large is stored cut, and marked so", failureTooLarge},
	{"a wait for an id that the store can't hold ends alone", waitBadID},
	{"an error tells what became of the result", outcomes},
	{"a watch sees every state until the task is ready", watchStates},
	{"a chord fires once, with all members in order, where there are chords", chordsFireOnce},
	{"a chord waits until its body is handed over, where there are chords", chordBodies},
	{"closing twice is no error", closeTwice},
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.RaceIDs == 0 {
		h.RaceIDs = 10_000
	}
	passed := 0
	for _, r := range rows {
		if t.Run(r.rule, func(t *testing.T) { r.test(t, h) }) {
			passed++
		}
	}
	t.Logf("backendtest: %d of %d rules hold", passed, len(rows))
}

func open(t *testing.T, h Harness, s celeryresults.Settings) celeryresults.Backend {
	t.Helper()
	b := h.Open(t, s)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// newID returns an id that no other test has.
func newID(name string) string { return name + "-" + rand.Text() }

func withTimeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// done returns the meta of a task that returned value.
func done(id string, value any) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value),
		Children: []celeryresults.ResultTuple{}, DateDone: time.Now().UTC().Truncate(time.Microsecond),
	}
}

// failed returns the meta of a task that ended in an exception state.
func failed(id string, state celeryresults.State, err error) *celeryresults.TaskMeta {
	meta := done(id, celeryresults.NewTaskError(err))
	meta.State, meta.Traceback = state, "Traceback (most recent call last):\n  …\n"
	if !state.Ready() {
		meta.DateDone = time.Time{}
	}
	return meta
}

func metaOf(id string, state celeryresults.State) *celeryresults.TaskMeta {
	if state.Exception() {
		return failed(id, state, context.DeadlineExceeded)
	}
	meta := done(id, string(state))
	meta.State = state
	if !state.Ready() {
		meta.DateDone = time.Time{}
	}
	return meta
}

func store(t *testing.T, b celeryresults.Backend, meta *celeryresults.TaskMeta) {
	t.Helper()
	require.NoError(t, b.StoreResult(t.Context(), meta))
}

func get(t *testing.T, b celeryresults.Backend, id string) *celeryresults.TaskMeta {
	t.Helper()
	meta, err := b.GetTaskMeta(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, meta.TaskID)
	return meta
}
