package cachetest

import (
	"errors"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func keyRows() []row {
	return []row{
		{name: "the longest key is held", rule: "MaxKey bytes are a good key", needs: keyLimit, run: func(e *env) {
			e.holdsKey(strings.Repeat("k", e.room()))
			e.holdsKey(strings.Repeat("k", e.room()%2) + strings.Repeat("é", e.room()/2))
		}},
		{name: "a longer key is refused", rule: "a key over MaxKey bytes, not characters, is ErrBadKey for every method", needs: keyLimit, run: func(e *env) {
			e.refuses(strings.Repeat("k", e.room()+1))
			e.refuses(strings.Repeat("k", e.room()%2) + strings.Repeat("é", e.room()/2) + "x")
			e.refuses(strings.Repeat("k", 1<<20))
		}},
		{name: "spaces and control bytes are refused", rule: "bytes 0x00 to 0x20 and 0x7f are ErrBadKey for every method", needs: keyBytes, run: func(e *env) {
			for b := byte(0); b <= ' '; b++ {
				e.refuses("a" + string(rune(b)) + "b")
			}
			e.refuses("a\x7fb")
			e.refuses("line\r\nset x 0 0 1\r\ny\r\n")
		}},
		{name: "no key is taken for a pattern or a command", rule: "every printable byte stands for itself", run: func(e *env) {
			for _, key := range []string{"*", "?", "[a-z]", "%", "_", "a%20b", `a\b`, `'`, `"`, "`", "--", ";", "{tag}", "a:b:c", "..", "/", "$(x)"} {
				e.holdsKey(key)
			}
		}},
		{name: "unicode keys are held", rule: "keys are UTF-8", run: func(e *env) {
			for _, key := range []string{"grüß", "世界", "\U0001f600", "e\u0301", "\u00e9"} {
				e.holdsKey(key)
			}
		}},
		{name: "odd keys are held or refused", rule: "a key of any bytes works or is ErrBadKey, never an entry under another key", run: func(e *env) {
			for _, key := range []string{"a b", " ", "tab\there", "nul\x00", "bad\xff", "\xed\xa0\x80", "trailing ", strings.Repeat("k", 300)} {
				e.holdsOrRefuses(key)
			}
		}},
		{name: "similar keys are different", rule: "an entry is not read under a key that differs in case, accent or a last byte", run: similarKeys},
		{name: "an empty key is an ordinary key", rule: "prefix and version make it whole", run: func(e *env) { e.holdsKey("") }},
		{name: "an empty whole key is refused", rule: "a key function may not make nothing", run: func(e *env) {
			c := e.cache(func(s *cache.Settings) { s.KeyFunction = func(string, string, int) string { return "" } })
			for _, op := range cacheOperations(c) {
				require.ErrorIs(e, op.do(e.ctx, "k"), cache.ErrBadKey, op.name)
			}
		}},
		{name: "one bad key fails many before anything is sent", rule: "a refused key is an error for the whole call, without effect", needs: keyLimit, run: badAmongGood},
	}
}

// room is how many bytes of a key the prefix and version leave.
func (e *env) room() int { return e.traits.MaxKey - len(e.whole("")) }

func (e *env) holdsKey(key string) {
	e.Helper()
	c := e.cache()
	require.NoError(e, c.SetItem(e.ctx, key, raw("value of "+key), long), "set %q", key)
	item, err := c.GetItem(e.ctx, key)
	require.NoError(e, err, "get %q", key)
	require.Equal(e, "value of "+key, string(item.Value), "get %q", key)
	items, err := c.GetItems(e.ctx, []string{key})
	require.NoError(e, err, "get many %q", key)
	require.Contains(e, items, key)
	_, err = c.Delete(e.ctx, key)
	require.NoError(e, err, "delete %q", key)
	_, err = c.GetItem(e.ctx, key)
	require.ErrorIs(e, err, cache.ErrMiss, "get %q after delete", key)
}

// refuses checks that every method of a Cache refuses the key.
func (e *env) refuses(key string) {
	e.Helper()
	for _, op := range cacheOperations(e.cache()) {
		err := op.do(e.ctx, key)
		require.ErrorIs(e, err, cache.ErrBadKey, "%s of %.80q", op.name, key)
		require.Less(e, len(err.Error()), 600, "an error shows a key shortened")
	}
}

func (e *env) holdsOrRefuses(key string) {
	e.Helper()
	c := e.cache()
	if err := c.SetItem(e.ctx, key, raw("value"), long); errors.Is(err, cache.ErrBadKey) {
		_, err := c.GetItem(e.ctx, key)
		require.ErrorIs(e, err, cache.ErrBadKey, "get %q", key)
		return
	}
	e.holdsKey(key)
}

func similarKeys(e *env) {
	c := e.cache()
	require.NoError(e, c.SetItem(e.ctx, "key-a", raw("value"), long))
	for _, key := range []string{"KEY-A", "Key-a", "kéy-a", "key-á", "key-a\u0301", "key-a\u200b", "ｋey-a", "key-a:", "key-", "key_a"} {
		_, err := c.GetItem(e.ctx, key)
		require.ErrorIs(e, err, cache.ErrMiss, "get %q after set %q", key, "key-a")
		items, err := c.GetItems(e.ctx, []string{key})
		require.NoError(e, err)
		require.Empty(e, items, "get many %q after set %q", key, "key-a")
	}
}

func badAmongGood(e *env) {
	c := e.cache()
	bad := strings.Repeat("k", e.traits.MaxKey+1)
	require.NoError(e, c.Set(e.ctx, "good", "old", long))
	_, err := c.GetMany(e.ctx, []string{"good", bad})
	require.ErrorIs(e, err, cache.ErrBadKey)
	require.ErrorIs(e, c.SetMany(e.ctx, map[string]any{"good": "new", bad: 1}, long), cache.ErrBadKey)
	e.stands(c, "good", "old")
	require.ErrorIs(e, c.DeleteMany(e.ctx, []string{"good", bad}), cache.ErrBadKey)
	e.stands(c, "good", "old")
}
