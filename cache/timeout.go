package cache

import "time"

// Timeouts with a meaning of their own, beside [Never]. Every method that takes
// a timeout takes these, too.
const (
	// DefaultTimeout stands for the timeout of the cache's Settings.
	DefaultTimeout time.Duration = 0

	// AtOnce is a lifetime that is over already: Django's 0. Nothing is kept,
	// and what was there goes. Every negative timeout but Never means the same.
	AtOnce time.Duration = -2
)

// standardTimeout is the lifetime when the Settings name none: Django's 300 s.
const standardTimeout = 300 * time.Second

// lifetime returns a timeout as it is meant: positive, Never or AtOnce.
func (c *Cache) lifetime(timeout time.Duration) time.Duration {
	if timeout == DefaultTimeout {
		timeout = c.timeout
	}
	switch {
	case timeout == DefaultTimeout:
		return standardTimeout
	case timeout < 0 && timeout != Never:
		return AtOnce
	}
	return timeout
}
