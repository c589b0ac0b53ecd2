package locmem

import (
	"context"
	"iter"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
)

var _ cache.KeyLister = (*Store)(nil)

// Keys implements cache.KeyLister, with the keys of one moment.
func (s *Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield("", err)
			return
		}
		for key := range s.space.entries.Items() {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}
