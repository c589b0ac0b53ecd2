package cachebackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

var _ celeryresults.Walker = (*CacheBackend)(nil)

// Walk implements celeryresults.Walker where the store shows its keys (cache.KeyLister): memory,
// redis and tables do, memcached does not, nor does a KEY_FUNCTION that puts something behind
// the key. There it yields errors.ErrUnsupported.
func (b *CacheBackend) Walk(ctx context.Context) iter.Seq2[*celeryresults.TaskMeta, error] {
	return func(yield func(*celeryresults.TaskMeta, error) bool) {
		store, prefix, err := b.walkable()
		if err != nil {
			yield(nil, err)
			return
		}
		var ids []string
		for key, err := range store.Keys(ctx, prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			if id := strings.TrimPrefix(key, prefix); id != "" { // which nobody can ask for
				ids = append(ids, id)
			}
			if len(ids) == itemsPerStep {
				if !b.yield(ctx, ids, yield) {
					return
				}
				ids = ids[:0]
			}
		}
		b.yield(ctx, ids, yield)
	}
}

// itemsPerStep is how many results Walk has in memory at once.
const itemsPerStep = 100

// walkable returns the store, and what the whole keys of results begin with.
func (b *CacheBackend) walkable() (cache.KeyLister, string, error) {
	store, ok := b.cache.Store().(cache.KeyLister)
	if !ok {
		return nil, "", fmt.Errorf("cachebackend: walk: %s does not show what lies in it: %w", b.cache.Store().Traits().Name, errors.ErrUnsupported)
	}
	const id = "some-id"
	key, err := b.keys.Task(id)
	if err != nil {
		return nil, "", err
	}
	whole, err := b.cache.WholeKey(key)
	if err != nil {
		return nil, "", err
	}
	prefix, ok := strings.CutSuffix(whole, id)
	if !ok {
		return nil, "", fmt.Errorf("cachebackend: walk: the cache's KEY_FUNCTION does not end keys with the id: %w", errors.ErrUnsupported)
	}
	return store, prefix, nil
}

// yield yields the results of tasks, and reports whether more are wanted.
func (b *CacheBackend) yield(ctx context.Context, ids []string, yield func(*celeryresults.TaskMeta, error) bool) bool {
	if len(ids) == 0 {
		return true
	}
	keys, err := b.keys.Tasks(ids)
	if err != nil {
		return yield(nil, err) && false
	}
	items, err := b.findMany(ctx, keys)
	if err != nil {
		return yield(nil, err) && false
	}
	for i, item := range items {
		if item == nil { // it has gone meanwhile
			continue
		}
		if !yield(b.documents.Read(ids[i], valueOf(item))) {
			return false
		}
	}
	return true
}
