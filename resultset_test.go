package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// setOfTwo returns a set of n tasks which live in two backends in turns, and how
// to store one of them.
func setOfTwo(t *testing.T, n int) (set *celeryresults.ResultSet, stores [2]*fakeStore, store func(i int, state celeryresults.State)) {
	var backends [2]*celeryresults.Backend
	for i := range backends {
		stores[i] = newStore()
		backends[i] = backendOver(t, stores[i], celeryresults.Settings{})
	}
	run := newID(t)
	id := func(i int) string { return run + strconv.Itoa(i) }
	set = celeryresults.NewResultSet()
	for i := range n {
		set.Add(celeryresults.NewAsyncResult(id(i), backends[i%2]))
	}
	return set, stores, func(i int, state celeryresults.State) {
		meta := &celeryresults.TaskMeta{TaskID: id(i), State: state, Result: celeryresults.NewValue(i)}
		if state.Exception() {
			meta.Result = celeryresults.NewValue(celeryresults.NewTaskError(fmt.Errorf("number %d", i)))
		}
		assert.NoError(t, backends[i%2].StoreResult(context.Background(), meta))
	}
}

func TestMembersOfAResultSet(t *testing.T) {
	a, b, c := celeryresults.NewAsyncResult("a", nil), celeryresults.NewAsyncResult("b", nil), celeryresults.NewAsyncResult("c", nil)
	again := celeryresults.NewAsyncResult("a", nil)
	set := celeryresults.NewResultSet(a, b, again)
	set.Add(c, again)
	assert.Equal(t, []*celeryresults.AsyncResult{a, b, c}, set.Results(), "an id that is there is not added again")
	snapshot := set.Results()
	require.NoError(t, set.Remove("b"))
	require.ErrorIs(t, set.Remove("b"), celeryresults.ErrNoMember)
	set.Discard("b", "nobody")
	assert.Equal(t, []*celeryresults.AsyncResult{a, c}, set.Results())
	assert.Len(t, snapshot, 3)
	set.Add(b)
	assert.Equal(t, []*celeryresults.AsyncResult{a, c, b}, set.Results())
	set.Update(slices.Values(set.Results()))
	assert.Equal(t, 3, set.Len())
	set.Discard("a", "b")
	assert.Equal(t, []*celeryresults.AsyncResult{c}, set.Results())
	set.Clear()
	assert.Zero(t, set.Len())
	var zero celeryresults.ResultSet
	zero.Discard("a")
	zero.Add(a)
	assert.Equal(t, 1, zero.Len())
}

func TestAnEmptyResultSetIsReadyAndSuccessful(t *testing.T) { // as all() and any() of nothing are in Python
	set := celeryresults.NewResultSet()
	answers := answersOf(t, set)
	assert.Equal(t, setAnswers{ready: true, successful: true}, answers)
	values, err := set.Get(t.Context())
	require.NoError(t, err)
	assert.Empty(t, values)
	for range set.AsCompleted(t.Context()) {
		t.Error("nothing is to be yielded")
	}
	require.NoError(t, set.Forget(t.Context()))
	require.NoError(t, set.Err(t.Context()))
}

// setAnswers is all that a set says of its members.
type setAnswers struct {
	ready, waiting, successful, failed bool
	completed                          int
	progress                           celeryresults.Progress
}

func answersOf(t *testing.T, set *celeryresults.ResultSet) (a setAnswers) {
	ctx, errs := t.Context(), make([]error, 6)
	a.ready, errs[0] = set.Ready(ctx)
	a.waiting, errs[1] = set.Waiting(ctx)
	a.successful, errs[2] = set.Successful(ctx)
	a.failed, errs[3] = set.Failed(ctx)
	a.completed, errs[4] = set.CompletedCount(ctx)
	a.progress, errs[5] = set.Progress(ctx)
	require.NoError(t, errors.Join(errs...))
	return a
}

func TestAQuestionCostsOneReadForEachBackend(t *testing.T) {
	set, stores, store := setOfTwo(t, 8)
	asks := func() (list [][2]int) {
		for _, b := range stores {
			reads, ids := b.asks()
			list = append(list, [2]int{reads, ids})
		}
		return list
	}
	assert.Equal(t, setAnswers{waiting: true, progress: celeryresults.Progress{Total: 8, Unknown: 8}}, answersOf(t, set))
	assert.Equal(t, [][2]int{{6, 24}, {6, 24}}, asks(), "six questions about four members in each")

	store(0, celeryresults.Success)
	store(1, celeryresults.Success)
	store(2, celeryresults.Revoked)
	store(3, celeryresults.Pending)
	store(4, celeryresults.Started)
	store(5, celeryresults.Retry)
	store(6, "PROGRESS")
	assert.Equal(t, setAnswers{waiting: true, completed: 2, progress: celeryresults.Progress{
		Total: 8, Unknown: 1, Queued: 2, Running: 2, Ready: 3, Successful: 2, Revoked: 1,
	}}, answersOf(t, set))
	require.EqualError(t, errors.Unwrap(unwrapOne(set.Err(t.Context()))), "Exception: number 2")
	assert.Equal(t, [][2]int{{7, 4 + 5*2 + 4}, {7, 4 + 5*3 + 4}}, asks(), "what is ready is not asked again, until its result is wanted")

	for i := 3; i < 8; i++ {
		store(i, celeryresults.Success)
	}
	assert.Equal(t, setAnswers{ready: true, completed: 7, progress: celeryresults.Progress{
		Total: 8, Ready: 8, Successful: 7, Revoked: 1,
	}}, answersOf(t, set))
	assert.Equal(t, [][2]int{{1, 2}, {1, 3}}, asks(), "the first question makes all others free")
	set.Discard(set.Results()[2].ID())
	assert.Equal(t, setAnswers{ready: true, successful: true, completed: 7, progress: celeryresults.Progress{
		Total: 7, Ready: 7, Successful: 7,
	}}, answersOf(t, set))
	require.NoError(t, set.Err(t.Context()))

	require.NoError(t, set.Forget(t.Context()))
	assert.Equal(t, 7, set.Len())
	assert.Equal(t, celeryresults.Progress{Total: 7, Unknown: 7}, answersOf(t, set).progress)
	for _, s := range stores {
		s.set(func(s *fakeStore) { assert.Equal(t, 1, s.deletes) })
	}
}

// unwrapOne returns what errors.Join made of one error.
func unwrapOne(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) == 1 { //nolint:errorlint // it is Join's own
		return joined.Unwrap()[0]
	}
	return err
}

func TestGetReturnsValuesInOrder(t *testing.T) {
	set, _, store := setOfTwo(t, 7)
	store(3, celeryresults.Success)
	store(5, celeryresults.Success)
	begin := make(chan bool, 7)
	go func() {
		for _, i := range []int{6, 1, 0, 4, 2} {
			<-begin
			store(i, celeryresults.Success)
		}
	}()
	var seen []int
	onResult := celeryresults.OnResult(func(meta *celeryresults.TaskMeta) {
		n, err := celeryresults.As[int](meta.Result)
		assert.NoError(t, err)
		seen = append(seen, n) // -race tells if it were another goroutine
		if len(seen) > 1 {
			begin <- true
		}
	})
	got, err := celeryresults.GetAll[int](within(t), set, onResult)
	require.NoError(t, err)
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, got)
	require.Len(t, seen, 7)
	assert.Equal(t, []int{3, 5}, seen[:2], "first what is ready by now, in order")

	var ids []string
	values, err := set.Get(within(t), celeryresults.OnResult(func(meta *celeryresults.TaskMeta) { ids = append(ids, meta.TaskID) }))
	require.NoError(t, err)
	require.Len(t, values, 7)
	assert.Equal(t, idsOf(set.Results()), ids)
	_, err = celeryresults.GetAll[time.Time](within(t), set)
	require.ErrorContains(t, err, strconv.Quote(set.Results()[0].ID()))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestAFailureEndsGetAtOnce(t *testing.T) {
	set, _, store := setOfTwo(t, 5)
	store(4, celeryresults.Failure)
	store(1, celeryresults.Retry)
	store(3, celeryresults.Revoked)
	_, err := set.Get(within(t)) // though others are missing
	var failure *celeryresults.TaskError
	require.ErrorAs(t, err, &failure)
	assert.EqualError(t, failure, "Exception: number 3", "the first in order; a task that runs again has not failed")
	require.ErrorContains(t, err, set.Results()[3].ID())
	_, err = set.Join(within(t), celeryresults.Propagate(true))
	require.ErrorAs(t, err, &failure)
	require.EqualError(t, unwrapOne(set.Err(t.Context())), err.Error())

	ended := make(chan error)
	set.Discard(set.Results()[3].ID(), set.Results()[4].ID())
	go func() {
		_, err := set.Get(within(t))
		ended <- err
	}()
	time.Sleep(5 * time.Millisecond)
	store(2, celeryresults.Failure)
	require.ErrorAs(t, <-ended, &failure, "one that fails while others are missing")
	assert.EqualError(t, failure, "Exception: number 2")

	store(0, celeryresults.Success)
	store(1, celeryresults.Success)
	metas, err := set.Join(within(t))
	require.NoError(t, err)
	require.EqualError(t, metas[2].Err(), "Exception: number 2")
	values, err := set.Get(within(t), celeryresults.Propagate(false))
	require.NoError(t, err)
	assert.Len(t, values, 3)
}

func TestWaitsForAResultSetEndWithTheirContext(t *testing.T) {
	set, stores, store := setOfTwo(t, 6)
	store(0, celeryresults.Success)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := set.Join(ctx)
	require.ErrorIs(t, err, context.Canceled)
	_, err = set.Ready(ctx)
	require.ErrorIs(t, err, context.Canceled)
	for _, err = range set.AsCompleted(ctx) {
	}
	require.ErrorIs(t, err, context.Canceled)
	stores[0].asks()
	require.NoError(t, set.Remove(set.Results()[1].ID()))
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = set.Get(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAsCompletedYieldsEachMemberOnceAsItComes(t *testing.T) {
	set, _, store := setOfTwo(t, 20)
	order := rand.Perm(20)
	for _, i := range order[:5] {
		store(i, celeryresults.Success)
	}
	var seen []int
	for meta, err := range set.AsCompleted(within(t)) {
		require.NoError(t, err)
		n, err := celeryresults.As[int](meta.Result)
		require.NoError(t, err)
		seen = append(seen, n)
		if len(seen) >= 5 && len(seen) < 20 {
			store(order[len(seen)], celeryresults.Success) // only now
		}
	}
	assert.Equal(t, order[5:], seen[5:])
	slices.Sort(order[:5])
	assert.Equal(t, order[:5], seen[:5], "first those that were ready, in their order")

	set, _, store = setOfTwo(t, 4)
	store(0, celeryresults.Success)
	n := 0
	for range set.AsCompleted(within(t)) {
		if n++; n == 1 {
			store(3, celeryresults.Failure)
			continue
		}
		break // nobody waits any more: goleak would tell
	}
	assert.Equal(t, 2, n)
	for range set.AsCompleted(within(t)) {
		break
	}
}

func TestHandlesThatCantBeAsked(t *testing.T) {
	app := twoBackends(t)
	good := app.AsyncResult(newID(t))
	for _, bad := range []*celeryresults.AsyncResult{
		app.AsyncResult(""), app.AsyncResult("x", celeryresults.FromNamed("nobody")), celeryresults.NewAsyncResult("x", nil),
	} {
		set := celeryresults.NewResultSet(good, bad)
		_, err := set.Ready(t.Context())
		require.Error(t, err)
		_, err = set.Join(t.Context())
		require.Error(t, err)
		if bad.Backend() != nil || bad.ID() == "" {
			require.Error(t, set.Forget(t.Context()))
		}
	}
	eager := celeryresults.NewEagerResult("eager", 5, celeryresults.Success)
	retried := celeryresults.NewEagerResult("retried", errors.New("again"), celeryresults.Retry)
	set := celeryresults.NewResultSet(eager, retried)
	metas, err := set.Join(t.Context())
	require.NoError(t, err, "what has run is not waited for")
	assert.Equal(t, celeryresults.Retry, metas[1].State)
	require.NoError(t, set.Forget(t.Context()))
	_, err = set.Ready(t.Context())
	require.Error(t, err, "an eager result that was forgotten is nowhere")
}

func TestJoinAnswersEveryHandleOfATask(t *testing.T) {
	app := twoBackends(t)
	req := &celeryresults.Request{ID: newID(t), Task: "mail.send"}
	time.AfterFunc(5*time.Millisecond, func() { assert.NoError(t, app.MarkAsDone(context.Background(), req, 1)) })
	metas, err := celeryresults.Join(within(t), app.AsyncResult(req.ID), app.AsyncResult(req.ID))
	require.NoError(t, err)
	for _, meta := range metas {
		assert.Equal(t, celeryresults.Success, meta.State)
	}
}

func setOver(b *celeryresults.Backend, n int) *celeryresults.ResultSet {
	set := celeryresults.NewResultSet()
	for i := range n {
		set.Add(celeryresults.NewAsyncResult(strconv.Itoa(i), b))
	}
	return set
}

func TestTheLastOfManyMembersAreWaitedForAlone(t *testing.T) {
	const n, late = 10_000, 5
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		for i := range n - late {
			s.done(i)
		}
		for i := range late {
			time.AfterFunc(time.Duration(i+1)*10*time.Second, func() { s.done(n - late + i) })
		}
		before := runtime.NumGoroutine()
		started, seen := time.Now(), 0
		var most int
		for _, err := range setOver(backendOver(t, s, celeryresults.Settings{}), n).AsCompleted(t.Context()) {
			require.NoError(t, err)
			if seen++; seen > n-late {
				due := time.Duration(seen-n+late) * 10 * time.Second
				assert.LessOrEqual(t, time.Since(started), due+due/50+2*time.Millisecond)
			}
			most = max(most, runtime.NumGoroutine())
		}
		assert.Equal(t, n, seen)
		assert.LessOrEqual(t, most-before, 4, "goroutines")
		s.set(func(s *fakeStore) {
			assert.Less(t, s.asked, n+5_000, "in a wait of 50 seconds, only the late ones are asked again")
		})
	})
}

func TestMembersThatCantBeReadDoNotHideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.set(func(s *fakeStore) { s.bad["1"] = true })
		s.done(0)
		set := setOver(backendOver(t, s, celeryresults.Settings{}), 4)
		var bad *celeryresults.UnreadableError
		n, err := set.CompletedCount(t.Context())
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, 1, n)
		assert.Equal(t, "1", bad.ID)
		ready, err := set.Ready(t.Context())
		require.Error(t, err)
		assert.False(t, ready)
		p, err := set.Progress(t.Context())
		require.Error(t, err)
		assert.Equal(t, celeryresults.Progress{Total: 4, Unknown: 2, Ready: 1, Successful: 1}, p)

		time.AfterFunc(time.Second, func() { s.set(func(s *fakeStore) { s.bad["2"] = true }) }) // while it is waited for
		time.AfterFunc(2*time.Second, func() { s.done(3) })
		var seen []string
		for meta, err := range set.AsCompleted(t.Context()) {
			if err != nil {
				require.ErrorAs(t, err, &bad)
				seen = append(seen, "bad "+bad.ID)
				continue
			}
			seen = append(seen, meta.TaskID)
		}
		assert.Equal(t, []string{"0", "bad 1", "3", "bad 2"}, seen)
		_, err = set.Join(t.Context())
		require.ErrorAs(t, err, &bad)
	})
}

func TestQuestionsAboutStatesReadNoResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		s.put("0", celeryresults.Success)
		s.put("1", celeryresults.Failure)
		s.put("2", celeryresults.Started)
		s.set(func(s *fakeStore) { s.bad["3"] = true })
		set := setOver(backendOver(t, s, celeryresults.Settings{}), 5)
		want := celeryresults.Progress{Total: 5, Unknown: 1, Running: 1, Ready: 2, Successful: 1, Failed: 1}
		var bad *celeryresults.UnreadableError
		for range 2 {
			p, err := set.Progress(t.Context())
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, "3", bad.ID)
			assert.Equal(t, want, p)
		}
		assert.Equal(t, 5+3, s.told, "what has ended is not asked again")
		assert.Equal(t, s.told, s.asked, "no more than states is asked for")

		s.asks()
		metas, err := set.Metas(t.Context())
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, celeryresults.Failure, metas[1].State)
		assert.Equal(t, 5, s.asked, "nothing is known of results yet")
		assert.Zero(t, s.told)

		down := errors.New("store is down")
		s.set(func(s *fakeStore) { s.err = down })
		_, err = set.Progress(t.Context())
		require.ErrorIs(t, err, down)
		s.set(func(s *fakeStore) { s.err, s.bad = nil, nil })
		require.NoError(t, s.Delete(t.Context(), driver.Task, []string{"0", "1", "2"}))
		require.NoError(t, set.Results()[0].Forget(t.Context()))
		p, err := set.Progress(t.Context())
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Progress{Total: 5, Unknown: 4, Ready: 1, Failed: 1}, p)
	})
}

func TestWaitsOutliveFailuresOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, down := newStore(), errors.New("store is down")
		b := backendOver(t, s, celeryresults.Settings{})
		fail := func(err error) func() { return func() { s.set(func(s *fakeStore) { s.err = err }) } }
		time.AfterFunc(time.Second, fail(&driver.Again{Err: down}))
		time.AfterFunc(29*time.Second, fail(nil))
		time.AfterFunc(40*time.Second, func() { s.done(0) })
		_, err := setOver(b, 1).Join(t.Context())
		require.NoError(t, err, "a failure of less than the patience only delays")

		set := setOver(b, 3)
		time.AfterFunc(time.Second, fail(&driver.Again{Err: down}))
		start := time.Now()
		_, err = set.Join(t.Context())
		require.ErrorIs(t, err, down)
		assert.InDelta(t, 1+celeryresults.Patience.Seconds(), time.Since(start).Seconds(), 2)
		var silent *celeryresults.SilentError
		require.ErrorAs(t, err, &silent)
		assert.InDelta(t, 1, silent.Since.Sub(start).Seconds(), 0.1)

		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = set.Join(ctx)
		assert.Equal(t, time.Hour, time.Since(start), "its context alone ends it")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorAs(t, err, &silent)
		require.ErrorIs(t, silent.Last, down)
		start = time.Now()
		_, err = set.Ready(t.Context())
		require.ErrorIs(t, err, down)
		assert.InDelta(t, celeryresults.Patience.Seconds(), time.Since(start).Seconds(), 2)
		fail(down)()
		start = time.Now()
		_, err = set.Ready(t.Context())
		require.ErrorIs(t, err, down)
		assert.Zero(t, time.Since(start), "what can't be repeated is told at once")
	})
}

func TestAStoreThatPushesWakesTheSet(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		s := newPushStore()
		started := time.Now()
		go func() {
			synctest.Wait()
			for i := range n {
				s.Live(strconv.Itoa(i))
			}
			for i := range n {
				if i >= n-10 {
					time.Sleep(time.Hour)
				}
				s.done(i)
				s.Changed(strconv.Itoa(i))
			}
		}()
		seen := 0
		for _, err := range setOver(backendOver(t, s, celeryresults.Settings{}), n).AsCompleted(t.Context()) {
			require.NoError(t, err)
			if seen++; seen > n-10 {
				assert.Zero(t, time.Since(started)%time.Hour, "woken at once")
			}
		}
		assert.Equal(t, n, seen)
		synctest.Wait()
		assert.Empty(t, s.all(), "nothing is watched that nobody waits for")
	})
}

func TestASetLeavesAStoreThatPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPushStore()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := setOver(backendOver(t, s, celeryresults.Settings{}), 100).Join(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		synctest.Wait()
		assert.Empty(t, s.all())
	})
}

func TestAStoreThatBringsRecordsIsWatchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPushStore()
		b := backendOver(t, s, celeryresults.Settings{})
		done := make(chan error)
		go func() {
			_, err := setOver(b, 1000).Join(t.Context())
			done <- err
		}()
		synctest.Wait()
		assert.Len(t, s.all(), 1000)
		for i := range 1000 {
			s.Live(strconv.Itoa(i))
		}
		time.Sleep(time.Minute + 10*time.Millisecond) // not while a read for safety is under way
		s.asks()
		for i := range 1000 {
			s.done(i)
			s.Deliver(s.record(strconv.Itoa(i)))
		}
		last := time.Now()
		require.NoError(t, <-done)
		assert.Zero(t, time.Since(last))
		reads, _ := s.asks()
		assert.Zero(t, reads)
		synctest.Wait()
		assert.Empty(t, s.all(), "nothing is watched that nobody waits for")
		assert.Equal(t, 1, s.watches)

		time.AfterFunc(time.Second, func() { assert.NoError(t, b.Close()) })
		set := setOver(b, 1002)
		_, err := set.Join(t.Context())
		require.ErrorIs(t, err, celeryresults.ErrClosed)
		_, err = set.Join(t.Context())
		require.ErrorIs(t, err, celeryresults.ErrClosed)
	})
}

// What is delivered and can't be read is asked for.
func TestADeliveredRecordThatCantBeReadIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPushStore()
		b := backendOver(t, s, celeryresults.Settings{})
		go func() {
			synctest.Wait()
			s.Live("x")
			time.Sleep(time.Minute + time.Millisecond)
			s.put("x", celeryresults.Success)
			s.Deliver(driver.Record{ID: "x", Document: []byte("garbage")})
		}()
		started := time.Now()
		meta, err := b.WaitFor(t.Context(), "x")
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Success, meta.State)
		assert.Equal(t, time.Minute+time.Millisecond, time.Since(started))
	})
}

func TestAwaitMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		b := backendOver(t, s, celeryresults.Settings{})
		all := func(meta *celeryresults.TaskMeta) bool { return meta.State.Ready() }
		require.NoError(t, b.AwaitMany(t.Context(), nil, all))
		require.ErrorIs(t, b.AwaitMany(t.Context(), []string{"1", ""}, all), celeryresults.ErrNoTaskID)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, b.AwaitMany(cancelled, []string{"1"}, all), context.Canceled)

		s.done(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { // who leaves takes nothing from who stays
			assert.ErrorIs(t, b.AwaitMany(ctx, []string{"1", "2", "3"}, all), context.DeadlineExceeded)
		})
		seen := map[string]int{}
		group.Go(func() {
			assert.NoError(t, b.AwaitMany(t.Context(), []string{"3", "2", "1"}, func(meta *celeryresults.TaskMeta) bool {
				if meta.State.Ready() {
					seen[meta.TaskID]++
				}
				return meta.State.Ready()
			}))
		})
		group.Go(func() {
			_, err := b.WaitFor(t.Context(), "2")
			assert.NoError(t, err)
		})
		time.Sleep(2 * time.Second)
		s.done(2)
		s.done(3)
		group.Wait()
		assert.Equal(t, map[string]int{"1": 1, "2": 1, "3": 1}, seen)
	})
}

func TestProgressEqualsAFullScanAfterRandomTransitions(t *testing.T) {
	set, _, _ := setOfTwo(t, 100)
	states := []celeryresults.State{
		celeryresults.Pending, celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Success, celeryresults.Failure, celeryresults.Revoked,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := random.IntN(100)
		r := set.Results()[i]
		err := r.Backend().StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: r.ID(), State: states[random.IntN(len(states))]})
		if err != nil {
			require.ErrorIs(t, err, celeryresults.ErrRefused)
		}
		if random.IntN(100) > 0 {
			continue
		}
		fresh := celeryresults.NewResultSet()
		var want celeryresults.Progress
		for _, r := range set.Results() {
			fresh.Add(celeryresults.NewAsyncResult(r.ID(), r.Backend()))
			meta, err := r.Backend().GetTaskMeta(t.Context(), r.ID())
			require.NoError(t, err)
			want.Total++
			for phase, n := range map[celeryresults.Phase]*int{
				celeryresults.PhaseUnknown: &want.Unknown, celeryresults.PhaseQueued: &want.Queued,
				celeryresults.PhaseRunning: &want.Running, celeryresults.PhaseReady: &want.Ready,
			} {
				if meta.Phase() == phase {
					*n++
				}
			}
			for state, n := range map[celeryresults.State]*int{
				celeryresults.Success: &want.Successful, celeryresults.Failure: &want.Failed, celeryresults.Revoked: &want.Revoked,
			} {
				if meta.State == state {
					*n++
				}
			}
		}
		got, err := fresh.Progress(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestAResultSetIsSafeForConcurrentUse is for -race.
func TestAResultSetIsSafeForConcurrentUse(t *testing.T) {
	set, _, store := setOfTwo(t, 64)
	all := set.Results()
	ctx := within(t)
	var group sync.WaitGroup
	for i, r := range all {
		group.Go(func() {
			store(i, celeryresults.Success)
			for range 5 {
				set.Discard(r.ID())
				set.Add(r)
			}
		})
	}
	for range 16 {
		group.Go(func() {
			for range 3 {
				_, err := set.Progress(ctx)
				assert.NoError(t, err)
				metas, err := set.Join(ctx)
				assert.NoError(t, err)
				for _, meta := range metas {
					assert.Equal(t, celeryresults.Success, meta.State)
				}
				for meta, err := range set.AsCompleted(ctx) {
					assert.NoError(t, err)
					assert.Equal(t, celeryresults.Success, meta.State)
				}
			}
		})
	}
	group.Wait()
	got, err := celeryresults.GetAll[int](ctx, celeryresults.NewResultSet(all...))
	require.NoError(t, err)
	for i, n := range got {
		assert.Equal(t, i, n)
	}
}

func TestAJoinTakesWhatOthersHaveSeenMeanwhile(t *testing.T) {
	s := newStore()
	b := backendOver(t, s, celeryresults.Settings{})
	id := newID(t)
	handle := celeryresults.NewAsyncResult(id, b)
	s.meanwhile = func() {
		assert.NoError(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(7)}))
		ready, err := handle.Ready(t.Context())
		assert.NoError(t, err)
		assert.True(t, ready)
	}
	metas, err := celeryresults.NewResultSet(handle).Join(within(t))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Success, metas[0].State)
}
