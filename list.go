package celeryresults

import (
	"github.com/celeryresults/celeryresults/driver"
)

// Query describes a list of results. Conditions that are zero do not count, and
// a result must meet all others. The zero Query lists everything.
type Query = driver.Query

// Order is what a list is sorted by, newest first.
type Order = driver.Order

// The orders.
const (
	ByCreated = driver.ByCreated // by when a task was first recorded
	ByDone    = driver.ByDone    // by when a task became ready; others are left out
)

// Page is a part of a list.
type Page struct {
	Results []*TaskMeta

	// Next is the cursor of the page that follows; empty at the end. It stays
	// valid while results come and go.
	Next string
}

// ErrCursor is returned by List for a malformed cursor, or one issued for a different
// query.
var ErrCursor = driver.ErrCursor
