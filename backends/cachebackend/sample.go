package cachebackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/cache"
)

// Sample implements cache.Sampler, where the store does; elsewhere it returns
// errors.ErrUnsupported.
func (b *CacheBackend) Sample(ctx context.Context, text string, n int) ([]cache.Sample, error) {
	store, ok := b.cache.Store().(cache.Sampler)
	if !ok {
		return nil, fmt.Errorf("cachebackend: %s does not show what lies in it: %w", b.cache.Store().Traits().Name, errors.ErrUnsupported)
	}
	return store.Sample(ctx, text, n)
}
