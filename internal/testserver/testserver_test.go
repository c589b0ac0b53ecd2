package testserver_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

func TestRedisAnswersAtItsAddress(t *testing.T) {
	assert.Equal(t, "+PONG\r\n", ask(t, testserver.Redis(t), "PING\r\n"))
}

func TestMemcachedAnswersAtItsAddress(t *testing.T) {
	assert.Contains(t, ask(t, testserver.Memcached(t), "version\r\n"), "VERSION ")
}

func TestSQLDatabasesAreNewAndEmptyEveryTime(t *testing.T) {
	for name, fresh := range map[string]func(testing.TB) string{
		"postgres": testserver.Postgres, "mysql": testserver.MySQL,
	} {
		t.Run(name, func(t *testing.T) {
			first, second := fresh(t), fresh(t)
			assert.NotEqual(t, first, second)
			assert.True(t, strings.HasPrefix(first, name+"://"), "got %s", first)
		})
	}
}

func TestPrivateServerRestartsOnTheSamePort(t *testing.T) {
	servers := map[string]*testserver.Server{
		"PING\r\n":    testserver.StartRedis(t),
		"version\r\n": testserver.StartMemcached(t),
	}
	for request, server := range servers {
		addr := server.Addr()
		server.Stop()
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		require.Error(t, err, "%s still listens after Stop", addr)
		require.NoError(t, server.Restart())
		assert.Equal(t, addr, server.Addr())
		assert.NotEmpty(t, ask(t, addr, request))
	}
}

func TestPrivateServerTakesArguments(t *testing.T) {
	redis := testserver.StartRedis(t, "--requirepass", "secret")
	assert.Contains(t, ask(t, redis.Addr(), "PING\r\n"), "-NOAUTH")

	socket := t.TempDir() + "/m.sock"
	memcached := testserver.StartMemcached(t, "-s", socket)
	assert.Equal(t, socket, memcached.Addr())
	assert.Contains(t, ask(t, socket, "version\r\n"), "VERSION ")
}

func TestAddressFromTheEnvironmentIsUsedAsItIs(t *testing.T) {
	t.Setenv("CELERYRESULTS_TEST_OTHER_URL", "redis://example.invalid:1")
	service := &testserver.Service{Name: "other", Env: "CELERYRESULTS_TEST_OTHER_URL"}
	url, err := service.Open()
	require.NoError(t, err)
	assert.Equal(t, "redis://example.invalid:1", url)
}

func TestRequireNamesServers(t *testing.T) {
	for list, want := range map[string]bool{
		"": false, "redis": true, "memcached": false, "memcached, redis": true, "all": true, "rediss": false,
	} {
		t.Setenv(testserver.RequireEnv, list)
		assert.Equal(t, want, testserver.Services()[0].Required(), "%s=%q", testserver.RequireEnv, list)
	}
}

// ask sends a request and returns the first bytes of the reply.
func ask(t *testing.T, addr, request string) string {
	t.Helper()
	network := "tcp"
	if strings.HasPrefix(addr, string(os.PathSeparator)) {
		network = "unix"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = conn.Write([]byte(request))
	require.NoError(t, err)
	reply := make([]byte, 200)
	n, err := conn.Read(reply)
	require.NoError(t, err)
	return string(reply[:n])
}
