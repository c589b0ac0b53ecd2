package celeryresults

import (
	"context"
	"errors"
	"fmt"
)

// Chain is a Backend that stores in one backend and also reads from others: when
// tasks move to another backend, the results that they left stay readable. Make
// one with NewChain. It is safe for concurrent use.
type Chain struct {
	Backend
	fallbacks []Backend
	poller    *Poller
}

var (
	_ Backend     = (*Chain)(nil)
	_ Waiter      = (*Chain)(nil)
	_ Awaiter     = (*Chain)(nil)
	_ ManyAwaiter = (*Chain)(nil)
	_ Grouper     = (*Chain)(nil)
)

// NewChain returns a Backend over primary that asks the fallbacks, in their
// order, for ids that primary does not know. Stores go to primary alone, and
// Forget to all. A fallback that fails is an error of the read, as primary's is:
// its records must not look unknown. Close closes primary; the fallbacks stay
// their owners' to close.
func NewChain(primary Backend, fallbacks ...Backend) *Chain {
	c := &Chain{Backend: primary, fallbacks: fallbacks}
	c.poller = NewPoller(c.GetMany)
	return c
}

// Unwrap returns the backend that results are stored in; see BackendAs.
func (c *Chain) Unwrap() Backend { return c.Backend }

// BackendAs returns the first backend that is a T, such as a Lister, a Chorder or
// a concrete type: b itself, or the one that its Unwrap method returns, and so on.
func BackendAs[T any](b Backend) (T, bool) {
	for {
		if t, ok := b.(T); ok {
			return t, true
		}
		wrapper, ok := b.(interface{ Unwrap() Backend })
		if !ok {
			var none T
			return none, false
		}
		b = wrapper.Unwrap()
	}
}

// GetTaskMeta implements Backend.
func (c *Chain) GetTaskMeta(ctx context.Context, taskID string) (*TaskMeta, error) {
	meta, err := c.Backend.GetTaskMeta(ctx, taskID)
	for _, b := range c.fallbacks {
		if err != nil || !meta.Unknown {
			break
		}
		var other *TaskMeta
		if other, err = b.GetTaskMeta(ctx, taskID); err != nil || !other.Unknown {
			meta = other
		}
	}
	return meta, err
}

// GetMany implements Backend: each backend is asked at most once.
func (c *Chain) GetMany(ctx context.Context, taskIDs []string) ([]*TaskMeta, error) {
	metas, err := c.Backend.GetMany(ctx, taskIDs)
	for _, b := range c.fallbacks {
		if metas == nil {
			break
		}
		more := c.fill(ctx, b, taskIDs, metas)
		err = errors.Join(err, more)
		if more != nil && len(unreadable(more)) == 0 {
			return nil, err
		}
	}
	return metas, err
}

// fill asks b for what metas does not have.
func (c *Chain) fill(ctx context.Context, b Backend, taskIDs []string, metas []*TaskMeta) error {
	var ids []string
	var places []int
	for i, meta := range metas {
		if meta != nil && meta.Unknown {
			ids, places = append(ids, taskIDs[i]), append(places, i)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := b.GetMany(ctx, ids)
	if found == nil {
		return err
	}
	for i, place := range places {
		if found[i] == nil || !found[i].Unknown {
			metas[place] = found[i]
		}
	}
	return err
}

// WaitFor implements Waiter, by asking all of them from time to time.
func (c *Chain) WaitFor(ctx context.Context, taskID string) (*TaskMeta, error) {
	return c.poller.WaitFor(ctx, taskID)
}

// Await implements Awaiter, in the same way.
func (c *Chain) Await(ctx context.Context, taskID string, until func(*TaskMeta) bool) (*TaskMeta, error) {
	return c.poller.Await(ctx, taskID, until)
}

// AwaitMany implements ManyAwaiter, in the same way.
func (c *Chain) AwaitMany(ctx context.Context, taskIDs []string, until func(*TaskMeta) bool) error {
	return c.poller.AwaitMany(ctx, taskIDs, until)
}

// Forget implements Backend: the results are deleted everywhere.
func (c *Chain) Forget(ctx context.Context, taskIDs ...string) error {
	err := c.Backend.Forget(ctx, taskIDs...)
	for _, b := range c.fallbacks {
		err = errors.Join(err, b.Forget(ctx, taskIDs...))
	}
	return err
}

func (c *Chain) groupers() []Grouper {
	var list []Grouper
	for _, b := range append([]Backend{c.Backend}, c.fallbacks...) {
		if g, ok := BackendAs[Grouper](b); ok {
			list = append(list, g)
		}
	}
	return list
}

// SaveGroup implements Grouper, in the primary backend.
func (c *Chain) SaveGroup(ctx context.Context, group ResultTuple) error {
	g, ok := BackendAs[Grouper](c.Backend)
	if !ok {
		return fmt.Errorf("celeryresults: save group %q: the backend keeps no groups: %w", group.ID, errors.ErrUnsupported)
	}
	return g.SaveGroup(ctx, group)
}

// RestoreGroup implements Grouper: the first backend that knows the group
// answers.
func (c *Chain) RestoreGroup(ctx context.Context, groupID string) (ResultTuple, error) {
	for _, g := range c.groupers() {
		if group, err := g.RestoreGroup(ctx, groupID); !errors.Is(err, ErrUnknownGroup) {
			return group, err
		}
	}
	return ResultTuple{}, fmt.Errorf("%w %q", ErrUnknownGroup, groupID)
}

// DeleteGroup implements Grouper, in all backends.
func (c *Chain) DeleteGroup(ctx context.Context, groupID string) error {
	var err error
	for _, g := range c.groupers() {
		err = errors.Join(err, g.DeleteGroup(ctx, groupID))
	}
	return err
}

// Close ends the waits and closes the primary backend.
func (c *Chain) Close() error { return errors.Join(c.poller.Close(), c.Backend.Close()) }
