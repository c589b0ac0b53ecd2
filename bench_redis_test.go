package celeryresults_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
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
	backend *celeryresults.Backend
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
