package cache

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// KeyFunc makes the key that the store sees from the caller's key and the
// cache's prefix and version: Django's KEY_FUNCTION. It must be pure and safe
// for concurrent use.
type KeyFunc func(key, prefix string, version int) string

// DefaultKey returns "prefix:version:key", as Django's default_key_func does.
func DefaultKey(key, prefix string, version int) string {
	return prefix + ":" + strconv.Itoa(version) + ":" + key
}

// quotedKey is how many bytes of a key an error message shows.
const quotedKey = 64

// quoteKey returns the key quoted for an error message, shortened when long.
func quoteKey(key string) string {
	if len(key) <= quotedKey {
		return strconv.Quote(key)
	}
	return strconv.Quote(key[:quotedKey]) + "…"
}

// checkKey reports why the store cannot hold a whole key.
func checkKey(t *Traits, key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrBadKey)
	}
	if t.MaxKey > 0 && len(key) > t.MaxKey {
		return fmt.Errorf("%w: %s has %d bytes, %s holds %d", ErrBadKey, quoteKey(key), len(key), t.Name, t.MaxKey)
	}
	if i := unprintable(key); t.PrintableKeys && i >= 0 {
		return fmt.Errorf("%w: %s (%d bytes) has byte %#02x at %d, which %s refuses",
			ErrBadKey, quoteKey(key), len(key), key[i], i, t.Name)
	}
	if t.TextKeys && (strings.IndexByte(key, 0) >= 0 || !utf8.ValidString(key)) {
		return fmt.Errorf("%w: %s has a NUL or is not UTF-8, which %s refuses", ErrBadKey, quoteKey(key), t.Name)
	}
	return nil
}

// unprintable returns the index of the first space or control byte, or -1.
func unprintable(key string) int {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] == 0x7f {
			return i
		}
	}
	return -1
}

// key returns the whole key for one operation, or why it must not start: the
// context is over, or the store cannot hold the key.
func (c *Cache) key(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return c.wholeKey(key)
}

// keys is key for many. The whole keys are in the order of keys.
func (c *Cache) keys(ctx context.Context, keys []string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	whole := make([]string, len(keys))
	for i, key := range keys {
		var err error
		if whole[i], err = c.wholeKey(key); err != nil {
			return nil, err
		}
	}
	return whole, nil
}

// WholeKey returns the key that the store sees, with the cache's prefix and
// version, or ErrBadKey for one that it cannot hold, as every operation on it does.
func (c *Cache) WholeKey(key string) (string, error) { return c.wholeKey(key) }

func (c *Cache) wholeKey(key string) (string, error) {
	whole := c.makeKey(key, c.prefix, c.version)
	return whole, checkKey(&c.traits, whole)
}
