package rediscache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/compression"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// DjangoRedis is a [Store] that keeps values as the package django-redis does
// (django_redis.client.DefaultClient): under the same keys, and compressed if they are
// long enough. It reads what is not compressed, too.
type DjangoRedis struct {
	*Store
	compressor compressor
}

// compressor is one of django_redis.compressors: values of shortest bytes or less stay
// as they are.
type compressor struct {
	method   compression.Method
	shortest int
}

var compressors = map[string]compressor{
	"zlib": {compression.Zlib, 15},
	"gzip": {compression.Gzip, 15},
	"lzma": {compression.LZMA, 100},
	"zstd": {compression.Zstd, 15},
	"lz4":  {compression.LZ4, 15},
}

// OpenDjangoRedis returns a store for one entry of Django's CACHES whose BACKEND is
// django_redis.cache.RedisCache. It uses what Open does, and Compressor of Options.
func OpenDjangoRedis(s cache.Settings) (*DjangoRedis, error) {
	c, known := compressors[s.Options.Compressor]
	if s.Options.Compressor != "" && !known {
		return nil, fmt.Errorf("rediscache: unknown compressor %.40q, known are %s", s.Options.Compressor, strings.Join(slices.Sorted(maps.Keys(compressors)), ", "))
	}
	store, err := Open(s)
	if err != nil {
		return nil, err
	}
	return &DjangoRedis{store, c}, nil
}

// pack returns an item as it is stored. Integers are never compressed, as Redis counts
// them.
func (d *DjangoRedis) pack(item cache.Item) (cache.Item, error) {
	item.Stored = nil
	if d.compressor.method.Append == nil || item.Format == cache.Integer || len(item.Value) <= d.compressor.shortest {
		return item, nil
	}
	packed, err := d.compressor.method.Append(nil, item.Value)
	if err != nil {
		return item, fmt.Errorf("rediscache: compress: %w", err)
	}
	item.Value = packed
	return item, nil
}

// unpack returns an item as its value reads (DefaultClient.decode), with an Err where it
// can't be read.
func (d *DjangoRedis) unpack(key string, item cache.Item) cache.Item {
	if d.compressor.method.Decompress == nil {
		return item
	}
	plain, err := d.compressor.method.Decompress(item.Value)
	switch {
	case errors.Is(err, serialization.ErrLimit):
		item.Err = fmt.Errorf("rediscache: get %q: %w", key, err)
		return item
	case err != nil: // it was not worth it
		return item
	}
	item.Value, item.Stored = plain, item.Value
	return item
}

// Get returns the entry, or cache.ErrMiss.
func (d *DjangoRedis) Get(ctx context.Context, key string) (cache.Item, error) {
	item, err := d.Store.Get(ctx, key)
	if err != nil {
		return item, err
	}
	return d.unpack(key, item), nil
}

// GetMany returns the entries that exist.
func (d *DjangoRedis) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	items, err := d.Store.GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	for key, item := range items {
		items[key] = d.unpack(key, item)
	}
	return items, nil
}

// Set stores the item, whatever was there.
func (d *DjangoRedis) Set(ctx context.Context, key string, item cache.Item, ttl time.Duration) error {
	packed, err := d.pack(item)
	if err != nil {
		return err
	}
	return d.Store.Set(ctx, key, packed, ttl)
}

// SetMany stores all items with one lifetime.
func (d *DjangoRedis) SetMany(ctx context.Context, items map[string]cache.Item, ttl time.Duration) error {
	all := make(map[string]cache.Item, len(items))
	for key, item := range items {
		var err error
		if all[key], err = d.pack(item); err != nil {
			return err
		}
	}
	return d.Store.SetMany(ctx, all, ttl)
}

// Add stores the item if the key is absent, and reports whether it did.
func (d *DjangoRedis) Add(ctx context.Context, key string, item cache.Item, ttl time.Duration) (bool, error) {
	packed, err := d.pack(item)
	if err != nil {
		return false, err
	}
	return d.Store.Add(ctx, key, packed, ttl)
}

// AddMany adds each entry whose key is absent.
func (d *DjangoRedis) AddMany(ctx context.Context, entries []cache.Entry) ([]bool, error) {
	all := slices.Clone(entries)
	for i := range all {
		var err error
		if all[i].Item, err = d.pack(all[i].Item); err != nil {
			return nil, err
		}
	}
	return d.Store.AddMany(ctx, all)
}

// CompareAndSwap stores item with ttl if the entry still is what Get returned as old,
// and reports whether it did.
func (d *DjangoRedis) CompareAndSwap(ctx context.Context, key string, old, item cache.Item, ttl time.Duration) (bool, error) {
	packed, err := d.pack(item)
	if err != nil {
		return false, err
	}
	if old.Stored != nil {
		old.Value = old.Stored
	}
	return d.Store.CompareAndSwap(ctx, key, old, packed, ttl)
}
