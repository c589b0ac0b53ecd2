// Command run starts the test servers once, tells a command about them by the
// environment, and stops them when it ends:
//
//	go run ./internal/testserver/run -- go test ./...
//	go run ./internal/testserver/run -only redis,memcached -- go test ./cache/...
//
// It exits with the command's status. A server that cannot be started is
// reported in one line, and is fatal when CELERYRESULTS_TEST_REQUIRE names it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

// grace is how long an interrupted command has to end by itself.
const grace = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(status)
}

// run returns the exit status: the command's, 1 for a missing server, 2 for
// wrong usage.
func run(ctx context.Context, args []string, diagnostics io.Writer) int {
	services, command, err := parse(args, diagnostics)
	if err != nil {
		fmt.Fprintln(diagnostics, err)
		return 2
	}
	defer testserver.Shutdown()
	environment, err := start(services, diagnostics)
	if err != nil {
		fmt.Fprintln(diagnostics, err)
		return 1
	}
	return execute(ctx, command, environment, diagnostics)
}

func parse(args []string, diagnostics io.Writer) ([]*testserver.Service, []string, error) {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.SetOutput(diagnostics)
	only := flags.String("only", "", "start these servers only, such as redis,memcached")
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	if flags.NArg() == 0 {
		return nil, nil, errors.New("usage: run [-only redis,memcached,postgres,mysql] -- command …")
	}
	services, err := choose(*only)
	return services, flags.Args(), err
}

func choose(only string) ([]*testserver.Service, error) {
	all := testserver.Services()
	if only == "" {
		return all, nil
	}
	var chosen []*testserver.Service
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s *testserver.Service) bool { return s.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no server %q: there are redis, memcached, postgres and mysql", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// start opens all services at once and returns their environment variables.
func start(services []*testserver.Service, diagnostics io.Writer) ([]string, error) {
	var group sync.WaitGroup
	for _, service := range services {
		group.Go(func() { _, _ = service.Open() })
	}
	group.Wait()
	var environment []string
	for _, service := range services {
		url, err := service.Open()
		switch {
		case err == nil:
			environment = append(environment, service.Env+"="+url)
		case service.Required():
			return nil, fmt.Errorf("%s is required: %w", service.Name, err)
		default:
			fmt.Fprintf(diagnostics, "tests that need %s will not run: %v\n", service.Name, err)
		}
	}
	return environment, nil
}

func execute(ctx context.Context, command, environment []string, diagnostics io.Writer) int {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = grace
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		fmt.Fprintln(diagnostics, err)
		return 127
	}
	return exitStatus(cmd.ProcessState)
}

// exitStatus is 128 plus the signal's number for a command that a signal
// ended, as in a shell.
func exitStatus(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
