// Package drivertest is the suite that every store of results passes, also those of other
// modules: say in a test how the store is opened, and call [Run]. Each row of the suite
// states the rule that it checks. What a store does not have, such as lists or chords, is
// errors.ErrUnsupported from the Backend's method; the suite says so in its log.
//
//	func TestSuite(t *testing.T) {
//		drivertest.Run(t, drivertest.Harness{
//			Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
//				b, err := backends.New(openStore(t), s)
//				require.NoError(t, err)
//				return b
//			},
//			ShortestExpiry: time.Second,
//		})
//	}
//
// [Memory] is a store in memory, for tests that need no server.
package drivertest

import (
	"context"
	"crypto/rand"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
)

// Harness says how the backend under test is opened, and what its store is like. Open and
// ShortestExpiry are required. Functions that are nil leave out what needs them.
type Harness struct {
	// Open returns a backend with the settings that concern every backend
	// (result_expires, result_extended, result_tombstones, result_tally). It is closed by the
	// suite. Several may share one store: tests use ids of their own. Tests that only wait
	// call it from several goroutines.
	Open func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend

	// Raw returns the bytes of a task's record as they lie in the store of b: any that are
	// the same if and only if the record is. Nil: the suite does not check that the same
	// record has the same bytes.
	Raw func(t *testing.T, b *celeryresults.Backend, id string) []byte

	// Break lets the record of the id, which stands in the store of b, have no readable state
	// any more. Nil: the suite does not check what becomes of such records.
	Break func(t *testing.T, b *celeryresults.Backend, id string)

	// Dead returns a backend whose server is not there, or never answers. It is closed by
	// the suite. Nil: the suite does not check how operations end then.
	Dead func(t *testing.T) *celeryresults.Backend

	// ShortestExpiry is the shortest result_expires that the store keeps to.
	ShortestExpiry time.Duration

	// Advance moves the store's clock, for fakes whose time stands still. Nil: time passes by
	// itself.
	Advance func(d time.Duration)

	// PlainValues is set when the serializer holds only what JSON and bytes can say (yaml,
	// msgpack): the suite then checks that other values are refused.
	PlainValues bool

	// Hidden is set when the store does not show what lies in it: the suite then checks that
	// a walk says so.
	Hidden bool

	// ValuesOnly runs only the rows about what a record holds: for further serializers and
	// compressors of a store that passes the whole suite with one of them.
	ValuesOnly bool

	// RaceIDs is how many ids the race for one record uses, and at most how many a walk goes
	// through. Default: 1000, and 10 000 if the environment has CELERYRESULTS_TEST_SOAK=1.
	RaceIDs int
}

// What a row needs beside its rule.
const (
	whole = 1 << iota // it runs without ValuesOnly alone
	waits             // it mostly waits, and runs beside others that do
)

type row struct {
	rule string
	kind int
	test func(t *testing.T, h Harness)
}

var rows = []row{
	{"an unknown task is PENDING and no error", whole, unknownIsPending},
	{"an empty id is ErrNoTaskID", whole, emptyID},
	{"a walk finds every result, where there are walks", whole, walks}, // while there are few
	{"a list is sorted, filtered and paged, where there are lists", whole, lists},
	{"a stored value of every Python type is read back equal", 0, valuesRoundTrip},
	{"dates and integers of any size are read back equal", 0, datesRoundTrip},
	{"a result decodes into a Go type", 0, typedResults},
	{"the same record has the same bytes", 0, sameBytes},
	{"a state may replace exactly what MayReplace says", 0, transitions},
	{"a PENDING is stored only where nothing stands", 0, pendingNowhere},
	{"a refusal names the task and both states, and changes nothing", whole, refusal},
	{"Override replaces even a SUCCESS", whole, override},
	{"a failure is read back as a *TaskError with type, module and arguments", 0, failures},
	{"a failure whose arguments can't be stored is stored with their text", 0, failureWithOddArguments},
	{"RETRY and REVOKED carry their exception", 0, retryAndRevoked},
	{"a custom state carries its meta and has no date_done", 0, progress},
	{"date_done is set in UTC with microseconds", 0, dateDone},
	{"children, parent and group are kept", 0, relations},
	{"the extended fields are kept with result_extended only", 0, extended},
	{"stamps, extras and the caller's metadata are kept", 0, extras},
	{"GetMany answers in order, with PENDING for the unknown and twice for a double", whole, getMany},
	{"GetMany of 2 500 tasks works, and GetStatuses says the same", whole, getManyMany},
	{"Forget removes one, many and absent results", whole, forget},
	{"a group is saved, restored and deleted", 0, groups},
	{"an unknown group is ErrUnknownGroup", whole, unknownGroup},
	{"a tally is what a look at all members finds, where there are tallies", whole, tallies},
	{"a group of groups keeps its shape", 0, nestedGroup},
	{"results with an expiry over 30 days and without one stay", whole, longExpiry},
	{"a wait ends when the result is stored", whole, waitWakes},
	{"a wait for a ready result returns at once", whole, waitReady},
	{"many waits end, each with its own result", whole, manyWaits},
	{"a wait ends with its context", whole, waitCancelled},
	{"a context that is over reaches nothing", whole, contextOver},
	{"recording as pending overwrites nothing", whole, recordPending},
	{"a SUCCESS and a late FAILURE or STARTED stored at once end as SUCCESS", whole, raceForOneRecord},
	{"everything is safe for concurrent use", whole, concurrency},
	{"a big result is stored whole or refused with an error", 0, bigResult},
	{"ids with unusual characters are kept apart", whole, unusualIDs},
	{"a stamp or extra never takes the place of a field", whole, reservedNames},
	{"a meta without a state, and none, are refused", whole, noState},
	{"Override with a result that is too large leaves what stands", whole, overrideTooLarge},
	{"a failure that is too large is stored cut, and marked so", whole, failureTooLarge},
	{"a wait for an id that the store can't hold ends alone", whole, waitBadID},
	{"an error tells what became of the result", whole, outcomes},
	{"a watch sees every state until the task is ready", whole, watchStates},
	{"a chord fires once, with all members in order, where there are chords", whole, chordsFireOnce},
	{"a chord waits until its body is handed over, where there are chords", whole, chordBodies},
	{"a chord that was handed over does not fire again when it is started and reported again", whole, chordMarks},
	{"closing twice is no error", whole, closeTwice},
	{"with fallbacks, all questions have one answer", whole, fallbacks},
	{"a record that can't be read spoils no others", whole, unreadable},
	{"results expire after result_expires", whole | waits, expires},
	{"with tombstones, what has expired or was forgotten is told from what is unknown", whole | waits, tombstones},
	{"a wait ends with ErrClosed when the backend closes", whole | waits, waitClosed},
	{"a dead store ends nothing but what the caller's context ends", whole | waits, deadStore},
}

// Run runs the suite. Its rows are subtests.
func Run(t *testing.T, h Harness) {
	if h.RaceIDs == 0 {
		h.RaceIDs = 1000
		if os.Getenv("CELERYRESULTS_TEST_SOAK") == "1" {
			h.RaceIDs = 10_000
		}
	}
	var passed, ran atomic.Int64
	run := func(t *testing.T, kind int) {
		for _, r := range rows {
			if r.kind&waits != kind || h.ValuesOnly && r.kind&whole != 0 {
				continue
			}
			ran.Add(1)
			t.Run(r.rule, func(t *testing.T) {
				if kind == waits && h.Advance == nil { // a clock that is moved is moved for all
					t.Parallel()
				}
				defer func() {
					if !t.Failed() {
						passed.Add(1)
					}
				}()
				r.test(t, h)
			})
		}
	}
	run(t, 0)
	if !h.ValuesOnly {
		t.Run("together", func(t *testing.T) { run(t, waits) }) // and not behind the caller's back
	}
	t.Logf("drivertest: %d of %d rules hold", passed.Load(), ran.Load())
}

func open(t *testing.T, h Harness, s celeryresults.Settings) *celeryresults.Backend {
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

func store(t *testing.T, b *celeryresults.Backend, meta *celeryresults.TaskMeta) {
	t.Helper()
	require.NoError(t, b.StoreResult(t.Context(), meta))
}

func get(t *testing.T, b *celeryresults.Backend, id string) *celeryresults.TaskMeta {
	t.Helper()
	meta, err := b.GetTaskMeta(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, id, meta.TaskID)
	return meta
}

// OpenStore returns a backend over a store of documents, for tests.
func OpenStore(t testing.TB, store driver.Store, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	encoding, err := document.NewEncoding(s, store.Traits())
	require.NoError(t, err)
	b, err := celeryresults.NewBackend(store, encoding, s, nil)
	require.NoError(t, err)
	return b
}
