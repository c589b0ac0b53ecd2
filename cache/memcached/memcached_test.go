package memcached_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// open opens a store that the test closes.
func open(t testing.TB, s cache.Settings) *memcached.Store {
	t.Helper()
	if s.Backend == "" {
		s.Backend = "memcached"
	}
	store, err := memcached.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// opener opens stores that the suite closes.
func opener(backend string, locations ...string) func(t *testing.T) cache.Store {
	return func(t *testing.T) cache.Store {
		return open(t, cache.Settings{Backend: backend, Location: locations})
	}
}

func TestSuiteOnOneServer(t *testing.T) {
	t.Parallel()
	cachetest.Harness{Open: opener("memcached", testserver.Memcached(t)), Stall: stall}.Run(t)
}

func TestSuiteOnThreeServers(t *testing.T) {
	for _, backend := range []string{"memcached", "pylibmc"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			var locations []string
			for range 3 {
				locations = append(locations, testserver.StartMemcached(t).Addr())
			}
			cachetest.Harness{Open: opener(backend, locations...), Owned: true}.Run(t)
		})
	}
}

func TestSuiteOnAUnixSocket(t *testing.T) {
	t.Parallel()
	server := testserver.StartMemcached(t, "-s", t.TempDir()+"/m.sock")
	cachetest.Harness{Open: opener("memcached", "unix:"+server.Addr()), Owned: true}.Run(t)
}

// stall opens a store on a server that takes connections and says nothing.
func stall(t *testing.T) (cache.Store, func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	store := open(t, cache.Settings{Location: []string{listener.Addr().String()}})
	return store, func() { listener.Close() }
}
