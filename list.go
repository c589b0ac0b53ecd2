package celeryresults

import (
	"context"
	"errors"
	"time"
)

// Lister is a Backend that can list results.
type Lister interface {
	// List returns a page of the results that the query describes, newest first.
	List(ctx context.Context, q Query) (*Page, error)
}

// Order is what a list is sorted by, newest first.
type Order int

// The orders.
const (
	// ByCreated sorts by when a task was first recorded.
	ByCreated Order = iota

	// ByDone sorts by when a task became ready. Records that are not ready are
	// left out.
	ByDone
)

// DefaultLimit and MaxLimit bound the results of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// Query describes a list of results. Conditions that are zero do not count, and
// a result must meet all others. The zero Query lists everything.
type Query struct {
	States []State // any of these

	// Task is a task name, or a pattern of one, in which * stands for any text
	// and ? for one character.
	Task string

	Worker       string // Celery's hostname
	PeriodicTask string // of celery beat's entry
	GroupID      string // of the group that the task belongs to

	// Labels are entries of Request.Meta, text or numbers, with their text.
	Labels map[string]string

	// The times are in any zone, and precise to the microsecond. DoneFrom and
	// DoneBefore leave out records that are not ready.
	CreatedFrom   time.Time // at or after
	CreatedBefore time.Time // before
	DoneFrom      time.Time
	DoneBefore    time.Time

	// Order is what the list is sorted by. Default: ByCreated.
	Order Order

	// Limit is the most results of the page. Default: DefaultLimit. More than
	// MaxLimit means MaxLimit; negative is an error.
	Limit int

	// Cursor is Page.Next of the page before. Default: the first page. A cursor
	// of another query, or none at all, is ErrCursor.
	Cursor string
}

// Page is a part of a list.
type Page struct {
	Results []*TaskMeta

	// Next is the cursor of the page that follows; empty at the end. It stays
	// valid while results come and go.
	Next string
}

// ErrCursor is returned by List for a cursor that is none, or belongs to another
// query.
var ErrCursor = errors.New("celeryresults: bad cursor")
