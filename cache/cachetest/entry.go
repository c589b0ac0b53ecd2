package cachetest

import (
	"strconv"
	"sync/atomic"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func entryRows() []row {
	return []row{
		{name: "traits are stated", rule: "a store has a name and a step of lifetimes", run: traitsStated},
		{name: "get of an absent key misses", rule: "Get returns ErrMiss for what was never stored", run: func(e *env) {
			e.misses(e.key("absent"))
		}},
		{name: "get returns what set stored", rule: "bytes come back as they went in", run: func(e *env) {
			e.set(e.key("k"), "value", long)
			e.holds(e.key("k"), "value")
		}},
		{name: "set replaces", rule: "Set stores whatever was there", run: func(e *env) {
			e.set(e.key("k"), "a longer first value", long)
			e.set(e.key("k"), "2", long)
			e.holds(e.key("k"), "2")
		}},
		{name: "set and get do not mix up keys", rule: "an entry is found under its own key only", run: func(e *env) {
			e.set(e.key("a"), "of a", long)
			e.set(e.key("b"), "of b", long)
			e.holds(e.key("a"), "of a")
			e.holds(e.key("b"), "of b")
		}},
		{name: "formats are kept", rule: "Get returns the Format that was stored", needs: formats, run: formatsKept},
		{name: "add stores when absent", rule: "Add reports true and the entry is there", run: func(e *env) {
			e.adds(e.key("k"), "first", true)
			e.holds(e.key("k"), "first")
		}},
		{name: "add leaves what is there", rule: "Add reports false and changes nothing", run: func(e *env) {
			e.set(e.key("k"), "first", long)
			e.adds(e.key("k"), "second", false)
			e.holds(e.key("k"), "first")
		}},
		{name: "one of 64 adds wins", rule: "Add is atomic", run: oneAddWins},
		{name: "touch of an absent key is false", rule: "Touch creates nothing", run: func(e *env) {
			e.touches(e.key("k"), false)
			e.misses(e.key("k"))
		}},
		{name: "touch keeps the value", rule: "Touch changes the lifetime only", run: func(e *env) {
			e.set(e.key("k"), "value", long)
			e.touches(e.key("k"), true)
			e.touches(e.key("k"), true)
			e.holds(e.key("k"), "value")
		}},
		{name: "delete removes", rule: "Delete reports whether the entry was there", run: func(e *env) {
			e.set(e.key("k"), "value", long)
			e.deletes(e.key("k"), true)
			e.misses(e.key("k"))
			e.deletes(e.key("k"), false)
		}},
		{name: "add after delete stores", rule: "a deleted entry is absent", run: func(e *env) {
			e.set(e.key("k"), "old", long)
			e.deletes(e.key("k"), true)
			e.touches(e.key("k"), false)
			e.adds(e.key("k"), "new", true)
			e.holds(e.key("k"), "new")
		}},
		{name: "clear removes everything", rule: "Clear drops all entries, of every prefix", needs: owned, run: clearRemoves},
	}
}

func (e *env) adds(key, value string, want bool) {
	e.Helper()
	got, err := e.store.Add(e.ctx, key, raw(value), long)
	require.NoError(e, err, "add %q", key)
	require.Equal(e, want, got, "add %q", key)
}

func (e *env) touches(key string, want bool) {
	e.Helper()
	got, err := e.store.Touch(e.ctx, key, long)
	require.NoError(e, err, "touch %q", key)
	require.Equal(e, want, got, "touch %q", key)
}

func (e *env) deletes(key string, want bool) {
	e.Helper()
	got, err := e.store.Delete(e.ctx, key)
	require.NoError(e, err, "delete %q", key)
	require.Equal(e, want, got, "delete %q", key)
}

func traitsStated(e *env) {
	require.NotEmpty(e, e.traits.Name)
	require.Positive(e, e.traits.Resolution)
	require.GreaterOrEqual(e, e.traits.MaxKey, 0)
	require.GreaterOrEqual(e, e.traits.MaxValue, 0)
	require.Equal(e, e.traits, e.store.Traits(), "traits change")
}

func formatsKept(e *env) {
	for format, value := range map[cache.Format]string{
		cache.Pickled: "\x80\x04N.", cache.Integer: "-42", cache.Text: "text", cache.Bytes: "\xff\x00",
	} {
		item := cache.Item{Value: []byte(value), Format: format}
		require.NoError(e, e.store.Set(e.ctx, e.key("k"), item, long))
		got := e.get(e.key("k"))
		require.Equal(e, format, got.Format, "format of %q", value)
		require.Equal(e, value, string(got.Value))
	}
}

func oneAddWins(e *env) {
	for round := range 20 {
		key := e.key(strconv.Itoa(round))
		e.oneWins("add", func(i int) (bool, error) {
			return e.store.Add(e.ctx, key, raw(strconv.Itoa(i)), long)
		})
	}
}

// oneWins checks that exactly one of 64 callers is told true.
func (e *env) oneWins(what string, do func(i int) (bool, error)) {
	e.Helper()
	var won atomic.Int64
	together(64, func(i int) {
		ok, err := do(i)
		assert.NoError(e, err)
		if ok {
			won.Add(1)
		}
	})
	require.EqualValues(e, 1, won.Load(), "%ss that reported true", what)
}

func clearRemoves(e *env) {
	c := e.cache()
	other := e.cache(func(s *cache.Settings) { s.KeyPrefix += "-other" })
	require.NoError(e, c.Set(e.ctx, "k", 1, long))
	require.NoError(e, other.Set(e.ctx, "k", 2, long))
	require.NoError(e, c.Clear(e.ctx))
	for _, c := range []*cache.Cache{c, other} {
		_, err := c.Get(e.ctx, "k")
		require.ErrorIs(e, err, cache.ErrMiss)
	}
	require.NoError(e, c.Set(e.ctx, "k", 3, long), "set after clear")
}
