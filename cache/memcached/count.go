package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/celeryresults/celeryresults/cache"
)

// Incr adds delta, which may be negative, keeps the entry's lifetime and
// returns the sum. It returns cache.ErrMiss for an absent key, and
// cache.ErrNotInteger when the value is not an integer or the sum does not fit
// an int64.
//
// Memcached counts in unsigned integers, and its decr stops at zero, as
// Django's decr then does. Here sums below zero are exact: counting down, and
// counting what is negative, is a compare-and-swap. That asks the server for
// the entry's lifetime, which takes memcached 1.6 and knowing the servers
// ([Open] does); else it is errors.ErrUnsupported.
func (s *Store) Incr(ctx context.Context, key string, delta int64) (int64, error) {
	if delta < 0 {
		return s.incrBySwap(ctx, key, delta)
	}
	sum, err := run(ctx, s.node(key), once, func(c *memcache.Client) (uint64, error) { return c.Increment(key, uint64(delta)) })
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return 0, cache.ErrMiss
	case err != nil && strings.Contains(err.Error(), "non-numeric value"):
		return s.incrBySwap(ctx, key, delta)
	case err != nil:
		return 0, fail(ctx, "incr", key, err)
	case sum > math.MaxInt64:
		return 0, s.undo(ctx, key, delta)
	}
	return int64(sum), nil
}

// undo takes back a sum that does not fit, whatever became of ctx.
func (s *Store) undo(ctx context.Context, key string, delta int64) error {
	ctx = context.WithoutCancel(ctx)
	_, err := run(ctx, s.node(key), once, func(c *memcache.Client) (uint64, error) { return c.Decrement(key, uint64(delta)) })
	if err != nil {
		return fail(ctx, "incr", key, err)
	}
	return noFit(key)
}

// incrBySwap counts in int64.
func (s *Store) incrBySwap(ctx context.Context, key string, delta int64) (int64, error) {
	for {
		item, err := s.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		sum, err := add(key, item, delta)
		if err != nil {
			return 0, err
		}
		swapped, err := s.swapSum(ctx, key, item, sum)
		if err != nil || swapped {
			return sum, err
		}
	}
}

// swapSum stores a sum for the lifetime that the entry has left.
func (s *Store) swapSum(ctx context.Context, key string, item cache.Item, sum int64) (bool, error) {
	ttl, err := s.lifetime(ctx, key)
	if err != nil {
		return false, fail(ctx, "incr", key, err)
	}
	item.Value, item.Format = strconv.AppendInt(nil, sum, 10), cache.Integer
	return s.CompareAndSwap(ctx, key, item, item, ttl)
}

// integer reads a value that memcached may count. Like memcached, it looks at
// the text and not at the flags.
func integer(key string, item cache.Item) (int64, error) {
	value, err := strconv.ParseInt(strings.TrimRight(string(item.Value), " "), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memcached: incr %q: %w", key, cache.ErrNotInteger)
	}
	return value, nil
}

func add(key string, item cache.Item, delta int64) (int64, error) {
	value, err := integer(key, item)
	if err != nil {
		return 0, err
	}
	sum := value + delta
	if (sum > value) != (delta > 0) && delta != 0 {
		return 0, noFit(key)
	}
	return sum, nil
}

func noFit(key string) error {
	return fmt.Errorf("memcached: incr %q: %w: the sum does not fit", key, cache.ErrNotInteger)
}

// lifetime asks how long the entry still lives, which gomemcache has no command
// for, on a connection of its own. An entry that is gone gets some lifetime.
func (s *Store) lifetime(ctx context.Context, key string) (time.Duration, error) {
	if s.servers == nil {
		return 0, fmt.Errorf("a sum that may be negative, on unknown servers: %w", errors.ErrUnsupported)
	}
	addr := s.servers.addrs[s.servers.place(key)]
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := fmt.Fprintf(conn, "mg %s t\r\n", key); err != nil {
		return 0, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return parseLifetime(strings.TrimSpace(line))
}

// parseLifetime reads the answer to mg with the flag t.
func parseLifetime(line string) (time.Duration, error) {
	if line == "EN" {
		return time.Second, nil
	}
	seconds, err := strconv.Atoi(strings.TrimPrefix(line, "HD t"))
	switch {
	case err != nil:
		return 0, fmt.Errorf("the server does not tell lifetimes: %w", errors.ErrUnsupported)
	case seconds < 0:
		return cache.Never, nil
	}
	return time.Duration(max(seconds, 1)) * time.Second, nil
}
