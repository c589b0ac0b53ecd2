package web

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/driver"
)

func TestCountsThatTakeLongAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing, end := context.WithCancel(t.Context())
		defer end()
		c := newCounts(closing)
		var taken atomic.Int64
		var fails atomic.Bool
		slow := time.Second
		take := func(context.Context) (*driver.Stats, error) {
			time.Sleep(slow)
			if fails.Load() {
				return nil, errors.New("no database")
			}
			return &driver.Stats{From: time.Unix(taken.Add(1), 0)}, nil
		}
		get := func(span string) int64 {
			t.Helper()
			stats, err := c.get(t.Context(), countsKey{"", span}, take)
			require.NoError(t, err)
			return stats.From.Unix()
		}
		assert.EqualValues(t, 1, get("1h"))
		began := time.Now()
		time.Sleep(keptTimes * slow)
		assert.EqualValues(t, 1, get("1h"), "they are fresh")
		time.Sleep(time.Nanosecond)
		for range 3 {
			assert.EqualValues(t, 1, get("1h"), "nobody waits for the new ones")
		}
		assert.Equal(t, keptTimes*slow+time.Nanosecond, time.Since(began))
		time.Sleep(2 * slow)
		assert.EqualValues(t, 2, get("1h"), "they were taken once")
		assert.EqualValues(t, 3, get("24h"))

		fails.Store(true)
		time.Sleep(time.Hour)
		assert.EqualValues(t, 2, get("1h"))
		time.Sleep(2 * slow)
		_, err := c.get(t.Context(), countsKey{"", "1h"}, take)
		assert.Error(t, err, "what is too old is not shown for ever")
		fails.Store(false)

		slow = quick
		for i := range int64(3) {
			assert.EqualValues(t, 4+i, get("7d"), "what is quick is always new")
		}
	})
}
