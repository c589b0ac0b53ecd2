package rediscache

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// chunk is how many keys one command has, so that a large call neither holds up
// the server's other clients nor fills its buffers, and commandsPerTrip how many
// such commands are sent together.
const (
	chunk           = 500
	commandsPerTrip = 2
)

// GetMany returns the entries that exist, with an MGET for every 500 keys and a
// round trip for every 1000.
func (s *Store) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	reader := s.reader()
	items := make(map[string]cache.Item, len(keys))
	for part := range slices.Chunk(keys, chunk*commandsPerTrip) {
		values, err := again(ctx, reader, func(c redis.UniversalClient) ([]any, error) { return mget(ctx, c, part) })
		if err != nil {
			return nil, fail(ctx, "get many", "", err)
		}
		for i, value := range values {
			if text, ok := value.(string); ok {
				items[part[i]] = cache.Item{Value: serialization.BytesOf(text)}
			}
		}
	}
	return items, nil
}

// mgetOfOne reads keys of one server in one round trip.
func mgetOfOne(ctx context.Context, client redis.UniversalClient, keys []string) ([]any, error) {
	if len(keys) <= chunk {
		return client.MGet(ctx, keys...).Result()
	}
	replies, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for part := range slices.Chunk(keys, chunk) {
			p.MGet(ctx, part...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	values := make([]any, 0, len(keys))
	for _, reply := range replies {
		values = append(values, reply.(*redis.SliceCmd).Val()...)
	}
	return values, nil
}

// mget reads keys that are on one server with MGET, and others one by one in
// a pipeline, which go-redis splits by server.
func mget(ctx context.Context, client redis.UniversalClient, keys []string) ([]any, error) {
	if _, single := client.(*redis.Client); single {
		return mgetOfOne(ctx, client, keys)
	}
	values := make([]any, len(keys))
	replies, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Get(ctx, key)
		}
		return nil
	})
	for i, reply := range replies {
		if get, ok := reply.(*redis.StringCmd); ok && get.Err() == nil {
			values[i] = get.Val()
		}
	}
	return values, ignoreNil(replies, err)
}

// ignoreNil drops the error of a pipeline in which keys were merely absent.
func ignoreNil(replies []redis.Cmder, err error) error {
	if !errors.Is(err, redis.Nil) {
		return err
	}
	for _, reply := range replies {
		if err := reply.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
	}
	return nil
}

// SetMany stores all items with one lifetime, in pipelines of 500. A value over
// 512 MiB is cache.ErrTooLarge, before any is sent.
func (s *Store) SetMany(ctx context.Context, items map[string]cache.Item, ttl time.Duration) error {
	keys := make([]string, 0, len(items))
	for key, item := range items {
		if len(item.Value) > maxValue {
			return s.refuse(ctx, "set many", key)
		}
		keys = append(keys, key)
	}
	return s.pipeline(ctx, "set many", keys, func(p redis.Pipeliner, key string) {
		p.Set(ctx, key, items[key].Value, expiry(ttl))
	})
}

// AddMany adds the entries whose keys are absent, with a SET NX each in one
// pipeline. A value over 512 MiB is cache.ErrTooLarge, before any is sent.
func (s *Store) AddMany(ctx context.Context, entries []cache.Entry) ([]bool, error) {
	for _, e := range entries {
		if len(e.Item.Value) > maxValue {
			return nil, tooLarge("add many", e.Key)
		}
	}
	replies, err := once(ctx, s.writer, func(c redis.UniversalClient) ([]*redis.BoolCmd, error) {
		replies := make([]*redis.BoolCmd, len(entries))
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, e := range entries {
				replies[i] = p.SetNX(ctx, e.Key, e.Item.Value, expiry(e.TTL))
			}
			return nil
		})
		return replies, err
	})
	if err != nil {
		return nil, fail(ctx, "add many", "", err)
	}
	added := make([]bool, len(entries))
	for i, reply := range replies {
		added[i] = reply.Val()
	}
	return added, nil
}

// DeleteMany removes the keys, in pipelines of 500.
func (s *Store) DeleteMany(ctx context.Context, keys []string) error {
	return s.pipeline(ctx, "delete many", keys, func(p redis.Pipeliner, key string) { p.Del(ctx, key) })
}

// pipeline sends one command for each key. They must be fit to be sent twice.
func (s *Store) pipeline(ctx context.Context, operation string, keys []string, command func(redis.Pipeliner, string)) error {
	for part := range slices.Chunk(keys, chunk) {
		_, err := again(ctx, s.writer, func(c redis.UniversalClient) ([]redis.Cmder, error) {
			return c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, key := range part {
					command(p, key)
				}
				return nil
			})
		})
		if err != nil {
			return fail(ctx, operation, "", err)
		}
	}
	return nil
}

// Clear empties the whole database with FLUSHDB, as Django's clear does, on
// every master of a cluster and every shard of a ring.
func (s *Store) Clear(ctx context.Context) error {
	_, err := again(ctx, s.writer, func(c redis.UniversalClient) (struct{}, error) { return struct{}{}, flush(ctx, c) })
	return fail(ctx, "clear", "", err)
}

func flush(ctx context.Context, c redis.UniversalClient) error {
	one := func(ctx context.Context, server *redis.Client) error { return server.FlushDB(ctx).Err() }
	switch several := c.(type) {
	case *redis.ClusterClient:
		return several.ForEachMaster(ctx, one)
	case *redis.Ring:
		return several.ForEachShard(ctx, one)
	}
	return c.FlushDB(ctx).Err()
}
