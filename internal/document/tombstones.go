package document

import (
	"context"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keys"
)

// tombstonePrefix is as long as Celery's for tasks, so that every id that a store
// holds has its marker, too.
const tombstonePrefix = "celery-task-gone-"

// Tombstones are markers beside the records of a store that drops what has
// expired: they stay longer, and tell that there was a record. Python does not look
// at them. A nil *Tombstones keeps none.
type Tombstones struct {
	keys    keys.Keys
	keep    time.Duration // behind the end of a record
	expires time.Duration // of records
	set     func(ctx context.Context, keys []string, ttl time.Duration) error
	has     func(ctx context.Context, keys []string) ([]bool, error)
}

// NewTombstones returns the tombstones that the settings ask for, nil for none. The
// functions write markers, and tell which are there.
func NewTombstones(s *celeryresults.Settings, k keys.Keys,
	set func(ctx context.Context, keys []string, ttl time.Duration) error,
	has func(ctx context.Context, keys []string) ([]bool, error),
) *Tombstones {
	if s.ResultTombstones <= 0 {
		return nil
	}
	return &Tombstones{keys: k, keep: s.ResultTombstones, expires: s.Expires(), set: set, has: has}
}

// Stored leaves a marker for a record that was stored. What stands does not depend
// on it: if that fails, the task will be unknown one day rather than expired.
func (t *Tombstones) Stored(ctx context.Context, taskID string) {
	if t != nil && t.expires != celeryresults.Never {
		_ = t.set(ctx, t.names([]string{taskID}), t.expires+t.keep)
	}
}

// Forget leaves markers for records that are about to be deleted, if they are
// there.
func (t *Tombstones) Forget(ctx context.Context, taskIDs []string, get func(context.Context, []string) ([]celeryresults.Status, error)) error {
	if t == nil {
		return nil
	}
	statuses, err := get(ctx, taskIDs)
	if statuses == nil {
		return err
	}
	var known []string
	for i, status := range statuses {
		if !status.Unknown {
			known = append(known, taskIDs[i])
		}
	}
	if known == nil {
		return nil
	}
	return t.set(ctx, t.names(known), t.keep)
}

// Mark sets Expired in the metas of tasks that are unknown and have a marker.
func (t *Tombstones) Mark(ctx context.Context, metas ...*celeryresults.TaskMeta) error {
	return t.mark(ctx, len(metas), func(i int) string {
		if metas[i] == nil || !metas[i].Unknown {
			return ""
		}
		return metas[i].TaskID
	}, func(i int) { metas[i].Expired = true })
}

// MarkStatuses does the same with statuses.
func (t *Tombstones) MarkStatuses(ctx context.Context, taskIDs []string, statuses []celeryresults.Status) error {
	return t.mark(ctx, len(statuses), func(i int) string {
		if !statuses[i].Unknown {
			return ""
		}
		return taskIDs[i]
	}, func(i int) { statuses[i].Expired = true })
}

// mark calls f for those of n tasks that have a marker. Those that are known have
// no id.
func (t *Tombstones) mark(ctx context.Context, n int, unknown func(int) string, f func(int)) error {
	if t == nil {
		return nil
	}
	var ids []string
	var places []int
	for i := range n {
		if id := unknown(i); id != "" {
			ids, places = append(ids, id), append(places, i)
		}
	}
	if ids == nil {
		return nil
	}
	gone, err := t.has(ctx, t.names(ids))
	if err != nil {
		return err
	}
	for i, place := range places {
		if gone[i] {
			f(place)
		}
	}
	return nil
}

func (t *Tombstones) names(taskIDs []string) []string {
	names := make([]string, len(taskIDs))
	for i, id := range taskIDs {
		names[i] = t.keys.Own(tombstonePrefix + id)
	}
	return names
}
