package ahead_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/celeryresults/celeryresults/internal/ahead"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// double returns each number twice over.
func double(_ context.Context, chunk []int) ([]int, error) {
	doubled := make([]int, len(chunk))
	for i, n := range chunk {
		doubled[i] = 2 * n
	}
	return doubled, nil
}

func TestChunksComeInOrder(t *testing.T) {
	keys := make([]int, 25)
	for i := range keys {
		keys[i] = i
	}
	for _, n := range []int{1, 10, 24, 25, 26} {
		var got []int
		for part, err := range ahead.Chunks(t.Context(), keys, n, double) {
			assert.NoError(t, err)
			assert.LessOrEqual(t, len(part), n)
			got = append(got, part...)
		}
		want, _ := double(t.Context(), keys)
		assert.Equal(t, want, got, "in chunks of %d", n)
	}
}

func TestNoKeysAreOneCall(t *testing.T) {
	calls := 0
	for part, err := range ahead.Chunks(t.Context(), nil, 10, double) {
		assert.NoError(t, err)
		assert.Empty(t, part)
		calls++
	}
	assert.Equal(t, 1, calls)
}

func TestAnErrorIsTheLastOfAll(t *testing.T) {
	failed := errors.New("failed")
	calls := 0
	var errs []error
	for _, err := range ahead.Chunks(t.Context(), []int{1, 2, 3, 4, 5}, 1, func(context.Context, []int) (int, error) {
		if calls++; calls == 3 {
			return 0, failed
		}
		return calls, nil
	}) {
		errs = append(errs, err)
	}
	assert.Equal(t, []error{nil, nil, failed}, errs)
}

func TestWhoLeavesEndsTheFetch(t *testing.T) {
	var under atomic.Int32
	for range ahead.Chunks(t.Context(), slices.Repeat([]int{1}, 100), 1, func(ctx context.Context, _ []int) (int, error) {
		if under.Add(1) > 1 {
			<-ctx.Done() // until the caller leaves
		}
		return 0, ctx.Err()
	}) {
		break
	}
	assert.LessOrEqual(t, under.Load(), int32(2), "fetches beside the caller's work")
}
