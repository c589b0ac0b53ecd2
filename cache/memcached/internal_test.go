package memcached

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
)

func TestExpirationFollowsDjango(t *testing.T) {
	now := time.Unix(1_795_000_000, 0)
	const day = 24 * time.Hour
	for _, c := range []struct {
		ttl  time.Duration
		want int32
	}{
		{cache.Never, 0},
		{1, 1},
		{time.Second, 1},
		{time.Second + 1, 2},
		{30 * day, 30 * 24 * 3600},
		{30*day + 1, 1_795_000_000 + 30*24*3600 + 1},
		{31 * day, 1_795_000_000 + 31*24*3600},
		{100 * 365 * day, math.MaxInt32},
		{math.MaxInt64, math.MaxInt32},
	} {
		assert.Equal(t, c.want, expiration(c.ttl, now), "%v", c.ttl)
	}
}

func TestLifetimeAnswersAreRead(t *testing.T) {
	for line, want := range map[string]time.Duration{"HD t100": 100 * time.Second, "HD t0": time.Second, "HD t-1": cache.Never, "EN": time.Second} {
		got, err := parseLifetime(line)
		require.NoError(t, err, line)
		assert.Equal(t, want, got, line)
	}
	for _, line := range []string{"", "ERROR", "HD", "HD tx", "CLIENT_ERROR bad"} {
		_, err := parseLifetime(line)
		assert.Error(t, err, "%q", line)
	}
}

func FuzzInflate(f *testing.F) {
	f.Add([]byte("x\x9cKL\x1c\x05\xa3`\x14\x0cw\x00\x00\xf9\xd8z\xf8"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, compressed []byte) {
		if value, err := inflate(compressed); err == nil && len(value) > maxInflated {
			t.Errorf("inflate(%q) gave %d bytes", compressed, len(value))
		}
	})
}
