package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// The exit statuses. When several apply, the highest counts.
const (
	statusFailed      = 1 // a task failed, or a record can't be read
	statusUsage       = 2 // wrong usage, settings or values
	statusRefused     = 3
	statusUnknown     = 4
	statusTimedOut    = 5
	statusUnreachable = 6
)

// exitError is an error whose status is known where it arises.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// withStatus gives err, unless it is nil, the exit status.
func withStatus(status int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{status, err}
}

// usage is a wrong use of the command cmd.
func usage(cmd *cobra.Command, format string, args ...any) error {
	what := ""
	if name, ok := strings.CutPrefix(cmd.CommandPath(), cmd.Root().Name()+" "); ok {
		what = name + ": "
	}
	return withStatus(statusUsage, fmt.Errorf(what+format+"; see "+cmd.CommandPath()+" --help", args...))
}

// statuses is the table from errors to exit statuses; the first match counts.
var statuses = []struct {
	err    error
	status int
}{
	{celeryresults.ErrRefused, statusRefused},
	{celeryresults.ErrUnknownGroup, statusUnknown},
	{celeryresults.ErrUnknownChord, statusUnknown},
	{celeryresults.ErrNoTable, statusUsage},
	{celeryresults.ErrSettings, statusUsage},
	{celeryresults.ErrUnknownBackend, statusUsage},
	{celeryresults.ErrNoTaskID, statusUsage},
	{celeryresults.ErrBadID, statusUsage},
	{celeryresults.ErrNoState, statusUsage},
	{document.ErrReserved, statusUsage},
	{backends.ErrDisabled, statusUsage},
	{backends.ErrUnsupported, statusUsage},
	{errors.ErrUnsupported, statusUsage},
	{cache.ErrBadKey, statusUsage},
	{cache.ErrTooLarge, statusUsage},
	{serialization.ErrLimit, statusUsage},
	{serialization.ErrUnsupported, statusUsage},
	{python.ErrLimit, statusUsage},
	{python.ErrUnsupported, statusUsage},
	{context.Canceled, statusFailed},
}

// statusOf returns the exit status for an error. What no table knows comes
// from a store that does not work.
func statusOf(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.status
	}
	if _, ok := errors.AsType[*celeryresults.UnreadableError](err); ok && !errors.Is(err, celeryresults.ErrBadID) {
		return statusFailed
	}
	for _, row := range statuses {
		if errors.Is(err, row.err) {
			return row.status
		}
	}
	if isData(err) {
		return statusUsage
	}
	return statusUnreachable
}

// isData reports whether a database refused a value: SQL's class 22, or what
// MySQL says of a text that a column's character set does not have.
func isData(err error) bool {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return string(e.SQLState[:2]) == dataException || e.Number == mysqlIncorrectValue
	}
	e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	return ok && strings.HasPrefix(e.SQLState(), dataException)
}

const (
	dataException       = "22"
	mysqlIncorrectValue = 1366
)

// raise makes status the exit status unless a higher one stands.
func (c *cli) raise(status int) { c.status = max(c.status, status) }

// report writes err, which may be several joined or nil, as lines to standard
// error and raises the exit status. what is put in front, if not empty.
func (c *cli) report(what string, err error) {
	if err == nil {
		return
	}
	if list := joined(err); list != nil {
		for _, e := range list {
			c.report(what, e)
		}
		return
	}
	c.raise(statusOf(err))
	c.say(what, err)
}

// joined returns the errors of errors.Join, whose text is theirs in lines, and
// nil for an error that merely wraps several.
func joined(err error) []error {
	several, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // only the outermost is meant
	if !ok {
		return nil
	}
	list := several.Unwrap()
	lines := make([]string, len(list))
	for i, e := range list {
		lines[i] = e.Error()
	}
	if strings.Join(lines, "\n") != err.Error() {
		return nil
	}
	return list
}

// say writes err as one line to standard error.
func (c *cli) say(what string, err error) {
	if what != "" {
		what += ": "
	}
	fmt.Fprintf(c.stderr, "celery-results: %s%s\n", escape(what), reason(err))
}

// reason returns the text of err in one line, without passwords and without
// the package name that the command's own name stands for.
func reason(err error) string {
	words := strings.Fields(strings.ReplaceAll(err.Error(), "celeryresults: ", ""))
	for i, word := range words {
		if strings.Contains(word, "://") {
			words[i] = mask.URL(word)
		}
	}
	return escape(strings.Join(words, " "))
}
