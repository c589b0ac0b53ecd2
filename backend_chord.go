package celeryresults

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults/driver"
)

// claimer returns the store's chords, or errors.ErrUnsupported.
func (b *Backend) claimer(ctx context.Context, chordID string) (driver.Claimer, error) {
	c, ok := b.store.(driver.Claimer)
	switch {
	case !ok:
		return nil, b.unsupported("keep chords")
	case chordID == "":
		return nil, ErrNoTaskID
	}
	return c, b.writable(ctx)
}

// StartChord keeps the chord. Start it before its members are sent. A chord that stands
// already, or was handed over, is left as it is. A chord without members is an error. It
// expires as results do, after the last member that reported. A store without chords is
// errors.ErrUnsupported, here and in the other methods of chords.
func (b *Backend) StartChord(ctx context.Context, chord Chord) error {
	c, err := b.claimer(ctx, chord.ID)
	if err != nil {
		return err
	}
	if err := checkMembers(chord.Members); err != nil {
		return fmt.Errorf("celeryresults: start chord %q: %w", chord.ID, err)
	}
	contentType, body, err := b.encoding.EncodeValue(chord.Body)
	if err != nil {
		return fmt.Errorf("celeryresults: start chord %q: body: %w", chord.ID, err)
	}
	record := driver.ChordRecord{ID: chord.ID, Members: chord.Members, Body: body, ContentType: contentType, TTL: b.settings.Expires()}
	return b.repeat(ctx, "start chord", func() error { return c.StartChord(ctx, record) })
}

func checkMembers(members []string) error {
	if len(members) == 0 {
		return errors.New("a chord needs members")
	}
	seen := make(map[string]bool, len(members))
	for _, id := range members {
		if id == "" {
			return ErrNoTaskID
		}
		if seen[id] {
			return fmt.Errorf("member %q is there twice", id)
		}
		seen[id] = true
	}
	return nil
}

// ReportPart notes that a member has ended; store its result first. When it was the last
// one, body is called, and its error returned: the chord then waits for the next sweep. A
// chord that is unknown or was handed over, and a task that is no member, are no error.
//
// The body is handed over under a claim (see BackendOptions.ChordLease), which is renewed
// while that takes longer.
func (b *Backend) ReportPart(ctx context.Context, chordID, taskID string, body ChordBody) error {
	c, err := b.claimer(ctx, chordID)
	if err == nil && taskID == "" {
		err = ErrNoTaskID
	}
	if err != nil {
		return err
	}
	_, err = b.claimAndHandOver(ctx, c, chordID, taskID, body)
	return err
}

// claimAndHandOver reports a member, if one is named, and hands the chord over if that or
// nobody's claim lets it. It reports whether it did.
func (b *Backend) claimAndHandOver(ctx context.Context, c driver.Claimer, chordID, taskID string, body ChordBody) (bool, error) {
	h := &handover{b: b, c: c, id: chordID, token: rand.Text()}
	claimed, err := h.claim(ctx, taskID)
	if err != nil || !claimed {
		return false, err
	}
	err = h.callBody(ctx, body)
	if left := h.release(context.WithoutCancel(ctx), err == nil); left != nil {
		if err == nil {
			left = fmt.Errorf("celeryresults: confirm chord %q, whose body was handed over: %w", chordID, left)
		}
		return err == nil, errors.Join(err, left)
	}
	return err == nil, err
}

// handover is one claim on a chord.
type handover struct {
	b     *Backend
	c     driver.Claimer
	id    string
	token string
}

func (h *handover) claim(ctx context.Context, member string) (claimed bool, err error) {
	err = h.b.repeat(ctx, "claim chord", func() (err error) {
		claimed, err = h.c.Claim(ctx, h.id, member, h.token, h.b.lease)
		return err
	})
	return claimed, err
}

func (h *handover) release(ctx context.Context, done bool) error {
	return h.b.repeat(ctx, "release chord", func() error { return h.c.Release(ctx, h.id, h.token, done) })
}

func (h *handover) callBody(ctx context.Context, body ChordBody) error {
	if body == nil {
		return errors.New("celeryresults: chord: no body to call")
	}
	stop := h.renew(ctx)
	defer stop() // also when body panics
	chord, err := h.read(ctx)
	if err != nil {
		return err
	}
	results, err := h.b.memberResults(ctx, chord.Members)
	if err != nil {
		return err
	}
	return body(ctx, chord, results)
}

func (h *handover) read(ctx context.Context) (Chord, error) {
	var record driver.ChordRecord
	err := h.b.repeat(ctx, "read chord", func() (err error) {
		record, err = h.c.ReadChord(ctx, h.id)
		return err
	})
	if err != nil {
		return Chord{}, err
	}
	body, err := h.b.encoding.DecodeValue(record.ContentType, record.Body)
	if err != nil {
		return Chord{}, fmt.Errorf("celeryresults: read chord %q: body: %w", h.id, err)
	}
	return Chord{ID: h.id, Members: record.Members, Body: body}, nil
}

// memberResults reads results past replicas. A record that can't be read is unknown.
func (b *Backend) memberResults(ctx context.Context, members []string) ([]*TaskMeta, error) {
	results, err := b.getMany(ctx, members, driver.Primary)
	if results == nil {
		return nil, err
	}
	for i, id := range members {
		if results[i] == nil {
			results[i] = unknownMeta(id)
		}
	}
	return results, nil
}

// renew keeps a claim while its body is handed over, until stop is called.
func (h *handover) renew(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(h.b.lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = h.claim(ctx, "") // the next tick tries again
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// chordsAtOnce is how many chords a sweep asks for together.
const chordsAtOnce = 1000

// SweepChords hands over the bodies of complete chords that nobody has claimed, or whose
// claim has expired, and returns how many. Call it from time to time, from as many processes
// as you like. A body that fails is left for the next sweep, and its error joined to the
// others.
func (b *Backend) SweepChords(ctx context.Context, body ChordBody) (int, error) {
	c, err := b.claimer(ctx, "any")
	if err != nil {
		return 0, err
	}
	fired, seen := 0, map[string]bool{}
	var errs []error
	for {
		ids, err := b.dueChords(ctx, c)
		if err != nil {
			return fired, errors.Join(append(errs, err)...)
		}
		came := len(seen)
		for _, id := range ids {
			if seen[id] {
				continue
			}
			seen[id] = true
			done, err := b.claimAndHandOver(ctx, c, id, "", body)
			if done {
				fired++
			}
			errs = append(errs, err)
		}
		if len(ids) < chordsAtOnce || len(seen) == came {
			return fired, errors.Join(errs...)
		}
	}
}

func (b *Backend) dueChords(ctx context.Context, c driver.Claimer) (ids []string, err error) {
	err = b.repeat(ctx, "sweep chords", func() (err error) {
		ids, err = c.DueChords(ctx, chordsAtOnce)
		return err
	})
	return ids, err
}

// DeleteChord removes the chord, what was reported, and the mark that it was handed over,
// not its members' results. An unknown chord is no error.
func (b *Backend) DeleteChord(ctx context.Context, chordID string) error {
	if _, err := b.claimer(ctx, chordID); err != nil {
		return err
	}
	return b.delete(ctx, driver.Chord, []string{chordID})
}

// CeleryChord takes part in a chord that Celery's workers count, of Python and of Go alike.
// Its rule is Celery's; chords of StartChord know better.
type CeleryChord struct {
	b       *Backend
	groupID string
}

// CeleryChord returns the chord of a group. Nothing is read yet.
func (b *Backend) CeleryChord(groupID string) *CeleryChord { return &CeleryChord{b, groupID} }

// ChordPart is what a member of a chord of Celery's reports when it has ended.
type ChordPart struct {
	TaskID string

	// Index is the member's place, the message's header group_index. Nil is Python's
	// None: the member comes last. Only redis keeps it.
	Index *int

	State  State
	Result Value // or the exception

	// Size is the message's chord["chord_size"]. Zero stands for the number of the
	// group's members. Only memcached needs it.
	Size int
}

// ChordParts are the parts of a chord that is complete.
type ChordParts struct {
	// Members have the ids, states and results of the members, in their order.
	Members []*TaskMeta

	// Group is the chord's header where that was saved: the body gets the results in its
	// shape. Nil: the body gets a list of the members' results.
	Group *ResultTuple
}

// Err returns the error of the first member, in their order, that did not succeed: the
// chord's body then does not run, and its errbacks do.
func (p *ChordParts) Err() error {
	for _, member := range p.Members {
		if err := member.Err(); err != nil && member.State != Retry {
			return fmt.Errorf("celeryresults: dependency %s raised %w", member.TaskID, err)
		}
	}
	return nil
}

// celeryCounter is a store that counts the chords of Celery's workers. Each method sends
// what must not be sent twice once.
type celeryCounter interface {
	// StartCount begins to count the members of a group, of which there are so many.
	StartCount(ctx context.Context, group ResultTuple, size int) error

	// AddToCount lets the chord wait for one more member.
	AddToCount(ctx context.Context, groupID string) error

	// CountPart counts a part. When it was the last one, it returns the parts: without
	// Members, where the results are still to be read.
	CountPart(ctx context.Context, groupID string, part ChordPart) (*ChordParts, error)
}

func (c *CeleryChord) counter(ctx context.Context) (celeryCounter, error) {
	counter, ok := c.b.store.(celeryCounter)
	switch {
	case !ok:
		return nil, c.b.unsupported("count chords as Celery does")
	case c.groupID == "":
		return nil, ErrNoTaskID
	}
	return counter, c.b.ready(ctx)
}

// Start begins to count, as Celery does when it sends a chord: the group's Children are its
// members, and size is how many there are (RedisBackend.set_chord_size, apply_chord). Start
// before the last member is sent.
func (c *CeleryChord) Start(ctx context.Context, group ResultTuple, size int) error {
	counter, err := c.counter(ctx)
	if err != nil {
		return err
	}
	group.ID = c.groupID
	return c.failed(ctx, "start", counter.StartCount(ctx, group, size))
}

// Add lets the chord wait for one more member, which one that runs adds (add_to_chord). Only
// redis can. After an error it is not known whether it counted.
func (c *CeleryChord) Add(ctx context.Context) error {
	counter, err := c.counter(ctx)
	if err != nil {
		return err
	}
	return c.failed(ctx, "add to", counter.AddToCount(ctx, c.groupID))
}

// Report reports a member of the chord (on_chord_part_return); store its own result first.
// It returns the parts when this one was the last, and nil before; whoever gets them runs the
// body. What was counted is gone then, so the body is lost when the process dies before it has
// sent it, as in Python. A part that is reported twice counts twice, except in redis where
// parts are kept in order (result_chord_ordered). A chord that is not there is ErrUnknownChord
// where the store can tell.
func (c *CeleryChord) Report(ctx context.Context, part ChordPart) (*ChordParts, error) {
	counter, err := c.counter(ctx)
	switch {
	case err != nil:
		return nil, err
	case part.TaskID == "":
		return nil, ErrNoTaskID
	case part.State == "":
		return nil, fmt.Errorf("%w of task %q", ErrNoState, part.TaskID)
	}
	parts, err := counter.CountPart(ctx, c.groupID, part)
	if err != nil || parts == nil || parts.Members != nil || parts.Group == nil {
		return parts, c.failed(ctx, "report to", err)
	}
	var ids []string
	for id := range leaves(parts.Group.Children) {
		ids = append(ids, id)
	}
	parts.Members, err = c.b.memberResults(ctx, ids)
	return parts, err
}

func (c *CeleryChord) failed(ctx context.Context, what string, err error) error {
	return c.b.failed(ctx, what+" chord", time.Now(), err)
}
