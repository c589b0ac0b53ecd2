package dbcache_test

import (
	"context"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver of the database below

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
)

// A program names the table and the database as Django's settings do.
func ExampleOpen() {
	ctx := context.Background()
	store, err := dbcache.Open(
		cache.Settings{Location: []string{"my_cache_table"}, Options: cache.Options{MaxEntries: 10_000}},
		cache.Database{Engine: "django.db.backends.sqlite3", Name: ":memory:"},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	if err := store.CreateTable(ctx); err != nil {
		fmt.Println(err)
		return
	}
	added, err := store.Add(ctx, ":1:greeting", cache.Item{Value: []byte("hello")}, time.Minute)
	fmt.Println(added, err)
	item, err := store.Get(ctx, ":1:greeting")
	fmt.Println(string(item.Value), err)
	// Output:
	// true <nil>
	// hello <nil>
}
