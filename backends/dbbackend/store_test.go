package dbbackend_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// TestOnePutStoresAllThatItCan has results, groups and what the tables have no place for
// in one Put.
func TestOnePutStoresAllThatItCan(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		tables := storeOf(t, backend)
		store(t, backend, done("c-refused", 1))
		writes := batch(t, tables, func(n int) string { return []string{"b-new", "c-refused", "d-new"}[n] }, 0, 1, 2)
		group := &driver.Write{Kind: driver.Group, ID: "a-group", Power: driver.Anything}
		require.NoError(t, tables.EncodeGroup(t.Context(), celeryresults.ResultTuple{ID: "a-group", Children: []celeryresults.ResultTuple{{ID: "b-new"}}}, group))
		odd := &driver.Write{Kind: driver.Marker, ID: "e-odd", Power: driver.Anything, Document: []byte("1")}
		all := append(append([]*driver.Write{group}, writes...), odd)
		tables.Put(t.Context(), all)
		var outcomes []driver.Outcome
		for _, w := range all {
			outcomes = append(outcomes, w.Answer.Outcome)
		}
		assert.Equal(t, []driver.Outcome{driver.Stored, driver.Stored, driver.Refused, driver.Stored, driver.NotStored}, outcomes)
		assert.Equal(t, celeryresults.Success, writes[1].Answer.Stands)
		require.ErrorIs(t, odd.Answer.Err, errors.ErrUnsupported)

		for _, w := range all[:4] { // as after a confirmation that was lost
			w.Answer, w.Repeated = driver.Answer{}, true
		}
		tables.Put(t.Context(), all[:4])
		for i, w := range all[:4] {
			assert.Equal(t, outcomes[i], w.Answer.Outcome, w.ID)
		}
		restored, err := backend.RestoreGroup(t.Context(), "a-group")
		require.NoError(t, err)
		assert.Equal(t, "b-new", restored.Children[0].ID)
	})
}

// TestOneRecordSpoilsNoOthers reads what is there together with what is not, can't be, has
// expired, and has no status.
func TestOneRecordSpoilsNoOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, retention)
		store(t, backend, done("expired", 1))
		now = start.Add(2 * time.Hour)
		store(t, backend, done("good", 1), inState("broken", celeryresults.Started))
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET status = '' WHERE task_id = 'broken'`)
		ids := []string{"unknown", "bad\x00", "broken", "good", "expired"}
		for _, how := range []driver.How{0, driver.States, driver.Primary} {
			records := make([]driver.Record, len(ids))
			for i, id := range ids {
				records[i].ID = id
			}
			require.NoError(t, backend.Driver().Get(t.Context(), driver.Task, records, how))
			assert.Equal(t, driver.Record{ID: "unknown"}, records[0])
			require.ErrorIs(t, records[1].Err, driver.ErrBadID)
			var unreadable *celeryresults.UnreadableError
			require.ErrorAs(t, records[2].Err, &unreadable)
			assert.Equal(t, driver.Success, records[3].State)
			assert.Equal(t, how == driver.States, records[3].Row == nil)
			assert.Equal(t, driver.Record{ID: "expired", Expired: true}, records[4])
			for i := range records { // each alone
				one := []driver.Record{{ID: ids[i]}}
				require.NoError(t, backend.Driver().Get(t.Context(), driver.Task, one, how))
				assert.Equal(t, []any{records[i].State, records[i].Expired, records[i].Err}, []any{one[0].State, one[0].Expired, one[0].Err})
			}
		}
		counts, err := storeOf(t, backend).Count(t.Context(), driver.Members{IDs: append(ids, "GOOD", "good ")})
		require.NoError(t, err)
		assert.Equal(t, map[driver.State]int{driver.Success: 1}, counts)
	})
}

func TestManyTasksAreCountedTogether(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		store(t, backend, done("task-0000", 1), inState("task-9999", celeryresults.Started))
		var ids []string
		for i := range 20_000 {
			ids = append(ids, fmt.Sprintf("task-%04d", i))
		}
		counts, err := storeOf(t, backend).Count(t.Context(), driver.Members{IDs: ids})
		require.NoError(t, err)
		assert.Equal(t, map[driver.State]int{driver.Success: 1, driver.Started: 1}, counts)
	})
}

// TestASavedGroupIsSavedAgain is about MySQL, which does not count a row that an update
// leaves as it is, unless it is told to.
func TestASavedGroupIsSavedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		db := b.db
		if b.dialect == sqldialect.MySQL {
			config := b.mysqlConfig(t)
			config.ParseTime = true
			db = openMySQL(t, config)
		}
		backend := b.over(t, db, dbbackend.Options{Now: func() time.Time { return start }}, forever)
		for range 3 {
			require.NoError(t, backend.SaveGroup(within(t, time.Minute), celeryresults.ResultTuple{ID: "group"}))
		}
	})
}
