package celeryresults

import (
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
)

// Outcome is what became of a result that was to be stored.
type Outcome = driver.Outcome

// The outcomes.
const (
	OutcomeUnknown   = driver.Unknown   // the store did not answer; storing again is safe
	OutcomeStored    = driver.Stored    // the result can be read
	OutcomeRefused   = driver.Refused   // another record stands and was not changed
	OutcomeNotStored = driver.NotStored // nothing was changed
)

// StoreError is returned by StoreResult of backends that know what became of
// the result when the store failed, or the context ended.
type StoreError struct {
	TaskID  string
	Outcome Outcome // OutcomeNotStored, OutcomeUnknown, or OutcomeStored where those who wait could not be told
	Err     error   // why
}

// Error names the task, what became of the result, and why.
func (e *StoreError) Error() string {
	switch e.Outcome {
	case OutcomeStored:
		return fmt.Sprintf("celeryresults: result of task %q was stored, but those who wait could not be told: %v", e.TaskID, e.Err)
	case OutcomeNotStored:
		return fmt.Sprintf("celeryresults: result of task %q was not stored: %v", e.TaskID, e.Err)
	}
	return fmt.Sprintf("celeryresults: result of task %q may or may not be stored: %v", e.TaskID, e.Err)
}

// Unwrap returns why.
func (e *StoreError) Unwrap() error { return e.Err }

// before are the errors of stores that nothing was sent for, or that changed
// nothing.
var before = []error{ErrNoTaskID, ErrBadID, ErrNoState, ErrTooLarge, cache.ErrBadKey, cache.ErrTooLarge}

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
