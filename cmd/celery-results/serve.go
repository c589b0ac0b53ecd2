package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/observe"
	"github.com/celeryresults/celeryresults/observe/prometheus"
	"github.com/celeryresults/celeryresults/web"
)

const serveHelp = `Serves results over HTTP: pages for people at /, an API for programs under /api/
(its description is /api/openapi.json), and the URLs of django-celery-results.

It listens on this machine alone unless --listen says otherwise, and answers nobody
who does not know the token in --token-file: as a bearer token, or as the password of
any user, which browsers ask for. --no-auth takes everybody, and only goes with an
address of this machine. Put a proxy with TLS in front of anything else.

/metrics is for Prometheus, to those who know the token, with what the backends do; the
library has a dashboard for Grafana (observe/prometheus).

Results can only be read. --allow-forget lets people and programs delete them.
Tracebacks are left out without --show-tracebacks, and the values of arguments whose
names --redact lists are shown as ***.

It ends with an interrupt, after the requests under way; the exit status is 0 then, 2
when the settings are wrong, and 6 when it can't listen.`

const serveExample = `  celery-results serve --no-auth
  celery-results serve --listen :8080 --token-file /run/secrets/results --redact card,token`

// serveFlags are the flags of serve.
type serveFlags struct {
	listen, tokenFile                           string
	noAuth, allowForget, showTracebacks, strict bool
	redact                                      []string
}

func (c *cli) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Serve results over HTTP", Long: serveHelp, Example: serveExample,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return usage(cmd, "takes no arguments; --listen says where")
			case f.noAuth == (f.tokenFile != ""):
				return usage(cmd, "needs --token-file FILE, or --no-auth")
			case f.noAuth && !loopback(f.listen):
				return usage(cmd, "--no-auth only goes with an address of this machine, such as 127.0.0.1:8080")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "the `address` to listen on")
	flags.StringVar(&f.tokenFile, "token-file", "", "a `file` with the token that clients have to know")
	flags.BoolVar(&f.noAuth, "no-auth", false, "answer everybody on this machine")
	flags.BoolVar(&f.allowForget, "allow-forget", false, "let results be deleted")
	flags.BoolVar(&f.showTracebacks, "show-tracebacks", false, "show tracebacks")
	flags.BoolVar(&f.strict, "unknown-404", false, "answer django-celery-results' URLs with 404 for what nobody knows")
	flags.StringSliceVar(&f.redact, "redact", nil, "`names` of arguments whose values are not shown")
	return cmd
}

// withMetrics serves metrics, too: ours, the runtime's and the process's.
func withMetrics(h http.Handler, m *prometheus.Metrics, authorize web.Authorizer) http.Handler {
	registry := client.NewRegistry()
	registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	served := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		if authorize(r, web.Read) != nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="celery results", charset="UTF-8"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		served.ServeHTTP(w, r)
	})
	return mux
}

// loopback reports whether an address is of this machine alone.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errNoToken is a token that everybody could guess.
var errNoToken = errors.New("has no token: one line of 16 characters or more")

const shortestToken = 16

func readToken(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := string(bytes.TrimSpace(data))
	if len(token) < shortestToken || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("--token-file %s %w", file, errNoToken)
	}
	return token, nil
}

// limits are those of requests, and of the time that those under way have at the end.
type limits struct {
	read, idle, end time.Duration
	header          int   // bytes
	body            int64 // bytes
}

var usualLimits = limits{read: 10 * time.Second, idle: 2 * time.Minute, end: 10 * time.Second, header: 64 << 10, body: 64 << 10}

// newServer has no limit of the time to answer in: streams last, and all else has the limit of
// the store.
func newServer(h http.Handler, l limits) *http.Server {
	return &http.Server{
		Handler: http.MaxBytesHandler(h, l.body), ReadHeaderTimeout: l.read, ReadTimeout: l.read, IdleTimeout: l.idle, MaxHeaderBytes: l.header,
	}
}

func (c *cli) serve(ctx context.Context, f serveFlags) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	authorize := web.Authorizer(web.Anybody)
	if !f.noAuth {
		token, err := readToken(f.tokenFile)
		if err != nil {
			return withStatus(statusUsage, err)
		}
		authorize = web.Token(token)
	}
	app, err := backends.Open(s)
	if err != nil {
		return withStatus(statusUsage, err)
	}
	metrics := prometheus.New()
	app = observe.App(app, observe.Decoding(metrics))
	defer app.Close()
	handler, err := web.New(web.Options{
		App: app, Authorize: authorize, AllowForget: f.allowForget, ShowTracebacks: f.showTracebacks, UnknownIs404: f.strict, Redact: f.redact,
		Log: slog.New(slog.NewTextHandler(c.stderr, nil)),
	})
	if err != nil {
		return withStatus(statusUsage, err)
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	if _, err := io.WriteString(c.stderr, "celery-results: serving on http://"+listener.Addr().String()+"/\n"); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := newServer(withMetrics(handler, metrics, authorize), usualLimits)
	server.RegisterOnShutdown(func() { _ = handler.Close() }) // streams would not end by themselves
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop() // another signal ends it at once
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), usualLimits.end)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("serve: requests under way were broken off after %s: %w", usualLimits.end, errors.Join(err, server.Close()))
	}
	return nil
}
