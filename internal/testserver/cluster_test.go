package testserver_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	for masters, want := range map[int]int{0: 3, 1: 1, 2: 2} {
		t.Run(fmt.Sprint(masters), func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			cluster := testserver.StartCluster(t, masters)
			t.Logf("started after %s", time.Since(begin))
			require.Len(t, cluster.Addrs(), want)
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
			defer client.Close()
			used := make(map[string]bool)
			for i := range 50 {
				key := fmt.Sprint("key", i)
				require.NoError(t, client.Set(t.Context(), key, i, 0).Err())
				used[cluster.Master(key)] = true
			}
			assert.Len(t, used, want)
		})
	}
}

func TestClusterNodesRestart(t *testing.T) {
	t.Parallel()
	cluster := testserver.StartCluster(t, 3, "--requirepass", "secret")
	addr := cluster.Master("k")
	assert.Contains(t, ask(t, addr, "PING\r\n"), "-NOAUTH")
	for _, server := range cluster.Servers() {
		server.Kill()
	}
	for _, server := range cluster.Servers() {
		require.NoError(t, server.Restart())
	}
	cluster.Restart() // of nothing, to wait for all nodes
	assert.Equal(t, addr, cluster.Master("k"))
	require.NoError(t, member(t, addr).Set(t.Context(), "k", "v", 0).Err())
}

func TestClusterFailsOver(t *testing.T) {
	t.Parallel()
	cluster := testserver.StartCluster(t, 3, "--requirepass", "secret")
	begin := time.Now()
	cluster.AddReplicas()
	t.Logf("replicas after %s", time.Since(begin))
	require.Len(t, cluster.Addrs(), 6)
	first := cluster.Master("k")
	writeTwice(t, first)

	begin = time.Now()
	second := cluster.KillMaster("k")
	t.Logf("failed over after %s", time.Since(begin))
	assert.NotEqual(t, first, second)
	assert.Equal(t, second, cluster.Master("k"))
	assert.Equal(t, "v", member(t, second).Get(t.Context(), "k").Val())

	begin = time.Now()
	cluster.Restart()
	t.Logf("restarted after %s", time.Since(begin))
	assert.Equal(t, second, cluster.Master("k"))
	assert.Equal(t, first, cluster.KillMaster("k"), "the old one was its replica")
	assert.Equal(t, "v", member(t, first).Get(t.Context(), "k").Val())
}

// member returns a client for one node: one for the cluster takes a while to
// notice a failover, and that is not what we test here.
func member(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Password: "secret"})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// writeTwice sets k to v on a master and waits until its replica has it, too.
func writeTwice(t *testing.T, master string) {
	t.Helper()
	conn := member(t, master).Conn() // WAIT is about writes of its connection
	defer conn.Close()
	require.NoError(t, conn.Set(t.Context(), "k", "v", 0).Err())
	copies, err := conn.Do(t.Context(), "WAIT", 1, 2000).Int()
	require.NoError(t, err)
	require.Equal(t, 1, copies)
}
