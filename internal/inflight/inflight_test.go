package inflight_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/celeryresults/celeryresults/internal/inflight"
	"github.com/stretchr/testify/assert"
)

var errOwn = errors.New("own error")

// contexts holds one that can never be done and one that can.
func contexts(t *testing.T) map[string]context.Context {
	return map[string]context.Context{"background": context.Background(), "cancellable": t.Context()}
}

func TestDoReturnsWhatTheOperationReturns(t *testing.T) {
	for name, ctx := range contexts(t) {
		t.Run(name, func(t *testing.T) {
			got, err := inflight.Do(ctx, func() (int, error) { return 7, errOwn })
			assert.Equal(t, 7, got)
			assert.ErrorIs(t, err, errOwn)
		})
	}
}

func TestDoDoesNotStartWhenTheContextIsDone(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for want, ctx := range map[error]context.Context{context.Canceled: cancelled, context.DeadlineExceeded: expired} {
		_, err := inflight.Do(ctx, func() (int, error) { t.Error("the operation ran"); return 0, nil })
		assert.Equal(t, want, err)
	}
}

func TestDoReturnsAtOnceWhenTheContextEnds(t *testing.T) {
	stall := make(chan struct{})
	defer close(stall)
	stalled := func() (int, error) { <-stall; return 1, nil }
	ends := map[error]func() (context.Context, context.CancelFunc){
		context.Canceled: func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			return ctx, cancel
		},
		context.DeadlineExceeded: func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 10*time.Millisecond)
		},
	}
	for want, begin := range ends {
		t.Run(want.Error(), func(t *testing.T) {
			ctx, cancel := begin()
			defer cancel()
			got, err := inflight.Do(ctx, stalled)
			assert.Zero(t, got)
			assert.Equal(t, want, err)
		})
	}
}

func TestDoTakesATimeoutAtTheDeadlineForTheContexts(t *testing.T) {
	timeout := fmt.Errorf("client: %w", os.ErrDeadlineExceeded)
	t.Run("when the deadline has passed", func(t *testing.T) {
		late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		ctx := lateContext{late, time.Now()}
		_, err := inflight.Do(ctx, func() (int, error) { return 0, timeout })
		assert.Equal(t, context.DeadlineExceeded, err)
	})
	t.Run("not when the client gave up earlier", func(t *testing.T) {
		ctx := lateContext{t.Context(), time.Now().Add(time.Hour)}
		_, err := inflight.Do(ctx, func() (int, error) { return 0, timeout })
		assert.Equal(t, timeout, err)
	})
	t.Run("and any error once the context is done", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := inflight.Do(ctx, func() (int, error) { cancel(); return 0, errOwn })
		assert.Equal(t, context.Canceled, err)
	})
}

// lateContext has a deadline that its timer is late to notice.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c lateContext) Deadline() (time.Time, bool) { return c.deadline, true }

func TestLostKnowsClosedConnections(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		assert.True(t, inflight.Lost(fmt.Errorf("read: %w", err)), "%v", err)
	}
	for _, err := range []error{nil, errOwn, os.ErrDeadlineExceeded, context.Canceled, syscall.ECONNREFUSED} {
		assert.False(t, inflight.Lost(err), "%v", err)
	}
}

func BenchmarkDo(b *testing.B) {
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": b.Context()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = inflight.Do(ctx, func() (int, error) { return 1, nil })
			}
		})
	}
}
