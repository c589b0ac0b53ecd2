// Package redisbackend keeps results in Redis as Celery's own redis backend does:
// under the same keys, in the same bytes, with the same messages to those who wait.
//
// It follows celery.backends.redis.RedisBackend, with these differences:
//
//   - A SUCCESS stands, and the rule of celeryresults.State.MayReplace is decided
//     by Redis, in the round trip that stores.
//   - Waiting costs one connection for the whole backend, and what no message told
//     is found by asking.
//   - Chords that Go starts (celeryresults.Backend.StartChord) count different
//     members, under keys of their own. Chords that Python started follow Python's
//     rules.
//
// It needs Redis 5 or later, or a server that speaks like it.
//
// go-redis logs connection failures through a logger of its own, which is global
// to the process and writes to the standard error stream. It is the program's to
// set, with redis.SetLogger.
package redisbackend

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/celeryresults/celeryresults/internal/keys"
	"github.com/celeryresults/celeryresults/internal/redisclient"
	"github.com/celeryresults/celeryresults/internal/retry"
)

// Store is a driver.Store in Redis, which pushes results to those who wait,
// walks, tallies and keeps chords. New and Open return the Backend over one. All
// methods are safe for concurrent use.
type Store struct {
	driver.Unlisted
	*subscriber

	server   server
	keys     keys.Keys
	encoding *document.Encoding // of Celery's chords
	script   *redis.Script      // storeScript for the serializer
	seconds  int64              // groups and chords stay; 0: for ever
	ordered  bool               // chord parts are kept in a sorted set
	tallies  bool
	retries  retry.Policy // of Celery's chords
}

var (
	_ driver.Store   = (*Store)(nil)
	_ driver.Pusher  = (*Store)(nil)
	_ driver.Lister  = (*Store)(nil)
	_ driver.Claimer = (*Store)(nil)
)

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// ChordLease is how long a claim on a chord's body holds when the process
	// that has it no longer renews it. Default: a minute.
	ChordLease time.Duration
}

// server is where commands go.
type server struct {
	pool       *redisclient.Pool
	subscriber redis.UniversalClient // whose Subscribe is used; nil: none
	owned      []redis.UniversalClient

	// sharded is set when keys of one command must be of one slot.
	sharded bool

	// repeats is set when the client repeats commands by itself.
	repeats bool
}

// lost is told of failures of connections: a cluster may have new masters.
func (s server) lost() {
	if c, ok := s.subscriber.(*redis.ClusterClient); ok {
		c.ReloadState(context.Background())
	}
}

// close closes what is owned, once.
func (s server) close() error {
	errs := []error{s.pool.Close()}
	for _, client := range s.owned {
		if err := client.Close(); !errors.Is(err, redis.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// New returns a backend over a client that the caller owns and closes: of one
// server, of a Sentinel's master, of a cluster, or a Ring, whose shards have channels
// of their own, so that waits there ask. Of the settings it uses those of results,
// the serializers, the transport options and the retry settings.
//
// Let the client have ContextTimeoutEnabled set, so that a deadline also ends the
// command that it left behind.
func New(client redis.UniversalClient, s celeryresults.Settings, o Options) (*celeryresults.Backend, error) {
	if client == nil {
		return nil, errors.New("redisbackend: new: no client")
	}
	on := server{pool: inflight.Borrow(client, 0), subscriber: client, repeats: true}
	switch client.(type) {
	case *redis.ClusterClient:
		on.sharded = true
	case *redis.Ring:
		on.sharded, on.subscriber = true, nil
	}
	return open(on, s, o)
}

func open(on server, s celeryresults.Settings, o Options) (*celeryresults.Backend, error) {
	encoding, err := document.NewEncoding(s, traits)
	if err != nil {
		return nil, err
	}
	ordered := s.ResultBackendTransportOptions.ResultChordOrdered
	b := &Store{
		server: on, keys: keys.New(s.ResultBackendTransportOptions), encoding: encoding, script: storeScriptOf(s.Serializer()),
		seconds: wholeSeconds(s.Expires()), ordered: ordered == nil || *ordered, tallies: s.ResultTally,
		retries: retry.New(s.ResultBackendBaseSleepBetweenRetry, s.ResultBackendMaxSleepBetweenRetry, s.ResultBackendMaxRetries),
	}
	b.subscriber = newSubscriber(on, b.keys, b.retries)
	return celeryresults.NewBackend(b, encoding, s, &celeryresults.BackendOptions{ChordLease: o.ChordLease})
}

// traits are alike for all settings.
var traits = driver.Traits{Name: "redis", MaxDocument: 512 << 20, PutMost: 256, GetMost: keysPerCommand * commandsPerTrip, Exact: true}

// Traits implements driver.Store.
func (b *Store) Traits() driver.Traits { return traits }

// wholeSeconds rounds a lifetime up to what Celery's SETEX takes, and 0 for Never.
func wholeSeconds(d time.Duration) int64 {
	if d == driver.Never {
		return 0
	}
	return max(1, int64((d+time.Second-1)/time.Second))
}

// expiry is how long groups and chords stay, as go-redis takes it.
func (b *Store) expiry() time.Duration { return time.Duration(b.seconds) * time.Second }

// Close implements driver.Store. It closes the connections that Open opened, and waits
// for operations on the caller's client.
func (b *Store) Close() error {
	b.subscriber.close()
	return b.server.close()
}

// run runs a command once. An error after which the same one may work is a
// *driver.Again.
func run[T any](ctx context.Context, b *Store, command func(redis.UniversalClient) (T, error)) (T, error) {
	value, err := inflight.Run(ctx, b.server.pool, command)
	if err != nil {
		err = b.failed(err)
	}
	return value, err
}

// failed says of an error whether the same command may work again, and sees to it that
// it can.
func (b *Store) failed(err error) error {
	if !redisclient.Transient(err) {
		return err
	}
	if !redisclient.Answered(err) {
		b.server.lost()
	}
	return &driver.Again{Err: err}
}

// lost reports whether an error came after something may have been sent, and before the
// server answered.
func lost(err error) bool {
	return err != nil && !redisclient.Answered(err) && !redisclient.Unsent(err)
}

// multi is how several commands are sent: as one transaction, except in a cluster,
// whose slots it would cross, as Celery's keys have no tag.
func (b *Store) multi(ctx context.Context, c redis.UniversalClient, f func(redis.Pipeliner) error) error {
	if b.server.sharded {
		_, err := c.Pipelined(ctx, f)
		return err
	}
	_, err := c.TxPipelined(ctx, f)
	return err
}
