package dbcache

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Sample implements [cache.Sampler].
func (s *Store) Sample(ctx context.Context, text string, n int) ([]cache.Sample, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("dbcache: sample: %w", err)
	}
	now := s.options.Now()
	pattern := "%" + likeText.Replace(text) + "%"
	q := s.dialect.Rebind(`SELECT cache_key, value, expires FROM ` + s.queries.table + ` WHERE expires >= $1 AND cache_key LIKE $2 ESCAPE '!' LIMIT ` + strconv.Itoa(n))
	var samples []cache.Sample
	err := s.run(ctx, sqldialect.Repeatable, func() error {
		samples = nil
		return s.db.Rows(ctx, q, []any{s.now(), pattern}, func(scan func(...any) error) error {
			var key, value string
			var expires time.Time
			if err := scan(&key, &value, s.dialect.ScanTime(&expires)); err != nil {
				return err
			}
			item := decode(key, value)
			if item.Err != nil { // it is no entry of a cache
				return nil
			}
			ttl := expires.Sub(now)
			if !expires.Before(never.Truncate(24 * time.Hour)) {
				ttl = cache.Never
			}
			samples = append(samples, cache.Sample{Key: key, Item: item, TTL: ttl})
			return nil
		})
	})
	return samples, err
}
