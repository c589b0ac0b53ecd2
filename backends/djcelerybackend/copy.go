package djcelerybackend

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

// rowsPerCopy is how many rows are copied at a time, and writers how many are stored at
// once.
const (
	rowsPerCopy = 500
	writers     = 16
)

// Copy copies all results and groups to another backend, in the order of their primary
// keys, and leaves these tables as they are. What the other backend has stays: a copy that
// was broken off is repeated, and goes on where it was. What can't be read or held is
// counted, and told to failed, which may be nil; progress, which may be nil, too, is
// called after each batch. Both are called by one goroutine.
func (b *DatabaseBackend) Copy(ctx context.Context, to celeryresults.Backend, failed func(id string, err error), progress func(CopyReport)) (CopyReport, error) {
	c := copier{from: b, to: to, failed: failed}
	if c.failed == nil {
		c.failed = func(string, error) {}
	}
	for last := int64(0); ; {
		rows, err := b.rows(ctx, `id > $1 ORDER BY id LIMIT `+strconv.Itoa(rowsPerCopy), []any{last})
		if err != nil || len(rows) == 0 {
			if err == nil {
				err = c.groups(ctx)
			}
			return c.report, err
		}
		last = rows[len(rows)-1].id
		if err := c.copy(ctx, rows); err != nil {
			return c.report, err
		}
		if progress != nil {
			progress(c.report)
		}
	}
}

type copier struct {
	from   *DatabaseBackend
	to     celeryresults.Backend
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
		case c.from.expired(r.done):
			c.report.Expired++
		default:
			meta, err := r.read()
			if err == nil {
				if _, bad := meta.Result.Any(); bad != nil {
					err = &celeryresults.UnreadableError{ID: r.taskID, Err: bad}
				}
			}
			if err != nil {
				c.report.Unreadable++
				c.failed(r.taskID, err)
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
	to, ok := celeryresults.BackendAs[celeryresults.Grouper](c.to)
	if !ok {
		return nil
	}
	for last := int64(0); ; {
		rows, err := c.from.groupRows(ctx, `id > $1 ORDER BY id LIMIT `+strconv.Itoa(rowsPerCopy), []any{last})
		if err != nil || len(rows) == 0 {
			return err
		}
		last = rows[len(rows)-1].id
		for _, r := range rows {
			if err := c.group(ctx, to, r); err != nil {
				return fmt.Errorf("djcelerybackend: copy group %q: %w", r.groupID, err)
			}
		}
	}
}

func (c *copier) group(ctx context.Context, to celeryresults.Grouper, r *groupRow) error {
	if c.from.expired(r.done) {
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
	_, err = to.RestoreGroup(ctx, group.ID)
	switch {
	case err == nil:
		return nil // it stands
	case !errors.Is(err, celeryresults.ErrUnknownGroup):
		return err
	}
	if err := to.SaveGroup(ctx, group); err != nil {
		return err
	}
	c.report.Groups++
	return nil
}
