// Package trace counts what an operation of a backend does underneath, for package
// observe. A context carries the counters; without them, nothing is counted.
package trace

import (
	"context"
	"sync/atomic"
)

// Counts are what one operation did. They are safe for concurrent use: several
// goroutines may work for one operation.
type Counts struct {
	Retries        atomic.Int64 // attempts after the first
	Sent, Received atomic.Int64 // bytes of encoded records
}

type key struct{}

// With returns a context that carries counts.
func With(ctx context.Context, c *Counts) context.Context { return context.WithValue(ctx, key{}, c) }

func from(ctx context.Context) *Counts {
	c, _ := ctx.Value(key{}).(*Counts)
	return c
}

// Retry counts one more attempt.
func Retry(ctx context.Context) {
	if c := from(ctx); c != nil {
		c.Retries.Add(1)
	}
}

// Sent counts the bytes of an encoded record that is stored.
func Sent(ctx context.Context, n int) {
	if c := from(ctx); c != nil {
		c.Sent.Add(int64(n))
	}
}

// Received counts the bytes of an encoded record that was read.
func Received(ctx context.Context, n int) {
	if c := from(ctx); c != nil {
		c.Received.Add(int64(n))
	}
}
