package dbbackend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// fired collects the bodies that were handed over, as text.
type fired struct {
	fail func(id string) error

	mu     sync.Mutex
	bodies []string // guarded by mu
}

func collect(fail func(id string) error) *fired { return &fired{fail: fail} }

// body is a celeryresults.ChordBody.
func (f *fired) body(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
	if f.fail != nil {
		if err := f.fail(chord.ID); err != nil {
			return err
		}
	}
	parts := make([]string, len(results))
	for i, meta := range results {
		value, _ := meta.Result.Any()
		parts[i] = fmt.Sprintf("%s=%v", meta.TaskID, value)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = append(f.bodies, chord.ID+": "+strings.Join(parts, " "))
	return nil
}

func (f *fired) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.bodies)
}

// checkNoChords makes sure that nothing is left of any chord but marks.
func (b base) checkNoChords(t *testing.T) {
	t.Helper()
	assert.Zero(t, b.count(t, `SELECT COUNT(*) FROM `+resultschema.ChordTable+` WHERE missing >= 0 OR body IS NOT NULL`))
	assert.Zero(t, b.count(t, `SELECT COUNT(*) FROM `+resultschema.ChordMemberTable))
}

// errDied is what the body panics with where a process would die: nothing gives
// the claim back.
var errDied = errors.New("the process died")

// TestEveryChordFiresOnceWithAllMembersInOrder reports the members of 500 chords
// in any order, each one to three times, from 16 goroutines over two backends.
// Of the processes that hand a body over, one in four dies before, one in eight
// fails, and sweepers are at work all the time.
func TestEveryChordFiresOnceWithAllMembersInOrder(t *testing.T) {
	const members = 20
	chords := 100
	if os.Getenv("CELERYRESULTS_TEST_SOAK") == "1" {
		chords = 500
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	onEach(t, func(t *testing.T, b base) {
		chords := chords
		if b.dialect == sqldialect.SQLite { // whose writers take turns, and wait for one another
			chords = min(chords, 50)
		}
		r := rand.New(rand.NewPCG(seed, 3))
		var passed atomic.Int64 // of the clock, beside what passes by itself
		now := func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
		backends := []*celeryresults.Backend{b.at(t, now), b.over(t, openBase(t, b.database).db, dbbackend.Options{Now: now})}
		var reports [][2]string
		want := make([]string, chords)
		for c, chord := range numbered("chord", chords) {
			ids := numbered(chord+"-member", members)
			want[c] = chord + ":"
			for i, id := range ids {
				want[c] += fmt.Sprintf(" %s=%d", id, i)
				for range 1 + r.IntN(3) {
					reports = append(reports, [2]string{chord, id})
				}
			}
			require.NoError(t, backends[c%2].StartChord(t.Context(), celeryresults.Chord{ID: chord, Members: ids}))
		}
		everyone(16, func(g int) {
			for c := g; c < chords; c += 16 {
				for i, id := range numbered(fmt.Sprintf("chord-%03d-member", c), members) {
					assert.NoError(t, backends[g%2].StoreResult(t.Context(), done(id, i)))
				}
			}
		})
		r.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
		var deaths, failures atomic.Int64
		f := collect(func(string) error {
			switch n := rand.IntN(8); {
			case n < 2:
				deaths.Add(1)
				panic(errDied)
			case n == 2:
				failures.Add(1)
				return errors.New("the broker is away")
			}
			return nil
		})
		var working, sweeping sync.WaitGroup
		var reported atomic.Bool
		for s := range 2 {
			sweeping.Go(func() {
				for !reported.Load() {
					survive(func() { _, _ = backends[s].SweepChords(t.Context(), f.body) })
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		for g := range 16 {
			working.Go(func() {
				for i := g; i < len(reports); i += 16 {
					survive(func() { _ = backends[i%2].ReportPart(t.Context(), reports[i][0], reports[i][1], f.body) })
				}
			})
		}
		working.Wait()
		reported.Store(true)
		sweeping.Wait()
		for sweeps := 0; len(f.all()) < chords && sweeps < 200; sweeps++ {
			passed.Add(int64(2 * time.Minute)) // claims of the dead have expired
			everyone(2, func(s int) { survive(func() { _, _ = backends[s].SweepChords(t.Context(), f.body) }) })
		}
		got := f.all()
		slices.Sort(got)
		assert.Equal(t, want, got)
		b.checkNoChords(t)
		t.Logf("%d chords, %d reports, %d processes died, %d failed", chords, len(reports), deaths.Load(), failures.Load())
	})
}

// survive calls f up to where its process dies.
func survive(f func()) {
	defer func() {
		if died := recover(); died != nil && died != error(errDied) { //nolint:errorlint // it is the very value
			panic(died)
		}
	}()
	f()
}

// dyingEnv tells the test's program to be a process that dies over a chord.
const dyingEnv = "CELERYRESULTS_TEST_DYING_CHORD"

// death is where it dies.
type death struct {
	Settings      celeryresults.Settings
	Chord, Member string
	Lease         time.Duration
}

// die reports a chord's last member, and is killed when it has claimed the body.
func die(encoded string) {
	var d death
	if err := json.Unmarshal([]byte(encoded), &d); err != nil {
		panic(err)
	}
	db, _, err := sqldialect.Open(d.Settings.Databases["default"])
	if err != nil {
		panic(err)
	}
	b, err := dbbackend.New(db, d.Settings, dbbackend.Options{ChordLease: d.Lease})
	if err != nil {
		panic(err)
	}
	err = b.ReportPart(context.Background(), d.Chord, d.Member, func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error {
		fmt.Println("claimed")
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			panic(err)
		}
		select {}
	})
	panic(fmt.Sprint("it lives on: ", err))
}

func TestABodyOutlivesTheProcessThatHadClaimedIt(t *testing.T) {
	const lease = 2 * time.Second
	onEach(t, func(t *testing.T, b base) {
		backend := b.over(t, b.db, dbbackend.Options{ChordLease: lease})
		require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "chord", Members: []string{"a", "b"}}))
		store(t, backend, done("a", 1), done("b", 2))
		f := collect(nil)
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", f.body))
		encoded, err := json.Marshal(death{b.settings(), "chord", "b", lease})
		require.NoError(t, err)
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), dyingEnv+"="+string(encoded))
		output, err := child.Output()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, "claimed\n", string(output), "%s", exit.Stderr)
		require.Empty(t, exit.Stderr, "it was killed")

		n, err := backend.SweepChords(t.Context(), f.body)
		require.NoError(t, err)
		assert.Zero(t, n, "the claim holds for its lease")
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "b", f.body))
		assert.Empty(t, f.all())
		require.Eventually(t, func() bool {
			_, err := backend.SweepChords(t.Context(), f.body)
			return err == nil && len(f.all()) > 0
		}, 30*time.Second, 50*time.Millisecond)
		assert.Equal(t, []string{"chord: a=1 b=2"}, f.all())
		b.checkNoChords(t)
	})
}

func TestASlowHandOverKeepsItsClaim(t *testing.T) {
	const lease = 400 * time.Millisecond
	onEach(t, func(t *testing.T, b base) {
		backend := b.over(t, openBase(t, b.database).db, dbbackend.Options{ChordLease: lease})
		sweeper := b.over(t, b.db, dbbackend.Options{ChordLease: lease})
		require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "chord", Members: []string{"a"}}))
		slow := collect(func(string) error {
			time.Sleep(4 * lease)
			return nil
		})
		other := collect(nil)
		var handing sync.WaitGroup
		handing.Go(func() { assert.NoError(t, backend.ReportPart(t.Context(), "chord", "a", slow.body)) })
		for range 12 {
			time.Sleep(lease / 4)
			_, err := sweeper.SweepChords(t.Context(), other.body)
			require.NoError(t, err)
		}
		handing.Wait()
		assert.Empty(t, other.all())
		assert.Equal(t, []string{"chord: a=<nil>"}, slow.all())
		b.checkNoChords(t)
	})
}

func TestABodyThatFailsIsForTheNextSweep(t *testing.T) {
	away := errors.New("the broker is away")
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		failing := collect(func(string) error { return away })
		for _, id := range []string{"one", "two"} {
			require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: id, Members: []string{id + "-a"}, Body: celeryresults.NewValue(map[string]any{"task": id})}))
			require.ErrorIs(t, backend.ReportPart(t.Context(), id, id+"-a", failing.body), away)
		}
		n, err := backend.SweepChords(t.Context(), failing.body)
		require.ErrorIs(t, err, away)
		assert.Zero(t, n)
		ctx, cancel := context.WithCancel(t.Context())
		err = backend.ReportPart(ctx, "one", "one-a", func(ctx context.Context, _ celeryresults.Chord, _ []*celeryresults.TaskMeta) error {
			cancel() // a worker that is told to stop
			return ctx.Err()
		})
		require.ErrorIs(t, err, context.Canceled)
		require.Error(t, backend.ReportPart(t.Context(), "two", "two-a", nil), "no body to call")

		var bodies []string
		n, err = backend.SweepChords(t.Context(), func(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
			bodies = append(bodies, chord.ID+plain(t, chord.Body)+fmt.Sprint(chord.Members, results[0].Unknown))
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		slices.Sort(bodies)
		assert.Equal(t, []string{`one{"task":"one"}[one-a] true`, `two{"task":"two"}[two-a] true`}, bodies)
		b.checkNoChords(t)
	})
}

func TestWhatIsNoPartOfAChordDoesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend, f := b.open(t), collect(nil)
		require.NoError(t, backend.ReportPart(t.Context(), "unknown", "a", f.body))
		require.Error(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "empty"}))
		require.Error(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "double", Members: []string{"a", "a"}}))
		require.ErrorIs(t, backend.StartChord(t.Context(), celeryresults.Chord{Members: []string{"a"}}), celeryresults.ErrNoTaskID)
		require.Error(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "odd", Members: []string{"a"}, Body: celeryresults.NewValue(make(chan int))}))
		b.checkNoChords(t)

		chord := celeryresults.Chord{ID: "chord", Members: []string{"a", "b"}, Body: celeryresults.NewValue("first")}
		require.NoError(t, backend.StartChord(t.Context(), chord))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "stranger", f.body))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", f.body))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", f.body))
		again := celeryresults.Chord{ID: "chord", Members: []string{"c"}, Body: celeryresults.NewValue("second")}
		require.NoError(t, backend.StartChord(t.Context(), again), "it stands as it is")
		assert.Empty(t, f.all())
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "b", f.body))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "b", f.body))
		assert.Equal(t, []string{"chord: a=<nil> b=<nil>"}, f.all())
		b.checkNoChords(t)

		require.NoError(t, backend.StartChord(t.Context(), chord))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", f.body))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "b", f.body))
		assert.Len(t, f.all(), 1, "it was handed over")
		require.NoError(t, backend.DeleteChord(t.Context(), "chord"))
		require.NoError(t, backend.StartChord(t.Context(), chord))
		require.NoError(t, backend.DeleteChord(t.Context(), "chord"))
		require.NoError(t, backend.DeleteChord(t.Context(), "chord"))
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", f.body))
		b.checkNoChords(t)
		assert.Len(t, f.all(), 1)
	})
}

func TestALargeChordHasAllMembers(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		members := make([]string, 3000)
		for i := range members {
			members[i] = fmt.Sprint("member-", i)
		}
		rand.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "large", Members: members}))
		b.exec(t, `UPDATE `+resultschema.ChordMemberTable+` SET date_reported = $1 WHERE task_id <> 'member-7'`, b.dialect.Time(start))
		b.exec(t, `UPDATE `+resultschema.ChordTable+` SET missing = 1`)
		store(t, backend, done("member-7", "seven"))
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET status = ''`)
		called := 0
		require.NoError(t, backend.ReportPart(t.Context(), "large", "member-7", func(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
			called++
			assert.Equal(t, members, chord.Members)
			for i, meta := range results {
				require.NotNil(t, meta, "a record that is no result is unknown")
				assert.Equal(t, members[i], meta.TaskID)
			}
			return nil
		}))
		assert.Equal(t, 1, called)
		b.checkNoChords(t)
	})
}

func TestTablesWithoutChordsSaySo(t *testing.T) {
	onEachEmpty(t, "Django's alone", func(t *testing.T, b base) {
		b.load(t, "2.6.0")
		backend := b.open(t)
		require.ErrorIs(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "c", Members: []string{"a"}}), errors.ErrUnsupported)
		_, err := backend.SweepChords(t.Context(), nil)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		_, err = backend.List(t.Context(), celeryresults.Query{Labels: map[string]string{"a": "b"}})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		meta := done("labelled", 1)
		meta.Meta = celeryresults.NewValue(python.Dict{{Key: "tenant", Value: "acme"}})
		store(t, backend, meta)
		require.NoError(t, backend.Forget(t.Context(), "labelled"))
		_, err = backend.Cleanup(t.Context())
		require.NoError(t, err)
	})
}

func TestChordCountersAreThoseOfDjango(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		var group celeryresults.ResultTuple
		group.ID = "group"
		for _, id := range numbered("member", 40) {
			group.Children = append(group.Children, celeryresults.ResultTuple{ID: id})
		}
		chord := backend.CeleryChord("group")
		require.NoError(t, chord.Start(t.Context(), group, 40))
		require.NoError(t, chord.Start(t.Context(), group, 40), "a counter that stands is left as it is")
		assert.Equal(t, 40, b.count(t, `SELECT count FROM `+resultschema.ChordCounterTable))
		store(t, backend, done("member-007", "seven"))
		part := celeryresults.ChordPart{TaskID: "member-007", State: celeryresults.Success}
		var last atomic.Int64
		everyone(40, func(int) {
			parts, err := chord.Report(t.Context(), part)
			assert.NoError(t, err)
			if parts == nil {
				return
			}
			last.Add(1)
			assert.Equal(t, &group, parts.Group)
			assert.Len(t, parts.Members, 40)
			assert.Equal(t, "member-007", parts.Members[7].TaskID)
			assert.Equal(t, celeryresults.Success, parts.Members[7].State)
		})
		assert.EqualValues(t, 1, last.Load())
		_, err := chord.Report(t.Context(), part)
		require.ErrorIs(t, err, celeryresults.ErrUnknownChord)
		assert.Zero(t, b.count(t, `SELECT COUNT(*) FROM `+resultschema.ChordCounterTable))
		require.ErrorIs(t, chord.Add(t.Context()), errors.ErrUnsupported)
		require.Error(t, chord.Start(t.Context(), celeryresults.ResultTuple{}, 0), "a chord needs members")
	})
}

// TestMarksOfChordsLiveAsLongAsResults is about a chord that was handed over: it is not
// started again until its mark has expired.
func TestMarksOfChordsLiveAsLongAsResults(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		now := start
		backend, f := b.at(t, func() time.Time { return now }, retention), collect(nil)
		fire := func(id string) {
			t.Helper()
			require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: id, Members: []string{"a"}}))
			require.NoError(t, backend.ReportPart(t.Context(), id, "a", f.body))
		}
		marks := func() int { return b.count(t, `SELECT COUNT(*) FROM `+resultschema.ChordTable) }
		fire("chord")
		now = start.Add(time.Hour)
		fire("chord")
		assert.Len(t, f.all(), 1)
		_, err := backend.Cleanup(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, marks())
		now = start.Add(time.Hour + time.Second)
		fire("chord")
		assert.Len(t, f.all(), 2, "the mark has expired, also where nobody cleans up")
		now = start.Add(3 * time.Hour)
		report, err := storeOf(t, backend).CleanupWith(t.Context(), dbbackend.CleanupOptions{})
		require.NoError(t, err)
		assert.Zero(t, report.Chords, "it was not abandoned")
		assert.Zero(t, marks())
		fire("chord")
		assert.Len(t, f.all(), 3)
		require.NoError(t, backend.DeleteChord(t.Context(), "chord"))
		assert.Zero(t, marks())
	})
}
