package cachetest

import (
	"math"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

const day = 24 * time.Hour

func expiryRows() []row {
	return []row{
		{name: "an entry ends with its lifetime", rule: "an expired entry is absent to every operation", waits: true, run: expiredIsAbsent},
		{name: "the shortest lifetime ends", rule: "less than the step of lifetimes is rounded up to it, neither to nothing nor to ever", waits: true, run: func(e *env) {
			e.set(e.key("k"), "value", 1)
			e.expires(e.key("k"))
		}},
		{name: "one second ends", rule: "a second is a second", waits: true, run: func(e *env) {
			e.set(e.key("k"), "value", time.Second)
			if e.h.Advance != nil {
				e.h.Advance(time.Second)
			}
			e.expires(e.key("k"))
		}},
		{name: "set renews the lifetime", rule: "Set replaces the lifetime with the value", waits: true, run: func(e *env) {
			e.set(e.key("long"), "old", e.short())
			e.set(e.key("long"), "new", long)
			e.set(e.key("never"), "old", e.short())
			e.set(e.key("never"), "new", cache.Never)
			e.set(e.key("short"), "old", long)
			e.set(e.key("short"), "new", e.short())
			e.pass()
			e.holds(e.key("long"), "new")
			e.holds(e.key("never"), "new")
			e.expires(e.key("short"))
		}},
		{name: "touch renews the lifetime", rule: "Touch extends, shortens and removes the end of an entry", waits: true, run: touchRenews},
		{name: "set many sets the lifetime", rule: "all entries of SetMany end with its timeout", waits: true, run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.SetMany(e.ctx, map[string]any{"a": 1, "b": 2}, e.short()))
			require.NoError(e, c.SetMany(e.ctx, map[string]any{"c": 1, "d": 2}, cache.Never))
			e.pass()
			e.expires(e.whole("a"))
			e.expires(e.whole("b"))
			e.stands(c, "c", int64(1))
			e.stands(c, "d", int64(2))
		}},
		{name: "add sets the lifetime", rule: "an entry that Add stored ends", waits: true, run: func(e *env) {
			ok, err := e.store.Add(e.ctx, e.key("k"), raw("value"), e.short())
			require.NoError(e, err)
			require.True(e, ok)
			e.expires(e.key("k"))
		}},
		{name: "long lifetimes stay readable", rule: "no length of a lifetime is taken for a date in the past or an error", waits: true, run: longLifetimes},
		{name: "the default timeout ends", rule: "a cache's Timeout is the lifetime of entries stored without one", waits: true, run: func(e *env) {
			c := e.cache(func(s *cache.Settings) { s.Timeout = e.short() })
			require.NoError(e, c.Set(e.ctx, "k", 1, cache.DefaultTimeout))
			require.NoError(e, c.Set(e.ctx, "stays", 1, long))
			e.expires(e.whole("k"))
			e.stands(c, "stays", int64(1))
		}},
	}
}

func expiredIsAbsent(e *env) {
	key := e.key("k")
	e.set(key, "value", e.short())
	e.set(e.key("stays"), "value", long)
	e.expires(key)
	e.touches(key, false)
	e.deletes(key, false)
	e.adds(key, "new", true)
	e.holds(key, "new")
	e.holds(e.key("stays"), "value")
}

func touchRenews(e *env) {
	touch := func(key string, ttl time.Duration) {
		ok, err := e.store.Touch(e.ctx, key, ttl)
		require.NoError(e, err)
		require.True(e, ok, "touch %q", key)
	}
	for _, name := range []string{"longer", "never", "shorter"} {
		e.set(e.key(name), "value", e.roomy())
	}
	touch(e.key("longer"), long)
	touch(e.key("never"), cache.Never)
	touch(e.key("shorter"), e.short())
	e.expires(e.key("shorter"))
	e.passRoomy()
	e.holds(e.key("longer"), "value")
	e.holds(e.key("never"), "value")
}

func longLifetimes(e *env) {
	lifetimes := map[string]time.Duration{
		"30-days": 30 * day, "30-days-and-a-second": 30*day + time.Second, "31-days": 31 * day,
		"a-year": 365 * day, "100-years": 36500 * day, "292-years": math.MaxInt64, "never": cache.Never,
	}
	for name, ttl := range lifetimes {
		e.set(e.key(name), name, ttl)
		e.holds(e.key(name), name)
		ok, err := e.store.Touch(e.ctx, e.key(name), ttl)
		require.NoError(e, err, "touch for %s", name)
		require.True(e, ok, "touch for %s", name)
	}
	e.pass()
	for name := range lifetimes {
		e.holds(e.key(name), name)
	}
}

func atOnceRows() []row {
	return []row{
		{name: "set at once deletes", rule: "AtOnce and other negative timeouts keep nothing, as Django's 0", run: func(e *env) {
			c := e.cache()
			for _, timeout := range []time.Duration{cache.AtOnce, -time.Second, math.MinInt64} {
				require.NoError(e, c.Set(e.ctx, "k", 1, long))
				require.NoError(e, c.Set(e.ctx, "k", 2, timeout))
				e.absent(c, "k")
			}
		}},
		{name: "add at once stores nothing", rule: "Add with AtOnce reports whether the key was absent, as Django's redis cache does", run: func(e *env) {
			c := e.cache()
			e.addsAtOnce(c, true)
			e.absent(c, "k")
			require.NoError(e, c.Set(e.ctx, "k", 1, long))
			e.addsAtOnce(c, false)
			e.stands(c, "k", int64(1))
		}},
		{name: "touch at once deletes", rule: "Touch with AtOnce reports whether the entry was there", run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.Set(e.ctx, "k", 1, long))
			for _, want := range []bool{true, false} {
				got, err := c.Touch(e.ctx, "k", cache.AtOnce)
				require.NoError(e, err)
				require.Equal(e, want, got)
				e.absent(c, "k")
			}
		}},
		{name: "set many at once deletes", rule: "SetMany with AtOnce keeps nothing", run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.SetMany(e.ctx, map[string]any{"a": 1, "b": 2}, long))
			require.NoError(e, c.SetMany(e.ctx, map[string]any{"a": 3, "new": 4}, cache.AtOnce))
			got, err := c.GetMany(e.ctx, []string{"a", "b", "new"})
			require.NoError(e, err)
			require.Equal(e, map[string]any{"b": int64(2)}, got)
		}},
	}
}

func (e *env) addsAtOnce(c *cache.Cache, want bool) {
	e.Helper()
	got, err := c.Add(e.ctx, "k", 2, cache.AtOnce)
	require.NoError(e, err)
	require.Equal(e, want, got, "add at once")
}
