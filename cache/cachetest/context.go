package cachetest

import (
	"context"
	"errors"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

// prompt is how soon a call must return once its context is over.
const prompt = 50 * time.Millisecond

func contextRows() []row {
	return []row{
		{name: "a cancelled context has no effect", rule: "it returns the context's error and the store is not touched", run: func(e *env) {
			ctx, cancel := context.WithCancel(e.ctx)
			cancel()
			e.untouched(ctx, context.Canceled)
		}},
		{name: "a past deadline has no effect", rule: "it returns the context's error and the store is not touched", run: func(e *env) {
			ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
			defer cancel()
			e.untouched(ctx, context.DeadlineExceeded)
		}},
		{name: "a cancel in flight returns within 50 ms", rule: "a call that waits for a reply ends with its context", needs: staller, run: func(e *env) {
			e.endsPromptly(context.Canceled, cancelInFlight)
		}},
		{name: "a deadline in flight returns within 50 ms", rule: "a call that waits for a reply ends at its deadline", needs: staller, run: func(e *env) {
			e.endsPromptly(context.DeadlineExceeded, deadlineInFlight)
		}},
		{name: "a store works after cancelled calls", rule: "an abandoned reply is not given to another call", run: worksAfterCancel},
		{name: "closing twice is no error", rule: "Close can be called again", run: func(e *env) {
			require.NoError(e, e.store.Close())
			require.NoError(e, e.store.Close())
		}},
		{name: "a closed store answers ErrClosed", rule: "every operation after Close is ErrClosed", run: func(e *env) {
			require.NoError(e, e.store.Close())
			for _, op := range operations(e.store) {
				require.ErrorIs(e, op.do(e.ctx, e.key("k")), cache.ErrClosed, op.name)
			}
		}},
	}
}

// untouched checks that no operation of the store or of a Cache over it takes
// effect under a context that is over.
func (e *env) untouched(ctx context.Context, want error) {
	e.Helper()
	e.set(e.whole("k"), "old", long)
	for _, op := range operations(e.store) {
		require.ErrorIs(e, op.do(ctx, e.whole("k")), want, op.name)
		e.holds(e.whole("k"), "old")
	}
	for _, op := range cacheOperations(e.cache()) {
		require.Equal(e, want, op.do(ctx, "k"), "Cache.%s", op.name)
		e.holds(e.whole("k"), "old")
	}
}

// flight is how long a call waits for a reply before its context is over.
const flight = 30 * time.Millisecond

func cancelInFlight(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(flight, cancel)
	return ctx, cancel
}

func deadlineInFlight(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, flight)
}

// endsPromptly checks every operation against a server that does not answer.
// The best of three tries counts, for the machine may be busy.
func (e *env) endsPromptly(want error, begin func(context.Context) (context.Context, context.CancelFunc)) {
	store, release := e.h.Stall(e.T)
	defer store.Close()
	defer release()
	for _, op := range operations(store) {
		late := prompt + 1
		for try := 0; try < 3 && late > prompt; try++ {
			late = e.lateness(op, want, begin)
		}
		require.LessOrEqual(e, late, prompt, "%s returned so long after its context was over", op.name)
		require.Greater(e, late, -flight/2, "%s did not wait for its reply", op.name)
	}
}

// lateness returns how long after the end of its context a call returned.
func (e *env) lateness(op operation, want error, begin func(context.Context) (context.Context, context.CancelFunc)) time.Duration {
	ctx, cancel := begin(e.ctx)
	defer cancel()
	started := time.Now()
	err := op.do(ctx, e.key("k"))
	require.ErrorIs(e, err, want, op.name)
	return time.Since(started) - flight
}

// worksAfterCancel cancels calls in all stages and then checks that replies
// still belong to the calls that asked.
func worksAfterCancel(e *env) {
	for i := range 200 {
		key := e.key(string(rune('a' + i%20)))
		ctx, cancel := context.WithTimeout(e.ctx, time.Duration(i)*5*time.Microsecond)
		err := e.store.Set(ctx, key, raw(key), long)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			require.NoError(e, err, "set of %q under a short deadline", key)
		}
		item, err := e.store.Get(e.ctx, key)
		if !errors.Is(err, cache.ErrMiss) {
			require.NoError(e, err, "get of %q after a short deadline", key)
			require.Equal(e, key, string(item.Value))
		}
	}
}

// cacheOperations returns every method of a Cache that takes a key. Each would
// change or read the entry under it.
func cacheOperations(c *cache.Cache) []operation {
	compute := func(context.Context) (any, error) { return "new", nil }
	update := func(cache.Item, bool) (cache.Item, error) { return raw("new"), nil }
	return []operation{
		{"Get", func(ctx context.Context, key string) error { _, err := c.Get(ctx, key); return err }},
		{"GetInto", func(ctx context.Context, key string) error { var v any; return c.GetInto(ctx, key, &v) }},
		{"GetItem", func(ctx context.Context, key string) error { _, err := c.GetItem(ctx, key); return err }},
		{"Has", func(ctx context.Context, key string) error { _, err := c.Has(ctx, key); return err }},
		{"Set", func(ctx context.Context, key string) error { return c.Set(ctx, key, "new", long) }},
		{"Set at once", func(ctx context.Context, key string) error { return c.Set(ctx, key, "new", cache.AtOnce) }},
		{"SetItem", func(ctx context.Context, key string) error { return c.SetItem(ctx, key, raw("new"), long) }},
		{"Add", func(ctx context.Context, key string) error { _, err := c.Add(ctx, key, "new", long); return err }},
		{"Touch", func(ctx context.Context, key string) error { _, err := c.Touch(ctx, key, long); return err }},
		{"Delete", func(ctx context.Context, key string) error { _, err := c.Delete(ctx, key); return err }},
		{"GetOrSet", func(ctx context.Context, key string) error { _, err := c.GetOrSet(ctx, key, compute, long); return err }},
		{"GetMany", func(ctx context.Context, key string) error { _, err := c.GetMany(ctx, []string{key}); return err }},
		{"GetItems", func(ctx context.Context, key string) error { _, err := c.GetItems(ctx, []string{key}); return err }},
		{"SetMany", func(ctx context.Context, key string) error { return c.SetMany(ctx, map[string]any{key: "new"}, long) }},
		{"DeleteMany", func(ctx context.Context, key string) error { return c.DeleteMany(ctx, []string{key}) }},
		{"Incr", func(ctx context.Context, key string) error { _, err := c.Incr(ctx, key, 1); return err }},
		{"Decr", func(ctx context.Context, key string) error { _, err := c.Decr(ctx, key, 1); return err }},
		{"IncrVersion", func(ctx context.Context, key string) error { _, err := c.IncrVersion(ctx, key, 1); return err }},
		{"DecrVersion", func(ctx context.Context, key string) error { _, err := c.DecrVersion(ctx, key, 1); return err }},
		{"Update", func(ctx context.Context, key string) error { return c.Update(ctx, key, long, update) }},
	}
}
