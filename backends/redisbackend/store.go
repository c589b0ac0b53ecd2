package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/trace"
)

// maxValue is the longest string that Redis holds.
const maxValue = 512 << 20

// documentSize is what most documents fit in.
const documentSize = 768

// StoreResult implements celeryresults.Backend. The stores of concurrent callers
// are sent together. Unless the result is stored or refused, the error is a
// *celeryresults.StoreError, which says whether nothing was stored or that is not
// known. A result over 512 MiB is cache.ErrTooLarge; a failure is then stored with
// its texts cut and marked as cut.
func (b *RedisBackend) StoreResult(ctx context.Context, meta *celeryresults.TaskMeta, options ...celeryresults.StoreOption) error {
	if meta == nil || meta.TaskID == "" {
		return celeryresults.ErrNoTaskID
	}
	override := slices.Contains(options, celeryresults.Override)
	err := b.storeMeta(ctx, meta, override)
	if errors.Is(err, cache.ErrTooLarge) && meta.State.Exception() {
		err = b.storeMeta(ctx, keyvalue.Shortened(meta), override)
	}
	if err != nil {
		return err
	}
	b.gone.Stored(ctx, meta.TaskID)
	return b.tally(ctx, meta, override)
}

func (b *RedisBackend) storeMeta(ctx context.Context, meta *celeryresults.TaskMeta, override bool) error {
	if err := b.ready(ctx); err != nil {
		return failed(meta.TaskID, celeryresults.OutcomeNotStored, err)
	}
	r, err := b.request(meta, override)
	if err != nil {
		return failed(meta.TaskID, celeryresults.OutcomeNotStored, err)
	}
	trace.Sent(ctx, len(r.document))
	answer, err := b.stores.Do(ctx, r)
	if err == nil {
		return answer
	}
	if r.phase.CompareAndSwap(waiting, withdrawn) { // the context is over
		return failed(r.id, celeryresults.OutcomeNotStored, err)
	}
	return failed(r.id, celeryresults.OutcomeUnknown, err)
}

func failed(id string, outcome celeryresults.Outcome, err error) error {
	return &celeryresults.StoreError{TaskID: id, Outcome: outcome, Err: err}
}

// request is a result that a caller waits to be stored.
type request struct {
	id, key  string
	state    celeryresults.State
	document []byte
	override bool

	phase     atomic.Int32
	settled   bool  // err is the answer
	uncertain bool  // a call with it broke off: it may have happened
	err       error // nil is stored
}

// The phases of a request. Only one that waits can be withdrawn by its caller,
// who then knows that nothing is stored.
const (
	waiting int32 = iota
	sending
	withdrawn
)

func (b *RedisBackend) request(meta *celeryresults.TaskMeta, override bool) (*request, error) {
	key, err := b.keys.Task(meta.TaskID)
	if err != nil {
		return nil, err
	}
	document, err := b.documents.Append(make([]byte, 0, documentSize), meta)
	if err != nil {
		return nil, err
	}
	if len(document) > maxValue {
		return nil, fmt.Errorf("redisbackend: store %q: %w", meta.TaskID, cache.ErrTooLarge)
	}
	return &request{id: meta.TaskID, key: key, state: meta.State, document: document, override: override}, nil
}

func (r *request) settle(err error) { r.settled, r.err = true, err }

func (r *request) refuse(stands celeryresults.State) {
	r.settle(&celeryresults.RefusedError{TaskID: r.id, Stands: stands, Stored: r.state})
}

// storeOne stores the result of a caller that is alone.
func (b *RedisBackend) storeOne(ctx context.Context, r *request) (error, error) { //nolint:revive,staticcheck // an answer is an error
	b.store(ctx, []*request{r})
	return r.err, nil
}

// storeMany stores the results of several callers, in their order.
func (b *RedisBackend) storeMany(ctx context.Context, rs []*request) ([]error, error) {
	for rest := rs; len(rest) > 0; {
		n := chunk(rest)
		b.store(ctx, rest[:n])
		rest = rest[n:]
	}
	answers := make([]error, len(rs))
	for i, r := range rs {
		answers[i] = r.err
	}
	return answers, nil
}

// The most that goes into one call of the script, which holds up all others.
const (
	requestsPerCall = 256
	bytesPerCall    = 1 << 20
)

// chunk returns how many of the requests go into the next call.
func chunk(rs []*request) int {
	size := 0
	for i, r := range rs {
		size += len(r.document)
		if i == requestsPerCall || i > 0 && size > bytesPerCall {
			return i
		}
	}
	return len(rs)
}

// store settles the requests.
func (b *RedisBackend) store(ctx context.Context, rs []*request) {
	err := b.retries.Do(ctx, b.ready, b.helps, func() error { return b.attempt(ctx, rs) })
	for _, r := range rs {
		switch {
		case r.settled:
		case r.uncertain:
			r.settle(failed(r.id, celeryresults.OutcomeUnknown, b.explain(ctx, err)))
		default:
			r.settle(failed(r.id, celeryresults.OutcomeNotStored, b.explain(ctx, err)))
		}
	}
}

// attempt tries once to settle the requests that are still open.
func (b *RedisBackend) attempt(ctx context.Context, rs []*request) error {
	open := begin(rs)
	if len(open) == 0 {
		return nil
	}
	var failure error
	for i, a := range b.send(ctx, open) {
		if err := b.conclude(ctx, open[i], a); err != nil {
			failure = err
		}
	}
	end(open)
	if failure == nil || len(open) == 1 || b.server.sharded || b.helps(failure) || !answered(failure) {
		return failure
	}
	for _, r := range open { // one of them is at fault: each gets its own answer
		if !r.settled {
			b.store(ctx, []*request{r})
		}
	}
	return nil
}

// conclude settles a request by what became of it, or returns why it is open.
func (b *RedisBackend) conclude(ctx context.Context, r *request, a answer) error {
	err := a.err
	switch {
	case err != nil:
	case a.why == "":
		r.settle(nil)
	case a.why[0] == '=':
		r.refuse(celeryresults.State(a.why[1:]))
	case a.why[0] == '?':
		err = b.swap(ctx, r, a.why[1:])
	case a.why[0] == '~':
		r.settle(failed(r.id, celeryresults.OutcomeUnknown, errPublish(a.why[1:])))
	default:
		if err = serverError(a.why[1:]); !transient(err) {
			r.settle(failed(r.id, celeryresults.OutcomeNotStored, err))
			return nil
		}
	}
	if err != nil && !answered(err) && !unsent(err) && !errors.Is(err, errGone) {
		r.uncertain = true
	}
	return err
}

// begin returns the requests that are open, now sending.
func begin(rs []*request) []*request {
	open := make([]*request, 0, len(rs))
	for _, r := range rs {
		if !r.settled && (r.phase.CompareAndSwap(waiting, sending) || r.phase.Load() == sending) {
			open = append(open, r)
		}
	}
	return open
}

// end lets callers withdraw again whose results are under way nowhere.
func end(rs []*request) {
	for _, r := range rs {
		if !r.settled && !r.uncertain {
			r.phase.CompareAndSwap(sending, waiting)
		}
	}
}
