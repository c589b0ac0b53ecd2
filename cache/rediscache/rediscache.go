// Package rediscache keeps cache entries in Redis, where Django's
// django.core.cache.backends.redis.RedisCache (Django 4.0 and later) finds
// them: each under its key, as it is, with Redis' own expiry.
//
// [Open] takes an entry of Django's CACHES. [New] works over go-redis clients
// that the program already has. With several locations the first is written to
// and the others are read from, as in Django; a read may then trail a write.
//
// go-redis logs connection failures through a logger of its own, which is
// global to the process and writes to the standard error stream. It is the
// program's to set, with redis.SetLogger.
package rediscache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// maxValue is the longest string that Redis holds.
const maxValue = 512 << 20

// Store is a [cache.Store] in Redis. It offers all the optional interfaces of
// package cache. It is safe for concurrent use.
type Store struct {
	writer   *server
	replicas []*server
}

// server runs operations on one location, or on the caller's client.
type server = redisclient.Pool

var _ interface {
	cache.Store
	cache.Swapper
	cache.ManyGetter
	cache.ManySetter
	cache.ManyDeleter
	cache.Counter
	cache.Clearer
} = (*Store)(nil)

// New returns a store over clients that the caller owns and closes. Writes go
// to writer; reads go to any of the replicas, or to writer when there is none.
//
// Let the clients have ContextTimeoutEnabled set, so that a deadline also ends
// the command that it left behind. A client that repeats commands by itself
// (MaxRetries, which is 3 by default) may count twice in Incr, and may report
// false for an Add or CompareAndSwap that took effect, when a connection
// breaks. Open's clients do not.
func New(writer redis.UniversalClient, replicas ...redis.UniversalClient) *Store {
	store := &Store{writer: inflight.Borrow(writer, 0)}
	for _, replica := range replicas {
		store.replicas = append(store.replicas, inflight.Borrow(replica, 0))
	}
	return store
}

// Open returns a store for one entry of Django's CACHES, of which it uses
// Location and, in Options, Username, Password, DB, PoolSize and the TLS
// fields. It connects when the first operation needs it. Close the store.
//
// A location is redis://, rediss:// (TLS) or unix:// and may carry the query
// parameters of redis-py; redis+socket:// is Celery's spelling of unix://. One
// text may hold several locations, separated by commas or semicolons. What the
// location says goes before Options.
func Open(s cache.Settings) (*Store, error) {
	locations := splitLocations(s.Location)
	if len(locations) == 0 {
		return nil, errors.New("rediscache: no location")
	}
	var servers []*server
	for i, location := range locations {
		options, err := clientOptions(location, s.Options)
		if err != nil {
			return nil, fmt.Errorf("rediscache: location %d: %w", i+1, err)
		}
		servers = append(servers, redisclient.Open(options))
	}
	return &Store{writer: servers[0], replicas: servers[1:]}, nil
}

// Traits describes the store.
func (s *Store) Traits() cache.Traits {
	return cache.Traits{Name: "redis", MaxValue: maxValue, Resolution: time.Millisecond}
}

// Close ends the operations under way and closes Open's connections. It waits
// for operations on the caller's clients.
func (s *Store) Close() error {
	errs := []error{s.writer.Close()}
	for _, replica := range s.replicas {
		errs = append(errs, replica.Close())
	}
	return errors.Join(errs...)
}

// reader picks a replica as Django's RedisCacheClient does.
func (s *Store) reader() *server {
	if len(s.replicas) == 0 {
		return s.writer
	}
	return s.replicas[rand.IntN(len(s.replicas))]
}

// once runs a command that must not be sent twice.
func once[T any](ctx context.Context, on *server, command func(redis.UniversalClient) (T, error)) (T, error) {
	return inflight.Run(ctx, on, command)
}

// again runs a command that may be sent twice: it is, if the server hung up.
func again[T any](ctx context.Context, on *server, command func(redis.UniversalClient) (T, error)) (T, error) {
	return inflight.Run(ctx, on, func(client redis.UniversalClient) (T, error) {
		value, err := command(client)
		if inflight.Lost(err) && ctx.Err() == nil {
			return command(client)
		}
		return value, err
	})
}

// fail says what failed, or passes on the errors that callers test for.
func fail(ctx context.Context, operation, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, inflight.ErrClosed), errors.Is(err, redis.ErrClosed):
		return cache.ErrClosed
	}
	named := fmt.Errorf("rediscache: %s %q: %w", operation, key, err)
	if key == "" {
		named = fmt.Errorf("rediscache: %s: %w", operation, err)
	}
	if redisclient.Transient(err) {
		return &cache.UnavailableError{Err: named, Sent: !redisclient.Answered(err) && !redisclient.Unsent(err)}
	}
	return named
}
