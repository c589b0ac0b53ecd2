// Package redisclient makes go-redis clients for what Python programs write down
// about a Redis server: the parameters of redis-py's connections, with its TLS.
package redisclient

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/celeryresults/celeryresults/internal/inflight"
)

// DefaultPoolSize is how many connections a client has at most.
const DefaultPoolSize = 64

// Base are the options that no URL changes, and the defaults.
//
// Commands are repeated by the store, which knows which may be, and not by the
// client. The client's second pool, for pipelines, is not wanted.
func Base() *redis.Options {
	return &redis.Options{
		PoolSize:              DefaultPoolSize,
		PipelinePoolSize:      -1,
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

// Pool runs operations on one server, or on the caller's client.
type Pool = inflight.Pool[redis.UniversalClient]

// spare is the pool size of a client that is used for one operation at a time.
// After so many failures to connect go-redis answers with the last one for a
// while instead of trying; that should not be the first.
const spare = 100

// Open makes a client for every connection, since go-redis does not say which of
// its connections an operation uses.
func Open(o *redis.Options) *Pool {
	return inflight.Open(o.PoolSize, func(line *inflight.Line) redis.UniversalClient {
		own := *o
		own.PoolSize = spare
		own.Dialer = dialer(line, o.TLSConfig)
		return redis.NewClient(&own)
	}, redis.UniversalClient.Close)
}

// dialer connects through the line, with TLS if config is set.
func dialer(line *inflight.Line, config *tls.Config) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		plain, err := line.Dial(ctx, network, address)
		if err != nil || config == nil {
			return plain, err
		}
		return Secure(ctx, plain, address, config)
	}
}

// Secure speaks TLS on a connection to the address, whose host the server's
// certificate must name. It closes the connection when that fails, which is a failure
// to dial: nothing was sent.
func Secure(ctx context.Context, plain net.Conn, address string, config *tls.Config) (net.Conn, error) {
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: plain.RemoteAddr(), Err: err}
	}
	return conn, nil
}
