package cachetest

import (
	"context"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func viewRows() []row {
	return []row{
		{name: "prefixes are apart", rule: "caches with different prefixes do not see each other's entries", run: func(e *env) {
			a, b := e.cache(), e.cache(func(s *cache.Settings) { s.KeyPrefix += "b" })
			e.apart(a, b)
		}},
		{name: "versions are apart", rule: "views of different versions do not see each other's entries", run: func(e *env) {
			c := e.cache()
			e.apart(c, c.WithVersion(2))
			e.apart(c.WithVersion(0), c.WithVersion(-1))
		}},
		{name: "keys are django's", rule: "the whole key is prefix:version:key", run: func(e *env) {
			require.NoError(e, e.cache().SetItem(e.ctx, "k", raw("one"), long))
			require.NoError(e, e.cache().WithVersion(7).SetItem(e.ctx, "k", raw("seven"), long))
			e.holds(e.prefix+":1:k", "one")
			e.holds(e.prefix+":7:k", "seven")
		}},
		{name: "a version is bumped", rule: "IncrVersion and DecrVersion move the entry", run: bumps},
		{name: "an absent version is not bumped", rule: "IncrVersion of nothing is ErrMiss", run: func(e *env) {
			_, err := e.cache().IncrVersion(e.ctx, "k", 1)
			require.ErrorIs(e, err, cache.ErrMiss)
		}},
		{name: "has tells what is there", rule: "Has does not decode or change the entry", run: func(e *env) {
			c := e.cache()
			for _, want := range []bool{false, true} {
				got, err := c.Has(e.ctx, "k")
				require.NoError(e, err)
				require.Equal(e, want, got)
				require.NoError(e, c.SetItem(e.ctx, "k", cache.Item{Value: []byte("no pickle"), Format: cache.Pickled}, long))
			}
		}},
		{name: "what cannot be decoded is an error", rule: "a broken entry is neither a miss nor a value", run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.SetItem(e.ctx, "k", cache.Item{Value: []byte("\x80\x04broken"), Format: cache.Pickled}, long))
			_, err := c.Get(e.ctx, "k")
			require.ErrorContains(e, err, "k")
			require.NotErrorIs(e, err, cache.ErrMiss)
		}},
		{name: "get or set computes once there is nothing", rule: "f is not asked while the entry stands, and its error stores nothing", run: getOrSet},
		{name: "64 callers of get or set see one value", rule: "what was added first is everybody's", run: oneValue},
	}
}

// apart checks that two caches on one store do not share an entry.
func (e *env) apart(a, b *cache.Cache) {
	e.Helper()
	require.NoError(e, a.Set(e.ctx, "k", "of a", long))
	e.absent(b, "k")
	require.NoError(e, b.Set(e.ctx, "k", "of b", long))
	e.stands(a, "k", "of a")
	_, err := b.Delete(e.ctx, "k")
	require.NoError(e, err)
	e.stands(a, "k", "of a")
}

func bumps(e *env) {
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "k", "value", long))
	version, err := c.IncrVersion(e.ctx, "k", 2)
	require.NoError(e, err)
	require.Equal(e, 3, version)
	e.absent(c, "k")
	e.stands(c.WithVersion(3), "k", "value")
	version, err = c.WithVersion(3).DecrVersion(e.ctx, "k", 2)
	require.NoError(e, err)
	require.Equal(e, 1, version)
	e.stands(c, "k", "value")
	e.absent(c.WithVersion(3), "k")
	_, err = c.IncrVersion(e.ctx, "k", 0)
	require.NoError(e, err)
	e.stands(c, "k", "value")
}

func getOrSet(e *env) {
	c := e.cache()
	asked := 0
	answer := func(context.Context) (any, error) { asked++; return nil, nil }
	_, err := c.GetOrSet(e.ctx, "k", func(context.Context) (any, error) { return 1, assert.AnError }, long)
	require.Equal(e, assert.AnError, err)
	e.absent(c, "k")
	for range 3 {
		got, err := c.GetOrSet(e.ctx, "k", answer, long)
		require.NoError(e, err)
		require.Nil(e, got, "None is a value like any other")
	}
	require.Equal(e, 1, asked, "calls of f")
}

func oneValue(e *env) {
	c := e.cache()
	var mu sync.Mutex
	seen := map[any]int{}
	together(64, func(i int) {
		got, err := c.GetOrSet(e.ctx, "k", func(context.Context) (any, error) { return i, nil }, long)
		assert.NoError(e, err)
		mu.Lock()
		defer mu.Unlock()
		seen[got]++
	})
	require.Len(e, seen, 1, "values that callers saw")
}
