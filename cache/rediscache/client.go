package rediscache

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/internal/inflight"
)

// spare is the pool size of a client that is used for one operation at a time.
// After so many failures to connect go-redis answers with the last one for a
// while instead of trying; that should not be the first.
const spare = 100

// openServer makes a client for every connection, since go-redis does not say
// which of its connections an operation uses.
func openServer(o *redis.Options) *server {
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
		return secure(ctx, plain, address, config)
	}
}

func secure(ctx context.Context, plain net.Conn, address string, config *tls.Config) (net.Conn, error) {
	config = config.Clone()
	config.ServerName, _, _ = net.SplitHostPort(address)
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}
