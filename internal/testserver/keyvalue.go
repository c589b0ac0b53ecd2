package testserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// portMark stands for the server's port in the arguments of a private server.
const portMark = "{port}"

// StartRedis starts a Redis server for this test alone, without persistence,
// and stops it when the test ends. The arguments follow ours and win over
// them; "{port}" in them is the server's port, as in
//
//	StartRedis(t, "--port", "0", "--tls-port", "{port}", "--tls-cert-file", …)
//
// What it holds survives Stop, Kill and Restart when it is told to keep it:
//
//	StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
//
// Without the program the test is skipped as with Redis.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return private(t, redisService, func() (*Server, error) { return startRedis(args) })
}

// StartMemcached starts a memcached server for this test alone and stops it
// when the test ends. The arguments follow ours and win over them; "{port}" in
// them is the server's port. With "-s", path the server listens on that unix
// socket only, which Addr then returns. Without the program the test is
// skipped as with Memcached.
func StartMemcached(t testing.TB, args ...string) *Server {
	t.Helper()
	return private(t, memcachedService, func() (*Server, error) { return startMemcached(args) })
}

func private(t testing.TB, service *Service, start func() (*Server, error)) *Server {
	t.Helper()
	server, err := start()
	service.stopUnless(t, err)
	t.Cleanup(server.remove)
	return server
}

func startSharedRedis() (*Server, error) { return startRedis(nil) }

func startSharedMemcached() (*Server, error) { return startMemcached(nil) }

func startRedis(args []string) (*Server, error) {
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	return startServer(func(port string) (program, error) { return redisProgram(path, port, args) })
}

func findRedis() (string, error) { return find(nil, "redis-server", "valkey-server") }

func redisProgram(path, port string, args []string) (program, error) {
	dir, err := newFolder(nil)
	defaults := []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir}
	return program{
		path: path, dir: dir, addr: net.JoinHostPort("127.0.0.1", port), args: withPort(defaults, args, port),
		url: "redis://" + net.JoinHostPort("127.0.0.1", port), probe: answers("PING\r\n", "-LOADING"), stop: syscall.SIGTERM,
	}, err
}

func startMemcached(args []string) (*Server, error) {
	path, err := find([]string{"/usr/sbin"}, "memcached")
	if err != nil {
		return nil, err
	}
	return startServer(func(port string) (program, error) {
		dir, err := newFolder(nil)
		defaults := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64"}
		if os.Geteuid() == 0 {
			defaults = append(defaults, "-u", "root")
		}
		return program{
			path: path, dir: dir, addr: memcachedAddr(args, port), args: withPort(defaults, args, port),
			url: memcachedAddr(args, port), probe: answers("version\r\n", ""), stop: syscall.SIGKILL,
		}, err
	})
}

func memcachedAddr(args []string, port string) string {
	if i := slices.Index(args, "-s"); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func withPort(defaults, args []string, port string) []string {
	all := slices.Clone(defaults)
	for _, arg := range args {
		all = append(all, strings.ReplaceAll(arg, portMark, port))
	}
	return all
}

// answers returns a probe: the server is ready when it reacts to the request
// in any way but with notYet, also by hanging up, as one that wants TLS does.
func answers(request, notYet string) func(addr string) error {
	return func(addr string) error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(context.Background(), network(addr), addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		return reaction(conn, notYet)
	}
}

func reaction(conn net.Conn, notYet string) error {
	reply := make([]byte, 64)
	n, err := conn.Read(reply)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	if notYet != "" && bytes.HasPrefix(reply[:n], []byte(notYet)) {
		return errors.New(string(reply[:n]))
	}
	return nil
}

func network(addr string) string {
	if strings.HasPrefix(addr, "/") {
		return "unix"
	}
	return "tcp"
}
