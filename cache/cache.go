package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/python"
)

// Cache is a Django-style cache of Python values over a [Store]. Make one with
// [New]. All methods are safe for concurrent use.
//
// A method whose context is over returns the context's error and does not touch
// the store. Errors of the store are returned as they are.
type Cache struct {
	store   Store
	traits  Traits
	codec   codec
	makeKey KeyFunc
	prefix  string
	version int
	timeout time.Duration
	turns   *turns                    // of Updates that met a conflict
	adds    *merge.Group[Entry, bool] // nil where adds are not merged
}

// New returns a cache over store, which it owns from then on: Close closes it.
// Of the settings it uses Timeout, KeyPrefix, Version, KeyFunction and
// Options.Serializer; the others are the store's. It refuses a negative
// version, a prefix that no key of the store may begin with, and an unknown
// serializer.
func New(store Store, s Settings) (*Cache, error) {
	if store == nil {
		return nil, errors.New("cache: new: no store")
	}
	c := &Cache{
		store: store, traits: store.Traits(), makeKey: s.KeyFunction,
		prefix: s.KeyPrefix, version: s.Version, timeout: s.Timeout, turns: newTurns(),
	}
	if c.makeKey == nil {
		c.makeKey = DefaultKey
	}
	if s.Version == 0 {
		c.version = 1
	}
	if s.Version < 0 {
		return nil, fmt.Errorf("cache: new: version %d is negative", s.Version)
	}
	if err := c.checkPrefix(); err != nil {
		return nil, fmt.Errorf("cache: new: prefix: %w", err)
	}
	if adder, ok := store.(ManyAdder); ok {
		c.adds = merge.New(addOne(store), addMany(adder), false)
	}
	var err error
	if c.codec, err = newCodec(s.Options.Serializer, store); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Cache) checkPrefix() error {
	if c.prefix == "" {
		return nil
	}
	return checkKey(&c.traits, c.prefix)
}

// Store returns the store under the cache. Its keys are whole, see [KeyFunc].
func (c *Cache) Store() Store { return c.store }

// WithVersion returns a view of the cache whose keys have version v: Django's
// version argument. It shares the store, so closing either closes both. Unlike
// in Settings, zero is the version 0, and negative versions are allowed.
func (c *Cache) WithVersion(v int) *Cache {
	view := *c
	view.version = v
	return &view
}

// Close closes the store. Closing twice is not an error.
func (c *Cache) Close() error { return c.store.Close() }

// Get returns the value under key as package python describes it, or ErrMiss.
func (c *Cache) Get(ctx context.Context, key string) (any, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.get(ctx, whole)
}

func (c *Cache) get(ctx context.Context, whole string) (any, error) {
	item, err := c.store.Get(ctx, whole)
	if err != nil {
		return nil, err
	}
	return c.decode(whole, item)
}

// GetInto stores the value under key in what dst points to, by the rules of
// [python.Assign], or returns ErrMiss and leaves dst alone.
func (c *Cache) GetInto(ctx context.Context, key string, dst any) error {
	v, err := c.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := python.Assign(dst, v); err != nil {
		return fmt.Errorf("cache: get %s: %w", quoteKey(key), err)
	}
	return nil
}

// Has reports whether there is an entry under key: Django's has_key.
func (c *Cache) Has(ctx context.Context, key string) (bool, error) {
	_, err := c.GetItem(ctx, key)
	if errors.Is(err, ErrMiss) {
		return false, nil
	}
	return err == nil, err
}

// Set stores value under key for timeout, whatever was there. It returns
// ErrTooLarge, and removes what was there, when the store cannot hold the
// encoded value.
func (c *Cache) Set(ctx context.Context, key string, value any, timeout time.Duration) error {
	whole, err := c.key(ctx, key)
	if err != nil {
		return err
	}
	item, err := c.encode(whole, value)
	if err != nil {
		return err
	}
	return c.setItem(ctx, whole, item, timeout)
}

// Add stores value under key for timeout if nothing is there, and reports
// whether it did. With a timeout that means at once nothing is stored, and the
// answer is whether nothing was there, as in Django. It returns ErrTooLarge
// when the store cannot hold the encoded value.
func (c *Cache) Add(ctx context.Context, key string, value any, timeout time.Duration) (bool, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return false, err
	}
	item, err := c.encode(whole, value)
	if err != nil {
		return false, err
	}
	return c.addItem(ctx, whole, item, timeout)
}

// Touch gives the entry under key a new timeout and reports whether it was
// there. A timeout that means at once removes it.
func (c *Cache) Touch(ctx context.Context, key string, timeout time.Duration) (bool, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return false, err
	}
	ttl := c.lifetime(timeout)
	if ttl == AtOnce {
		return c.store.Delete(ctx, whole)
	}
	return c.store.Touch(ctx, whole, ttl)
}

// Delete removes the entry under key and reports whether it was there.
func (c *Cache) Delete(ctx context.Context, key string) (bool, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return false, err
	}
	return c.store.Delete(ctx, whole)
}

// GetOrSet returns the value under key. If there is none it adds what f
// returns, and if somebody else was faster returns theirs: all callers see one
// value. An error of f is returned as it is, and nothing is stored. Several
// callers may run f at the same time, as in Django's get_or_set.
func (c *Cache) GetOrSet(ctx context.Context, key string, f func(context.Context) (any, error), timeout time.Duration) (any, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return nil, err
	}
	v, err := c.get(ctx, whole)
	if !errors.Is(err, ErrMiss) {
		return v, err
	}
	if v, err = f(ctx); err != nil {
		return nil, err
	}
	item, err := c.encode(whole, v)
	if err != nil {
		return nil, err
	}
	return c.addOrGet(ctx, whole, item, timeout)
}

// addOrGet adds the item and returns the value that stands there then: the
// item's own, also when another one stood there and went again.
func (c *Cache) addOrGet(ctx context.Context, whole string, item Item, timeout time.Duration) (any, error) {
	added, err := c.addItem(ctx, whole, item, timeout)
	if err != nil {
		return nil, err
	}
	if !added {
		v, err := c.get(ctx, whole)
		if !errors.Is(err, ErrMiss) {
			return v, err
		}
	}
	return c.decode(whole, item)
}

// Clear removes everything in the store, also entries of other prefixes and
// versions, as Django's clear does. It returns errors.ErrUnsupported when the
// store is no [Clearer].
func (c *Cache) Clear(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	clearer, ok := c.store.(Clearer)
	if !ok {
		return fmt.Errorf("cache: clear: %s: %w", c.traits.Name, errors.ErrUnsupported)
	}
	return clearer.Clear(ctx)
}

// IncrVersion moves the entry under key to a version that is delta higher,
// where it gets the default timeout, and returns that version. WithVersion of
// it reads the entry. It returns ErrMiss when there is no entry. The two steps,
// set and delete, are not atomic; Django's incr_version takes the same.
func (c *Cache) IncrVersion(ctx context.Context, key string, delta int) (int, error) {
	version := c.version + delta
	item, err := c.GetItem(ctx, key)
	if err != nil {
		return 0, err
	}
	moved := c.WithVersion(version)
	if err := moved.SetItem(ctx, key, item, DefaultTimeout); err != nil {
		return 0, err
	}
	if c.makeKey(key, c.prefix, c.version) == c.makeKey(key, c.prefix, version) {
		return version, nil
	}
	_, err = c.Delete(ctx, key)
	return version, err
}

// DecrVersion is IncrVersion in the other direction.
func (c *Cache) DecrVersion(ctx context.Context, key string, delta int) (int, error) {
	return c.IncrVersion(ctx, key, -delta)
}
