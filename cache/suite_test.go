package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

// modest hides what a store offers beyond Store and Swapper, so that every
// fallback of Cache is in use, and states limits for Cache to check.
type modest struct {
	cache.Store
	cache.Swapper
}

func (m modest) Traits() cache.Traits {
	return cache.Traits{Name: "modest", MaxKey: 250, PrintableKeys: true, MaxValue: 5 << 20, Resolution: 1}
}

// Get forgets the format, as stores do that keep no record of it.
func (m modest) Get(ctx context.Context, key string) (cache.Item, error) {
	item, err := m.Store.Get(ctx, key)
	item.Format = cache.Unspecified
	return item, err
}

// stalled is a server that takes requests and does not answer: its calls end
// with their context.
type stalled struct{ cache.Store }

func (s stalled) Get(ctx context.Context, _ string) (cache.Item, error) {
	return cache.Item{}, hang(ctx)
}

func (s stalled) Set(ctx context.Context, _ string, _ cache.Item, _ time.Duration) error {
	return hang(ctx)
}

func (s stalled) Add(ctx context.Context, _ string, _ cache.Item, _ time.Duration) (bool, error) {
	return false, hang(ctx)
}

func (s stalled) Touch(ctx context.Context, _ string, _ time.Duration) (bool, error) {
	return false, hang(ctx)
}

func (s stalled) Delete(ctx context.Context, _ string) (bool, error) { return false, hang(ctx) }

func hang(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func openLocmem(t testing.TB) *locmem.Store {
	t.Helper()
	s, err := locmem.New(t.Name(), &locmem.Options{MaxEntries: 10_000})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestFallbacks runs the whole suite without any optional interface but
// Swapper: Cache does with single operations what the store cannot.
func TestFallbacks(t *testing.T) {
	cachetest.Harness{
		Open: func(t *testing.T) cache.Store {
			s := openLocmem(t)
			return modest{s, s}
		},
		Stall: func(t *testing.T) (cache.Store, func()) {
			return stalled{openLocmem(t)}, func() {}
		},
	}.Run(t)
}
