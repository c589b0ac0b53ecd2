package memcached

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/celeryresults/celeryresults/cache"
)

// Get returns the entry, or cache.ErrMiss. Its Token is memcached's cas unique.
// A value that pylibmc compressed is inflated; beyond 64 MiB that is an error.
func (s *Store) Get(ctx context.Context, key string) (cache.Item, error) {
	stored, err := run(ctx, s.node(key), again, func(c *memcache.Client) (*memcache.Item, error) { return c.Get(key) })
	if errors.Is(err, memcache.ErrCacheMiss) {
		return cache.Item{}, cache.ErrMiss
	}
	if err != nil {
		return cache.Item{}, fail(ctx, "get", key, err)
	}
	return decode(stored), nil
}

// Set stores the item, whatever was there. A value that does not fit is
// cache.ErrTooLarge, and what was there is deleted, as Django does.
func (s *Store) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	if len(item.Value) > s.maxValue {
		_, err := s.Delete(ctx, key)
		return errors.Join(s.tooLarge("set", key, item), err)
	}
	stored := s.encode(key, item, ttl)
	err := do(ctx, s.node(key), again, func(c *memcache.Client) error { return c.Set(stored) })
	return fail(ctx, "set", key, err)
}

// Add stores the item if the key is absent and reports whether it did. A value
// that does not fit is cache.ErrTooLarge.
func (s *Store) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	if len(item.Value) > s.maxValue {
		return false, s.tooLarge("add", key, item)
	}
	stored := s.encode(key, item, ttl)
	err := do(ctx, s.node(key), once, func(c *memcache.Client) error { return c.Add(stored) })
	return took(ctx, "add", key, err)
}

// CompareAndSwap stores item with ttl if nobody wrote the entry since Get
// returned old, and reports whether it did. A value that does not fit is
// cache.ErrTooLarge.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	if len(item.Value) > s.maxValue {
		return false, s.tooLarge("swap", key, item)
	}
	stored := s.encode(key, item, ttl)
	stored.CasID = old.Token
	err := do(ctx, s.node(key), once, func(c *memcache.Client) error { return c.CompareAndSwap(stored) })
	return took(ctx, "swap", key, err)
}

// Touch gives the entry a new lifetime and reports whether it was there.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	seconds := expiration(ttl, time.Now())
	err := do(ctx, s.node(key), again, func(c *memcache.Client) error { return c.Touch(key, seconds) })
	return took(ctx, "touch", key, err)
}

// Delete removes the entry and reports whether it was there. After a broken
// connection it may report false for an entry that it did remove.
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	err := do(ctx, s.node(key), again, func(c *memcache.Client) error { return c.Delete(key) })
	return took(ctx, "delete", key, err)
}

// took turns the errors for a condition that did not hold into false.
func took(ctx context.Context, operation, key string, err error) (bool, error) {
	switch {
	case errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, memcache.ErrNotStored), errors.Is(err, memcache.ErrCASConflict):
		return false, nil
	case err != nil:
		return false, fail(ctx, operation, key, err)
	}
	return true, nil
}

func (s *Store) tooLarge(operation, key string, item cache.Item) error {
	return fmt.Errorf("memcached: %s %q: %w: %d bytes, at most %d fit", operation, key, cache.ErrTooLarge, len(item.Value), s.maxValue)
}

func (s *Store) encode(key string, item cache.Item, ttl time.Duration) *memcache.Item {
	return &memcache.Item{
		Key: key, Value: item.Value,
		Flags: s.library.flags(item.Format), Expiration: expiration(ttl, time.Now()),
	}
}

// monthSeconds is the longest lifetime that memcached counts from now. A
// larger number is a Unix time.
const monthSeconds = 30 * 24 * 60 * 60

// expiration is ttl as memcached takes it: 0 for never, else seconds, rounded
// up, or a Unix time (at most that of January 2038, where the client's type
// ends). It follows get_backend_timeout of Django's BaseMemcachedCache.
func expiration(ttl time.Duration, now time.Time) int32 {
	if ttl == cache.Never {
		return 0
	}
	seconds := int64(ttl / time.Second)
	if ttl%time.Second != 0 {
		seconds++
	}
	if seconds > monthSeconds {
		seconds += now.Unix()
	}
	return int32(min(max(seconds, 1), math.MaxInt32))
}
