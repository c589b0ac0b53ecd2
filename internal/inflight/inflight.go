// Package inflight lets a caller leave an operation that is under way, for
// client libraries that do not watch contexts themselves.
package inflight

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Do runs f and returns what it returns, unless ctx ends first: then it returns
// ctx's error at once and f's outcome is dropped when it arrives. f may thus
// still take effect after Do has returned; it should be bounded in time by
// other means, such as a socket timeout.
//
// When ctx is already done, f is not run. When ctx can never be done, f runs in
// the caller's goroutine, at no cost.
//
// An operation that watches the deadline itself may report its own timeout a
// moment before ctx does. Do returns ctx's error then, too.
func Do[T any](ctx context.Context, f func() (T, error)) (T, error) {
	if err := ctx.Err(); err != nil {
		var zero T
		return zero, err
	}
	if ctx.Done() == nil {
		return f()
	}
	done := make(chan outcome[T], 1)
	go func() {
		value, err := f()
		done <- outcome[T]{value, err}
	}()
	select {
	case o := <-done:
		return o.value, ended(ctx, o.err)
	case <-ctx.Done():
		var zero T
		return zero, ctx.Err()
	}
}

// outcome is what an operation returned.
type outcome[T any] struct {
	value T
	err   error
}

// ended replaces a socket timeout that ctx's deadline caused by ctx's error.
func ended(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if deadline, ok := ctx.Deadline(); !ok || time.Now().Before(deadline) {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Lost reports whether err says that the other side closed the connection: the
// operation may or may not have taken effect, and a new connection may work.
func Lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// Gate admits operations until it is shut and then waits for those inside. The
// zero value is open. Its methods are safe for concurrent use.
type Gate struct {
	shut   atomic.Bool
	inside sync.RWMutex // held for reading by every operation inside
}

// Enter reports whether the operation may begin. If so, it must call Leave.
// An operation must not enter twice.
func (g *Gate) Enter() bool {
	if g.shut.Load() {
		return false
	}
	g.inside.RLock()
	if g.shut.Load() {
		g.inside.RUnlock()
		return false
	}
	return true
}

// Leave ends an operation that entered.
func (g *Gate) Leave() { g.inside.RUnlock() }

// Shut admits no more operations and reports whether the gate was open.
func (g *Gate) Shut() bool { return !g.shut.Swap(true) }

// Wait returns when no operation is inside. The gate must have been shut.
func (g *Gate) Wait() {
	g.inside.Lock()
	defer g.inside.Unlock()
}
