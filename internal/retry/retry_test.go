package retry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/celeryresults/celeryresults/internal/retry"
)

var errPassing, errLasting = errors.New("passing"), errors.New("lasting")

func helps(err error) bool { return errors.Is(err, errPassing) }

func ready(ctx context.Context) error { return ctx.Err() }

// run counts how often an operation runs that fails with err until it succeeds at
// the given attempt.
func run(ctx context.Context, p retry.Policy, err error, succeeds int) (int, time.Duration, error) {
	began, attempts := time.Now(), 0
	failed := p.Do(ctx, ready, helps, func() error {
		if attempts++; attempts == succeeds {
			return nil
		}
		return err
	})
	return attempts, time.Since(began), failed
}

func TestOperationsAreRepeatedWhileThatHelps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, row := range map[string]struct {
			policy   retry.Policy
			err      error
			succeeds int
			attempts int
			want     error
		}{
			"a success":               {retry.New(0, 0, 0), errPassing, 1, 1, nil},
			"the third attempt":       {retry.New(0, 0, 0), errPassing, 3, 3, nil},
			"an error that lasts":     {retry.New(0, 0, 0), errLasting, 3, 1, errLasting},
			"no retries":              {retry.New(0, 0, -1), errPassing, 3, 1, errPassing},
			"as many as the settings": {retry.New(0, 0, 4), errPassing, 10, 5, errPassing},
		} {
			attempts, _, err := run(t.Context(), row.policy, row.err, row.succeeds)
			assert.Equal(t, row.want, err, name)
			assert.Equal(t, row.attempts, attempts, name)
		}
	})
}

func TestPatienceEndsWithTheContextOrByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		_, took, err := run(ctx, retry.New(0, 0, 0), errPassing, -1)
		assert.ErrorIs(t, err, errPassing)
		assert.InDelta(t, 100, took.Seconds(), 2)
		_, took, err = run(t.Context(), retry.New(0, 0, 0), errPassing, -1)
		assert.ErrorIs(t, err, errPassing)
		assert.InDelta(t, retry.Patience.Seconds(), took.Seconds(), 2)
	})
}

func TestPausesGrowToTheLongest(t *testing.T) {
	p := retry.New(time.Millisecond, 50*time.Millisecond, 0).Pauses()
	var last time.Duration
	for range 20 {
		last = p.Next()
	}
	assert.InDelta(t, 50, last.Milliseconds(), 26)
}
