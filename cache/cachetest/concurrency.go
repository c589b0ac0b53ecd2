package cachetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/cache"
)

func concurrencyRows() []row {
	return []row{
		{name: "64 callers do everything at once", rule: "every reply belongs to the call that asked, also beside calls that are cancelled", run: mix},
	}
}

// mix runs all kinds of operations on a few keys. A value begins with its key,
// so an answer that went to the wrong caller shows.
func mix(e *env) {
	const keys = 16
	until := time.Now().Add(500 * time.Millisecond)
	together(64, func(int) {
		for time.Now().Before(until) && !e.Failed() {
			e.mixed(e.key("mix" + strconv.Itoa(rand.IntN(keys))))
		}
	})
}

// mixed does one random operation, one in eight under a very short deadline.
func (e *env) mixed(key string) {
	ctx, cancel := e.ctx, context.CancelFunc(func() {})
	if rand.IntN(8) == 0 {
		ctx, cancel = context.WithTimeout(e.ctx, time.Duration(rand.IntN(300))*time.Microsecond)
	}
	defer cancel()
	value := raw(key + "|" + strconv.Itoa(rand.IntN(1_000_000)))
	var err error
	switch rand.IntN(8) {
	case 0, 1:
		err = e.store.Set(ctx, key, value, long)
	case 2:
		_, err = e.store.Add(ctx, key, value, long)
	case 3:
		_, err = e.store.Delete(ctx, key)
	case 4:
		_, err = e.store.Touch(ctx, key, long)
	case 5:
		err = e.mixedMany(ctx, key)
	default:
		err = e.mixedGet(ctx, key)
	}
	if !errors.Is(err, cache.ErrMiss) && !errors.Is(err, context.DeadlineExceeded) {
		assert.NoError(e, err)
	}
}

func (e *env) mixedGet(ctx context.Context, key string) error {
	item, err := e.store.Get(ctx, key)
	if err == nil {
		e.belongs(key, item)
	}
	return err
}

func (e *env) mixedMany(ctx context.Context, key string) error {
	many, ok := e.store.(cache.ManyGetter)
	if !ok {
		return e.mixedGet(ctx, key)
	}
	items, err := many.GetMany(ctx, []string{key, e.key("mix0"), e.key("mix1")})
	for key, item := range items {
		e.belongs(key, item)
	}
	return err
}

func (e *env) belongs(key string, item cache.Item) {
	assert.True(e, strings.HasPrefix(string(item.Value), key+"|"), "get %q returned %q", key, item.Value)
}
