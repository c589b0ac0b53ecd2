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
)

// countedBackend counts what is asked of a backend. It hides that the backend
// waits and keeps groups.
type countedBackend struct {
	celeryresults.Backend
	mu           sync.Mutex
	reads, asked int // GetMany, and ids in it
	others       int // GetTaskMeta
	forgets      int
}

func (c *countedBackend) count(f func(c *countedBackend)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c)
}

func (c *countedBackend) GetMany(ctx context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
	c.count(func(c *countedBackend) { c.reads, c.asked = c.reads+1, c.asked+len(ids) })
	return c.Backend.GetMany(ctx, ids)
}

func (c *countedBackend) GetTaskMeta(ctx context.Context, id string) (*celeryresults.TaskMeta, error) {
	c.count(func(c *countedBackend) { c.others++ })
	return c.Backend.GetTaskMeta(ctx, id)
}

func (c *countedBackend) Forget(ctx context.Context, ids ...string) error {
	c.count(func(c *countedBackend) { c.forgets++ })
	return c.Backend.Forget(ctx, ids...)
}

// asks returns what was asked since the last time.
func (c *countedBackend) asks() (reads, ids int) {
	c.count(func(c *countedBackend) {
		reads, ids = c.reads, c.asked
		c.reads, c.asked = 0, 0
	})
	return reads, ids
}

// setOfTwo returns a set of n tasks which live in two backends in turns, and how
// to store one of them.
func setOfTwo(t *testing.T, n int) (set *celeryresults.ResultSet, backends [2]*countedBackend, store func(i int, state celeryresults.State)) {
	app := twoBackends(t)
	for i, task := range []string{"mail.send", "billing.charge"} {
		backends[i] = &countedBackend{Backend: app.BackendFor(task)}
	}
	run := newID(t)
	id := func(i int) string { return run + strconv.Itoa(i) }
	set = celeryresults.NewResultSet()
	for i := range n {
		set.Add(celeryresults.NewAsyncResult(id(i), backends[i%2]))
	}
	return set, backends, func(i int, state celeryresults.State) {
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
	set, backends, store := setOfTwo(t, 8)
	asks := func() (list [][2]int) {
		for _, b := range backends {
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
	assert.Equal(t, [][2]int{{7, 4 + 6*2}, {7, 4 + 6*3}}, asks(), "what is ready is not asked again")

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
	for _, b := range backends {
		b.count(func(b *countedBackend) {
			assert.Equal(t, 1, b.forgets)
			assert.Zero(t, b.others, "no task is read alone")
		})
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
	set, backends, store := setOfTwo(t, 6)
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
	backends[0].asks()
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

// setStore is a store of states in memory; time is synctest's.
type setStore struct {
	celeryresults.Backend
	mu           sync.Mutex
	states       map[string]celeryresults.State
	bad          map[string]bool
	err          error
	reads, asked int
}

func newSetStore() *setStore {
	return &setStore{states: map[string]celeryresults.State{}, bad: map[string]bool{}}
}

func (s *setStore) GetMany(_ context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads, s.asked = s.reads+1, s.asked+len(ids)
	if s.err != nil {
		return nil, s.err
	}
	metas := make([]*celeryresults.TaskMeta, len(ids))
	var errs []error
	for i, id := range ids {
		state, ok := s.states[id]
		switch {
		case s.bad[id]:
			errs = append(errs, &celeryresults.UnreadableError{ID: id, Err: errors.New("garbage")})
		case ok:
			metas[i] = &celeryresults.TaskMeta{TaskID: id, State: state}
		default:
			metas[i] = celeryresults.NewUnknownMeta(id)
		}
	}
	return metas, errors.Join(errs...)
}

func (s *setStore) set(change func(s *setStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *setStore) done(i int) {
	s.set(func(s *setStore) { s.states[strconv.Itoa(i)] = celeryresults.Success })
}

func setOver(b celeryresults.Backend, n int) *celeryresults.ResultSet {
	set := celeryresults.NewResultSet()
	for i := range n {
		set.Add(celeryresults.NewAsyncResult(strconv.Itoa(i), b))
	}
	return set
}

func TestTheLastOfManyMembersAreWaitedForAlone(t *testing.T) {
	const n, late = 10_000, 5
	synctest.Test(t, func(t *testing.T) {
		s := newSetStore()
		for i := range n - late {
			s.done(i)
		}
		for i := range late {
			time.AfterFunc(time.Duration(i+1)*10*time.Second, func() { s.done(n - late + i) })
		}
		before := runtime.NumGoroutine()
		started, seen := time.Now(), 0
		var most int
		for _, err := range setOver(s, n).AsCompleted(t.Context()) {
			require.NoError(t, err)
			if seen++; seen > n-late {
				due := time.Duration(seen-n+late) * 10 * time.Second
				assert.LessOrEqual(t, time.Since(started), due+due/50+2*time.Millisecond)
			}
			most = max(most, runtime.NumGoroutine())
		}
		assert.Equal(t, n, seen)
		assert.LessOrEqual(t, most-before, 4, "goroutines")
		s.set(func(s *setStore) {
			assert.Less(t, s.asked, n+5_000, "in a wait of 50 seconds, only the late ones are asked again")
		})
	})
}

func TestMembersThatCantBeReadDoNotHideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetStore()
		s.set(func(s *setStore) { s.bad["1"] = true })
		s.done(0)
		set := setOver(s, 4)
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

		time.AfterFunc(time.Second, func() { s.set(func(s *setStore) { s.bad["2"] = true }) }) // while it is waited for
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

// statusStore is a setStore that tells statuses apart from results.
type statusStore struct {
	*setStore
	told int // ids that GetStatuses was asked for; guarded by mu
}

func (s *statusStore) GetStatuses(ctx context.Context, ids []string) ([]celeryresults.Status, error) {
	metas, err := s.GetMany(ctx, ids)
	if metas == nil {
		return nil, err
	}
	s.set(func(*setStore) { s.told, s.reads, s.asked = s.told+len(ids), s.reads-1, s.asked-len(ids) })
	statuses := make([]celeryresults.Status, len(ids))
	for i, meta := range metas {
		if meta != nil {
			statuses[i] = meta.Status()
		}
	}
	return statuses, err
}

func TestQuestionsAboutStatesReadNoResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &statusStore{setStore: newSetStore()}
		s.set(func(s *setStore) {
			s.states["0"], s.states["1"], s.states["2"], s.bad["3"] = celeryresults.Success, celeryresults.Failure, celeryresults.Started, true
		})
		set := setOver(s, 5)
		want := celeryresults.Progress{Total: 5, Unknown: 1, Running: 1, Ready: 2, Successful: 1, Failed: 1}
		var bad *celeryresults.UnreadableError
		for range 2 {
			p, err := set.Progress(t.Context())
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, "3", bad.ID)
			assert.Equal(t, want, p)
		}
		assert.Equal(t, 5+3, s.told, "what has ended is not asked again")
		assert.Zero(t, s.reads)

		metas, err := set.Metas(t.Context())
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, celeryresults.Failure, metas[1].State)
		assert.Equal(t, 5, s.asked, "nothing is known of results yet")

		s.set(func(s *setStore) { s.err = errors.New("store is down") })
		_, err = set.Progress(t.Context())
		require.ErrorIs(t, err, s.err)
		s.set(func(s *setStore) { s.err, s.bad, s.states = nil, nil, nil })
		set.Results()[0].Forget(t.Context()) //nolint:errcheck // the store has nothing
		p, err := set.Progress(t.Context())
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Progress{Total: 5, Unknown: 4, Ready: 1, Failed: 1}, p)
	})
}

func (s *setStore) Forget(context.Context, ...string) error { return nil }

func TestWaitsOutliveShortFailuresOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, down := newSetStore(), errors.New("store is down")
		fail := func(err error) func() { return func() { s.set(func(s *setStore) { s.err = err }) } }
		time.AfterFunc(time.Second, fail(down))
		time.AfterFunc(4*time.Second, fail(nil))
		time.AfterFunc(5*time.Second, func() { s.done(0) })
		set := setOver(s, 1)
		_, err := set.Join(t.Context())
		require.NoError(t, err, "a failure of three seconds only delays")

		set = setOver(s, 3)
		time.AfterFunc(time.Second, fail(down))
		start := time.Now()
		_, err = set.Join(t.Context())
		require.ErrorIs(t, err, down)
		assert.Less(t, time.Since(start), 8*time.Second)
		_, err = set.Join(t.Context())
		require.ErrorIs(t, err, down, "at the beginning it is told at once")
		_, err = set.Ready(t.Context())
		require.ErrorIs(t, err, down)
	})
}

// incomparable is a backend of a type that == panics on.
type incomparable struct {
	celeryresults.Backend
	_ []int
}

func TestBackendsThatCantBeComparedAreAskedForEachMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetStore()
		s.done(0)
		time.AfterFunc(time.Second, func() { s.done(1) })
		_, err := setOver(incomparable{Backend: s}, 2).Join(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, setOver(incomparable{Backend: s}, 2).Len())
	})
}

// silentStore answers nothing for some records, and says no error.
type silentStore struct{ *setStore }

func (s silentStore) GetMany(ctx context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
	metas, _ := s.setStore.GetMany(ctx, ids)
	return metas, nil
}

func TestABackendThatLeavesOutARecordIsNoPanic(t *testing.T) {
	s := silentStore{newSetStore()}
	s.set(func(s *setStore) { s.bad["0"] = true })
	_, err := setOver(s, 1).Join(t.Context())
	var bad *celeryresults.UnreadableError
	require.ErrorAs(t, err, &bad)
}

// pushingStore tells one waiter of one task as soon as it is done.
type pushingStore struct {
	*setStore
	waits, most int // guarded by the store's mu
	told        map[string]chan struct{}
}

func (s *pushingStore) WaitFor(ctx context.Context, id string) (*celeryresults.TaskMeta, error) {
	var told chan struct{}
	s.set(func(*setStore) {
		if told = s.told[id]; told == nil {
			told = make(chan struct{})
			s.told[id] = told
		}
		s.waits++
		s.most = max(s.most, s.waits)
	})
	defer s.set(func(*setStore) { s.waits-- })
	select {
	case <-told:
		return &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *pushingStore) push(i int) {
	s.done(i)
	s.set(func(*setStore) {
		if told := s.told[strconv.Itoa(i)]; told != nil {
			close(told)
		}
	})
}

func TestAStoreThatPushesWakesTheSet(t *testing.T) {
	const n = 1000
	synctest.Test(t, func(t *testing.T) {
		s := &pushingStore{setStore: newSetStore(), told: map[string]chan struct{}{}}
		started := time.Now()
		go func() {
			for i := range n - 10 {
				s.push(i)
			}
			for i := n - 10; i < n; i++ {
				time.Sleep(time.Hour)
				s.push(i)
			}
		}()
		seen := 0
		for _, err := range setOver(s, n).AsCompleted(t.Context()) {
			require.NoError(t, err)
			if seen++; seen > n-10 {
				assert.Zero(t, time.Since(started)%time.Hour, "woken at once")
			}
		}
		assert.Equal(t, n, seen)
		synctest.Wait()
		s.set(func(*setStore) {
			assert.LessOrEqual(t, s.most, 16, "waits at the same time")
			assert.Zero(t, s.waits, "waits that are left")
		})
	})
}

func TestASetLeavesAStoreThatPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &pushingStore{setStore: newSetStore(), told: map[string]chan struct{}{}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := setOver(s, 100).Join(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		s.set(func(*setStore) {
			assert.Equal(t, 16, s.most)
			assert.Zero(t, s.waits)
		})
	})
}

// manyStore waits for many with a Poller.
type manyStore struct {
	*setStore
	poller *celeryresults.Poller
	calls  int
}

func (s *manyStore) AwaitMany(ctx context.Context, ids []string, until func(*celeryresults.TaskMeta) bool) error {
	s.set(func(*setStore) { s.calls++ })
	return s.poller.AwaitMany(ctx, ids, until)
}

func TestABackendThatWaitsForManyIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &manyStore{setStore: newSetStore()}
		push := &fakePush{watched: map[string]int{}}
		s.poller = celeryresults.NewPoller(s.GetMany)
		s.poller.SetPush(push)
		done := make(chan error)
		go func() {
			_, err := setOver(s, 1000).Join(t.Context())
			done <- err
		}()
		synctest.Wait()
		assert.Equal(t, 1000, push.all())
		for i := range 1000 {
			s.poller.Live(strconv.Itoa(i))
		}
		time.Sleep(time.Minute)
		for i := range 1000 {
			s.done(i)
			s.poller.Deliver(&celeryresults.TaskMeta{TaskID: strconv.Itoa(i), State: celeryresults.Success})
		}
		last := time.Now()
		require.NoError(t, <-done)
		assert.Zero(t, time.Since(last))
		synctest.Wait()
		assert.Zero(t, push.all(), "nothing is watched that nobody waits for")
		assert.Equal(t, 1, s.calls)

		time.AfterFunc(time.Second, func() { assert.NoError(t, s.poller.Close()) })
		set := setOver(s, 1002)
		_, err := set.Join(t.Context())
		require.ErrorIs(t, err, celeryresults.ErrClosed)
		_, err = set.Join(t.Context())
		require.ErrorIs(t, err, celeryresults.ErrClosed)
	})
}

func TestAwaitMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSetStore()
		p := celeryresults.NewPoller(s.GetMany)
		all := func(meta *celeryresults.TaskMeta) bool { return meta.State.Ready() }
		require.NoError(t, p.AwaitMany(t.Context(), nil, all))
		require.ErrorIs(t, p.AwaitMany(t.Context(), []string{"1", ""}, all), celeryresults.ErrNoTaskID)
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, p.AwaitMany(cancelled, []string{"1"}, all), context.Canceled)

		s.done(1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() { // who leaves takes nothing from who stays
			assert.ErrorIs(t, p.AwaitMany(ctx, []string{"1", "2", "3"}, all), context.DeadlineExceeded)
		})
		seen := map[string]int{}
		group.Go(func() {
			assert.NoError(t, p.AwaitMany(t.Context(), []string{"3", "2", "1"}, func(meta *celeryresults.TaskMeta) bool {
				if meta.State.Ready() {
					seen[meta.TaskID]++
				}
				return meta.State.Ready()
			}))
		})
		group.Go(func() {
			_, err := p.WaitFor(t.Context(), "2")
			assert.NoError(t, err)
		})
		time.Sleep(2 * time.Second)
		s.done(2)
		s.done(3)
		group.Wait()
		assert.Equal(t, map[string]int{"1": 1, "2": 1, "3": 1}, seen)
		for _, id := range []string{"1", "2", "3"} {
			assert.False(t, p.Waits(id))
		}
		require.NoError(t, p.Close())
	})
}

func TestProgressEqualsAFullScanAfterRandomTransitions(t *testing.T) {
	set, backends, _ := setOfTwo(t, 100)
	states := []celeryresults.State{
		celeryresults.Pending, celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Success, celeryresults.Failure, celeryresults.Revoked,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		i := random.IntN(100)
		r := set.Results()[i]
		err := backends[i%2].StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: r.ID(), State: states[random.IntN(len(states))]})
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

// staleBackend answers the first GetMany with what there was before meanwhile ran.
type staleBackend struct {
	celeryresults.Backend
	meanwhile func()
}

func (b *staleBackend) GetMany(ctx context.Context, ids []string) ([]*celeryresults.TaskMeta, error) {
	metas, err := b.Backend.GetMany(ctx, ids)
	if f := b.meanwhile; f != nil {
		b.meanwhile = nil
		f()
	}
	return metas, err
}

func TestAJoinTakesWhatOthersHaveSeenMeanwhile(t *testing.T) {
	app := twoBackends(t)
	b := &staleBackend{Backend: app.BackendFor("mail.send")}
	id := newID(t)
	handle := celeryresults.NewAsyncResult(id, b)
	b.meanwhile = func() {
		require.NoError(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(7)}))
		ready, err := handle.Ready(t.Context())
		require.NoError(t, err)
		require.True(t, ready)
	}
	metas, err := celeryresults.NewResultSet(handle).Join(within(t))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Success, metas[0].State)
}
