package interop_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// Rows that both write

func updatesRowsOfGo(t *testing.T, p *pair) {
	request, _ := full("go-first")
	require.NoError(t, p.app.RecordPending(t.Context(), request))
	before := p.row(t, "go-first")
	meta := p.run(t, "go-first", "add", arguments{"args": "(2, 3)"})
	assert.Equal(t, celeryresults.Success, meta.State)
	assert.Equal(t, "5", compact(t, meta.Result))
	after := p.row(t, "go-first")
	assert.Equal(t, before["id"], after["id"])
	assert.Equal(t, before["date_created"], after["date_created"])
	assert.Equal(t, "SUCCESS", after["status"])
}

func updatesRowsOfPython(t *testing.T, p *pair) {
	for task, given := range map[string]string{"progress": "()", "flaky": "()", "divide": "(1, 0)"} {
		id := "python-first-" + task
		p.run(t, id, task, arguments{"args": given})
		before := p.row(t, id)
		request, _ := full(id)
		require.NoError(t, p.app.MarkAsDone(t.Context(), request, "by Go"))
		after := p.row(t, id)
		assert.Equal(t, before["id"], after["id"])
		assert.Equal(t, before["date_created"], after["date_created"])
		assert.Equal(t, before["date_started"], after["date_started"])
		assert.Nil(t, after["traceback"])
		assert.True(t, after.time(t, "date_done").After(before.time(t, "date_done")))
		got := p.read(t, id)
		assert.Equal(t, "SUCCESS", got.State)
		assert.Equal(t, "'by Go'", got.Repr)
		assert.Equal(t, "(2, 'zwei')", got.Args)
	}
}

func refusesToReplaceSuccess(t *testing.T, p *pair) {
	p.run(t, "python-stands", "add", arguments{"args": "(2, 3)"})
	before := p.row(t, "python-stands")
	request := &celeryresults.Request{ID: "python-stands"}
	assert.ErrorIs(t, p.app.MarkAsDone(t.Context(), request, 6), celeryresults.ErrRefused)
	assert.ErrorIs(t, p.app.MarkAsFailure(t.Context(), request, errors.New("late")), celeryresults.ErrRefused)
	assert.NoError(t, p.app.RecordPending(t.Context(), request))
	assert.Equal(t, before, p.row(t, "python-stands"))
}

// storesAtOnce has both make and finish the same rows at the same time.
func storesAtOnce(t *testing.T, p *pair) {
	const tasks = 30
	id := func(i int) string { return fmt.Sprint("at-once-", i) }
	failed := make(chan error, 1)
	go func() {
		var all error
		for i := range tasks {
			request := &celeryresults.Request{ID: id(i), Task: "shop.tasks.add"}
			all = errors.Join(all, p.app.RecordPending(t.Context(), request))
			for _, err := range []error{p.app.MarkAsStarted(t.Context(), request), p.app.MarkAsDone(t.Context(), request, i)} {
				if !errors.Is(err, celeryresults.ErrRefused) { // Python may have been first
					all = errors.Join(all, err)
				}
			}
		}
		failed <- all
	}()
	for i := range tasks {
		p.do(t, "store", arguments{"id": id(i), "state": "SUCCESS", "value": fmt.Sprint(i)})
	}
	require.NoError(t, <-failed)
	for i := range tasks {
		row := p.row(t, id(i))
		assert.Equal(t, "SUCCESS", row["status"])
		assert.Equal(t, fmt.Sprint(i), row["result"])
	}
}

func forgets(t *testing.T, p *pair) {
	p.run(t, "python-forgotten", "add", arguments{"args": "(2, 3)"})
	require.NoError(t, p.app.AsyncResult("python-forgotten").Forget(t.Context()))
	assert.Empty(t, p.rows(t, "task", "python-forgotten"))

	require.NoError(t, p.app.MarkAsDone(t.Context(), &celeryresults.Request{ID: "go-forgotten"}, 5))
	p.do(t, "forget", arguments{"id": "go-forgotten"})
	assert.True(t, p.meta(t, "go-forgotten").Unknown)
}

// Groups

func sharesGroups(t *testing.T, p *pair) {
	groups := p.backend()
	for _, group := range []celeryresults.ResultTuple{
		{ID: "plain", Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}, {ID: "c"}}},
		{ID: "with a parent", Parent: &celeryresults.ResultTuple{ID: "p"}, Children: []celeryresults.ResultTuple{{ID: "a", Parent: &celeryresults.ResultTuple{ID: "q"}}}},
		{ID: "nested", Children: []celeryresults.ResultTuple{{ID: "inner", Children: []celeryresults.ResultTuple{{ID: "a"}}}, {ID: "b"}}},
	} {
		ours := group
		ours.ID = "go " + group.ID
		require.NoError(t, groups.SaveGroup(t.Context(), ours))
		assert.JSONEq(t, compact(t, ours), string(ask[json.RawMessage](t, p.project, "restore_group", arguments{"id": ours.ID})))

		theirs := group
		theirs.ID = "python " + group.ID
		p.do(t, "save_group", arguments{"id": theirs.ID, "members": theirs.Children, "parent": theirs.Parent})
		got, err := groups.RestoreGroup(t.Context(), theirs.ID)
		require.NoError(t, err)
		assert.Equal(t, theirs, got)
		p.savesOver(t, groups, ours, theirs)
	}
}

// savesOver saves each group from the other side, over the same row, and
// deletes it there.
func (p *pair) savesOver(t *testing.T, groups *celeryresults.Backend, ours, theirs celeryresults.ResultTuple) {
	t.Helper()
	more := celeryresults.ResultTuple{ID: "later"}
	for _, group := range []celeryresults.ResultTuple{ours, theirs} {
		before := p.rows(t, "group", group.ID)
		require.Len(t, before, 1)
		group.Children = append(slices.Clone(group.Children), more)
		if group.ID == ours.ID {
			p.do(t, "save_group", arguments{"id": group.ID, "members": group.Children, "parent": group.Parent})
		} else {
			require.NoError(t, groups.SaveGroup(t.Context(), group))
		}
		after := p.rows(t, "group", group.ID)
		require.Len(t, after, 1)
		assert.Equal(t, before[0]["id"], after[0]["id"])
		assert.Equal(t, before[0]["date_created"], after[0]["date_created"])
		got, err := groups.RestoreGroup(t.Context(), group.ID)
		require.NoError(t, err)
		assert.Equal(t, group, got)
	}
	p.do(t, "delete_group", arguments{"id": ours.ID})
	_, err := groups.RestoreGroup(t.Context(), ours.ID)
	assert.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
	require.NoError(t, groups.DeleteGroup(t.Context(), theirs.ID))
	assert.Equal(t, "null", string(ask[json.RawMessage](t, p.project, "restore_group", arguments{"id": theirs.ID})))
}

// Expiry. Clean-up comes last, as it takes away all that is old.

const dayAndHour = 25 * 3600 // in seconds; results expire after a day

func expires(t *testing.T, p *pair) {
	p.run(t, "python-expired", "add", arguments{"args": "(2, 3)"})
	before := p.row(t, "python-expired")
	assert.Equal(t, 1, ask[int](t, p.project, "expire", arguments{"id": "python-expired", "seconds": dayAndHour}))
	assert.True(t, p.meta(t, "python-expired").Unknown)
	require.NoError(t, p.app.MarkAsFailure(t.Context(), &celeryresults.Request{ID: "python-expired"}, errors.New("anew")))
	after := p.row(t, "python-expired")
	assert.Equal(t, before["id"], after["id"])
	assert.Equal(t, "FAILURE", after["status"])
}

func cleansUp(t *testing.T, p *pair) {
	cleaner := p.backend()
	groups := p.backend()
	store := func(id string) {
		require.NoError(t, p.app.MarkAsDone(t.Context(), &celeryresults.Request{ID: id + "-go"}, 5))
		p.do(t, "store", arguments{"id": id + "-python", "state": "SUCCESS", "value": "5"})
		require.NoError(t, groups.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: id + "-go", Children: []celeryresults.ResultTuple{{ID: "a"}}}))
		p.do(t, "save_group", arguments{"id": id + "-python", "members": []any{}})
	}
	present := func(id string) (found []string) {
		for _, model := range []string{"task", "group"} {
			for _, side := range []string{"-go", "-python"} {
				if len(p.rows(t, model, id+side)) > 0 {
					found = append(found, model+side)
				}
			}
		}
		return found
	}
	all := []string{"task-go", "task-python", "group-go", "group-python"}
	cleanups := map[string]func(){
		"Python": func() { p.do(t, "cleanup", nil) },
		"Go": func() {
			removed, err := cleaner.Cleanup(t.Context())
			require.NoError(t, err)
			assert.EqualValues(t, 4, removed)
		},
	}
	for side, cleanup := range cleanups {
		old, young := "old for "+side, "young for "+side
		store(old)
		store(young)
		for _, model := range []string{"task", "group"} {
			for _, id := range []string{old + "-go", old + "-python"} {
				assert.Equal(t, 1, ask[int](t, p.project, "expire", arguments{"id": id, "seconds": dayAndHour, "model": model}))
			}
		}
		cleanup()
		assert.Empty(t, present(old), "after the cleanup of %s", side)
		assert.Equal(t, all, present(young), "after the cleanup of %s", side)
	}
}
