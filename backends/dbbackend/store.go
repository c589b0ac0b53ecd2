package dbbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/trace"
)

// StoreResult implements celeryresults.Backend. The stores of concurrent callers
// are sent together. Unless the result is stored or refused, or has no id, the
// error is a *celeryresults.StoreError, which says whether nothing was stored or that is not
// known. A result over the database's limit is cache.ErrTooLarge; a failure is
// then stored with its texts cut and marked as cut.
func (b *DatabaseBackend) StoreResult(ctx context.Context, meta *celeryresults.TaskMeta, options ...celeryresults.StoreOption) error {
	if meta == nil || meta.TaskID == "" {
		return celeryresults.ErrNoTaskID
	}
	override := slices.Contains(options, celeryresults.Override)
	err := b.storeMeta(ctx, meta, override)
	if errors.Is(err, cache.ErrTooLarge) && meta.State.Exception() {
		err = b.storeMeta(ctx, keyvalue.Shortened(meta), override)
	}
	return err
}

func (b *DatabaseBackend) storeMeta(ctx context.Context, meta *celeryresults.TaskMeta, override bool) error {
	if err := b.ready(ctx); err != nil {
		return notStored(meta.TaskID, err)
	}
	l, err := b.tables(ctx)
	if err != nil {
		return notStored(meta.TaskID, err)
	}
	e, err := b.encode(l, meta, override)
	if err != nil {
		return notStored(meta.TaskID, err)
	}
	b.stored.Add(1)
	trace.Sent(ctx, e.bytes())
	r := &request{ctx: ctx, entry: e, layout: l}
	defer b.recent.add(e.id)
	answer, err := b.stores.Do(ctx, r)
	if err != nil { // the context is over
		switch {
		case r.phase.CompareAndSwap(waiting, withdrawn):
			return notStored(e.id, err)
		case r.phase.Load() == answered:
			return r.err
		}
		return &celeryresults.StoreError{TaskID: e.id, Outcome: celeryresults.OutcomeUnknown, Err: err}
	}
	return answer
}

func notStored(id string, err error) error {
	return &celeryresults.StoreError{TaskID: id, Outcome: celeryresults.OutcomeNotStored, Err: err}
}

// request is a result that a caller waits to be stored.
type request struct {
	ctx    context.Context // its caller's
	entry  *entry
	layout *layout

	phase     atomic.Int32
	settled   bool  // err is the answer
	uncertain bool  // a statement with it broke off: it may have happened
	conflicts int   // how often somebody else was quicker to insert
	err       error // nil is stored
}

// The phases of a request. Only one that waits can be withdrawn by its caller,
// who then knows that nothing is stored.
const (
	waiting int32 = iota
	sending
	withdrawn
	answered // err may be read
)

func (r *request) settle(err error) {
	r.settled, r.err = true, err
	r.phase.Store(answered)
}

func (r *request) refuse(stands celeryresults.State) {
	r.settle(&celeryresults.RefusedError{TaskID: r.entry.id, Stands: stands, Stored: r.entry.state})
}

// storeOne stores the result of a caller that is alone.
func (b *DatabaseBackend) storeOne(ctx context.Context, r *request) (error, error) { //nolint:revive,staticcheck // an answer is an error
	b.store(ctx, []*request{r})
	return r.err, nil
}

// storeMany stores the results of several callers.
func (b *DatabaseBackend) storeMany(ctx context.Context, rs []*request) ([]error, error) {
	for _, round := range rounds(rs) {
		for len(round) > 0 {
			n := chunk(round)
			b.store(ctx, round[:n])
			round = round[n:]
		}
	}
	answers := make([]error, len(rs))
	for i, r := range rs {
		answers[i] = r.err
	}
	return answers, nil
}

// rounds divides requests so that none has a task twice, as no statement can
// store two results of one: the first of each task, the second ones, and so on.
// Each is sorted by id, so that statements of several writers take their locks in
// the same order.
func rounds(rs []*request) [][]*request {
	var rounds [][]*request
	count := make(map[string]int, len(rs))
	for _, r := range rs {
		n := count[r.entry.id]
		count[r.entry.id]++
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], r)
	}
	for _, round := range rounds {
		slices.SortFunc(round, func(x, y *request) int { return strings.Compare(x.entry.id, y.entry.id) })
	}
	return rounds
}

// The most that goes into one statement.
const (
	rowsPerStatement  = 256
	bytesPerStatement = 1 << 20
)

// chunk returns how many of the requests go into the next statement.
func chunk(rs []*request) int {
	size := 0
	for i, r := range rs {
		size += r.entry.size()
		if i == rowsPerStatement || i > 0 && size > bytesPerStatement {
			return i
		}
	}
	return len(rs)
}

// store settles the requests, whose ids differ.
func (b *DatabaseBackend) store(ctx context.Context, rs []*request) {
	if len(rs) == 0 {
		return
	}
	if _, ends := ctx.Deadline(); !ends { // a statement that hangs ends, too
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, retry.Patience)
		defer cancel()
	}
	err := b.retry(ctx, func() error { return b.attempt(ctx, rs) })
	for _, r := range rs {
		if !r.settled {
			r.settle(unsettled(r, err))
		}
	}
}

// unsettled returns what the caller of a request is told that no attempt settled.
func unsettled(r *request, err error) error {
	outcome := celeryresults.OutcomeNotStored
	if r.uncertain {
		outcome = celeryresults.OutcomeUnknown
	}
	if err == nil {
		err = r.ctx.Err()
	}
	if err == nil {
		err = errors.New("dbbackend: the record changed under every attempt")
	}
	return &celeryresults.StoreError{TaskID: r.entry.id, Outcome: outcome, Err: err}
}

// attempt tries once to settle the requests that are still open.
func (b *DatabaseBackend) attempt(ctx context.Context, rs []*request) error {
	var open []*request
	err := b.onConnection(ctx, rs[0].layout, func(ctx context.Context, conn connection) error {
		if open = begin(rs); len(open) == 0 {
			return nil
		}
		return b.putAndSettle(ctx, conn, open)
	})
	switch condition := sqldialect.Classify(err); {
	case err == nil:
	case open == nil:
		return err // there was no connection
	case condition == sqldialect.Disconnected, condition == sqldialect.Other && b.ready(ctx) != nil:
		for _, r := range open {
			r.uncertain = r.uncertain || !r.settled
		}
		return err // they stay sending: what they did is not known
	case len(open) == 1, retryable(err) && !stubborn(open, condition):
		if condition == sqldialect.TooLarge {
			err = fmt.Errorf("%w: %w", cache.ErrTooLarge, err)
		}
	default: // one of them is at fault: each gets its own answer
		end(open)
		for _, r := range open {
			if !r.settled {
				b.store(ctx, []*request{r})
			}
		}
		return nil
	}
	end(open)
	return err
}

// mostConflicts is how often requests that are sent together may find that
// somebody else was quicker.
const mostConflicts = 3

// stubborn reports whether requests conflict again and again: then it is with one
// another, as two ids do that a collation takes for the same.
func stubborn(rs []*request, c sqldialect.Condition) bool {
	if c != sqldialect.Conflict {
		return false
	}
	rs[0].conflicts++
	return rs[0].conflicts > mostConflicts
}

// begin returns the requests that are open, now sending. Those whose callers are
// about to withdraw them are left to these.
func begin(rs []*request) []*request {
	open := make([]*request, 0, len(rs))
	for _, r := range rs {
		if r.ctx.Err() != nil && r.phase.Load() == waiting {
			continue
		}
		if !r.settled && (r.phase.CompareAndSwap(waiting, sending) || r.phase.Load() == sending) {
			open = append(open, r)
		}
	}
	return open
}

// end lets callers withdraw again: nothing of theirs is under way.
func end(rs []*request) {
	for _, r := range rs {
		if !r.uncertain && !r.settled {
			r.phase.CompareAndSwap(sending, waiting)
		}
	}
}

// putAndSettle stores what may be stored, and finds out why the rest was not.
func (b *DatabaseBackend) putAndSettle(ctx context.Context, conn connection, open []*request) error {
	stored, err := b.putAll(ctx, conn, open)
	var rest []*request
	for _, r := range open {
		if stored[r.entry.id] {
			r.settle(nil)
		} else {
			rest = append(rest, r)
		}
	}
	if err != nil || len(rest) == 0 {
		return err
	}
	return b.refuse(ctx, conn, rest)
}

// errChanged is why an attempt is repeated: a record came or went between two
// statements.
var errChanged = errors.New("dbbackend: the record changed")

// refuse settles the requests that other records stand in the way of. A request
// that broke off before finds itself in the table if it had happened.
func (b *DatabaseBackend) refuse(ctx context.Context, conn session, rest []*request) error {
	ids := make([]string, len(rest))
	for i, r := range rest {
		ids[i] = r.entry.id
	}
	standing, err := b.standing(ctx, conn, ids)
	if err != nil {
		return err
	}
	for _, r := range rest {
		s, found := standing[r.entry.id]
		switch {
		case (r.uncertain || r.entry.perhaps) && s.is(r.entry):
			r.settle(nil)
		case !found || b.mayReplace(r.entry, s):
			err = errChanged
		default:
			r.refuse(s.state)
		}
	}
	return err
}

// mayReplace is the rule that the statements follow, in Go.
func (b *DatabaseBackend) mayReplace(e *entry, s standing) bool {
	if e.power == everything || b.expiry.expired(s.state, s.written, b.now()) {
		return true
	}
	return e.state != celeryresults.Pending && e.state.MayReplace(s.state)
}

// standing is what counts of a record that stands.
type standing struct {
	id      int64
	state   celeryresults.State
	written time.Time
	result  string
}

// is reports whether the record is what was to be stored.
func (s standing) is(e *entry) bool {
	return s.state == e.state && s.result == e.result && s.written.Equal(e.done.Truncate(sqldialect.Precision))
}

func (b *DatabaseBackend) standing(ctx context.Context, s session, ids []string) (map[string]standing, error) {
	found := make(map[string]standing, len(ids))
	in, args := b.dialect.In("t.task_id", 1, ids)
	q := b.dialect.Rebind(`SELECT t.id, t.task_id, t.status, t.date_done, t.result FROM ` + taskTable + ` t WHERE ` + in)
	err := s.Rows(ctx, q, args, func(scan func(...any) error) error {
		var id string
		var s standing
		var result *string
		if err := scan(&s.id, &id, &s.state, b.scanTime(&s.written), &result); err != nil {
			return err
		}
		if result != nil {
			s.result = *result
		}
		found[id] = s
		return nil
	})
	return found, err
}
