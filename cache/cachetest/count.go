package cachetest

import (
	"math"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func countRows() []row {
	return []row{
		{name: "incr of an absent key misses", rule: "Incr and Decr do not create a key", needs: summer, run: func(e *env) {
			c := e.cache()
			_, err := c.Incr(e.ctx, "n", 1)
			require.ErrorIs(e, err, cache.ErrMiss)
			_, err = c.Decr(e.ctx, "n", 1)
			require.ErrorIs(e, err, cache.ErrMiss)
			e.absent(c, "n")
		}},
		{name: "incr and decr return the sum", rule: "counting changes the integer that Get returns", needs: summer, run: sums},
		{name: "incr counts through zero", rule: "sums below zero are exact, or zero in an unsigned store", needs: summer, run: throughZero},
		{name: "incr carries and borrows a digit", rule: "a sum with more or fewer digits is exact", needs: summer, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "n", 99, long))
			e.counts(c, "n", 1, 100)
			e.counts(c, "n", -1, 99)
			e.stands(c, "n", int64(99))
		}},
		{name: "incr of a text is refused", rule: "ErrNotInteger leaves the entry as it was", needs: summer, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "n", "text", long))
			_, err := c.Incr(e.ctx, "n", 1)
			require.ErrorIs(e, err, cache.ErrNotInteger)
			e.stands(c, "n", "text")
		}},
		{name: "incr beyond an int64 is refused", rule: "ErrNotInteger when the sum does not fit", needs: summer, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "n", int64(math.MaxInt64), long))
			_, err := c.Incr(e.ctx, "n", 1)
			require.ErrorIs(e, err, cache.ErrNotInteger)
		}},
		{name: "64 callers count to the exact sum", rule: "Incr loses nothing", needs: summer, run: exactSum},
		{name: "incr keeps the lifetime", rule: "counting in place does not renew the entry", needs: counter, waits: true, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "n", 1, 2*e.short()))
			_, err := c.Incr(e.ctx, "n", 1)
			if err != nil { // it was over already
				require.ErrorIs(e, err, cache.ErrMiss)
			}
			e.expires(e.whole("n"))
		}},
		{name: "incr leaves an endless lifetime", rule: "counting in place does not end the entry", needs: counter, waits: true, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "n", 1, cache.Never))
			e.counts(c, "n", 1, 2)
			e.pass()
			e.stands(c, "n", int64(2))
		}},
	}
}

// whole returns the key that the store sees, which has version 1.
func (e *env) whole(key string) string {
	return cache.DefaultKey(key, e.prefix, 1)
}

func (e *env) counts(c *cache.Cache, key string, delta, want int64) {
	e.Helper()
	got, err := c.Incr(e.ctx, key, delta)
	require.NoError(e, err, "incr %q by %d", key, delta)
	require.Equal(e, want, got, "incr %q by %d", key, delta)
}

// stands checks the decoded value of an entry.
func (e *env) stands(c *cache.Cache, key string, want any) {
	e.Helper()
	got, err := c.Get(e.ctx, key)
	require.NoError(e, err, "get %q", key)
	require.Equal(e, want, got, "get %q", key)
}

func (e *env) absent(c *cache.Cache, key string) {
	e.Helper()
	got, err := c.Get(e.ctx, key)
	require.ErrorIs(e, err, cache.ErrMiss, "get %q returned %v", key, got)
}

func sums(e *env) {
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "n", 40, long))
	e.counts(c, "n", 1, 41)
	e.counts(c, "n", 1_000_000_000_000, 1_000_000_000_041)
	got, err := c.Decr(e.ctx, "n", 1_000_000_000_000)
	require.NoError(e, err)
	require.EqualValues(e, 41, got)
	e.stands(c, "n", int64(41))
}

func throughZero(e *env) {
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "n", 2, long))
	want := int64(-3)
	if e.h.Unsigned {
		want = 0
	}
	e.counts(c, "n", -5, want)
	e.stands(c, "n", want)
	e.counts(c, "n", 10, want+10)
	e.stands(c, "n", want+10)
}

func exactSum(e *env) {
	const callers, times = 64, 100
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "n", 0, long))
	together(callers, func(int) {
		for range times {
			if _, err := c.Incr(e.ctx, "n", 1); !assert.NoError(e, err) {
				return
			}
		}
	})
	e.stands(c, "n", int64(callers*times))
}
