package celeryresults_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// tuple returns a result tuple: a task, or a group where there are children.
func tuple(id string, children ...celeryresults.ResultTuple) celeryresults.ResultTuple {
	return celeryresults.ResultTuple{ID: id, Children: children}
}

func TestAGroupIsSavedRestoredAndDeleted(t *testing.T) {
	app := twoBackends(t)
	for _, task := range []string{"mail.send", "billing.charge"} {
		b, id := app.BackendFor(task), newID(t)+task
		g := celeryresults.NewGroupResult(id, b)
		for _, name := range []string{"a", "b", "c"} {
			req := &celeryresults.Request{ID: id + name, Task: task, GroupID: id}
			g.Add(app.AsyncResult(req.ID, celeryresults.ForTask(task)))
			require.NoError(t, app.MarkAsDone(t.Context(), req, name))
		}
		parent := tuple("parent")
		g.Parent = &parent
		_, err := celeryresults.RestoreGroup(t.Context(), b, id)
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
		require.NoError(t, g.Save(t.Context()))

		restored, err := celeryresults.RestoreGroup(t.Context(), b, id)
		require.NoError(t, err)
		assert.Equal(t, g.AsTuple(), restored.AsTuple())
		assert.Equal(t, id, restored.ID())
		assert.Equal(t, id, restored.String())
		assert.Equal(t, b, restored.Backend())
		got, err := celeryresults.GetAll[string](within(t), &restored.ResultSet)
		require.NoError(t, err)
		assert.Equal(t, []string{"a", "b", "c"}, got)

		require.NoError(t, restored.Remove(id+"b"))
		require.NoError(t, restored.Save(t.Context()))
		again, err := celeryresults.RestoreGroup(t.Context(), b, id)
		require.NoError(t, err)
		assert.Equal(t, []celeryresults.ResultTuple{tuple(id + "a"), tuple(id + "c")}, again.AsTuple().Children)

		require.NoError(t, again.Delete(t.Context()))
		require.NoError(t, again.Delete(t.Context()))
		_, err = celeryresults.RestoreGroup(t.Context(), b, id)
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
		ready, err := again.Ready(t.Context())
		require.NoError(t, err)
		assert.True(t, ready, "the members' results stay")
	}
}

func TestARestoredGroupMayAskSeveralBackends(t *testing.T) {
	app, id := twoBackends(t), newID(t)
	mail, bill := &celeryresults.Request{ID: id + "mail", Task: "mail.send"}, &celeryresults.Request{ID: id + "bill", Task: "billing.charge"}
	g := app.GroupResult(id)
	for _, req := range []*celeryresults.Request{mail, bill} {
		g.Add(app.AsyncResult(req.ID, celeryresults.ForTask(req.Task)))
		require.NoError(t, app.MarkAsDone(t.Context(), req, req.Task))
	}
	require.NoError(t, g.Save(t.Context()))

	restored, err := app.RestoreGroup(t.Context(), id)
	require.NoError(t, err)
	n, err := restored.CompletedCount(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, n, "the default backend does not know the bill")

	restored, err = app.RestoreGroup(t.Context(), id, func(a *celeryresults.App, r *celeryresults.AsyncResult) {
		if r.ID() == bill.ID {
			celeryresults.ForTask(bill.Task)(a, r)
		}
	})
	require.NoError(t, err)
	got, err := celeryresults.GetAll[string](within(t), &restored.ResultSet)
	require.NoError(t, err)
	assert.Equal(t, []string{"mail.send", "billing.charge"}, got)

	alone, err := app.Backend("alone")
	require.NoError(t, err)
	mails := app.BackendFor(mail.Task)
	mails.AddFallbacks(alone)
	restored, err = celeryresults.RestoreGroup(t.Context(), mails, id)
	require.NoError(t, err)
	got, err = celeryresults.GetAll[string](within(t), &restored.ResultSet)
	require.NoError(t, err)
	assert.Equal(t, []string{"mail.send", "billing.charge"}, got)
	_, err = app.RestoreGroup(t.Context(), "nobody's")
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
}

func TestGroupsInGroupsKeepTheirShape(t *testing.T) {
	app := twoBackends(t)
	parent := tuple("p")
	saved := tuple("g",
		tuple("1"),
		tuple("inner", tuple("2"), tuple("deep", tuple("3")), tuple("1")),
		celeryresults.ResultTuple{ID: "4", Parent: &parent},
		celeryresults.ResultTuple{ID: "empty", Children: []celeryresults.ResultTuple{}},
	)
	for _, task := range []string{"mail.send", "billing.charge"} {
		b := app.BackendFor(task)
		require.NoError(t, b.SaveGroup(t.Context(), saved))
		g, err := celeryresults.RestoreGroup(t.Context(), b, "g")
		require.NoError(t, err)
		assert.Equal(t, saved, g.AsTuple())
		assert.Equal(t, []string{"1", "2", "3", "4"}, idsOf(g.Results()), "each task counts once")

		g.Discard("2", "3")
		g.Add(app.AsyncResult("5"))
		assert.Equal(t, tuple("g", tuple("1"), tuple("inner", tuple("1")), saved.Children[2], tuple("5"), saved.Children[3]).Children[0], g.AsTuple().Children[0])
		assert.Equal(t, []string{"1", "4", "5"}, idsOf(g.Results()))
		g.Clear()
		assert.Equal(t, saved.Children[3:], g.AsTuple().Children)
	}
}

func TestAGroupIsAddedToAGroup(t *testing.T) {
	inner := celeryresults.NewGroupResult("inner", nil, celeryresults.NewAsyncResult("2", nil), celeryresults.NewAsyncResult("3", nil))
	g := celeryresults.NewGroupResult("g", nil, celeryresults.NewAsyncResult("1", nil))
	g.AddGroup(inner)
	g.Add(celeryresults.NewAsyncResult("4", nil))
	inner.Add(celeryresults.NewAsyncResult("later", nil))
	want := tuple("g", tuple("1"), tuple("inner", tuple("2"), tuple("3")), tuple("4"))
	assert.Equal(t, want, g.AsTuple())
	assert.Equal(t, []string{"1", "2", "3", "4"}, idsOf(g.Results()))
	assert.Equal(t, want, celeryresults.GroupFromTuple(want, nil).AsTuple())
	require.NoError(t, g.Remove("3"))
	assert.Equal(t, tuple("g", tuple("1"), tuple("inner", tuple("2")), tuple("4")), g.AsTuple())
	require.NoError(t, g.Remove("2"))
	assert.Equal(t, tuple("g", tuple("1"), tuple("4")), g.AsTuple(), "a group that has lost all members is gone")
}

func idsOf(results []*celeryresults.AsyncResult) (ids []string) {
	for _, r := range results {
		ids = append(ids, r.ID())
	}
	return ids
}

// readOnlyStore is never written to.
type readOnlyStore struct{ *fakeStore }

func (readOnlyStore) Traits() driver.Traits { return driver.Traits{Name: "old", ReadOnly: true} }

func TestGroupsNeedABackendThatStoresThem(t *testing.T) {
	b := backendOver(t, readOnlyStore{newStore()}, celeryresults.Settings{})
	g := celeryresults.NewGroupResult("g", b)
	require.ErrorIs(t, g.Save(t.Context()), errors.ErrUnsupported)
	require.NoError(t, g.Delete(t.Context()), "what is old may go")
	_, err := celeryresults.RestoreGroup(t.Context(), b, "g")
	require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	require.Error(t, celeryresults.NewGroupResult("g", nil).Save(t.Context()))
	require.ErrorIs(t, celeryresults.NewGroupResult("", b).Save(t.Context()), celeryresults.ErrNoTaskID)
}
