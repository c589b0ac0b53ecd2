package cachetest

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func swapRows() []row {
	return []row{
		{name: "swap replaces what get returned", rule: "CompareAndSwap reports true and the new item is there", needs: swapper, run: func(e *env) {
			e.set(e.key("k"), "old", long)
			e.swaps(e.key("k"), e.get(e.key("k")), "new", true)
			e.holds(e.key("k"), "new")
		}},
		{name: "swap of a changed entry is false", rule: "what stands is left alone", needs: swapper, run: func(e *env) {
			e.set(e.key("k"), "old", long)
			old := e.get(e.key("k"))
			e.set(e.key("k"), "newer", long)
			e.swaps(e.key("k"), old, "new", false)
			e.holds(e.key("k"), "newer")
		}},
		{name: "swap of a deleted entry is false", rule: "an entry that is gone is not created", needs: swapper, run: func(e *env) {
			e.set(e.key("k"), "old", long)
			old := e.get(e.key("k"))
			e.deletes(e.key("k"), true)
			e.swaps(e.key("k"), old, "new", false)
			e.misses(e.key("k"))
		}},
		{name: "swap of an absent entry is false", rule: "CompareAndSwap creates nothing", needs: swapper, run: func(e *env) {
			e.set(e.key("other"), "old", long)
			e.swaps(e.key("absent"), e.get(e.key("other")), "new", false)
			e.misses(e.key("absent"))
		}},
		{name: "one old state swaps once", rule: "the second swap from the same state is false", needs: swapper, run: func(e *env) {
			e.set(e.key("k"), "old", long)
			old := e.get(e.key("k"))
			e.swaps(e.key("k"), old, "second", true)
			e.swaps(e.key("k"), old, "third", false)
			e.holds(e.key("k"), "second")
		}},
		{name: "a token sees the same value written again", rule: "a store with tokens counts revisions, one without compares values", needs: swapper, run: sameValue},
		{name: "swap compares every byte", rule: "values that differ in one byte, in case or in length are different", needs: swapper, run: everyByte},
		{name: "one of 64 swaps wins", rule: "CompareAndSwap is atomic", needs: swapper, run: oneSwapWins},
		{name: "swap sets the lifetime", rule: "the new ttl counts, not the old one", needs: swapper, waits: true, run: func(e *env) {
			e.set(e.key("ends"), "old", cache.Never)
			e.set(e.key("stays"), "old", e.roomy())
			e.swapsFor(e.key("ends"), e.get(e.key("ends")), "new", e.short(), true)
			e.swapsFor(e.key("stays"), e.get(e.key("stays")), "new", cache.Never, true)
			e.expires(e.key("ends"))
			e.passRoomy()
			e.holds(e.key("stays"), "new")
		}},
		{name: "swap of an expired entry is false", rule: "an expired entry is gone", needs: swapper, waits: true, run: func(e *env) {
			e.set(e.key("k"), "old", long)
			old := e.get(e.key("k"))
			_, err := e.store.Touch(e.ctx, e.key("k"), e.short())
			require.NoError(e, err)
			e.expires(e.key("k"))
			e.swaps(e.key("k"), old, "new", false)
			e.misses(e.key("k"))
		}},
	}
}

func (e *env) swaps(key string, old cache.Item, value string, want bool) {
	e.Helper()
	e.swapsFor(key, old, value, long, want)
}

func (e *env) swapsFor(key string, old cache.Item, value string, ttl time.Duration, want bool) {
	e.Helper()
	got, err := e.store.(cache.Swapper).CompareAndSwap(e.ctx, key, old, raw(value), ttl)
	require.NoError(e, err, "swap %q to %q", key, value)
	require.Equal(e, want, got, "swap %q to %q", key, value)
}

func sameValue(e *env) {
	e.set(e.key("k"), "old", long)
	old := e.get(e.key("k"))
	e.set(e.key("k"), "old", long)
	e.swaps(e.key("k"), old, "new", old.Token == 0)
}

func everyByte(e *env) {
	for _, other := range []string{"valuf", "Value", "value ", "valu", "value\x00", ""} {
		e.set(e.key("k"), "value", long)
		old := e.get(e.key("k"))
		e.set(e.key("k"), other, long)
		e.swaps(e.key("k"), old, "new", false)
		e.holds(e.key("k"), other)
	}
}

func oneSwapWins(e *env) {
	for round := range 20 {
		key := e.key(strconv.Itoa(round))
		e.set(key, "old", long)
		old := e.get(key)
		e.oneWins("swap", func(i int) (bool, error) {
			return e.store.(cache.Swapper).CompareAndSwap(e.ctx, key, old, raw(strconv.Itoa(i)), long)
		})
	}
}

func updateRows() []row {
	return []row{
		{name: "update adds what is absent", rule: "f is told that nothing is there, and its item is stored", needs: swapper, run: func(e *env) {
			e.updates(e.cache(), "k", long, func(_ cache.Item, found bool) (cache.Item, error) {
				require.False(e, found)
				return raw("new"), nil
			})
			e.holds(e.whole("k"), "new")
		}},
		{name: "update replaces what stands", rule: "the item for the entry that stands is stored", needs: swapper, run: func(e *env) {
			e.set(e.whole("k"), "old", long)
			e.updates(e.cache(), "k", long, appendTo("+"))
			e.holds(e.whole("k"), "old+")
		}},
		{name: "update returns the error of f", rule: "a refusal is returned as it is and nothing changes", needs: swapper, run: updateRefused},
		{name: "update that refuses absence finds the entry", rule: "f's refusal of a missing entry counts only when it is missing", needs: swapper, run: func(e *env) {
			refusal := errors.New("must exist")
			f := func(old cache.Item, found bool) (cache.Item, error) {
				if !found {
					return cache.Item{}, refusal
				}
				return raw(string(old.Value) + "+"), nil
			}
			require.ErrorIs(e, e.cache().Update(e.ctx, "k", long, f), refusal)
			e.misses(e.whole("k"))
			e.set(e.whole("k"), "old", long)
			e.updates(e.cache(), "k", long, f)
			e.holds(e.whole("k"), "old+")
		}},
		{name: "64 callers update without a loss", rule: "Update is atomic: every caller's change is there", needs: swapper, run: updateRace},
		{name: "update at once deletes", rule: "the entry goes once f agreed, and stays when f refuses", needs: swapper, run: func(e *env) {
			c := e.cache()
			e.set(e.whole("k"), "old", long)
			refusal := errors.New("no")
			require.Equal(e, refusal, c.Update(e.ctx, "k", cache.AtOnce, func(cache.Item, bool) (cache.Item, error) { return cache.Item{}, refusal }))
			e.holds(e.whole("k"), "old")
			e.updates(c, "k", cache.AtOnce, appendTo("+"))
			e.misses(e.whole("k"))
		}},
		{name: "update sets the lifetime", rule: "the timeout counts for entries that were there, too", needs: swapper, waits: true, run: func(e *env) {
			c := e.cache()
			e.set(e.whole("old"), "old", cache.Never)
			e.updates(c, "old", e.short(), appendTo("+"))
			e.updates(c, "new", e.short(), appendTo("+"))
			e.expires(e.whole("old"))
			e.expires(e.whole("new"))
		}},
	}
}

// appendTo returns an update that appends s to the value that stands.
func appendTo(s string) func(cache.Item, bool) (cache.Item, error) {
	return func(old cache.Item, _ bool) (cache.Item, error) { return raw(string(old.Value) + s), nil }
}

func (e *env) updates(c *cache.Cache, key string, timeout time.Duration, f func(cache.Item, bool) (cache.Item, error)) {
	e.Helper()
	require.NoError(e, c.Update(e.ctx, key, timeout, f), "update %q", key)
}

func updateRefused(e *env) {
	refusal := errors.New("no")
	refuse := func(cache.Item, bool) (cache.Item, error) { return raw("new"), refusal }
	require.Equal(e, refusal, e.cache().Update(e.ctx, "k", long, refuse))
	e.misses(e.whole("k"))
	e.set(e.whole("k"), "old", long)
	require.Equal(e, refusal, e.cache().Update(e.ctx, "k", long, refuse))
	e.holds(e.whole("k"), "old")
}

func updateRace(e *env) {
	const callers, times = 64, 10
	c := e.cache()
	together(callers, func(int) {
		for range times {
			err := c.Update(e.ctx, "n", long, func(old cache.Item, _ bool) (cache.Item, error) {
				n, _ := strconv.Atoi(string(old.Value))
				runtime.Gosched() // let others in between
				return raw(strconv.Itoa(n + 1)), nil
			})
			if !assert.NoError(e, err) {
				return
			}
		}
	})
	e.holds(e.whole("n"), strconv.Itoa(callers*times))
}
