package testserver_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
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

func TestPrivateSQLServersKeepTheirData(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *testserver.Server{
		"postgres": func(t testing.TB) *testserver.Server {
			return testserver.StartPostgres(t, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_connections=17")
		},
		"mysql": func(t testing.TB) *testserver.Server {
			return testserver.StartMySQL(t, "--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1", "--max-connections=17")
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			url, addr := server.URL(), server.Addr()
			assert.True(t, strings.HasPrefix(url, name+"://"), "got %s", url)
			assert.Contains(t, url, addr)
			assert.Empty(t, query(t, url, "select table_name from information_schema.tables where table_schema in ('public', 'celery')"))
			limit := map[string]string{"postgres": "show max_connections", "mysql": "select @@max_connections"}[name]
			assert.Equal(t, []string{"17"}, query(t, url, limit))
			query(t, url, "create table t (n int)")
			for i, want := range [][]string{{"0"}, {"0", "1"}, {"0", "1", "2"}} {
				query(t, url, fmt.Sprintf("insert into t values (%d)", i))
				require.NoError(t, server.Restart())
				assert.Equal(t, want, query(t, url, "select n from t order by n"))
			}
			assert.Equal(t, addr, server.Addr())
			assert.Equal(t, url, server.URL())
		})
	}
}

func TestPrivateRedisKeepsItsData(t *testing.T) {
	redis := testserver.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	for i, end := range []func(){redis.Stop, redis.Kill, func() {}, redis.Kill} {
		want := strings.Repeat("x", i+1)
		assert.Equal(t, fmt.Sprintf(":%d\r\n", i+1), ask(t, redis.Addr(), "APPEND k x\r\n"))
		end()
		require.NoError(t, redis.Restart())
		assert.Equal(t, fmt.Sprintf("$%d\r\n%s\r\n", i+1, want), ask(t, redis.Addr(), "GET k\r\n"))
	}
}

func TestPrivateServerIsKilled(t *testing.T) {
	for _, server := range []*testserver.Server{testserver.StartRedis(t), testserver.StartMemcached(t)} {
		server.Kill()
		_, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Addr())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		server.Kill()
		server.Stop()
		require.NoError(t, server.Restart())
		assert.NotEmpty(t, ask(t, server.Addr(), "version\r\n"))
	}
}

func TestPrivateServersAreApart(t *testing.T) {
	first, second := testserver.StartPostgres(t), testserver.StartPostgres(t)
	assert.NotEqual(t, first.Addr(), second.Addr())
	query(t, first.URL(), "create table t (n int)")
	assert.Empty(t, query(t, second.URL(), "select table_name from information_schema.tables where table_schema = 'public'"))
}

func TestPrivateServersTellTheirURL(t *testing.T) {
	redis, memcached := testserver.StartRedis(t), testserver.StartMemcached(t)
	assert.Equal(t, "redis://"+redis.Addr(), redis.URL())
	assert.Equal(t, memcached.Addr(), memcached.URL())
}

// query returns the first column of what a statement answers.
func query(t *testing.T, address, statement string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	driver, source := "pgx", address
	if rest, ok := strings.CutPrefix(address, "mysql://"); ok {
		account, rest, _ := strings.Cut(rest, "@")
		host, name, _ := strings.Cut(rest, "/")
		driver, source = "mysql", account+"@tcp("+host+")/"+name
	}
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	defer db.Close()
	rows, err := db.QueryContext(ctx, statement)
	require.NoError(t, err, statement)
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		require.NoError(t, rows.Scan(&s))
		out = append(out, s)
	}
	require.NoError(t, rows.Err())
	return out
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
