package redisbackend

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// The keys of a chord that Celery's workers count: behind the group's own.
const (
	partsSuffix = ".j" // what the members reported
	totalSuffix = ".t" // how many members were added
	sizeSuffix  = ".s" // how many there are
)

// repeat runs a step again while that helps. Only the steps of Celery's chords are
// repeated here: a part must be counted once, and not be lost behind that.
func (b *Store) repeat(ctx context.Context, step func() error) error {
	helps := func(err error) bool {
		_, again := errors.AsType[*driver.Again](err)
		return again
	}
	return b.retries.Do(ctx, context.Context.Err, helps, step)
}

// again runs a command that may run twice.
func again[T any](ctx context.Context, b *Store, command func(redis.UniversalClient) (T, error)) (value T, err error) {
	err = b.repeat(ctx, func() (err error) {
		value, err = run(ctx, b, command)
		return err
	})
	return value, err
}

// partKeys are the keys of the parts, the total and the size.
func (b *Store) partKeys(groupID string) [3]string {
	key, _ := b.keys.Group(groupID)
	return [3]string{key + partsSuffix, key + totalSuffix, key + sizeSuffix}
}

// StartCount saves a group that has groups in it, and says how many members its chord has
// (RedisBackend.apply_chord and set_chord_size). (*celeryresults.CeleryChord).Start calls
// it, as its other methods call the ones below.
func (b *Store) StartCount(ctx context.Context, group celeryresults.ResultTuple, size int) error {
	if slices.ContainsFunc(group.Children, func(t celeryresults.ResultTuple) bool { return t.Children != nil }) {
		document, err := b.encoding.AppendGroup(nil, group)
		if err != nil {
			return err
		}
		key, _ := b.keys.Group(group.ID)
		if err := b.setAndPublish(ctx, key, document); err != nil {
			return err
		}
	}
	return b.setAndPublish(ctx, b.partKeys(group.ID)[2], strconv.AppendInt(nil, int64(size), 10))
}

// setAndPublish is RedisBackend.set of Celery.
func (b *Store) setAndPublish(ctx context.Context, key string, value []byte) error {
	_, err := again(ctx, b, func(c redis.UniversalClient) (struct{}, error) {
		return struct{}{}, b.multi(ctx, c, func(p redis.Pipeliner) error {
			if b.seconds == 0 {
				p.Set(ctx, key, value, 0)
			} else {
				p.SetEx(ctx, key, value, b.expiry())
			}
			p.Publish(ctx, key, value)
			return nil
		})
	})
	return err
}

// AddToCount lets a chord wait for one more member (RedisBackend.add_to_chord).
func (b *Store) AddToCount(ctx context.Context, groupID string) error {
	_, err := inflight.Run(ctx, b.server.pool, func(c redis.UniversalClient) (int64, error) {
		return c.Incr(ctx, b.partKeys(groupID)[1]).Result()
	})
	return err
}

// CountPart counts a part, and returns all when it was the last one
// (RedisBackend.on_chord_part_return). A part that is reported again after an error is
// counted once as long as parts are kept in order (result_chord_ordered, which is the
// default); without that it is sent once, and after an error it is not known whether it
// counted.
func (b *Store) CountPart(ctx context.Context, groupID string, part celeryresults.ChordPart) (*celeryresults.ChordParts, error) {
	encoded, err := b.encoding.AppendPart(nil, &celeryresults.TaskMeta{TaskID: part.TaskID, State: part.State, Result: part.Result})
	if err != nil {
		return nil, err
	}
	names := b.partKeys(groupID)
	add := func(c redis.UniversalClient) (bool, error) { return b.sendPart(ctx, c, names, part.Index, encoded) }
	var complete bool
	if b.ordered {
		complete, err = again(ctx, b, add)
	} else {
		complete, err = inflight.Run(ctx, b.server.pool, add)
	}
	if err != nil || !complete {
		return nil, err
	}
	return b.takeParts(ctx, groupID, names)
}

// sendPart is the MULTI of on_chord_part_return. It reports whether the part was the last.
func (b *Store) sendPart(ctx context.Context, c redis.UniversalClient, names [3]string, index *int, encoded []byte) (bool, error) {
	var count *redis.IntCmd
	var total, size *redis.StringCmd
	err := b.multi(ctx, c, func(p redis.Pipeliner) error {
		if b.ordered {
			// go-redis sends a float as Redis reads it, +Inf included.
			p.Do(ctx, "ZADD", names[0], score(index), encoded)
			count = p.ZCount(ctx, names[0], "-inf", "+inf")
		} else {
			p.RPush(ctx, names[0], encoded)
			count = p.LLen(ctx, names[0])
		}
		total, size = p.Get(ctx, names[1]), p.Get(ctx, names[2])
		if b.seconds > 0 {
			for _, key := range names {
				p.Expire(ctx, key, b.expiry())
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	if errors.Is(size.Err(), redis.Nil) || size.Val() == "" {
		return false, nil // whoever started the chord has yet to say how many there are
	}
	members, err := size.Int64()
	if err != nil {
		return false, err
	}
	added, err := total.Int64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, err
	}
	return count.Val() == members+added, count.Err()
}

func score(index *int) string {
	if index == nil {
		return "+inf"
	}
	return strconv.Itoa(*index)
}

// takeParts reads the parts and removes them. Of several who find the chord
// complete one gets them.
func (b *Store) takeParts(ctx context.Context, groupID string, names [3]string) (*celeryresults.ChordParts, error) {
	encoded, err := again(ctx, b, func(c redis.UniversalClient) ([]string, error) {
		if b.ordered {
			return c.ZRange(ctx, names[0], 0, -1).Result()
		}
		return c.LRange(ctx, names[0], 0, -1).Result()
	})
	if err != nil || len(encoded) == 0 {
		return nil, err
	}
	parts := &celeryresults.ChordParts{}
	for _, text := range encoded {
		member, err := b.encoding.ReadPart(serialization.BytesOf(text))
		if err != nil {
			return nil, err
		}
		parts.Members = append(parts.Members, member)
	}
	if parts.Group, err = b.header(ctx, groupID); err != nil {
		return nil, err
	}
	if mine, err := b.removeParts(ctx, names); err != nil || !mine {
		return nil, err
	}
	return parts, nil
}

// header returns the group of a chord, nil if it was not saved.
func (b *Store) header(ctx context.Context, groupID string) (*celeryresults.ResultTuple, error) {
	key, _ := b.keys.Group(groupID)
	document, err := again(ctx, b, func(c redis.UniversalClient) (string, error) { return c.Get(ctx, key).Result() })
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, err
	}
	group, err := b.encoding.ReadGroup(groupID, serialization.BytesOf(document))
	return &group, err
}

// removeParts removes a chord's keys, and reports whether nobody else had: parts that
// come late make no size again. When an answer was lost it may have been this call:
// better twice than never.
func (b *Store) removeParts(ctx context.Context, names [3]string) (mine bool, err error) {
	err = b.repeat(ctx, func() error {
		deleted, err := run(ctx, b, func(c redis.UniversalClient) (int64, error) {
			var size *redis.IntCmd
			err := b.multi(ctx, c, func(p redis.Pipeliner) error {
				p.Del(ctx, names[0])
				p.Del(ctx, names[1])
				size = p.Del(ctx, names[2])
				return nil
			})
			return size.Val(), err
		})
		mine = mine || deleted > 0 || lost(err)
		return err
	})
	return mine, err
}
