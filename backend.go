package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/waiting"
	"github.com/celeryresults/celeryresults/internal/writes"
)

// Patience is how long an operation is tried whose context has no deadline while the
// store does not answer. With a deadline, it is tried until that.
const Patience = retry.Patience

// Backend keeps results in a store. It has all that stores have in common: a
// store decides who may replace whom, and the Backend merges concurrent callers, repeats
// what failed for a moment, knows what became of each result, waits, keeps groups and
// hands chords over. What a store can't do is errors.ErrUnsupported.
//
// Make one with backends.Open, the New of a driver, or NewBackend over a store of your
// own. All methods are safe for concurrent use. A cancelled or expired context returns its
// error at once; an operation under way may still take effect. An empty task id is
// ErrNoTaskID, before anything is sent.
type Backend struct {
	store    driver.Store
	traits   driver.Traits
	encoding Encoding
	settings Settings
	retries  retry.Policy
	lease    time.Duration // of chords

	fallbacks []*Backend
	hooks     []Hook

	closed  atomic.Bool
	closers []func() error
	writes  *writes.Queue
	gets    *merge.Group[string, *driver.Record] // nil where reads are not merged
	waits   *waiting.Table[*TaskMeta]
	markers bool // tombstones are kept in Markers
}

// defaultLease is how long a claim on a chord's body holds unless a setting says
// otherwise.
const defaultLease = time.Minute

// BackendOptions are what NewBackend takes beside the settings. Nil means the defaults.
type BackendOptions struct {
	// ChordLease is how long a claim on a chord's body holds when the process that has
	// it no longer renews it. Default: a minute.
	ChordLease time.Duration
}

// NewBackend returns a Backend over a store, which it closes. Most programs call
// backends.Open, or backends.New for a store of documents of their own. Of the settings it
// uses those of results and retries.
func NewBackend(store driver.Store, encoding Encoding, s Settings, o *BackendOptions) (*Backend, error) {
	if store == nil || encoding == nil {
		return nil, errors.New("celeryresults: new backend: no store or no encoding")
	}
	if o == nil {
		o = &BackendOptions{}
	}
	b := &Backend{
		store: store, traits: store.Traits(), encoding: encoding, settings: s, lease: o.ChordLease,
		retries: retry.New(s.ResultBackendBaseSleepBetweenRetry, s.ResultBackendMaxSleepBetweenRetry, s.ResultBackendMaxRetries),
	}
	if b.lease <= 0 {
		b.lease = defaultLease
	}
	if b.traits.GetMost <= 0 {
		b.traits.GetMost = 1000
	}
	b.markers = s.ResultTombstones > 0 && !b.traits.KeepsExpired && !b.traits.ReadOnly
	b.writes = writes.New(writes.Config{
		Put: store.Put, Ready: b.ready, Retries: b.retries, Most: b.traits.PutMost, InFlight: b.traits.InFlight,
	})
	if !b.traits.GetAlone {
		b.gets = merge.New(b.getOne, b.getTogether, true)
	}
	c := waiting.Config[*TaskMeta]{Read: b.look, Final: isFinal, Closed: ErrClosed, Patience: Patience}
	if pusher, ok := store.(driver.Pusher); ok {
		c.Push = pusher
		b.waits = waiting.New(c)
		pusher.Listen(sink{b})
	} else {
		b.waits = waiting.New(c)
	}
	return b, nil
}

func isFinal(meta *TaskMeta) bool { return meta.State.Ready() }

// Driver returns the store, for what only that can do.
func (b *Backend) Driver() driver.Store { return b.store }

// Name returns the kind of the store, such as redis.
func (b *Backend) Name() string { return b.traits.Name }

// AddFallbacks lets other backends be asked, in their order, for results and groups that
// the store does not have: when tasks move to another backend, the results that they left
// stay readable. Results are stored in the store alone; Forget and DeleteGroup delete
// everywhere. A fallback that fails is an error of the read, as its records must not look
// unknown. Fallbacks of a fallback are not asked, and they stay their owners' to close. Add
// them before the Backend is used.
func (b *Backend) AddFallbacks(fallbacks ...*Backend) {
	b.fallbacks = append(b.fallbacks, fallbacks...)
}

// Fallbacks returns the backends that are asked for what this one does not know.
func (b *Backend) Fallbacks() []*Backend { return slices.Clone(b.fallbacks) }

// OnClose lets f be called when the Backend closes, after the store was closed. Add it before
// the Backend is used.
func (b *Backend) OnClose(f func() error) { b.closers = append(b.closers, f) }

// Close ends all waits with ErrClosed and closes the store. Every later operation returns
// ErrClosed. Closing twice is no error.
func (b *Backend) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	b.waits.Close()
	errs := []error{b.store.Close()}
	for _, f := range b.closers {
		errs = append(errs, f())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("celeryresults: close %s: %w", b.traits.Name, err)
	}
	return nil
}

// ready returns why nothing may be sent. A deadline counts from its moment on: the network
// may notice it before the context does.
func (b *Backend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// repeat runs an operation of the store that may be run again, while that helps, and says
// what failed.
func (b *Backend) repeat(ctx context.Context, what string, operation func() error) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	began := time.Now()
	return b.failed(ctx, what, began, b.retries.Do(ctx, b.ready, helps, operation))
}

// helps reports whether another attempt may work.
func helps(err error) bool {
	_, again := errors.AsType[*driver.Again](err)
	return again
}

// failed makes of the last failure of an operation what its caller is told.
func (b *Backend) failed(ctx context.Context, what string, began time.Time, err error) error {
	if err == nil {
		return nil
	}
	silent := helps(err)
	if again, ok := errors.AsType[*driver.Again](err); ok && err == error(again) { //nolint:errorlint // the outermost one alone
		err = again.Err
	}
	over := b.ready(ctx)
	switch {
	case errors.Is(over, ErrClosed), errors.Is(err, ErrClosed):
		return ErrClosed
	case over != nil && errors.Is(err, over) && !silent:
		return waiting.Silent(over, began, nil)
	case over != nil:
		return &waiting.SilentError{Err: over, Since: began, Last: err}
	}
	return fmt.Errorf("celeryresults: %s in %s: %w", what, b.traits.Name, err)
}

// sink hands on what a store tells of changes.
type sink struct{ b *Backend }

// Live implements driver.Sink.
func (s sink) Live(ids ...string) { s.b.waits.Live(ids...) }

// Lost implements driver.Sink.
func (s sink) Lost(ids ...string) { s.b.waits.Lost(ids...) }

// Changed implements driver.Sink.
func (s sink) Changed(ids ...string) { s.b.waits.Changed(ids...) }

// Deliver implements driver.Sink.
func (s sink) Deliver(r driver.Record) {
	if !s.b.waits.Waits(r.ID) {
		return
	}
	meta, err := s.b.encoding.Decode(&r)
	if err != nil {
		s.b.waits.Changed(r.ID)
		return
	}
	s.b.waits.Deliver(r.ID, meta)
}

// Operation is what a Backend was asked for, as a Hook is told of it. A Hook must not
// change it.
type Operation struct {
	Name    string    // store, get, get_many, get_statuses, forget or wait
	TaskIDs []string  // as asked for
	Meta    *TaskMeta // that is stored; nil for all but store

	// What follows is set when the operation has ended.
	Metas    []*TaskMeta // that were read, nil for those that can't be
	Statuses []Status    // of get_statuses
	Outcome  Outcome     // of store
	Retries  int         // attempts after the first; not of reads that were merged
	Size     int         // of the encoded record that was to be stored, in bytes
	Err      error       // what the caller got
}

// Hook is called before each operation of a Backend, in the caller's goroutine. What it
// returns is the operation's context, and a function that is called once it has ended.
type Hook func(ctx context.Context, o *Operation) (context.Context, func())

// AddHook lets a hook be told of operations, after those that are there. Add hooks before
// the Backend is used.
func (b *Backend) AddHook(h Hook) { b.hooks = append(b.hooks, h) }

// begin calls the hooks.
func (b *Backend) begin(ctx context.Context, o *Operation) (context.Context, func(err error)) {
	ends := make([]func(), len(b.hooks))
	for i, hook := range b.hooks {
		ctx, ends[i] = hook(ctx, o)
	}
	return ctx, func(err error) {
		o.Err = err
		for _, end := range slices.Backward(ends) {
			if end != nil {
				end()
			}
		}
	}
}
