package redisbackend

import "time"

// SetSilence lets connections be given up sooner that are silent, until restore is
// called. No backend may be open.
func SetSilence(ping, lost time.Duration) (restore func()) {
	wasPing, wasLost := pingAfter, lostAfter
	pingAfter, lostAfter = ping, lost
	return func() { pingAfter, lostAfter = wasPing, wasLost }
}
