package dbcache_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// clock is a clock that stands still until it is moved.
type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanoseconds.Store(time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

// withClock makes the table and returns a store on it whose clock stands.
func withClock(t *testing.T, db *sql.DB, o dbcache.Options) (*dbcache.Store, *clock) {
	t.Helper()
	c := newClock()
	o.Now = c.now
	store, err := dbcache.New(db, table, o)
	require.NoError(t, err)
	require.NoError(t, store.CreateTable(t.Context()))
	return store, c
}

func value(text string) cache.Item { return cache.Item{Value: []byte(text)} }

func got(t *testing.T, store cache.Store, key string) string {
	t.Helper()
	item, err := store.Get(t.Context(), key)
	if err != nil {
		require.ErrorIs(t, err, cache.ErrMiss)
		return "(miss)"
	}
	return string(item.Value)
}

func count(t *testing.T, db *sql.DB) int {
	t.Helper()
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}

func TestAnEntryLivesThroughItsLastSecond(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, clock := withClock(t, db, dbcache.Options{})
		require.NoError(t, store.Set(t.Context(), "k", value("v"), 10*time.Second))
		clock.advance(10 * time.Second)
		assert.Equal(t, "v", got(t, store, "k"), "at the very end")
		clock.advance(time.Microsecond)
		assert.Equal(t, "(miss)", got(t, store, "k"), "a microsecond later")
	})
}

func TestAnExpiredEntryIsNotThere(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, clock := withClock(t, db, dbcache.Options{})
		ctx := t.Context()
		require.NoError(t, store.Set(ctx, "k", value("v"), time.Second))
		clock.advance(time.Minute)

		items, err := store.GetMany(ctx, []string{"k"})
		require.NoError(t, err)
		assert.Empty(t, items)
		for name, there := range map[string]func() (bool, error){
			"touch":            func() (bool, error) { return store.Touch(ctx, "k", time.Hour) },
			"delete":           func() (bool, error) { return store.Delete(ctx, "k") },
			"compare and swap": func() (bool, error) { return store.CompareAndSwap(ctx, "k", value("v"), value("w"), time.Hour) },
			"swap for itself":  func() (bool, error) { return store.CompareAndSwap(ctx, "k", value("v"), value("v"), time.Hour) },
		} {
			ok, err := there()
			require.NoError(t, err, name)
			assert.False(t, ok, name)
		}
	})
}

func TestOneOfManyAddsReplacesAnExpiredEntry(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, clock := withClock(t, db, dbcache.Options{})
		for round := range 20 {
			require.NoError(t, store.Set(t.Context(), "k", value("old"), time.Second))
			clock.advance(time.Minute)
			winners := addTogether(t, store, 8)
			require.Len(t, winners, 1, "round %d", round)
			require.Equal(t, winners[0], got(t, store, "k"))
		}
	})
}

// addTogether adds n values under one key at the same time and returns those
// that were stored.
func addTogether(t *testing.T, store *dbcache.Store, n int) []string {
	t.Helper()
	var group sync.WaitGroup
	var mu sync.Mutex
	var winners []string
	for i := range n {
		group.Go(func() {
			mine := fmt.Sprint("new ", i)
			added, err := store.Add(t.Context(), "k", value(mine), time.Second)
			mu.Lock()
			defer mu.Unlock()
			assert.NoError(t, err)
			if added {
				winners = append(winners, mine)
			}
		})
	}
	group.Wait()
	return winners
}

// alike are keys that MySQL's default collation takes for equal.
var alike = []string{"key", "KEY", "Key ", "kéy"}

func TestKeysThatOnlyLookAlikeAreNotMixedUp(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{})
		for _, held := range alike {
			for _, asked := range alike {
				if asked != held {
					checkAlike(t, store, held, asked)
				}
			}
		}
	})
}

// checkAlike checks that an entry under one key is not there under another.
func checkAlike(t *testing.T, store *dbcache.Store, held, asked string) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, store.Clear(ctx))
	require.NoError(t, store.Set(ctx, held, value("v"), time.Hour))

	require.Equal(t, "(miss)", got(t, store, asked), "get %q beside %q", asked, held)
	items, err := store.GetMany(ctx, []string{asked})
	require.NoError(t, err)
	require.Empty(t, items, "get many %q beside %q", asked, held)
	require.NoError(t, store.DeleteMany(ctx, []string{asked}))
	for name, there := range map[string]func() (bool, error){
		"touch":            func() (bool, error) { return store.Touch(ctx, asked, time.Hour) },
		"delete":           func() (bool, error) { return store.Delete(ctx, asked) },
		"compare and swap": func() (bool, error) { return store.CompareAndSwap(ctx, asked, value("v"), value("w"), time.Hour) },
	} {
		ok, err := there()
		require.NoError(t, err, name)
		require.False(t, ok, "%s %q beside %q", name, asked, held)
	}
	require.Equal(t, "v", got(t, store, held), "%q after operations on %q", held, asked)

	added, err := store.Add(ctx, asked, value("w"), time.Hour)
	require.NoError(t, err)
	require.True(t, added, "add %q beside %q", asked, held)
	require.Equal(t, "w", got(t, store, asked))
	require.NoError(t, store.Set(ctx, held, value("x"), time.Hour))
	require.Equal(t, "x", got(t, store, held))
	require.NoError(t, store.SetMany(ctx, map[string]cache.Item{asked: value("y")}, time.Hour))
	require.Equal(t, "y", got(t, store, asked))
}

func TestValuesAreComparedByteByByte(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{})
		// In base64 these are AAAA and aaaa.
		upper, lower := cache.Item{Value: []byte{0, 0, 0}}, cache.Item{Value: []byte{0x69, 0xa6, 0x9a}}
		require.NoError(t, store.Set(t.Context(), "k", upper, time.Hour))
		swapped, err := store.CompareAndSwap(t.Context(), "k", lower, value("w"), time.Hour)
		require.NoError(t, err)
		assert.False(t, swapped)
	})
}

func TestKeysThatTheTableCannotHoldAreRefused(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{})
		longest := strings.Repeat("k", 255)
		require.NoError(t, store.Set(t.Context(), longest, value("v"), time.Hour))
		assert.Equal(t, "v", got(t, store, longest))
		for name, key := range map[string]string{
			"empty": "", "too long": longest + "k", "NUL": "a\x00b", "not UTF-8": "a\xff",
		} {
			for operation, err := range useAll(t.Context(), store, key) {
				assert.ErrorIs(t, err, cache.ErrBadKey, "%s of a key that is %s", operation, name)
			}
		}
	})
}

// useAll calls every method on the key and returns their errors.
func useAll(ctx context.Context, store *dbcache.Store, key string) map[string]error {
	errs := map[string]error{}
	_, errs["get"] = store.Get(ctx, key)
	_, errs["add"] = store.Add(ctx, key, value("v"), time.Hour)
	_, errs["touch"] = store.Touch(ctx, key, time.Hour)
	_, errs["delete"] = store.Delete(ctx, key)
	_, errs["swap"] = store.CompareAndSwap(ctx, key, value("v"), value("w"), time.Hour)
	_, errs["get many"] = store.GetMany(ctx, []string{key})
	errs["set"] = store.Set(ctx, key, value("v"), time.Hour)
	errs["set many"] = store.SetMany(ctx, map[string]cache.Item{key: value("v")}, time.Hour)
	errs["delete many"] = store.DeleteMany(ctx, []string{key})
	return errs
}

func TestManyKeysInSeveralStatements(t *testing.T) {
	onEach(t, func(t *testing.T, database cache.Database) {
		db, _ := rawDB(t, database)
		store, _ := withClock(t, db, dbcache.Options{MaxEntries: 10_000})
		items, keys := map[string]cache.Item{}, []string{}
		for i := range 1300 {
			key := fmt.Sprint("k", i)
			keys = append(keys, key)
			items[key] = value(strings.Repeat(key, i%7))
		}
		items["k7"] = cache.Item{Value: bytes.Repeat([]byte("large "), 200_000)}
		require.NoError(t, store.SetMany(t.Context(), items, time.Hour))
		found, err := store.GetMany(t.Context(), append(keys, "absent", "k1"))
		require.NoError(t, err)
		require.Len(t, found, len(items))
		for key, item := range items {
			require.True(t, bytes.Equal(item.Value, found[key].Value), key)
		}
		require.NoError(t, store.DeleteMany(t.Context(), keys[100:]))
		assert.Equal(t, 100, count(t, db))
	})
}

func TestNoKeysIsNoStatement(t *testing.T) {
	store, err := dbcache.New(nil, table, dbcache.Options{Engine: "mysql"})
	require.NoError(t, err)
	items, err := store.GetMany(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, items)
	require.NoError(t, store.SetMany(t.Context(), nil, time.Hour))
	require.NoError(t, store.DeleteMany(t.Context(), nil))
}

func TestAnIsolationLevelDoesNotMatter(t *testing.T) {
	levels := map[*sqldialect.Dialect]string{
		sqldialect.PostgreSQL: "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL %s",
		sqldialect.MySQL:      "SET SESSION TRANSACTION ISOLATION LEVEL %s",
	}
	for _, level := range []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"} {
		t.Run(level, func(t *testing.T) {
			onEach(t, func(t *testing.T, database cache.Database) {
				db, dialect := rawDB(t, database)
				if set := levels[dialect]; set != "" {
					everyConnection(t, db, fmt.Sprintf(set, level))
				}
				contend(t, db)
			})
		})
	}
}

// everyConnection runs a statement on each of four connections, and leaves the
// pool with these.
func everyConnection(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	db.SetMaxOpenConns(4)
	for range 4 {
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
}

// contend counts in one entry from several goroutines beside writers and a
// culler, and checks that nothing is lost and readers see it at once.
func contend(t *testing.T, db *sql.DB) {
	t.Helper()
	store, _ := withClock(t, db, dbcache.Options{MaxEntries: 20})
	require.NoError(t, store.Set(t.Context(), "counter", value("0"), cache.Never))
	var group sync.WaitGroup
	const counters, rounds = 4, 10
	for i := range counters {
		group.Go(func() {
			for round := range rounds {
				assert.NoError(t, increment(t.Context(), store))
				assert.NoError(t, store.Set(t.Context(), fmt.Sprint("other", i, round), value("v"), time.Minute))
			}
		})
	}
	group.Wait()
	assert.Equal(t, fmt.Sprint(counters*rounds), got(t, store, "counter"))
}

// increment adds one to the counter by compare-and-swap. A serialization
// failure that outlasts the store's own retries is tried again, as it is safe.
func increment(ctx context.Context, store *dbcache.Store) error {
	for {
		old, err := store.Get(ctx, "counter")
		if err != nil {
			return err
		}
		n := 0
		fmt.Sscan(string(old.Value), &n)
		swapped, err := store.CompareAndSwap(ctx, "counter", old, value(fmt.Sprint(n+1)), cache.Never)
		if swapped || (err != nil && sqldialect.Classify(err) != sqldialect.Transient) {
			return err
		}
	}
}
