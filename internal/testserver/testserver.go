// Package testserver finds or starts the servers that tests talk to: Redis,
// memcached, PostgreSQL and MariaDB or MySQL.
//
// Each server is looked for in this order: the address in its environment
// variable, then its program on this machine, started once per test process on
// a free port in a temporary folder. When neither is there the test is
// skipped with the reason, or fails if CELERYRESULTS_TEST_REQUIRE names the
// server ("redis,postgres", or "all").
//
//	CELERYRESULTS_TEST_REDIS_URL       redis://host:port
//	CELERYRESULTS_TEST_MEMCACHED_ADDR  host:port
//	CELERYRESULTS_TEST_POSTGRES_URL    postgres://user:password@host:port/database
//	CELERYRESULTS_TEST_MYSQL_URL       mysql://user:password@host:port/database
//
// The SQL accounts must be allowed to create databases. The Redis and
// memcached servers are shared: tests isolate themselves by key prefix and
// never flush. A package that uses the shared servers has
//
//	func TestMain(m *testing.M) { testserver.Main(m) }
//
// The servers die with the test process, even when it is killed.
package testserver

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// RequireEnv is the environment variable that lists, separated by commas, the
// servers without which a test fails instead of being skipped. "all" names
// every one.
const RequireEnv = "CELERYRESULTS_TEST_REQUIRE"

// Service is one of the four servers, shared by all tests of the process.
type Service struct {
	// Name is redis, memcached, postgres or mysql.
	Name string

	// Env is the environment variable that holds the URL or address of a
	// running server.
	Env string

	start  func() (*Server, error)
	once   sync.Once
	server *Server
	url    string
	err    error
}

var (
	redisService     = &Service{Name: "redis", Env: "CELERYRESULTS_TEST_REDIS_URL", start: startSharedRedis}
	memcachedService = &Service{Name: "memcached", Env: "CELERYRESULTS_TEST_MEMCACHED_ADDR", start: startSharedMemcached}
	postgresService  = &Service{Name: "postgres", Env: "CELERYRESULTS_TEST_POSTGRES_URL", start: startSharedPostgres}
	mysqlService     = &Service{Name: "mysql", Env: "CELERYRESULTS_TEST_MYSQL_URL", start: startSharedMySQL}
)

// Services returns the four servers.
func Services() []*Service {
	return []*Service{redisService, memcachedService, postgresService, mysqlService}
}

// Open returns the URL (for memcached the host and port) of the shared server,
// starting it on the first call. It is safe for concurrent use.
func (s *Service) Open() (string, error) {
	s.once.Do(func() {
		if s.url = os.Getenv(s.Env); s.url != "" {
			return
		}
		if s.server, s.err = s.start(); s.err == nil {
			s.url = s.server.url
		}
	})
	return s.url, s.err
}

// Required reports whether CELERYRESULTS_TEST_REQUIRE names the server.
func (s *Service) Required() bool {
	names := strings.Split(os.Getenv(RequireEnv), ",")
	return slices.ContainsFunc(names, func(name string) bool {
		name = strings.TrimSpace(name)
		return name == "all" || name == s.Name
	})
}

// need returns the server's URL or ends the test.
func (s *Service) need(t testing.TB) string {
	t.Helper()
	address, err := s.Open()
	s.stopUnless(t, err)
	return address
}

// stopUnless skips the test, or fails it when the server is required.
func (s *Service) stopUnless(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case s.Required():
		t.Fatalf("testserver: %s is required: %v", s.Name, err)
	default:
		t.Skipf("no %s: %v", s.Name, err)
	}
}

// Redis returns the host and port of the shared Redis server.
func Redis(t testing.TB) string {
	t.Helper()
	address := redisService.need(t)
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		t.Fatalf("testserver: %s is not a redis:// URL", redisService.Env)
	}
	return u.Host
}

// Memcached returns the host and port of the shared memcached server.
func Memcached(t testing.TB) string {
	t.Helper()
	return memcachedService.need(t)
}

// Postgres returns the postgres:// URL of an empty database made for this
// test. It is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	admin := postgresService.need(t)
	return freshDatabase(t, admin, execPostgres, "create database %s", "drop database if exists %s with (force)")
}

// MySQL returns the mysql:// URL of an empty utf8mb4 database made for this
// test, on MariaDB or MySQL. It is dropped when the test ends.
func MySQL(t testing.TB) string {
	t.Helper()
	admin := mysqlService.need(t)
	return freshDatabase(t, admin, execMySQL, "create database %s character set utf8mb4", "drop database if exists %s")
}

// Main runs the tests, then stops the shared servers and removes their
// folders, and fails when the tests left goroutines behind. TestMain calls it.
func Main(m *testing.M) {
	code := m.Run()
	Shutdown()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "testserver: the tests left goroutines behind:", err)
		code = 1
	}
	os.Exit(code)
}

// Shutdown stops the shared servers that this process started and removes
// their folders. Call it once, at the end, where Main does not fit.
func Shutdown() {
	for _, s := range Services() {
		s.once.Do(func() { s.err = fmt.Errorf("testserver: shut down") })
		if s.server != nil {
			s.server.remove()
		}
	}
}
