package cachetest

import (
	"slices"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func notifyRows() []row {
	return []row{
		{name: "every change is told", rule: "Notify tells of what any operation of any handle stored or deleted, and of nothing else", needs: notifier, run: everyChange},
	}
}

func everyChange(e *env) {
	var told []string
	stop := e.store.(cache.Notifier).Notify(func(key string) { told = append(told, key) })
	key := e.key("k")
	tells := func(want bool, what string, err error) {
		e.Helper()
		require.NoError(e, err, what)
		assert.Equal(e, want, slices.Equal(told, []string{key}), "%s: told of %q", what, told)
		told = nil
	}
	tells(true, "set", e.store.Set(e.ctx, key, raw("1"), long))
	_, err := e.store.Get(e.ctx, key)
	tells(false, "get", err)
	_, err = e.store.Add(e.ctx, key, raw("2"), long)
	tells(false, "add to what is there", err)
	if s, ok := e.store.(cache.Swapper); ok {
		old := e.get(key)
		_, err = s.CompareAndSwap(e.ctx, key, old, raw("3"), long)
		tells(true, "swap", err)
		_, err = s.CompareAndSwap(e.ctx, key, old, raw("3"), long)
		tells(false, "swap of what has changed", err)
	}
	_, err = e.store.Delete(e.ctx, key)
	tells(true, "delete", err)
	_, err = e.store.Add(e.ctx, key, cache.Item{Value: []byte("4"), Format: cache.Integer}, long)
	tells(true, "add", err)
	if s, ok := e.store.(cache.Counter); ok {
		_, err = s.Incr(e.ctx, key, 1)
		tells(true, "incr", err)
	}
	if s, ok := e.store.(cache.ManySetter); ok {
		tells(true, "set many", s.SetMany(e.ctx, map[string]cache.Item{key: raw("5")}, long))
	}
	if s, ok := e.store.(cache.ManyDeleter); ok {
		tells(true, "delete many", s.DeleteMany(e.ctx, []string{key}))
	}
	stop()
	tells(false, "set after stop", e.store.Set(e.ctx, key, raw("6"), long))
	stop() // twice is no error
}
