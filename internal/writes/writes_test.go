package writes_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/writes"
)

var (
	errCut   = errors.New("connection reset")
	errBatch = errors.New("one of these is bad")
	errOver  = errors.New("closed")
)

// Documents are the state and whose they are.
func document(state driver.State, writer int) []byte { return fmt.Appendf(nil, "%s|%d", state, writer) }

func stateOf(document []byte) driver.State {
	state, _, _ := strings.Cut(string(document), "|")
	return driver.State(state)
}

// oracle is a store that knows what has happened, and does not always say so.
type oracle struct {
	t    *testing.T
	most int

	mu      sync.Mutex
	random  *rand.Rand          // guarded by mu, as all that follows
	stands  map[string]string   // documents by id
	history map[string][]string // all that ever stood
	unsure  map[string]bool     // documents of which the store has said nothing, once
	delayed map[string]bool     // documents that came when nobody asked any more
	cuts    int                 // of 100 Puts, how many are cut
	bad     bool                // some records can't be stored
	puts    int
	largest int
	late    sync.WaitGroup
}

func newOracle(t *testing.T, seed uint64, most, cuts int) *oracle {
	return &oracle{
		t: t, most: max(most, 1), random: rand.New(rand.NewPCG(seed, 1)), cuts: cuts,
		stands: map[string]string{}, history: map[string][]string{}, unsure: map[string]bool{},
		delayed: map[string]bool{},
	}
}

func (o *oracle) pick(n int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.random.IntN(n)
}

// Put is a store's.
func (o *oracle) Put(ctx context.Context, ws []*driver.Write) {
	o.check(ws)
	cut := o.pick(100) < o.cuts
	how := o.pick(7)
	if !o.sleep(ctx, time.Duration(o.pick(int(2*time.Millisecond)))) { // on the way
		o.lose(ws, ctx.Err(), o.pick(2) == 0)
		return
	}
	switch {
	case o.spoiled(ws) && len(ws) > 1: // as one statement for all
		for _, w := range ws {
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: errBatch}
		}
		return
	case !cut:
		o.apply(ws)
	case how == 0: // before
		for _, w := range ws {
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errCut}}
		}
		return
	case how == 1: // before, and the store does not know
		o.lose(ws, errCut, false)
		return
	case how == 2: // within the answer
		n := o.pick(len(ws) + 1)
		o.apply(ws[:n])
		told := o.pick(n + 1)
		o.lose(ws[told:n], errCut, true)
		o.lose(ws[n:], errCut, false)
	case how == 3: // after
		o.apply(ws)
		o.lose(ws, errCut, true)
	case how == 4: // it hangs, having stored it or not
		stored := o.pick(2) == 0
		if stored {
			o.apply(ws)
		}
		if ctx.Done() == nil {
			time.Sleep(time.Second)
			o.lose(ws, errCut, stored)
			return
		}
		timeout := time.After(time.Duration(1+o.pick(3)) * time.Second) // of the store's own
		select {
		case <-ctx.Done():
			o.lose(ws, ctx.Err(), stored)
		case <-timeout:
			o.lose(ws, errCut, stored)
		}
		return
	case how == 5: // the server stores it later
		o.applyLate(ws)
		o.lose(ws, errCut, false)
		return
	default:
		for _, w := range ws {
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errCut, Conflict: true}}
		}
		return
	}
	if !o.sleep(ctx, time.Duration(o.pick(int(2*time.Millisecond)))) { // on the way back
		o.lose(ws, ctx.Err(), true)
	}
}

// check looks at what a Queue sends.
func (o *oracle) check(ws []*driver.Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.puts++
	o.largest = max(o.largest, len(ws))
	assert.NotEmpty(o.t, ws)
	assert.LessOrEqual(o.t, len(ws), o.most)
	assert.True(o.t, slices.IsSortedFunc(ws, func(x, y *driver.Write) int { return strings.Compare(x.ID, y.ID) }))
	for i, w := range ws {
		assert.True(o.t, i == 0 || ws[i-1].ID != w.ID, "%s is there twice", w.ID)
		assert.Zero(o.t, w.Answer)
		if o.unsure[string(w.Document)] {
			assert.True(o.t, w.Repeated, "an attempt before was Unknown")
		}
	}
}

// sleep reports whether the context lasts.
func (o *oracle) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (o *oracle) spoiled(ws []*driver.Write) bool {
	return o.bad && slices.ContainsFunc(ws, isBad)
}

func isBad(w *driver.Write) bool { return strings.HasPrefix(w.ID, "bad") }

// apply stores the writes and answers.
func (o *oracle) apply(ws []*driver.Write) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range ws {
		if isBad(w) {
			w.Answer = driver.Answer{Outcome: driver.NotStored, Err: driver.ErrBadID}
			continue
		}
		var stands []byte
		if s, ok := o.stands[w.ID]; ok {
			stands = []byte(s)
		}
		if w.Allows(stands) {
			o.keep(w.ID, string(w.Document))
			w.Answer = driver.Answer{Outcome: driver.Stored}
		}
	}
}

// keep lets a document stand. The caller holds mu.
func (o *oracle) keep(id, document string) {
	o.stands[id] = document
	o.history[id] = append(o.history[id], document)
}

// applyLate stores the writes when nobody asks any more, or does so again.
func (o *oracle) applyLate(ws []*driver.Write) {
	for _, w := range ws {
		if isBad(w) {
			continue
		}
		later := *w
		o.mu.Lock()
		o.delayed[string(w.Document)] = true
		o.mu.Unlock()
		o.late.Go(func() {
			time.Sleep(time.Duration(o.pick(int(50 * time.Millisecond))))
			o.apply([]*driver.Write{&later})
		})
	}
}

// lose makes the answers Unknown: of some that is said at once, of others that nothing was
// said.
func (o *oracle) lose(ws []*driver.Write, err error, silently bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range ws {
		o.unsure[string(w.Document)] = true
		w.Answer = driver.Answer{Err: &driver.Again{Err: err}}
		if silently && o.random.IntN(20) == 0 {
			w.Answer = driver.Answer{}
		}
	}
}

func newQueue(o *oracle, most, inFlight int) *writes.Queue {
	return writes.New(writes.Config{
		Put: o.Put, Ready: ready, Most: most, InFlight: inFlight, Retries: retry.New(0, 0, 0),
	})
}

// ready is what a Backend says: deadlines count by the clock.
func ready(ctx context.Context) error {
	if deadline, timed := ctx.Deadline(); timed && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// caller stores records, and notes what it was told of each.
type caller struct {
	o      *oracle
	answer map[string]driver.Answer // by document
	id     map[string]string
}

var states = []driver.State{driver.Started, driver.Failure, driver.Success, "PROGRESS", driver.Pending}

func (c *caller) store(q *writes.Queue, writer int) {
	id := fmt.Sprintf("id-%d", c.o.pick(20))
	if c.o.bad && c.o.pick(10) == 0 {
		id = fmt.Sprintf("bad-%d", c.o.pick(20))
	}
	state := states[c.o.pick(len(states))]
	doc := document(state, writer)
	w := &writes.Write{Write: driver.Write{
		Kind: driver.Task, ID: id, State: state, Power: driver.PowerOf(state, c.o.pick(5) == 0),
		Document: doc, Size: len(doc), TTL: driver.Never, StateOf: stateOf,
	}}
	ctx, cancel := c.context()
	defer cancel()
	began := time.Now()
	answer := q.Do(ctx, w)
	c.answer[string(doc)], c.id[string(doc)] = answer, id
	c.checkAnswer(ctx, began, id, answer)
}

// context returns one of those that callers have.
func (c *caller) context() (context.Context, context.CancelFunc) {
	root := c.o.t.Context()
	switch c.o.pick(6) {
	case 0:
		return context.WithTimeout(root, time.Duration(c.o.pick(int(5*time.Millisecond))))
	case 1:
		return context.WithTimeout(root, time.Duration(c.o.pick(int(3*time.Second))))
	case 2:
		ctx, cancel := context.WithCancel(root)
		time.AfterFunc(time.Duration(c.o.pick(int(5*time.Millisecond))), cancel)
		return ctx, cancel
	case 3:
		return context.WithTimeout(root, time.Hour)
	}
	return context.WithCancel(context.WithoutCancel(root))
}

// checkAnswer looks at an answer by itself.
func (c *caller) checkAnswer(ctx context.Context, began time.Time, id string, a driver.Answer) {
	switch a.Outcome {
	case driver.Stored, driver.Refused:
		assert.NoError(c.o.t, a.Err)
		return
	}
	assert.Error(c.o.t, a.Err, "%v of %s", a.Outcome, id)
	switch {
	case strings.HasPrefix(id, "bad") && errors.Is(a.Err, driver.ErrBadID):
	case strings.Contains(a.Err.Error(), "said nothing"): // a store that is not to be asked again
	case ready(ctx) != nil:
		assert.ErrorIs(c.o.t, a.Err, ready(ctx))
	default:
		assert.GreaterOrEqual(c.o.t, time.Since(began), retry.Patience-10*time.Second, "it was given up: %v", a.Err)
	}
}

// TestNobodyIsToldWhatIsNot lets 64 callers store records that replace each other, while the
// store cuts connections before, after and within its answers and contexts end, and looks at
// what each was told: Stored stood, NotStored never did, and nobody is refused by its own
// record.
func TestNobodyIsToldWhatIsNot(t *testing.T) {
	var puts, largest int
	seen := map[driver.Outcome]int{}
	for round := range 60 {
		seed := rand.Uint64()
		most := []int{0, 4, 256}[round%3]
		synctest.Test(t, func(t *testing.T) {
			o := newOracle(t, seed, most, []int{0, 10, 50, 90}[round%4])
			o.bad = round%2 == 0
			q := newQueue(o, most, round%3)
			callers := make([]caller, 64)
			var all sync.WaitGroup
			for i := range callers {
				c := &callers[i]
				*c = caller{o: o, answer: map[string]driver.Answer{}, id: map[string]string{}}
				all.Go(func() {
					for n := range 6 {
						c.store(q, i*100+n)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			time.Sleep(time.Hour) // batches that nobody waits for end, too
			o.late.Wait()
			for _, c := range callers {
				c.compare(seen)
			}
			puts, largest = puts+o.puts, max(largest, o.largest)
		})
		if t.Failed() {
			t.Fatalf("round %d, seed %d, %d in a Put", round, seed, most)
		}
	}
	t.Logf("%d Puts of up to %d writes: %v", puts, largest, seen)
	for _, outcome := range []driver.Outcome{driver.Unknown, driver.Stored, driver.Refused, driver.NotStored} {
		assert.Positive(t, seen[outcome], "%v", outcome)
	}
	assert.Greater(t, largest, 4)
}

// compare compares what the caller was told with what has happened.
func (c *caller) compare(seen map[driver.Outcome]int) {
	for doc, answer := range c.answer {
		id := c.id[doc]
		stood := slices.Contains(c.o.history[id], doc)
		seen[answer.Outcome]++
		switch answer.Outcome {
		case driver.Stored:
			assert.True(c.o.t, stood, "%s of %s is said to be stored", doc, id)
		case driver.NotStored:
			assert.False(c.o.t, stood, "%s of %s is said not to be stored: %v", doc, id, answer.Err)
		case driver.Refused:
			assert.True(c.o.t, doc != c.o.stands[id] || c.o.delayed[doc], "%s of %s is refused by itself", doc, id)
		}
	}
}

// one stores a record that nothing refuses.
func one(ctx context.Context, q *writes.Queue, id string) driver.Answer {
	return q.Do(ctx, &writes.Write{Write: driver.Write{
		Kind: driver.Task, ID: id, State: driver.Success, Power: driver.Anything, Document: []byte(id), TTL: driver.Never, StateOf: stateOf,
	}})
}

// down is a store that is not there.
func down(_ context.Context, ws []*driver.Write) {
	for _, w := range ws {
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errCut}}
	}
}

func TestPatience(t *testing.T) {
	for _, most := range []int{0, 256} {
		synctest.Test(t, func(t *testing.T) {
			q := writes.New(writes.Config{Put: down, Ready: ready, Most: most, Retries: retry.New(0, 0, 0)})
			var all sync.WaitGroup
			for i := range 10 { // some alone, some together
				all.Go(func() {
					began := time.Now()
					answer := one(context.WithoutCancel(t.Context()), q, fmt.Sprint("patient ", i))
					assert.Equal(t, driver.NotStored, answer.Outcome)
					assert.ErrorIs(t, answer.Err, errCut)
					assert.InDelta(t, retry.Patience.Seconds(), time.Since(began).Seconds(), 1.6, "without a deadline")
				})
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					began := time.Now()
					answer := one(ctx, q, fmt.Sprint("timed ", i))
					assert.Equal(t, driver.NotStored, answer.Outcome)
					assert.ErrorIs(t, answer.Err, context.DeadlineExceeded)
					assert.Equal(t, 5*time.Minute, time.Since(began), "until the deadline")
				})
				all.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					time.AfterFunc(10*time.Second, cancel)
					began := time.Now()
					answer := one(ctx, q, fmt.Sprint("cancelled ", i))
					assert.Equal(t, driver.NotStored, answer.Outcome)
					assert.ErrorIs(t, answer.Err, context.Canceled)
					assert.Equal(t, 10*time.Second, time.Since(began))
				})
			}
			all.Wait()
		})
	}
}

func TestRetriesEndAsTheSettingsSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		puts := 0
		q := writes.New(writes.Config{Ready: ready, Retries: retry.New(0, 0, 2), Put: func(ctx context.Context, ws []*driver.Write) {
			puts++
			down(ctx, ws)
		}})
		answer := one(t.Context(), q, "a")
		assert.Equal(t, driver.Answer{Outcome: driver.NotStored, Err: errCut}, answer)
		assert.Equal(t, 3, puts)
	})
}

// inBatch stores one record in each goroutine while the first two are held up, so that the
// others go together, and returns the answers of those.
func inBatch(t *testing.T, put func(context.Context, []*driver.Write), ids ...string) (map[string]driver.Answer, [][]string) {
	t.Helper()
	var mu sync.Mutex
	var batches [][]string
	answers := map[string]driver.Answer{}
	held := make(chan struct{})
	q := writes.New(writes.Config{Ready: ready, Most: 256, Retries: retry.New(0, 0, 0), Put: func(ctx context.Context, ws []*driver.Write) {
		if strings.HasPrefix(ws[0].ID, "held") {
			<-held
			ws[0].Answer = driver.Answer{Outcome: driver.Stored}
			return
		}
		var batch []string
		for _, w := range ws {
			batch = append(batch, w.ID)
		}
		mu.Lock()
		batches = append(batches, batch)
		mu.Unlock()
		put(ctx, ws)
	}})
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() { one(t.Context(), q, fmt.Sprint("held ", i)) })
	}
	synctest.Wait()
	for _, id := range ids {
		all.Go(func() {
			answer := one(t.Context(), q, id)
			mu.Lock()
			answers[id] = answer
			mu.Unlock()
		})
	}
	synctest.Wait()
	close(held)
	all.Wait()
	return answers, batches
}

func storeAll(ws []*driver.Write) {
	for _, w := range ws {
		w.Answer = driver.Answer{Outcome: driver.Stored}
	}
}

func TestOneBadRecordIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errBad := errors.New("it does not fit")
		answers, batches := inBatch(t, func(_ context.Context, ws []*driver.Write) {
			for _, w := range ws { // a statement for all of them
				if w.ID == "bad" {
					for _, w := range ws {
						w.Answer = driver.Answer{Outcome: driver.NotStored, Err: errBad}
					}
					return
				}
			}
			storeAll(ws)
		}, "a", "bad", "c")
		assert.Equal(t, map[string]driver.Answer{
			"a": {Outcome: driver.Stored}, "bad": {Outcome: driver.NotStored, Err: errBad}, "c": {Outcome: driver.Stored},
		}, answers)
		assert.Equal(t, [][]string{{"a", "bad", "c"}, {"a"}, {"bad"}, {"c"}}, batches)
	})
}

func TestWritesThatConflictWithEachOtherGoApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		together := 0
		q := writes.New(writes.Config{Ready: ready, Most: 256, Retries: retry.New(0, 0, 0), Put: func(_ context.Context, ws []*driver.Write) {
			time.Sleep(100 * time.Millisecond) // so that those that come again are together again
			if len(ws) == 1 {
				storeAll(ws)
				return
			}
			mu.Lock()
			together++
			mu.Unlock()
			for _, w := range ws {
				w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errCut, Conflict: true}}
			}
		}})
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() { assert.Equal(t, driver.Stored, one(t.Context(), q, fmt.Sprint(i)).Outcome) })
		}
		began := time.Now()
		all.Wait()
		assert.Less(t, time.Since(began), 10*time.Second)
		assert.Greater(t, together, 2)
	})
}

func TestASecondRecordOfAnIDGoesIntoTheNextPut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, batches := inBatch(t, func(_ context.Context, ws []*driver.Write) { storeAll(ws) }, "b", "a", "b", "a", "a")
		assert.Equal(t, [][]string{{"a", "b"}, {"a", "b"}, {"a"}}, batches)
	})
}

func TestABatchHasAMebibyteAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sizes []int
		held := make(chan struct{})
		q := writes.New(writes.Config{Ready: ready, Most: 256, Retries: retry.New(0, 0, 0), Put: func(_ context.Context, ws []*driver.Write) {
			<-held
			size := 0
			for _, w := range ws {
				size += w.Size
			}
			mu.Lock()
			sizes = append(sizes, size)
			mu.Unlock()
			storeAll(ws)
		}})
		var all sync.WaitGroup
		for i := range 22 {
			all.Go(func() {
				w := &writes.Write{Write: driver.Write{Kind: driver.Task, ID: fmt.Sprint(i), Size: 300 << 10}}
				assert.Equal(t, driver.Stored, q.Do(t.Context(), w).Outcome)
			})
		}
		synctest.Wait()
		close(held)
		all.Wait()
		assert.LessOrEqual(t, slices.Max(sizes), 1<<20)
		assert.Less(t, len(sizes), 22)
	})
}

// A caller that leaves while its write waits for its turn, or for another attempt.
func TestWhoWithdrawsIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		sent := map[string]int{}
		var mu sync.Mutex
		q := writes.New(writes.Config{Ready: ready, Most: 256, Retries: retry.New(time.Second, time.Second, 0), Put: func(_ context.Context, ws []*driver.Write) {
			mu.Lock()
			for _, w := range ws {
				sent[w.ID]++
			}
			mu.Unlock()
			if ws[0].ID == "again" || ws[0].ID == "and again" {
				for _, w := range ws {
					w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errCut}}
				}
				return
			}
			<-held
			storeAll(ws)
		}})
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() { one(t.Context(), q, fmt.Sprint("held ", i)) })
		}
		synctest.Wait()
		leave := func(id string, after time.Duration) {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), after)
				defer cancel()
				answer := one(ctx, q, id)
				assert.Equal(t, driver.NotStored, answer.Outcome, id)
				assert.ErrorIs(t, answer.Err, context.DeadlineExceeded)
			})
		}
		leave("queued", time.Millisecond)
		leave("again", 500*time.Millisecond) // a batch of both is sent late, and pauses
		leave("and again", 300*time.Millisecond)
		time.Sleep(time.Second)
		close(held)
		all.Wait()
		time.Sleep(time.Minute)
		assert.Zero(t, sent["queued"])
		assert.Equal(t, 1, sent["again"], "it is withdrawn between two attempts")
	})
}

// A caller that leaves while its write is under way does not know.
func TestWhoLeavesAWriteUnderWayDoesNotKnow(t *testing.T) {
	for _, most := range []int{0, 256} {
		synctest.Test(t, func(t *testing.T) {
			q := writes.New(writes.Config{Ready: ready, Most: most, Retries: retry.New(0, 0, 0), Put: func(ctx context.Context, ws []*driver.Write) {
				<-ctx.Done()
				for _, w := range ws {
					w.Answer = driver.Answer{Err: ctx.Err()}
				}
			}})
			var all sync.WaitGroup
			for i := range 5 {
				all.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					began := time.Now()
					answer := one(ctx, q, fmt.Sprint(i))
					assert.Equal(t, driver.Unknown, answer.Outcome)
					assert.ErrorIs(t, answer.Err, context.DeadlineExceeded)
					assert.Equal(t, time.Second, time.Since(began))
				})
			}
			all.Wait()
		})
	}
}

func TestNothingIsSentThatMustNotBe(t *testing.T) {
	q := writes.New(writes.Config{
		Ready: func(context.Context) error { return errOver }, Most: 256, Retries: retry.New(0, 0, 0),
		Put: func(context.Context, []*driver.Write) { t.Error("something was sent") },
	})
	assert.Equal(t, driver.Answer{Outcome: driver.NotStored, Err: errOver}, one(t.Context(), q, "a"))
}

// A store that closes while a write is repeated ends it.
func TestClosingEndsRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := time.Now().Add(3 * time.Second)
		q := writes.New(writes.Config{Put: down, Retries: retry.New(0, 0, 0), Ready: func(context.Context) error {
			if time.Now().Before(closed) {
				return nil
			}
			return errOver
		}})
		began := time.Now()
		answer := one(context.WithoutCancel(t.Context()), q, "a")
		require.Equal(t, driver.NotStored, answer.Outcome)
		assert.Less(t, time.Since(began), 5*time.Second)
	})
}

// A lone caller costs no more than the write itself.
func TestALoneWriteAllocatesNothing(t *testing.T) {
	for _, most := range []int{0, 256} {
		q := writes.New(writes.Config{Ready: ready, Most: most, Retries: retry.New(0, 0, 0), Put: func(_ context.Context, ws []*driver.Write) {
			ws[0].Answer = driver.Answer{Outcome: driver.Stored}
		}})
		ctx := context.Background()
		allocs := testing.AllocsPerRun(100, func() {
			q.Do(ctx, &writes.Write{Write: driver.Write{Kind: driver.Task, ID: "a"}})
		})
		assert.LessOrEqual(t, allocs, 2.0, "%d in a Put: the write, and its batch of one", most)
	}
}
