package cache

import (
	"context"
	"fmt"
	"math"
)

// Incr adds delta, which may be negative, to the integer under key and returns
// the sum. It returns ErrMiss when there is no entry, and ErrNotInteger, leaving
// the entry as it was, when it holds anything else or the sum does not fit.
//
// A store that is a [Counter] counts in place and keeps the lifetime. In others
// the integer is replaced by compare-and-swap and gets the default timeout, as
// Django's BaseCache.incr does for its database cache; errors.ErrUnsupported is
// returned if they cannot swap either.
func (c *Cache) Incr(ctx context.Context, key string, delta int64) (int64, error) {
	counter, ok := c.store.(Counter)
	if !ok {
		return c.swapSum(ctx, key, delta)
	}
	whole, err := c.key(ctx, key)
	if err != nil {
		return 0, err
	}
	return counter.Incr(ctx, whole, delta)
}

// Decr is Incr with -delta. The least int64, which has no opposite, is
// ErrNotInteger.
func (c *Cache) Decr(ctx context.Context, key string, delta int64) (int64, error) {
	if delta == math.MinInt64 {
		return 0, fmt.Errorf("cache: decr by %d: %w", delta, ErrNotInteger)
	}
	return c.Incr(ctx, key, -delta)
}

// swapSum is Incr for stores that do not count.
func (c *Cache) swapSum(ctx context.Context, key string, delta int64) (sum int64, err error) {
	u, err := c.updater(ctx, key, DefaultTimeout, func(old Item, found bool) (Item, error) {
		if !found {
			return Item{}, ErrMiss
		}
		if sum, err = c.sum(old, delta); err != nil {
			return Item{}, fmt.Errorf("cache: incr %s: %w", quoteKey(key), err)
		}
		return c.Encode(sum)
	})
	if err != nil {
		return 0, err
	}
	if err := u.run(ctx, true); err != nil {
		return 0, err
	}
	return sum, nil
}

// sum adds delta to the integer in item.
func (c *Cache) sum(item Item, delta int64) (int64, error) {
	v, err := c.Decode(item)
	if err != nil {
		return 0, err
	}
	n, ok := v.(int64)
	if !ok || overflows(n, delta) {
		return 0, ErrNotInteger
	}
	return n + delta, nil
}

func overflows(a, b int64) bool {
	if b > 0 {
		return a > math.MaxInt64-b
	}
	return a < math.MinInt64-b
}
