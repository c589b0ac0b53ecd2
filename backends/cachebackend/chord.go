package cachebackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
)

// StartChordCounter saves the group of a chord and makes its counter as Celery's own
// cache backend does (CacheBackend._apply_chord_incr), for members that run in
// Python or in Go. Its rule is Python's: every part that is reported counts, also a
// second time. A backend of New returns errors.ErrUnsupported: the workers of
// django-celery-results' cache backend do not count, their task celery.chord_unlock
// asks whether the members are ready.
func (b *CacheBackend) StartChordCounter(ctx context.Context, group celeryresults.ResultTuple) error {
	key, err := b.chordKey(group.ID)
	if err != nil {
		return err
	}
	zero, err := b.cache.Encode(0)
	if err != nil {
		return err
	}
	if err := b.cache.SetItem(ctx, key, zero, b.expires); err != nil {
		return fmt.Errorf("cachebackend: start chord counter: %w", err)
	}
	return b.SaveGroup(ctx, group)
}

// CountChordPart counts one member of a chord that Python or StartChordCounter
// started (KeyValueStoreBackend.on_chord_part_return): Python's workers and Go's can
// count the same chord. Store the member's own result first. The size is the
// message's chord["chord_size"]; 0 or less stands for the number of the group's
// members. Whoever gets Left 0 runs the body; the counter and the group are gone
// then. As in Python, the body is lost when the process dies between counting and
// running it, and when a connection breaks it is not known whether the part counted.
// A chord whose group or counter is not there is ErrUnknownChord.
func (b *CacheBackend) CountChordPart(ctx context.Context, groupID string, size int) (celeryresults.ChordCount, error) {
	key, err := b.chordKey(groupID)
	if err != nil {
		return celeryresults.ChordCount{}, err
	}
	group, err := b.RestoreGroup(ctx, groupID)
	if errors.Is(err, celeryresults.ErrUnknownGroup) {
		return celeryresults.ChordCount{}, fmt.Errorf("%w %q: its group is not there", celeryresults.ErrUnknownChord, groupID)
	}
	if err != nil {
		return celeryresults.ChordCount{}, err
	}
	counted, err := b.cache.Incr(ctx, key, 1)
	if errors.Is(err, cache.ErrMiss) {
		return celeryresults.ChordCount{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownChord, groupID)
	}
	if err != nil {
		return celeryresults.ChordCount{}, fmt.Errorf("cachebackend: count chord part: %w", err)
	}
	if size <= 0 {
		size = len(group.Children)
	}
	count := celeryresults.ChordCount{Left: size - int(counted), Group: group}
	if count.Left == 0 {
		err = errors.Join(b.DeleteGroup(ctx, groupID), b.cache.DeleteMany(ctx, []string{key}))
	}
	return count, err
}

func (b *CacheBackend) chordKey(groupID string) (string, error) {
	if !b.counts {
		return "", fmt.Errorf("cachebackend: chords of django-celery-results' cache backend are not counted: %w", errors.ErrUnsupported)
	}
	return b.keys.Chord(groupID)
}
