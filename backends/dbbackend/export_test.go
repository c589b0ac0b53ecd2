package dbbackend

import (
	"context"
	"math"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// ListStatement returns the statement of a list and its arguments, in the
// database's order.
func ListStatement(ctx context.Context, backend *celeryresults.Backend, q celeryresults.Query) (string, []any, error) {
	b, _ := StoreOf(backend)
	if q.Limit == 0 {
		q.Limit = driver.DefaultLimit
	}
	l, err := b.tables(ctx)
	if err != nil {
		return "", nil, err
	}
	list, err := b.newListing(ctx, l, q)
	if err != nil {
		return "", nil, err
	}
	if list.after != nil {
		list.need(list.keyset())
	}
	statement := b.dialect.Rebind(`SELECT ` + l.fields + ` FROM ` + taskTable + ` t` + list.rest())
	return statement.Text, statement.Args(list.args...), nil
}

// ExtremeCursors returns cursors of a query at the ends of what they can say.
func ExtremeCursors(q celeryresults.Query) []string {
	sum := checksum(q)
	return []string{
		cursor{sum, earliest, 0}.String(), cursor{sum, latest, math.MaxInt64}.String(), cursor{sum, latest, math.MaxInt32 + 1}.String(), cursor{sum, 0, 1}.String(),
	}
}
