package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func waitWakes(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("wait")
	type outcome struct {
		value int
		err   error
	}
	got := make(chan outcome, 1)
	go func() {
		value, err := celeryresults.Get[int](withTimeout(t, time.Minute), celeryresults.NewAsyncResult(id, b))
		got <- outcome{value, err}
	}()
	store(t, b, metaOf(id, celeryresults.Started))
	store(t, b, done(id, 42))
	assert.Equal(t, outcome{42, nil}, <-got)
}

func waitReady(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	id := newID("ready")
	store(t, b, failed(id, celeryresults.Revoked, errors.New("no")))
	meta, err := celeryresults.NewAsyncResult(id, b).Wait(withTimeout(t, time.Minute))
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Revoked, meta.State)
}

func manyWaits(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	ctx := withTimeout(t, time.Minute)
	prefix := newID("waits")
	var group sync.WaitGroup
	for i := range 200 {
		id := fmt.Sprintf("%s-%d", prefix, i/2) // two wait for each
		group.Go(func() {
			value, err := celeryresults.Get[string](ctx, celeryresults.NewAsyncResult(id, b))
			assert.NoError(t, err)
			assert.Equal(t, id, value)
		})
	}
	for i := range 100 {
		id := fmt.Sprintf("%s-%d", prefix, i)
		store(t, b, done(id, id))
	}
	group.Wait()
}

func waitCancelled(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := celeryresults.NewAsyncResult(newID("never"), b).Get(ctx)
		ended <- err
	}()
	time.AfterFunc(20*time.Millisecond, cancel)
	<-ctx.Done()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(time.Second):
		t.Fatal("the wait did not end with its context")
	}
	_, err := celeryresults.NewAsyncResult(newID("never"), b).Get(withTimeout(t, 20*time.Millisecond))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func waitClosed(t *testing.T, h Harness) {
	b := h.Open(t, celeryresults.Settings{})
	ended := make(chan error, 1)
	go func() {
		_, err := celeryresults.NewAsyncResult(newID("never"), b).Get(t.Context())
		ended <- err
	}()
	time.Sleep(5 * time.Millisecond) // both orders must work; this one is the likelier to wait
	require.NoError(t, b.Close())
	require.ErrorIs(t, <-ended, celeryresults.ErrClosed)
}

func contextOver(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := newID("cancelled")
	require.ErrorIs(t, b.StoreResult(ctx, done(id, 1)), context.Canceled)
	_, err := b.GetTaskMeta(ctx, id)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.GetMany(ctx, []string{id})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, b.Forget(ctx, id), context.Canceled)
	assert.Equal(t, celeryresults.Pending, get(t, b, id).State)
}

func recordPending(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	app, err := celeryresults.NewApp(celeryresults.Settings{}, b, nil)
	require.NoError(t, err)
	for _, state := range []celeryresults.State{celeryresults.Started, celeryresults.Success, celeryresults.Failure} {
		id := newID("pending")
		require.NoError(t, app.RecordPending(t.Context(), &celeryresults.Request{ID: id}))
		meta := get(t, b, id)
		assert.Equal(t, celeryresults.Pending, meta.State)
		assert.False(t, meta.DateCreated.IsZero(), "a recorded PENDING is told from an unknown one by its time")
		store(t, b, metaOf(id, state))
		require.NoError(t, app.RecordPending(t.Context(), &celeryresults.Request{ID: id}))
		assert.Equal(t, state, get(t, b, id).State)
	}
}

// raceForOneRecord lets two writers store the same id at the same instant.
func raceForOneRecord(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	prefix := newID("race")
	var refused atomic.Int64
	const pairs = 16
	var group sync.WaitGroup
	for pair := range pairs {
		group.Go(func() {
			for i := pair; i < h.RaceIDs; i += pairs {
				refused.Add(raceOnce(t, b, fmt.Sprintf("%s-%d", prefix, i)))
			}
		})
	}
	group.Wait()
	lost := 0
	for i := 0; i < h.RaceIDs; i += 500 {
		ids := make([]string, 0, 500)
		for j := i; j < min(i+500, h.RaceIDs); j++ {
			ids = append(ids, fmt.Sprintf("%s-%d", prefix, j))
		}
		metas, err := b.GetMany(t.Context(), ids)
		require.NoError(t, err)
		for _, m := range metas {
			if m.State != celeryresults.Success {
				lost++
			}
		}
	}
	t.Logf("race: %d ids, %d late stores refused, %d lost", h.RaceIDs, refused.Load(), lost)
	assert.Zero(t, lost)
	assert.Positive(t, refused.Load(), "no store was ever late: the race tested nothing")
}

// raceOnce returns how many late stores were refused.
func raceOnce(t *testing.T, b *celeryresults.Backend, id string) int64 {
	late := []celeryresults.State{celeryresults.Failure, celeryresults.Started, celeryresults.Retry}[rand.IntN(3)]
	start := make(chan struct{})
	var group sync.WaitGroup
	var refused atomic.Int64
	stores := []func(){
		func() { assert.NoError(t, b.StoreResult(t.Context(), done(id, id))) },
		func() {
			err := b.StoreResult(t.Context(), metaOf(id, late))
			if errors.Is(err, celeryresults.ErrRefused) {
				refused.Add(1)
				return
			}
			assert.NoError(t, err)
		},
	}
	for _, i := range rand.Perm(len(stores)) { // in quick stores, the one that is started last nearly always wins
		group.Go(func() {
			<-start
			stores[i]()
		})
	}
	close(start)
	group.Wait()
	return refused.Load()
}

// concurrency mixes all operations on shared handles. Each value carries its
// id, so that an answer to another question is noticed.
func concurrency(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	prefix := newID("mix")
	handles := make([]*celeryresults.AsyncResult, 8)
	for i := range handles {
		handles[i] = celeryresults.NewAsyncResult(fmt.Sprintf("%s-%d", prefix, i), b)
	}
	ctx := withTimeout(t, 2*time.Minute)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for range 15 {
				useHandle(ctx, t, b, handles[rand.IntN(len(handles))])
			}
		})
	}
	group.Wait()
}

func useHandle(ctx context.Context, t *testing.T, b *celeryresults.Backend, r *celeryresults.AsyncResult) {
	switch rand.IntN(5) {
	case 0:
		assert.NoError(t, r.Forget(ctx))
	case 1:
		metas, err := b.GetMany(ctx, []string{r.ID()})
		assert.NoError(t, err)
		checkOwn(t, r.ID(), metas[0])
	case 2:
		meta, err := r.Meta(ctx)
		assert.NoError(t, err)
		checkOwn(t, r.ID(), meta)
	case 3:
		short, cancel := context.WithTimeout(ctx, 2*time.Millisecond)
		defer cancel()
		if _, err := r.Wait(short); err != nil {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
	default:
		if err := b.StoreResult(ctx, done(r.ID(), r.ID())); err != nil {
			assert.ErrorIs(t, err, celeryresults.ErrRefused)
		}
	}
}

func checkOwn(t *testing.T, id string, meta *celeryresults.TaskMeta) {
	if meta.State == celeryresults.Pending {
		return
	}
	got, err := celeryresults.As[string](meta.Result)
	assert.NoError(t, err)
	assert.Equal(t, id, got)
}
