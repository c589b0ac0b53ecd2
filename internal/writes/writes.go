// Package writes stores records of concurrent callers: it merges what comes while
// others are under way, repeats what failed for a moment, and knows what became of
// each write. It is the only place with the phases of a write.
package writes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/retry"
)

// Write is a record that a caller waits to be stored. Make one with NewWrite, and Free it after
// Do. Nothing else may be done with it then: it may still be under way.
type Write struct {
	driver.Write

	mine bool // Do has returned, and nobody else has it

	ctx   context.Context  // its caller's
	self  [1]*driver.Write // a batch of it alone
	phase atomic.Int32

	// What follows belongs to whoever sends the write while the phase is sending, and to
	// its caller in all other phases.
	uncertain bool // an attempt was Unknown: it may have happened
	conflicts int
	attempts  int
	answer    driver.Answer
}

// pool has writes that nobody uses.
var pool = sync.Pool{New: func() any { return new(Write) }}

// NewWrite returns a write whose record is to be filled in.
func NewWrite() *Write { return pool.Get().(*Write) }

// Free lets a write be used for another record, if nobody has it any more.
func (w *Write) Free() {
	if !w.mine {
		return
	}
	*w = Write{}
	pool.Put(w)
}

// Attempts returns how often it was sent. It may be called after Do has returned, unless
// the answer is Unknown: the write may then be under way.
func (w *Write) Attempts() int { return w.attempts }

// The phases of a write.
const (
	waiting  int32 = iota // for its turn, or for another attempt: its caller may give it up
	sending               // it is under way, and nobody knows what becomes of it
	answered              // answer may be read
)

// The most that goes into one Put.
const bytesPerPut = 1 << 20

// mostConflicts is how often writes that are sent together may find that somebody else
// was quicker: then it may be with one another.
const mostConflicts = 3

// Queue stores writes in one store. Make one with New. It is safe for concurrent use.
type Queue struct {
	put     func(ctx context.Context, writes []*driver.Write)
	ready   func(ctx context.Context) error // why nothing may start
	most    int
	retries retry.Policy
	group   *merge.Group[*Write, struct{}] // nil: each is sent by itself
}

// Config is what a Queue needs to know.
type Config struct {
	Put      func(ctx context.Context, writes []*driver.Write)
	Ready    func(ctx context.Context) error // why nothing may be sent; a deadline counts by the clock
	Retries  retry.Policy
	Most     int // writes in one Put; 0: each by itself
	InFlight int // 0: two
}

// New returns a Queue.
func New(c Config) *Queue {
	q := &Queue{put: c.Put, ready: c.Ready, most: c.Most, retries: c.Retries}
	if c.Most > 0 {
		q.group = merge.New(q.one, q.many, false)
		if c.InFlight > 0 {
			q.group.InFlight(c.InFlight)
		}
	}
	return q
}

// Do stores a write and returns what became of it. A context that ends makes it return
// at once. Of an answer that is not Stored or Refused, Err says why.
//
// Each caller repeats its own write after Celery's pauses, until its own context ends, or
// for retry.Patience where that has no deadline; what several repeat at the same time is
// sent together.
func (q *Queue) Do(ctx context.Context, w *Write) driver.Answer {
	w.ctx, w.self[0] = ctx, &w.Write
	left := q.once(ctx, w)
	if !left && w.phase.Load() == answered { // nearly always
		w.mine = true
		return w.answer
	}
	return q.again(ctx, w, left)
}

// again goes on with a write that has no answer yet, or whose caller has left.
func (q *Queue) again(ctx context.Context, w *Write, left bool) driver.Answer {
	until, timed := ctx.Deadline()
	if !timed {
		until = time.Now().Add(retry.Patience)
	}
	pauses := q.retries.Pauses()
	for tries := 1; ; tries++ {
		if left {
			return w.leave()
		}
		if q.retries.Over(tries) || !q.pause(ctx, until, pauses.Next()) {
			return w.giveUp(q.ready(ctx))
		}
		if left = q.once(ctx, w); w.phase.Load() == answered {
			return w.answer
		}
	}
}

// once sends a write once, by itself or together with others. It reports whether the
// context ended before.
func (q *Queue) once(ctx context.Context, w *Write) (left bool) {
	if q.group == nil {
		q.alone(ctx, w)
		return false
	}
	_, err := q.group.Do(ctx, w)
	return err != nil
}

// pause waits before the next attempt, and reports whether that is to be made.
func (q *Queue) pause(ctx context.Context, until time.Time, pause time.Duration) bool {
	return retry.Sleep(ctx, min(pause, time.Until(until))) && time.Now().Before(until) && q.ready(ctx) == nil
}

// one sends the write of a caller that is alone.
func (q *Queue) one(ctx context.Context, w *Write) (struct{}, error) {
	q.alone(ctx, w)
	return struct{}{}, nil
}

// many sends the writes of several callers.
func (q *Queue) many(ctx context.Context, ws []*Write) ([]struct{}, error) {
	for _, round := range rounds(ws) {
		for len(round) > 0 {
			n := q.chunk(round)
			q.together(ctx, round[:n])
			round = round[n:]
		}
	}
	return make([]struct{}, len(ws)), nil
}

// rounds divides writes so that none has a record twice: the first of each record, the
// second ones, and so on. Each is sorted by id, so that statements of several writers
// take their locks in the same order.
func rounds(ws []*Write) [][]*Write {
	slices.SortStableFunc(ws, func(x, y *Write) int {
		if c := strings.Compare(x.ID, y.ID); c != 0 {
			return c
		}
		return strings.Compare(string(x.Kind), string(y.Kind))
	})
	rounds := [][]*Write{make([]*Write, 0, len(ws))}
	n := 0 // how many of the same record came before
	for i, w := range ws {
		if i > 0 && w.ID == ws[i-1].ID && w.Kind == ws[i-1].Kind {
			n++
		} else {
			n = 0
		}
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], w)
	}
	return rounds
}

// chunk returns how many of the writes go into the next Put: of one kind.
func (q *Queue) chunk(ws []*Write) int {
	size := 0
	for i, w := range ws {
		size += w.Size
		if i == q.most || i > 0 && size > bytesPerPut {
			return i
		}
	}
	return len(ws)
}

// alone sends a write by itself.
func (q *Queue) alone(ctx context.Context, w *Write) {
	if !w.begin(q.ready(ctx)) {
		return
	}
	q.put(ctx, w.self[:])
	switch {
	case w.take():
	case again(w.Answer.Err):
		w.rest()
	default:
		w.giveUp(w.ctx.Err())
	}
}

// together sends writes of different records in one Put. Another one may be at fault for what
// fails for good, or conflicts again and again: such writes are sent once more, each by
// itself.
func (q *Queue) together(ctx context.Context, ws []*Write) {
	if len(ws) == 1 {
		q.alone(ctx, ws[0])
		return
	}
	batch, list := make([]*Write, 0, len(ws)), make([]*driver.Write, 0, len(ws))
	over := q.ready(ctx)
	for _, w := range ws {
		if w.ctx.Err() == nil && w.begin(over) { // else its caller is about to leave
			batch, list = append(batch, w), append(list, &w.Write)
		}
	}
	if len(batch) == 0 {
		return
	}
	q.put(ctx, list)
	var apart []*Write
	for _, w := range batch {
		if w.take() {
			continue
		}
		if !again(w.Answer.Err) || w.stubborn() {
			apart = append(apart, w)
		}
		w.rest()
	}
	for _, w := range apart {
		q.alone(ctx, w)
	}
}

// again reports whether another attempt may succeed.
func again(err error) bool {
	_, ok := errors.AsType[*driver.Again](err)
	return ok
}

// begin reports whether a write is to be sent: its caller has not left, and nothing speaks
// against it.
func (w *Write) begin(over error) bool {
	if !w.phase.CompareAndSwap(waiting, sending) {
		return false
	}
	if over != nil {
		w.giveUp(over)
		return false
	}
	w.Answer, w.Repeated = driver.Answer{}, w.uncertain
	w.attempts++
	return true
}

// rest gives a write back to its caller, who may have it sent again or give it up.
func (w *Write) rest() { w.phase.Store(waiting) }

// take settles a write that was stored or refused, and notes one that may have been
// stored.
func (w *Write) take() bool {
	switch w.Answer.Outcome {
	case driver.Stored, driver.Refused:
		w.settle(w.Answer)
		return true
	case driver.Unknown:
		if w.Answer.Err == nil {
			w.Answer.Err = errNoAnswer
		}
		w.uncertain = true
	}
	return false
}

// errNoAnswer is why a write is Unknown that a store did not answer.
var errNoAnswer = errors.New("the store said nothing of it")

// stubborn reports whether a write conflicts again and again.
func (w *Write) stubborn() bool {
	e, _ := errors.AsType[*driver.Again](w.Answer.Err)
	if !e.Conflict {
		return false
	}
	w.conflicts++
	return w.conflicts > mostConflicts
}

// leave returns what the caller of a write knows whose context ended while others had it.
func (w *Write) leave() driver.Answer {
	switch {
	case w.phase.CompareAndSwap(waiting, sending): // nobody sends it any more
		return w.giveUp(w.ctx.Err())
	case w.phase.Load() == answered:
		return w.answer
	}
	return driver.Answer{Err: w.ctx.Err()}
}

// giveUp settles a write by its last failure: what may have happened is Unknown. Over is
// what ended it beside that, if anything did.
func (w *Write) giveUp(over error) driver.Answer {
	answer := driver.Answer{Outcome: driver.NotStored, Err: w.Answer.Err}
	if w.uncertain {
		answer.Outcome = driver.Unknown
	}
	if e, ok := errors.AsType[*driver.Again](answer.Err); ok {
		answer.Err = e.Err
	}
	switch {
	case answer.Err == nil:
		answer.Err = over
	case over != nil && !errors.Is(answer.Err, over):
		answer.Err = fmt.Errorf("%w: %w", over, answer.Err)
	}
	w.settle(answer)
	return answer
}

func (w *Write) settle(answer driver.Answer) {
	w.answer = answer
	w.phase.Store(answered)
}
