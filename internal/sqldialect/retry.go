package sqldialect

import (
	"context"
	"math/rand/v2"
	"time"
)

// Mode says whether a statement may be applied twice.
type Mode int

// The modes.
const (
	// Once is for statements whose second run could answer otherwise.
	Once Mode = iota
	// Repeatable is for statements that can be applied twice.
	Repeatable
)

const (
	attempts     = 8
	firstPause   = 2 * time.Millisecond
	longestPause = 50 * time.Millisecond

	// lockPatience is how long a lock on SQLite's file is waited for.
	lockPatience = 10 * time.Second
)

// Retry runs a statement, and runs it again while its failure is Transient, or
// Disconnected and the mode Repeatable: up to eight times within about 200 ms,
// with growing random pauses. While SQLite's file is Locked it goes on for
// 10 s. It returns the last error, and does not start again when the context
// is over.
func Retry(ctx context.Context, mode Mode, statement func() error) error {
	started := time.Now()
	for attempt := 1; ; attempt++ {
		err := statement()
		if err == nil || !worthwhile(Classify(err), mode, attempt, time.Since(started)) {
			return err
		}
		if !pause(ctx, attempt) {
			return ctx.Err()
		}
	}
}

func worthwhile(condition Condition, mode Mode, attempt int, spent time.Duration) bool {
	switch condition {
	case Locked:
		return spent < lockPatience
	case Transient:
		return attempt < attempts
	case Disconnected:
		return attempt < attempts && mode == Repeatable
	default:
		return false
	}
}

// pause waits, longer after every attempt, and reports whether the context
// lasted.
func pause(ctx context.Context, attempt int) bool {
	longest := min(firstPause<<min(attempt, 10), longestPause)
	timer := time.NewTimer(longest/2 + rand.N(longest/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
