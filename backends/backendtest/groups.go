package backendtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func grouper(t *testing.T, h Harness) celeryresults.Grouper {
	t.Helper()
	g, ok := open(t, h, celeryresults.Settings{}).(celeryresults.Grouper)
	require.True(t, ok, "the backend keeps no groups")
	return g
}

func groups(t *testing.T, h Harness) {
	g := grouper(t, h)
	group := celeryresults.ResultTuple{ID: newID("group"), Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}, {ID: "c"}}}
	require.NoError(t, g.SaveGroup(t.Context(), group))
	got, err := g.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, group, got)
	require.NoError(t, g.DeleteGroup(t.Context(), group.ID))
	_, err = g.RestoreGroup(t.Context(), group.ID)
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	require.NoError(t, g.DeleteGroup(t.Context(), group.ID))
}

func unknownGroup(t *testing.T, h Harness) {
	g := grouper(t, h)
	_, err := g.RestoreGroup(t.Context(), newID("unknown"))
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	_, err = g.RestoreGroup(t.Context(), "")
	require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
	require.ErrorIs(t, g.SaveGroup(t.Context(), celeryresults.ResultTuple{}), celeryresults.ErrNoTaskID)
	require.ErrorIs(t, g.DeleteGroup(t.Context(), ""), celeryresults.ErrNoTaskID)
}

func nestedGroup(t *testing.T, h Harness) {
	g := grouper(t, h)
	group := celeryresults.ResultTuple{
		ID: newID("nested"), Parent: &celeryresults.ResultTuple{ID: "parent", Parent: &celeryresults.ResultTuple{ID: "grand"}},
		Children: []celeryresults.ResultTuple{{ID: "inner", Children: []celeryresults.ResultTuple{{ID: "x"}}}, {ID: "y"}},
	}
	require.NoError(t, g.SaveGroup(t.Context(), group))
	got, err := g.RestoreGroup(t.Context(), group.ID)
	require.NoError(t, err)
	assert.Equal(t, group, got)
	empty := celeryresults.ResultTuple{ID: newID("empty"), Children: []celeryresults.ResultTuple{}}
	require.NoError(t, g.SaveGroup(t.Context(), empty))
	got, err = g.RestoreGroup(t.Context(), empty.ID)
	require.NoError(t, err)
	assert.Equal(t, empty, got)
}
