package cachetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func manyRows() []row {
	return []row{
		{name: "get many returns those that exist", rule: "absent entries are missing from the map, under the caller's keys", run: manyGet},
		{name: "get many of none is empty", rule: "no keys is no error", run: func(e *env) {
			got, err := e.cache().GetItems(e.ctx, nil)
			require.NoError(e, err)
			require.Empty(e, got)
		}},
		{name: "get many takes a key twice", rule: "a repeated key is one entry", run: func(e *env) {
			c := e.cache()
			require.NoError(e, c.SetItem(e.ctx, "k", raw("value"), long))
			got, err := c.GetItems(e.ctx, []string{"k", "gone", "k"})
			require.NoError(e, err)
			require.Len(e, got, 1)
			require.Equal(e, "value", string(got["k"].Value))
		}},
		{name: "set many stores all", rule: "every entry is there afterwards, replaced or new", run: manySet},
		{name: "set many of none is nothing", rule: "no values is no error", run: func(e *env) {
			require.NoError(e, e.cache().SetMany(e.ctx, nil, long))
		}},
		{name: "delete many removes all", rule: "absent entries are not an error", run: manyDelete},
		{name: "add many adds what is absent", rule: "each entry by itself, with its own lifetime, and in their order", needs: adder, run: manyAdd},
		{name: "concurrent updates of new entries", rule: "what is merged gives each caller its own outcome", needs: swapper, run: updatesOfNewEntries},
		{name: "the keys of all entries", rule: "that begin with a text, whole, and no others", needs: keyLister, run: allKeys},
		{name: "a thousand keys at once", rule: "many has no small limit", run: thousandKeys},
	}
}

func manyGet(e *env) {
	c := e.cache()
	require.NoError(e, c.SetItem(e.ctx, "a", raw("of a"), long))
	require.NoError(e, c.SetItem(e.ctx, "b", raw("of b"), long))
	got, err := c.GetItems(e.ctx, []string{"a", "absent", "b"})
	require.NoError(e, err)
	require.Len(e, got, 2)
	require.Equal(e, "of a", string(got["a"].Value))
	require.Equal(e, "of b", string(got["b"].Value))
}

func manySet(e *env) {
	c := e.cache()
	require.NoError(e, c.Set(e.ctx, "a", "old", long))
	require.NoError(e, c.SetMany(e.ctx, map[string]any{"a": 1, "b": "two", "c": nil}, long))
	got, err := c.GetMany(e.ctx, []string{"a", "b", "c", "d"})
	require.NoError(e, err)
	require.Equal(e, map[string]any{"a": int64(1), "b": "two", "c": nil}, got)
}

func manyDelete(e *env) {
	c := e.cache()
	require.NoError(e, c.SetMany(e.ctx, map[string]any{"a": 1, "b": 2, "kept": 3}, long))
	require.NoError(e, c.DeleteMany(e.ctx, []string{"a", "absent", "b"}))
	require.NoError(e, c.DeleteMany(e.ctx, nil))
	got, err := c.GetMany(e.ctx, []string{"a", "b", "kept"})
	require.NoError(e, err)
	require.Equal(e, map[string]any{"kept": int64(3)}, got)
}

func thousandKeys(e *env) {
	c := e.cache()
	values := make(map[string]any, 1000)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprintf("key-%d", i)
		values[keys[i]] = int64(i)
	}
	require.NoError(e, c.SetMany(e.ctx, values, long))
	got, err := c.GetMany(e.ctx, keys)
	require.NoError(e, err)
	require.Equal(e, values, got)
	require.NoError(e, c.DeleteMany(e.ctx, keys))
	left, err := c.GetMany(e.ctx, keys)
	require.NoError(e, err)
	require.Empty(e, left)
}

func manyAdd(e *env) {
	adder := e.store.(cache.ManyAdder)
	require.NoError(e, e.store.Set(e.ctx, e.whole("there"), raw("old"), long))
	added, err := adder.AddMany(e.ctx, []cache.Entry{
		{Key: e.whole("a"), Item: raw("of a"), TTL: long}, {Key: e.whole("there"), Item: raw("new"), TTL: long},
		{Key: e.whole("b"), Item: raw("of b"), TTL: cache.Never},
	})
	require.NoError(e, err)
	require.Equal(e, []bool{true, false, true}, added)
	e.holds(e.whole("a"), "of a")
	e.holds(e.whole("there"), "old")
	e.holds(e.whole("b"), "of b")
	added, err = adder.AddMany(e.ctx, nil)
	require.NoError(e, err)
	require.Empty(e, added)
}

// updatesOfNewEntries lets 64 callers update 16 new entries at once: one of
// them makes each entry and the others find it.
func updatesOfNewEntries(e *env) {
	c := e.cache()
	errTaken := errors.New("taken")
	var group sync.WaitGroup
	var mu sync.Mutex
	winners := map[string]string{}
	for i := range 64 {
		group.Go(func() {
			key, own := fmt.Sprint("k", i%16), fmt.Sprint("caller ", i)
			err := c.Update(e.ctx, key, long, func(_ cache.Item, found bool) (cache.Item, error) {
				if found {
					return cache.Item{}, errTaken
				}
				return raw(own), nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				assert.Empty(e, winners[key], "%s was made twice", key)
				winners[key] = own
				return
			}
			assert.ErrorIs(e, err, errTaken)
		})
	}
	group.Wait()
	require.Len(e, winners, 16)
	for key, own := range winners {
		item, err := c.GetItem(e.ctx, key)
		require.NoError(e, err)
		require.Equal(e, own, string(item.Value))
	}
}

func allKeys(e *env) {
	c := e.cache()
	lister, ok := c.Store().(cache.KeyLister)
	require.True(e, ok)
	keysOf := func(prefix string) []string {
		whole, err := c.WholeKey(prefix)
		require.NoError(e, err)
		var keys []string
		for key, err := range lister.Keys(e.ctx, whole) {
			require.NoError(e, err)
			rest, ok := strings.CutPrefix(key, whole)
			require.True(e, ok, key)
			keys = append(keys, rest)
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}
	values := map[string]any{"odd_%[a]*?!one": 1, "Odd_%[a]*?!two": 1, "oddx%[a]*?!three": 1, "odd_%[a]": 1}
	require.NoError(e, c.SetMany(e.ctx, values, long))
	require.Equal(e, []string{"", "*?!one"}, keysOf("odd_%[a]"))
	require.Empty(e, keysOf("nothing"))
	many := map[string]any{}
	for i := range 1500 { // more than are read at once
		many[fmt.Sprintf("many-%04d", i)] = i
	}
	require.NoError(e, c.SetMany(e.ctx, many, long))
	found := keysOf("many-")
	require.Len(e, found, 1500)
	require.Equal(e, "0000", found[0])
	for range lister.Keys(e.ctx, "") {
		break // it ends when nobody wants more
	}
	over, cancel := context.WithCancel(e.ctx)
	cancel()
	for _, err := range lister.Keys(over, "") {
		require.ErrorIs(e, err, context.Canceled)
	}
}
