package celeryresults_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func percentileOf(list []time.Duration, p int) time.Duration {
	slices.Sort(list)
	return list[min(len(list)-1, len(list)*p/100)]
}

// wakeEngine is a backend beside a raw client that stores without a guard and is
// told over one connection of its own. Stores that can only be asked have none.
type wakeEngine struct {
	name     string
	backend  *celeryresults.Backend
	rawStore func(id string) error
	rawWait  func(b *testing.B, prefix string, waiters int) func(i int) error
}

// BenchmarkWake measures from the store's return to the waiter's (p50, p99), and
// from its call (call-p50, call-p99). Negative times are waiters that were quicker
// than the store's answer: the messages of a transaction of redis leave before its
// answer, those of a script after. All waits are in their first seconds.
func BenchmarkWake(b *testing.B) {
	for _, e := range wakeEngines(b) {
		for _, waiters := range []int{1, 1000} {
			b.Run(e.name+"/"+strconv.Itoa(waiters), func(b *testing.B) { e.bench(b, waiters) })
		}
	}
}

func wakeEngines(b *testing.B) []wakeEngine {
	r := newRedisBench(b)
	tables := openTables(b)
	engines := []wakeEngine{
		{"redis", r.backend, func(id string) error { return r.setAndPublish("celery-task-meta-" + id) }, r.waitRaw},
		{"postgresql", tables[0].backend, tables[0].rawStore(b, " RETURNING pg_notify('raw_results', task_id)"), tables[0].waitNotified},
		{name: "mysql", backend: tables[1].backend}, {name: "sqlite", backend: tables[2].backend},
	}
	for _, e := range []engine{locmemEngine(b), memcachedEngine(b), postgresEngine(b)} {
		engines = append(engines, wakeEngine{name: "django-cache on " + e.name, backend: e.backend})
	}
	return engines
}

func (e wakeEngine) bench(b *testing.B, waiters int) {
	var ours, raw wakes
	for round := 0; b.Loop(); round++ {
		prefix := fmt.Sprintf("wake-%s-%d-", rand.Text(), round)
		ours.add(wakeTimes(b, waiters, func(i int) error {
			return e.backend.StoreResult(context.Background(), benchMeta(prefix+strconv.Itoa(i)))
		}, func(i int) error {
			_, err := e.backend.WaitFor(context.Background(), prefix+strconv.Itoa(i))
			return err
		}))
		if e.rawStore != nil {
			raw.add(wakeTimes(b, waiters, func(i int) error { return e.rawStore("raw" + prefix + strconv.Itoa(i)) },
				e.rawWait(b, "raw"+prefix, waiters)))
		}
	}
	ours.report(b, "")
	if e.rawStore != nil {
		raw.report(b, "raw-")
		b.ReportMetric(float64(percentileOf(ours.returned, 50))/float64(percentileOf(raw.returned, 50)), "p50-x/raw")
		b.ReportMetric(float64(percentileOf(ours.called, 50))/float64(percentileOf(raw.called, 50)), "call-p50-x/raw")
	}
	b.ReportMetric(0, "ns/op")
}

// waitNotified listens on one connection, hands what it is told to who waits, and
// reads the row.
func (e tablesEngine) waitNotified(b *testing.B, prefix string, waiters int) func(i int) error {
	conn, err := pgx.Connect(context.Background(), e.url)
	require.NoError(b, err)
	_, err = conn.Exec(context.Background(), `LISTEN raw_results`)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	arrived := make(map[string]chan struct{}, waiters)
	for i := range waiters {
		arrived[prefix+strconv.Itoa(i)] = make(chan struct{})
	}
	var listening sync.WaitGroup
	listening.Go(func() {
		for range waiters {
			told, err := conn.WaitForNotification(ctx)
			if err != nil {
				return
			}
			close(arrived[told.Payload])
		}
	})
	b.Cleanup(func() {
		cancel()
		listening.Wait()
		_ = conn.Close(context.Background())
	})
	get := e.rawGet(b)
	return func(i int) error {
		id := prefix + strconv.Itoa(i)
		<-arrived[id]
		return get(id)
	}
}

// waitRaw subscribes to all channels and hands messages to who waits for them.
func (r redisBench) waitRaw(b *testing.B, prefix string, waiters int) func(i int) error {
	messages := r.raw.Subscribe(context.Background())
	b.Cleanup(func() { _ = messages.Close() })
	channels, arrived := make([]string, waiters), make(map[string]chan struct{}, waiters)
	for i := range channels {
		channels[i] = "celery-task-meta-" + prefix + strconv.Itoa(i)
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
