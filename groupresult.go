package celeryresults

import (
	"context"
	"fmt"
)

// GroupResult is a ResultSet with an id, under which a backend can keep who its
// members are (Celery's GroupResult). Make one with NewGroupResult or
// App.GroupResult. It is safe for concurrent use, but for Parent.
type GroupResult struct {
	ResultSet

	// Parent names the result that sent the group, and is saved with it. Default:
	// nil, for none. Set it before the group is shared.
	Parent *ResultTuple

	id      string
	backend *Backend

	shape []ResultTuple // of members that are in groups or have parents; guarded by mu
}

// NewGroupResult returns a group of the results, in their order, which Save and
// Delete keep in backend. That may be nil where they are not used.
func NewGroupResult(id string, backend *Backend, results ...*AsyncResult) *GroupResult {
	g := &GroupResult{id: id, backend: backend}
	g.Add(results...)
	return g
}

// GroupResult returns a group of the results, in their order, which Save and
// Delete keep in the default backend. The members ask their own.
func (a *App) GroupResult(id string, results ...*AsyncResult) *GroupResult {
	return NewGroupResult(id, a.fallback, results...)
}

// GroupFromTuple returns the group that a tuple describes, such as one of
// TaskMeta.Children (Celery's result_from_tuple). All members ask the backend.
func GroupFromTuple(group ResultTuple, backend *Backend) *GroupResult {
	return groupFrom(group, backend, func(id string) *AsyncResult { return NewAsyncResult(id, backend) })
}

func groupFrom(group ResultTuple, backend *Backend, member func(id string) *AsyncResult) *GroupResult {
	g := &GroupResult{id: group.ID, Parent: group.Parent, backend: backend, shape: group.Children}
	var results []*AsyncResult
	for id := range leaves(group.Children) {
		results = append(results, member(id))
	}
	g.Add(results...)
	return g
}

// leaves yields the ids of the tasks in the tuples, and in groups among them.
func leaves(tuples []ResultTuple) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, t := range tuples {
			if t.Children == nil {
				if !yield(t.ID) {
					return
				}
				continue
			}
			for id := range leaves(t.Children) {
				if !yield(id) {
					return
				}
			}
		}
	}
}

// RestoreGroup returns a group that was saved in the backend, by Go or by Python,
// or ErrUnknownGroup (Celery's GroupResult.restore). All members ask the same
// backend; for members in several, let it have fallbacks.
func RestoreGroup(ctx context.Context, backend *Backend, groupID string) (*GroupResult, error) {
	group, err := restoredTuple(ctx, backend, groupID)
	if err != nil {
		return nil, err
	}
	return GroupFromTuple(group, backend), nil
}

// RestoreGroup returns a group that was saved in the default backend, or
// ErrUnknownGroup. The members ask the default backend unless an option says
// otherwise, which is applied to each member: ForTask when all are runs of one
// task, or a function that chooses by AsyncResult.ID and applies another option.
func (a *App) RestoreGroup(ctx context.Context, groupID string, members ...ResultOption) (*GroupResult, error) {
	group, err := restoredTuple(ctx, a.fallback, groupID)
	if err != nil {
		return nil, err
	}
	return groupFrom(group, a.fallback, func(id string) *AsyncResult { return a.AsyncResult(id, members...) }), nil
}

func restoredTuple(ctx context.Context, backend *Backend, groupID string) (ResultTuple, error) {
	if backend == nil {
		return ResultTuple{}, errNoBackend("restore", groupID)
	}
	return backend.RestoreGroup(ctx, groupID)
}

func errNoBackend(operation, groupID string) error {
	return fmt.Errorf("celeryresults: %s group %q: it has no backend", operation, groupID)
}

// ID returns the group's id.
func (g *GroupResult) ID() string { return g.id }

// String returns the group's id.
func (g *GroupResult) String() string { return g.id }

// Backend returns the backend that keeps the group; the members may have others.
func (g *GroupResult) Backend() *Backend { return g.backend }

// AddGroup adds the members of another group at the end. They count one by one in
// all that is asked of this group, but Save and AsTuple know which are a group of
// their own. Members that come to the other group later are not added.
func (g *GroupResult) AddGroup(other *GroupResult) {
	tuple := other.AsTuple()
	g.mu.Lock()
	g.shape = append(g.shape[:len(g.shape):len(g.shape)], tuple)
	g.mu.Unlock()
	g.Add(other.members()...)
}

// AsTuple returns the group as it is saved (Celery's as_tuple): the members in
// their order, groups among them as such, and parents as they were restored.
func (g *GroupResult) AsTuple() ResultTuple {
	g.mu.RLock()
	defer g.mu.RUnlock()
	top := map[string]int{} // the place in shape of each task
	for i, t := range g.shape {
		for id := range leaves([]ResultTuple{t}) {
			if _, there := top[id]; !there {
				top[id] = i
			}
		}
	}
	list := make([]ResultTuple, 0, len(g.results))
	done := make([]bool, len(g.shape))
	for _, r := range g.results {
		switch i, shaped := top[r.id]; {
		case !shaped:
			list = append(list, ResultTuple{ID: r.id})
		case !done[i]:
			done[i] = true
			list = append(list, g.pruned(g.shape[i:i+1])...)
		}
	}
	for i, t := range g.shape { // groups without members
		if !done[i] {
			list = append(list, g.pruned([]ResultTuple{t})...)
		}
	}
	return ResultTuple{ID: g.id, Parent: g.Parent, Children: list}
}

// pruned returns the tuples without tasks that are no members, and without groups
// that have lost all of theirs. The caller holds mu.
func (g *GroupResult) pruned(tuples []ResultTuple) []ResultTuple {
	list := make([]ResultTuple, 0, len(tuples))
	for _, t := range tuples {
		if before := len(t.Children); t.Children != nil {
			t.Children = g.pruned(t.Children)
			if before > 0 && len(t.Children) == 0 {
				continue
			}
		} else if _, there := g.ids[t.ID]; !there {
			continue
		}
		list = append(list, t)
	}
	return list
}

// Save keeps the group in its backend: its id, its parent, and who its members
// are (Celery's GroupResult.save). Python restores it. It expires as results do.
// A backend that keeps no groups is errors.ErrUnsupported.
func (g *GroupResult) Save(ctx context.Context) error {
	if g.backend == nil {
		return errNoBackend("save", g.id)
	}
	return g.backend.SaveGroup(ctx, g.AsTuple())
}

// Tally is Progress in one round trip to the group's backend, however many members
// there are: it counts what was stored in that backend with TaskMeta.GroupID, as
// workers of this library do. Members that Python stored, or another backend has,
// count as unknown; so do those that were forgotten, except in redis, which counts
// them until the group expires. Where the members of g are not known, what was
// stored counts alone. A backend that can't is errors.ErrUnsupported; redis needs
// Settings.ResultTally.
func (g *GroupResult) Tally(ctx context.Context) (Progress, error) {
	if g.backend == nil {
		return Progress{}, errNoBackend("tally", g.id)
	}
	p, err := g.backend.Tally(ctx, g.id)
	if err != nil {
		return Progress{}, err
	}
	if n := g.Len(); n > p.Total {
		p.Unknown, p.Total = n-p.Total, n
	}
	return p, nil
}

// Delete removes what Save kept, and nothing of the members. A group that is not
// kept is no error.
func (g *GroupResult) Delete(ctx context.Context) error {
	if g.backend == nil {
		return errNoBackend("delete", g.id)
	}
	return g.backend.DeleteGroup(ctx, g.id)
}
