package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// wait waits for a task and checks that the result is its own.
func wait(t *testing.T, b *celeryresults.Backend, id string, d time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	got, err := celeryresults.Get[string](ctx, celeryresults.NewAsyncResult(id, b))
	assert.NoError(t, err, id)
	assert.Equal(t, id, got)
}

// send records tasks as sent, and keeps no handle.
func send(t *testing.T, b *celeryresults.Backend, n int) {
	app, err := celeryresults.NewApp(celeryresults.Settings{}, b, nil)
	require.NoError(t, err)
	var senders sync.WaitGroup
	for sender := range 64 {
		senders.Go(func() {
			for i := sender; i < n; i += 64 {
				id := fmt.Sprint("sent-", i)
				assert.NoError(t, app.RecordPending(t.Context(), &celeryresults.Request{ID: id}))
				_ = app.AsyncResult(id)
			}
		})
	}
	senders.Wait()
}

func TestSubscriptionsAreCountedAndGone(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw, b := rawClient(t, addr), at(t, addr)
	store(t, b, done("warm", 1))
	before := runtime.NumGoroutine()
	send(t, b, 100_000)
	assert.Zero(t, channels(t, raw), "nobody waits")
	const waits = 10_000
	var cancelled atomic.Int64
	var all sync.WaitGroup
	for i := range waits {
		id := fmt.Sprint("counted-", i/4) // several wait for one
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%2 == 0 {
				time.AfterFunc(time.Duration(i%100)*time.Millisecond, cancel)
			}
			_, err := celeryresults.NewAsyncResult(id, b).Wait(ctx)
			if errors.Is(err, context.Canceled) {
				cancelled.Add(1)
				return
			}
			assert.NoError(t, err)
		})
	}
	require.Eventually(t, func() bool { return channels(t, raw) > 0 }, 10*time.Second, time.Millisecond)
	list, err := raw.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	require.NoError(t, err)
	assert.Equal(t, 1, countLines(list), "one connection for all")
	time.Sleep(200 * time.Millisecond)
	for _, id := range ids("counted", waits/4) {
		store(t, b, done(id, id))
	}
	all.Wait()
	assert.Equal(t, int64(waits/2), cancelled.Load())
	require.Eventually(t, func() bool { return channels(t, raw) == 0 }, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 10*time.Second, 10*time.Millisecond)
	list, err = raw.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	require.NoError(t, err)
	assert.Zero(t, countLines(list), "nobody waits: no connection")
}

func countLines(text string) int {
	n := 0
	for _, c := range text {
		if c == '\n' {
			n++
		}
	}
	return n
}

// TestWhatOthersStoreWakes stores as Python does, and without a message.
func TestWhatOthersStoreWakes(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw, b := rawClient(t, addr), at(t, addr)
	document := func(id string) string {
		return `{"status": "SUCCESS", "result": "` + id + `", "traceback": null, "children": [], "task_id": "` + id + `"}`
	}
	await := func(id string) (ended chan time.Duration) {
		ended = make(chan time.Duration, 1)
		go func() {
			wait(t, b, id, 20*time.Second)
			ended <- time.Duration(time.Now().UnixNano())
		}()
		require.Eventually(t, func() bool { return channels(t, raw) > 0 }, 10*time.Second, time.Millisecond)
		time.Sleep(50 * time.Millisecond)
		return ended
	}
	t.Run("with its message", func(t *testing.T) {
		ended := await("python")
		began := time.Now()
		_, err := raw.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.SetEx(t.Context(), taskKey("python"), document("python"), time.Hour)
			p.Publish(t.Context(), taskKey("python"), document("python"))
			return nil
		})
		require.NoError(t, err)
		<-ended
		assert.Less(t, time.Since(began), 200*time.Millisecond)
	})
	t.Run("without", func(t *testing.T) {
		ended := await("silent")
		began := time.Now()
		require.NoError(t, raw.Set(t.Context(), taskKey("silent"), document("silent"), time.Hour).Err())
		<-ended
		assert.Less(t, time.Since(began), 1200*time.Millisecond)
	})
	t.Run("with a message that is no document", func(t *testing.T) {
		ended := await("odd")
		began := time.Now()
		require.NoError(t, raw.Set(t.Context(), taskKey("odd"), document("odd"), time.Hour).Err())
		require.NoError(t, raw.Publish(t.Context(), taskKey("odd"), "changed").Err())
		<-ended
		assert.Less(t, time.Since(began), 200*time.Millisecond)
	})
}

// TestWaitsSurviveCuts cuts all connections 20 times during 1 000 waits.
func TestWaitsSurviveCuts(t *testing.T) {
	server := testserver.StartRedis(t)
	proxy := testserver.StartProxy(t, server.Addr())
	waiting, storing := at(t, proxy.Addr()), at(t, server.Addr())
	const n = 1000
	var all sync.WaitGroup
	for _, id := range ids("cut", n) {
		all.Go(func() { wait(t, waiting, id, time.Minute) })
	}
	for i, id := range ids("cut", n) {
		if i%(n/20) == n/40 {
			proxy.Cut()
		}
		store(t, storing, done(id, id))
		time.Sleep(2 * time.Millisecond)
	}
	last := time.Now()
	all.Wait()
	assert.Less(t, time.Since(last), 1200*time.Millisecond)
}

// TestLostMessagesDelayAndNeverHang loses every message on its way.
func TestLostMessagesDelayAndNeverHang(t *testing.T) {
	server := testserver.StartRedis(t)
	proxy := testserver.StartProxy(t, server.Addr())
	waiting, storing, raw := at(t, proxy.Addr()), at(t, server.Addr()), rawClient(t, server.Addr())
	proxy.DropMessages(true)
	const n = 1000
	var stored [n]atomic.Int64
	var latest atomic.Int64
	var all sync.WaitGroup
	for i, id := range ids("dropped", n) {
		all.Go(func() {
			wait(t, waiting, id, time.Minute)
			took := time.Now().UnixNano() - stored[i].Load()
			for was := latest.Load(); took > was && !latest.CompareAndSwap(was, took); was = latest.Load() {
			}
		})
	}
	require.Eventually(t, func() bool { return channels(t, raw) == n }, 10*time.Second, time.Millisecond)
	for i, id := range ids("dropped", n) {
		stored[i].Store(time.Now().UnixNano())
		store(t, storing, done(id, id))
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	assert.Equal(t, n, proxy.DroppedMessages())
	assert.LessOrEqual(t, time.Duration(latest.Load()), 1200*time.Millisecond, "the safety interval and 200 ms")
	t.Logf("%d messages lost, the latest of %d waits woke after %v", proxy.DroppedMessages(), n, time.Duration(latest.Load()))
}

// TestWaitsSurviveARestart has a server that is away for a while.
func TestWaitsSurviveARestart(t *testing.T) {
	server := testserver.StartRedis(t)
	b := at(t, server.Addr())
	var all sync.WaitGroup
	for _, id := range ids("restart", 100) {
		all.Go(func() { wait(t, b, id, time.Minute) })
	}
	time.Sleep(100 * time.Millisecond)
	server.Stop()
	var stores sync.WaitGroup
	stores.Go(func() { // begins while the server is away
		for _, id := range ids("restart", 100) {
			assert.NoError(t, b.StoreResult(t.Context(), done(id, id)))
		}
	})
	time.Sleep(300 * time.Millisecond)
	require.NoError(t, server.Restart())
	stores.Wait()
	all.Wait()
}

func TestASilentConnectionIsGivenUp(t *testing.T) {
	server := testserver.StartRedis(t)
	proxy := testserver.StartProxy(t, server.Addr())
	restore := redisbackend.SetSilence(50*time.Millisecond, 200*time.Millisecond)
	defer restore()
	client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), ContextTimeoutEnabled: true, ReadTimeout: time.Second, Protocol: 2})
	defer client.Close()
	b, err := redisbackend.New(client, celeryresults.Settings{}, redisbackend.Options{})
	require.NoError(t, err)
	defer b.Close() // before restore
	storing, raw := at(t, server.Addr()), rawClient(t, server.Addr())
	subscriber := func() string {
		list, err := raw.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
		require.NoError(t, err)
		id, _, _ := strings.Cut(list, " ")
		return id
	}
	var all sync.WaitGroup
	all.Go(func() { wait(t, b, "silent", time.Minute) })
	require.Eventually(t, func() bool { return channels(t, raw) == 1 }, 5*time.Second, time.Millisecond)
	first := subscriber()
	time.Sleep(500 * time.Millisecond)
	assert.Equal(t, first, subscriber(), "a connection that answers stays")
	proxy.Hang(true)
	time.Sleep(time.Second)
	proxy.Hang(false)
	require.Eventually(t, func() bool { return subscriber() != "" && subscriber() != first }, 10*time.Second, 10*time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	began := time.Now()
	store(t, storing, done("silent", "silent"))
	all.Wait()
	assert.Less(t, time.Since(began), 500*time.Millisecond)
}

func TestClosingEndsAllAtOnce(t *testing.T) {
	server := testserver.StartRedis(t)
	proxy := testserver.StartProxy(t, server.Addr())
	for _, trouble := range []func(){func() {}, func() { proxy.Hang(true) }, func() { proxy.Refuse(true); proxy.Cut() }} {
		b, err := redisbackend.Open(celeryresults.Settings{ResultBackend: "redis://" + proxy.Addr()})
		require.NoError(t, err)
		require.NoError(t, b.StoreResult(t.Context(), done("warm", 1), celeryresults.Override))
		var all sync.WaitGroup
		for _, id := range ids("closing", 50) {
			all.Go(func() {
				_, err := celeryresults.NewAsyncResult(id, b).Wait(t.Context())
				assert.ErrorIs(t, err, celeryresults.ErrClosed)
			})
		}
		time.Sleep(100 * time.Millisecond)
		trouble()
		began := time.Now()
		require.NoError(t, b.Close())
		all.Wait()
		assert.Less(t, time.Since(began), time.Second)
		_, err = b.GetTaskMeta(t.Context(), "warm")
		require.ErrorIs(t, err, celeryresults.ErrClosed)
		require.ErrorIs(t, b.Forget(t.Context(), "warm"), celeryresults.ErrClosed)
		_, err = b.WaitFor(t.Context(), "warm")
		require.ErrorIs(t, err, celeryresults.ErrClosed)
		proxy.Hang(false)
		proxy.Refuse(false)
	}
}

// TestAHundredThousandWaiters states what one costs.
func TestAHundredThousandWaiters(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	const n = 100_000
	addr := testserver.StartRedis(t, "--client-output-buffer-limit", "pubsub 0 0 0").Addr()
	raw, b := rawClient(t, addr), at(t, addr)
	store(t, b, done("warm", 1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, err := b.WaitFor(t.Context(), "crowd-"+strconv.Itoa(i))
			assert.NoError(t, err)
		})
	}
	require.Eventually(t, func() bool { return channels(t, raw) == n }, time.Minute, 100*time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d bytes of heap and %d of stack a waiter", (int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, (after.StackInuse-before.StackInuse)/n)
	began := time.Now()
	everyone(64, func(i int) {
		for j := i; j < n; j += 64 {
			assert.NoError(t, b.StoreResult(t.Context(), done("crowd-"+strconv.Itoa(j), j)))
		}
	})
	stored := time.Since(began)
	all.Wait()
	t.Logf("stored in %v, the last one awake %v later", stored, time.Since(began)-stored)
	require.Eventually(t, func() bool { return channels(t, raw) == 0 }, 20*time.Second, 10*time.Millisecond)
}
