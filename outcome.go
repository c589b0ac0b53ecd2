package celeryresults

import (
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/cache"
)

// Outcome is what became of a result that was to be stored.
type Outcome int

// The outcomes.
const (
	// OutcomeUnknown: the store was asked and did not answer. The result may be there
	// or may yet come; storing it again is safe.
	OutcomeUnknown Outcome = iota

	// OutcomeStored: the result can be read.
	OutcomeStored

	// OutcomeRefused: another record stands and was not changed.
	OutcomeRefused

	// OutcomeNotStored: nothing was changed.
	OutcomeNotStored
)

// String returns unknown, stored, refused or not stored.
func (o Outcome) String() string {
	if names := [...]string{"unknown", "stored", "refused", "not stored"}; o >= 0 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

// StoreError is returned by StoreResult of backends that know what became of
// the result when the store failed, or the context ended.
type StoreError struct {
	TaskID  string
	Outcome Outcome // OutcomeNotStored or OutcomeUnknown
	Err     error   // why
}

// Error names the task, what became of the result, and why.
func (e *StoreError) Error() string {
	if e.Outcome == OutcomeNotStored {
		return fmt.Sprintf("celeryresults: result of task %q was not stored: %v", e.TaskID, e.Err)
	}
	return fmt.Sprintf("celeryresults: result of task %q may or may not be stored: %v", e.TaskID, e.Err)
}

// Unwrap returns why.
func (e *StoreError) Unwrap() error { return e.Err }

// before are the errors of stores that nothing was sent for, or that changed
// nothing.
var before = []error{ErrNoTaskID, ErrBadID, ErrNoState, cache.ErrBadKey, cache.ErrTooLarge}

// OutcomeOf returns what an error of StoreResult says of the result. Nil is
// OutcomeStored. An error that does not tell is OutcomeUnknown.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeStored
	}
	if errors.Is(err, ErrRefused) {
		return OutcomeRefused
	}
	if e, ok := errors.AsType[*StoreError](err); ok {
		return e.Outcome
	}
	for _, known := range before {
		if errors.Is(err, known) {
			return OutcomeNotStored
		}
	}
	return OutcomeUnknown
}
