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
	"slices"
	"time"

	"github.com/celeryresults/celeryresults"
)

// Operation is what a backend was asked for.
type Operation string

// The operations are those of celeryresults.Operation. Lists, groups, chords and cleaning up are not
// observed.
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
	Backend   string // the backend's name, as celeryresults.App.AddHook gives it
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

	// Retries is how often a Store was tried again.
	Retries int

	// Sent is the size of the record as it was encoded to be stored, and Received that of
	// the encoded values in records that were read, in bytes.
	Sent, Received int64

	// Unknown are the records that were asked for and not there, those among them that the
	// store knows to have had are Expired, and Undecodable are records that can't be read and,
	// where an observer is Decoding, results.
	Unknown, Expired, Undecodable int

	// Late is how long after the task became ready, by the clock of whoever ran it, a
	// Wait for it ended; of several tasks, after the last one. It is negative for clocks that
	// differ, and only there if Waited is.
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

// Decoding returns an Observer like o, for which results that are ready are decoded once more
// when they are read, so that Event.Undecodable counts those that can't be. That takes as long
// as decoding does.
func Decoding(o Observer) Observer { return decoding{o} }

type decoding struct{ Observer }

// App lets the backends of an App be observed, and returns it. Call it before they are used.
func App(app *celeryresults.App, observers ...Observer) *celeryresults.App {
	if len(observers) > 0 {
		app.AddHook(func(name string) celeryresults.Hook { return Hook(name, observers...) })
	}
	return app
}

// Backend lets a backend be observed under a name, and returns it. Call it before that is used.
func Backend(name string, b *celeryresults.Backend, observers ...Observer) *celeryresults.Backend {
	if len(observers) > 0 {
		b.AddHook(Hook(name, observers...))
	}
	return b
}

// Hook returns a hook that tells observers what the backend of that name does: the first one
// first when an operation begins, and last when it has ended.
func Hook(backend string, observers ...Observer) celeryresults.Hook {
	decodes := slices.ContainsFunc(observers, func(o Observer) bool {
		_, ok := o.(decoding)
		return ok
	})
	return func(ctx context.Context, o *celeryresults.Operation) (context.Context, func()) {
		e := Event{Backend: backend, Operation: Operation(o.Name), TaskIDs: o.TaskIDs, Began: time.Now()}
		if o.Meta != nil {
			e.Task, e.State = o.Meta.Name, o.Meta.State
		}
		asked, contexts := ctx, make([]context.Context, len(observers))
		for i, observer := range observers {
			ctx = observer.Begin(ctx, e)
			contexts[i] = ctx
		}
		return ctx, func() {
			e.end(asked, o, decodes)
			for i, observer := range slices.Backward(observers) {
				observer.End(contexts[i], e)
			}
		}
	}
}

// end sets what is known at the end of an operation, whose caller gave ctx.
func (e *Event) end(ctx context.Context, o *celeryresults.Operation, decodes bool) {
	e.Duration, e.Err, e.Ended = time.Since(e.Began), o.Err, endingOf(ctx, o.Err)
	e.Outcome, e.Retries, e.Sent = o.Outcome, o.Retries, int64(o.Size)
	e.Undecodable = countUnreadable(o.Err)
	for _, meta := range o.Metas {
		if meta != nil {
			e.read(meta, decodes)
		}
	}
	for _, s := range o.Statuses {
		e.missed(s.Unknown, s.Expired)
	}
	if len(e.TaskIDs) == 1 && len(o.Metas) == 1 && o.Metas[0] != nil {
		e.Task, e.State = o.Metas[0].Name, o.Metas[0].State
	}
	if e.Operation == Wait && o.Err == nil {
		e.waited(o.Metas)
	}
}

func (e *Event) missed(unknown, expired bool) {
	if unknown {
		e.Unknown++
	}
	if expired {
		e.Expired++
	}
}

// read counts what a record that was read says.
func (e *Event) read(meta *celeryresults.TaskMeta, decodes bool) {
	e.missed(meta.Unknown, meta.Expired)
	for _, v := range [...]celeryresults.Value{meta.Result, meta.Args, meta.Kwargs, meta.Meta} {
		e.Received += int64(len(v.Stored().Data))
	}
	for _, extra := range meta.Extra {
		e.Received += int64(len(extra.Value.Stored().Data))
	}
	if decodes && meta.State.Ready() {
		if _, err := meta.Result.Any(); err != nil {
			e.Undecodable++
		}
	}
}

// waited notes how late a wait ended that began before its tasks were ready.
func (e *Event) waited(metas []*celeryresults.TaskMeta) {
	var last time.Time
	for _, meta := range metas {
		if meta.State.Ready() && meta.DateDone.After(last) {
			last = meta.DateDone
		}
	}
	if !last.Before(e.Began.Truncate(time.Microsecond)) { // results have microseconds
		e.Late, e.Waited = e.Began.Add(e.Duration).Sub(last), true
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
