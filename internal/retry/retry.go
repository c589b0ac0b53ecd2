// Package retry repeats what failed for a moment: with growing random pauses, as
// Celery's result_backend_*_between_retries settings say, until it works, can't
// work, or has failed for too long.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
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

// Policy says how often and with which pauses. Make one with New.
type Policy struct {
	first, longest time.Duration
	tries          int // 0: no limit
}

// New returns a policy whose pauses begin with base and grow to longest, with at most
// so many retries. Zero means Celery's default for pauses and no limit for retries, and
// negative retries none.
func New(base, longest time.Duration, retries int) Policy {
	p := Policy{first: firstPause, longest: usualLongest}
	if base > 0 {
		p.first = base
	}
	if longest > 0 {
		p.longest = min(longest, longestPause)
	}
	switch {
	case retries > 0:
		p.tries = retries + 1
	case retries < 0:
		p.tries = 1
	}
	return p
}

// Over reports whether there is no further attempt after so many.
func (p Policy) Over(tries int) bool { return p.tries > 0 && tries >= p.tries }

// Do runs operation, and again while helps says of its error that repeating it
// may help and ready returns nil. It returns the last error of operation.
func (p Policy) Do(ctx context.Context, ready func(context.Context) error, helps func(error) bool, operation func() error) error {
	err := operation() // nearly always the only time
	if err == nil || !helps(err) {
		return err
	}
	began, pauses := time.Now(), p.Pauses()
	_, timed := ctx.Deadline()
	for tries := 1; !p.Over(tries); tries++ {
		pause := pauses.Next()
		if !timed && time.Since(began)+pause > Patience || !Sleep(ctx, pause) || ready(ctx) != nil {
			return err
		}
		if err = operation(); err == nil || !helps(err) {
			return err
		}
	}
	return err
}

// Sleep waits, and reports whether the context lasts. It does not begin to wait when
// the context ends before.
func Sleep(ctx context.Context, pause time.Duration) bool {
	if deadline, timed := ctx.Deadline(); timed && time.Until(deadline) <= 0 {
		return false
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Pauses are the pauses between the attempts of one operation. They follow Celery's
// get_exponential_backoff_interval, with jitter.
type Pauses struct {
	policy Policy
	next   time.Duration
}

// Pauses returns the pauses of a new operation.
func (p Policy) Pauses() *Pauses { return &Pauses{p, p.first} }

// Next returns the next pause: half of its length to half more.
func (p *Pauses) Next() time.Duration {
	pause := min(p.next, p.policy.longest)
	p.next = min(2*pause, p.policy.longest)
	return pause/2 + rand.N(max(pause, 1))
}

// Reset begins anew.
func (p *Pauses) Reset() { p.next = p.policy.first }
