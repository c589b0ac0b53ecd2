package cachetest

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func randomPrefix() string { return "ct" + rand.Text()[:10] }

// key returns a whole key of this case.
func (e *env) key(name string) string { return e.prefix + ":" + name }

// cache returns a Cache over the case's store whose keys belong to this case.
func (e *env) cache(settings ...func(*cache.Settings)) *cache.Cache {
	e.Helper()
	s := cache.Settings{KeyPrefix: e.prefix}
	for _, set := range settings {
		set(&s)
	}
	c, err := cache.New(e.store, s)
	require.NoError(e, err)
	return c
}

// raw is an item of bytes as they are.
func raw(value string) cache.Item {
	return cache.Item{Value: []byte(value), Format: cache.Bytes}
}

func (e *env) set(key, value string, ttl time.Duration) {
	e.Helper()
	require.NoError(e, e.store.Set(e.ctx, key, raw(value), ttl), "set %q", key)
}

func (e *env) get(key string) cache.Item {
	e.Helper()
	item, err := e.store.Get(e.ctx, key)
	require.NoError(e, err, "get %q", key)
	return item
}

// holds checks that the entry is there with the value.
func (e *env) holds(key, want string) {
	e.Helper()
	require.Equal(e, []byte(want), append([]byte{}, e.get(key).Value...), "value of %q", key)
}

// misses checks that there is no entry.
func (e *env) misses(key string) {
	e.Helper()
	item, err := e.store.Get(e.ctx, key)
	require.ErrorIs(e, err, cache.ErrMiss, "get %q returned %q", key, item.Value)
}

// short is a lifetime that is soon over, and long one that outlasts the case.
func (e *env) short() time.Duration { return max(e.traits.Resolution, 20*time.Millisecond) }

const long = time.Hour

// roomy is a lifetime that a slow test can act within and that passRoomy ends.
func (e *env) roomy() time.Duration { return e.short() + time.Second }

// pass lets every short lifetime end, and passRoomy every roomy one.
func (e *env) pass()      { e.wait(2*e.short() + 100*time.Millisecond) }
func (e *env) passRoomy() { e.wait(e.roomy() + e.short() + 100*time.Millisecond) }

func (e *env) wait(d time.Duration) {
	if e.h.Advance != nil {
		e.h.Advance(d)
		return
	}
	time.Sleep(d)
}

// expires waits until the entry is gone, which must not take much longer than
// a short lifetime.
func (e *env) expires(key string) {
	e.Helper()
	gone := func() bool {
		_, err := e.store.Get(e.ctx, key)
		return errors.Is(err, cache.ErrMiss)
	}
	if e.h.Advance != nil {
		e.pass()
		require.True(e, gone(), "%q outlived its lifetime", key)
		return
	}
	require.Eventually(e, gone, 3*e.short()+2*time.Second, e.short()/10, "%q outlived its lifetime", key)
}

// together runs f in n goroutines that start at the same time and waits.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// operation is one method of a store, or of what it offers beyond.
type operation struct {
	name string
	do   func(ctx context.Context, key string) error
}

// operations returns every method of the store that takes a context, except
// Clear. Each would change or read the entry under its key.
func operations(s cache.Store) []operation {
	ops := []operation{
		{"Get", func(ctx context.Context, key string) error { _, err := s.Get(ctx, key); return err }},
		{"Set", func(ctx context.Context, key string) error { return s.Set(ctx, key, raw("new"), long) }},
		{"Add", func(ctx context.Context, key string) error { _, err := s.Add(ctx, key, raw("new"), long); return err }},
		{"Touch", func(ctx context.Context, key string) error { _, err := s.Touch(ctx, key, long); return err }},
		{"Delete", func(ctx context.Context, key string) error { _, err := s.Delete(ctx, key); return err }},
	}
	return append(ops, extraOperations(s)...)
}

func extraOperations(s cache.Store) (ops []operation) {
	add := func(name string, do func(ctx context.Context, key string) error) {
		ops = append(ops, operation{name, do})
	}
	if x, ok := s.(cache.Swapper); ok {
		add("CompareAndSwap", func(ctx context.Context, key string) error {
			_, err := x.CompareAndSwap(ctx, key, cache.Item{Value: []byte("old"), Format: cache.Bytes, Token: 1}, raw("new"), long)
			return err
		})
	}
	if x, ok := s.(cache.ManyGetter); ok {
		add("GetMany", func(ctx context.Context, key string) error { _, err := x.GetMany(ctx, []string{key}); return err })
	}
	if x, ok := s.(cache.ManySetter); ok {
		add("SetMany", func(ctx context.Context, key string) error {
			return x.SetMany(ctx, map[string]cache.Item{key: raw("new")}, long)
		})
	}
	if x, ok := s.(cache.ManyDeleter); ok {
		add("DeleteMany", func(ctx context.Context, key string) error { return x.DeleteMany(ctx, []string{key}) })
	}
	if x, ok := s.(cache.Counter); ok {
		add("Incr", func(ctx context.Context, key string) error { _, err := x.Incr(ctx, key, 1); return err })
	}
	return ops
}
