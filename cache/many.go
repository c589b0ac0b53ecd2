package cache

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// GetMany returns the values under keys, by the callers' keys. Absent entries
// are missing from the map. A key that the store cannot hold fails the call
// before anything is sent, and a value that cannot be decoded fails it, too.
func (c *Cache) GetMany(ctx context.Context, keys []string) (map[string]any, error) {
	items, err := c.GetItems(ctx, keys)
	if err != nil {
		return nil, err
	}
	values := make(map[string]any, len(items))
	for key, item := range items {
		if values[key], err = c.decode(key, item); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// GetItems is GetMany for entries as they are stored.
func (c *Cache) GetItems(ctx context.Context, keys []string) (map[string]Item, error) {
	whole, err := c.keys(ctx, keys)
	if err != nil || len(keys) == 0 {
		return map[string]Item{}, err
	}
	stored, err := c.getMany(ctx, whole)
	if err != nil {
		return nil, err
	}
	items := make(map[string]Item, len(stored))
	for i, key := range keys {
		if item, ok := stored[whole[i]]; ok {
			items[key] = item
		}
	}
	return items, nil
}

func (c *Cache) getMany(ctx context.Context, whole []string) (map[string]Item, error) {
	if many, ok := c.store.(ManyGetter); ok {
		return many.GetMany(ctx, whole)
	}
	items := make(map[string]Item, len(whole))
	for _, key := range whole {
		item, err := c.store.Get(ctx, key)
		switch {
		case err == nil:
			items[key] = item
		case !errors.Is(err, ErrMiss):
			return nil, err
		}
	}
	return items, nil
}

// SetMany stores all values with one timeout. A key that the store cannot hold
// or a value that cannot be encoded fails the call before anything is sent. So
// does a value that is too large, with ErrTooLarge, but what was under its key
// is removed. On any other error some values may be stored.
func (c *Cache) SetMany(ctx context.Context, values map[string]any, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	items, err := c.encodeMany(values)
	if err != nil || len(items) == 0 {
		return err
	}
	if err := c.dropLarge(ctx, items); err != nil {
		return err
	}
	ttl := c.lifetime(timeout)
	if ttl == AtOnce {
		return c.deleteMany(ctx, slices.Collect(maps.Keys(items)))
	}
	return c.setMany(ctx, items, ttl)
}

// encodeMany returns the items by whole key.
func (c *Cache) encodeMany(values map[string]any) (map[string]Item, error) {
	items := make(map[string]Item, len(values))
	for key, value := range values {
		whole, err := c.wholeKey(key)
		if err != nil {
			return nil, err
		}
		if items[whole], err = c.encode(whole, value); err != nil {
			return nil, err
		}
	}
	return items, nil
}

// dropLarge removes what lies under the keys of items that are too large, and
// returns the first one's ErrTooLarge.
func (c *Cache) dropLarge(ctx context.Context, items map[string]Item) error {
	var errs []error
	for whole, item := range items {
		if err := c.checkSize(whole, item); err != nil {
			_, gone := c.store.Delete(ctx, whole)
			errs = append(errs, err, gone)
		}
	}
	return errors.Join(errs...)
}

func (c *Cache) setMany(ctx context.Context, items map[string]Item, ttl time.Duration) error {
	if many, ok := c.store.(ManySetter); ok {
		return many.SetMany(ctx, items, ttl)
	}
	for whole, item := range items {
		if err := c.store.Set(ctx, whole, item, ttl); err != nil {
			return err
		}
	}
	return nil
}

// DeleteMany removes the entries under keys. Absent ones are not an error. A
// key that the store cannot hold fails the call before anything is sent. On any
// other error some entries may be gone.
func (c *Cache) DeleteMany(ctx context.Context, keys []string) error {
	whole, err := c.keys(ctx, keys)
	if err != nil || len(keys) == 0 {
		return err
	}
	return c.deleteMany(ctx, whole)
}

func (c *Cache) deleteMany(ctx context.Context, whole []string) error {
	if many, ok := c.store.(ManyDeleter); ok {
		return many.DeleteMany(ctx, whole)
	}
	for _, key := range whole {
		if _, err := c.store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
