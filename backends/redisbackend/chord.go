package redisbackend

import (
	"context"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/driver"
)

// A chord of StartChord is a hash:
//
//	body, type     the body, and the content type that it is encoded in
//	missing        how many members have yet to report
//	m:<task id>    the place of a member
//	r:<task id>    set once the member has reported
//	by, until      who has claimed it, and until when by Redis' clock, in milliseconds
//	done           set once it was handed over, when all else is gone
//
// Chords are divided among chordTags; each tag has an index, a sorted set of the
// chords that are complete, scored by when their claim ends. A tag in braces
// keeps a chord and its index in one slot of a cluster.
const (
	chordTags   = 16
	memberField = "m:"
	chordPrefix = "celery-chord-{"
)

// chordKeys returns the keys of a chord and of its index.
func (b *Store) chordKeys(chordID string) []string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(chordID))
	index := b.chordIndex(int(hash.Sum32() % chordTags))
	return []string{index + "-" + chordID, index}
}

func (b *Store) chordIndex(tag int) string {
	return b.keys.Own(chordPrefix + strconv.Itoa(tag) + "}")
}

// startScript keeps a chord, unless it or its mark stands already.
//
//	KEYS[1]        the chord
//	ARGV[1]        the expiry in seconds, 0 for never
//	ARGV[2], [3]   the body and its content type
//	ARGV[4…]       the members, in order
var startScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then
	return 0
end
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'type', ARGV[3], 'missing', #ARGV - 3)
for i = 4, #ARGV do
	redis.call('HSET', KEYS[1], 'm:' .. ARGV[i], i - 4)
end
if ARGV[1] ~= '0' then
	redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 1
`)

// claimScript notes that a member has ended, if one is named, and claims the chord
// when none is missing and nobody else has claimed it. Doing that again with the
// same token changes nothing.
//
//	KEYS[1]  the chord
//	KEYS[2]  the index
//	ARGV[1]  the chord's id
//	ARGV[2]  the member; empty: none
//	ARGV[3]  the token of who claims
//	ARGV[4]  how long the claim holds, in milliseconds
//	ARGV[5]  the expiry in seconds, 0 for never
//
// It returns 1 if the token has the claim.
var claimScript = redis.NewScript(`
if ARGV[2] ~= '' then
	if redis.call('HEXISTS', KEYS[1], 'm:' .. ARGV[2]) == 0 then
		return 0
	end
	if redis.call('HSETNX', KEYS[1], 'r:' .. ARGV[2], '1') == 1 then
		redis.call('HINCRBY', KEYS[1], 'missing', -1)
	end
end
local chord = redis.call('HMGET', KEYS[1], 'missing', 'by', 'until')
if not chord[1] then
	redis.call('ZREM', KEYS[2], ARGV[1])
	return 0
end
if ARGV[5] ~= '0' then
	redis.call('EXPIRE', KEYS[1], ARGV[5])
end
if tonumber(chord[1]) > 0 then
	return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if chord[2] and chord[2] ~= ARGV[3] and tonumber(chord[3]) > now then
	return 0
end
local till = string.format('%.0f', now + ARGV[4])
redis.call('HSET', KEYS[1], 'by', ARGV[3], 'until', till)
redis.call('ZADD', KEYS[2], till, ARGV[1])
if ARGV[5] ~= '0' then
	redis.call('EXPIRE', KEYS[2], ARGV[5])
else
	redis.call('PERSIST', KEYS[2])
end
return 1
`)

// releaseScript ends a claim, unless somebody else has it.
//
//	KEYS[1]  the chord
//	KEYS[2]  the index
//	ARGV[1]  the chord's id
//	ARGV[2]  the token of the claim
//	ARGV[3]  done: a mark stays of the chord; free: the next one may claim it
//	ARGV[4]  the expiry of the mark in seconds, 0 for never
var releaseScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'by') ~= ARGV[2] then
	return 0
end
if ARGV[3] == 'free' then
	redis.call('HDEL', KEYS[1], 'by', 'until')
	redis.call('ZADD', KEYS[2], 0, ARGV[1])
	return 1
end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 'done', '1')
if ARGV[4] ~= '0' then
	redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return 1
`)

// number runs a script that returns a number.
func (b *Store) number(ctx context.Context, script *redis.Script, names []string, args ...any) (int64, error) {
	return run(ctx, b, func(c redis.UniversalClient) (int64, error) { return script.Run(ctx, c, names, args...).Int64() })
}

// StartChord implements driver.Claimer. The chord expires as results do, after the last
// member that reported.
func (b *Store) StartChord(ctx context.Context, c driver.ChordRecord) error {
	args := append(make([]any, 0, 3+len(c.Members)), wholeSeconds(c.TTL), c.Body, c.ContentType)
	for _, member := range c.Members {
		args = append(args, member)
	}
	_, err := b.number(ctx, startScript, b.chordKeys(c.ID)[:1], args...)
	return err
}

// ReadChord implements driver.Claimer.
func (b *Store) ReadChord(ctx context.Context, id string) (driver.ChordRecord, error) {
	fields, err := run(ctx, b, func(c redis.UniversalClient) (map[string]string, error) {
		return c.HGetAll(ctx, b.chordKeys(id)[0]).Result()
	})
	if err != nil {
		return driver.ChordRecord{}, err
	}
	body, there := fields["body"]
	if !there {
		return driver.ChordRecord{}, driver.ErrNoChord
	}
	chord, places := driver.ChordRecord{ID: id, Body: []byte(body), ContentType: fields["type"]}, map[string]int{}
	for name, value := range fields {
		if id, ok := strings.CutPrefix(name, memberField); ok {
			chord.Members = append(chord.Members, id)
			places[id], _ = strconv.Atoi(value)
		}
	}
	slices.SortFunc(chord.Members, func(x, y string) int { return places[x] - places[y] })
	return chord, nil
}

// Claim implements driver.Claimer.
func (b *Store) Claim(ctx context.Context, id, member, token string, lease time.Duration) (bool, error) {
	n, err := b.number(ctx, claimScript, b.chordKeys(id), id, member, token, lease.Milliseconds(), b.seconds)
	return n == 1, err
}

// Release implements driver.Claimer.
func (b *Store) Release(ctx context.Context, id, token string, done bool) error {
	how := "free"
	if done {
		how = "done"
	}
	_, err := b.number(ctx, releaseScript, b.chordKeys(id), id, token, how, b.seconds)
	return err
}

// DueChords implements driver.Claimer, in two round trips.
func (b *Store) DueChords(ctx context.Context, most int) ([]string, error) {
	return run(ctx, b, func(c redis.UniversalClient) (ids []string, err error) {
		now, err := c.Time(ctx).Result()
		if err != nil {
			return nil, err
		}
		due := &redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: int64(most)}
		var cmds [chordTags]*redis.StringSliceCmd
		_, err = c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for tag := range cmds {
				cmds[tag] = p.ZRangeByScore(ctx, b.chordIndex(tag), due)
			}
			return nil
		})
		for _, cmd := range cmds {
			ids = append(ids, cmd.Val()...)
		}
		return ids[:min(len(ids), most)], err
	})
}

// deleteChords deletes chords and their places in the index.
func (b *Store) deleteChords(ctx context.Context, p redis.Pipeliner, ids []string) {
	for _, id := range ids {
		names := b.chordKeys(id)
		p.Del(ctx, names[0])
		p.ZRem(ctx, names[1], id)
	}
}
