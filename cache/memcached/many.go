package memcached

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/celeryresults/celeryresults/cache"
)

// chunk is how many keys one request carries.
const chunk = 1000

// GetMany returns the entries that exist. It asks all servers at once, each for
// 1000 keys at a time.
func (s *Store) GetMany(ctx context.Context, keys []string) (map[string]cache.Item, error) {
	parts := s.byNode(keys)
	found := make([]map[string]cache.Item, len(parts))
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, part := range parts[1:] {
		all.Go(func() { found[i+1], errs[i+1] = part.get(ctx) })
	}
	found[0], errs[0] = parts[0].get(ctx)
	all.Wait()
	for i := range parts {
		if errs[i] != nil {
			return nil, errs[i]
		}
		if i > 0 {
			maps.Copy(found[0], found[i])
		}
	}
	return found[0], nil
}

// part is what one server is asked for.
type part struct {
	node *node
	keys []string
}

// byNode sorts keys by server. There is at least one part.
func (s *Store) byNode(keys []string) []part {
	if len(s.nodes) == 1 {
		return []part{{s.nodes[0], keys}}
	}
	parts := make([]part, len(s.nodes))
	for i, n := range s.nodes {
		parts[i].node = n
	}
	for _, key := range keys {
		i := s.servers.place(key)
		parts[i].keys = append(parts[i].keys, key)
	}
	return parts
}

func (p part) get(ctx context.Context) (map[string]cache.Item, error) {
	items := make(map[string]cache.Item, len(p.keys))
	for keys := range slices.Chunk(p.keys, chunk) {
		stored, err := run(ctx, p.node, again, func(c *memcache.Client) (map[string]*memcache.Item, error) { return c.GetMulti(keys) })
		if err != nil {
			return nil, fail(ctx, "get many", keys[0], err)
		}
		for key, one := range stored {
			items[key] = decode(one)
		}
	}
	return items, nil
}

// Clear empties all servers, as Django's clear does.
func (s *Store) Clear(ctx context.Context) error {
	for _, n := range s.nodes {
		if err := do(ctx, n, again, (*memcache.Client).FlushAll); err != nil {
			return fail(ctx, "clear", "", err)
		}
	}
	return nil
}
