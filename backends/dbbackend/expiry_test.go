package dbbackend_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/resultschema"
)

// retention gives every kind of state an expiry of its own.
func retention(s *celeryresults.Settings) {
	s.ResultExpires = time.Hour
	s.DjangoDB.UnfinishedExpires = 10 * time.Hour
	s.DjangoDB.ExpiresByState = map[celeryresults.State]time.Duration{
		celeryresults.Failure: 3 * time.Hour, celeryresults.Revoked: celeryresults.Never, "PROGRESS": 2 * time.Hour,
	}
}

func TestExpiredRowsAreUnknownEverywhere(t *testing.T) {
	lasting := map[celeryresults.State]time.Duration{
		celeryresults.Success: time.Hour, celeryresults.Failure: 3 * time.Hour, celeryresults.Revoked: celeryresults.Never, "PROGRESS": 2 * time.Hour,
		celeryresults.Started: 10 * time.Hour, celeryresults.Pending: 10 * time.Hour,
	}
	onEachTable(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, retention)
		var ids []string
		for state := range lasting {
			store(t, backend, inState("id-"+string(state), state))
			ids = append(ids, "id-"+string(state))
		}
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
		for _, age := range []time.Duration{0, time.Hour, time.Hour + 1000, 2 * time.Hour, 2*time.Hour + 1000, 3 * time.Hour, 3*time.Hour + 1000, 10 * time.Hour, 10*time.Hour + 1000, 10_000 * time.Hour} {
			now = start.Add(age)
			want := map[string]bool{}
			for state, lasts := range lasting {
				if lasts == celeryresults.Never || age <= lasts {
					want["id-"+string(state)] = true
				}
			}
			alone, many, listed := map[string]bool{}, map[string]bool{}, map[string]bool{}
			metas, err := backend.GetMany(t.Context(), ids)
			require.NoError(t, err)
			for i, id := range ids {
				note(alone, get(t, backend, id))
				note(many, metas[i])
				assert.Equal(t, !want[id], metas[i].Phase() == celeryresults.PhaseExpired, "the row is still there")
			}
			page, err := backend.List(t.Context(), celeryresults.Query{})
			require.NoError(t, err)
			for _, meta := range page.Results {
				note(listed, meta)
			}
			assert.Equal(t, want, alone, "%s", age)
			assert.Equal(t, want, many, "%s", age)
			assert.Equal(t, want, listed, "%s", age)
			_, err = backend.RestoreGroup(t.Context(), "group")
			assert.Equal(t, age > time.Hour, errors.Is(err, celeryresults.ErrUnknownGroup), "%s", age)
		}
	})
}

func note(seen map[string]bool, meta *celeryresults.TaskMeta) {
	if !meta.Unknown {
		seen[meta.TaskID] = true
	}
}

func TestAnExpiredSuccessIsReplacedAsIfItWereNotThere(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, retention)
		for _, together := range []bool{false, true} {
			now = start
			ids := numbered(map[bool]string{false: "alone", true: "together"}[together], 5)
			first := make([]*celeryresults.TaskMeta, len(ids))
			for i, id := range ids {
				first[i] = done(id, 1)
				first[i].DateStarted = start.Add(-time.Minute)
			}
			store(t, backend, first...)
			now = start.Add(time.Hour)
			require.ErrorIs(t, backend.StoreResult(t.Context(), inState(ids[0], celeryresults.Pending)), celeryresults.ErrRefused)
			now = start.Add(2 * time.Hour)
			again := func(i int) {
				assert.NoError(t, backend.StoreResult(t.Context(), inState(ids[i], celeryresults.Pending)))
			}
			if together {
				everyone(len(ids), again)
			} else {
				for i := range ids {
					again(i)
				}
			}
			for _, id := range ids {
				row := b.row(t, id)
				assert.Equal(t, "PENDING", row["status"])
				assert.Equal(t, now, row["date_created"], "as a new row has it")
				assert.Nil(t, row["date_started"])
				assert.Equal(t, celeryresults.Pending, get(t, backend, id).State)
			}
		}
	})
}

func TestNothingExpiresUnderNever(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, func(s *celeryresults.Settings) { s.ResultExpires = celeryresults.Never })
		store(t, backend, done("old", 1), inState("older", celeryresults.Started))
		now = start.Add(100 * 365 * 24 * time.Hour)
		assert.Equal(t, celeryresults.Success, get(t, backend, "old").State)
		assert.Equal(t, celeryresults.Started, get(t, backend, "older").State)
		require.ErrorIs(t, backend.StoreResult(t.Context(), done("old", 2)), celeryresults.ErrRefused)
		removed, err := backend.Cleanup(t.Context())
		require.NoError(t, err)
		assert.Zero(t, removed)
	})
}

func TestTombstonesStayUntilTheirTimeIsOver(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, func(s *celeryresults.Settings) {
			s.ResultExpires, s.DjangoDB.UnfinishedExpires, s.ResultTombstones = time.Hour, 2*time.Hour, 24*time.Hour
			s.ResultExtended = true
		})
		for _, id := range []string{"forgotten", "expired"} {
			require.NoError(t, backend.StoreResult(t.Context(), &celeryresults.TaskMeta{
				TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue("secret"), Extended: true, Name: "secret", Worker: "secret",
				Args: celeryresults.NewValue([]any{"secret"}), Traceback: "secret", Meta: celeryresults.NewValue(map[string]any{"owner": "secret"}), GroupID: "secret",
			}))
		}
		require.NoError(t, backend.Forget(t.Context(), "forgotten", "unknown"))
		row := b.rows(t, `SELECT * FROM `+resultschema.TaskTable+` WHERE task_id = 'forgotten'`)[0]
		assert.Equal(t, "PENDING", fmt.Sprint(row["status"]), "what Python reads")
		assert.NotContains(t, fmt.Sprint(row), "secret")
		phases := func() (list []celeryresults.Phase) {
			statuses, err := backend.GetStatuses(t.Context(), []string{"forgotten", "expired", "unknown"})
			require.NoError(t, err)
			for _, s := range statuses {
				list = append(list, s.Phase())
			}
			return list
		}
		assert.Equal(t, []celeryresults.Phase{celeryresults.PhaseExpired, celeryresults.PhaseReady, celeryresults.PhaseUnknown}, phases())
		page, err := backend.List(t.Context(), celeryresults.Query{})
		require.NoError(t, err)
		assert.Len(t, page.Results, 1, "what is forgotten is in no list")
		for _, step := range []struct {
			after time.Duration
			want  []celeryresults.Phase
		}{
			{2 * time.Hour, []celeryresults.Phase{celeryresults.PhaseExpired, celeryresults.PhaseExpired, celeryresults.PhaseUnknown}},
			{24*time.Hour + time.Minute, []celeryresults.Phase{celeryresults.PhaseUnknown, celeryresults.PhaseExpired, celeryresults.PhaseUnknown}},
			{25*time.Hour + time.Minute, []celeryresults.Phase{celeryresults.PhaseUnknown, celeryresults.PhaseUnknown, celeryresults.PhaseUnknown}},
		} {
			now = start.Add(step.after)
			_, err := backend.Cleanup(t.Context())
			require.NoError(t, err)
			assert.Equal(t, step.want, phases(), "after %s", step.after)
		}
	})
}
