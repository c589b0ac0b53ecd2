package testserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 5 * time.Second
	portAttempts = 3
)

// Server is a server process on a port of the loopback interface. Its methods
// are safe for concurrent use.
type Server struct {
	program

	mu      sync.Mutex
	running *process // nil when stopped
}

// program says how to run a server.
type program struct {
	path    string
	dir     string                  // its own folder, removed at the end
	addr    string                  // host:port, or the path of a unix socket
	url     string                  // as in the service's environment variable
	args    []string                // with the port in place
	account *user.User              // to run as; nil is the current user
	probe   func(addr string) error // nil error: ready to serve
	stop    syscall.Signal          // what ends it quickly and tidily
}

// Addr returns the host and port, or the path of the unix socket.
func (s *Server) Addr() string { return s.addr }

// URL returns the server's address in the form of its service's environment
// variable, such as redis://host:port, without what arguments of the test add
// to it (a password, TLS).
func (s *Server) URL() string { return s.url }

// Stop ends the process and waits for it. Stopping twice does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.end(s.stop)
		s.running = nil
	}
}

// Kill ends the process with SIGKILL, as a crash or a lack of memory would, and
// waits for it. Killing one that has ended does nothing. Restart starts it
// again.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != nil {
		s.running.end(syscall.SIGKILL)
		s.running = nil
	}
}

// alive reports whether the process runs.
func (s *Server) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running != nil && !s.running.ended()
}

// Restart stops the process if it runs, starts it again on the same port and
// waits until it serves. What it held in memory is gone, what it has on disk
// stays.
func (s *Server) Restart() error {
	s.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	running, err := s.launch()
	s.running = running
	return err
}

func (s *Server) remove() {
	s.Stop()
	removeFolder(s.dir)
}

// startServer starts the program that build describes for a free port. A port
// that somebody else takes first costs another attempt.
func startServer(build func(port string) (program, error)) (*Server, error) {
	var err error
	for range portAttempts {
		var p program
		if p, err = build(freePort()); err != nil {
			return nil, err
		}
		server := &Server{program: p}
		if err = server.Restart(); err == nil {
			return server, nil
		}
		server.remove()
	}
	return nil, err
}

// Ports of ours are below those that systems hand to outgoing connections, so
// that a server that is down for a while finds its own free again. So are the
// ports of the cluster bus, which are busOffset higher.
const (
	lowestPort = 10_000
	ports      = 10_000
	busOffset  = 10_000
)

// freePort returns a port that is free, and whose bus port is.
func freePort() string {
	for range 1000 {
		port := lowestPort + rand.IntN(ports)
		if unused(port) && unused(port+busOffset) {
			return strconv.Itoa(port)
		}
	}
	return "0"
}

func unused(port int) bool {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// launch starts the process and waits until the probe succeeds.
func (p program) launch() (*process, error) {
	log, err := os.Create(filepath.Join(p.dir, "server.log"))
	if err != nil {
		return nil, fmt.Errorf("testserver: %w", err)
	}
	defer log.Close()
	cmd := p.command(p.path, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	running, err := startProcess(cmd)
	if err != nil {
		return nil, fmt.Errorf("testserver: start %s: %w", p.path, err)
	}
	if err := p.await(running); err != nil {
		running.end(syscall.SIGKILL)
		return nil, fmt.Errorf("testserver: start %s: %w: %s", p.path, err, tail(log.Name()))
	}
	return running, nil
}

// command prepares a program of this server: in its folder and as its user.
func (p program) command(path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), path, args...)
	cmd.Dir = p.dir
	cmd.SysProcAttr = processAttributes(p.account, p.stop)
	if p.account != nil {
		cmd.Env = append(os.Environ(), "HOME="+p.dir, "USER="+p.account.Username)
	}
	return cmd
}

// await polls the probe until it succeeds, the process ends or time is up.
func (p program) await(running *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := p.probe(p.addr)
		if err == nil && !running.ended() {
			return nil
		}
		select {
		case <-running.done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

func tail(file string) string {
	const most = 2000
	content, _ := os.ReadFile(file)
	return strings.TrimSpace(string(content[max(0, len(content)-most):]))
}

// process is a child that one goroutine started and waits for.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// startProcess starts the command on a thread of its own that lives as long as
// the child: Linux sends the parent-death signal when that thread ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
	}()
	return p, <-started
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal) // fails only when it has ended already
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// find returns the first of the programs that exists, in PATH or in one of the
// folders (glob patterns, the last match first).
func find(folders []string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, folder := range folders {
			matches, _ := filepath.Glob(filepath.Join(folder, name))
			if len(matches) > 0 {
				return matches[len(matches)-1], nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed", strings.Join(names, " or "))
}

// unprivileged returns the first of the accounts that exists when the process
// is root, and nil when it is not: some servers refuse to run as root.
func unprivileged(names ...string) (*user.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		if account, err := user.Lookup(name); err == nil {
			return account, nil
		}
	}
	return nil, fmt.Errorf("testserver: running as root and no account %s to start it with", strings.Join(names, " or "))
}
