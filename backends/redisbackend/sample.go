package redisbackend

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// Sample implements cache.Sampler.
func (b *RedisBackend) Sample(ctx context.Context, text string, n int) ([]cache.Sample, error) {
	samples, err := again(ctx, b, func(c redis.UniversalClient) ([]cache.Sample, error) {
		return redisclient.Sample(ctx, c, text, n)
	})
	return samples, fail(ctx, "sample", err)
}
