package celeryresults_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// redisBench is a redis backend beside a raw client of the same server.
type redisBench struct {
	backend celeryresults.Backend
	raw     *redis.Client
	value   []byte // as large as a document
}

func newRedisBench(b *testing.B) redisBench {
	addr := testserver.Redis(b)
	backend, err := backends.OpenBackend(celeryresults.Settings{ResultBackend: "redis://" + addr + "/5", ResultExpires: time.Hour}, "")
	require.NoError(b, err)
	raw := redis.NewClient(&redis.Options{Addr: addr, DB: 5, PoolSize: 64})
	b.Cleanup(func() {
		_ = backend.Close()
		_ = raw.FlushDB(context.Background()).Err()
		_ = raw.Close()
	})
	require.NoError(b, backend.StoreResult(context.Background(), benchMeta("measure")))
	value, err := raw.Get(context.Background(), "celery-task-meta-measure").Bytes()
	require.NoError(b, err)
	return redisBench{backend, raw, value}
}

// setAndPublish is what Celery sends, without a guard.
func (r redisBench) setAndPublish(key string) error {
	ctx := context.Background()
	_, err := r.raw.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.SetEx(ctx, key, r.value, time.Hour)
		p.Publish(ctx, key, r.value)
		return nil
	})
	return err
}

// BenchmarkRedis compares guarded stores, which publish, with the raw client's
// MULTI of SETEX and PUBLISH without a guard, and gets with its GET.
func BenchmarkRedis(b *testing.B) {
	r := newRedisBench(b)
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("store/%d", callers), func(b *testing.B) {
			run := "celery-task-meta-" + rand.Text()
			var n atomic.Int64
			compare(b, callers, func() error { return r.setAndPublish(run + strconv.FormatInt(n.Add(1), 10)) }, func() error {
				return r.backend.StoreResult(context.Background(), benchMeta(run+strconv.FormatInt(n.Add(1), 10)))
			})
		})
	}
	const stored = 2000
	for i := range stored {
		require.NoError(b, r.backend.StoreResult(context.Background(), benchMeta(strconv.Itoa(i))))
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("get/%d", callers), func(b *testing.B) {
			var n atomic.Int64
			next := func() string { return strconv.FormatInt(n.Add(1)%stored, 10) }
			compare(b, callers, func() error {
				return r.raw.Get(context.Background(), "celery-task-meta-"+next()).Err()
			}, func() error {
				_, err := r.backend.GetTaskMeta(context.Background(), next())
				return err
			})
		})
	}
}

// BenchmarkRedisMany compares GetMany of 10 000 results with as many GETs.
func BenchmarkRedisMany(b *testing.B) {
	r := newRedisBench(b)
	const members = 10_000
	ids := make([]string, members)
	for i := range ids {
		ids[i] = "many-" + strconv.Itoa(i)
		require.NoError(b, r.backend.StoreResult(context.Background(), benchMeta(ids[i])))
	}
	var gets, many []time.Duration
	for b.Loop() {
		began := time.Now()
		for _, id := range ids {
			require.NoError(b, r.raw.Get(context.Background(), "celery-task-meta-"+id).Err())
		}
		gets = append(gets, time.Since(began))
		began = time.Now()
		metas, err := r.backend.GetMany(context.Background(), ids)
		require.NoError(b, err)
		for _, meta := range metas {
			if !meta.State.Ready() {
				b.Fatal(meta.State)
			}
		}
		many = append(many, time.Since(began))
	}
	b.ReportMetric(float64(percentileOf(gets, 50))/float64(percentileOf(many, 50)), "x/GETs")
	b.ReportMetric(float64(percentileOf(many, 50).Microseconds())/1000, "ms")
	b.ReportMetric(0, "ns/op")
}

func percentileOf(list []time.Duration, p int) time.Duration {
	slices.Sort(list)
	return list[min(len(list)-1, len(list)*p/100)]
}

// BenchmarkRedisWake measures from the store's return to the waiter's (p50, p99),
// and from its call (call-p50, call-p99), beside a raw client that stores without a
// guard and waits for the message on one shared subscription. Negative times are
// waiters that were quicker than the store's answer: a transaction's messages leave
// before its answer, a script's after.
func BenchmarkRedisWake(b *testing.B) {
	r := newRedisBench(b)
	for _, waiters := range []int{1, 1000} {
		b.Run(strconv.Itoa(waiters), func(b *testing.B) {
			var ours, raw wakes
			for round := 0; b.Loop(); round++ {
				prefix := fmt.Sprintf("wake-%s-%d-", rand.Text(), round)
				ours.add(wakeTimes(b, waiters, func(i int) error {
					return r.backend.StoreResult(context.Background(), benchMeta(prefix+strconv.Itoa(i)))
				}, r.waitOurs(prefix)))
				raw.add(wakeTimes(b, waiters, func(i int) error {
					return r.setAndPublish("celery-task-meta-raw" + prefix + strconv.Itoa(i))
				}, r.waitRaw(b, "celery-task-meta-raw"+prefix, waiters)))
			}
			ours.report(b, "")
			raw.report(b, "raw-")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func (r redisBench) waitOurs(prefix string) func(i int) error {
	return func(i int) error {
		_, err := r.backend.(celeryresults.Waiter).WaitFor(context.Background(), prefix+strconv.Itoa(i))
		return err
	}
}

// waitRaw subscribes to all channels and hands messages to who waits for them.
func (r redisBench) waitRaw(b *testing.B, prefix string, waiters int) func(i int) error {
	messages := r.raw.Subscribe(context.Background())
	b.Cleanup(func() { _ = messages.Close() })
	channels, arrived := make([]string, waiters), make(map[string]chan struct{}, waiters)
	for i := range channels {
		channels[i] = prefix + strconv.Itoa(i)
		arrived[channels[i]] = make(chan struct{})
	}
	require.NoError(b, messages.Subscribe(context.Background(), channels...))
	go func() {
		for message := range messages.Channel(redis.WithChannelSize(waiters)) {
			close(arrived[message.Channel])
		}
	}()
	return func(i int) error {
		<-arrived[channels[i]]
		return nil
	}
}

// wakes are how long waiters took to wake since their stores had returned, and since
// these were called.
type wakes struct{ returned, called []time.Duration }

func (w *wakes) add(other wakes) {
	w.returned, w.called = append(w.returned, other.returned...), append(w.called, other.called...)
}

func (w *wakes) report(b *testing.B, name string) {
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(percentileOf(w.returned, p).Nanoseconds())/1000, fmt.Sprintf("%sp%d-µs", name, p))
		b.ReportMetric(float64(percentileOf(w.called, p).Nanoseconds())/1000, fmt.Sprintf("%scall-p%d-µs", name, p))
	}
}

// wakeTimes stores for each waiter, a millisecond apart.
func wakeTimes(b *testing.B, waiters int, store, wait func(i int) error) wakes {
	called, returned, awake := make([]time.Time, waiters), make([]time.Time, waiters), make([]time.Time, waiters)
	var all sync.WaitGroup
	for i := range waiters {
		all.Go(func() {
			if err := wait(i); err != nil {
				b.Error(err)
			}
			awake[i] = time.Now()
		})
	}
	time.Sleep(100 * time.Millisecond)
	for i := range waiters {
		called[i] = time.Now()
		if err := store(i); err != nil {
			b.Error(err)
		}
		returned[i] = time.Now()
		time.Sleep(time.Millisecond)
	}
	all.Wait()
	var w wakes
	for i := range waiters {
		w.returned, w.called = append(w.returned, awake[i].Sub(returned[i])), append(w.called, awake[i].Sub(called[i]))
	}
	return w
}
