package celeryresults

import (
	"context"
	"errors"
	"slices"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/waiting"
)

// SilentError is the error of an operation that ended while the store did not answer: it
// is the context's, where that has ended it, and says since when and why.
type SilentError = waiting.SilentError

// WaitFor returns the meta once its state is ready (Celery's wait_for). Results that are
// ready cost one read. For others the store tells of changes, or is asked, for all waiters
// of the Backend together.
//
// It returns ctx's error when that ends first, in a *SilentError if the store does not answer
// then; ErrClosed when the Backend is closed; and without a deadline a *SilentError once the
// store has not answered for Patience. A record that can't be read ends its own waits alone.
func (b *Backend) WaitFor(ctx context.Context, taskID string) (*TaskMeta, error) {
	return b.Await(ctx, taskID, isFinal)
}

// Await returns the meta once it is what until describes, which is called with each meta
// that is read or pushed, and must not block. Errors are as in WaitFor.
func (b *Backend) Await(ctx context.Context, taskID string, until func(*TaskMeta) bool) (*TaskMeta, error) {
	if len(b.hooks) == 0 {
		return b.await(ctx, taskID, until)
	}
	o := &Operation{Name: "wait", TaskIDs: []string{taskID}}
	ctx, end := b.begin(ctx, o)
	meta, err := b.await(ctx, taskID, until)
	o.Metas = []*TaskMeta{meta}
	end(err)
	return meta, err
}

func (b *Backend) await(ctx context.Context, taskID string, until func(*TaskMeta) bool) (*TaskMeta, error) {
	meta, err := b.get(ctx, taskID)
	if err != nil || until(meta) {
		return meta, err
	}
	return b.waits.One(ctx, taskID, until)
}

// AwaitMany returns nil once each of the tasks was what until describes. That is called with
// each meta that is read or pushed, until it has returned true for the task; one at a time,
// and not after AwaitMany has returned. It must not block. The ids must be different.
//
// Records that can't be read are *UnreadableErrors, joined, once the waits for all others
// have ended. Any other error, as in WaitFor, ends all waits.
func (b *Backend) AwaitMany(ctx context.Context, taskIDs []string, until func(*TaskMeta) bool) error {
	if slices.Contains(taskIDs, "") {
		return ErrNoTaskID
	}
	if len(b.hooks) == 0 {
		return b.waits.Many(ctx, taskIDs, until)
	}
	o := &Operation{Name: "wait", TaskIDs: taskIDs}
	ctx, end := b.begin(ctx, o)
	err := b.waits.Many(ctx, taskIDs, func(meta *TaskMeta) bool {
		ended := until(meta)
		if ended {
			o.Metas = append(o.Metas, meta)
		}
		return ended
	})
	end(err)
	return err
}

// look reads once what is waited for: nobody repeats it below, so that it ends in time. The
// fallbacks are asked for what is unknown here.
func (b *Backend) look(ctx context.Context, ids []string) ([]waiting.Found[*TaskMeta], error) {
	found, err := b.lookOwn(ctx, ids)
	for _, f := range b.fallbacks {
		var unknown []string
		var places []int
		for i := range found {
			if found[i].Err == nil && found[i].Value.Unknown {
				unknown, places = append(unknown, ids[i]), append(places, i)
			}
		}
		if err != nil || len(unknown) == 0 {
			break
		}
		var others []waiting.Found[*TaskMeta]
		others, err = f.lookOwn(ctx, unknown)
		for i := range others {
			found[places[i]] = others[i]
		}
	}
	return found, err
}

func (b *Backend) lookOwn(ctx context.Context, ids []string) ([]waiting.Found[*TaskMeta], error) {
	records := make([]driver.Record, len(ids))
	for i, id := range ids {
		records[i].ID = id
	}
	err := b.inChunks(ctx, records, func(ctx context.Context, _ int, part []driver.Record) error {
		return b.store.Get(ctx, driver.Task, part, 0)
	})
	if err != nil {
		if again, ok := errors.AsType[*driver.Again](err); ok {
			err = again.Err
		}
		return nil, err
	}
	found := make([]waiting.Found[*TaskMeta], len(ids))
	for i := range records {
		meta, err := b.decode(&records[i])
		found[i] = waiting.Found[*TaskMeta]{ID: ids[i], Value: meta, Err: err}
	}
	return found, nil
}
