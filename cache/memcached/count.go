package memcached

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
// Memcached counts in unsigned integers and its decr stops at zero, where
// Django's decr stops with it. Here a sum below zero is stored as such, by
// compare-and-swap. That needs the entry's lifetime, hence memcached 1.6 and a
// store made by [Open]; on others it is errors.ErrUnsupported.
func (s *Store) Incr(ctx context.Context, key string, delta int64) (int64, error) {
	if delta < 0 {
		item, err := s.Get(ctx, key)
		if err != nil {
			return 0, err
		}
		if value, err := integer(key, item); err != nil || value < -delta {
			return s.incrBySwap(ctx, key, delta)
		}
	}
	sum, err := s.incrModulo(ctx, key, uint64(delta))
	switch {
	case errors.Is(err, memcache.ErrCacheMiss):
		return 0, cache.ErrMiss
	case err != nil && strings.Contains(err.Error(), "non-numeric value"):
		return s.incrBySwap(ctx, key, delta)
	case err != nil:
		return 0, fail(ctx, "incr", key, err)
	case int64(sum) < 0:
		return s.undo(ctx, key, delta)
	}
	return int64(sum), nil
}

// incrModulo counts modulo 2^64, as memcached does: adding the two's complement
// of a number subtracts it.
func (s *Store) incrModulo(ctx context.Context, key string, delta uint64) (uint64, error) {
	n := s.node(key)
	return run(ctx, s, n, once, func() (uint64, error) { return n.client.Increment(key, delta) })
}

// undo takes back a sum that left the range of a positive int64, and counts
// again with care.
func (s *Store) undo(ctx context.Context, key string, delta int64) (int64, error) {
	if _, err := s.incrModulo(context.WithoutCancel(ctx), key, uint64(-delta)); err != nil {
		return 0, fail(ctx, "incr", key, err)
	}
	return s.incrBySwap(ctx, key, delta)
}

// incrBySwap counts in int64, for sums below zero and to find out what is wrong.
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
	n := s.node(key)
	ttl, err := run(ctx, s, n, again, func() (time.Duration, error) { return n.lifetime(key) })
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
		return 0, fmt.Errorf("memcached: incr %q: %w: the sum does not fit", key, cache.ErrNotInteger)
	}
	return sum, nil
}

// lifetime asks how long the entry still lives, which gomemcache has no command
// for, on a connection of its own. An entry that is gone gets some lifetime.
func (n *node) lifetime(key string) (time.Duration, error) {
	if n.addr == nil {
		return 0, fmt.Errorf("a sum below zero over the caller's client: %w", errors.ErrUnsupported)
	}
	conn, err := net.DialTimeout(n.addr.Network(), n.addr.String(), timeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return 0, err
	}
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
