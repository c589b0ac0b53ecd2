package rediscache_test

import (
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
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

// opener opens stores that the suite closes.
func opener(locations ...string) func(t *testing.T) cache.Store {
	return func(t *testing.T) cache.Store { return open(t, cache.Settings{Location: locations}) }
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

func TestSuiteOnMiniredis(t *testing.T) {
	t.Parallel()
	fake := miniredis.RunT(t)
	cachetest.Harness{Open: opener("redis://" + fake.Addr()), Owned: true, Advance: fake.FastForward}.Run(t)
}

func TestSuiteOverTheCallersClient(t *testing.T) {
	fake := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: fake.Addr(), ContextTimeoutEnabled: true})
	defer client.Close()
	open := func(t *testing.T) cache.Store { return rediscache.New(client) }
	cachetest.Harness{Open: open, Owned: true, Advance: fake.FastForward}.Run(t)
	require.NoError(t, client.Ping(t.Context()).Err(), "the client after its stores were closed")
}

// stall opens a store on a server that takes connections and says nothing.
func stall(t *testing.T) (cache.Store, func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	store := open(t, cache.Settings{Location: []string{"redis://" + listener.Addr().String()}})
	return store, func() { listener.Close() }
}

var _ = time.Now
