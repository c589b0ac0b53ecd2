// Package cachebackend keeps results in a cache.Cache: in any of Django's named
// caches as django-celery-results' cache backend does, or in memcached or
// memory as Celery's own cache backend does.
package cachebackend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/ahead"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
	"github.com/celeryresults/celeryresults/internal/trace"
)

// CacheBackend is a celeryresults.Backend in a cache, with groups and waiting.
// The rule that a SUCCESS stands is decided by the store's compare-and-swap;
// the first store of a task costs one round trip. Make one with New or
// NewCelery. All methods are safe for concurrent use.
type CacheBackend struct {
	cache     *cache.Cache
	documents keyvalue.Documents
	format    cache.Format
	keys      keyvalue.Keys
	expires   time.Duration
	gone      *keyvalue.Tombstones
	poller    *celeryresults.Poller
	gets      *merge.Group[string, *cache.Item] // nil where merging gains nothing
	counts    bool                              // chords, as Celery's own backend does
}

var (
	_ celeryresults.Backend = (*CacheBackend)(nil)
	_ celeryresults.Waiter  = (*CacheBackend)(nil)
	_ celeryresults.Awaiter = (*CacheBackend)(nil)
	_ celeryresults.Grouper = (*CacheBackend)(nil)
	_ celeryresults.Cleaner = (*CacheBackend)(nil)
)

// New returns a backend over a named cache, in the layout of
// django_celery_results.backends.cache.CacheBackend: the metadata as the cache
// holds any dict, and exceptions as instances. Of the settings it uses
// ResultExpires, ResultExtended and the global key prefix. The cache stays the
// caller's to close. A cache whose store has no compare-and-swap is refused
// with errors.ErrUnsupported.
func New(c *cache.Cache, s celeryresults.Settings) (*CacheBackend, error) {
	b, err := open(c, s)
	if err != nil {
		return nil, err
	}
	none, err := c.Encode(nil)
	if err != nil {
		return nil, err
	}
	b.documents.Codec, b.format = pickle.Codec, cache.Pickled
	if none.Format == cache.Text { // a cache of JSON, for Go alone
		b.documents.Codec, b.format = json.Codec, cache.Text
	}
	return b, nil
}

// NewCelery returns a backend over a store, in the layout of Celery's own
// celery.backends.cache.CacheBackend (cache+memcached://, cache+memory://):
// keys without Django's prefix, documents in result_serializer. The store stays the
// caller's to close.
func NewCelery(store cache.Store, s celeryresults.Settings) (*CacheBackend, error) {
	c, err := cache.New(store, cache.Settings{KeyFunction: func(key, _ string, _ int) string { return key }})
	if err != nil {
		return nil, err
	}
	b, err := open(c, s)
	if err != nil {
		return nil, err
	}
	codec, ok := registry.ByName(s.Serializer())
	if !ok {
		return nil, fmt.Errorf("cachebackend: unknown serializer %q", s.Serializer())
	}
	accept, err := registry.NewAccept(s.Accept())
	if err != nil {
		return nil, fmt.Errorf("cachebackend: %w", err)
	}
	if err := accept.Check(codec); err != nil {
		return nil, fmt.Errorf("cachebackend: %w", err)
	}
	b.documents.Codec, b.format, b.counts = codec, cache.Text, true
	if codec.ContentEncoding() == "binary" {
		b.format = cache.Bytes
	}
	return b, nil
}

func open(c *cache.Cache, s celeryresults.Settings) (*CacheBackend, error) {
	if c == nil {
		return nil, errors.New("cachebackend: no cache")
	}
	if _, ok := c.Store().(cache.Swapper); !ok {
		return nil, fmt.Errorf("cachebackend: %s has no compare-and-swap, which results need: %w", c.Store().Traits().Name, errors.ErrUnsupported)
	}
	b := &CacheBackend{
		cache: c, keys: keyvalue.NewKeys(s.ResultBackendTransportOptions),
		documents: keyvalue.Documents{Extended: s.ResultExtended}, expires: s.Expires(),
	}
	b.gone = keyvalue.NewTombstones(&s, b.keys, b.setTombstones, b.tombstones)
	b.poller = celeryresults.NewPoller(b.getMany)
	if store, ok := c.Store().(cache.Notifier); ok {
		b.poller.SetPush(&push{backend: b, store: store, ids: map[string]string{}})
	}
	if _, ok := c.Store().(cache.ManyGetter); ok && !c.Store().Traits().InProcess {
		b.gets = merge.New(b.findOne, b.findMany, true)
	}
	return b, nil
}

// StoreResult implements celeryresults.Backend. A result over the store's size
// is cache.ErrTooLarge, and what stands stays; a failure is then stored with its
// texts cut and marked as cut, so that nobody waits in vain.
func (b *CacheBackend) StoreResult(ctx context.Context, meta *celeryresults.TaskMeta, options ...celeryresults.StoreOption) error {
	if meta == nil {
		return celeryresults.ErrNoTaskID
	}
	override := slices.Contains(options, celeryresults.Override)
	err := b.store(ctx, meta, override)
	if errors.Is(err, cache.ErrTooLarge) && meta.State.Exception() {
		err = b.store(ctx, keyvalue.Shortened(meta), override)
	}
	if err == nil {
		b.gone.Stored(ctx, meta.TaskID)
	}
	return err
}

func (b *CacheBackend) store(ctx context.Context, meta *celeryresults.TaskMeta, override bool) error {
	key, item, err := b.encode(meta)
	if err != nil {
		return err
	}
	trace.Sent(ctx, len(item.Value))
	return b.cache.Update(ctx, key, b.expires, func(old cache.Item, found bool) (cache.Item, error) {
		if !found || override {
			return item, nil
		}
		return item, b.allow(meta, old)
	})
}

// documentSize is what most documents fit in.
const documentSize = 768

func (b *CacheBackend) encode(meta *celeryresults.TaskMeta) (string, cache.Item, error) {
	key, err := b.keys.Task(meta.TaskID)
	if err != nil {
		return "", cache.Item{}, err
	}
	data, err := b.documents.Append(make([]byte, 0, documentSize), meta)
	return key, cache.Item{Value: data, Format: b.format}, err
}

// allow returns a *RefusedError unless meta may replace the record in old.
func (b *CacheBackend) allow(meta *celeryresults.TaskMeta, old cache.Item) error {
	stands := b.documents.State(old.Value)
	if meta.State.MayReplace(stands) && meta.State != celeryresults.Pending {
		return nil
	}
	return &celeryresults.RefusedError{TaskID: meta.TaskID, Stands: stands, Stored: meta.State}
}

// GetTaskMeta implements celeryresults.Backend. The reads of concurrent callers
// are sent together.
func (b *CacheBackend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	key, err := b.keys.Task(taskID)
	if err != nil {
		return nil, err
	}
	item, err := b.find(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case item == nil:
		unknown := celeryresults.NewUnknownMeta(taskID)
		return unknown, b.gone.Mark(ctx, unknown)
	}
	return b.documents.Read(taskID, item.Value)
}

// find reads one entry, nil if there is none. Concurrent reads are sent
// together.
func (b *CacheBackend) find(ctx context.Context, key string) (*cache.Item, error) {
	if b.gets == nil || ctx.Err() != nil {
		return b.findOne(ctx, key)
	}
	return b.gets.Do(ctx, key)
}

func (b *CacheBackend) findOne(ctx context.Context, key string) (*cache.Item, error) {
	item, err := b.cache.GetItem(ctx, key)
	if errors.Is(err, cache.ErrMiss) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &item, nil
}

func (b *CacheBackend) findMany(ctx context.Context, keys []string) ([]*cache.Item, error) {
	found, err := b.cache.GetItems(ctx, keys)
	if err != nil {
		return nil, err
	}
	items := make([]*cache.Item, len(keys))
	for i, key := range keys {
		if item, ok := found[key]; ok {
			items[i] = &item
		}
	}
	return items, nil
}

// GetMany implements celeryresults.Backend. What comes from a server is asked for
// in parts of 1000 tasks, each while the one before is decoded.
func (b *CacheBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	metas, err := b.getMany(ctx, taskIDs)
	if metas == nil {
		return nil, err
	}
	if err := b.gone.Mark(ctx, metas...); err != nil {
		return nil, err
	}
	return metas, err
}

// getMany is GetMany for those who wait, to whom what has expired is unknown.
func (b *CacheBackend) getMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	metas := make([]*celeryresults.TaskMeta, 0, len(taskIDs))
	bad, err := b.each(ctx, taskIDs, func(id string, data []byte) error {
		meta := celeryresults.NewUnknownMeta(id)
		var err error
		if data != nil {
			meta, err = b.documents.Read(id, data)
		}
		metas = append(metas, meta)
		return err
	})
	if err != nil {
		return nil, err
	}
	return metas, bad
}

// GetStatuses implements celeryresults.StatusGetter, in the same way.
func (b *CacheBackend) GetStatuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	statuses, err := b.statuses(ctx, taskIDs)
	if statuses == nil {
		return nil, err
	}
	if err := b.gone.MarkStatuses(ctx, taskIDs, statuses); err != nil {
		return nil, err
	}
	return statuses, err
}

func (b *CacheBackend) statuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	statuses := make([]celeryresults.Status, 0, len(taskIDs))
	bad, err := b.each(ctx, taskIDs, func(id string, data []byte) error {
		status, err := b.documents.Status(id, data)
		statuses = append(statuses, status)
		return err
	})
	if err != nil {
		return nil, err
	}
	return statuses, bad
}

// itemsPerTrip is how many entries are asked for together.
const itemsPerTrip = 1000

// each calls f with the document of each task, which is nil if there is none, and
// joins its errors.
func (b *CacheBackend) each(ctx context.Context, taskIDs []string, f func(id string, data []byte) error) (unreadable, err error) {
	keys, err := b.keys.Tasks(taskIDs)
	if err != nil {
		return nil, err
	}
	size := itemsPerTrip
	if b.cache.Store().Traits().InProcess {
		size = len(keys)
	}
	if len(keys) > size {
		if err := b.checkKeys(keys); err != nil {
			return nil, err
		}
	}
	var bad []error
	asked := 0
	for items, err := range ahead.Chunks(ctx, keys, size, b.findMany) {
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if err := f(taskIDs[asked], valueOf(item)); err != nil {
				bad = append(bad, err)
			}
			asked++
		}
	}
	return errors.Join(bad...), nil
}

// valueOf returns what is stored, which is nil only where nothing is.
func valueOf(item *cache.Item) []byte {
	switch {
	case item == nil:
		return nil
	case item.Value == nil:
		return []byte{}
	}
	return item.Value
}

// checkKeys refuses keys before anything is sent for others.
func (b *CacheBackend) checkKeys(keys []string) error {
	for _, key := range keys {
		if _, err := b.cache.WholeKey(key); err != nil {
			return err
		}
	}
	return nil
}

// WaitFor implements celeryresults.Waiter: a cache in this process tells of
// changes; others can only be asked again, and one poller asks for all waiters of
// the backend together.
func (b *CacheBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if err := b.checkID(taskID); err != nil {
		return nil, err
	}
	return b.poller.WaitFor(ctx, taskID)
}

// Await implements celeryresults.Awaiter.
func (b *CacheBackend) Await(ctx context.Context, taskID string, until func(*celeryresults.TaskMeta) bool) (*celeryresults.TaskMeta, error) {
	if err := b.checkID(taskID); err != nil {
		return nil, err
	}
	return b.poller.Await(ctx, taskID, until)
}

// AwaitMany implements celeryresults.ManyAwaiter.
func (b *CacheBackend) AwaitMany(ctx context.Context, taskIDs []string, until func(*celeryresults.TaskMeta) bool) error {
	for _, id := range taskIDs {
		if err := b.checkID(id); err != nil {
			return err
		}
	}
	return b.poller.AwaitMany(ctx, taskIDs, until)
}

// checkID refuses an id that would fail the reads of all who wait.
func (b *CacheBackend) checkID(taskID string) error {
	key, err := b.keys.Task(taskID)
	if err != nil {
		return err
	}
	_, err = b.cache.WholeKey(key)
	return err
}

// Forget implements celeryresults.Backend.
func (b *CacheBackend) Forget(ctx context.Context, taskIDs ...string) error {
	keys, err := b.keys.Tasks(taskIDs)
	if err != nil {
		return err
	}
	if err := b.gone.Forget(ctx, taskIDs, b.statuses); err != nil {
		return err
	}
	return b.cache.DeleteMany(ctx, keys)
}

// tombstone is what stands in a marker.
var tombstone = cache.Item{Value: []byte("1"), Format: cache.Integer}

func (b *CacheBackend) setTombstones(ctx context.Context, keys []string, ttl time.Duration) error {
	for _, key := range keys {
		if err := b.cache.SetItem(ctx, key, tombstone, ttl); err != nil {
			return err
		}
	}
	return nil
}

func (b *CacheBackend) tombstones(ctx context.Context, keys []string) ([]bool, error) {
	items, err := b.cache.GetItems(ctx, keys)
	if err != nil {
		return nil, err
	}
	there := make([]bool, len(keys))
	for i, key := range keys {
		_, there[i] = items[key]
	}
	return there, nil
}

// SaveGroup implements celeryresults.Grouper.
func (b *CacheBackend) SaveGroup(ctx context.Context, group celeryresults.ResultTuple) error {
	key, err := b.keys.Group(group.ID)
	if err != nil {
		return err
	}
	data, err := b.documents.AppendGroup(nil, group)
	if err != nil {
		return err
	}
	return b.cache.SetItem(ctx, key, cache.Item{Value: data, Format: b.format}, b.expires)
}

// RestoreGroup implements celeryresults.Grouper.
func (b *CacheBackend) RestoreGroup(ctx context.Context, groupID string) (celeryresults.ResultTuple, error) {
	key, err := b.keys.Group(groupID)
	if err != nil {
		return celeryresults.ResultTuple{}, err
	}
	item, err := b.cache.GetItem(ctx, key)
	if errors.Is(err, cache.ErrMiss) {
		return celeryresults.ResultTuple{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownGroup, groupID)
	}
	if err != nil {
		return celeryresults.ResultTuple{}, err
	}
	return b.documents.ReadGroup(groupID, item.Value)
}

// DeleteGroup implements celeryresults.Grouper.
func (b *CacheBackend) DeleteGroup(ctx context.Context, groupID string) error {
	key, err := b.keys.Group(groupID)
	if err != nil {
		return err
	}
	_, err = b.cache.Delete(ctx, key)
	return err
}

// Cleanup implements celeryresults.Cleaner. Only a store that keeps expired
// entries until they are culled (the db cache) has anything to remove.
func (b *CacheBackend) Cleanup(ctx context.Context) (int64, error) {
	if s, ok := b.cache.Store().(cache.Expirer); ok {
		return s.DeleteExpired(ctx)
	}
	return 0, ctx.Err()
}

// Close ends the backend's waits with ErrClosed. The cache stays open.
func (b *CacheBackend) Close() error { return b.poller.Close() }
