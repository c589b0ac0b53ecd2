package testserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestSentinelsFailOver(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	sentinels := testserver.StartSentinel(t, 2, 0)
	t.Logf("started after %s", time.Since(begin))
	require.Len(t, sentinels.SentinelAddrs(), 3)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: sentinels.MasterName(), SentinelAddrs: sentinels.SentinelAddrs(),
	})
	defer client.Close()
	first := sentinels.Master()
	conn := client.Conn() // WAIT is about writes of its connection
	require.NoError(t, conn.Set(t.Context(), "k", "v", 0).Err())
	assert.EqualValues(t, 2, conn.Do(t.Context(), "WAIT", 2, 2000).Val())
	require.NoError(t, conn.Close())

	second := failOver(t, sentinels)
	assert.NotEqual(t, first, second)
	assert.Equal(t, second, sentinels.Master())
	assert.Equal(t, "$1\r\nv\r\n", ask(t, second, "GET k\r\n"))
	require.Eventually(t, func() bool { return client.Get(t.Context(), "k").Val() == "v" }, 10*time.Second, 10*time.Millisecond,
		"a client that asks sentinels follows")

	begin = time.Now()
	sentinels.Restart()
	t.Logf("restarted after %s", time.Since(begin))
	assert.Equal(t, second, sentinels.Master())
	assert.Contains(t, ask(t, first, "ROLE\r\n"), "slave")
	assert.Equal(t, "$1\r\nv\r\n", ask(t, first, "GET k\r\n"))

	third := failOver(t, sentinels)
	fourth := failOver(t, sentinels)
	assert.Len(t, map[string]bool{second: true, third: true, fourth: true}, 3)
	sentinels.Restart()
	assert.Equal(t, fourth, sentinels.Master())
}

func failOver(t *testing.T, sentinels *testserver.Sentinels) string {
	t.Helper()
	begin := time.Now()
	master := sentinels.KillMaster()
	t.Logf("failed over after %s", time.Since(begin))
	return master
}

func TestSentinelsWithPasswords(t *testing.T) {
	t.Parallel()
	sentinels := testserver.StartSentinel(t, 1, 3, "--requirepass", "secret", "--sentinel", "--requirepass", "other")
	assert.Contains(t, ask(t, sentinels.Master(), "PING\r\n"), "-NOAUTH")
	for _, addr := range sentinels.SentinelAddrs() {
		assert.Contains(t, ask(t, addr, "PING\r\n"), "-NOAUTH")
	}
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: sentinels.MasterName(), SentinelAddrs: sentinels.SentinelAddrs(), SentinelPassword: "other", Password: "secret",
	})
	defer client.Close()
	require.NoError(t, client.Do(t.Context(), "SET", "k", "v").Err())

	require.NoError(t, sentinels.Sentinels()[0].Restart(), "a sentinel remembers")
	sentinels.Sentinels()[1].Kill()
	master := failOver(t, sentinels)
	assert.Contains(t, ask(t, master, "AUTH secret\r\nROLE\r\n"), "OK")
	require.NoError(t, sentinels.Sentinels()[1].Restart())
	sentinels.Restart()
	assert.Equal(t, master, sentinels.Master())
}

func TestSentinelsOfOne(t *testing.T) {
	t.Parallel()
	sentinels := testserver.StartSentinel(t, 1, 1)
	old := sentinels.Master()
	master := failOver(t, sentinels)
	assert.NotEqual(t, old, master)
	assert.True(t, strings.HasPrefix(ask(t, master, "SET k v\r\n"), "+OK"))
}

func TestServersThatAreMissingSkipTheTest(t *testing.T) {
	for name, start := range map[string]func(testing.TB){
		"sentinels": func(t testing.TB) { testserver.StartSentinel(t, 1, 3) },
		"cluster":   func(t testing.TB) { testserver.StartCluster(t, 3) },
		"TLS":       func(t testing.TB) { testserver.StartRedisTLS(t) },
	} {
		skipped := false
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", "")
			t.Setenv(testserver.RequireEnv, "memcached")
			defer func() { skipped = t.Skipped() }()
			start(t)
		})
		assert.True(t, skipped, name)
	}
}
