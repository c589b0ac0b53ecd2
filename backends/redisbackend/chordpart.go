package redisbackend

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// The keys of a chord that Celery's workers count: behind the group's own.
const (
	partsSuffix = ".j" // what the members reported
	totalSuffix = ".t" // how many members were added
	sizeSuffix  = ".s" // how many there are
)

// ChordPart is what a member of a chord of Celery's reports when it has ended.
type ChordPart struct {
	GroupID string // the message's header group
	TaskID  string

	// Index is the member's place, the message's header group_index. Nil is
	// Python's None: the member comes last.
	Index *int

	State  celeryresults.State
	Result celeryresults.Value // or the exception
}

// ChordParts are the parts of a chord that is complete.
type ChordParts struct {
	// Members have the ids, states and results of the members that reported, in
	// their order.
	Members []*celeryresults.TaskMeta

	// Group is the chord's header where that has groups in it, in which case the
	// body gets the results in its shape (RedisBackend.apply_chord saves it). Nil:
	// the body gets a list of the members' results.
	Group *celeryresults.ResultTuple
}

// Err returns the error of the first member, in their order, that did not succeed:
// the chord's body then does not run, and its errbacks do.
func (p *ChordParts) Err() error {
	for _, member := range p.Members {
		if err := member.Err(); err != nil && member.State != celeryresults.Retry {
			return fmt.Errorf("redisbackend: dependency %s raised %w", member.TaskID, err)
		}
	}
	return nil
}

// AddPart reports the part of a member of a chord that Python or SetChordSize
// started (RedisBackend.on_chord_part_return): Python's workers and Go's can take
// part in the same chord. It returns the parts when this one was the last, and nil
// before; whoever gets them runs the body. The chord's keys are gone then, so the
// body is lost when the process dies before it has sent it, as in Python. Store the
// member's own result first.
//
// Its rule is Python's: parts count, and a member that reports twice with different
// results counts twice. Only chords of StartChord know better. One that reports
// again after an error is counted once as long as parts are kept in order
// (result_chord_ordered, which is the default); without that a part is sent once,
// and after an error it is not known whether it counted.
func (b *RedisBackend) AddPart(ctx context.Context, part ChordPart) (*ChordParts, error) {
	keys, err := b.partKeys(part.GroupID)
	if err != nil {
		return nil, err
	}
	if part.TaskID == "" {
		return nil, celeryresults.ErrNoTaskID
	}
	if part.State == "" {
		return nil, fmt.Errorf("%w of task %q", celeryresults.ErrNoState, part.TaskID)
	}
	encoded, err := b.documents.AppendPart(nil, &celeryresults.TaskMeta{TaskID: part.TaskID, State: part.State, Result: part.Result})
	if err != nil {
		return nil, err
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	complete, err := b.addPart(ctx, keys, part.Index, encoded)
	if err != nil || !complete {
		return nil, fail(ctx, "add chord part", err)
	}
	parts, err := b.takeParts(ctx, part.GroupID, keys)
	return parts, fail(ctx, "take chord parts", err)
}

// partKeys are the keys of the parts, the total and the size.
func (b *RedisBackend) partKeys(groupID string) ([3]string, error) {
	key, err := b.keys.Group(groupID)
	return [3]string{key + partsSuffix, key + totalSuffix, key + sizeSuffix}, err
}

// addPart notes a part and reports whether it was the last.
func (b *RedisBackend) addPart(ctx context.Context, keys [3]string, index *int, encoded []byte) (bool, error) {
	add := func(c redis.UniversalClient) (bool, error) { return b.sendPart(ctx, c, keys, index, encoded) }
	if b.ordered {
		return again(ctx, b, add)
	}
	complete, err := once(ctx, b, add)
	return complete, b.explain(ctx, err)
}

// multi is how several commands are sent: as one transaction, except in a cluster,
// whose slots it would cross, as Celery's keys have no tag.
func (b *RedisBackend) multi(c redis.UniversalClient) func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error) {
	if b.server.sharded {
		return c.Pipelined
	}
	return c.TxPipelined
}

// sendPart is the MULTI of on_chord_part_return.
func (b *RedisBackend) sendPart(ctx context.Context, c redis.UniversalClient, keys [3]string, index *int, encoded []byte) (bool, error) {
	var count *redis.IntCmd
	var total, size *redis.StringCmd
	_, err := b.multi(c)(ctx, func(p redis.Pipeliner) error {
		if b.ordered {
			// go-redis sends a float as Redis reads it, +Inf included.
			p.Do(ctx, "ZADD", keys[0], score(index), encoded)
			count = p.ZCount(ctx, keys[0], "-inf", "+inf")
		} else {
			p.RPush(ctx, keys[0], encoded)
			count = p.LLen(ctx, keys[0])
		}
		total, size = p.Get(ctx, keys[1]), p.Get(ctx, keys[2])
		if b.seconds > 0 {
			for _, key := range keys {
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
func (b *RedisBackend) takeParts(ctx context.Context, groupID string, keys [3]string) (*ChordParts, error) {
	encoded, err := again(ctx, b, func(c redis.UniversalClient) ([]string, error) {
		if b.ordered {
			return c.ZRange(ctx, keys[0], 0, -1).Result()
		}
		return c.LRange(ctx, keys[0], 0, -1).Result()
	})
	if err != nil || len(encoded) == 0 {
		return nil, err
	}
	parts := &ChordParts{}
	for _, text := range encoded {
		member, err := b.documents.ReadPart(serialization.BytesOf(text))
		if err != nil {
			return nil, err
		}
		parts.Members = append(parts.Members, member)
	}
	group, err := b.RestoreGroup(ctx, groupID)
	switch {
	case err == nil:
		parts.Group = &group
	case !errors.Is(err, celeryresults.ErrUnknownGroup):
		return nil, err
	}
	if mine, err := b.removeParts(ctx, keys); err != nil || !mine {
		return nil, err
	}
	return parts, nil
}

// removeParts removes a chord's keys, and reports whether nobody else had: parts that
// come late make no size again. When an answer was lost it may have been this call:
// better twice than never.
func (b *RedisBackend) removeParts(ctx context.Context, keys [3]string) (bool, error) {
	lost := false
	deleted, err := again(ctx, b, func(c redis.UniversalClient) (int64, error) {
		var size *redis.IntCmd
		_, err := b.multi(c)(ctx, func(p redis.Pipeliner) error {
			p.Del(ctx, keys[0])
			p.Del(ctx, keys[1])
			size = p.Del(ctx, keys[2])
			return nil
		})
		if err != nil && !answered(err) && !unsent(err) {
			lost = true
		}
		return size.Val(), err
	})
	return deleted > 0 || lost, err
}

// SetChordSize says how many members a chord has (RedisBackend.set_chord_size).
// Do so before the last one is sent, as Celery does.
func (b *RedisBackend) SetChordSize(ctx context.Context, groupID string, size int) error {
	keys, err := b.partKeys(groupID)
	if err != nil {
		return err
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	return fail(ctx, "set chord size", b.setAndPublish(ctx, keys[2], strconv.AppendInt(nil, int64(size), 10)))
}

// AddToChord lets a chord wait for one more member, which one that runs adds
// (RedisBackend.add_to_chord). After an error it is not known whether it counted.
func (b *RedisBackend) AddToChord(ctx context.Context, groupID string) error {
	keys, err := b.partKeys(groupID)
	if err != nil {
		return err
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	_, err = once(ctx, b, func(c redis.UniversalClient) (int64, error) { return c.Incr(ctx, keys[1]).Result() })
	return fail(ctx, "add to chord", b.explain(ctx, err))
}
