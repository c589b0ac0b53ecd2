// Package retry repeats what failed for a moment: with growing random pauses, as
// Celery's result_backend_*_between_retries settings say, until it works, can't
// work, or has failed for too long.
package retry

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/trace"
)

// Patience is how long an operation is repeated whose context has no deadline.
const Patience = 30 * time.Second

// Celery's pauses between retries, result_backend_base_sleep_between_retries_ms
// and result_backend_max_sleep_between_retries_ms; without a setting of its own a
// pause is at most a second.
const (
	firstPause   = 10 * time.Millisecond
	usualLongest = time.Second
	longestPause = 10 * time.Second
)

// Policy says how often and with which pauses. Make one with From.
type Policy struct {
	first, longest time.Duration
	tries          uint // 0: no limit
}

// From returns the policy of the settings.
func From(s celeryresults.Settings) Policy {
	p := Policy{first: firstPause, longest: usualLongest}
	if own := s.ResultBackendBaseSleepBetweenRetry; own > 0 {
		p.first = own
	}
	if own := s.ResultBackendMaxSleepBetweenRetry; own > 0 {
		p.longest = min(own, longestPause)
	}
	switch n := s.ResultBackendMaxRetries; {
	case n > 0:
		p.tries = uint(n)
	case n < 0:
		p.tries = 1
	}
	return p
}

// Do runs operation, and again while helps says of its error that repeating it
// may help and ready returns nil. It returns the last error of operation.
func (p Policy) Do(ctx context.Context, ready func(context.Context) error, helps func(error) bool, operation func() error) error {
	err := operation() // nearly always the only time
	if err == nil || !helps(err) || p.tries == 1 || ready(ctx) != nil {
		return err
	}
	_, failed := backoff.Retry(ctx, func() (struct{}, error) {
		if over := ready(ctx); over != nil {
			return struct{}{}, backoff.Permanent(over)
		}
		trace.Retry(ctx)
		if err = operation(); err != nil && !helps(err) {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(p.Pauses()), backoff.WithMaxElapsedTime(patience(ctx)), backoff.WithMaxTries(p.tries))
	if failed == nil {
		return nil
	}
	return err
}

// Pauses follows Celery's get_exponential_backoff_interval, with jitter.
func (p Policy) Pauses() backoff.BackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = p.first, p.longest, 2
	return b
}

// patience is without an end while the context has one.
func patience(ctx context.Context) time.Duration {
	if _, ok := ctx.Deadline(); ok {
		return 0
	}
	return Patience
}
