// Package inflight lets a caller leave an operation that is under way, for
// client libraries that do not watch contexts themselves.
//
// [Do] does it for any operation, at the price of a goroutine for each. A
// [Pool] does it for clients that dial through a [Line]: there the operation
// runs in the caller's goroutine, and its connection is cut short when its
// context ends.
package inflight

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Do runs f and returns what it returns, unless ctx ends first: then it returns
// ctx's error at once and f's outcome is dropped when it arrives. f may thus
// still take effect after Do has returned; it should be bounded in time by
// other means, such as a socket timeout.
//
// When ctx is already done, f is not run. When ctx can never be done, f runs in
// the caller's goroutine, at no cost. An error of f's is ctx's own when that is
// done: f may have noticed first.
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

// ended replaces an error that the end of ctx may have caused by ctx's own. A
// socket's deadline, taken from ctx, may be noticed a moment before ctx is done.
func ended(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// broken reports whether err is of the connection rather than an answer.
func broken(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || Lost(err)
}

// Lost reports whether err says that the other side closed the connection: the
// operation may or may not have taken effect, and a new connection may work.
func Lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
