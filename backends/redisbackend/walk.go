package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

var _ celeryresults.Walker = (*RedisBackend)(nil)

// keysPerStep is how many results Walk has in memory at once.
const keysPerStep = 100

// Walk implements celeryresults.Walker, with SCAN: the server is not held up, but looks
// at all of its keys. It returns errors.ErrUnsupported for a cluster.
func (b *RedisBackend) Walk(ctx context.Context) iter.Seq2[*celeryresults.TaskMeta, error] {
	return func(yield func(*celeryresults.TaskMeta, error) bool) {
		if b.server.sharded {
			yield(nil, fmt.Errorf("redisbackend: walk through a cluster: %w", errors.ErrUnsupported))
			return
		}
		some, err := b.keys.Task("x")
		if err != nil {
			yield(nil, err)
			return
		}
		prefix := strings.TrimSuffix(some, "x")
		for cursor := uint64(0); ; {
			found, err := again(ctx, b, func(c redis.UniversalClient) (redisclient.Scanned, error) {
				return redisclient.Scan(ctx, c, cursor, prefix)
			})
			if err != nil {
				yield(nil, fail(ctx, "walk", err))
				return
			}
			for some := range slices.Chunk(found.Keys, keysPerStep) {
				if !b.yield(ctx, some, yield) {
					return
				}
			}
			if cursor = found.Next; cursor == 0 {
				return
			}
		}
	}
}

// yield yields the results under keys, and reports whether more are wanted.
func (b *RedisBackend) yield(ctx context.Context, keys []string, yield func(*celeryresults.TaskMeta, error) bool) bool {
	records, err := b.findMany(ctx, keys)
	if err != nil {
		yield(nil, fail(ctx, "walk", err))
		return false
	}
	for i, data := range records {
		id, ok := b.keys.TaskID(keys[i])
		if !ok || id == "" || data == nil { // nobody can ask for it, or it has gone meanwhile
			continue
		}
		if !yield(b.documents.Read(id, data)) {
			return false
		}
	}
	return true
}
