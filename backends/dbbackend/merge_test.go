package dbbackend_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// poison makes the database refuse rows of the worker called poison.
func (b base) poison(t *testing.T) {
	t.Helper()
	if b.dialect != sqldialect.SQLite {
		b.exec(t, `ALTER TABLE `+resultschema.TaskTable+` ADD CONSTRAINT no_poison CHECK (worker <> 'poison')`)
		return
	}
	for _, event := range []string{"INSERT", "UPDATE"} {
		b.exec(t, `CREATE TRIGGER no_poison_`+event+` BEFORE `+event+` ON `+resultschema.TaskTable+`
			WHEN NEW.worker = 'poison' BEGIN SELECT RAISE(ABORT, 'no poison'); END`)
	}
}

// TestEveryCallerGetsItsOwnOutcome stores for 64 callers at once, some of them
// new, some over a record, some for the same task, and one that the database
// refuses.
func TestEveryCallerGetsItsOwnOutcome(t *testing.T) {
	const callers, tasks = 64, 40
	onEachTable(t, func(t *testing.T, b base) {
		b.poison(t)
		backend := b.open(t)
		for round := range 10 {
			ids := numbered(fmt.Sprint("round-", round), tasks)
			everyone(tasks/2, func(i int) {
				assert.NoError(t, backend.StoreResult(t.Context(), inState(ids[2*i], celeryresults.Started)))
			})
			refused := tasks - 1 - round%2 // new, or over a record
			var errs [callers]error
			everyone(callers, func(i int) {
				meta := done(ids[i%tasks], i)
				if i == refused {
					meta.Worker = "poison"
				}
				errs[i] = backend.StoreResult(t.Context(), meta)
			})
			for task, id := range ids {
				if task == refused {
					assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(errs[task]), "%v", errs[task])
					assert.NotErrorIs(t, errs[task], celeryresults.ErrRefused)
					continue
				}
				checkOne(t, get(t, backend, id), task, tasks, errs[:])
			}
		}
	})
}

// checkOne makes sure that one of a task's callers has stored its result and the
// others were refused.
func checkOne(t *testing.T, meta *celeryresults.TaskMeta, task, tasks int, errs []error) {
	t.Helper()
	var stored []string
	for caller := task; caller < len(errs); caller += tasks {
		if errs[caller] == nil {
			stored = append(stored, fmt.Sprint(caller))
			continue
		}
		var refused *celeryresults.RefusedError
		require.ErrorAs(t, errs[caller], &refused)
		assert.Equal(t, celeryresults.RefusedError{TaskID: meta.TaskID, Stands: celeryresults.Success, Stored: celeryresults.Success}, *refused)
	}
	require.Len(t, stored, 1, meta.TaskID)
	assert.Equal(t, stored[0], plain(t, meta.Result))
}

func TestStoresOfOneCallerKeepTheirOrder(t *testing.T) {
	states := []celeryresults.State{celeryresults.Pending, celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Started, celeryresults.Failure, celeryresults.Success}
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		everyone(32, func(i int) {
			id := fmt.Sprint("ordered-", i)
			for _, state := range states {
				assert.NoError(t, backend.StoreResult(t.Context(), inState(id, state)))
				meta, err := backend.GetTaskMeta(t.Context(), id)
				assert.NoError(t, err)
				assert.Equal(t, state, meta.State)
			}
		})
	})
}

// TestTwoBackendsRaceForOneRecord is about processes: each has its own batches.
func TestTwoBackendsRaceForOneRecord(t *testing.T) {
	const tasks = 100
	onEachTable(t, func(t *testing.T, b base) {
		b.raceForRecords(t, tasks, celeryresults.Started, celeryresults.Failure, celeryresults.Success, celeryresults.Success)
	})
}

// raceForRecords stores a result of each state for every task at once, over two
// backends. Whatever the order, the SUCCESS stands, and one caller's alone.
func (b base) raceForRecords(t *testing.T, tasks int, states ...celeryresults.State) {
	t.Helper()
	first, second := b.open(t), b.open(t)
	ids := numbered("race", tasks)
	errs := make([]error, tasks*len(states))
	everyone(len(errs), func(i int) {
		backend := first
		if i/tasks%2 == 1 {
			backend = second
		}
		meta := inState(ids[i%tasks], states[i/tasks])
		meta.Result = celeryresults.NewValue(i)
		errs[i] = backend.StoreResult(t.Context(), meta)
	})
	for task, id := range ids {
		meta := get(t, first, id)
		assert.Equal(t, celeryresults.Success, meta.State)
		winners := 0
		for i := task; i < len(errs); i += tasks {
			if errs[i] != nil {
				require.ErrorIs(t, errs[i], celeryresults.ErrRefused)
			} else if states[i/tasks] == celeryresults.Success {
				winners++
				assert.Equal(t, fmt.Sprint(i), plain(t, meta.Result))
			}
		}
		assert.Equal(t, 1, winners, id)
	}
	assert.Equal(t, tasks, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable))
	require.NoError(t, errors.Join(first.Close(), second.Close()))
}
