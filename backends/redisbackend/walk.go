package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
)

var _ celeryresults.Walker = (*RedisBackend)(nil)

// keysPerScan is how many keys the server looks at for a step of Walk.
const keysPerScan = 1000

// patternOf is a text in a pattern of keys.
var patternOf = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

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
		pattern := patternOf.Replace(strings.TrimSuffix(some, "x")) + "*"
		type step struct {
			keys []string
			next uint64
		}
		for cursor := uint64(0); ; {
			found, err := again(ctx, b, func(c redis.UniversalClient) (step, error) {
				keys, next, err := c.Scan(ctx, cursor, pattern, keysPerScan).Result()
				return step{keys, next}, err
			})
			if err != nil {
				yield(nil, fail(ctx, "walk", err))
				return
			}
			if !b.yield(ctx, found.keys, yield) {
				return
			}
			if cursor = found.next; cursor == 0 {
				return
			}
		}
	}
}

// yield yields the results under keys, and reports whether more are wanted.
func (b *RedisBackend) yield(ctx context.Context, keys []string, yield func(*celeryresults.TaskMeta, error) bool) bool {
	if len(keys) == 0 {
		return true
	}
	records, err := b.findMany(ctx, keys)
	if err != nil {
		yield(nil, fail(ctx, "walk", err))
		return false
	}
	for i, data := range records {
		id, ok := b.keys.TaskID(keys[i])
		if !ok || data == nil { // it has gone meanwhile
			continue
		}
		if !yield(b.documents.Read(id, data)) {
			return false
		}
	}
	return true
}
