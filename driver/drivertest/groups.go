package drivertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func groups(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	group := celeryresults.ResultTuple{ID: newID("group"), Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	require.NoError(t, b.SaveGroup(t.Context(), group))
	got, err := b.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, group, got)
	require.NoError(t, b.DeleteGroup(t.Context(), group.ID))
	_, err = b.RestoreGroup(t.Context(), group.ID)
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	require.NoError(t, b.DeleteGroup(t.Context(), group.ID))
}

func unknownGroup(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	_, err := b.RestoreGroup(t.Context(), newID("unknown"))
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	_, err = b.RestoreGroup(t.Context(), "")
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	require.ErrorIs(t, b.SaveGroup(t.Context(), celeryresults.ResultTuple{}), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, b.DeleteGroup(t.Context(), ""), celeryresults.ErrNoTaskID)
}

func nestedGroup(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{})
	group := celeryresults.ResultTuple{
		ID: newID("nested"), Parent: &celeryresults.ResultTuple{ID: "parent", Parent: &celeryresults.ResultTuple{ID: "grand"}},
		Children: []celeryresults.ResultTuple{{ID: "inner", Children: []celeryresults.ResultTuple{{ID: "x"}}}, {ID: "y"}},
	}
	require.NoError(t, b.SaveGroup(t.Context(), group))
	got, err := b.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, group, got)
	empty := celeryresults.ResultTuple{ID: newID("empty"), Children: []celeryresults.ResultTuple{}}
	require.NoError(t, b.SaveGroup(t.Context(), empty))
	got, err = b.RestoreGroup(t.Context(), empty.ID)
	require.NoError(t, err)
	assert.Equal(t, empty, got)
}

// tallies compares a tally with a look at all members after ten thousand random
// changes, many of which are refused.
func tallies(t *testing.T, h Harness) {
	b := open(t, h, celeryresults.Settings{ResultTally: true})
	if _, err := b.Tally(t.Context(), newID("unknown")); errors.Is(err, errors.ErrUnsupported) {
		t.Log("the store counts no members")
		return
	}
	const members, changes, writers = 300, 10_000, 16
	id := newID("tally")
	group := celeryresults.NewGroupResult(id, b)
	for i := range members {
		group.Add(celeryresults.NewAsyncResult(fmt.Sprintf("%s-%d", id, i), b))
	}
	states := []celeryresults.State{
		celeryresults.Pending, celeryresults.Started, "PROGRESS", celeryresults.Retry, celeryresults.Success, celeryresults.Failure, celeryresults.Revoked,
	}
	check := func() {
		want := celeryresults.Progress{Total: members}
		for _, r := range group.Results() { // handles that know nothing
			meta, err := b.GetTaskMeta(t.Context(), r.ID())
			require.NoError(t, err)
			want.Add(meta.Status(), 1)
		}
		got, err := group.Tally(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	check()
	var all sync.WaitGroup
	for writer := range writers {
		random := rand.New(rand.NewPCG(uint64(writer), 1)) //nolint:gosec // the same each time
		all.Go(func() {
			for range changes / writers {
				member := random.IntN(members - 20) // some are never stored
				meta := &celeryresults.TaskMeta{TaskID: fmt.Sprintf("%s-%d", id, member), State: states[random.IntN(len(states))], GroupID: id}
				var refused *celeryresults.RefusedError
				if err := b.StoreResult(t.Context(), meta); err != nil && !errors.As(err, &refused) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	check()
	again := &celeryresults.TaskMeta{TaskID: id + "-0", State: celeryresults.Started, GroupID: id}
	require.NoError(t, b.StoreResult(t.Context(), again, celeryresults.Override))
	check()
	none, err := b.Tally(t.Context(), newID("unknown"))
	require.NoError(t, err)
	assert.Zero(t, none)
}
