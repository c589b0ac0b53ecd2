package memcached_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) { testserver.Main(m) }

// open opens a store that the test closes.
func open(t testing.TB, s cache.Settings) *memcached.Store {
	t.Helper()
	if s.Backend == "" {
		s.Backend = "memcached"
	}
	store, err := memcached.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// at opens a store on locations.
func at(t testing.TB, locations ...string) *memcached.Store {
	t.Helper()
	return open(t, cache.Settings{Location: locations})
}

// rawClient returns a gomemcache client that the test closes.
func rawClient(t testing.TB, servers ...string) *memcache.Client {
	client := memcache.New(servers...)
	client.Timeout, client.MaxIdleConns = 3*time.Second, 64
	t.Cleanup(func() { client.Close() })
	return client
}

func item(value string) cache.Item { return cache.Item{Value: []byte(value), Format: cache.Bytes} }

func integer(value int64) cache.Item {
	return cache.Item{Value: strconv.AppendInt(nil, value, 10), Format: cache.Integer}
}

func startThree(t *testing.T) (locations []string) {
	for range 3 {
		locations = append(locations, testserver.StartMemcached(t).Addr())
	}
	return locations
}

func TestSuiteOnOneServer(t *testing.T) {
	t.Parallel()
	location := testserver.Memcached(t)
	cachetest.Harness{Open: func(t *testing.T) cache.Store { return at(t, location) }, Stall: stall}.Run(t)
}

func TestSuiteOnThreeServersOfPylibmc(t *testing.T) {
	t.Parallel()
	settings := cache.Settings{Backend: "django.core.cache.backends.memcached.PyLibMCCache", Location: startThree(t)}
	cachetest.Harness{Open: func(t *testing.T) cache.Store { return open(t, settings) }, Owned: true}.Run(t)
}

// stall opens a store on a server that takes connections and says nothing.
func stall(t *testing.T) (cache.Store, func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return at(t, listener.Addr().String()), func() { listener.Close() }
}

func TestAUnixSocketIsALocation(t *testing.T) {
	server := testserver.StartMemcached(t, "-s", t.TempDir()+"/m.sock")
	for _, location := range []string{server.Addr(), "unix:" + server.Addr()} {
		store := at(t, location)
		require.NoError(t, store.Set(t.Context(), "k", integer(3), time.Hour), location)
		sum, err := store.Incr(t.Context(), "k", -5)
		require.NoError(t, err, location)
		require.EqualValues(t, -2, sum, location)
	}
}

func TestTheCallersClientStaysOpen(t *testing.T) {
	ctx, locations := t.Context(), startThree(t)
	servers, err := memcached.NewServers(memcached.Pymemcache, locations...)
	require.NoError(t, err)
	client := memcache.NewFromSelector(servers)
	defer client.Close()
	store, opened := memcached.New(client, nil), at(t, locations...)
	items := map[string]bool{}
	for i := range 50 {
		key := strconv.Itoa(i)
		items[key] = true
		require.NoError(t, store.Set(ctx, key, item("v"), time.Hour))
	}
	for key := range items {
		_, err := opened.Get(ctx, key)
		require.NoError(t, err, "%s where Open's store looks for it", key)
	}
	require.NoError(t, store.Close())
	_, err = store.Get(ctx, "1")
	require.ErrorIs(t, err, cache.ErrClosed)
	require.NoError(t, client.Ping())
}

func TestAHostIsLookedUpWhenItIsNeeded(t *testing.T) {
	store := at(t, "no-such-host.invalid:11211")
	_, err := store.Get(t.Context(), "k")
	require.ErrorContains(t, err, `memcached: get "k": `)
	var lookup *net.DNSError
	require.True(t, errors.As(err, &lookup), "%v", err)
}

func TestUnknownBackendsAreRefused(t *testing.T) {
	for _, backend := range []string{"", "redis", "nope"} {
		_, err := memcached.Open(cache.Settings{Backend: backend, Location: []string{"h"}})
		require.EqualError(t, err, fmt.Sprintf("memcached: %q is not a memcached backend", backend))
	}
}

// recorded are entries that Django's caches stored for django-celery-results:
// revoked tasks.
var recorded = map[string]struct{ key, value string }{
	"memcached": {"pymc:1:celery-task-meta-django-cache-pymemcache-revoked", "gAWVzwAAAAAAAAB9lCiMBnN0YXR1c5SMB1JFVk9LRUSUjAZyZXN1bHSUjBFjZWxlcnkuZXhjZXB0aW9uc5SMEFRhc2tSZXZva2VkRXJyb3KUk5SMCnRlcm1pbmF0ZWSUhZRSlIwJdHJhY2ViYWNrlE6MCGNoaWxkcmVulE6MCWRhdGVfZG9uZZSMIDIwMjYtMTEtMjFUMDk6MDk6MjkuNzA1MzE3KzAwOjAwlIwHdGFza19pZJSMH2RqYW5nby1jYWNoZS1weW1lbWNhY2hlLXJldm9rZWSUdS4="},
	"pylibmc":   {"pylib:2:celery-task-meta-django-cache-pylibmc-revoked", "gAWVzAAAAAAAAAB9lCiMBnN0YXR1c5SMB1JFVk9LRUSUjAZyZXN1bHSUjBFjZWxlcnkuZXhjZXB0aW9uc5SMEFRhc2tSZXZva2VkRXJyb3KUk5SMCnRlcm1pbmF0ZWSUhZRSlIwJdHJhY2ViYWNrlE6MCGNoaWxkcmVulE6MCWRhdGVfZG9uZZSMIDIwMjYtMTEtMjFUMDk6MDk6MzUuNjIyNTAzKzAwOjAwlIwHdGFza19pZJSMHGRqYW5nby1jYWNoZS1weWxpYm1jLXJldm9rZWSUdS4="},
}

func TestEntriesAreThoseThatDjangoStores(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	raw := rawClient(t, addr)
	for backend, r := range recorded {
		store := open(t, cache.Settings{Backend: backend, Location: []string{addr}})
		value, err := base64.StdEncoding.DecodeString(r.value)
		require.NoError(t, err)
		require.NoError(t, raw.Set(&memcache.Item{Key: r.key, Value: value, Flags: 1}))
		got, err := store.Get(ctx, r.key)
		require.NoError(t, err)
		require.Equal(t, cache.Pickled, got.Format)
		require.Equal(t, value, got.Value)

		require.NoError(t, store.Set(ctx, r.key, cache.Item{Value: value, Format: cache.Pickled}, time.Hour))
		written, err := raw.Get(r.key)
		require.NoError(t, err)
		require.EqualValues(t, 1, written.Flags)
		require.Equal(t, value, written.Value)
	}
}

func TestFlagsAreThoseOfThePythonClients(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	raw := rawClient(t, addr)
	for backend, integers := range map[string]uint32{"memcached": 2, "pylibmc": 4} {
		store := open(t, cache.Settings{Backend: backend, Location: []string{addr}})
		for format, want := range map[cache.Format]uint32{
			cache.Bytes: 0, cache.Unspecified: 0, cache.Pickled: 1, cache.Integer: integers, cache.Text: 16,
		} {
			require.NoError(t, store.Set(ctx, "k", cache.Item{Value: []byte("1"), Format: format}, time.Hour))
			got, err := raw.Get("k")
			require.NoError(t, err)
			assert.Equal(t, want, got.Flags, "%s, format %d", backend, format)
		}
		for flags, want := range map[uint32]cache.Format{
			0: cache.Bytes, 1: cache.Pickled, 2: cache.Integer, 4: cache.Integer, 16: cache.Text, 3: cache.Bytes, 32: cache.Bytes,
		} {
			require.NoError(t, raw.Set(&memcache.Item{Key: "k", Value: []byte("1"), Flags: flags}))
			got, err := store.Get(ctx, "k")
			require.NoError(t, err)
			assert.Equal(t, want, got.Format, "%s, flags %d", backend, flags)
		}
	}
}

func compressed(t *testing.T, value []byte) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	require.NoError(t, err)
	_, err = w.Write(value)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestCompressedValuesAreInflatedWithinBounds(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	raw, store := rawClient(t, addr), at(t, addr)
	text := bytes.Repeat([]byte("text "), 10_000)
	for name, c := range map[string]struct {
		stored []byte
		want   []byte // nil: an error
	}{
		"a text":          {compressed(t, text), text},
		"an empty text":   {compressed(t, nil), []byte{}},
		"no zlib":         {[]byte("plain"), nil},
		"a cut one":       {compressed(t, text)[:20], nil},
		"64 MiB and more": {compressed(t, make([]byte, 64<<20+1)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, raw.Set(&memcache.Item{Key: "k", Value: c.stored, Flags: 16 | 8}))
			got, err := store.Get(ctx, "k")
			if c.want == nil {
				require.NoError(t, err, "it stands")
				require.ErrorContains(t, got.Err, `memcached: get "k": compressed value: `)
				c, err := cache.New(store, cache.Settings{KeyFunction: func(key, _ string, _ int) string { return key }})
				require.NoError(t, err)
				_, err = c.Get(ctx, "k")
				require.EqualError(t, err, got.Err.Error())
				return
			}
			many, manyErr := store.GetMany(ctx, []string{"k"})
			require.NoError(t, errors.Join(err, manyErr))
			require.Equal(t, cache.Text, got.Format)
			require.Equal(t, c.want, got.Value)
			require.Equal(t, c.want, many["k"].Value)
		})
	}
}

func TestAServerWithASmallerLimitAnswersTooLarge(t *testing.T) {
	ctx, store := t.Context(), at(t, testserver.StartMemcached(t, "-I", "512k").Addr())
	require.NoError(t, store.Set(ctx, "k", item("old"), time.Hour))
	require.ErrorIs(t, store.Set(ctx, "k", cache.Item{Value: make([]byte, 700<<10)}, time.Hour), cache.ErrTooLarge)
	_, err := store.Get(ctx, "k")
	require.ErrorIs(t, err, cache.ErrMiss, "a stale value was left")
}

func TestMaxValueFollowsTheServersLimit(t *testing.T) {
	addr := testserver.StartMemcached(t, "-I", "2m").Addr()
	store := open(t, cache.Settings{Location: []string{addr}, Options: cache.Options{MaxValue: 2 << 20}})
	large := cache.Item{Value: make([]byte, store.Traits().MaxValue)}
	require.Greater(t, len(large.Value), 2<<20-512)
	require.NoError(t, store.Set(t.Context(), string(bytes.Repeat([]byte("k"), 250)), large, time.Hour))
}

func TestIncrIsExactOnBothSidesOfZero(t *testing.T) {
	ctx, store := t.Context(), at(t, testserver.StartMemcached(t).Addr())
	for _, c := range []struct{ value, delta, want int64 }{
		{5, 3, 8}, {5, -3, 2}, {100, -91, 9}, {5, -5, 0}, {5, -8, -3}, {-3, 1, -2}, {-3, 5, 2}, {-3, -4, -7}, {0, 0, 0}, {-1, 0, -1},
		{math.MaxInt64 - 1, 1, math.MaxInt64}, {math.MaxInt64, math.MinInt64, -1}, {0, math.MinInt64, math.MinInt64},
		{math.MinInt64, math.MaxInt64, -1}, {math.MinInt64 + 1, -1, math.MinInt64},
	} {
		require.NoError(t, store.Set(ctx, "n", integer(c.value), time.Hour))
		got, err := store.Incr(ctx, "n", c.delta)
		require.NoError(t, err, "%d + %d", c.value, c.delta)
		require.Equal(t, c.want, got, "%d + %d", c.value, c.delta)
		stored, err := store.Get(ctx, "n")
		require.NoError(t, err)
		require.Equal(t, strconv.FormatInt(c.want, 10), string(stored.Value), "%d + %d", c.value, c.delta)
		require.Equal(t, cache.Integer, stored.Format)
	}
}

func TestIncrLeavesWhatItCannotCount(t *testing.T) {
	ctx, store := t.Context(), at(t, testserver.StartMemcached(t).Addr())
	for _, c := range []struct {
		value string
		delta int64
	}{
		{strconv.Itoa(math.MaxInt64), 1}, {strconv.Itoa(math.MaxInt64), math.MaxInt64}, {strconv.Itoa(math.MinInt64), -1},
		{strconv.Itoa(-2), math.MinInt64}, {"text", 1}, {"text", -1}, {"1.5", 1}, {"", 1},
	} {
		require.NoError(t, store.Set(ctx, "n", item(c.value), time.Hour))
		_, err := store.Incr(ctx, "n", c.delta)
		require.ErrorIs(t, err, cache.ErrNotInteger, "%q + %d", c.value, c.delta)
		stored, err := store.Get(ctx, "n")
		require.NoError(t, err)
		require.Equal(t, c.value, string(bytes.TrimRight(stored.Value, " ")), "after + %d", c.delta)
	}
}

func TestIncrBelowZeroKeepsTheLifetime(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	store := at(t, addr)
	for ttl, want := range map[time.Duration]string{time.Hour: "HD t3600", 31 * 24 * time.Hour: "HD t2678400", cache.Never: "HD t-1"} {
		require.NoError(t, store.Set(ctx, "n", integer(1), ttl))
		_, err := store.Incr(ctx, "n", -2)
		require.NoError(t, err)
		got := ask(t, addr, "mg n t")
		if ttl == cache.Never {
			require.Equal(t, want, got)
			continue
		}
		var left, whole int
		_, err = fmt.Sscanf(got+" "+want, "HD t%d HD t%d", &left, &whole)
		require.NoError(t, err, got)
		require.InDelta(t, whole, left, 60, "seconds left of %v", ttl)
	}
}

// ask sends one line and returns the line that answers it.
func ask(t *testing.T, addr, line string) string {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(line + "\r\n"))
	require.NoError(t, err)
	answer := make([]byte, 100)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	return string(bytes.TrimSpace(answer[:n]))
}

func TestCountingDownNeedsToKnowTheServers(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	servers, err := memcached.NewServers(memcached.Pymemcache, addr)
	require.NoError(t, err)
	client := memcache.NewFromSelector(servers)
	defer client.Close()
	require.NoError(t, memcached.New(client, nil).Set(ctx, "n", integer(5), time.Hour))

	_, err = memcached.New(client, nil).Incr(ctx, "n", -1)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	sum, err := memcached.New(client, nil).Incr(ctx, "n", 1)
	require.NoError(t, err)
	require.EqualValues(t, 6, sum)
	sum, err = memcached.New(client, &memcached.Options{Servers: servers}).Incr(ctx, "n", -7)
	require.NoError(t, err)
	require.EqualValues(t, -1, sum)
}

func TestCountersCrossZeroTogether(t *testing.T) {
	ctx, store := t.Context(), at(t, testserver.StartMemcached(t).Addr())
	require.NoError(t, store.Set(ctx, "n", integer(100), time.Hour))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 25 {
				_, err := store.Incr(ctx, "n", -1)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
	got, err := store.Incr(ctx, "n", 0)
	require.NoError(t, err)
	require.EqualValues(t, 100-8*25, got)
}

func TestThreeThousandCallersAtATime(t *testing.T) {
	ctx, addr := t.Context(), testserver.StartMemcached(t).Addr()
	store, raw := at(t, addr), rawClient(t, addr)
	require.NoError(t, raw.Set(&memcache.Item{Key: "k", Value: []byte("v")}))
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 3000 {
		all.Go(func() {
			<-start
			_, err := store.Get(ctx, "k")
			assert.NoError(t, err)
		})
	}
	close(start)
	all.Wait()
	var dialled int
	_, err := fmt.Sscanf(statistic(t, addr, "total_connections"), "%d", &dialled)
	require.NoError(t, err)
	require.LessOrEqual(t, dialled, 64+10, "64 of the pool, and those of the test itself")
}

// statistic returns one line of stats.
func statistic(t *testing.T, addr, name string) string {
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("stats\r\nquit\r\n"))
	require.NoError(t, err)
	var all bytes.Buffer
	_, err = all.ReadFrom(conn)
	require.NoError(t, err)
	_, rest, found := bytes.Cut(all.Bytes(), []byte("STAT "+name+" "))
	require.True(t, found, name)
	return string(rest)
}

func TestARestartedServerCostsNoCall(t *testing.T) {
	ctx, server := t.Context(), testserver.StartMemcached(t)
	store := at(t, server.Addr())
	operations := map[string]func() error{
		"get":    func() error { _, err := store.GetMany(ctx, []string{"k"}); return err },
		"set":    func() error { return store.Set(ctx, "k", item("1"), time.Hour) },
		"add":    func() error { _, err := store.Add(ctx, "a", item("1"), time.Hour); return err },
		"swap":   func() error { _, err := store.CompareAndSwap(ctx, "k", item("1"), item("2"), time.Hour); return err },
		"touch":  func() error { _, err := store.Touch(ctx, "k", time.Hour); return err },
		"delete": func() error { _, err := store.Delete(ctx, "k"); return err },
		"clear":  func() error { return store.Clear(ctx) },
		"incr": func() error {
			if _, err := store.Incr(ctx, "n", 1); !errors.Is(err, cache.ErrMiss) {
				return fmt.Errorf("incr: %w", err)
			}
			return nil
		},
	}
	for name, operation := range operations {
		var busy sync.WaitGroup
		for range 30 { // leaves many connections idle
			busy.Go(func() { assert.NoError(t, store.Set(ctx, "k", item("1"), time.Hour)) })
		}
		busy.Wait()
		require.NoError(t, server.Restart())
		var after sync.WaitGroup
		for range 40 {
			after.Go(func() { assert.NoError(t, operation(), name) })
		}
		after.Wait()
	}
}

func TestACallersClientIsRetriedWhereThatIsSafe(t *testing.T) {
	ctx, server := t.Context(), testserver.StartMemcached(t)
	store := memcached.New(rawClient(t, server.Addr()), nil)
	require.NoError(t, store.Set(ctx, "k", item("1"), time.Hour))
	require.NoError(t, server.Restart())
	require.NoError(t, store.Set(ctx, "k", item("1"), time.Hour))
	require.NoError(t, server.Restart())
	_, err := store.Add(ctx, "a", item("1"), time.Hour)
	require.ErrorContains(t, err, `memcached: add "a": `, "it may have been executed")
	added, err := store.Add(ctx, "a", item("1"), time.Hour)
	require.NoError(t, err)
	require.True(t, added)
}
