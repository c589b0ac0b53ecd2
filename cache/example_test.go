package cache_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

func Example() {
	ctx := context.Background()
	store, err := locmem.New("example", nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := cache.New(store, cache.Settings{KeyPrefix: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if err := c.Set(ctx, "basket", map[string]any{"apples": 3}, time.Hour); err != nil {
		log.Fatal(err)
	}
	var basket map[string]int
	if err := c.GetInto(ctx, "basket", &basket); err != nil {
		log.Fatal(err)
	}
	fmt.Println(basket["apples"])

	_, err = c.Get(ctx, "nothing")
	fmt.Println(errors.Is(err, cache.ErrMiss))
	// Output:
	// 3
	// true
}

func ExampleCache_Incr() {
	ctx := context.Background()
	store, _ := locmem.New("visits", nil)
	c, _ := cache.New(store, cache.Settings{})
	defer c.Close()

	_, err := c.Incr(ctx, "visits", 1)
	fmt.Println(errors.Is(err, cache.ErrMiss))
	_, _ = c.Add(ctx, "visits", 0, cache.Never)
	n, _ := c.Incr(ctx, "visits", 1)
	fmt.Println(n)
	// Output:
	// true
	// 1
}

// Update keeps the highest score whatever other writers do meanwhile.
func ExampleCache_Update() {
	ctx := context.Background()
	store, _ := locmem.New("scores", nil)
	c, _ := cache.New(store, cache.Settings{})
	defer c.Close()

	errLower := errors.New("lower than what stands")
	record := func(score int) error {
		return c.Update(ctx, "best", cache.Never, func(old cache.Item, found bool) (cache.Item, error) {
			best, _ := strconv.Atoi(string(old.Value))
			if found && score <= best {
				return cache.Item{}, errLower
			}
			return c.Encode(score)
		})
	}
	fmt.Println(record(10), record(7), record(12))
	best, _ := c.Get(ctx, "best")
	fmt.Println(best)
	// Output:
	// <nil> lower than what stands <nil>
	// 12
}

func ExampleCache_WithVersion() {
	ctx := context.Background()
	store, _ := locmem.New("versions", nil)
	c, _ := cache.New(store, cache.Settings{})
	defer c.Close()

	_ = c.Set(ctx, "page", "old", cache.DefaultTimeout)
	version, _ := c.IncrVersion(ctx, "page", 1)
	page, _ := c.WithVersion(version).Get(ctx, "page")
	fmt.Println(version, page)
	// Output: 2 old
}
