package redisclient

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
)

// The most that Sample scans.
const (
	keysPerScan = 1000
	mostScans   = 200
)

// Sample returns up to n entries whose keys hold the text, as cache.Sampler does: from
// the client's database, or if that has none, from another of the same server.
func Sample(ctx context.Context, client redis.UniversalClient, text string, n int) ([]cache.Sample, error) {
	samples, err := scan(ctx, client, text, n)
	single, ok := client.(*redis.Client)
	if err != nil || len(samples) > 0 || !ok {
		return samples, err
	}
	info, err := client.Info(ctx, "keyspace").Result()
	if err != nil {
		return nil, nil //nolint:nilerr // not everybody may ask, and nothing was found
	}
	for _, match := range keyspace.FindAllStringSubmatch(info, -1) {
		number, err := strconv.Atoi(match[1])
		if err != nil || number == single.Options().DB {
			continue
		}
		options := *single.Options()
		options.DB = number
		other := redis.NewClient(&options)
		samples, err := scan(ctx, other, text, n)
		if err = errors.Join(err, other.Close()); err != nil {
			return nil, err
		}
		for i := range samples {
			samples[i].Elsewhere = fmt.Sprintf("database %d", number)
		}
		if len(samples) > 0 {
			return samples, nil
		}
	}
	return nil, nil
}

var keyspace = regexp.MustCompile(`(?m)^db(\d+):keys=`)

// escaped is a text in a pattern.
var escaped = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)

func scan(ctx context.Context, client redis.UniversalClient, text string, n int) ([]cache.Sample, error) {
	var keys []string
	cursor := uint64(0)
	for range mostScans {
		found, next, err := client.Scan(ctx, cursor, "*"+escaped.Replace(text)+"*", keysPerScan).Result()
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
		if cursor = next; cursor == 0 || len(keys) >= n {
			break
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	keys = keys[:min(n, len(keys))]
	values, ttls := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			values[i], ttls[i] = p.Get(ctx, key), p.PTTL(ctx, key)
		}
		return nil
	})
	var samples []cache.Sample
	for i, key := range keys {
		value, err := values[i].Bytes()
		if err != nil {
			continue // it has expired, or is no text
		}
		ttl := ttls[i].Val()
		if ttl < 0 {
			ttl = cache.Never
		}
		samples = append(samples, cache.Sample{Key: key, Item: cache.Item{Value: value}, TTL: ttl})
	}
	if len(samples) > 0 || err == nil || redis.HasErrorPrefix(err, "WRONGTYPE") || errors.Is(err, redis.Nil) {
		return samples, nil
	}
	return nil, err
}
