package testserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	commandTimeout = 2 * time.Second
	settleTimeout  = 60 * time.Second // for servers to agree, on a busy machine
)

// redisOptions are those of a client for a few commands.
func redisOptions(addr, password string) *redis.Options {
	return &redis.Options{
		Addr: addr, Password: password, Protocol: 2, DisableIdentity: true, PoolSize: 1,
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: commandTimeout, ReadTimeout: commandTimeout, WriteTimeout: commandTimeout,
	}
}

// askRedis gives f a client of its own.
func askRedis[T any](addr, password string, f func(context.Context, *redis.Client) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	client := redis.NewClient(redisOptions(addr, password))
	defer client.Close()
	answer, err := f(ctx, client)
	if err != nil {
		err = fmt.Errorf("%s: %w", addr, err)
	}
	return answer, err
}

// role says what a server is: "master", or "slave" and whether it is linked to
// its master.
func role(addr, password string) (name string, linked bool, err error) {
	answer, err := askRedis(addr, password, func(ctx context.Context, c *redis.Client) ([]any, error) {
		return c.Do(ctx, "ROLE").Slice()
	})
	if err != nil || len(answer) == 0 {
		return "", false, errors.Join(err, errors.New("no role"))
	}
	name, _ = answer[0].(string)
	return name, len(answer) > 3 && answer[3] == "connected", nil
}

// isLinked fails when a server is neither a master nor a replica that is
// linked to its master.
func isLinked(addr, password string) error {
	name, linked, err := role(addr, password)
	if err == nil && name != "master" && !linked {
		err = fmt.Errorf("%s is not linked to its master", addr)
	}
	return err
}

// passwordIn returns the value of --requirepass among arguments.
func passwordIn(args []string) string {
	if i := slices.Index(args, "--requirepass"); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// alive returns the servers whose processes run.
func alive(servers []*Server) []*Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s *Server) bool { return !s.alive() })
}

// addrs returns the addresses of servers.
func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.addr
	}
	return list
}

// serverAt returns the server with the address or ends the test.
func serverAt(t testing.TB, servers []*Server, addr string) *Server {
	t.Helper()
	i := slices.IndexFunc(servers, func(s *Server) bool { return s.addr == addr })
	if i < 0 {
		t.Fatalf("testserver: %s is none of %v", addr, addrs(servers))
	}
	return servers[i]
}

// eventually checks until there is no error, and ends the test when that takes
// too long.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(settleTimeout); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("testserver: no %s after %s: %v", what, settleTimeout, err)
		}
	}
}
