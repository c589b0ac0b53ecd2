package memcached_test

import (
	"bufio"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache/memcached"
)

// placementServers are those of testdata/placement.py.
var placementServers = []string{
	"10.0.0.1:11211", "cache-2.example:11212", "[2001:db8::3]:11213", "unix:/run/memcached/4.sock", "cache-5.example",
}

func TestKeysGoToTheServersThatThePythonClientsChoose(t *testing.T) {
	for library, file := range map[memcached.Library]string{
		memcached.Pymemcache: "testdata/placement-pymemcache.txt",
		memcached.Pylibmc:    "testdata/placement-pylibmc.txt",
	} {
		t.Run(file, func(t *testing.T) {
			three := indexer(t, library, placementServers[:3])
			five := indexer(t, library, placementServers)
			lines := placements(t, file)
			require.Len(t, lines, 1000)
			for _, line := range lines {
				key := line[0]
				assert.Equal(t, line[1:], []string{three(key), five(key)}, "servers of %q", key)
			}
		})
	}
}

// placements returns the lines of a golden file: key, index of 3, index of 5.
func placements(t *testing.T, file string) (lines [][]string) {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			lines = append(lines, strings.Split(s.Text(), "\t"))
		}
	}
	return lines
}

// indexer returns a function from key to the index of its server.
func indexer(t *testing.T, library memcached.Library, locations []string) func(string) string {
	servers, err := memcached.NewServers(library, locations...)
	require.NoError(t, err)
	index := map[net.Addr]int{}
	require.NoError(t, servers.Each(func(a net.Addr) error {
		index[a] = len(index)
		return nil
	}))
	require.Len(t, index, len(locations))
	return func(key string) string {
		addr, err := servers.PickServer(key)
		require.NoError(t, err)
		return strconv.Itoa(index[addr])
	}
}

func TestLocationsAreReadAsPythonReadsThem(t *testing.T) {
	for name, c := range map[string]struct {
		locations []string
		want      []string
	}{
		"host and port":              {[]string{"127.0.0.1:11212"}, []string{"tcp 127.0.0.1:11212"}},
		"a host alone":               {[]string{"cache.example"}, []string{"tcp cache.example:11211"}},
		"IPv6 and port":              {[]string{"[::1]:11213"}, []string{"tcp [::1]:11213"}},
		"IPv6 alone":                 {[]string{"[::1]"}, []string{"tcp [::1]:11211"}},
		"a socket with unix:":        {[]string{"unix:/run/m.sock"}, []string{"unix /run/m.sock"}},
		"a socket's path":            {[]string{"/run/m.sock"}, []string{"unix /run/m.sock"}},
		"several with semicolons":    {[]string{"a:1;b:2"}, []string{"tcp a:1", "tcp b:2"}},
		"several with commas, blank": {[]string{"a:1, b:2"}, []string{"tcp a:1", "tcp b:2"}},
		"a list keeps its order":     {[]string{"b:2", "a:1", "/c"}, []string{"tcp b:2", "tcp a:1", "unix /c"}},
	} {
		t.Run(name, func(t *testing.T) {
			servers, err := memcached.NewServers(memcached.Pymemcache, c.locations...)
			require.NoError(t, err)
			var got []string
			require.NoError(t, servers.Each(func(a net.Addr) error {
				got = append(got, a.Network()+" "+a.String())
				return nil
			}))
			assert.Equal(t, c.want, got, "%q", c.locations)
		})
	}
}

func TestBadLocationsAreRefused(t *testing.T) {
	for _, locations := range [][]string{
		nil, {""}, {";"}, {"a:"}, {":11211"}, {"a:b"}, {"a:0"}, {"a:65536"}, {"a:-1"}, {"::1"}, {"[::1"}, {"a", ""},
		{"memcached://a:11211"}, {"udp:a:11211"}, {"a:11211:2"}, {"user@a:1"}, {"a b:1"},
	} {
		_, err := memcached.NewServers(memcached.Pymemcache, locations...)
		assert.ErrorContains(t, err, "memcached: ", "%q", locations)
	}
}

func FuzzLocations(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:11211", "a;b", "[::1]:1,/s", "unix:/s", "::", "[", "a:99999", "é:1"} {
		f.Add(seed, "key")
	}
	f.Fuzz(func(t *testing.T, location, key string) {
		for _, library := range []memcached.Library{memcached.Pymemcache, memcached.Pylibmc} {
			servers, err := memcached.NewServers(library, location)
			if err != nil {
				continue
			}
			if addr, err := servers.PickServer(key); err != nil || addr.String() == "" {
				t.Errorf("PickServer(%q) over %q = %v, %v", key, location, addr, err)
			}
		}
	})
}
