package rediscache

import (
	"context"
	"iter"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

var _ cache.KeyLister = (*Store)(nil)

// Keys implements cache.KeyLister, with SCAN on the server that is written to: it is not
// held up, but looks at all of its keys.
func (s *Store) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for cursor := uint64(0); ; {
			found, err := again(ctx, s.writer, func(c redis.UniversalClient) (redisclient.Scanned, error) {
				return redisclient.Scan(ctx, c, cursor, prefix)
			})
			if err != nil {
				yield("", fail(ctx, "keys", "", err))
				return
			}
			for _, key := range found.Keys {
				if !yield(key, nil) {
					return
				}
			}
			if cursor = found.Next; cursor == 0 {
				return
			}
		}
	}
}
