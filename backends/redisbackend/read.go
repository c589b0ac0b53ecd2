package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/ahead"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// keysPerCommand is how many keys one command has, so that a large call does not
// hold up the server's other clients, and commandsPerTrip how many such commands
// are sent together.
const (
	keysPerCommand  = 500
	commandsPerTrip = 2
)

// GetTaskMeta implements celeryresults.Backend. The reads of concurrent callers
// are sent together.
func (b *RedisBackend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	key, err := b.keys.Task(taskID)
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	data, err := b.gets.Do(ctx, key)
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return nil, &celeryresults.UnreadableError{ID: taskID, Err: err}
	case err != nil:
		return nil, fail(ctx, "get", err)
	}
	meta, err := b.read(taskID, data)
	if err != nil {
		return nil, err
	}
	if err := b.gone.Mark(ctx, meta); err != nil {
		return nil, fail(ctx, "get", err)
	}
	return meta, nil
}

// findOne reads one record, nil if there is none.
func (b *RedisBackend) findOne(ctx context.Context, key string) ([]byte, error) {
	data, err := again(ctx, b, func(c redis.UniversalClient) ([]byte, error) { return c.Get(ctx, key).Bytes() })
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return data, err
}

// findMany reads records, nil for those that are not there.
func (b *RedisBackend) findMany(ctx context.Context, keys []string) ([][]byte, error) {
	found := make([][]byte, 0, len(keys))
	for part := range slices.Chunk(keys, keysPerCommand*commandsPerTrip) {
		records, err := again(ctx, b, func(c redis.UniversalClient) ([][]byte, error) {
			if b.server.sharded {
				return getEach(ctx, c, part)
			}
			return mget(ctx, c, part)
		})
		if err != nil {
			return nil, err
		}
		found = append(found, records...)
	}
	return found, nil
}

// mget reads keys of one server in one round trip.
func mget(ctx context.Context, c redis.UniversalClient, keys []string) ([][]byte, error) {
	if len(keys) <= keysPerCommand {
		values, err := c.MGet(ctx, keys...).Result()
		return records(make([][]byte, 0, len(keys)), values), err
	}
	var cmds []*redis.SliceCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for part := range slices.Chunk(keys, keysPerCommand) {
			cmds = append(cmds, p.MGet(ctx, part...))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make([][]byte, 0, len(keys))
	for _, cmd := range cmds {
		found = records(found, cmd.Val())
	}
	return found, nil
}

func records(found [][]byte, values []any) [][]byte {
	for _, value := range values {
		text, ok := value.(string)
		if !ok {
			found = append(found, nil)
			continue
		}
		found = append(found, serialization.BytesOf(text))
	}
	return found
}

// getEach reads keys of a cluster, those of one node in one round trip.
func getEach(ctx context.Context, c redis.UniversalClient, keys []string) ([][]byte, error) {
	cmds := make([]*redis.StringCmd, len(keys))
	_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
		for i, key := range keys {
			cmds[i] = p.Get(ctx, key)
		}
		return nil
	})
	found := make([][]byte, len(keys))
	for i, cmd := range cmds {
		data, err := cmd.Bytes()
		switch {
		case errors.Is(err, redis.Nil), redis.HasErrorPrefix(err, "WRONGTYPE"): // as MGET has it
		case err != nil:
			return nil, err
		default:
			found[i] = data
		}
	}
	return found, nil
}

// GetMany implements celeryresults.Backend, with a round trip for every 1000
// tasks.
func (b *RedisBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	metas, err := b.getMany(ctx, taskIDs)
	if metas == nil {
		return nil, err
	}
	if err := b.gone.Mark(ctx, metas...); err != nil {
		return nil, fail(ctx, "get many", err)
	}
	return metas, err
}

// getMany is GetMany for those who wait, to whom what has expired is unknown.
func (b *RedisBackend) getMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	keys, err := b.keys.Tasks(taskIDs)
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	metas := make([]*celeryresults.TaskMeta, 0, len(taskIDs))
	bad, err := b.each(ctx, keys, func(data []byte) error {
		meta, err := b.read(taskIDs[len(metas)], data)
		metas = append(metas, meta)
		return err
	})
	if err != nil {
		return nil, err
	}
	return metas, bad
}

// GetStatuses implements celeryresults.StatusGetter, in the same way: the server
// sends all of the records, of which most is not looked at.
func (b *RedisBackend) GetStatuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	statuses, err := b.statuses(ctx, taskIDs)
	if statuses == nil {
		return nil, err
	}
	if err := b.gone.MarkStatuses(ctx, taskIDs, statuses); err != nil {
		return nil, fail(ctx, "get statuses", err)
	}
	return statuses, err
}

func (b *RedisBackend) statuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	keys, err := b.keys.Tasks(taskIDs)
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	statuses := make([]celeryresults.Status, 0, len(taskIDs))
	bad, err := b.each(ctx, keys, func(data []byte) error {
		status, err := b.documents.Status(taskIDs[len(statuses)], data)
		statuses = append(statuses, status)
		return err
	})
	if err != nil {
		return nil, err
	}
	return statuses, bad
}

// each calls f with the record under each key, which is nil if there is none, and
// joins its errors.
func (b *RedisBackend) each(ctx context.Context, keys []string, f func(data []byte) error) (unreadable, err error) {
	var bad []error
	for records, err := range ahead.Chunks(ctx, keys, keysPerCommand*commandsPerTrip, b.findMany) {
		if err != nil {
			return nil, fail(ctx, "get many", err)
		}
		for _, data := range records {
			if err := f(data); err != nil {
				bad = append(bad, err)
			}
		}
	}
	return errors.Join(bad...), nil
}

// read returns the meta in a record, which is nil if there is none.
func (b *RedisBackend) read(taskID string, data []byte) (*celeryresults.TaskMeta, error) {
	if data == nil {
		return celeryresults.NewUnknownMeta(taskID), nil
	}
	return b.documents.Read(taskID, data)
}

// Forget implements celeryresults.Backend.
func (b *RedisBackend) Forget(ctx context.Context, taskIDs ...string) error {
	keys, err := b.keys.Tasks(taskIDs)
	if err != nil {
		return err
	}
	if err := b.gone.Forget(ctx, taskIDs, b.statuses); err != nil {
		return fail(ctx, "forget", err)
	}
	return fail(ctx, "forget", b.delete(ctx, keys...))
}

func (b *RedisBackend) setTombstones(ctx context.Context, keys []string, ttl time.Duration) error {
	_, err := again(ctx, b, func(c redis.UniversalClient) ([]redis.Cmder, error) {
		return c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, key := range keys {
				p.Set(ctx, key, 1, ttl)
			}
			return nil
		})
	})
	return err
}

func (b *RedisBackend) tombstones(ctx context.Context, keys []string) ([]bool, error) {
	there := make([]bool, 0, len(keys))
	found, err := b.findMany(ctx, keys)
	for _, value := range found {
		there = append(there, value != nil)
	}
	return there, err
}

// delete removes keys, which need not be there.
func (b *RedisBackend) delete(ctx context.Context, keys ...string) error {
	if err := b.ready(ctx); err != nil {
		return err
	}
	for part := range slices.Chunk(keys, keysPerCommand) {
		_, err := again(ctx, b, func(c redis.UniversalClient) (struct{}, error) {
			if !b.server.sharded {
				return struct{}{}, c.Del(ctx, part...).Err()
			}
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				for _, key := range part {
					p.Del(ctx, key)
				}
				return nil
			})
			return struct{}{}, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fail says what failed, or passes on the errors that callers test for.
func fail(ctx context.Context, operation string, err error) error {
	if err == nil || errors.Is(err, celeryresults.ErrClosed) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("redisbackend: %s: %w", operation, err)
}
