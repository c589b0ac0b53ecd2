package redisbackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
)

// tallySuffix makes the key of a group's tally of that of the group: a hash from
// task ids to states.
const tallySuffix = ".tally"

// tallyScript notes a state that was stored, by the rule that stores follow: the
// commands of two writers may arrive in another order than their results did.
//
//	KEYS[1]  the group's tally
//	ARGV[1]  the task's id
//	ARGV[2]  its state
//	ARGV[3]  what that may replace, as in storeScript
//	ARGV[4]  the expiry in seconds, 0 for never
var tallyScript = redis.NewScript(`
local stands, power = redis.call('HGET', KEYS[1], ARGV[1]), ARGV[3]
local final = stands == 'SUCCESS' or power == '1' and (stands == 'FAILURE' or stands == 'REVOKED')
if not stands or power == '3' or power ~= '0' and not final then
	redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
if ARGV[4] ~= '0' then
	redis.call('EXPIRE', KEYS[1], ARGV[4])
end
`)

// tally notes that a member of a group was stored.
func (b *RedisBackend) tally(ctx context.Context, meta *celeryresults.TaskMeta, override bool) error {
	if !b.tallies || meta.GroupID == "" {
		return nil
	}
	key, err := b.keys.Group(meta.GroupID)
	if err != nil {
		return err
	}
	power := b.rule(&request{state: meta.State, override: override})[:1]
	_, err = again(ctx, b, func(c redis.UniversalClient) (any, error) {
		value, err := tallyScript.Run(ctx, c, []string{key + tallySuffix}, meta.TaskID, string(meta.State), power, b.seconds).Result()
		if errors.Is(err, redis.Nil) { // it returns nothing
			err = nil
		}
		return value, err
	})
	if err != nil {
		return failed(meta.TaskID, celeryresults.OutcomeUnknown, fmt.Errorf("redisbackend: stored, but not in the tally of group %q: %w", meta.GroupID, err))
	}
	return nil
}

// errNoTally is returned by Tally.
var errNoTally = fmt.Errorf("redisbackend: tally: CELERY_RESULT_TALLY is not set: %w", errors.ErrUnsupported)

// Tally implements celeryresults.Tallier, from what Settings.ResultTally keeps.
func (b *RedisBackend) Tally(ctx context.Context, groupID string) (celeryresults.Progress, error) {
	key, err := b.keys.Group(groupID)
	if err == nil && !b.tallies {
		err = errNoTally
	}
	if err != nil {
		return celeryresults.Progress{}, err
	}
	states, err := again(ctx, b, func(c redis.UniversalClient) ([]string, error) { return c.HVals(ctx, key+tallySuffix).Result() })
	if err != nil {
		return celeryresults.Progress{}, fail(ctx, "tally", err)
	}
	p := celeryresults.Progress{Total: len(states)}
	for _, state := range states {
		p.Add(celeryresults.Status{State: celeryresults.State(state)}, 1)
	}
	return p, nil
}
