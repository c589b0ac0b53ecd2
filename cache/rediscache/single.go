package rediscache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
)

// Get returns the entry, or cache.ErrMiss.
func (s *Store) Get(ctx context.Context, key string) (cache.Item, error) {
	value, err := again(ctx, s.reader(), func(c redis.UniversalClient) ([]byte, error) { return c.Get(ctx, key).Bytes() })
	if errors.Is(err, redis.Nil) {
		return cache.Item{}, cache.ErrMiss
	}
	return cache.Item{Value: value}, fail(ctx, "get", key, err)
}

// Set stores the item, whatever was there. A value over 512 MiB is
// cache.ErrTooLarge, and what was there is deleted.
func (s *Store) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	if len(item.Value) > maxValue {
		return s.refuse(ctx, "set", key)
	}
	_, err := again(ctx, s.writer, func(c redis.UniversalClient) (string, error) {
		return c.Set(ctx, key, item.Value, expiry(ttl)).Result()
	})
	return fail(ctx, "set", key, err)
}

// refuse makes sure that a value too large leaves no older one behind.
func (s *Store) refuse(ctx context.Context, operation, key string) error {
	_, err := s.Delete(ctx, key)
	return errors.Join(tooLarge(operation, key), err)
}

func tooLarge(operation, key string) error {
	return fmt.Errorf("rediscache: %s %q: %w", operation, key, cache.ErrTooLarge)
}

// Add stores the item if the key is absent, with SET NX, and reports whether
// it did. A value over 512 MiB is cache.ErrTooLarge.
func (s *Store) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	if len(item.Value) > maxValue {
		return false, tooLarge("add", key)
	}
	added, err := once(ctx, s.writer, func(c redis.UniversalClient) (bool, error) {
		return c.SetNX(ctx, key, item.Value, expiry(ttl)).Result()
	})
	return added, fail(ctx, "add", key, err)
}

// Touch gives the entry a new lifetime and reports whether it was there, also
// where Django's touch does not: when it had no expiry and gets none.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	there, err := again(ctx, s.writer, func(c redis.UniversalClient) (bool, error) {
		switch {
		case ttl == cache.Never:
			return persist(ctx, c, key)
		case ttl%time.Second == 0:
			return c.Expire(ctx, key, ttl).Result()
		}
		return c.PExpire(ctx, key, expiry(ttl)).Result()
	})
	return there, fail(ctx, "touch", key, err)
}

// persist asks for the key, too: PERSIST answers 0 for one without expiry.
func persist(ctx context.Context, c redis.UniversalClient, key string) (bool, error) {
	var there *redis.IntCmd
	_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Persist(ctx, key)
		there = p.Exists(ctx, key)
		return nil
	})
	return there.Val() == 1, err
}

// Delete removes the entry and reports whether it was there. After a broken
// connection it may report false for an entry that it did remove.
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	deleted, err := again(ctx, s.writer, func(c redis.UniversalClient) (int64, error) { return c.Del(ctx, key).Result() })
	return deleted > 0, fail(ctx, "delete", key, err)
}

// swapScript stores a value if the entry still is what the caller read.
//
//	KEYS[1]  the entry
//	ARGV[1]  the value it must have
//	ARGV[2]  the value to store
//	ARGV[3]  the lifetime in milliseconds, 0 for none
//
// It returns 1 if it stored, else 0.
var swapScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
	return 0
end
if ARGV[3] == '0' then
	redis.call('SET', KEYS[1], ARGV[2])
else
	redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
`)

// CompareAndSwap stores item with ttl if the entry's value still is old's, and
// reports whether it did. A value over 512 MiB is cache.ErrTooLarge.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	if len(item.Value) > maxValue {
		return false, tooLarge("swap", key)
	}
	swapped, err := once(ctx, s.writer, func(c redis.UniversalClient) (bool, error) {
		return swapScript.Run(ctx, c, []string{key}, old.Value, item.Value, expiry(ttl).Milliseconds()).Bool()
	})
	return swapped, fail(ctx, "swap", key, err)
}

// incrScript adds to an entry that exists and keeps its lifetime. The sum is
// read back as text because Lua's numbers hold 53 bits only.
//
//	KEYS[1]  the entry
//	ARGV[1]  what to add
//
// It returns the sum, or nil if there is no entry.
var incrScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 0 then
	return false
end
redis.call('INCRBY', KEYS[1], ARGV[1])
return redis.call('GET', KEYS[1])
`)

// Incr adds delta, which may be negative, keeps the entry's lifetime and
// returns the sum. It returns cache.ErrMiss for an absent key, and
// cache.ErrNotInteger when the value is not an integer or the sum does not fit
// an int64. Unlike Django's incr it is one atomic step.
func (s *Store) Incr(ctx context.Context, key string, delta int64) (int64, error) {
	sum, err := once(ctx, s.writer, func(c redis.UniversalClient) (int64, error) {
		return incrScript.Run(ctx, c, []string{key}, delta).Int64()
	})
	switch {
	case errors.Is(err, redis.Nil):
		return 0, cache.ErrMiss
	case err != nil && notInteger(err.Error()):
		return 0, fmt.Errorf("rediscache: incr %q: %w", key, cache.ErrNotInteger)
	}
	return sum, fail(ctx, "incr", key, err)
}

// notInteger knows the two answers of INCRBY, whatever a script adds to them.
func notInteger(answer string) bool {
	return strings.Contains(answer, "not an integer or out of range") || strings.Contains(answer, "would overflow")
}

// expiry is ttl as go-redis takes it: 0 for never, else rounded up to
// milliseconds. go-redis sends whole seconds as EX and the rest as PX.
func expiry(ttl time.Duration) time.Duration {
	if ttl == cache.Never {
		return 0
	}
	if rest := ttl % time.Millisecond; rest != 0 && ttl < math.MaxInt64-time.Millisecond {
		ttl += time.Millisecond - rest
	}
	return ttl
}
