package cache_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

var ctx = context.Background()

func TestNewRefusesBadSettings(t *testing.T) {
	memcachedLike := newPlainStore()
	memcachedLike.traits = cache.Traits{Name: "plain", MaxKey: 250, PrintableKeys: true}
	for _, test := range []struct {
		name     string
		store    cache.Store
		settings cache.Settings
		is       error
		says     string
	}{
		{"no store", nil, cache.Settings{}, nil, "no store"},
		{"a negative version", newPlainStore(), cache.Settings{Version: -1}, nil, "version -1 is negative"},
		{"a prefix with a space", memcachedLike, cache.Settings{KeyPrefix: "my app"}, cache.ErrBadKey, `"my app"`},
		{"a prefix with a line end", memcachedLike, cache.Settings{KeyPrefix: "a\r\n"}, cache.ErrBadKey, "0x0d at 1"},
		{"a prefix that leaves no room", memcachedLike, cache.Settings{KeyPrefix: strings.Repeat("p", 251)}, cache.ErrBadKey, "251 bytes"},
		{"an unknown serializer", newPlainStore(), cache.Settings{Options: cache.Options{Serializer: "yaml"}}, nil, "known are pickle and json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := cache.New(test.store, test.settings)
			require.ErrorContains(t, err, test.says)
			require.Nil(t, c)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	const gone time.Duration = 0
	for _, test := range []struct {
		name              string
		standard, timeout time.Duration
		want              time.Duration
	}{
		{"the default is 300 s", 0, cache.DefaultTimeout, 300 * time.Second},
		{"the default of the settings", time.Minute, cache.DefaultTimeout, time.Minute},
		{"the default may be never", cache.Never, cache.DefaultTimeout, cache.Never},
		{"the default may be at once", cache.AtOnce, cache.DefaultTimeout, gone},
		{"a timeout counts before the default", cache.Never, time.Second, time.Second},
		{"never", 0, cache.Never, cache.Never},
		{"at once", 0, cache.AtOnce, gone},
		{"any other negative is at once", 0, -time.Hour, gone},
		{"the least negative is at once", 0, math.MinInt64, gone},
		{"the longest", 0, math.MaxInt64, math.MaxInt64},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newPlainStore()
			c := newCache(t, s, cache.Settings{Timeout: test.standard})
			require.NoError(t, s.Set(ctx, ":1:k", cache.Item{}, time.Hour))
			require.NoError(t, c.Set(ctx, "k", 1, test.timeout))
			_, there := s.items[":1:k"]
			require.Equal(t, test.want != gone, there)
			if there {
				require.Equal(t, test.want, s.ttls[":1:k"])
			}
		})
	}
}

func TestFallbacksAreOneCallEach(t *testing.T) {
	keys := []string{"a", "b", "c"}
	values := map[string]any{"a": 1, "b": 2, "c": 3}
	for _, test := range []struct {
		name string
		do   func(c *cache.Cache) error
		want string
	}{
		{"get many", func(c *cache.Cache) error { _, err := c.GetMany(ctx, keys); return err }, "get get get"},
		{"set many", func(c *cache.Cache) error { return c.SetMany(ctx, values, time.Hour) }, "set set set"},
		{"set many at once", func(c *cache.Cache) error { return c.SetMany(ctx, values, cache.AtOnce) }, "delete delete delete"},
		{"delete many", func(c *cache.Cache) error { return c.DeleteMany(ctx, keys) }, "delete delete delete"},
		{"incr", func(c *cache.Cache) error {
			return errors.Join(c.Set(ctx, "n", 1, time.Hour), second(c.Incr(ctx, "n", 1)))
		}, "set get swap"},
		{"update of nothing", func(c *cache.Cache) error { return c.Update(ctx, "k", time.Hour, keep) }, "add"},
		{"update of something", func(c *cache.Cache) error {
			return errors.Join(c.Set(ctx, "k", 1, time.Hour), c.Update(ctx, "k", time.Hour, keep))
		}, "set add get swap"},
		{"get or set", func(c *cache.Cache) error {
			_, err := c.GetOrSet(ctx, "k", func(context.Context) (any, error) { return 1, nil }, time.Hour)
			return err
		}, "get add"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newPlainStore()
			require.NoError(t, test.do(newCache(t, swapStore{s}, cache.Settings{})))
			require.Equal(t, test.want, strings.Join(s.calls, " "))
		})
	}
}

func second[T any](_ T, err error) error { return err }

// keep is an update that leaves the entry as it is.
func keep(old cache.Item, _ bool) (cache.Item, error) { return old, nil }

func TestErrorsOfTheStoreAreReturnedAsTheyAre(t *testing.T) {
	broken := errors.New("plain: server is down")
	s := newPlainStore()
	s.fail = broken
	c := newCache(t, swapStore{s}, cache.Settings{})
	for name, err := range map[string]error{
		"get":          second(c.Get(ctx, "k")),
		"get many":     second(c.GetMany(ctx, []string{"k"})),
		"has":          second(c.Has(ctx, "k")),
		"set":          c.Set(ctx, "k", 1, 0),
		"set at once":  c.Set(ctx, "k", 1, cache.AtOnce),
		"set many":     c.SetMany(ctx, map[string]any{"k": 1}, 0),
		"add":          second(c.Add(ctx, "k", 1, 0)),
		"add at once":  second(c.Add(ctx, "k", 1, cache.AtOnce)),
		"touch":        second(c.Touch(ctx, "k", 0)),
		"delete":       second(c.Delete(ctx, "k")),
		"delete many":  c.DeleteMany(ctx, []string{"k"}),
		"incr":         second(c.Incr(ctx, "k", 1)),
		"incr version": second(c.IncrVersion(ctx, "k", 1)),
		"update":       c.Update(ctx, "k", 0, keep),
		"get or set":   second(c.GetOrSet(ctx, "k", func(context.Context) (any, error) { return 1, nil }, 0)),
	} {
		assert.ErrorIs(t, err, broken, name)
	}
}

func TestWhatAStoreCannotDoIsUnsupported(t *testing.T) {
	s := newPlainStore()
	c := newCache(t, s, cache.Settings{})
	asked := func(cache.Item, bool) (cache.Item, error) { t.Error("f was called"); return cache.Item{}, nil }
	assert.ErrorIs(t, c.Update(ctx, "k", 0, asked), errors.ErrUnsupported, "update")
	assert.ErrorIs(t, second(c.Incr(ctx, "k", 1)), errors.ErrUnsupported, "incr")
	assert.ErrorIs(t, c.Clear(ctx), errors.ErrUnsupported, "clear")
	assert.Empty(t, s.calls, "calls to the store")
}

func TestIncrWithoutACounterGivesTheDefaultTimeout(t *testing.T) {
	s := newPlainStore()
	c := newCache(t, swapStore{s}, cache.Settings{Timeout: time.Minute})
	require.NoError(t, c.Set(ctx, "n", 1, time.Hour))
	n, err := c.Incr(ctx, "n", 2)
	require.NoError(t, err)
	require.EqualValues(t, 3, n)
	require.Equal(t, time.Minute, s.ttls[":1:n"], "as Django's database cache does")
}

func TestDecrOfTheLeastIntegerIsRefused(t *testing.T) {
	c := newCache(t, swapStore{newPlainStore()}, cache.Settings{})
	require.NoError(t, c.Set(ctx, "n", -1, 0))
	_, err := c.Decr(ctx, "n", math.MinInt64)
	require.ErrorIs(t, err, cache.ErrNotInteger)
}

func TestSumsThatDoNotFitAreRefused(t *testing.T) {
	c := newCache(t, swapStore{newPlainStore()}, cache.Settings{})
	for _, test := range []struct{ n, delta int64 }{
		{math.MaxInt64, 1}, {1, math.MaxInt64}, {math.MinInt64, -1}, {-1, math.MinInt64},
	} {
		require.NoError(t, c.Set(ctx, "n", test.n, 0))
		_, err := c.Incr(ctx, "n", test.delta)
		require.ErrorIs(t, err, cache.ErrNotInteger, "%d + %d", test.n, test.delta)
	}
}

// losing is a store in which another writer is always faster.
type losing struct{ swapStore }

func (losing) CompareAndSwap(context.Context, string, cache.Item, cache.Item, time.Duration) (bool, error) {
	return false, nil
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore()
		c := newCache(t, losing{swapStore{s}}, cache.Settings{})
		require.NoError(t, c.Set(ctx, "k", 1, 0))
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		require.Equal(t, context.DeadlineExceeded, c.Update(ctx, "k", 0, keep))
		require.Less(t, len(s.calls), 10_000, "conflicts are retried after a pause")
		require.Greater(t, len(s.calls), 500, "and not after a long one")
	})
}

func TestUpdateTellsTooLarge(t *testing.T) {
	s := newPlainStore()
	s.traits.MaxValue = 4
	c := newCache(t, swapStore{s}, cache.Settings{})
	large := func(cache.Item, bool) (cache.Item, error) { return cache.Item{Value: []byte("12345")}, nil }
	require.ErrorIs(t, c.Update(ctx, "k", 0, large), cache.ErrTooLarge)
	require.Empty(t, s.items)
}

func TestViewsShareTheStore(t *testing.T) {
	s := newPlainStore()
	c := newCache(t, s, cache.Settings{KeyPrefix: "p", Version: 3})
	require.Same(t, s, c.WithVersion(4).Store())
	require.NoError(t, c.WithVersion(4).Set(ctx, "k", 1, 0))
	require.Contains(t, s.items, "p:4:k")
	require.NoError(t, c.Set(ctx, "k", 1, 0))
	require.Contains(t, s.items, "p:3:k")
	require.NoError(t, c.Close())
	require.ErrorIs(t, second(c.WithVersion(4).Get(ctx, "k")), cache.ErrClosed)
}

func TestABumpedVersionOfAKeyFunctionWithoutVersionsStays(t *testing.T) {
	bare := func(key, _ string, _ int) string { return key }
	c := newCache(t, newPlainStore(), cache.Settings{KeyFunction: bare})
	require.NoError(t, c.Set(ctx, "k", "value", 0))
	require.NoError(t, second(c.IncrVersion(ctx, "k", 1)))
	v, err := c.Get(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, "value", v)
}

func TestKeyErrorsAreShortAndQuoted(t *testing.T) {
	s := newPlainStore()
	s.traits.MaxKey = 250
	c := newCache(t, s, cache.Settings{})
	err := c.Set(ctx, strings.Repeat("long\n", 100_000), 1, 0)
	require.ErrorIs(t, err, cache.ErrBadKey)
	require.ErrorContains(t, err, "500003 bytes")
	require.ErrorContains(t, err, `long\n`)
	require.Less(t, len(err.Error()), 250)
	require.Empty(t, s.calls)
}
