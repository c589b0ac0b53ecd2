package testserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

// The master is gone for a second before a failover begins: a busy machine
// keeps a healthy server from answering for less than that.
const sentinelConfig = `sentinel monitor %[1]s %[2]s %[3]s %[4]d
sentinel down-after-milliseconds %[1]s 1000
sentinel failover-timeout %[1]s 1000
sentinel parallel-syncs %[1]s 10
`

// sentinelPace makes sentinels look and talk more often than once in ten or two
// seconds, as far as the server (of version 7) knows the command.
var sentinelPace = []any{
	"SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PING-PERIOD", 200, "ASK-PERIOD", 200, "PUBLISH-PERIOD", 300, "TILT-PERIOD", 1000,
}

// Sentinels are a Redis master, its replicas, and the sentinels that watch
// them, for one test. Master and the methods that only tell addresses are safe
// for concurrent use; the others are for the test's own goroutine, which they
// end when the servers do not do their part.
type Sentinels struct {
	t                testing.TB
	servers          []*Server // Redis
	killed           []*Server // those of them that KillMaster killed
	sentinels        []*Server
	password         string // of Redis, "" for none
	sentinelPassword string
}

// StartSentinel starts a Redis master with replicas and sentinels for this
// test alone, waits until all know each other, and stops them when the test
// ends. 0 replicas are 1, and 0 sentinels are 3; more than half of the
// sentinels must see the master down.
//
// The arguments go to the Redis servers, those after "--sentinel" to the
// sentinels:
//
//	StartSentinel(t, 1, 3, "--requirepass", "secret", "--sentinel", "--requirepass", "other")
//
// A failover takes two seconds, and three more for each time that the votes of
// the sentinels split. Without the program the test is skipped as with Redis.
func StartSentinel(t testing.TB, replicas, sentinels int, args ...string) *Sentinels {
	t.Helper()
	redisArgs, sentinelArgs := args, []string(nil)
	if i := slices.Index(args, "--sentinel"); i >= 0 {
		redisArgs, sentinelArgs = args[:i], args[i+1:]
	}
	s := &Sentinels{t: t, password: passwordIn(redisArgs), sentinelPassword: passwordIn(sentinelArgs)}
	s.startServers(1+defaultTo(replicas, 1), redisArgs)
	master, sentinels := s.servers[0].addr, defaultTo(sentinels, 3)
	for range sentinels {
		s.sentinels = append(s.sentinels, private(t, redisService, func() (*Server, error) {
			return s.startSentinel(master, sentinels/2+1, sentinelArgs)
		}))
	}
	s.settle(master)
	return s
}

func defaultTo(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// MasterName returns the name under which the sentinels know the master.
func (s *Sentinels) MasterName() string { return "mymaster" }

// SentinelAddrs returns the hosts and ports of the sentinels.
func (s *Sentinels) SentinelAddrs() []string { return addrs(s.sentinels) }

// Sentinels returns the sentinels. A test may stop, kill and restart them as
// long as enough remain for what it asks of them.
func (s *Sentinels) Sentinels() []*Server { return slices.Clone(s.sentinels) }

// Master returns the host and port of the current master, as the first
// sentinel that answers tells it.
func (s *Sentinels) Master() string {
	s.t.Helper()
	var failures error
	for _, sentinel := range s.sentinels {
		addr, err := s.masterOf(sentinel)
		if err == nil {
			return addr
		}
		failures = errors.Join(failures, err)
	}
	s.t.Errorf("testserver: no sentinel answers: %v", failures)
	return ""
}

// KillMaster kills the master with SIGKILL and returns the host and port of the
// new one as soon as it serves and all sentinels that run announce it.
func (s *Sentinels) KillMaster() string {
	s.t.Helper()
	old := serverAt(s.t, s.servers, s.Master())
	old.Kill()
	s.killed = append(s.killed, old)
	var master string
	eventually(s.t, "new master", func() (err error) {
		master, err = s.newMaster(old.addr)
		return err
	})
	return master
}

// Restart starts what KillMaster killed, as replicas of the current master,
// and returns when all sentinels find everybody well.
func (s *Sentinels) Restart() {
	s.t.Helper()
	master := s.Master()
	for _, server := range s.killed {
		server.follow(master)
		if err := server.Restart(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.killed = nil
	s.settle(master)
}

// startServers starts a master and its replicas, and waits until they are
// linked: sentinels learn of late ones after ten seconds only.
func (s *Sentinels) startServers(n int, args []string) {
	s.t.Helper()
	for range n {
		server := private(s.t, redisService, func() (*Server, error) {
			return startMember(s.master(), memberArgs(args))
		})
		s.servers = append(s.servers, server)
	}
	for _, server := range s.servers {
		eventually(s.t, "replication", func() error { return isLinked(server.addr, s.password) })
	}
}

// master returns the address of the first server, "" before there is one.
func (s *Sentinels) master() string {
	if len(s.servers) == 0 {
		return ""
	}
	return s.servers[0].addr
}

// memberArgs are the arguments of a Redis that replicates without delay, with
// the same password for replicas as for clients.
func memberArgs(args []string) []string {
	ours := []string{"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"}
	if password := passwordIn(args); password != "" {
		ours = append(ours, "--masterauth", password)
	}
	return append(ours, args...)
}

// startMember starts a Redis, as a replica unless master is "". It is stopped
// by SIGKILL, as it would wait for replicas otherwise.
func startMember(master string, args []string) (*Server, error) {
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	return startServer(func(port string) (program, error) {
		p, err := redisProgram(path, port, args)
		p.stop = syscall.SIGKILL
		if master != "" {
			p.args = following(p.args, master)
		}
		return p, err
	})
}

// follow makes the server a replica of the master when it starts again.
func (s *Server) follow(master string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.args = following(s.args, master)
}

// following returns the arguments with a master, instead of an earlier one.
func following(args []string, master string) []string {
	const option = "--replicaof" // comes last, so that it can be replaced
	if i := slices.Index(args, option); i >= 0 {
		args = args[:i]
	}
	host, port, _ := net.SplitHostPort(master)
	return append(slices.Clip(args), option, host, port)
}

func (s *Sentinels) startSentinel(master string, quorum int, args []string) (*Server, error) {
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	host, masterPort, _ := net.SplitHostPort(master)
	config := fmt.Sprintf(sentinelConfig, s.MasterName(), host, masterPort, quorum)
	if s.password != "" {
		config += fmt.Sprintf("sentinel auth-pass %s %s\n", s.MasterName(), s.password)
	}
	return startServer(func(port string) (program, error) {
		dir, err := newFolder(nil)
		if err != nil {
			return program{}, err
		}
		file := filepath.Join(dir, "sentinel.conf")
		addr := net.JoinHostPort("127.0.0.1", port)
		ours := []string{file, "--sentinel", "--bind", "127.0.0.1", "--port", port, "--dir", dir}
		return program{
			path: path, dir: dir, addr: addr, url: "redis://" + addr, args: withPort(ours, args, port),
			probe: s.probeSentinel, stop: syscall.SIGKILL,
		}, writeAs(nil, file, config)
	})
}

// probeSentinel sets the pace of a sentinel that serves.
func (s *Sentinels) probeSentinel(addr string) error {
	if err := answers("PING\r\n", "-LOADING")(addr); err != nil {
		return err
	}
	_, err := askRedis(addr, s.sentinelPassword, func(ctx context.Context, c *redis.Client) (any, error) {
		return c.Do(ctx, sentinelPace...).Result()
	})
	if refusal := redis.Error(nil); errors.As(err, &refusal) {
		return nil // an older one is slower
	}
	return err
}

// settle waits until all sentinels that run find everybody well.
func (s *Sentinels) settle(master string) {
	s.t.Helper()
	for _, sentinel := range alive(s.sentinels) {
		eventually(s.t, "agreement of sentinels", func() error { return s.content(sentinel, master) })
	}
}

// content fails unless a sentinel knows the master, all its replicas and all
// the other sentinels, and finds them well.
func (s *Sentinels) content(sentinel *Server, wantMaster string) error {
	return s.ask(sentinel, func(ctx context.Context, c *redis.SentinelClient) error {
		master, err := c.Master(ctx, s.MasterName()).Result()
		if err != nil {
			return err
		}
		replicas, err := c.Replicas(ctx, s.MasterName()).Result()
		if err != nil {
			return err
		}
		well := func(replica map[string]string) bool {
			return replica["flags"] == "slave" && replica["master-link-status"] == "ok" &&
				net.JoinHostPort(replica["master-host"], replica["master-port"]) == wantMaster
		}
		switch {
		case net.JoinHostPort(master["ip"], master["port"]) != wantMaster, master["flags"] != "master",
			master["num-other-sentinels"] != fmt.Sprint(len(s.sentinels)-1):
			return fmt.Errorf("it knows the master %v", master)
		case len(replicas) != len(s.servers)-1, slices.ContainsFunc(replicas, func(r map[string]string) bool { return !well(r) }):
			return fmt.Errorf("it knows the replicas %v", replicas)
		}
		return nil
	})
}

// newMaster returns the master that all sentinels announce in place of the old
// one and that is ready for it.
func (s *Sentinels) newMaster(old string) (string, error) {
	var announced []string
	for _, sentinel := range alive(s.sentinels) {
		addr, err := s.masterOf(sentinel)
		if err != nil {
			return "", err
		}
		announced = append(announced, addr)
	}
	if slices.Contains(announced, old) || len(slices.Compact(announced)) != 1 {
		return "", fmt.Errorf("the sentinels announce %s", strings.Join(announced, ", "))
	}
	name, _, err := role(announced[0], s.password)
	if err == nil && name != "master" {
		err = fmt.Errorf("%s is no master yet", announced[0])
	}
	return announced[0], err
}

// masterOf returns the address of the master that a sentinel announces.
func (s *Sentinels) masterOf(sentinel *Server) (addr string, err error) {
	err = s.ask(sentinel, func(ctx context.Context, c *redis.SentinelClient) error {
		answer, err := c.GetMasterAddrByName(ctx, s.MasterName()).Result()
		if err != nil {
			return err
		}
		if len(answer) != 2 {
			return fmt.Errorf("strange address %q", answer)
		}
		addr = net.JoinHostPort(answer[0], answer[1])
		return nil
	})
	return addr, err
}

func (s *Sentinels) ask(sentinel *Server, f func(context.Context, *redis.SentinelClient) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	client := redis.NewSentinelClient(redisOptions(sentinel.addr, s.sentinelPassword))
	defer client.Close()
	if err := f(ctx, client); err != nil {
		return fmt.Errorf("sentinel %s: %w", sentinel.addr, err)
	}
	return nil
}
