// Package cachebackend keeps results in a cache.Cache: in any of Django's named
// caches as django-celery-results' cache backend does, or in memcached or
// memory as Celery's own cache backend does.
package cachebackend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/keys"
)

// CacheBackend is the driver.Store of a celeryresults.Backend over a cache. The rule
// that a SUCCESS stands is decided by the cache's compare-and-swap; the first store of a
// task costs one round trip. Make a Backend over one with New or NewCelery.
type CacheBackend struct {
	driver.Unlisted
	cache    *cache.Cache
	encoding *document.Encoding
	traits   driver.Traits
	format   cache.Format
	keys     keys.Keys
	expires  time.Duration
	counts   bool // chords, as Celery's own backend does
	push     push
}

var (
	_ driver.Store  = (*CacheBackend)(nil)
	_ driver.Lister = (*CacheBackend)(nil)
	_ driver.Pusher = (*CacheBackend)(nil)
)

// New returns a Backend over a named cache, in the layout of
// django_celery_results.backends.cache.CacheBackend: the metadata as the cache
// holds any dict, and exceptions as instances. Of the settings it uses those of expiry
// and retries, ResultExtended and the global key prefix. The cache stays the caller's to
// close. A cache whose store has no compare-and-swap is
// refused with errors.ErrUnsupported.
func New(c *cache.Cache, s celeryresults.Settings) (*celeryresults.Backend, error) {
	b, err := open(c, s)
	if err != nil {
		return nil, err
	}
	none, err := c.Encode(nil)
	if err != nil {
		return nil, err
	}
	b.traits.Serializer, b.format = "pickle", cache.Pickled
	if none.Format == cache.Text { // a cache of JSON, for Go alone
		b.traits.Serializer, b.format = "json", cache.Text
	}
	return b.backend(s)
}

// NewCelery returns a Backend over a store, in the layout of Celery's own
// celery.backends.cache.CacheBackend (cache+memcached://, cache+memory://):
// keys without Django's prefix, documents in result_serializer. The store stays the
// caller's to close.
func NewCelery(store cache.Store, s celeryresults.Settings) (*celeryresults.Backend, error) {
	c, err := cache.New(store, cache.Settings{KeyFunction: func(key, _ string, _ int) string { return key }})
	if err != nil {
		return nil, err
	}
	b, err := open(c, s)
	if err != nil {
		return nil, err
	}
	b.counts = true
	return b.backend(s)
}

func open(c *cache.Cache, s celeryresults.Settings) (*CacheBackend, error) {
	if c == nil {
		return nil, errors.New("cachebackend: no cache")
	}
	store := c.Store()
	traits := store.Traits()
	if _, ok := store.(cache.Swapper); !ok {
		return nil, fmt.Errorf("cachebackend: %s has no compare-and-swap, which results need: %w", traits.Name, errors.ErrUnsupported)
	}
	_, many := store.(cache.ManyGetter)
	return &CacheBackend{
		cache: c, keys: keys.New(s.ResultBackendTransportOptions), expires: s.Expires(),
		traits: driver.Traits{Name: traits.Name + " cache", Exact: true, GetAlone: !many || traits.InProcess},
	}, nil
}

// backend returns the Backend over b.
func (b *CacheBackend) backend(s celeryresults.Settings) (*celeryresults.Backend, error) {
	s.ResultCompression = "" // Celery's cache backends do not compress
	encoding, err := document.NewEncoding(s, b.traits)
	if err != nil {
		return nil, fmt.Errorf("cachebackend: %w", err)
	}
	b.encoding = encoding
	if b.format == cache.Unspecified {
		b.format = cache.Text
		if encoding.Codec.ContentEncoding() == "binary" {
			b.format = cache.Bytes
		}
	}
	if n, ok := b.cache.Store().(cache.Notifier); ok {
		b.push.from, b.push.ids = n, map[string]string{}
	}
	return celeryresults.NewBackend(b, encoding, s, nil)
}

// Cache returns the cache that the results are in.
func (b *CacheBackend) Cache() *cache.Cache { return b.cache }

// Traits implements driver.Store.
func (b *CacheBackend) Traits() driver.Traits { return b.traits }

// marker is what stands in a marker: an integer, as a cache holds it.
var marker = cache.Item{Value: []byte("1"), Format: cache.Integer}

// Put implements driver.Store. Each write is an Update of the cache, which sends the first
// stores of concurrent callers together where that gains something.
func (b *CacheBackend) Put(ctx context.Context, writes []*driver.Write) {
	for _, w := range writes {
		b.put(ctx, w)
	}
}

func (b *CacheBackend) put(ctx context.Context, w *driver.Write) {
	key, err := b.keys.Key(w.Kind, w.ID)
	if err == nil {
		item := cache.Item{Value: w.Document, Format: b.format}
		switch {
		case w.Kind == driver.Marker:
			err = b.cache.SetItem(ctx, key, marker, w.TTL)
		case w.Power == driver.Anything && w.Kind == driver.Group:
			err = b.cache.SetItem(ctx, key, item, w.TTL)
		default:
			err = b.update(ctx, key, item, w)
		}
	}
	switch {
	case errors.Is(err, errAnswered): // w.Allows has set the answer
	case err == nil:
		w.Answer = driver.Answer{Outcome: driver.Stored}
	default:
		w.Answer = answerOf(err)
	}
}

// errAnswered ends an Update whose write has its answer.
var errAnswered = errors.New("answered")

func (b *CacheBackend) update(ctx context.Context, key string, item cache.Item, w *driver.Write) error {
	return b.cache.Update(ctx, key, w.TTL, func(old cache.Item, found bool) (cache.Item, error) {
		if w.Allows(valueOf(old, found)) {
			return item, nil
		}
		return item, errAnswered
	})
}

// valueOf returns what is stored, which is nil only where nothing is.
func valueOf(item cache.Item, found bool) []byte {
	if found && item.Value == nil {
		return []byte{}
	}
	return item.Value
}

// answerOf returns what an error of the cache says of a write.
func answerOf(err error) driver.Answer {
	if e, ok := errors.AsType[*cache.UnavailableError](err); ok {
		answer := driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: err}}
		if e.Sent {
			answer.Outcome = driver.Unknown
		}
		return answer
	}
	switch {
	case errors.Is(err, cache.ErrTooLarge):
		err = fmt.Errorf("%w: %w", driver.ErrTooLarge, err)
	case errors.Is(err, cache.ErrBadKey):
		err = fmt.Errorf("%w: %w", driver.ErrBadID, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return driver.Answer{Err: err} // it may be under way
	}
	return driver.Answer{Outcome: driver.NotStored, Err: err}
}

// failed returns an error of the cache as a driver returns it.
func failed(err error) error {
	if err == nil {
		return nil
	}
	switch _, unavailable := errors.AsType[*cache.UnavailableError](err); {
	case unavailable:
		return &driver.Again{Err: err}
	case errors.Is(err, cache.ErrBadKey):
		return fmt.Errorf("%w: %w", driver.ErrBadID, err)
	}
	return err
}

// Get implements driver.Store.
func (b *CacheBackend) Get(ctx context.Context, kind driver.Kind, records []driver.Record, _ driver.How) error {
	if len(records) == 1 {
		return b.getOne(ctx, kind, &records[0])
	}
	names := make([]string, 0, len(records))
	places := make([]int, 0, len(records))
	for i := range records {
		key, err := b.key(kind, records[i].ID)
		if err != nil {
			records[i].Err = err
			continue
		}
		names, places = append(names, key), append(places, i)
	}
	found, err := b.cache.GetItems(ctx, names)
	if err != nil {
		return failed(err)
	}
	for i, key := range names {
		if item, ok := found[key]; ok {
			r := &records[places[i]]
			r.Document, r.Err = valueOf(item, true), item.Err
		}
	}
	return nil
}

// key returns the key of a record, or why the cache can't hold it.
func (b *CacheBackend) key(kind driver.Kind, id string) (string, error) {
	key, err := b.keys.Key(kind, id)
	if err == nil {
		_, err = b.cache.WholeKey(key)
	}
	return key, failed(err)
}

func (b *CacheBackend) getOne(ctx context.Context, kind driver.Kind, r *driver.Record) error {
	key, err := b.keys.Key(kind, r.ID)
	if err != nil {
		return err
	}
	item, err := b.cache.GetItem(ctx, key)
	switch {
	case errors.Is(err, cache.ErrMiss):
	case errors.Is(err, cache.ErrBadKey):
		r.Err = failed(err)
	case err != nil:
		return failed(err)
	default:
		r.Document, r.Err = valueOf(item, true), item.Err
	}
	return nil
}

// Delete implements driver.Store. An id that the cache can't hold is ErrBadID, and nothing
// is deleted.
func (b *CacheBackend) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	names := make([]string, len(ids))
	for i, id := range ids {
		key, err := b.key(kind, id)
		if err != nil {
			return err
		}
		names[i] = key
	}
	return failed(b.cache.DeleteMany(ctx, names))
}

// Cleanup implements driver.Lister. Only a store that keeps expired entries until they are
// culled (the db cache) has anything to remove.
func (b *CacheBackend) Cleanup(ctx context.Context) (int64, error) {
	if s, ok := b.cache.Store().(cache.Expirer); ok {
		return s.DeleteExpired(ctx)
	}
	return 0, ctx.Err()
}

// Close implements driver.Store. The cache stays open.
func (*CacheBackend) Close() error { return nil }
