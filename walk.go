package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Walker is a Backend that can go through all of its results.
type Walker interface {
	// Walk yields every result that stands from the beginning to the end, in any
	// order; one may be there twice, and one that is stored or forgotten meanwhile may or
	// may not be among them. An *UnreadableError is a record that can't be read, and
	// others follow; any other error is the last value.
	Walk(ctx context.Context) iter.Seq2[*TaskMeta, error]
}

// Walk goes through all results of a backend that is a Walker or a Lister: for meta, err
// := range celeryresults.Walk(ctx, b). Of others it yields errors.ErrUnsupported.
func Walk(ctx context.Context, b Backend) iter.Seq2[*TaskMeta, error] {
	if walker, ok := BackendAs[Walker](b); ok {
		return walker.Walk(ctx)
	}
	lister, ok := BackendAs[Lister](b)
	return func(yield func(*TaskMeta, error) bool) {
		if !ok {
			yield(nil, fmt.Errorf("celeryresults: walk: %T shows no results but those that are asked for: %w", b, errors.ErrUnsupported))
			return
		}
		for q := (Query{Limit: MaxLimit}); ; {
			page, err := lister.List(ctx, q)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, meta := range page.Results {
				if !yield(meta, nil) {
					return
				}
			}
			if q.Cursor = page.Next; q.Cursor == "" {
				return
			}
		}
	}
}
