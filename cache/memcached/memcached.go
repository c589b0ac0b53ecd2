// Package memcached keeps cache entries in memcached, where Django's
// PyMemcacheCache and PyLibMCCache find them: on the server that the Python
// client would choose, with its flags and its rules for expiry.
//
// [Open] takes an entry of Django's CACHES. [New] works over a gomemcache
// client that the program already has; with several servers, give that client
// [Servers] as its selector.
//
// No server stands in for one that is down: its keys fail until it is back.
// Python's pymemcache moves them to the other servers, after its retries.
package memcached

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/inflight"
)

const (
	defaultPoolSize = 64
	defaultMaxValue = 1 << 20
	timeout         = 3 * time.Second // of connecting, and of every read and write

	maxKey = 250
	// overhead is what memcached adds to key and value: 63 bytes when it
	// counts revisions and keeps flags.
	overhead = 64
)

// Library is the Python client whose entries a store shares. The two differ in
// how they mark integers and in where they put keys.
type Library uint8

// The libraries.
const (
	Pymemcache            Library = iota // Django's PyMemcacheCache
	Pylibmc                              // Django's PyLibMCCache, and libmemcached behind it
	PylibmcKetama                        // the same with libmemcached's behavior ketama
	PylibmcKetamaWeighted                // the same with its behavior ketama_weighted, all weights being 1
)

// Options are what [New] can be told. The zero value is ready to use.
type Options struct {
	// Library is whose entries the store shares. Default: Pymemcache.
	Library Library

	// PoolSize is the most operations at a time, each on a connection of its
	// own. Zero or less: 64.
	PoolSize int

	// MaxValue is the servers' item size limit (their -I option) in bytes.
	// Zero or less: 1 MiB.
	MaxValue int

	// Servers is the client's selector. Nil: the client has another, and
	// counting down is errors.ErrUnsupported.
	Servers *Servers
}

// Store is a [cache.Store] in memcached. It offers cache.Swapper,
// cache.ManyGetter, cache.Counter and cache.Clearer; memcached has no commands
// to write or delete many keys. It is safe for concurrent use.
type Store struct {
	servers  *Servers // nil when not known
	nodes    []*node  // one, or one for each of the servers
	library  Library
	maxValue int
}

var _ interface {
	cache.Store
	cache.Swapper
	cache.ManyGetter
	cache.Counter
	cache.Clearer
} = (*Store)(nil)

// node runs operations on one server, or on all behind the caller's client.
type node = inflight.Pool[*memcache.Client]

// New returns a store over a client that the caller owns and closes. Nil
// options mean the defaults. Let the client have a Timeout, since an operation
// whose context ended holds its connection until then, and a MaxIdleConns of
// PoolSize: its own default of 2 makes busy programs dial all the time.
func New(client *memcache.Client, options *Options) *Store {
	if options == nil {
		options = &Options{}
	}
	return &Store{
		servers:  options.Servers,
		nodes:    []*node{inflight.Borrow(client, poolSize(options.PoolSize))},
		library:  options.Library,
		maxValue: maxValueFor(options.MaxValue),
	}
}

// Open returns a store for one entry of Django's CACHES, of which it uses
// Backend (PyLibMCCache or pylibmc for pylibmc's layout, else pymemcache's),
// Location, and PoolSize, MaxValue and Distribution of Options. It connects when the first
// operation needs it, and looks host names up for every new connection. Close
// the store. [NewServers] says what locations look like.
func Open(s cache.Settings) (*Store, error) {
	library, err := libraryOf(s.Backend, s.Options.Distribution)
	if err != nil {
		return nil, err
	}
	servers, err := NewServers(library, s.Location...)
	if err != nil {
		return nil, err
	}
	store := &Store{servers: servers, library: library, maxValue: maxValueFor(s.Options.MaxValue)}
	for _, addr := range servers.addrs {
		store.nodes = append(store.nodes, openNode(addr, poolSize(s.Options.PoolSize)))
	}
	return store, nil
}

func libraryOf(backend, distribution string) (Library, error) {
	engine, _ := cache.Engine(backend)
	switch {
	case engine == "memcached" && distribution == "":
		return Pymemcache, nil
	case engine == "pylibmc" && distribution == "":
		return Pylibmc, nil
	case engine == "pylibmc" && distribution == "ketama":
		return PylibmcKetama, nil
	case engine == "pylibmc" && distribution == "ketama_weighted":
		return PylibmcKetamaWeighted, nil
	case distribution != "":
		return 0, fmt.Errorf("memcached: unknown distribution %.40q of %s; pylibmc has ketama and ketama_weighted", distribution, engine)
	}
	return 0, fmt.Errorf("memcached: %q is not a memcached backend", backend)
}

func poolSize(size int) int {
	if size <= 0 {
		return defaultPoolSize
	}
	return size
}

// openNode makes a client for every connection, since gomemcache does not say
// which of its connections an operation uses.
func openNode(addr net.Addr, size int) *node {
	server := &Servers{addrs: []net.Addr{addr}}
	return inflight.Open(size, func(line *inflight.Line) *memcache.Client {
		client := memcache.NewFromSelector(server)
		client.Timeout = timeout
		client.MaxIdleConns = 1
		client.DialContext = dialer(line)
		return client
	}, (*memcache.Client).Close)
}

// maxValueFor is the longest value that fits, whatever the key.
func maxValueFor(itemSize int) int {
	if itemSize <= 0 {
		itemSize = defaultMaxValue
	}
	return max(itemSize-maxKey-overhead, 1)
}

// Traits describes the store.
func (s *Store) Traits() cache.Traits {
	return cache.Traits{
		Name: "memcached", MaxKey: maxKey, PrintableKeys: true,
		MaxValue: s.maxValue, KeepsFormat: true, Resolution: time.Second,
	}
}

// Close ends the operations under way and closes Open's connections. It waits
// for operations on the caller's client.
func (s *Store) Close() error {
	var errs []error
	for _, n := range s.nodes {
		errs = append(errs, n.Close())
	}
	return errors.Join(errs...)
}

// node returns the one that holds a key.
func (s *Store) node(key string) *node {
	if len(s.nodes) == 1 {
		return s.nodes[0]
	}
	return s.nodes[s.servers.place(key)]
}

// retry says whether a command may be sent again when its connection broke.
type retry bool

const (
	once  retry = false // only if nothing of it was sent
	again retry = true
)

// run runs the command on a client of n. A connection that broke may have idled
// while the server went away, with others: they are dropped before the command
// is run again.
func run[T any](ctx context.Context, n *node, retry retry, command func(*memcache.Client) (T, error)) (T, error) {
	return inflight.Run(ctx, n, func(client *memcache.Client) (T, error) {
		value, err := command(client)
		if errors.Is(err, errHungUp) || retry == again && inflight.Lost(err) {
			_ = client.Close() // the idle connections; the client stays usable
			return command(client)
		}
		return value, err
	})
}

// do is run for a command that returns nothing but an error.
func do(ctx context.Context, n *node, retry retry, command func(*memcache.Client) error) error {
	_, err := run(ctx, n, retry, func(client *memcache.Client) (struct{}, error) { return struct{}{}, command(client) })
	return err
}

// fail says what failed, or passes on the errors that callers test for.
func fail(ctx context.Context, operation, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, inflight.ErrClosed):
		return cache.ErrClosed
	case errors.Is(err, memcache.ErrMalformedKey):
		err = cache.ErrBadKey
	case strings.Contains(err.Error(), "SERVER_ERROR object too large"):
		err = fmt.Errorf("%w: the server's limit is lower than MaxValue", cache.ErrTooLarge)
	}
	unavailable, sent := unavailable(err)
	err = fmt.Errorf("memcached: %s %q: %w", operation, key, err)
	if unavailable {
		return &cache.UnavailableError{Err: err, Sent: sent}
	}
	return err
}

// unavailable reports whether a command may succeed when it is repeated, and whether it may
// have happened.
func unavailable(err error) (again, sent bool) {
	if _, ok := errors.AsType[*memcache.ConnectTimeoutError](err); ok || errors.Is(err, errHungUp) {
		return true, false
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return true, false
	}
	_, network := errors.AsType[net.Error](err)
	return network || inflight.Lost(err), true
}
