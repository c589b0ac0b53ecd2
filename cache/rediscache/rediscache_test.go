package rediscache_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/rediscache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// open opens a store that the test closes.
func open(t testing.TB, s cache.Settings) *rediscache.Store {
	t.Helper()
	store, err := rediscache.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// at opens a store on locations.
func at(t testing.TB, locations ...string) *rediscache.Store {
	t.Helper()
	return open(t, cache.Settings{Location: locations})
}

// rawClient returns a go-redis client that the test closes.
func rawClient(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { client.Close() })
	return client
}

func item(value string) cache.Item { return cache.Item{Value: []byte(value)} }

func opener(locations ...string) func(t *testing.T) cache.Store {
	return func(t *testing.T) cache.Store { return at(t, locations...) }
}

func TestSuiteOnRedis(t *testing.T) {
	t.Parallel()
	cachetest.Harness{Open: opener("redis://" + testserver.Redis(t)), Stall: stall}.Run(t)
}

func TestSuiteOnAnOwnServerOverAUnixSocket(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/redis.sock"
	testserver.StartRedis(t, "--unixsocket", path)
	cachetest.Harness{Open: opener("unix://" + path + "?db=1"), Owned: true}.Run(t)
}

func TestSuiteOverTheCallersClientOfAFake(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: fake.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	open := func(*testing.T) cache.Store { return rediscache.New(client) }
	cachetest.Harness{Open: open, Owned: true, Advance: fake.FastForward}.Run(t)
	require.NoError(t, client.Ping(t.Context()).Err(), "the client after its stores were closed")
}

// stall opens a store on a server that takes connections and says nothing.
func stall(t *testing.T) (cache.Store, func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return at(t, "redis://"+listener.Addr().String()), func() { listener.Close() }
}

// recordedKey and recordedValue are what Django's RedisCache stored for
// django-celery-results: a revoked task.
const (
	recordedKey   = ":1:celery-task-meta-django-cache-redis-revoked"
	recordedValue = "gAWVygAAAAAAAAB9lCiMBnN0YXR1c5SMB1JFVk9LRUSUjAZyZXN1bHSUjBFjZWxlcnkuZXhjZXB0aW9uc5SMEFRhc2tSZXZva2VkRXJyb3KUk5SMCnRlcm1pbmF0ZWSUhZRSlIwJdHJhY2ViYWNrlE6MCGNoaWxkcmVulE6MCWRhdGVfZG9uZZSMIDIwMjYtMTEtMjFUMDk6MDk6NDEuNTMzNzUxKzAwOjAwlIwHdGFza19pZJSMGmRqYW5nby1jYWNoZS1yZWRpcy1yZXZva2VklHUu"
)

func TestEntriesAreThoseThatDjangoStores(t *testing.T) {
	ctx, fake := t.Context(), miniredis.RunT(t)
	store, raw := at(t, "redis://"+fake.Addr()), rawClient(t, fake.Addr())
	value, err := base64.StdEncoding.DecodeString(recordedValue)
	require.NoError(t, err)
	require.NoError(t, raw.Set(ctx, recordedKey, value, 24*time.Hour).Err())

	got, err := store.Get(ctx, recordedKey)
	require.NoError(t, err)
	require.Equal(t, cache.Item{Value: value}, got)

	require.NoError(t, fake.Set("copy", "other"))
	require.NoError(t, store.Set(ctx, "copy", cache.Item{Value: value, Format: cache.Pickled}, 24*time.Hour))
	copied, err := raw.Get(ctx, "copy").Bytes()
	require.NoError(t, err)
	require.Equal(t, value, copied)
	require.Equal(t, 24*time.Hour, fake.TTL("copy"))
}

func TestLifetimesAreSentExactly(t *testing.T) {
	ctx, fake := t.Context(), miniredis.RunT(t)
	store := at(t, "redis://"+fake.Addr())
	for _, c := range []struct{ ttl, want time.Duration }{
		{cache.Never, 0},
		{1, time.Millisecond},
		{time.Millisecond + 1, 2 * time.Millisecond},
		{1500 * time.Millisecond, 1500 * time.Millisecond},
		{time.Second, time.Second},
		{31 * 24 * time.Hour, 31 * 24 * time.Hour},
		{math.MaxInt64, math.MaxInt64 / time.Millisecond * time.Millisecond},
	} {
		t.Run(c.ttl.String(), func(t *testing.T) {
			fake.FlushAll()
			require.NoError(t, store.Set(ctx, "set", item("1"), c.ttl))
			_, err := store.Add(ctx, "add", item("1"), c.ttl)
			require.NoError(t, err)
			require.NoError(t, store.SetMany(ctx, map[string]cache.Item{"many": item("1")}, c.ttl))
			_, err = store.CompareAndSwap(ctx, "many", item("1"), item("2"), c.ttl)
			require.NoError(t, err)
			require.NoError(t, store.Set(ctx, "touch", item("1"), time.Hour))
			_, err = store.Touch(ctx, "touch", c.ttl)
			require.NoError(t, err)
			for _, key := range []string{"set", "add", "many", "touch"} {
				assert.Equal(t, c.want, fake.TTL(key), "%s with %v", key, c.ttl)
			}
		})
	}
}

func TestTouchToNeverFindsAnEntryWithoutExpiry(t *testing.T) {
	ctx, fake := t.Context(), miniredis.RunT(t)
	store := at(t, "redis://"+fake.Addr())
	require.NoError(t, store.Set(ctx, "k", item("1"), cache.Never))
	for key, want := range map[string]bool{"k": true, "absent": false} {
		there, err := store.Touch(ctx, key, cache.Never)
		require.NoError(t, err)
		require.Equal(t, want, there, key)
	}
}

func TestIncrIsExactBeyondWhatAFloatHolds(t *testing.T) {
	ctx, store := t.Context(), at(t, "redis://"+testserver.StartRedis(t).Addr())
	for _, c := range []struct{ value, delta, want int64 }{
		{1 << 53, 1, 1<<53 + 1},
		{math.MaxInt64 - 1, 1, math.MaxInt64},
		{math.MinInt64 + 1, -1, math.MinInt64},
		{0, math.MinInt64, math.MinInt64},
		{-5, 3, -2},
	} {
		require.NoError(t, store.Set(ctx, "n", item(strconv.FormatInt(c.value, 10)), time.Hour))
		got, err := store.Incr(ctx, "n", c.delta)
		require.NoError(t, err, "%d + %d", c.value, c.delta)
		require.Equal(t, c.want, got, "%d + %d", c.value, c.delta)
	}
	for value, delta := range map[string]int64{strconv.FormatInt(math.MaxInt64, 10): 1, strconv.FormatInt(math.MinInt64, 10): -1, "1.5": 1, "": 1, "x": 1} {
		require.NoError(t, store.Set(ctx, "n", item(value), time.Hour))
		_, err := store.Incr(ctx, "n", delta)
		require.ErrorIs(t, err, cache.ErrNotInteger, "%q + %d", value, delta)
	}
}

func TestAValueTooLargeIsNotSent(t *testing.T) {
	ctx, fake := t.Context(), miniredis.RunT(t)
	store := at(t, "redis://"+fake.Addr())
	large := cache.Item{Value: make([]byte, store.Traits().MaxValue+1)}
	require.NoError(t, store.Set(ctx, "k", item("old"), time.Hour))

	_, err := store.Add(ctx, "k", large, time.Hour)
	require.ErrorIs(t, err, cache.ErrTooLarge)
	_, err = store.CompareAndSwap(ctx, "k", item("old"), large, time.Hour)
	require.ErrorIs(t, err, cache.ErrTooLarge)
	require.True(t, fake.Exists("k"), "an entry that would not have been replaced stays")

	require.ErrorIs(t, store.SetMany(ctx, map[string]cache.Item{"k": large}, time.Hour), cache.ErrTooLarge)
	require.False(t, fake.Exists("k"), "a stale value was left")
	require.NoError(t, store.Set(ctx, "k", item("old"), time.Hour))
	require.ErrorIs(t, store.Set(ctx, "k", large, time.Hour), cache.ErrTooLarge)
	require.False(t, fake.Exists("k"), "a stale value was left")
}

func TestReadsGoToTheReplicas(t *testing.T) {
	ctx := t.Context()
	first, second, third := miniredis.RunT(t), miniredis.RunT(t), miniredis.RunT(t)
	store := at(t, fmt.Sprintf("redis://%s;redis://%s,redis://%s", first.Addr(), second.Addr(), third.Addr()))
	require.NoError(t, store.Set(ctx, "k", item("written"), time.Hour))
	require.True(t, first.Exists("k"))

	seen := map[string]bool{}
	require.NoError(t, second.Set("k", "second"))
	require.NoError(t, third.Set("k", "third"))
	for range 100 {
		got, err := store.Get(ctx, "k")
		require.NoError(t, err)
		many, err := store.GetMany(ctx, []string{"k"})
		require.NoError(t, err)
		seen[string(got.Value)], seen[string(many["k"].Value)] = true, true
	}
	require.Equal(t, map[string]bool{"second": true, "third": true}, seen)
}

func TestARealReplicaServesReads(t *testing.T) {
	ctx, first := t.Context(), testserver.StartRedis(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(first.Addr())
	require.NoError(t, err)
	replica := testserver.StartRedis(t, "--replicaof", host+" "+port)
	store := at(t, "redis://"+first.Addr(), "redis://"+replica.Addr())
	require.NoError(t, store.Set(ctx, "k", item("written"), time.Hour))
	require.Eventually(t, func() bool {
		got, err := store.Get(ctx, "k")
		return err == nil && string(got.Value) == "written"
	}, 10*time.Second, 20*time.Millisecond)
	added, err := store.Add(ctx, "k", item("again"), time.Hour)
	require.NoError(t, err)
	require.False(t, added)
}

func TestARestartedServerCostsNoCall(t *testing.T) {
	ctx, server := t.Context(), testserver.StartRedis(t)
	store := at(t, "redis://"+server.Addr())
	operations := map[string]func() error{
		"get":  func() error { _, err := store.GetMany(ctx, []string{"k"}); return err },
		"set":  func() error { return store.Set(ctx, "k", item("1"), time.Hour) },
		"add":  func() error { _, err := store.Add(ctx, "a", item("1"), time.Hour); return err },
		"swap": func() error { _, err := store.CompareAndSwap(ctx, "k", item("1"), item("2"), time.Hour); return err },
		"touch": func() error {
			_, err := store.Touch(ctx, "k", time.Hour)
			return err
		},
		"delete": func() error { return store.DeleteMany(ctx, []string{"k"}) },
	}
	for name, operation := range operations {
		var busy sync.WaitGroup
		for range 30 { // leaves many connections idle
			busy.Go(func() { assert.NoError(t, store.Set(ctx, "k", item("1"), time.Hour)) })
		}
		busy.Wait()
		require.NoError(t, server.Restart())
		for range 40 {
			require.NoError(t, operation(), name)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	ctx, server := t.Context(), testserver.StartRedis(t)
	store := open(t, cache.Settings{Location: []string{"redis://" + server.Addr()}, Options: cache.Options{PoolSize: 8}})
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			key := strconv.Itoa(i)
			assert.NoError(t, store.SetMany(ctx, map[string]cache.Item{key: item("1")}, time.Hour))
			_, err := store.Get(ctx, key)
			assert.NoError(t, err)
		})
	}
	all.Wait()
	stats, err := rawClient(t, server.Addr()).InfoMap(ctx, "stats").Result()
	require.NoError(t, err)
	dialled, err := strconv.Atoi(stats["Stats"]["total_connections_received"])
	require.NoError(t, err)
	require.LessOrEqual(t, dialled, 8+5, "8 of the pool, and those of the test itself")
}

func TestUsersAndPasswords(t *testing.T) {
	ctx := t.Context()
	server := testserver.StartRedis(t, "--requirepass", "s3cret", "--user", "alice", "on", ">p@ss/word", "~*", "&*", "+@all")
	for name, s := range map[string]cache.Settings{
		"a password in the URL":          {Location: []string{"redis://:s3cret@" + server.Addr()}},
		"user and password in the URL":   {Location: []string{"redis://alice:p%40ss%2Fword@" + server.Addr()}},
		"a password in OPTIONS":          {Location: []string{"redis://" + server.Addr()}, Options: cache.Options{Password: "s3cret"}},
		"user and password in OPTIONS":   {Location: []string{"redis://" + server.Addr()}, Options: cache.Options{Username: "alice", Password: "p@ss/word"}},
		"user and password in the query": {Location: []string{"redis://" + server.Addr() + "?username=alice&password=p%40ss%2Fword"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, open(t, s).Set(ctx, "k", item("1"), time.Hour))
		})
	}
	t.Run("a wrong password is not shown", func(t *testing.T) {
		err := at(t, "redis://alice:wr0ng@"+server.Addr()).Set(ctx, "k", item("1"), time.Hour)
		require.ErrorContains(t, err, `rediscache: set "k": `)
		require.NotContains(t, err.Error(), "wr0ng")
	})
}

func TestARingIsReadAndClearedOnEveryShard(t *testing.T) {
	ctx, a, b := t.Context(), miniredis.RunT(t), miniredis.RunT(t)
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": a.Addr(), "b": b.Addr()}})
	defer ring.Close()
	store := rediscache.New(ring)
	items, keys := map[string]cache.Item{}, []string{"absent"}
	for i := range 700 {
		key := strconv.Itoa(i)
		items[key], keys = item("v"+key), append(keys, key)
	}
	require.NoError(t, store.SetMany(ctx, items, time.Hour))
	require.NotEmpty(t, a.Keys())
	require.NotEmpty(t, b.Keys())
	got, err := store.GetMany(ctx, keys)
	require.NoError(t, err)
	require.Equal(t, items, got)
	require.NoError(t, store.DeleteMany(ctx, keys[:600]))
	require.Len(t, append(a.Keys(), b.Keys()...), 101)
	require.NoError(t, store.Clear(ctx))
	require.Empty(t, append(a.Keys(), b.Keys()...))
}

func TestErrorsNameTheOperationAndTheKey(t *testing.T) {
	ctx, fake := t.Context(), miniredis.RunT(t)
	store := at(t, "redis://"+fake.Addr())
	_, err := fake.Push("list", "x")
	require.NoError(t, err)
	_, err = store.Get(ctx, "list")
	require.ErrorContains(t, err, `rediscache: get "list": WRONGTYPE`)
	_, err = store.CompareAndSwap(ctx, "list", item("a"), item("b"), time.Hour)
	require.ErrorContains(t, err, `rediscache: swap "list": `)

	_, err = rediscache.Open(cache.Settings{})
	require.EqualError(t, err, "rediscache: no location")
	_, err = rediscache.Open(cache.Settings{Location: []string{"redis://a", "redis://u:p@b/x"}})
	require.EqualError(t, err, `rediscache: location 2: redis://***@b/x: bad database "x": want a number`)
}

func TestABusyPoolEndsWithTheContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	store := open(t, cache.Settings{Location: []string{"redis://" + listener.Addr().String()}, Options: cache.Options{PoolSize: 1}})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := store.Get(ctx, "k")
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

func TestAServerThatWasDownForLongIsUsedAtOnceWhenItIsBack(t *testing.T) {
	ctx, server := t.Context(), testserver.StartRedis(t)
	store := at(t, "redis://"+server.Addr())
	require.NoError(t, store.Set(ctx, "k", item("v"), time.Hour))
	server.Stop()
	for range 300 { // more than go-redis tries before it answers from memory
		_, err := store.Get(ctx, "k")
		require.Error(t, err)
	}
	server.Restart()
	require.NoError(t, store.Set(ctx, "k", item("v"), time.Hour))
	_, err := store.Get(ctx, "k")
	require.NoError(t, err)
}
