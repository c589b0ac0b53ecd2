package waiting_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/waiting"
)

// The states of records; an absent record has the empty one.
const ready = "ready"

var (
	errClosed  = errors.New("closed")
	errGarbage = errors.New("garbage")
	errDown    = errors.New("store is down")
)

func isReady(state string) bool { return state == ready }

// fakeReads are the records that a Table reads; time is synctest's.
type fakeReads struct {
	mu     sync.Mutex
	states map[string]string
	bad    map[string]bool
	err    error
	reads  int
}

func newReads() *fakeReads { return &fakeReads{states: map[string]string{}, bad: map[string]bool{}} }

func (f *fakeReads) read(_ context.Context, ids []string) ([]waiting.Found[string], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.err != nil {
		return nil, f.err
	}
	found := make([]waiting.Found[string], len(ids))
	for i, id := range ids {
		found[i] = waiting.Found[string]{ID: id, Value: f.states[id]}
		if f.bad[id] {
			found[i].Err = errGarbage
		}
	}
	return found, nil
}

func (f *fakeReads) set(change func(f *fakeReads)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func newTable(f *fakeReads, push waiting.Push) *waiting.Table[string] {
	return waiting.New(waiting.Config[string]{Read: f.read, Push: push, Final: isReady, Closed: errClosed, Patience: 30 * time.Second})
}

func TestATableIsQuickAtFirstAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		table := newTable(f, nil)
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 1000 {
			group.Go(func() {
				_, err := table.One(ctx, fmt.Sprint(i), isReady)
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		time.Sleep(time.Second)
		var first int
		f.set(func(f *fakeReads) { first = f.reads })
		assert.Greater(t, first, 50, "reads in the first second")
		time.Sleep(59 * time.Second)
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(10 * time.Second)
		f.set(func(f *fakeReads) {
			assert.LessOrEqual(t, f.reads, 10+1, "1 000 waiters take a batch a second after a minute")
			assert.Positive(t, f.reads)
		})
		cancel()
		group.Wait()
		table.Close()
	})
}

func TestATableWakesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, 10 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second, time.Hour} {
			f := newReads()
			table := newTable(f, nil)
			var stored time.Time
			time.AfterFunc(after, func() {
				f.set(func(f *fakeReads) { f.states["id"], stored = ready, time.Now() })
			})
			state, err := table.One(t.Context(), "id", isReady)
			require.NoError(t, err)
			assert.Equal(t, ready, state)
			late := time.Since(stored)
			assert.LessOrEqual(t, late, min(max(after/50, time.Millisecond), time.Second)+time.Millisecond, "stored after %s", after)
			table.Close()
		}
	})
}

func TestATableOutlivesFailuresAndReportsLastingOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		f.states["id"], f.err = ready, errDown
		table := newTable(f, nil)
		time.AfterFunc(29*time.Second, func() { f.set(func(f *fakeReads) { f.err = nil }) })
		_, err := table.One(t.Context(), "id", isReady)
		require.NoError(t, err, "a failure of less than the patience only delays")
		f.set(func(f *fakeReads) { f.err = errDown })
		start := time.Now()
		_, err = table.One(t.Context(), "id", isReady)
		require.ErrorIs(t, err, errDown)
		assert.InDelta(t, 30, time.Since(start).Seconds(), 1.1)
		var silent *waiting.SilentError
		require.ErrorAs(t, err, &silent)
		require.NoError(t, silent.Err)
		assert.Equal(t, start, silent.Since)
		table.Close()
		_, err = table.One(t.Context(), "id", isReady)
		require.ErrorIs(t, err, errClosed)
	})
}

func TestADeadStoreEndsAWaitWithItsContextAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		f.err = errDown
		table := newTable(f, nil)
		defer table.Close()
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err := table.One(ctx, "id", isReady)
		assert.Equal(t, time.Hour, time.Since(start))
		assertSilent(t, err, context.DeadlineExceeded, start, errDown)
		synctest.Wait()

		start = time.Now()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		err = table.Many(ctx, []string{"a", "b"}, isReady)
		assert.Equal(t, 10*time.Second, time.Since(start))
		assertSilent(t, err, context.Canceled, start, errDown)
	})
}

func assertSilent(t *testing.T, err, ended error, since time.Time, last error) {
	t.Helper()
	require.ErrorIs(t, err, ended)
	var silent *waiting.SilentError
	require.ErrorAs(t, err, &silent)
	assert.Equal(t, since, silent.Since)
	if last != nil {
		require.ErrorIs(t, silent, last)
	}
	require.Error(t, silent.Last)
	require.ErrorContains(t, err, "since "+since.UTC().Format(time.RFC3339))
}

// A server that takes the question and never answers.
func TestAReadThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		hangs, reads := true, 0
		table := waiting.New(waiting.Config[string]{
			Final: isReady, Closed: errClosed, Patience: 30 * time.Second,
			Read: func(ctx context.Context, ids []string) ([]waiting.Found[string], error) {
				mu.Lock()
				reads++
				hang := hangs
				mu.Unlock()
				if hang {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return []waiting.Found[string]{{ID: ids[0], Value: ready}}, nil
			},
		})
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := table.One(ctx, "id", isReady)
		assertSilent(t, err, context.DeadlineExceeded, start, nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		start = time.Now()
		_, err = table.One(t.Context(), "id", isReady)
		require.NotErrorIs(t, err, context.DeadlineExceeded, "no caller's context has ended")
		require.ErrorContains(t, err, "no answer")
		assert.InDelta(t, 30, time.Since(start).Seconds(), 6)
		time.AfterFunc(7*time.Second, func() {
			mu.Lock()
			hangs = false
			mu.Unlock()
		})
		_, err = table.One(t.Context(), "id", isReady)
		require.NoError(t, err)
		table.Close()
	})
}

func TestCloseEndsAReadThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := waiting.New(waiting.Config[string]{
			Final: isReady, Closed: errClosed, Patience: time.Minute,
			Read: func(ctx context.Context, _ []string) ([]waiting.Found[string], error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		ended := make(chan error)
		go func() {
			_, err := table.One(t.Context(), "id", isReady)
			ended <- err
		}()
		synctest.Wait()
		started := time.Now()
		go table.Close()
		require.ErrorIs(t, <-ended, errClosed)
		table.Close()
		assert.Zero(t, time.Since(started))
	})
}

func TestARecordThatCantBeReadEndsItsOwnWaitsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		f.bad["bad"], f.bad["worse"] = true, true
		table := newTable(f, nil)
		var group sync.WaitGroup
		started := time.Now()
		group.Go(func() {
			_, err := table.One(t.Context(), "bad", isReady)
			assert.Equal(t, errGarbage, err)
			assert.Zero(t, time.Since(started))
		})
		group.Go(func() {
			_, err := table.One(t.Context(), "good", isReady)
			assert.NoError(t, err)
		})
		group.Go(func() {
			var seen []string
			err := table.Many(t.Context(), []string{"bad", "good", "worse", "good 2"}, func(state string) bool {
				seen = append(seen, state)
				return isReady(state)
			})
			assert.ErrorIs(t, err, errGarbage)
			assert.Equal(t, 2, strings.Count(err.Error(), "garbage"), "%v", err)
			assert.GreaterOrEqual(t, time.Since(started), time.Minute, "the others are waited for")
			n := 0
			for _, state := range seen {
				if state == ready {
					n++
				}
			}
			assert.Equal(t, 2, n)
		})
		time.AfterFunc(time.Minute, func() {
			f.set(func(f *fakeReads) { f.states["good"], f.states["good 2"] = ready, ready })
		})
		group.Wait()
		table.Close()
	})
}

func TestNothingIsReadWhenNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		table := newTable(f, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := table.One(ctx, "id", isReady)
		require.Equal(t, context.DeadlineExceeded, err)
		synctest.Wait()
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(time.Minute)
		f.set(func(f *fakeReads) { assert.Zero(t, f.reads) })
		table.Close()
	})
}

func TestManyOfNoneEndsAtOnce(t *testing.T) {
	table := newTable(newReads(), nil)
	require.NoError(t, table.Many(t.Context(), nil, isReady))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, table.Many(ctx, []string{"a"}, isReady), context.Canceled)
	table.Close()
	require.ErrorIs(t, table.Many(t.Context(), []string{"a"}, isReady), errClosed)
}

// It has no fake time: it is for -race.
func TestATableIsSafeForConcurrentUse(t *testing.T) {
	table := waiting.New(waiting.Config[string]{
		Final: isReady, Closed: errClosed, Patience: time.Second,
		Read: func(_ context.Context, ids []string) ([]waiting.Found[string], error) {
			found := make([]waiting.Found[string], len(ids))
			for i, id := range ids {
				found[i] = waiting.Found[string]{ID: id, Value: "of " + id}
			}
			return found, nil
		},
	})
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for j := range 50 {
				id := string(rune('a' + (i+j)%26))
				state, err := table.One(t.Context(), id, func(string) bool { return true })
				assert.NoError(t, err)
				assert.Equal(t, "of "+id, state)
			}
		})
	}
	group.Wait()
	table.Close()
}

// fakePush notes what a Table asks of it.
type fakePush struct {
	mu      sync.Mutex
	watched map[string]int
}

func newPush() *fakePush { return &fakePush{watched: map[string]int{}} }

func (f *fakePush) Watch(ids []string)   { f.count(ids, 1) }
func (f *fakePush) Unwatch(ids []string) { f.count(ids, -1) }

func (f *fakePush) count(ids []string, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.watched[id] += by
		if f.watched[id] == 0 {
			delete(f.watched, id)
		}
	}
}

func (f *fakePush) all() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.watched)
}

func TestATableThatIsToldReadsRarelyAndWakesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, push := newReads(), newPush()
		table := newTable(f, push)
		woken := make(chan time.Time, 2)
		for range 2 { // two wait for one record, which is watched once
			go func() {
				_, err := table.One(t.Context(), "id", isReady)
				assert.NoError(t, err)
				woken <- time.Now()
			}()
		}
		synctest.Wait()
		assert.Equal(t, map[string]int{"id": 1}, push.all())
		table.Live("id")
		synctest.Wait()
		f.set(func(f *fakeReads) { f.reads = 0 })
		time.Sleep(10 * time.Second)
		f.set(func(f *fakeReads) { assert.InDelta(t, 10, f.reads, 1, "a read a second, for safety") })

		time.Sleep(300 * time.Millisecond)
		f.set(func(f *fakeReads) { f.states["id"] = ready })
		stored := time.Now()
		table.Changed("other", "id")
		assert.Zero(t, (<-woken).Sub(stored))
		assert.Zero(t, (<-woken).Sub(stored))
		synctest.Wait()
		assert.Empty(t, push.all(), "nothing is watched that nobody waits for")
		table.Close()
	})
}

func TestALostMessageDelaysByTheSafetyIntervalAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		table := newTable(f, newPush())
		go func() {
			time.Sleep(time.Millisecond / 2)
			table.Live("id")
			time.Sleep(5 * time.Second)
			f.set(func(f *fakeReads) { f.states["id"] = ready }) // and nobody says so
		}()
		started := time.Now()
		_, err := table.One(t.Context(), "id", isReady)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(started), 6*time.Second+2*time.Millisecond)
		table.Close()
	})
}

func TestWhileNothingIsPushedTheTableAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		table := newTable(f, newPush())
		var stored time.Time
		go func() {
			time.Sleep(10 * time.Millisecond)
			table.Live("id")
			time.Sleep(time.Hour)
			table.Lost()
			time.Sleep(50 * time.Millisecond)
			f.set(func(f *fakeReads) { f.states["id"], stored = ready, time.Now() })
		}()
		_, err := table.One(t.Context(), "id", isReady)
		require.NoError(t, err)
		assert.Less(t, time.Since(stored), 5*time.Millisecond)
		table.Close()
	})
}

func TestADeliveredRecordNeedsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newReads()
		table := newTable(f, newPush())
		var states []string
		done := make(chan error, 1)
		go func() {
			_, err := table.One(t.Context(), "id", func(state string) bool {
				states = append(states, state)
				return isReady(state)
			})
			done <- err
		}()
		synctest.Wait()
		table.Live("id")
		synctest.Wait()
		assert.True(t, table.Waits("id"))
		f.set(func(f *fakeReads) { f.reads, f.err = 0, errors.New("nobody should ask") })
		for _, state := range []string{"started", "progress", ready} {
			table.Deliver("id", state)
		}
		require.NoError(t, <-done)
		assert.Equal(t, []string{"started", "progress", ready}, states[len(states)-3:])
		f.set(func(f *fakeReads) { assert.Zero(t, f.reads) })
		assert.False(t, table.Waits("id"))
		table.Close()
	})
}

func TestManyWaitersOfOneRecordLeaveOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := newPush()
		table := newTable(newReads(), push)
		var group sync.WaitGroup
		for i := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			group.Go(func() {
				_, err := table.One(ctx, "id", isReady)
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		group.Wait()
		synctest.Wait()
		assert.Empty(t, push.all())
		table.Close()
	})
}

func TestWhoComesBackAtOnceIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		push := newPush()
		table := newTable(newReads(), push)
		for range 20 { // leaves and comes back before the table has looked
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := table.One(ctx, "id", isReady)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := table.One(ctx, "id", isReady)
			done <- err
		}()
		synctest.Wait()
		assert.Equal(t, map[string]int{"id": 1}, push.all())
		require.ErrorIs(t, <-done, context.DeadlineExceeded)
		synctest.Wait()
		assert.Empty(t, push.all())
		table.Close()
	})
}

func TestAReadThatWasOvertakenIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan string) // of the reads, one by one
		table := waiting.New(waiting.Config[string]{
			Final: isReady, Closed: errClosed, Patience: time.Minute, Push: newPush(),
			Read: func(ctx context.Context, _ []string) ([]waiting.Found[string], error) {
				select {
				case state := <-answer:
					return []waiting.Found[string]{{ID: "a", Value: state}}, nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			},
		})
		var seen []string
		ended := make(chan error)
		go func() {
			_, err := table.One(t.Context(), "a", func(state string) bool {
				seen = append(seen, state)
				return isReady(state)
			})
			ended <- err
		}()
		answer <- "pending"
		table.Live("a")
		synctest.Wait() // a read is under way, and has seen the store as it was
		table.Deliver("a", "progress")
		answer <- "started"
		synctest.Wait()
		assert.Equal(t, []string{"pending", "progress"}, seen, "started was before progress")
		table.Changed("a")
		answer <- "retry" // a later read counts
		synctest.Wait()
		table.Changed("a")
		synctest.Wait()
		table.Deliver("a", "progress")
		answer <- ready // and so does the end, whenever it was read
		require.NoError(t, <-ended)
		assert.Equal(t, []string{"pending", "progress", "retry", "progress", ready}, seen)
		table.Close()
	})
}

// TestNoWakeUpIsLost lets a store, a push that says what it likes, and callers that come and
// go work at random, and compares each wait with one that only asks: it ends with what the
// store has, and not later than the safety interval after it was there.
func TestNoWakeUpIsLost(t *testing.T) {
	for round := range 300 {
		seed := rand.Uint64()
		synctest.Test(t, func(t *testing.T) {
			w := &world{t: t, random: rand.New(rand.NewPCG(seed, 0)), reads: newReads(), readyAt: map[string]time.Time{}, live: map[string]bool{}, watched: map[string]bool{}}
			w.run()
		})
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
}

// world is a store whose records change, and that tells a Table of it more or less.
type world struct {
	t     *testing.T
	table *waiting.Table[string]
	reads *fakeReads

	mu      sync.Mutex
	random  *rand.Rand           // guarded by mu
	readyAt map[string]time.Time // guarded by mu
	watched map[string]bool      // guarded by mu
	live    map[string]bool      // what it tells of for certain; guarded by mu
	silent  bool                 // the connection is broken; guarded by mu
}

const records = 6

func (w *world) pick(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

func (w *world) pause(most time.Duration) { time.Sleep(time.Duration(w.pick(int(most)))) }

// read takes time before and after it looks, so that others overtake it.
func (w *world) read(ctx context.Context, ids []string) ([]waiting.Found[string], error) {
	w.pause(3 * time.Millisecond)
	if w.pick(20) == 0 {
		return nil, errDown
	}
	found, err := w.reads.read(ctx, ids)
	w.pause(3 * time.Millisecond)
	return found, err
}

// Watch implements waiting.Push: subscriptions are there a while later, if the connection
// lasts.
func (w *world) Watch(ids []string) {
	w.mu.Lock()
	for _, id := range ids {
		assert.False(w.t, w.watched[id], "%s is watched already", id)
		w.watched[id] = true
	}
	w.mu.Unlock()
	ids = slices.Clone(ids)
	go func() {
		w.pause(20 * time.Millisecond)
		w.subscribe(ids)
	}()
}

// subscribe begins to tell of the records, if they are still watched.
func (w *world) subscribe(ids []string) {
	var live []string
	w.mu.Lock()
	for _, id := range ids {
		if w.watched[id] && !w.silent {
			w.live[id] = true
			live = append(live, id)
		}
	}
	w.mu.Unlock()
	if len(live) > 0 {
		w.table.Live(live...)
	}
}

// Unwatch implements waiting.Push.
func (w *world) Unwatch(ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		assert.True(w.t, w.watched[id], "%s is not watched", id)
		delete(w.watched, id)
		delete(w.live, id)
	}
}

// change stores a state, and tells of it where that is promised.
func (w *world) change(id string) {
	state := fmt.Sprint("state ", w.pick(100))
	if w.pick(3) == 0 {
		state = ready
	}
	w.reads.set(func(f *fakeReads) {
		if f.states[id] == ready {
			return
		}
		f.states[id] = state
		if state == ready {
			w.mu.Lock()
			w.readyAt[id] = time.Now()
			w.mu.Unlock()
		}
	})
	w.mu.Lock()
	live := w.live[id]
	w.mu.Unlock()
	var stands string
	w.reads.set(func(f *fakeReads) { stands = f.states[id] })
	switch {
	case live && w.pick(2) == 0:
		w.table.Deliver(id, stands)
	case live || w.pick(3) == 0: // also one that is not expected
		w.table.Changed(id)
	}
}

// breakOff breaks the connection for a while, before or after the Table knows.
func (w *world) breakOff() {
	w.mu.Lock()
	w.silent = true
	clear(w.live)
	w.mu.Unlock()
	w.pause(5 * time.Millisecond)
	w.table.Lost()
	w.pause(50 * time.Millisecond)
	w.mu.Lock()
	w.silent = false
	ids := slices.Sorted(maps.Keys(w.watched))
	w.mu.Unlock()
	w.subscribe(ids)
}

func (w *world) run() {
	w.table = waiting.New(waiting.Config[string]{Read: w.read, Push: w, Final: isReady, Closed: errClosed, Patience: 30 * time.Second})
	var group sync.WaitGroup
	for range 12 {
		group.Go(w.wait)
	}
	for i := range records {
		group.Go(func() {
			for range 1 + w.pick(6) {
				w.pause(40 * time.Millisecond)
				w.change(fmt.Sprint(i))
			}
			w.pause(200 * time.Millisecond)
			w.reads.set(func(f *fakeReads) { // the end, of which nobody may be told
				if f.states[fmt.Sprint(i)] != ready {
					f.states[fmt.Sprint(i)] = ready
					w.mu.Lock()
					w.readyAt[fmt.Sprint(i)] = time.Now()
					w.mu.Unlock()
				}
			})
		})
	}
	for range w.pick(3) {
		w.breakOff()
	}
	group.Wait()
	time.Sleep(30 * time.Millisecond) // as long as a subscription takes
	synctest.Wait()
	w.mu.Lock()
	assert.Empty(w.t, w.watched, "nothing is watched that nobody waits for")
	w.mu.Unlock()
	w.table.Close()
}

// latest is how late a wait may end: a safety read, and those that failed or were slow.
const latest = time.Second + 200*time.Millisecond

// wait waits for some records, a few times; some waits end before.
func (w *world) wait() {
	for range 1 + w.pick(3) {
		w.pause(30 * time.Millisecond)
		w.mu.Lock()
		ids := make([]string, 0, records)
		for _, i := range w.random.Perm(records)[:1+w.random.IntN(records)] {
			ids = append(ids, fmt.Sprint(i))
		}
		w.mu.Unlock()
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
		if w.pick(3) == 0 {
			ctx, cancel = context.WithTimeout(w.t.Context(), time.Duration(1+w.pick(int(30*time.Millisecond))))
		}
		w.waitOnce(ctx, ids)
		cancel()
	}
}

func (w *world) waitOnce(ctx context.Context, ids []string) {
	began := time.Now()
	ended := 0
	err := w.table.Many(ctx, ids, func(state string) bool {
		if isReady(state) {
			ended++
		}
		return isReady(state)
	})
	if err != nil {
		assert.ErrorIs(w.t, err, context.DeadlineExceeded)
		assert.Error(w.t, ctx.Err())
		return
	}
	assert.Equal(w.t, len(ids), ended, "each record ends its wait once")
	last := began
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		at, there := w.readyAt[id]
		assert.True(w.t, there, "%s ended before it was ready", id)
		if at.After(last) {
			last = at
		}
	}
	assert.LessOrEqual(w.t, time.Since(last), latest, "of %v", ids)
}

func TestWhatIsAnnouncedIsReadWhereNobodyTells(t *testing.T) {
	for _, row := range []struct {
		name  string
		push  waiting.Push
		live  bool
		after time.Duration
		late  time.Duration // at most
	}{
		{"nobody tells of any record", nil, false, time.Hour, 0},
		{"nobody tells of this record", newPush(), false, time.Hour, 0},
		{"a newcomer is read soon in any case", newPush(), false, 10 * time.Millisecond, time.Millisecond},
		{"a record whose changes are told", newPush(), true, time.Hour + 500*time.Millisecond, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newReads()
				table := newTable(f, row.push)
				var stored time.Time
				go func() {
					synctest.Wait()
					if row.live {
						table.Live("id")
					}
					time.Sleep(row.after)
					f.set(func(f *fakeReads) { f.states["id"], stored = ready, time.Now() })
					table.Announce("id", "other")
				}()
				_, err := table.One(t.Context(), "id", isReady)
				require.NoError(t, err)
				late := time.Since(stored)
				assert.LessOrEqual(t, late, row.late)
				assert.Equal(t, row.live, late > 100*time.Millisecond, "it waits for what it is told")
				table.Close()
			})
		})
	}
}
