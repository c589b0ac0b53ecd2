package python

import (
	"errors"
	"fmt"
	"strconv"
)

// Errors that [Plain] and [Assign] wrap. Test with errors.Is.
var (
	// ErrUnsupported is returned for a Go value that has no Python form.
	ErrUnsupported = errors.New("unsupported value")

	// ErrLimit is returned for a value that is nested deeper than 512 levels
	// (a cycle is), or that is too large to be handled.
	ErrLimit = errors.New("limit exceeded")
)

const (
	maxDepth   = 512     // nesting of containers, and pointers in a row
	maxPrinted = 4 << 20 // values in one JSON text
	maxNodes   = 1 << 20 // values in one tree, each counted as often as it is reached
	maxDigits  = 4300    // of a decimal integer, CPython's own default
)

// ConversionError says which part of a value [Plain] or [Assign] could not
// convert. Path leads there from the top, such as .items[3].price, and is
// empty at the top itself.
type ConversionError struct {
	Path string
	Err  error
}

// Error names the reason and the path.
func (e *ConversionError) Error() string {
	if e.Path == "" {
		return "python: " + e.Err.Error()
	}
	return "python: " + e.Err.Error() + " at " + e.Path
}

// Unwrap returns the reason.
func (e *ConversionError) Unwrap() error { return e.Err }

// located returns err as a ConversionError with step in front of its path.
func located(err error, step string) error {
	if inner, ok := errors.AsType[*ConversionError](err); ok {
		return &ConversionError{Path: step + inner.Path, Err: inner.Err}
	}
	return &ConversionError{Path: step, Err: err}
}

func atIndex(err error, i int) error {
	return located(err, "["+strconv.Itoa(i)+"]")
}

func atKey(err error, key any) error {
	name, ok := key.(string)
	switch {
	case ok && isName(name):
		return located(err, "."+name)
	case ok:
		return located(err, "["+strconv.QuoteToASCII(name)+"]")
	}
	return located(err, fmt.Sprintf("[%s]", typeName(key)))
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
