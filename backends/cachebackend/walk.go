package cachebackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
)

// Walk implements driver.Lister where the store shows its keys (cache.KeyLister): memory,
// redis and tables do, memcached does not, nor does a KEY_FUNCTION that puts something behind
// the key. There it yields errors.ErrUnsupported.
func (b *CacheBackend) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		store, prefix, err := b.walkable()
		if err != nil {
			yield(driver.Record{}, err)
			return
		}
		var records []driver.Record
		for key, err := range store.Keys(ctx, prefix) {
			if err != nil {
				yield(driver.Record{}, failed(err))
				return
			}
			if id := strings.TrimPrefix(key, prefix); id != "" { // which nobody can ask for
				records = append(records, driver.Record{ID: id})
			}
			if len(records) == recordsPerStep {
				if !b.yield(ctx, records, yield) {
					return
				}
				records = records[:0]
			}
		}
		if len(records) > 0 {
			b.yield(ctx, records, yield)
		}
	}
}

// recordsPerStep is how many results Walk has in memory at once.
const recordsPerStep = 100

// walkable returns the store, and what the whole keys of results begin with.
func (b *CacheBackend) walkable() (cache.KeyLister, string, error) {
	store, ok := b.cache.Store().(cache.KeyLister)
	if !ok {
		return nil, "", fmt.Errorf("cachebackend: walk: %s does not show what lies in it: %w", b.traits.Name, errors.ErrUnsupported)
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
func (b *CacheBackend) yield(ctx context.Context, records []driver.Record, yield func(driver.Record, error) bool) bool {
	if err := b.Get(ctx, driver.Task, records, 0); err != nil {
		return yield(driver.Record{}, err) && false
	}
	for i := range records {
		if r := records[i]; (r.Document != nil || r.Err != nil) && !yield(r, nil) { // others have gone meanwhile
			return false
		}
		records[i] = driver.Record{}
	}
	return true
}
