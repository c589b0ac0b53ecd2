package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/writes"
)

// StoreResult stores meta under its TaskID, following State.MayReplace. It returns a
// *RefusedError when another record stands. With Override, it stores whatever stands. Any
// other error is a *StoreError, which says whether nothing was stored or that is not known;
// see OutcomeOf. A result that the store can't hold is ErrTooLarge; a failure is then stored
// with its texts cut and marked as cut, so that nobody waits for ever.
func (b *Backend) StoreResult(ctx context.Context, meta *TaskMeta, options ...StoreOption) error {
	override := slices.Contains(options, Override)
	if len(b.hooks) == 0 {
		_, err := b.storeMeta(ctx, meta, override, nil)
		return err
	}
	o := &Operation{Name: "store", Meta: meta}
	if meta != nil {
		o.TaskIDs = []string{meta.TaskID}
	}
	ctx, end := b.begin(ctx, o)
	outcome, err := b.storeMeta(ctx, meta, override, o)
	o.Outcome = outcome
	end(err)
	return err
}

func (b *Backend) storeMeta(ctx context.Context, meta *TaskMeta, override bool, o *Operation) (Outcome, error) {
	if meta == nil || meta.TaskID == "" {
		return OutcomeNotStored, ErrNoTaskID
	}
	answer := b.put(ctx, meta, override, o)
	if tooLarge(answer.Err) && meta.State.Exception() {
		answer = b.put(ctx, shortened(meta), override, o)
	}
	if answer.Outcome == OutcomeStored {
		b.stored(ctx, meta)
	}
	return answer.Outcome, answerError(answer, meta)
}

func tooLarge(err error) bool {
	return err != nil && (errors.Is(err, ErrTooLarge) || errors.Is(err, cache.ErrTooLarge))
}

// put encodes and stores a record.
func (b *Backend) put(ctx context.Context, meta *TaskMeta, override bool, o *Operation) driver.Answer {
	notStored := func(err error) driver.Answer { return driver.Answer{Outcome: OutcomeNotStored, Err: err} }
	if meta.State == "" {
		return notStored(fmt.Errorf("%w of task %q", ErrNoState, meta.TaskID))
	}
	if b.traits.ReadOnly {
		return notStored(b.writable(ctx))
	}
	w := writes.NewWrite()
	defer w.Free()
	w.Kind, w.ID, w.State, w.Power = driver.Task, meta.TaskID, meta.State, driver.PowerOf(meta.State, override)
	w.TTL, w.Group, w.Done = b.lifetime(meta.State), meta.GroupID, meta.DateDone
	if err := b.encode(ctx, w, func() error { return b.encoding.Encode(ctx, meta, &w.Write) }); err != nil {
		if over := b.ready(ctx); over != nil {
			err = over
		}
		return notStored(err)
	}
	if o == nil {
		return b.writes.Do(ctx, w)
	}
	o.Size = w.Size
	answer := b.writes.Do(ctx, w)
	if answer.Outcome != OutcomeUnknown {
		o.Retries += max(w.Attempts()-1, 0)
	}
	return answer
}

// lifetime returns how long a record of the state lives, or Never: by RESULT_EXPIRES_BY_STATE,
// and result_expires for all other states, as in Celery. Stores that keep expired records
// count by themselves.
func (b *Backend) lifetime(state State) time.Duration {
	if own := b.settings.DjangoDB.ExpiresByState[state]; own != 0 {
		return max(own, Never)
	}
	return b.settings.Expires()
}

// writable returns why nothing can be stored.
func (b *Backend) writable(ctx context.Context) error {
	if b.traits.ReadOnly {
		return fmt.Errorf("celeryresults: results in %s are only read: %w", b.traits.Name, errors.ErrUnsupported)
	}
	return b.ready(ctx)
}

// encode makes a record ready to be stored.
func (b *Backend) encode(ctx context.Context, w *writes.Write, encode func() error) error {
	err := encode()
	if err != nil && helps(err) {
		err = b.repeat(ctx, "encode", encode)
	}
	if err != nil {
		return err
	}
	if w.Size == 0 {
		w.Size = len(w.Document)
	}
	if most := b.traits.MaxDocument; most > 0 && len(w.Document) > most {
		return fmt.Errorf("%w: %d bytes; %s holds %d", ErrTooLarge, len(w.Document), b.traits.Name, most)
	}
	return nil
}

// answerError returns what a caller is told of an answer.
func answerError(a driver.Answer, meta *TaskMeta) error {
	switch {
	case a.Outcome == OutcomeRefused:
		return &RefusedError{TaskID: meta.TaskID, Stands: a.Stands, Stored: meta.State}
	case a.Outcome == OutcomeStored && a.Err == nil:
		return nil
	}
	return &StoreError{TaskID: meta.TaskID, Outcome: a.Outcome, Err: a.Err}
}

// stored tells those who wait in this process of a record, and leaves a marker that
// outlives it. Nobody depends on that.
func (b *Backend) stored(ctx context.Context, meta *TaskMeta) {
	b.waits.Announce(meta.TaskID)
	if expires := b.lifetime(meta.State); b.markers && expires != Never {
		_ = b.mark(ctx, []string{meta.TaskID}, expires+b.settings.ResultTombstones)
	}
}

// mark leaves markers of tasks.
func (b *Backend) mark(ctx context.Context, ids []string, ttl time.Duration) error {
	var err error
	for _, id := range ids {
		w := &writes.Write{Write: driver.Write{
			Kind: driver.Marker, ID: id, Power: driver.Anything, Document: marker, Size: len(marker), TTL: ttl, StateOf: noState,
		}}
		if answer := b.writes.Do(ctx, w); answer.Outcome != OutcomeStored {
			err = answer.Err
		}
	}
	return err
}

// marker is what stands in a Marker.
var marker = []byte("1")

func noState([]byte) State { return "" }

// shortText is how many bytes of a text are kept of a failure that is too large.
const shortText = 2048

// shortened returns a failure that fits everywhere: the texts of its arguments and
// traceback are cut, which a mark shows, and the task's own arguments are left out.
func shortened(meta *TaskMeta) *TaskMeta {
	short := *meta
	e := *meta.failure()
	e.Args = []any{cutText(e.Message())}
	short.Result = NewValue(&e)
	short.Traceback = cutText(meta.Traceback)
	short.Args, short.Kwargs = Value{}, Value{}
	return &short
}

func cutText(text string) string {
	if len(text) <= shortText {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes in all)", strings.ToValidUTF8(text[:shortText], ""), len(text))
}

// Forget deletes the results, also from the fallbacks. Absent ones are not an error.
func (b *Backend) Forget(ctx context.Context, taskIDs ...string) error {
	if len(b.hooks) == 0 {
		return b.forget(ctx, taskIDs)
	}
	o := &Operation{Name: "forget", TaskIDs: taskIDs}
	ctx, end := b.begin(ctx, o)
	err := b.forget(ctx, taskIDs)
	end(err)
	return err
}

func (b *Backend) forget(ctx context.Context, taskIDs []string) error {
	if slices.Contains(taskIDs, "") {
		return ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	ids, _ := once(taskIDs)
	if len(ids) == 0 {
		return nil
	}
	err := b.forgetOwn(ctx, ids)
	b.waits.Announce(ids...)
	for _, f := range b.fallbacks {
		err = errors.Join(err, f.forgetOwn(ctx, ids))
	}
	return err
}

func (b *Backend) forgetOwn(ctx context.Context, ids []string) error {
	if b.markers {
		if err := b.markKnown(ctx, ids); err != nil {
			return err
		}
	}
	return b.delete(ctx, driver.Task, ids)
}

// markKnown leaves markers of the records that are about to be deleted, if they stand.
func (b *Backend) markKnown(ctx context.Context, ids []string) error {
	records, err := b.fetch(ctx, driver.Task, ids, driver.States)
	if err != nil {
		return err
	}
	var known []string
	for i := range records {
		if stands(&records[i]) {
			known = append(known, records[i].ID)
		}
	}
	return b.mark(ctx, known, b.settings.ResultTombstones)
}

func (b *Backend) delete(ctx context.Context, kind driver.Kind, ids []string) error {
	for part := range slices.Chunk(ids, b.traits.GetMost) {
		if err := b.repeat(ctx, "delete", func() error { return b.store.Delete(ctx, kind, part) }); err != nil {
			return err
		}
	}
	return nil
}

// SaveGroup keeps the group: its ID, Parent and Children (Celery's save_group). It expires
// as results do.
func (b *Backend) SaveGroup(ctx context.Context, group ResultTuple) error {
	if group.ID == "" {
		return ErrNoTaskID
	}
	if err := b.writable(ctx); err != nil {
		return err
	}
	if group.Children == nil {
		group.Children = []ResultTuple{}
	}
	w := &writes.Write{Write: driver.Write{Kind: driver.Group, ID: group.ID, Power: driver.Anything, TTL: b.settings.Expires(), StateOf: noState}}
	err := b.encode(ctx, w, func() error { return b.encoding.EncodeGroup(ctx, group, &w.Write) })
	if err == nil {
		if answer := b.writes.Do(ctx, w); answer.Outcome != OutcomeStored {
			err = answer.Err
		}
	}
	if err != nil && b.ready(ctx) == nil {
		err = fmt.Errorf("celeryresults: save group %q in %s: %w", group.ID, b.traits.Name, err)
	}
	return err
}

// RestoreGroup returns the group, or ErrUnknownGroup (Celery's restore_group).
func (b *Backend) RestoreGroup(ctx context.Context, groupID string) (ResultTuple, error) {
	if groupID == "" {
		return ResultTuple{}, ErrNoTaskID
	}
	group, err := b.restoreOwn(ctx, groupID)
	for _, f := range b.fallbacks {
		if !errors.Is(err, ErrUnknownGroup) {
			break
		}
		group, err = f.restoreOwn(ctx, groupID)
	}
	return group, err
}

func (b *Backend) restoreOwn(ctx context.Context, groupID string) (ResultTuple, error) {
	records, err := b.fetch(ctx, driver.Group, []string{groupID}, 0)
	if err != nil {
		return ResultTuple{}, err
	}
	switch r := &records[0]; {
	case r.Err != nil:
		return ResultTuple{}, recordError(r)
	case stands(r):
		return b.encoding.DecodeGroup(r)
	}
	return ResultTuple{}, fmt.Errorf("%w %q", ErrUnknownGroup, groupID)
}

// DeleteGroup removes the group, also from the fallbacks, and not its members' results
// (Celery's delete_group).
func (b *Backend) DeleteGroup(ctx context.Context, groupID string) error {
	if groupID == "" {
		return ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	err := b.delete(ctx, driver.Group, []string{groupID})
	for _, f := range b.fallbacks {
		err = errors.Join(err, f.delete(ctx, driver.Group, []string{groupID}))
	}
	return err
}
