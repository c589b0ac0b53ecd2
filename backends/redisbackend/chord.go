package redisbackend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

// A chord of StartChord is a hash:
//
//	body, type     the body, and the content type that it is encoded in
//	missing        how many members have yet to report
//	m:<task id>    the place of a member
//	r:<task id>    set once the member has reported
//	by, until      who has claimed it, and until when by Redis' clock, in milliseconds
//
// Chords are divided among chordTags; each tag has an index, a sorted set of the
// chords that are complete, scored by when their claim ends. A tag in braces
// keeps a chord and its index in one slot of a cluster.
const (
	chordTags    = 16
	memberField  = "m:"
	chordPrefix  = "celery-chord-{"
	chordsAtOnce = 100 // that a sweep reads of an index
)

// chordKeys returns the keys of a chord and of its index.
func (b *RedisBackend) chordKeys(chordID string) []string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(chordID))
	index := b.chordIndex(int(hash.Sum32() % chordTags))
	return []string{index + "-" + chordID, index}
}

func (b *RedisBackend) chordIndex(tag int) string {
	return b.keys.Own(chordPrefix + strconv.Itoa(tag) + "}")
}

// startScript keeps a chord, unless it stands already.
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

// leaveScript ends a claim, unless somebody else has it.
//
//	KEYS[1]  the chord
//	KEYS[2]  the index
//	ARGV[1]  the chord's id
//	ARGV[2]  the token of the claim; empty: whoever has it
//	ARGV[3]  done: the chord goes; free: the next sweep may claim it
var leaveScript = redis.NewScript(`
local by = redis.call('HGET', KEYS[1], 'by')
if ARGV[2] ~= '' and by ~= ARGV[2] then
	return 0
end
if ARGV[3] == 'done' then
	redis.call('DEL', KEYS[1])
	redis.call('ZREM', KEYS[2], ARGV[1])
	return 1
end
redis.call('HDEL', KEYS[1], 'by', 'until')
redis.call('ZADD', KEYS[2], 0, ARGV[1])
return 1
`)

// dueScript returns ids of chords in an index whose claim has ended.
//
//	KEYS[1]  the index
//	ARGV[1]  how many at most
//	ARGV[2]  how many to leave out
var dueScript = redis.NewScript(`
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', ARGV[2], ARGV[1])
`)

// number runs a script that may run twice and returns a number.
func (b *RedisBackend) number(ctx context.Context, script *redis.Script, keys []string, args ...any) (int64, error) {
	return again(ctx, b, func(c redis.UniversalClient) (int64, error) { return script.Run(ctx, c, keys, args...).Int64() })
}

// StartChord implements celeryresults.Chorder. The chord expires as results do,
// after the last member that reported.
func (b *RedisBackend) StartChord(ctx context.Context, chord celeryresults.Chord) error {
	if err := b.checkChord(ctx, chord.ID); err != nil {
		return err
	}
	if err := checkMembers(chord.Members); err != nil {
		return fmt.Errorf("redisbackend: start chord %q: %w", chord.ID, err)
	}
	codec := b.documents.Codec
	body, err := codec.Append(nil, keyvalue.Unboxed(chord.Body))
	if err != nil {
		return fmt.Errorf("redisbackend: start chord %q: body: %w", chord.ID, err)
	}
	args := append(make([]any, 0, 3+len(chord.Members)), b.seconds, body, codec.ContentType())
	for _, member := range chord.Members {
		args = append(args, member)
	}
	_, err = b.number(ctx, startScript, b.chordKeys(chord.ID)[:1], args...)
	return fail(ctx, "start chord", err)
}

func checkMembers(members []string) error {
	if len(members) == 0 {
		return errors.New("a chord needs members")
	}
	seen := make(map[string]bool, len(members))
	for _, id := range members {
		if id == "" {
			return celeryresults.ErrNoTaskID
		}
		if seen[id] {
			return fmt.Errorf("member %q is there twice", id)
		}
		seen[id] = true
	}
	return nil
}

func (b *RedisBackend) checkChord(ctx context.Context, chordID string) error {
	if chordID == "" {
		return celeryresults.ErrNoTaskID
	}
	return b.ready(ctx)
}

// ReportPart implements celeryresults.Chorder, in one round trip. The body is
// handed over under a claim (see Options.ChordLease), which is renewed while that
// takes longer.
func (b *RedisBackend) ReportPart(ctx context.Context, chordID, taskID string, body celeryresults.ChordBody) error {
	if err := b.checkChord(ctx, chordID); err != nil {
		return err
	}
	if taskID == "" {
		return celeryresults.ErrNoTaskID
	}
	token := rand.Text()
	claimed, err := b.claim(ctx, chordID, taskID, token)
	if err != nil || !claimed {
		return fail(ctx, "report part", err)
	}
	return b.handOver(ctx, chordID, token, body)
}

func (b *RedisBackend) claim(ctx context.Context, chordID, taskID, token string) (bool, error) {
	n, err := b.number(ctx, claimScript, b.chordKeys(chordID), chordID, taskID, token, b.lease.Milliseconds(), b.seconds)
	return n == 1, err
}

// leave ends a claim: done removes the chord.
func (b *RedisBackend) leave(ctx context.Context, chordID, token, how string) error {
	_, err := b.number(ctx, leaveScript, b.chordKeys(chordID), chordID, token, how)
	return err
}

// handOver calls body for a chord that is claimed, and removes the chord, or gives
// the claim back when that fails.
func (b *RedisBackend) handOver(ctx context.Context, chordID, token string, body celeryresults.ChordBody) error {
	err := b.callBody(ctx, chordID, token, body)
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		return errors.Join(err, b.leave(ctx, chordID, token, "free"))
	}
	if err := b.leave(ctx, chordID, token, "done"); err != nil {
		return fmt.Errorf("redisbackend: confirm chord %q, whose body was handed over: %w", chordID, err)
	}
	return nil
}

func (b *RedisBackend) callBody(ctx context.Context, chordID, token string, body celeryresults.ChordBody) error {
	if body == nil {
		return errors.New("redisbackend: chord: no body to call")
	}
	stop := b.renew(ctx, chordID, token)
	defer stop() // also when body panics
	chord, err := b.readChord(ctx, chordID)
	if err != nil {
		return fail(ctx, "chord", err)
	}
	results, err := b.memberResults(ctx, chord.Members)
	if err != nil {
		return err
	}
	return body(ctx, chord, results)
}

// memberResults reads results. A record that is no result is unknown.
func (b *RedisBackend) memberResults(ctx context.Context, members []string) ([]*celeryresults.TaskMeta, error) {
	results, err := b.GetMany(ctx, members)
	if results == nil {
		return nil, err
	}
	for i, id := range members {
		if results[i] == nil {
			results[i] = celeryresults.NewUnknownMeta(id)
		}
	}
	return results, nil
}

// renew keeps a claim while its body is handed over, until stop is called.
func (b *RedisBackend) renew(ctx context.Context, chordID, token string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(b.lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = b.claim(ctx, chordID, "", token) // the next tick tries again
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

var errNoChord = errors.New("it has expired")

func (b *RedisBackend) readChord(ctx context.Context, chordID string) (celeryresults.Chord, error) {
	chord := celeryresults.Chord{ID: chordID}
	fields, err := again(ctx, b, func(c redis.UniversalClient) (map[string]string, error) {
		return c.HGetAll(ctx, b.chordKeys(chordID)[0]).Result()
	})
	if err != nil {
		return chord, err
	}
	if len(fields) == 0 {
		return chord, errNoChord
	}
	places := map[string]int{}
	for name, value := range fields {
		if id, ok := strings.CutPrefix(name, memberField); ok {
			chord.Members = append(chord.Members, id)
			places[id], _ = strconv.Atoi(value)
		}
	}
	slices.SortFunc(chord.Members, func(x, y string) int { return places[x] - places[y] })
	codec, ok := registry.ByContentType(fields["type"])
	if !ok {
		return chord, fmt.Errorf("unknown content type %q", fields["type"])
	}
	if err := b.accept.Check(codec); err != nil {
		return chord, err
	}
	chord.Body = celeryresults.StoredValue(keyvalue.Whole(codec, []byte(fields["body"])))
	return chord, nil
}

// SweepChords implements celeryresults.Chorder. A body that fails is left for the
// next sweep, and its error joined to the others.
func (b *RedisBackend) SweepChords(ctx context.Context, body celeryresults.ChordBody) (int, error) {
	fired := 0
	var errs []error
	for tag := range chordTags {
		ids, err := b.due(ctx, tag)
		if err != nil {
			return fired, errors.Join(append(errs, fail(ctx, "sweep chords", err))...)
		}
		for _, id := range ids {
			done, err := b.sweepChord(ctx, id, body)
			if done {
				fired++
			}
			errs = append(errs, err)
		}
	}
	return fired, errors.Join(errs...)
}

// due returns the chords of a tag that are complete and that nobody has claimed.
func (b *RedisBackend) due(ctx context.Context, tag int) ([]string, error) {
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	var all []string
	for {
		ids, err := again(ctx, b, func(c redis.UniversalClient) ([]string, error) {
			return dueScript.Run(ctx, c, []string{b.chordIndex(tag)}, chordsAtOnce, len(all)).StringSlice()
		})
		all = append(all, ids...)
		if err != nil || len(ids) < chordsAtOnce {
			return all, err
		}
	}
}

func (b *RedisBackend) sweepChord(ctx context.Context, chordID string, body celeryresults.ChordBody) (bool, error) {
	token := rand.Text()
	claimed, err := b.claim(ctx, chordID, "", token)
	if err != nil || !claimed {
		return false, fail(ctx, "sweep chord", err)
	}
	err = b.handOver(ctx, chordID, token, body)
	return err == nil, err
}

// DeleteChord implements celeryresults.Chorder.
func (b *RedisBackend) DeleteChord(ctx context.Context, chordID string) error {
	if err := b.checkChord(ctx, chordID); err != nil {
		return err
	}
	return fail(ctx, "delete chord", b.leave(ctx, chordID, "", "done"))
}
