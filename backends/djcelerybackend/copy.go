package djcelerybackend

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/serialization"
)

// CopyReport is what Copy did.
type CopyReport struct {
	Copied int // results that are there now
	Groups int // and groups

	Standing   int // results that the other backend had already
	Expired    int // results and groups that have expired by result_expires
	Unreadable int // rows that hold nothing one can read
	Refused    int // results that the other backend can't hold
}

// writers is how many results are stored at once.
const writers = 16

// Copy copies all results and groups of a Backend that New or Open returned to another
// one, in the order of their primary keys, and leaves the tables as they are. What the
// other one has stays: a copy that was broken off is repeated, and goes on where it was.
// What can't be read or held is counted, and told to failed, which may be nil; progress,
// which may be nil, too, is called after each batch. Both are called by one goroutine.
func Copy(ctx context.Context, from, to *celeryresults.Backend, failed func(id string, err error), progress func(CopyReport)) (CopyReport, error) {
	b, ok := from.Driver().(*Store)
	if !ok {
		return CopyReport{}, fmt.Errorf("djcelerybackend: copy: %s has no such tables: %w", from.Name(), errors.ErrUnsupported)
	}
	c := copier{from: b, to: to, failed: failed}
	if c.failed == nil {
		c.failed = func(string, error) {}
	}
	for rows, err := range pages(ctx, b, b.rows, (*row).key) {
		if err == nil {
			err = c.copy(ctx, rows)
		}
		if err != nil {
			return c.report, err
		}
		if progress != nil {
			progress(c.report)
		}
	}
	return c.report, c.groups(ctx)
}

type copier struct {
	from   *Store
	to     *celeryresults.Backend
	failed func(id string, err error)
	report CopyReport
}

func (c *copier) copy(ctx context.Context, rows []*row) error {
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.taskID
	}
	standing, err := c.to.GetMany(ctx, ids)
	if err != nil && standing == nil {
		return fmt.Errorf("djcelerybackend: copy: %w", err)
	}
	var metas []*celeryresults.TaskMeta
	for i, r := range rows {
		switch {
		case standing[i] == nil || !standing[i].Unknown || standing[i].Expired:
			c.report.Standing++
		case c.from.base.Expired(r.done):
			c.report.Expired++
		default:
			meta := r.read()
			_, err := meta.Result.Any()
			if r.status == "" {
				err = celeryresults.ErrNoState
			}
			if err != nil {
				c.report.Unreadable++
				c.failed(r.taskID, &celeryresults.UnreadableError{ID: r.taskID, Err: err})
				continue
			}
			if meta.DateDone.IsZero() {
				meta.DateDone = r.done // of a row that is not ready
			}
			metas = append(metas, meta)
		}
	}
	return c.store(ctx, metas)
}

// store stores results, several at once.
func (c *copier) store(ctx context.Context, metas []*celeryresults.TaskMeta) error {
	outcomes := make([]error, len(metas))
	next := make(chan int)
	var storing sync.WaitGroup
	for range min(writers, len(metas)) {
		storing.Go(func() {
			for i := range next {
				outcomes[i] = c.to.StoreResult(ctx, metas[i])
			}
		})
	}
	for i := range metas {
		next <- i
	}
	close(next)
	storing.Wait()
	for i, err := range outcomes {
		switch celeryresults.OutcomeOf(err) {
		case celeryresults.OutcomeStored:
			c.report.Copied++
		case celeryresults.OutcomeRefused: // somebody was quicker
			c.report.Standing++
		default:
			if ctx.Err() != nil || !permanent(err) {
				return fmt.Errorf("djcelerybackend: copy task %q: %w", metas[i].TaskID, err)
			}
			c.report.Refused++
			c.failed(metas[i].TaskID, err)
		}
	}
	return nil
}

// permanent reports whether the result itself is why it was not stored.
func permanent(err error) bool {
	for _, known := range []error{celeryresults.ErrBadID, celeryresults.ErrNoState, cache.ErrTooLarge, serialization.ErrLimit, serialization.ErrUnsupported} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func (c *copier) groups(ctx context.Context) error {
	for rows, err := range pages(ctx, c.from, c.from.groupRows, (*groupRow).key) {
		if err != nil {
			return err
		}
		for _, r := range rows {
			err := c.group(ctx, r)
			if errors.Is(err, errors.ErrUnsupported) {
				return nil // the other backend keeps no groups
			}
			if err != nil {
				return fmt.Errorf("djcelerybackend: copy group %q: %w", r.groupID, err)
			}
		}
	}
	return nil
}

func (c *copier) group(ctx context.Context, r *groupRow) error {
	if c.from.base.Expired(r.done) {
		c.report.Expired++
		return nil
	}
	group, err := r.read()
	if err != nil {
		c.report.Unreadable++
		c.failed(r.groupID, err)
		return nil
	}
	group.ID = r.groupID
	_, err = c.to.RestoreGroup(ctx, group.ID)
	switch {
	case err == nil:
		return nil // it stands
	case !errors.Is(err, celeryresults.ErrUnknownGroup):
		return err
	}
	if err := c.to.SaveGroup(ctx, group); err != nil {
		return err
	}
	c.report.Groups++
	return nil
}
