package sqlalchemybackend_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// encoded returns the write of a result.
func encoded(t *testing.T, b *celeryresults.Backend, meta *celeryresults.TaskMeta) *driver.Write {
	t.Helper()
	w := &driver.Write{Kind: driver.Task, ID: meta.TaskID, State: meta.State, Power: driver.PowerOf(meta.State, false), TTL: driver.Never}
	require.NoError(t, b.Driver().(celeryresults.Encoding).Encode(t.Context(), meta, w))
	return w
}

func TestAnswers(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		backend := open(t, s)
		put := func(writes ...*driver.Write) {
			t.Helper()
			for _, w := range writes {
				w.Answer = driver.Answer{}
			}
			backend.Driver().Put(t.Context(), writes)
		}
		one, two := encoded(t, backend, done("a", 1)), encoded(t, backend, done("b", 2))
		put(one)
		assert.Equal(t, driver.Answer{Outcome: driver.Stored}, one.Answer)
		put(one, two)
		assert.Equal(t, driver.Answer{Outcome: driver.Refused, Stands: driver.Success}, one.Answer)
		assert.Equal(t, driver.Answer{Outcome: driver.Stored}, two.Answer)
		one.Repeated = true
		put(one)
		assert.Equal(t, driver.Answer{Outcome: driver.Stored}, one.Answer, "it finds itself")
		other := encoded(t, backend, done("a", 3))
		other.Repeated = true
		put(other)
		assert.Equal(t, driver.Answer{Outcome: driver.Refused, Stands: driver.Success}, other.Answer)

		b.exec(t, `UPDATE celery_taskmeta SET status = NULL WHERE task_id = 'a'`)
		put(one)
		assert.Equal(t, driver.Stored, one.Answer.Outcome, "what can't be read gives way")

		b.exec(t, `DROP TABLE celery_taskmeta`)
		put(one)
		assert.Equal(t, driver.NotStored, one.Answer.Outcome)
		require.ErrorIs(t, one.Answer.Err, celeryresults.ErrNoTable)
		require.NoError(t, backend.StoreResult(t.Context(), done("a", 1)), "it is made again")
	})
}

// Columns of other programs may take different ids for the same.
func TestIDsThatTheTableTakesForOthers(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		b.old(t, true)
		switch b.dialect {
		case sqldialect.PostgreSQL:
			b.exec(t, `CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
			b.exec(t, `ALTER TABLE celery_taskmeta ALTER COLUMN task_id TYPE varchar(155) COLLATE nocase`)
			b.exec(t, `ALTER TABLE celery_tasksetmeta ALTER COLUMN taskset_id TYPE varchar(155) COLLATE nocase`)
		case sqldialect.MySQL:
			b.exec(t, `ALTER TABLE celery_taskmeta MODIFY task_id VARCHAR(155) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`)
			b.exec(t, `ALTER TABLE celery_tasksetmeta MODIFY taskset_id VARCHAR(155) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`)
		default:
			b.exec(t, `DROP TABLE celery_taskmeta`)
			b.exec(t, `CREATE TABLE celery_taskmeta (id INTEGER PRIMARY KEY, task_id VARCHAR(155) COLLATE NOCASE UNIQUE, status, result, date_done, traceback)`)
		}
		backend := open(t, s)
		require.NoError(t, backend.StoreResult(t.Context(), done("abc", 1)))
		began := time.Now()
		err := backend.StoreResult(t.Context(), done("ABC", 2))
		require.ErrorIs(t, err, celeryresults.ErrBadID)
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		if b.dialect == sqldialect.MySQL {
			require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "g"}))
			require.ErrorIs(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "G"}), celeryresults.ErrBadID)
		}
		assert.Less(t, time.Since(began), 5*time.Second)
		meta, err := backend.GetTaskMeta(t.Context(), "ABC")
		require.NoError(t, err)
		assert.True(t, meta.Unknown)
		require.NoError(t, backend.Forget(t.Context(), "abc"))
	})
}
