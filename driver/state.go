package driver

import (
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/internal/rank"
)

// State is the state of a task: one of Celery's, or any name of the caller's own, such
// as PROGRESS.
type State string

// The states of celery.states.
const (
	Pending  State = "PENDING"  // waiting, or unknown: no record stands
	Received State = "RECEIVED" // a worker has it
	Started  State = "STARTED"  // runs; only recorded with task_track_started
	Success  State = "SUCCESS"
	Failure  State = "FAILURE"
	Revoked  State = "REVOKED"
	Rejected State = "REJECTED"
	Retry    State = "RETRY" // failed, and will run again
	Ignored  State = "IGNORED"
)

// Ready reports whether the state is final: SUCCESS, FAILURE or REVOKED
// (celery.states.READY_STATES).
func (s State) Ready() bool { return s == Success || s == Failure || s == Revoked }

// Exception reports whether the result of the state is an exception: FAILURE, RETRY or
// REVOKED (celery.states.EXCEPTION_STATES).
func (s State) Exception() bool { return s == Failure || s == Retry || s == Revoked }

// MayReplace reports whether a record of state s may be stored over a record of the
// state that stands, empty where nothing stands. A SUCCESS is never replaced, a
// FAILURE or REVOKED only by a ready state, and a PENDING is stored only where nothing
// stands. Every store decides by this rule, atomically.
func (s State) MayReplace(stands State) bool {
	return stands == "" || PowerOf(s, false).Over(stands)
}

// Power is what a write may replace. The numbers stand in statements and scripts.
type Power int

// The powers. Each but Exact may also replace what the ones before it may.
const (
	Absent       Power = rank.Nothing   // nothing: it is stored where no record stands
	Unready      Power = rank.Unready   // a record whose state is not ready
	Unsuccessful Power = rank.Ready     // any but a SUCCESS, and one that can't be read
	Anything     Power = rank.Final     // any
	Exact        Power = rank.Final + 1 // the very document in Write.Old
)

// PowerOf returns the power of a record of the state, Anything with override.
func PowerOf(s State, override bool) Power {
	if override {
		return Anything
	}
	return Power(rank.Power(string(s)))
}

// Over reports whether the power suffices to replace a record of the state that
// stands, empty where that can't be read. Exact is not decided by states: it never is.
func (p Power) Over(stands State) bool { return p != Exact && int(p) >= rank.Of(string(stands)) }

// Outcome is what became of a write.
type Outcome int

// The outcomes.
const (
	Unknown   Outcome = iota // the store did not answer: the record may be there or yet come, and storing it again is safe
	Stored                   // the record can be read
	Refused                  // another record stands and was not changed
	NotStored                // nothing was changed
)

// String returns unknown, stored, refused or not stored.
func (o Outcome) String() string {
	if names := [...]string{"unknown", "stored", "refused", "not stored"}; o >= 0 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// Again is an error after which the same call may succeed, such as that of a broken
// connection. The Backend repeats the call.
type Again struct {
	Err      error
	Conflict bool // another writer was quicker; writes that conflict again and again are repeated each by itself
}

// Error returns the text of Err.
func (e *Again) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Again) Unwrap() error { return e.Err }

// Never is the lifetime of records that do not expire.
const Never = -1

// Errors of stores. Test with errors.Is.
var (
	ErrBadID    = errors.New("celeryresults: bad id")           // the store can't hold the id as it is
	ErrTooLarge = errors.New("celeryresults: record too large") // the store can't hold the record; the Backend cuts failures and tries once more
	ErrNoChord  = errors.New("celeryresults: unknown chord")    // of Claimer.ReadChord
	ErrCursor   = errors.New("celeryresults: bad cursor")       // of Lister.List: malformed, or issued for a different query
)
