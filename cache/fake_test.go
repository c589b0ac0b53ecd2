package cache_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

// plainStore is a Store without any optional interface. It counts the calls
// that reach it and remembers lifetimes instead of obeying them.
type plainStore struct {
	traits cache.Traits

	mu     sync.Mutex
	items  map[string]cache.Item
	ttls   map[string]time.Duration
	calls  []string
	closed bool
	fail   error // what every operation returns, if set
}

func newPlainStore() *plainStore {
	return &plainStore{
		traits: cache.Traits{Name: "plain", Resolution: 1},
		items:  map[string]cache.Item{}, ttls: map[string]time.Duration{},
	}
}

func (s *plainStore) Traits() cache.Traits { return s.traits }

// enter locks the store and notes the call. The caller unlocks.
func (s *plainStore) enter(ctx context.Context, call string) error {
	s.mu.Lock()
	s.calls = append(s.calls, call)
	if s.closed {
		return cache.ErrClosed
	}
	return errors.Join(ctx.Err(), s.fail)
}

func (s *plainStore) Get(ctx context.Context, key string) (cache.Item, error) {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "get"); err != nil {
		return cache.Item{}, err
	}
	item, ok := s.items[key]
	if !ok {
		return cache.Item{}, cache.ErrMiss
	}
	if !s.traits.KeepsFormat {
		item.Format = cache.Unspecified
	}
	return item, nil
}

func (s *plainStore) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "set"); err != nil {
		return err
	}
	s.items[key], s.ttls[key] = item, ttl
	return nil
}

func (s *plainStore) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "add"); err != nil {
		return false, err
	}
	if _, ok := s.items[key]; ok {
		return false, nil
	}
	s.items[key], s.ttls[key] = item, ttl
	return true, nil
}

func (s *plainStore) Touch(ctx context.Context, key string, ttl time.Duration) (bool, error) {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "touch"); err != nil {
		return false, err
	}
	_, ok := s.items[key]
	if ok {
		s.ttls[key] = ttl
	}
	return ok, nil
}

func (s *plainStore) Delete(ctx context.Context, key string) (bool, error) {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "delete"); err != nil {
		return false, err
	}
	_, ok := s.items[key]
	delete(s.items, key)
	return ok, nil
}

func (s *plainStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// swapStore is a plainStore that can compare and swap, by value.
type swapStore struct{ *plainStore }

func (s swapStore) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	defer s.mu.Unlock()
	if err := s.enter(ctx, "swap"); err != nil {
		return false, err
	}
	stands, ok := s.items[key]
	if !ok || !bytes.Equal(stands.Value, old.Value) {
		return false, nil
	}
	s.items[key], s.ttls[key] = item, ttl
	return true, nil
}

// countStore is a plainStore that counts, which only matters to the codec.
type countStore struct{ *plainStore }

func (s countStore) Incr(context.Context, string, int64) (int64, error) { return 0, cache.ErrMiss }

func newCache(t testing.TB, s cache.Store, settings cache.Settings) *cache.Cache {
	t.Helper()
	c, err := cache.New(s, settings)
	require.NoError(t, err)
	return c
}
