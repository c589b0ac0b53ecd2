package dbbackend_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

func TestStats(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t, forever)
		until := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
		put := func(id, task string, state celeryresults.State, done time.Time, took time.Duration) {
			t.Helper()
			require.NoError(t, backend.StoreResult(t.Context(), &celeryresults.TaskMeta{
				TaskID: id, State: state, Name: task, Extended: true, DateDone: done, DateCreated: done.Add(-time.Hour), DateStarted: done.Add(-took),
			}))
		}
		for i := range 100 { // in the last hour, of 1 to 100 ms
			put(fmt.Sprint("fast-", i), "fast", celeryresults.Success, until.Add(-time.Minute), time.Duration(i+1)*time.Millisecond)
		}
		for i := range 10 { // five hours before
			put(fmt.Sprint("slow-", i), "slow", []celeryresults.State{celeryresults.Success, celeryresults.Failure}[i%2], until.Add(-5*time.Hour-time.Minute), 2*time.Second)
		}
		put("revoked", "", celeryresults.Revoked, until.Add(-time.Minute), 0)
		put("running", "fast", celeryresults.Started, until.Add(-time.Minute), 0)
		put("before", "fast", celeryresults.Success, until.Add(-25*time.Hour), time.Second)
		put("after", "fast", celeryresults.Success, until, time.Second)

		stats, err := backend.Stats(t.Context(), driver.StatsQuery{Until: until})
		require.NoError(t, err)
		require.Len(t, stats.Tasks, 3)
		assert.Equal(t, driver.TaskStats{Task: "fast", States: map[celeryresults.State]int64{"SUCCESS": 100}, Total: 100}, stats.Tasks[0])
		assert.Equal(t, "slow", stats.Tasks[1].Task)
		assert.InDelta(t, 0.5, stats.Tasks[1].Failed(), 0)
		assert.Equal(t, driver.TaskStats{States: map[celeryresults.State]int64{"REVOKED": 1}, Total: 1}, stats.Tasks[2])
		require.Len(t, stats.Buckets, 24)
		last, earlier := stats.Buckets[23], stats.Buckets[18]
		assert.Equal(t, until.Add(-time.Hour), last.From)
		assert.EqualValues(t, 101, last.Done)
		assert.Zero(t, last.Failed)
		assert.EqualValues(t, 10, earlier.Done)
		assert.EqualValues(t, 5, earlier.Failed)
		missing, err := storeOf(t, backend).MissingColumns(t.Context())
		require.NoError(t, err)
		if fmt.Sprint(missing) == fmt.Sprint([]string(nil)) { // date_started is there
			assert.InDelta(t, 50*time.Millisecond, last.Median, float64(time.Millisecond))
			assert.InDelta(t, 95*time.Millisecond, last.P95, float64(2*time.Millisecond))
			assert.InDelta(t, 2*time.Second, earlier.Median, float64(time.Millisecond))
		}
		assert.Zero(t, stats.Buckets[3].Done+stats.Buckets[3].Failed)

		for _, q := range []driver.StatsQuery{{Buckets: -1}, {Buckets: 501}, {From: until, Until: until}, {From: until.Add(time.Hour), Until: until}} {
			_, err := backend.Stats(t.Context(), q)
			require.Error(t, err)
		}
	})
}
