// Package ahead reads long lists in parts, each while its caller works on the one
// before.
package ahead

import (
	"context"
	"iter"
	"slices"
)

// Chunks yields what fetch finds for every n of the keys, in their order. While
// one chunk is worked on, the next two are fetched in another goroutine, which has
// ended when the iteration ends. The first error is the last of what is yielded.
// Keys that fit into one chunk, and none, are one call in the caller's goroutine.
func Chunks[K, V any](ctx context.Context, keys []K, n int, fetch func(context.Context, []K) (V, error)) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		if len(keys) <= n {
			yield(fetch(ctx, keys))
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		fetched := make(chan found[V], 1)
		go func() {
			defer close(fetched)
			for chunk := range slices.Chunk(keys, n) {
				value, err := fetch(ctx, chunk)
				fetched <- found[V]{value, err}
				if err != nil || ctx.Err() != nil {
					return
				}
			}
		}()
		defer func() { // the goroutine is waited for
			cancel()
			for range fetched { //nolint:revive // its last answers count no more
			}
		}()
		for f := range fetched {
			if !yield(f.value, f.err) {
				return
			}
		}
	}
}

type found[V any] struct {
	value V
	err   error
}
