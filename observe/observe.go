// Package observe tells what backends do, to logs, metrics and traces: which results are
// stored, refused and read, how long that takes and how often it is tried, how long waits
// last and how late they end, how large records are, and which have expired or can't be
// decoded.
//
//	app = observe.App(app, observe.Log(slog.Default()))
//
// Packages observe/prometheus and adapters/opentelemetry are Observers, too. A program that
// does not use this package links nothing of it.
package observe

import (
	"context"
	"errors"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/trace"
)

// Operation is what a backend was asked for.
type Operation string

// The operations: the methods of celeryresults.Backend, those of celeryresults.StatusGetter and waiting. Lists, groups, chords and
// what else only some stores can do is not observed.
const (
	Store       Operation = "store"
	Get         Operation = "get"
	GetMany     Operation = "get_many"
	GetStatuses Operation = "get_statuses"
	Forget      Operation = "forget"
	Wait        Operation = "wait" // for one task or several
)

// Event is one operation. What is only known at its end is zero at its beginning.
type Event struct {
	Backend   string // the backend's name, as celeryresults.App.Wrap gives it
	Operation Operation
	TaskIDs   []string // as asked for; never changed
	Task      string   // name of the task, where it is known: of stores, and of reads of one task

	// State is the one that was stored, or that one task turned out to have.
	State celeryresults.State

	// Began is when the operation began, and Duration how long it took.
	Began    time.Time
	Duration time.Duration

	// Outcome is what became of the result of a Store.
	Outcome celeryresults.Outcome

	// Retries is how often the operation was tried again. Where operations of several callers
	// are sent together, it counts for one of them.
	Retries int

	// Sent is the size of the record as it was encoded to be stored, and Received that of
	// the encoded values in records that were read, in bytes.
	Sent, Received int64

	// Unknown are the records that were asked for and not there, those among them that the
	// store knows to have had are Expired, and Undecodable are records and results that can't be
	// read. To know that, ready results are decoded once more.
	Unknown, Expired, Undecodable int

	// Late is how long after the task became ready, by the clock of whoever ran it, a
	// Wait for it ended. It is negative for clocks that differ, and only there if Waited is.
	Late   time.Duration
	Waited bool // a task became ready during the Wait

	// Err is what the operation returned, and Ended how that counts.
	Err   error
	Ended Ending
}

// Ending is how an operation ended.
type Ending string

// The endings.
const (
	OK         Ending = "ok"
	Refused    Ending = "refused"    // another result stands
	Unreadable Ending = "unreadable" // a record is there and is no result
	Cancelled  Ending = "cancelled"  // the caller's context was over
	Failed     Ending = "error"
)

func endingOf(ctx context.Context, err error) Ending {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, celeryresults.ErrRefused):
		return Refused
	case countUnreadable(err) > 0:
		return Unreadable
	case ctx.Err() != nil:
		return Cancelled
	}
	return Failed
}

// StateLabel returns the state as metrics may have it: one of Celery's, or custom, as
// programs may make up any number of others.
func (e Event) StateLabel() string {
	switch e.State {
	case celeryresults.Pending, celeryresults.Received, celeryresults.Started, celeryresults.Success, celeryresults.Failure,
		celeryresults.Revoked, celeryresults.Rejected, celeryresults.Retry, celeryresults.Ignored:
		return string(e.State)
	}
	return "custom"
}

// Observer is told of operations. Both methods are called by the goroutine that asked for the
// operation, many at a time, and the operation waits for them.
type Observer interface {
	// Begin is called before an operation. What it returns is the operation's context, and
	// End's.
	Begin(ctx context.Context, e Event) context.Context

	// End is called after an operation.
	End(ctx context.Context, e Event)
}

// Func is an Observer that is told of the end of operations.
type Func func(ctx context.Context, e Event)

// Begin implements Observer.
func (f Func) Begin(ctx context.Context, _ Event) context.Context { return ctx }

// End implements Observer.
func (f Func) End(ctx context.Context, e Event) { f(ctx, e) }

// App returns an App whose backends are observed, in the place of app; see
// celeryresults.App.Wrap.
func App(app *celeryresults.App, observers ...Observer) *celeryresults.App {
	return app.Wrap(func(name string, b celeryresults.Backend) celeryresults.Backend {
		return Backend(name, b, observers...)
	})
}

// Backend returns a backend that is observed, in the place of b. What else b can do is found by
// celeryresults.BackendAs. Without observers it returns b.
func Backend(name string, b celeryresults.Backend, observers ...Observer) celeryresults.Backend {
	if len(observers) == 0 {
		return b
	}
	o := &backend{b, name, observers}
	waiter, waits := b.(celeryresults.Waiter)
	if !waits {
		return o
	}
	w := &waitingBackend{o, waiter}
	awaiter, one := b.(celeryresults.Awaiter)
	many, several := b.(celeryresults.ManyAwaiter)
	if !one || !several {
		return w
	}
	a := &awaitingBackend{w, awaiter, many}
	if statuses, ok := b.(celeryresults.StatusGetter); ok {
		return &statusBackend{a, statuses}
	}
	return a
}

// backend is a Backend that is observed.
type backend struct {
	celeryresults.Backend
	name      string
	observers []Observer
}

// Unwrap returns the backend that is observed; see celeryresults.BackendAs.
func (b *backend) Unwrap() celeryresults.Backend { return b.Backend }

// operation is one that is under way.
type operation struct {
	b        *backend
	ctx      context.Context   // the caller's
	contexts []context.Context // of the observers
	counts   trace.Counts
	Event
}

// begin tells the observers, and returns the context of the operation.
func (b *backend) begin(ctx context.Context, e Event) (context.Context, *operation) {
	e.Backend, e.Began = b.name, time.Now()
	o := &operation{b: b, ctx: ctx, Event: e, contexts: make([]context.Context, len(b.observers))}
	for i, observer := range b.observers {
		ctx = observer.Begin(ctx, e)
		o.contexts[i] = ctx
	}
	return trace.With(ctx, &o.counts), o
}

// end tells the observers, the last one first.
func (o *operation) end(err error) {
	o.Duration, o.Err, o.Ended = time.Since(o.Began), err, endingOf(o.ctx, err)
	o.Retries, o.Sent = int(o.counts.Retries.Load()), o.counts.Sent.Load()
	if unreadable := countUnreadable(err); unreadable > 0 {
		o.Undecodable += unreadable
	}
	for i := len(o.contexts) - 1; i >= 0; i-- {
		o.b.observers[i].End(o.contexts[i], o.Event)
	}
}

// countUnreadable counts the *celeryresults.UnreadableErrors of a read.
func countUnreadable(err error) int {
	if err == nil {
		return 0
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each of those that are joined counts
		n := 0
		for _, e := range several.Unwrap() {
			n += countUnreadable(e)
		}
		return n
	}
	if _, ok := errors.AsType[*celeryresults.UnreadableError](err); ok {
		return 1
	}
	return 0
}

// read counts what a record that was read says.
func (o *operation) read(meta *celeryresults.TaskMeta) {
	if meta == nil {
		return
	}
	if meta.Unknown {
		o.Unknown++
	}
	if meta.Expired {
		o.Expired++
	}
	for _, v := range []celeryresults.Value{meta.Result, meta.Args, meta.Kwargs, meta.Meta} {
		o.Received += int64(len(v.Stored().Data))
	}
	for _, e := range meta.Extra {
		o.Received += int64(len(e.Value.Stored().Data))
	}
	if meta.State.Ready() {
		if _, err := meta.Result.Any(); err != nil {
			o.Undecodable++
		}
	}
}

// readOne notes the one record that was asked for.
func (o *operation) readOne(meta *celeryresults.TaskMeta) {
	if meta != nil {
		o.Task, o.State = meta.Name, meta.State
		o.read(meta)
	}
}

// StoreResult implements celeryresults.Backend.
func (b *backend) StoreResult(ctx context.Context, meta *celeryresults.TaskMeta, options ...celeryresults.StoreOption) error {
	var e Event
	if meta != nil {
		e = Event{TaskIDs: []string{meta.TaskID}, Task: meta.Name, State: meta.State}
	}
	e.Operation = Store
	ctx, o := b.begin(ctx, e)
	err := b.Backend.StoreResult(ctx, meta, options...)
	o.Outcome = celeryresults.OutcomeOf(err)
	o.end(err)
	return err
}

// GetTaskMeta implements celeryresults.Backend.
func (b *backend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	ctx, o := b.begin(ctx, Event{Operation: Get, TaskIDs: []string{taskID}})
	meta, err := b.Backend.GetTaskMeta(ctx, taskID)
	o.readOne(meta)
	o.end(err)
	return meta, err
}

// GetMany implements celeryresults.Backend.
func (b *backend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	ctx, o := b.begin(ctx, Event{Operation: GetMany, TaskIDs: taskIDs})
	metas, err := b.Backend.GetMany(ctx, taskIDs)
	for _, meta := range metas {
		o.read(meta)
	}
	o.end(err)
	return metas, err
}

// Forget implements celeryresults.Backend.
func (b *backend) Forget(ctx context.Context, taskIDs ...string) error {
	ctx, o := b.begin(ctx, Event{Operation: Forget, TaskIDs: taskIDs})
	err := b.Backend.Forget(ctx, taskIDs...)
	o.end(err)
	return err
}

// waitingBackend is one of a backend that is a celeryresults.Waiter.
type waitingBackend struct {
	*backend
	waiter celeryresults.Waiter
}

// became notes how late a wait ended that began before its task was ready.
func (o *operation) became(meta *celeryresults.TaskMeta) {
	if meta != nil && meta.State.Ready() && !meta.DateDone.Before(o.Began.Truncate(time.Microsecond)) { // results have microseconds
		o.Late, o.Waited = max(o.Late, time.Since(meta.DateDone)), true
	}
}

// WaitFor implements celeryresults.Waiter.
func (b *waitingBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	ctx, o := b.begin(ctx, Event{Operation: Wait, TaskIDs: []string{taskID}})
	meta, err := b.waiter.WaitFor(ctx, taskID)
	o.became(meta)
	o.readOne(meta)
	o.end(err)
	return meta, err
}

// awaitingBackend is one of a backend that can do all that waiting knows.
type awaitingBackend struct {
	*waitingBackend
	one  celeryresults.Awaiter
	many celeryresults.ManyAwaiter
}

// Await implements celeryresults.Awaiter.
func (b *awaitingBackend) Await(ctx context.Context, taskID string, until func(*celeryresults.TaskMeta) bool) (*celeryresults.TaskMeta, error) {
	ctx, o := b.begin(ctx, Event{Operation: Wait, TaskIDs: []string{taskID}})
	meta, err := b.one.Await(ctx, taskID, until)
	o.became(meta)
	o.readOne(meta)
	o.end(err)
	return meta, err
}

// AwaitMany implements celeryresults.ManyAwaiter. How late it is counts for the task that
// was noticed last after it was ready.
func (b *awaitingBackend) AwaitMany(ctx context.Context, taskIDs []string, until func(*celeryresults.TaskMeta) bool) error {
	ctx, o := b.begin(ctx, Event{Operation: Wait, TaskIDs: taskIDs})
	counted := &manyWait{operation: o, until: until}
	err := b.many.AwaitMany(ctx, taskIDs, counted.see)
	counted.end(err)
	return err
}

// statusBackend is one of a backend that tells states without results, too.
type statusBackend struct {
	*awaitingBackend
	statuses celeryresults.StatusGetter
}

// GetStatuses implements celeryresults.StatusGetter.
func (b *statusBackend) GetStatuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	ctx, o := b.begin(ctx, Event{Operation: GetStatuses, TaskIDs: taskIDs})
	statuses, err := b.statuses.GetStatuses(ctx, taskIDs)
	for _, s := range statuses {
		if s.Unknown {
			o.Unknown++
		}
		if s.Expired {
			o.Expired++
		}
	}
	o.end(err)
	return statuses, err
}
