// Package locmem is the cache store inside this process: Django's LocMemCache.
// Stores that are opened with the same location share their entries. A store
// holds a bounded number of entries and drops the least recently used ones.
package locmem

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults/cache"
)

// Options bounds a store. The zero value means Django's defaults.
type Options struct {
	// MaxEntries is the most entries that the location may hold when this
	// store writes. Default: 300. There is no way to have no bound.
	MaxEntries int

	// CullFrequency is the fraction that is dropped when MaxEntries is
	// reached: 1/CullFrequency of the entries, and at least one. Default: 3.
	// cache.CullAll: all of them.
	CullFrequency int
}

// Django's defaults.
const (
	defaultMaxEntries    = 300
	defaultCullFrequency = 3
)

// Store is one handle of a location. It implements every optional interface of
// package cache. All methods are safe for concurrent use.
//
// The bytes of an Item are shared with the caller and never change. Keys and
// values have no limit of their own.
type Store struct {
	space     *space
	most      int // entries
	frequency int // of culling, or cache.CullAll
	closed    atomic.Bool
}

var _ interface {
	cache.Store
	cache.Swapper
	cache.ManyGetter
	cache.ManySetter
	cache.ManyDeleter
	cache.Counter
	cache.Notifier
	cache.Clearer
} = (*Store)(nil)

// New opens the location, which exists from its first New to its last Close;
// the empty one is a location like any other. Nil options mean the defaults. It
// returns an error for a negative MaxEntries or CullFrequency other than
// cache.CullAll.
func New(location string, o *Options) (*Store, error) {
	if o == nil {
		o = &Options{}
	}
	if o.MaxEntries < 0 {
		return nil, fmt.Errorf("locmem: new: MaxEntries %d is negative", o.MaxEntries)
	}
	if o.CullFrequency < cache.CullAll {
		return nil, fmt.Errorf("locmem: new: CullFrequency %d is negative", o.CullFrequency)
	}
	return &Store{
		space:     open(location),
		most:      cmp.Or(o.MaxEntries, defaultMaxEntries),
		frequency: cmp.Or(o.CullFrequency, defaultCullFrequency),
	}, nil
}

// Traits describes the store: no limits, formats kept, lifetimes to the
// nanosecond.
func (s *Store) Traits() cache.Traits {
	return cache.Traits{Name: "locmem", KeepsFormat: true, InProcess: true, Resolution: time.Nanosecond}
}

// Close closes this handle. The last one of a location stops its sweeper, waits
// for it, and the entries are gone.
func (s *Store) Close() error {
	if !s.closed.Swap(true) {
		s.space.release()
	}
	return nil
}

// ready returns why an operation must not start.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return cache.ErrClosed
	}
	return nil
}

// Get implements cache.Store. The entry is the most recently used one then.
func (s *Store) Get(ctx context.Context, key string) (cache.Item, error) {
	if err := s.ready(ctx); err != nil {
		return cache.Item{}, err
	}
	e := s.space.find(key)
	if e == nil {
		return cache.Item{}, cache.ErrMiss
	}
	return s.space.use(e), nil
}

// GetMany implements cache.ManyGetter.
func (s *Store) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	items := make(map[string]cache.Item, len(keys))
	for _, key := range keys {
		if e := s.space.find(key); e != nil {
			items[key] = s.space.use(e)
		}
	}
	return items, nil
}

// Set implements cache.Store.
func (s *Store) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.put(key, item, ttl)
	return nil
}

// SetMany implements cache.ManySetter. It is atomic.
func (s *Store) SetMany(ctx context.Context, items map[string]cache.Item, ttl time.Duration) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	for key, item := range items {
		s.put(key, item, ttl)
	}
	return nil
}

// put stores an item and makes room first if the entry is new. It is called
// with the lock held.
func (s *Store) put(key string, item cache.Item, ttl time.Duration) {
	if n := s.space.entries.ItemCount(); n >= s.most && s.space.find(key) == nil {
		s.space.drop(s.culled(n))
	}
	s.space.put(key, item, ttl)
}

// culled returns how many of n entries are dropped to make room. There may be
// more than this store's most if another one of the location holds more.
func (s *Store) culled(n int) int {
	if s.frequency == cache.CullAll {
		return n
	}
	return max(n/s.frequency, n-s.most+1)
}

// Add implements cache.Store.
func (s *Store) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	if s.space.find(key) != nil {
		return false, nil
	}
	s.put(key, item, ttl)
	return true, nil
}

// Touch implements cache.Store. The entry's Token stays.
func (s *Store) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	e := s.space.find(key)
	if e == nil {
		return false, nil
	}
	s.space.use(e)
	s.space.entries.Set(key, e, ttl)
	return true, nil
}

// Delete implements cache.Store.
func (s *Store) Delete(ctx context.Context, key string) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	found := s.space.find(key) != nil
	s.space.delete(key)
	return found, nil
}

// DeleteMany implements cache.ManyDeleter.
func (s *Store) DeleteMany(ctx context.Context, keys []string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	for _, key := range keys {
		s.space.delete(key)
	}
	return nil
}

// CompareAndSwap implements cache.Swapper by Token, which no two states of the
// location share.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	e := s.space.find(key)
	if e == nil || e.item.Load().Token != old.Token {
		return false, nil
	}
	s.space.put(key, item, ttl)
	return true, nil
}

// Incr implements cache.Counter.
func (s *Store) Incr(ctx context.Context, key string, delta int64) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	e := s.space.find(key)
	if e == nil {
		return 0, cache.ErrMiss
	}
	sum, err := add(*e.item.Load(), delta)
	if err != nil {
		return 0, fmt.Errorf("locmem: incr %.80q: %w", key, err)
	}
	s.space.replace(e, cache.Item{Value: strconv.AppendInt(nil, sum, 10), Format: cache.Integer})
	s.space.tell(key)
	return sum, nil
}

// add returns the sum of the integer in item and delta.
func add(item cache.Item, delta int64) (int64, error) {
	n, err := strconv.ParseInt(string(item.Value), 10, 64)
	if item.Format != cache.Integer || err != nil {
		return 0, cache.ErrNotInteger
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return 0, cache.ErrNotInteger
	}
	return n + delta, nil
}

// Notify implements cache.Notifier for the whole location.
func (s *Store) Notify(f func(key string)) (stop func()) {
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.listeners[&f] = struct{}{}
	return func() {
		s.space.mu.Lock()
		defer s.space.mu.Unlock()
		delete(s.space.listeners, &f)
	}
}

// Clear implements cache.Clearer for the whole location.
func (s *Store) Clear(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.space.mu.Lock()
	defer s.space.mu.Unlock()
	s.space.entries.Flush()
	return nil
}
