// Package redisbackend keeps results in Redis as Celery's own redis backend does:
// under the same keys, in the same bytes, with the same messages to those who wait.
//
// It follows celery.backends.redis.RedisBackend, with these differences:
//
//   - A SUCCESS stands, and the rule of celeryresults.State.MayReplace is decided
//     by Redis, in the round trip that stores.
//   - Waiting costs one connection for the whole backend, and what no message told
//     is found by asking.
//   - Chords that Go starts (celeryresults.Chorder) count different members, under
//     keys of their own. Chords that Python started follow Python's rules.
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
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/redisclient"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

// RedisBackend is a celeryresults.Backend in Redis, with groups, chords and
// waiting by push. Make one with New or Open. All methods are safe for concurrent
// use.
//
// Concurrent stores are sent together, and so are reads: those that come while
// others are under way go as one command as soon as one of these ends. A caller
// that is alone waits for nobody. Broken connections, restarts and failovers are
// retried until the context ends, or for 30 seconds.
type RedisBackend struct {
	server    server
	documents keyvalue.Documents
	accept    registry.Accept
	keys      keyvalue.Keys
	seconds   int64         // results stay; 0: for ever
	lease     time.Duration // of chords
	ordered   bool          // chord parts are kept in a sorted set
	retries   retry.Policy

	closed  atomic.Bool
	stores  *merge.Group[*request, error]
	gets    *merge.Group[string, []byte]
	poller  *celeryresults.Poller
	gone    *keyvalue.Tombstones
	tallies bool
	push    *subscriber // nil: nobody tells, and the poller asks
}

var (
	_ celeryresults.Backend     = (*RedisBackend)(nil)
	_ celeryresults.Waiter      = (*RedisBackend)(nil)
	_ celeryresults.Awaiter     = (*RedisBackend)(nil)
	_ celeryresults.ManyAwaiter = (*RedisBackend)(nil)
	_ celeryresults.Grouper     = (*RedisBackend)(nil)
	_ celeryresults.Chorder     = (*RedisBackend)(nil)
	_ celeryresults.Tallier     = (*RedisBackend)(nil)

	_ celeryresults.StatusGetter = (*RedisBackend)(nil)
)

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// ChordLease is how long a claim on a chord's body holds when the process
	// that has it no longer renews it. Default: a minute.
	ChordLease time.Duration
}

// defaultLease is the default of Options.ChordLease.
const defaultLease = time.Minute

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

// New returns a backend over a client that the caller owns and closes: of one
// server, of a Sentinel's master, of a cluster, or a Ring, whose shards have channels
// of their own, so that waits there ask. Of the settings it uses ResultExpires, ResultExtended, the serializers, the transport options and the
// retry settings.
//
// Let the client have ContextTimeoutEnabled set, so that a deadline also ends the
// command that it left behind.
func New(client redis.UniversalClient, s celeryresults.Settings, o Options) (*RedisBackend, error) {
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

func open(on server, s celeryresults.Settings, o Options) (*RedisBackend, error) {
	b := &RedisBackend{
		server: on, keys: keyvalue.NewKeys(s.ResultBackendTransportOptions), seconds: wholeSeconds(s.Expires()),
		lease: o.ChordLease, retries: retry.From(s),
	}
	if b.lease <= 0 {
		b.lease = defaultLease
	}
	ordered := s.ResultBackendTransportOptions.ResultChordOrdered
	b.ordered = ordered == nil || *ordered
	codec, ok := registry.ByName(s.Serializer())
	if !ok {
		return nil, fmt.Errorf("redisbackend: unknown serializer %q", s.Serializer())
	}
	accept, err := registry.NewAccept(s.Accept())
	if err == nil {
		err = accept.Check(codec)
	}
	if err != nil {
		return nil, fmt.Errorf("redisbackend: %w", err)
	}
	compression, err := keyvalue.NewCompression(s.ResultCompression)
	if err != nil {
		return nil, fmt.Errorf("redisbackend: CELERY_RESULT_COMPRESSION: %w", err)
	}
	b.accept, b.documents = accept, keyvalue.Documents{Codec: codec, Extended: s.ResultExtended, Compression: compression}
	b.stores = merge.New(b.storeOne, b.storeMany, false)
	b.gets = merge.New(b.findOne, b.findMany, true)
	b.tallies = s.ResultTally
	b.gone = keyvalue.NewTombstones(&s, b.keys, b.setTombstones, b.tombstones)
	b.poller = celeryresults.NewPoller(b.getMany)
	if on.subscriber != nil {
		b.push = newSubscriber(on, b.keys, b.documents, b.poller, b.retries)
		b.poller.SetPush(b.push)
	}
	return b, nil
}

// wholeSeconds rounds an expiry up to what Celery's SETEX takes, and 0 for
// Never.
func wholeSeconds(d time.Duration) int64 {
	if d == celeryresults.Never {
		return 0
	}
	return max(1, int64((d+time.Second-1)/time.Second))
}

// Close ends the waits with ErrClosed, and closes the connections that Open
// opened. It waits for operations on the caller's client. Every later operation
// returns ErrClosed.
func (b *RedisBackend) Close() error {
	if b.closed.Swap(true) {
		return b.poller.Close()
	}
	errs := []error{b.poller.Close()}
	if b.push != nil {
		b.push.close()
	}
	errs = append(errs, b.server.pool.Close())
	for _, client := range b.server.owned {
		errs = append(errs, client.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("redisbackend: close: %w", err)
	}
	return nil
}

// ready returns why no command may start. A deadline counts from its moment on:
// the network may notice it before the context does.
func (b *RedisBackend) ready(ctx context.Context) error {
	if b.closed.Load() {
		return celeryresults.ErrClosed
	}
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// expiry is how long keys stay, as go-redis takes it.
func (b *RedisBackend) expiry() time.Duration { return time.Duration(b.seconds) * time.Second }

// WaitFor implements celeryresults.Waiter: results are pushed to all waiters of
// the backend over one connection, and asked for beside that.
func (b *RedisBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	return b.poller.WaitFor(ctx, taskID)
}

// Await implements celeryresults.Awaiter.
func (b *RedisBackend) Await(ctx context.Context, taskID string, until func(*celeryresults.TaskMeta) bool) (*celeryresults.TaskMeta, error) {
	return b.poller.Await(ctx, taskID, until)
}

// AwaitMany implements celeryresults.ManyAwaiter.
func (b *RedisBackend) AwaitMany(ctx context.Context, taskIDs []string, until func(*celeryresults.TaskMeta) bool) error {
	return b.poller.AwaitMany(ctx, taskIDs, until)
}
