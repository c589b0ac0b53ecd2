package celeryresults

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/merge"
	"github.com/celeryresults/celeryresults/internal/waiting"
)

// GetTaskMeta returns what is stored. An unknown or expired task is no error: its State is
// Pending. A payload that can't be decoded is no error either: decoding the Result reports
// it. Only a record without a readable state is an *UnreadableError. The reads of concurrent
// callers are sent together.
func (b *Backend) GetTaskMeta(ctx context.Context, taskID string) (*TaskMeta, error) {
	if len(b.hooks) == 0 {
		return b.get(ctx, taskID)
	}
	o := &Operation{Name: "get", TaskIDs: []string{taskID}}
	ctx, end := b.begin(ctx, o)
	meta, err := b.get(ctx, taskID)
	o.Metas = []*TaskMeta{meta}
	end(err)
	return meta, err
}

func (b *Backend) get(ctx context.Context, taskID string) (*TaskMeta, error) {
	if taskID == "" {
		return nil, ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	r, err := b.getMerged(ctx, taskID)
	if err != nil {
		return nil, err
	}
	meta, err := b.decode(r)
	if err != nil || !meta.Unknown || len(b.fallbacks) == 0 && !b.markers {
		return meta, err
	}
	metas := []*TaskMeta{meta}
	err = b.complete(ctx, []string{taskID}, metas)
	return metas[0], err
}

// getMerged reads one record, together with those of other callers.
func (b *Backend) getMerged(ctx context.Context, taskID string) (*driver.Record, error) {
	if b.gets == nil {
		return b.getOne(ctx, taskID)
	}
	r, err := b.gets.Do(ctx, taskID)
	if left, ok := errors.AsType[*merge.LeftError](err); ok {
		err = waiting.Silent(left.Err, left.Since, nil)
	}
	return r, err
}

func (b *Backend) getOne(ctx context.Context, taskID string) (*driver.Record, error) {
	records := []driver.Record{{ID: taskID}}
	err := b.read(ctx, driver.Task, records, 0)
	return &records[0], err
}

// getTogether reads the records of several callers, of which some may want the same.
func (b *Backend) getTogether(ctx context.Context, taskIDs []string) ([]*driver.Record, error) {
	ids, places := once(taskIDs)
	found, err := b.fetch(ctx, driver.Task, ids, 0)
	if err != nil {
		return nil, err
	}
	records := make([]*driver.Record, len(taskIDs))
	for i := range taskIDs {
		records[i] = &found[placeOf(places, i)]
	}
	return records, nil
}

// read fills in records that fit into one Get, and repeats that while it helps.
func (b *Backend) read(ctx context.Context, kind driver.Kind, records []driver.Record, how driver.How) error {
	began := beginning(ctx)
	err := b.store.Get(ctx, kind, records, how)
	if err == nil { // nearly always
		return nil
	}
	err = b.retries.Do(ctx, b.ready, helps, func() error {
		if err != nil { // the first attempt was the one above
			first := err
			err = nil
			return first
		}
		for i := range records {
			records[i] = driver.Record{ID: records[i].ID}
		}
		return b.store.Get(ctx, kind, records, how)
	})
	return b.failed(ctx, "get", began, err)
}

// beginning returns the time, for errors of contexts that end: it is the zero time for others,
// as asking for it costs as much as a small part of a read from memory.
func beginning(ctx context.Context) time.Time {
	if ctx.Done() == nil {
		return time.Time{}
	}
	return time.Now()
}

// fetch reads records, whose ids differ, in as many Gets as that takes.
func (b *Backend) fetch(ctx context.Context, kind driver.Kind, ids []string, how driver.How) ([]driver.Record, error) {
	records := make([]driver.Record, len(ids))
	for i, id := range ids {
		records[i].ID = id
	}
	err := b.inChunks(ctx, records, func(ctx context.Context, _ int, part []driver.Record) error { return b.read(ctx, kind, part, how) })
	return records, err
}

// chunksAtOnce is how many Gets of one call are under way together: the server works on one
// while the records of another are decoded.
const chunksAtOnce = 2

// inChunks calls f with as many records as a Get has, for a few Gets at a time. The first
// error ends it. f also gets the place of its first record.
func (b *Backend) inChunks(ctx context.Context, records []driver.Record, f func(ctx context.Context, first int, part []driver.Record) error) error {
	if err := b.ready(ctx); err != nil || len(records) == 0 {
		return err
	}
	if len(records) <= b.traits.GetMost {
		return f(ctx, 0, records)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	chunks := slices.Collect(slices.Chunk(records, b.traits.GetMost))
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(chunksAtOnce, len(chunks)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(chunks) {
					return
				}
				if err := f(ctx, n*b.traits.GetMost, chunks[n]); err != nil {
					cancel(err)
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

// stands reports whether a record is there.
func stands(r *driver.Record) bool {
	return r.Err == nil && !r.Expired && (r.Document != nil || r.Row != nil || r.State != "")
}

// recordError returns why a record can't be read.
func recordError(r *driver.Record) error {
	if errors.Is(r.Err, ErrBadID) {
		return r.Err
	}
	if e, ok := errors.AsType[*UnreadableError](r.Err); ok {
		return e
	}
	return &UnreadableError{ID: r.ID, Err: r.Err}
}

// decode returns the meta in a record.
func (b *Backend) decode(r *driver.Record) (*TaskMeta, error) {
	switch {
	case r.Err != nil:
		return nil, recordError(r)
	case !stands(r):
		unknown := unknownMeta(r.ID)
		unknown.Expired = r.Expired
		return unknown, nil
	}
	meta, err := b.encoding.Decode(r)
	if err != nil {
		return nil, unreadableRecord(r.ID, err)
	}
	return meta, nil
}

func unreadableRecord(id string, err error) error {
	if e, ok := errors.AsType[*UnreadableError](err); ok {
		return e
	}
	return &UnreadableError{ID: id, Err: err}
}

// status returns what counts of a record.
func (b *Backend) status(r *driver.Record) (Status, error) {
	switch {
	case r.Err != nil:
		return Status{}, recordError(r)
	case !stands(r):
		return Status{State: Pending, Unknown: true, Expired: r.Expired}, nil
	case r.State != "":
		return Status{State: r.State}, nil
	}
	state, err := b.encoding.State(r)
	if err != nil {
		return Status{}, unreadableRecord(r.ID, err)
	}
	return Status{State: state}, nil
}

// GetMany returns the metas of all ids in the order of the ids, in as few round trips as the
// store allows. A record that can't be read is nil among them, and an *UnreadableError
// (joined, if several) beside them; so is one whose id the store can't hold. With any other
// error there are no metas.
func (b *Backend) GetMany(ctx context.Context, taskIDs []string) ([]*TaskMeta, error) {
	if len(b.hooks) == 0 {
		return b.getMany(ctx, taskIDs, 0)
	}
	o := &Operation{Name: "get_many", TaskIDs: taskIDs}
	ctx, end := b.begin(ctx, o)
	metas, err := b.getMany(ctx, taskIDs, 0)
	o.Metas = metas
	end(err)
	return metas, err
}

func (b *Backend) getMany(ctx context.Context, taskIDs []string, how driver.How) ([]*TaskMeta, error) {
	metas, bad, err := eachRecord(ctx, b, taskIDs, how, b.decode)
	if err != nil {
		return nil, err
	}
	if len(b.fallbacks) > 0 || b.markers {
		more := b.complete(ctx, taskIDs, metas)
		if more != nil && len(unreadable(more)) == 0 {
			return nil, more
		}
		bad = errors.Join(bad, more)
	}
	return metas, bad
}

// GetStatuses returns the status of each task in the order of the ids, for less than what
// GetMany costs and with its errors: the status of a record that can't be read is zero.
func (b *Backend) GetStatuses(ctx context.Context, taskIDs []string) ([]Status, error) {
	if len(b.hooks) == 0 {
		return b.getStatuses(ctx, taskIDs)
	}
	o := &Operation{Name: "get_statuses", TaskIDs: taskIDs}
	ctx, end := b.begin(ctx, o)
	statuses, err := b.getStatuses(ctx, taskIDs)
	o.Statuses = statuses
	end(err)
	return statuses, err
}

func (b *Backend) getStatuses(ctx context.Context, taskIDs []string) ([]Status, error) {
	statuses, bad, err := eachRecord(ctx, b, taskIDs, driver.States, b.status)
	if err != nil {
		return nil, err
	}
	if len(b.fallbacks) > 0 || b.markers {
		more := b.completeStatuses(ctx, taskIDs, statuses)
		if more != nil && len(unreadable(more)) == 0 {
			return nil, more
		}
		bad = errors.Join(bad, more)
	}
	return statuses, bad
}

// eachRecord reads the records of tasks and returns what f makes of each, in the order of
// the ids, without the fallbacks. The errors of f are joined as bad.
func eachRecord[T any](ctx context.Context, b *Backend, taskIDs []string, how driver.How, f func(*driver.Record) (T, error)) (answers []T, bad, err error) {
	if slices.Contains(taskIDs, "") {
		return nil, nil, ErrNoTaskID
	}
	ids, places := once(taskIDs)
	answers = make([]T, len(ids))
	records := make([]driver.Record, len(ids))
	for i, id := range ids {
		records[i].ID = id
	}
	var mu sync.Mutex // guards bads
	var bads []error
	err = b.inChunks(ctx, records, func(ctx context.Context, first int, part []driver.Record) error {
		if err := b.read(ctx, driver.Task, part, how); err != nil {
			return err
		}
		for i := range part {
			answer, err := f(&part[i])
			if err != nil {
				mu.Lock()
				bads = append(bads, asUnreadable(part[i].ID, err))
				mu.Unlock()
			}
			answers[first+i] = answer
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if places != nil { // some were asked for again
		all := make([]T, len(taskIDs))
		for i, place := range places {
			all[i] = answers[place]
		}
		answers = all
	}
	return answers, errors.Join(bads...), nil
}

// asUnreadable makes the error of one record one that names it.
func asUnreadable(id string, err error) error {
	if _, ok := errors.AsType[*UnreadableError](err); ok {
		return err
	}
	return &UnreadableError{ID: id, Err: err}
}

// complete asks the fallbacks for the metas of tasks that are unknown here, and the markers
// for those that are unknown everywhere.
func (b *Backend) complete(ctx context.Context, taskIDs []string, metas []*TaskMeta) error {
	var bad error
	for _, f := range b.fallbacks {
		ids, places := unknownAmong(taskIDs, metas)
		if len(ids) == 0 {
			return bad
		}
		found, more, err := eachRecord(ctx, f, ids, 0, f.decode)
		if err != nil {
			return err
		}
		bad = errors.Join(bad, more)
		for i, place := range places {
			if found[i] == nil || !found[i].Unknown {
				metas[place] = found[i]
			}
		}
	}
	if !b.markers {
		return bad
	}
	ids, places := unknownAmong(taskIDs, metas)
	expired, err := b.marked(ctx, ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		if expired[i] {
			unknown := *metas[place]
			unknown.Expired = true
			metas[place] = &unknown
		}
	}
	return bad
}

// unknownAmong returns the tasks that are unknown, and their places.
func unknownAmong(taskIDs []string, metas []*TaskMeta) (ids []string, places []int) {
	for i, meta := range metas {
		if meta != nil && meta.Unknown && !meta.Expired {
			ids, places = append(ids, taskIDs[i]), append(places, i)
		}
	}
	return ids, places
}

// completeStatuses does with statuses what complete does with metas.
func (b *Backend) completeStatuses(ctx context.Context, taskIDs []string, statuses []Status) error {
	var bad error
	unknown := func() (ids []string, places []int) {
		for i, s := range statuses {
			if s.Unknown && !s.Expired {
				ids, places = append(ids, taskIDs[i]), append(places, i)
			}
		}
		return ids, places
	}
	for _, f := range b.fallbacks {
		ids, places := unknown()
		if len(ids) == 0 {
			return bad
		}
		found, more, err := eachRecord(ctx, f, ids, driver.States, f.status)
		if err != nil {
			return err
		}
		bad = errors.Join(bad, more)
		for i, place := range places {
			if !found[i].Unknown {
				statuses[place] = found[i]
			}
		}
	}
	if !b.markers {
		return bad
	}
	ids, places := unknown()
	expired, err := b.marked(ctx, ids)
	if err != nil {
		return err
	}
	for i, place := range places {
		statuses[place].Expired = statuses[place].Expired || expired[i]
	}
	return bad
}

// marked tells of which tasks there are markers.
func (b *Backend) marked(ctx context.Context, ids []string) ([]bool, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	unique, places := once(ids)
	records, err := b.fetch(ctx, driver.Marker, unique, driver.States)
	if err != nil {
		return nil, err
	}
	list := make([]bool, len(ids))
	for i := range ids {
		list[i] = stands(&records[placeOf(places, i)])
	}
	return list, nil
}
