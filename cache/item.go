package cache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// GetItem returns the entry under key as it is stored, or ErrMiss.
func (c *Cache) GetItem(ctx context.Context, key string) (Item, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return Item{}, err
	}
	return c.store.Get(ctx, whole)
}

// SetItem stores an encoded item under key for timeout, whatever was there. Its
// Token is ignored. It returns ErrTooLarge, and removes what was there, when
// the store cannot hold the item.
func (c *Cache) SetItem(ctx context.Context, key string, item Item, timeout time.Duration) error {
	whole, err := c.key(ctx, key)
	if err != nil {
		return err
	}
	return c.setItem(ctx, whole, item, timeout)
}

func (c *Cache) setItem(ctx context.Context, whole string, item Item, timeout time.Duration) error {
	if err := c.checkSize(whole, item); err != nil {
		_, gone := c.store.Delete(ctx, whole)
		return errors.Join(err, gone)
	}
	ttl := c.lifetime(timeout)
	if ttl == AtOnce {
		_, err := c.store.Delete(ctx, whole)
		return err
	}
	return c.store.Set(ctx, whole, item, ttl)
}

func (c *Cache) addItem(ctx context.Context, whole string, item Item, timeout time.Duration) (bool, error) {
	if err := c.checkSize(whole, item); err != nil {
		return false, err
	}
	ttl := c.lifetime(timeout)
	if ttl != AtOnce {
		return c.store.Add(ctx, whole, item, ttl)
	}
	_, err := c.store.Get(ctx, whole)
	if errors.Is(err, ErrMiss) {
		return true, nil
	}
	return false, err
}

// checkSize returns ErrTooLarge for an item over the store's limit.
func (c *Cache) checkSize(whole string, item Item) error {
	if c.traits.MaxValue == 0 || len(item.Value) <= c.traits.MaxValue {
		return nil
	}
	return fmt.Errorf("%w: %s has %d bytes, %s holds %d",
		ErrTooLarge, quoteKey(whole), len(item.Value), c.traits.Name, c.traits.MaxValue)
}
