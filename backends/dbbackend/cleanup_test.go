package dbbackend_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/internal/resultschema"
)

// aged stores results that were written so long ago, a list of hours for each
// state, and returns how many there are.
func aged(t *testing.T, b base, ages map[celeryresults.State][]int) int {
	t.Helper()
	n := 0
	for state, hours := range ages {
		for i, age := range hours {
			at := start.Add(-time.Duration(age) * time.Hour)
			backend := b.at(t, func() time.Time { return at }, retention)
			meta := inState(fmt.Sprintf("%s-%dh-%d", state, age, i), state)
			meta.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme"})
			store(t, backend, meta)
			n++
		}
	}
	return n
}

func (b base) taskIDs(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, row := range b.rows(t, `SELECT task_id FROM `+resultschema.TaskTable) {
		ids = append(ids, row["task_id"].(string))
	}
	return ids
}

// ages are those of rows before a clean-up with the settings of retention: 1 h,
// FAILURE 3 h, PROGRESS 2 h, REVOKED for ever, other states 10 h.
var ages = map[celeryresults.State][]int{
	celeryresults.Success: {0, 2, 2, 2, 50}, celeryresults.Failure: {1, 2, 4, 50}, celeryresults.Revoked: {0, 5000},
	"PROGRESS": {1, 3, 3}, celeryresults.Started: {3, 9, 11}, celeryresults.Pending: {9, 11, 11},
}

func TestCleanUpRemovesWhatHasExpiredAndNothingElse(t *testing.T) {
	for name, row := range map[string]struct {
		options dbbackend.CleanupOptions
		removed map[celeryresults.State]int64
		groups  int64
	}{
		"by the settings": {
			dbbackend.CleanupOptions{}, map[celeryresults.State]int64{"SUCCESS": 4, "FAILURE": 2, "PROGRESS": 2, "STARTED": 1, "PENDING": 2}, 2,
		},
		"older than": {
			dbbackend.CleanupOptions{OlderThan: 45 * time.Hour}, map[celeryresults.State]int64{"SUCCESS": 1, "FAILURE": 1, "REVOKED": 1, "PROGRESS": 2, "STARTED": 1, "PENDING": 2}, 1,
		},
		"by state": {
			dbbackend.CleanupOptions{ByState: map[celeryresults.State]time.Duration{"SUCCESS": 45 * time.Hour, "REVOKED": time.Hour, "STARTED": celeryresults.Never}},
			map[celeryresults.State]int64{"SUCCESS": 1, "FAILURE": 2, "REVOKED": 1, "PROGRESS": 2, "PENDING": 2}, 1,
		},
		"both": {
			dbbackend.CleanupOptions{OlderThan: 3*time.Hour + time.Minute, ByState: map[celeryresults.State]time.Duration{"FAILURE": celeryresults.Never}},
			map[celeryresults.State]int64{"SUCCESS": 1, "REVOKED": 1, "PROGRESS": 2, "STARTED": 1, "PENDING": 2}, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTable(t, func(t *testing.T, b base) {
				total := aged(t, b, ages)
				for _, hours := range []int{0, 2, 50} {
					at := start.Add(-time.Duration(hours) * time.Hour)
					require.NoError(t, b.at(t, func() time.Time { return at }).SaveGroup(t.Context(), celeryresults.ResultTuple{ID: fmt.Sprint("group-", hours)}))
				}
				backend := b.at(t, func() time.Time { return start }, retention)
				var sum int64
				for _, n := range row.removed {
					sum += n
				}
				for _, batch := range []int{1, 2, 3, 0} { // boundaries fall between equal times
					dry := row.options
					dry.DryRun, dry.Batch = true, batch
					report, err := storeOf(t, backend).CleanupWith(t.Context(), dry)
					require.NoError(t, err)
					assert.Equal(t, row.removed, report.ByState, "batch %d", batch)
					assert.Equal(t, []int64{sum, row.groups}, []int64{report.Results, report.Groups})
					assert.Len(t, b.taskIDs(t), total, "a dry run removes nothing")
				}
				options := row.options
				options.Batch = 2
				report, err := storeOf(t, backend).CleanupWith(t.Context(), options)
				require.NoError(t, err)
				assert.Equal(t, row.removed, report.ByState)
				assert.Equal(t, []int64{sum, row.groups, 0, 0}, []int64{report.Results, report.Groups, report.Chords, report.Labels})
				assert.Equal(t, sum+row.groups, report.Total())
				assert.Len(t, b.taskIDs(t), total-int(sum))
				assert.Equal(t, total-int(sum), b.count(t, `SELECT COUNT(*) FROM `+resultschema.LabelTable), "labels go with their results")
				again, err := storeOf(t, backend).CleanupWith(t.Context(), options)
				require.NoError(t, err)
				assert.Zero(t, again.Total())
			})
		})
	}
}

func TestCleanUpRefusesOptionsOfNoSense(t *testing.T) {
	b := openBase(t, engines[0].fresh(t))
	b.migrate(t, dbbackend.MigrateOptions{})
	backend := b.open(t)
	for _, o := range []dbbackend.CleanupOptions{
		{OlderThan: -time.Hour}, {Batch: -1}, {Batch: 10_001}, {ByState: map[celeryresults.State]time.Duration{"SUCCESS": 0}}, {ByState: map[celeryresults.State]time.Duration{"SUCCESS": -5}},
	} {
		_, err := storeOf(t, backend).CleanupWith(t.Context(), o)
		require.Error(t, err, "%+v", o)
	}
}

func TestCleanUpRemovesLabelsAndChordsThatNobodyNeeds(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, retention)
		labelled := func(id string) *celeryresults.TaskMeta {
			meta := done(id, 1)
			meta.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme", "cost": 1})
			return meta
		}
		for _, id := range numbered("kept", 5) {
			store(t, backend, labelled(id))
		}
		for _, id := range numbered("removed by Django", 7) {
			store(t, backend, labelled(id))
		}
		b.exec(t, `DELETE FROM `+resultschema.TaskTable+` WHERE task_id LIKE 'removed%'`)
		chord := celeryresults.Chord{ID: "old", Members: []string{"a", "b"}}
		require.NoError(t, backend.StartChord(t.Context(), chord))
		now = start.Add(11 * time.Hour)
		chord.ID = "young"
		require.NoError(t, backend.StartChord(t.Context(), chord))
		forever := map[celeryresults.State]time.Duration{celeryresults.Success: celeryresults.Never}
		dry, err := storeOf(t, backend).CleanupWith(t.Context(), dbbackend.CleanupOptions{DryRun: true, Batch: 3, ByState: forever})
		require.NoError(t, err)
		report, err := storeOf(t, backend).CleanupWith(t.Context(), dbbackend.CleanupOptions{Batch: 3, ByState: forever})
		require.NoError(t, err)
		assert.Equal(t, []int64{14, 1, 0}, []int64{report.Labels, report.Chords, report.Results})
		assert.Equal(t, report.Labels, dry.Labels)
		assert.Equal(t, report.Chords, dry.Chords)
		assert.Equal(t, 10, b.count(t, `SELECT COUNT(*) FROM `+resultschema.LabelTable))
		assert.Equal(t, 2, b.count(t, `SELECT COUNT(*) FROM `+resultschema.ChordMemberTable))
		assert.Equal(t, "young", b.rows(t, `SELECT group_id FROM `+resultschema.ChordTable)[0]["group_id"])
	})
}

func TestACleanUpThatWasInterruptedGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		old := b.at(t, func() time.Time { return start.Add(-2 * time.Hour) }, retention)
		for _, id := range numbered("old", 25) { // all written at the same moment
			store(t, old, done(id, 1))
		}
		backend := b.at(t, func() time.Time { return start }, retention)
		var removed int64
		for batches := 1; ; batches++ {
			ctx, cancel := context.WithCancel(t.Context())
			calls, last := 0, int64(0)
			report, err := storeOf(t, backend).CleanupWith(ctx, dbbackend.CleanupOptions{Batch: 4, Progress: func(r dbbackend.CleanupReport) {
				assert.Equal(t, r.Looked, r.Results)
				last = r.Results
				if calls++; calls == batches {
					cancel()
				}
			}})
			cancel()
			removed += report.Results
			if err == nil {
				break
			}
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, last, report.Results, "what was done is reported")
			assert.GreaterOrEqual(t, last, int64(batches))
		}
		assert.Equal(t, int64(25), removed)
		assert.Empty(t, b.taskIDs(t))
	})
}

// TestSeveralCleanersLeaveLiveRowsAlone runs four cleaners while others store
// new results and store again what has expired.
func TestSeveralCleanersLeaveLiveRowsAlone(t *testing.T) {
	const expired, revived, fresh = 600, 100, 200
	onEachTable(t, func(t *testing.T, b base) {
		old := b.at(t, func() time.Time { return start.Add(-2 * time.Hour) }, retention)
		labelled := func(id string) *celeryresults.TaskMeta {
			meta := done(id, 1)
			meta.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme"})
			return meta
		}
		ids := numbered("old", expired)
		everyone(16, func(i int) {
			for n := i; n < expired; n += 16 {
				assert.NoError(t, old.StoreResult(t.Context(), labelled(ids[n])))
			}
		})
		open := func() *celeryresults.Backend {
			single := openBase(t, b.database)
			return single.at(t, func() time.Time { return start }, retention)
		}
		var mu sync.Mutex
		total := map[celeryresults.State]int64{}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				report, err := storeOf(t, open()).CleanupWith(t.Context(), dbbackend.CleanupOptions{Batch: 20})
				assert.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				for state, n := range report.ByState {
					total[state] += n
				}
				total["all"] += report.Results
			})
		}
		writer := open()
		for i := range revived {
			all.Go(func() { assert.NoError(t, writer.StoreResult(t.Context(), labelled(ids[i*(expired/revived)]))) })
		}
		for i := range fresh {
			all.Go(func() { assert.NoError(t, writer.StoreResult(t.Context(), labelled(fmt.Sprint("new-", i)))) })
		}
		all.Wait()
		assert.Equal(t, total["all"], total[celeryresults.Success])
		left := b.taskIDs(t)
		assert.Len(t, left, revived+fresh)
		want := map[string]bool{}
		for i := range revived {
			want[ids[i*(expired/revived)]] = true
		}
		for _, id := range left {
			delete(want, id)
		}
		assert.Empty(t, slicesOf(want), "no live row is lost")
		assert.GreaterOrEqual(t, total["all"], int64(expired-revived))
		assert.LessOrEqual(t, total["all"], int64(expired))
		q := celeryresults.Query{Labels: map[string]string{"tenant": "acme"}, Limit: 100}
		assert.Len(t, walk(t, writer, q, nil), revived+fresh, "nor its labels")
		_, err := writer.Cleanup(t.Context())
		require.NoError(t, err)
		assert.Equal(t, revived+fresh, b.count(t, `SELECT COUNT(*) FROM `+resultschema.LabelTable))
	})
}

func slicesOf(set map[string]bool) []string {
	var items []string
	for item := range maps.Keys(set) {
		items = append(items, item)
	}
	return items
}

func TestAppCleanUpCountsResultsAndGroups(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		aged(t, b, map[celeryresults.State][]int{celeryresults.Success: {0, 2, 3}})
		at := start.Add(-2 * time.Hour)
		require.NoError(t, b.at(t, func() time.Time { return at }).SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
		removed, err := b.at(t, func() time.Time { return start }, retention).Cleanup(t.Context())
		require.NoError(t, err)
		assert.Equal(t, int64(3), removed)
	})
}
