package redisbackend

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// Open opens the servers that Settings.ResultBackend names, in Celery's dialect,
// and returns a backend over them; Close closes the connections. Nothing is
// connected to yet.
//
//	redis://[user:password@]host:port/db
//	rediss://…?ssl_cert_reqs=required&ssl_ca_certs=…&ssl_certfile=…&ssl_keyfile=…&ssl_check_hostname=true
//	redis+socket:///path?virtual_host=db
//	sentinel://a:26379/db;sentinel://b:26379/db  with the transport options master_name and sentinel_kwargs
//	redis+cluster://a:7000,b:7000                which Celery does not have; rediss+cluster:// with TLS
//
// What the URL leaves out, Settings.Redis fills in. The query may hold the
// parameters of redis-py's connections, such as socket_timeout; one that is
// unknown is an error, as is whatever Celery refuses, except that a rediss:// URL
// without ssl_cert_reqs is taken as required.
func Open(s celeryresults.Settings) (*celeryresults.Backend, error) {
	t, err := parse(s)
	if err != nil {
		return nil, fmt.Errorf("redisbackend: open: %w", err)
	}
	on := t.open()
	b, err := open(on, s, Options{})
	if err != nil {
		_ = on.close()
		return nil, err
	}
	return b, nil
}

func (t *target) open() server {
	switch t.kind {
	case sentinels:
		o := t.options().Failover()
		o.SentinelUsername, o.SentinelPassword = t.sentinel.Options.Username, t.sentinel.Options.Password
		client := redis.NewFailoverClient(o)
		return server{pool: inflight.Borrow[redis.UniversalClient](client, 0), subscriber: client, owned: []redis.UniversalClient{client}}
	case cluster:
		client := redis.NewClusterClient(t.options().Cluster())
		return server{
			pool: inflight.Borrow[redis.UniversalClient](client, 0), subscriber: client, owned: []redis.UniversalClient{client},
			sharded: true, repeats: true, // it follows slots by itself
		}
	}
	own := *t.config.Options
	own.Dialer = dialer(own.DialTimeout, t.secure)
	own.WriteTimeout, own.Protocol = subscribeTimeout, 2 // messages are read more quickly than in RESP3
	client := redis.NewClient(&own)
	return server{pool: redisclient.Open(t.config.Options), subscriber: client, owned: []redis.UniversalClient{client}}
}

// subscribeTimeout bounds how long a subscription may take to be sent.
const subscribeTimeout = 5 * time.Second

// dialer connects with a context that ends it at once, and then with what secure
// makes of the connection.
func dialer(timeout time.Duration, secure func(ctx context.Context, plain net.Conn, address string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{Timeout: timeout}
		plain, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return secure(ctx, plain, address)
	}
}

// secure speaks TLS where that is asked for: with the sentinels as sentinel_kwargs
// say, with all others as the URL does.
func (t *target) secure(ctx context.Context, plain net.Conn, address string) (net.Conn, error) {
	config := t.config.Options.TLSConfig
	if t.kind == sentinels && slices.Contains(t.hosts, address) {
		config = t.sentinel.Options.TLSConfig
	}
	if config == nil {
		return plain, nil
	}
	return redisclient.Secure(ctx, plain, address, config)
}

// options are those of sentinels and clusters, whose clients have many connections.
func (t *target) options() *redis.UniversalOptions {
	o := t.config.Options
	return &redis.UniversalOptions{
		Addrs: t.hosts, MasterName: t.master,
		Username: o.Username, Password: o.Password, DB: o.DB, ClientName: o.ClientName, Protocol: o.Protocol,
		PoolSize: o.PoolSize, PipelinePoolSize: o.PipelinePoolSize,
		DialTimeout: o.DialTimeout, DialerRetries: o.DialerRetries, ReadTimeout: o.ReadTimeout, WriteTimeout: o.WriteTimeout,
		MaxRetries: o.MaxRetries, ContextTimeoutEnabled: o.ContextTimeoutEnabled, DisableIdentity: o.DisableIdentity,
		MaintNotificationsConfig: o.MaintNotificationsConfig, Dialer: dialer(o.DialTimeout, t.secure),
	}
}
