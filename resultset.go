package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
)

// ErrNoMember is returned by ResultSet.Remove.
var ErrNoMember = errors.New("celeryresults: not a member")

// ResultSet is several results as one, with the names and meanings of Celery's
// ResultSet. Its members may live in different backends. Make one with
// NewResultSet; the zero ResultSet is empty, and ready for use. It is safe for
// concurrent use; a question or a wait is about the members at its beginning.
//
// A question costs one GetMany for each backend, or one GetStatuses where a
// backend has it and the question is not about values, however many members there
// are. It asks only for those that were not ready before: handles keep what is. A
// record that can't be read counts as not ready, and is an *UnreadableError beside
// the answer. With any other error there is no answer.
//
// A wait costs the same at first, and then what the backends need to tell of the
// members that are missing; see ManyAwaiter. It has one goroutine for each
// backend. When reads fail at its beginning, so does the wait; later it lasts
// until a store has failed to answer for five seconds.
type ResultSet struct {
	mu      sync.RWMutex
	results []*AsyncResult      // appended to or replaced, never changed in place; guarded by mu
	ids     map[string]struct{} // of results; guarded by mu
}

// NewResultSet returns a set of the results, in their order. An id that is there
// already is left out.
func NewResultSet(results ...*AsyncResult) *ResultSet {
	s := new(ResultSet)
	s.Add(results...)
	return s
}

// Add adds results at the end. An id that is there already is left out.
func (s *ResultSet) Add(results ...*AsyncResult) { s.Update(slices.Values(results)) }

// Update adds what a sequence yields, as Add does.
func (s *ResultSet) Update(results iter.Seq[*AsyncResult]) {
	added := slices.Collect(results) // before locking: it may be of this set
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[string]struct{}, len(added))
	}
	s.results = slices.Grow(s.results, len(added))
	for _, r := range added {
		if _, there := s.ids[r.id]; !there {
			s.ids[r.id] = struct{}{}
			s.results = append(s.results, r)
		}
	}
}

// Remove removes the member with the id, or returns ErrNoMember.
func (s *ResultSet) Remove(taskID string) error {
	if !s.remove(taskID) {
		return fmt.Errorf("%w: %q", ErrNoMember, taskID)
	}
	return nil
}

// Discard removes the members with the ids. Ids of others are no error.
func (s *ResultSet) Discard(taskIDs ...string) { s.remove(taskIDs...) }

// remove reports whether all of the ids were there.
func (s *ResultSet) remove(taskIDs ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := make(map[string]struct{}, len(taskIDs))
	all := true
	for _, id := range taskIDs {
		if _, there := s.ids[id]; !there {
			all = false
			continue
		}
		gone[id] = struct{}{}
	}
	for id := range gone {
		delete(s.ids, id)
	}
	if len(gone) > 0 {
		s.results = slices.DeleteFunc(slices.Clone(s.results), func(r *AsyncResult) bool {
			_, there := gone[r.id]
			return there
		})
	}
	return all
}

// Clear removes all members.
func (s *ResultSet) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results, s.ids = nil, nil
}

// Len returns how many members there are.
func (s *ResultSet) Len() int { return len(s.members()) }

// Results returns the members in their order. The slice is the caller's.
func (s *ResultSet) Results() []*AsyncResult { return slices.Clone(s.members()) }

func (s *ResultSet) members() []*AsyncResult {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.results
}

// Metas returns what is stored of each member, in their order. Use it to see
// several things of the same moment. A record that can't be read is nil.
func (s *ResultSet) Metas(ctx context.Context) ([]*TaskMeta, error) {
	return readAll(ctx, s.members())
}

// Progress is how far the members of a ResultSet are. A record that can't be read
// is counted in Total alone.
type Progress struct {
	Total int

	// By Phase.
	Unknown, Queued, Running, Ready, Expired int

	// By State; all that are ready.
	Successful, Failed, Revoked int
}

// Progress counts the members by what has become of them.
func (s *ResultSet) Progress(ctx context.Context) (Progress, error) {
	return askAll(ctx, s, func(statuses []Status) Progress {
		p := Progress{Total: len(statuses)}
		for _, status := range statuses {
			if status.State != "" {
				p.Add(status, 1)
			}
		}
		return p
	})
}

// Add counts n tasks of a status, but not in Total.
func (p *Progress) Add(status Status, n int) {
	switch status.Phase() {
	case PhaseUnknown:
		p.Unknown += n
	case PhaseQueued:
		p.Queued += n
	case PhaseRunning:
		p.Running += n
	case PhaseReady:
		p.Ready += n
	case PhaseExpired:
		p.Expired += n
	}
	switch status.State {
	case Success:
		p.Successful += n
	case Failure:
		p.Failed += n
	case Revoked:
		p.Revoked += n
	}
}

// askAll returns what f finds in the members' statuses, which are zero where
// records can't be read.
func askAll[T any](ctx context.Context, s *ResultSet, f func([]Status) T) (T, error) {
	statuses, err := readStatuses(ctx, s.members())
	if statuses == nil {
		var zero T
		return zero, err
	}
	return f(statuses), err
}

// counted returns how many of the statuses are of such a state.
func counted(statuses []Status, such func(State) bool) int {
	n := 0
	for _, status := range statuses {
		if such(status.State) {
			n++
		}
	}
	return n
}

// Ready reports whether all members have ended, whatever the outcome. An empty
// set is ready.
func (s *ResultSet) Ready(ctx context.Context) (bool, error) {
	return askAll(ctx, s, func(all []Status) bool { return counted(all, State.Ready) == len(all) })
}

// Waiting reports whether a member has not ended.
func (s *ResultSet) Waiting(ctx context.Context) (bool, error) {
	return askAll(ctx, s, func(all []Status) bool { return counted(all, State.Ready) < len(all) })
}

// Successful reports whether all members are SUCCESS. An empty set is.
func (s *ResultSet) Successful(ctx context.Context) (bool, error) {
	return askAll(ctx, s, func(all []Status) bool { return counted(all, isSuccess) == len(all) })
}

// Failed reports whether a member is FAILURE.
func (s *ResultSet) Failed(ctx context.Context) (bool, error) {
	return askAll(ctx, s, func(all []Status) bool { return counted(all, isFailure) > 0 })
}

// CompletedCount returns how many members are SUCCESS; as in Celery, those that
// failed are not counted. See Progress for them.
func (s *ResultSet) CompletedCount(ctx context.Context) (int, error) {
	return askAll(ctx, s, func(all []Status) int { return counted(all, isSuccess) })
}

func isSuccess(s State) bool { return s == Success }
func isFailure(s State) bool { return s == Failure }

// Err returns the failure of the first member, in their order, that has failed or
// was revoked by now; nil when there is none (Celery's maybe_throw). It is a
// *TaskError, wrapped with the task's id. It does not wait.
func (s *ResultSet) Err(ctx context.Context) error {
	metas, err := s.Metas(ctx)
	for _, meta := range metas {
		if meta != nil && meta.State.Ready() && meta.State.Exception() {
			return errors.Join(memberError(meta), err)
		}
	}
	return err
}

// memberError returns the failure of a member, or nil.
func memberError(meta *TaskMeta) error {
	if err := meta.Err(); err != nil {
		return fmt.Errorf("celeryresults: task %q: %w", meta.TaskID, err)
	}
	return nil
}

// JoinOption changes how a ResultSet is joined.
type JoinOption func(*joining)

type joining struct {
	propagate bool
	onResult  func(*TaskMeta)
}

// Propagate says whether a member that failed or was revoked ends the join with
// its failure, at once: the first one that is seen, and of several that are seen
// together the first in order.
func Propagate(propagate bool) JoinOption {
	return func(j *joining) { j.propagate = propagate }
}

// OnResult calls f with the meta of each member as it becomes ready, first with
// those that are ready by now, in their order. It is called in the goroutine that
// joins. With Propagate, the last call is that of the member that failed.
func OnResult(f func(*TaskMeta)) JoinOption {
	return func(j *joining) { j.onResult = f }
}

// see is called with each meta as it comes.
func (j *joining) see(meta *TaskMeta) error {
	if j.onResult != nil {
		j.onResult(meta)
	}
	if j.propagate {
		return memberError(meta)
	}
	return nil
}

func (s *ResultSet) join(ctx context.Context, j joining, options []JoinOption) ([]*TaskMeta, error) {
	for _, option := range options {
		option(&j)
	}
	return joined(ctx, s.members(), j.see)
}

// Join waits until all members are ready and returns their metas in their order.
// It returns ctx's error when that ends first, and the first error of a backend.
// A member that failed is no error, unless Propagate says so: see TaskMeta.Err.
func (s *ResultSet) Join(ctx context.Context, options ...JoinOption) ([]*TaskMeta, error) {
	return s.join(ctx, joining{}, options)
}

// Get waits for all members and returns their values in their order (Celery's
// ResultSet.get). It ends with the first failure of a member, a *TaskError wrapped
// with the task's id, unless Propagate(false) is given: the value is then the
// exception as it lies in the store. Other errors are as in Join.
func (s *ResultSet) Get(ctx context.Context, options ...JoinOption) ([]Value, error) {
	metas, err := s.join(ctx, joining{propagate: true}, options)
	if err != nil {
		return nil, err
	}
	values := make([]Value, len(metas))
	for i, meta := range metas {
		values[i] = meta.Result
	}
	return values, nil
}

// GetAll waits for all members and decodes their values into Ts, in their order.
// Errors are as in ResultSet.Get; a value that is no T is one, too.
func GetAll[T any](ctx context.Context, s *ResultSet, options ...JoinOption) ([]T, error) {
	metas, err := s.join(ctx, joining{propagate: true}, options)
	if err != nil {
		return nil, err
	}
	list := make([]T, len(metas))
	for i, meta := range metas {
		if list[i], err = As[T](meta.Result); err != nil {
			return nil, fmt.Errorf("celeryresults: task %q: %w", meta.TaskID, err)
		}
	}
	return list, nil
}

// AsCompleted yields the meta of each member once, as soon as it is ready: for
// meta, err := range s.AsCompleted(ctx). First come those that are ready by now,
// in their order (Celery's iter_native). A record that can't be read is an
// *UnreadableError, after which others follow; any other error, such as ctx's, is
// the last value.
func (s *ResultSet) AsCompleted(ctx context.Context) iter.Seq2[*TaskMeta, error] {
	return func(yield func(*TaskMeta, error) bool) {
		on := true
		err := arrive(ctx, s.members(), func(_ int, meta *TaskMeta, err error) bool {
			on = yield(meta, err)
			return on
		})
		if on && err != nil {
			yield(nil, err)
		}
	}
}

// Forget deletes the results of all members from their backends and from the
// handles, with one Forget for each backend. The members stay in the set.
func (s *ResultSet) Forget(ctx context.Context) error {
	members := s.members()
	var places []int
	for i, r := range members {
		if r.backend != nil || r.err != nil { // others are eager
			places = append(places, i)
		}
	}
	shares, err := sharesOf(members, places)
	if err != nil {
		return err
	}
	err = inEach(shares, func(s *share) error { return s.backend.Forget(ctx, s.ids()...) })
	for _, r := range members {
		r.drop()
	}
	return err
}
