package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"time"
)

// Update stores what f returns for the entry that stands under key, atomically:
// no other write comes between f's look at the entry and the store. It returns
// f's error as it is, and then nothing is stored.
//
// It first supposes that there is no entry, which costs one round trip when it
// is right; so f may be called several times, and only the last call counts.
// Conflicts are retried until the context is over.
//
// An item that the store cannot hold is ErrTooLarge, and the entry stays as it
// was. With a timeout that means at once, the entry is deleted once f agreed.
// A store that is no [Swapper] gives errors.ErrUnsupported, and f is not called.
func (c *Cache) Update(ctx context.Context, key string, timeout time.Duration, f func(old Item, found bool) (Item, error)) error {
	u, err := c.updater(ctx, key, timeout, f)
	if err != nil {
		return err
	}
	return u.run(ctx, u.ttl == AtOnce)
}

// updater is one call of Update.
type updater struct {
	*Cache
	swapper Swapper
	whole   string
	ttl     time.Duration // positive, Never or AtOnce
	f       func(old Item, found bool) (Item, error)
}

func (c *Cache) updater(ctx context.Context, key string, timeout time.Duration, f func(Item, bool) (Item, error)) (*updater, error) {
	whole, err := c.key(ctx, key)
	if err != nil {
		return nil, err
	}
	swapper, ok := c.store.(Swapper)
	if !ok {
		return nil, fmt.Errorf("cache: update %s in %s: %w", quoteKey(whole), c.traits.Name, errors.ErrUnsupported)
	}
	return &updater{Cache: c, swapper: swapper, whole: whole, ttl: c.lifetime(timeout), f: f}, nil
}

// run tries until it is settled. Without look the first try supposes that there
// is no entry. After a conflict the callers in this process take turns, so that
// they do not thwart each other.
func (u *updater) run(ctx context.Context, look bool) error {
	settled, err := u.try(ctx, look)
	if settled || err != nil {
		return err
	}
	turn := u.turns.of(u.whole)
	select {
	case turn <- struct{}{}:
		defer func() { <-turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for conflicts := 0; ; conflicts++ {
		settled, err := u.try(ctx, true)
		if settled || err != nil {
			return err
		}
		if err := pause(ctx, conflicts); err != nil {
			return err
		}
	}
}

// turns are taken by key; some keys share one.
type turns [64]chan struct{}

func newTurns() *turns {
	var t turns
	for i := range t {
		t[i] = make(chan struct{}, 1)
	}
	return &t
}

var turnSeed = maphash.MakeSeed()

func (t *turns) of(key string) chan struct{} {
	return t[maphash.String(turnSeed, key)%uint64(len(t))]
}

// try asks f once, stores its answer, and reports whether that settled it.
func (u *updater) try(ctx context.Context, look bool) (bool, error) {
	if !look {
		item, err := u.ask(Item{}, false)
		if err != nil {
			return false, nil // it may refuse a missing entry only
		}
		return u.put(ctx, Item{}, item, false)
	}
	old, found, err := u.look(ctx)
	if err != nil {
		return false, err
	}
	item, err := u.ask(old, found)
	if err != nil {
		return false, err
	}
	return u.put(ctx, old, item, found)
}

func (u *updater) look(ctx context.Context) (Item, bool, error) {
	item, err := u.store.Get(ctx, u.whole)
	if errors.Is(err, ErrMiss) {
		return Item{}, false, nil
	}
	return item, err == nil, err
}

func (u *updater) ask(old Item, found bool) (Item, error) {
	item, err := u.f(old, found)
	if err != nil {
		return Item{}, err
	}
	return item, u.checkSize(u.whole, item)
}

// put stores the item if the entry still is old, and reports whether it did.
func (u *updater) put(ctx context.Context, old, item Item, found bool) (bool, error) {
	switch {
	case u.ttl == AtOnce:
		_, err := u.store.Delete(ctx, u.whole)
		return err == nil, err
	case found:
		return u.swapper.CompareAndSwap(ctx, u.whole, old, item, u.ttl)
	case u.adds != nil:
		return u.adds.Do(ctx, Entry{Key: u.whole, Item: item, TTL: u.ttl})
	default:
		return u.store.Add(ctx, u.whole, item, u.ttl)
	}
}

func addOne(store Store) func(context.Context, Entry) (bool, error) {
	return func(ctx context.Context, e Entry) (bool, error) { return store.Add(ctx, e.Key, e.Item, e.TTL) }
}

// addMany adds the first entry of each key. A later one finds it there.
func addMany(store ManyAdder) func(context.Context, []Entry) ([]bool, error) {
	return func(ctx context.Context, entries []Entry) ([]bool, error) {
		place := make(map[string]int, len(entries))
		unique := make([]Entry, 0, len(entries))
		for i, e := range entries {
			if _, double := place[e.Key]; !double {
				place[e.Key] = i
				unique = append(unique, e)
			}
		}
		added, err := store.AddMany(ctx, unique)
		if err != nil {
			return nil, err
		}
		all := make([]bool, len(entries))
		for i, e := range unique {
			all[place[e.Key]] = added[i]
		}
		return all, nil
	}
}

// Conflicts that are retried without a pause, and the longest pause.
const (
	freeConflicts = 3
	longestPause  = 16 * time.Millisecond
)

// pause waits a random while that grows with the number of conflicts so far.
func pause(ctx context.Context, conflicts int) error {
	if conflicts < freeConflicts {
		return ctx.Err()
	}
	limit := min(longestPause, 100*time.Microsecond<<min(conflicts-freeConflicts, 10))
	timer := time.NewTimer(rand.N(limit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
