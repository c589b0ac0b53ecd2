package testserver_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

// client speaks Redis' inline commands.
type redisClient struct {
	t *testing.T
	net.Conn
	replies *bufio.Reader
}

func dial(t *testing.T, addr string) *redisClient {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &redisClient{t, conn, bufio.NewReader(conn)}
}

func (c *redisClient) send(command string) {
	c.t.Helper()
	_, err := io.WriteString(c, command+"\r\n")
	require.NoError(c.t, err)
}

func (c *redisClient) reply() (string, error) {
	line, err := c.replies.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (c *redisClient) ask(command string) string {
	c.t.Helper()
	c.send(command)
	line, err := c.reply()
	require.NoError(c.t, err)
	return line
}

// silent checks that no byte arrives for a moment, and no end either.
func (c *redisClient) silent() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := c.reply()
	timeout := net.Error(nil)
	require.True(c.t, errors.As(err, &timeout) && timeout.Timeout(), "got %v", err)
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
}

// isReset checks that the connection ends with an error.
func (c *redisClient) isReset() {
	c.t.Helper()
	_, err := c.reply()
	require.ErrorIs(c.t, err, syscall.ECONNRESET)
}

// refuses checks that a new connection is reset, which connecting may see.
func refuses(t *testing.T, addr string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err == nil {
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func proxied(t *testing.T) (direct *redisClient, proxy *testserver.Proxy) {
	t.Helper()
	redis := testserver.StartRedis(t)
	return dial(t, redis.Addr()), testserver.StartProxy(t, redis.Addr())
}

func TestProxyForwards(t *testing.T) {
	_, proxy := proxied(t)
	first, second := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	large := strings.Repeat("x", 60_000)
	assert.Equal(t, "+OK", first.ask("SET k "+large))
	second.send("GET k")
	_, err := second.reply()
	require.NoError(t, err)
	line, err := second.reply()
	require.NoError(t, err)
	assert.Equal(t, large, line)
}

func TestProxyForwardsTheEndOfAConnection(t *testing.T) {
	_, proxy := proxied(t)
	client := dial(t, proxy.Addr())
	assert.Equal(t, "+OK", client.ask("QUIT"))
	_, err := client.reply()
	require.ErrorIs(t, err, io.EOF)
	half := dial(t, proxy.Addr())
	half.send("PING")
	require.NoError(t, half.Conn.(*net.TCPConn).CloseWrite())
	line, err := half.reply()
	require.NoError(t, err)
	assert.Equal(t, "+PONG", line)
}

func TestProxyReachesUnixSockets(t *testing.T) {
	socket := t.TempDir() + "/m.sock"
	testserver.StartMemcached(t, "-s", socket)
	client := dial(t, testserver.StartProxy(t, socket).Addr())
	assert.Contains(t, client.ask("version"), "VERSION ")
}

func TestProxyCutsAllConnections(t *testing.T) {
	_, proxy := proxied(t)
	first, second := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	first.ask("PING")
	second.ask("PING")
	proxy.Cut()
	first.isReset()
	second.isReset()
	assert.Equal(t, "+PONG", dial(t, proxy.Addr()).ask("PING"), "new connections work")
}

func TestProxyRefusesNewConnections(t *testing.T) {
	_, proxy := proxied(t)
	old := dial(t, proxy.Addr())
	old.ask("PING")
	proxy.Refuse(true)
	refuses(t, proxy.Addr())
	assert.Equal(t, "+PONG", old.ask("PING"))
	proxy.Refuse(false)
	assert.Equal(t, "+PONG", dial(t, proxy.Addr()).ask("PING"))
}

func TestProxyWithoutAServerResets(t *testing.T) {
	redis := testserver.StartRedis(t)
	proxy := testserver.StartProxy(t, redis.Addr())
	redis.Stop()
	refuses(t, proxy.Addr())
	require.NoError(t, redis.Restart())
	assert.Equal(t, "+PONG", dial(t, proxy.Addr()).ask("PING"))
}

func TestProxyHangsBothWays(t *testing.T) {
	direct, proxy := proxied(t)
	waiting, client := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	client.ask("PING")
	waiting.ask("PING")
	waiting.send("BLPOP list 0")
	require.Eventually(t, func() bool {
		direct.send("CLIENT LIST")
		_, err := direct.reply()
		require.NoError(t, err)
		for found := false; ; {
			line, err := direct.reply()
			require.NoError(t, err)
			if found = found || strings.Contains(line, "cmd=blpop"); line == "" {
				return found
			}
		}
	}, 5*time.Second, 5*time.Millisecond)

	proxy.Hang(true)
	proxy.Hang(true)
	client.send("SET k v")
	late := dial(t, proxy.Addr())
	late.send("PING")
	direct.ask("RPUSH list x")
	for _, c := range []*redisClient{client, late, waiting} {
		c.silent()
	}
	assert.Equal(t, "$-1", direct.ask("GET k"), "the request is held back, too")

	proxy.Hang(false)
	for c, want := range map[*redisClient]string{client: "+OK", late: "+PONG", waiting: "*2"} {
		line, err := c.reply()
		require.NoError(t, err)
		assert.Equal(t, want, line)
	}
}

func TestProxyCutsWhatHangs(t *testing.T) {
	direct, proxy := proxied(t)
	client := dial(t, proxy.Addr())
	client.ask("PING")
	proxy.Hang(true)
	client.send("SET k v")
	client.silent()
	proxy.Cut()
	client.isReset()
	proxy.Hang(false)
	assert.Equal(t, "+PONG", dial(t, proxy.Addr()).ask("PING"))
	assert.Equal(t, "$-1", direct.ask("GET k"), "it never arrived")
}

func TestProxyEndsWhileItHangs(t *testing.T) {
	_, proxy := proxied(t)
	client := dial(t, proxy.Addr())
	client.ask("PING")
	proxy.Hang(true)
	client.send("PING")
	client.silent()
}

func TestProxyCutsAfterARequestThatIsDone(t *testing.T) {
	direct, proxy := proxied(t)
	client, other := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	client.ask("PING")
	other.ask("PING")
	proxy.CutAfterRequest(3)
	assert.Equal(t, ":1", client.ask("INCR n"))
	assert.Equal(t, ":2", other.ask("INCR n"))
	client.send("INCR n")
	client.isReset()
	assert.Equal(t, "$1", direct.ask("GET n"))
	line, err := direct.reply()
	require.NoError(t, err)
	assert.Equal(t, "3", line)
	assert.Equal(t, ":4", other.ask("INCR n"), "it happens once")

	proxy.CutAfterRequest(1)
	last := dial(t, proxy.Addr())
	last.send("CLIENT KILL TYPE normal SKIPME no")
	last.isReset()
	other = dial(t, proxy.Addr())

	proxy.CutAfterRequest(1)
	proxy.CutAfterRequest(0)
	assert.Equal(t, ":5", other.ask("INCR n"))
}

func TestProxyDropsMessages(t *testing.T) {
	for name, hello := range map[string]string{"RESP2": "", "RESP3": "HELLO 3"} {
		t.Run(name, func(t *testing.T) {
			direct, proxy := proxied(t)
			client, late := dial(t, proxy.Addr()), dial(t, proxy.Addr())
			start := map[string]string{"": "*", "HELLO 3": ">"}[hello]
			subscribe := func(c *redisClient) {
				t.Helper()
				if hello != "" {
					c.send(hello)
					c.skipTo("modules")
					c.lines(1)
				}
				c.send("SUBSCRIBE ch")
				assert.Equal(t, []string{start + "3", "$9", "subscribe", "$2", "ch", ":1"}, c.lines(6))
			}
			one := func(text string) []string { return []string{start + "3", "$7", "message", "$2", "ch", "$1", text} }

			subscribe(client)
			direct.ask("PUBLISH ch 1")
			assert.Equal(t, one("1"), client.lines(7))
			proxy.DropMessages(true)
			subscribe(late)
			assert.Equal(t, ":2", direct.ask("PUBLISH ch 2"))
			assert.Equal(t, ":2", direct.ask("PUBLISH ch 3"))
			client.send("UNSUBSCRIBE nothing")
			assert.Equal(t, []string{start + "3", "$11", "unsubscribe", "$7", "nothing", ":1"}, client.lines(6))
			require.Eventually(t, func() bool { return proxy.DroppedMessages() == 4 }, 5*time.Second, time.Millisecond)

			proxy.DropMessages(false)
			direct.ask("PUBLISH ch 4")
			for _, c := range []*redisClient{client, late} {
				assert.Equal(t, one("4"), c.lines(7))
			}
			assert.Equal(t, 4, proxy.DroppedMessages())
		})
	}
}

func TestProxyLeavesOtherProtocolsAlone(t *testing.T) {
	proxy := testserver.StartProxy(t, testserver.Memcached(t))
	proxy.DropMessages(true)
	assert.Contains(t, dial(t, proxy.Addr()).ask("version"), "VERSION ")
	assert.Zero(t, proxy.DroppedMessages())
}

// lines reads n lines.
func (c *redisClient) lines(n int) []string {
	c.t.Helper()
	var list []string
	for range n {
		line, err := c.reply()
		require.NoError(c.t, err)
		list = append(list, line)
	}
	return list
}

// skipTo reads up to a line.
func (c *redisClient) skipTo(line string) {
	c.t.Helper()
	for c.lines(1)[0] != line {
	}
}

func TestProxyCutsAfterACommit(t *testing.T) {
	postgres := testserver.StartPostgres(t)
	proxy := testserver.StartProxy(t, postgres.Addr())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	direct, err := pgx.Connect(ctx, postgres.URL())
	require.NoError(t, err)
	defer direct.Close(ctx)
	conn, err := pgx.Connect(ctx, strings.Replace(postgres.URL(), postgres.Addr(), proxy.Addr(), 1))
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = direct.Exec(ctx, "create table t (n int)")
	require.NoError(t, err)
	_, err = conn.Exec(ctx, "begin; insert into t values (1)")
	require.NoError(t, err)

	proxy.CutAfterRequest(1)
	_, err = conn.Exec(ctx, "commit")
	require.Error(t, err)
	var n int
	require.NoError(t, direct.QueryRow(ctx, "select n from t").Scan(&n))
	assert.Equal(t, 1, n)
}
