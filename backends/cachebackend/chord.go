package cachebackend

import (
	"context"
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
)

// StartCount is for celeryresults.CeleryChord: it saves the group of a chord and makes its
// counter as Celery's own cache backend does (CacheBackend._apply_chord_incr). A backend of
// New returns errors.ErrUnsupported: the workers of django-celery-results' cache backend do
// not count, their task celery.chord_unlock asks whether the members are ready.
func (b *CacheBackend) StartCount(ctx context.Context, group celeryresults.ResultTuple, _ int) error {
	key, err := b.chordKey(group.ID)
	if err != nil {
		return err
	}
	zero, err := b.cache.Encode(0)
	if err != nil {
		return err
	}
	if err := b.cache.SetItem(ctx, key, zero, b.expires); err != nil {
		return err
	}
	w := driver.Write{Kind: driver.Group, ID: group.ID, Power: driver.Anything, TTL: b.expires}
	if err := b.encoding.EncodeGroup(ctx, group, &w); err != nil {
		return err
	}
	b.put(ctx, &w)
	return w.Answer.Err
}

// AddToCount is for celeryresults.CeleryChord: chords here have a fixed size.
func (b *CacheBackend) AddToCount(context.Context, string) error {
	return fmt.Errorf("cachebackend: the size of a chord is fixed: %w", errors.ErrUnsupported)
}

// CountPart is for celeryresults.CeleryChord (KeyValueStoreBackend.on_chord_part_return).
// When a connection breaks it is not known whether the part counted. A chord whose group or
// counter is not there is ErrUnknownChord.
func (b *CacheBackend) CountPart(ctx context.Context, groupID string, part celeryresults.ChordPart) (*celeryresults.ChordParts, error) {
	key, err := b.chordKey(groupID)
	if err != nil {
		return nil, err
	}
	record := driver.Record{ID: groupID}
	if err := b.getOne(ctx, driver.Group, &record); err != nil {
		return nil, err
	}
	if record.Document == nil {
		return nil, errors.Join(fmt.Errorf("%w %q: its group is not there", celeryresults.ErrUnknownChord, groupID), record.Err)
	}
	group, err := b.encoding.DecodeGroup(&record)
	if err != nil {
		return nil, err
	}
	counted, err := b.cache.Incr(ctx, key, 1)
	if errors.Is(err, cache.ErrMiss) {
		return nil, fmt.Errorf("%w %q", celeryresults.ErrUnknownChord, groupID)
	}
	if err != nil {
		return nil, err
	}
	size := part.Size
	if size <= 0 {
		size = len(group.Children)
	}
	if int(counted) != size {
		return nil, nil
	}
	err = errors.Join(b.Delete(ctx, driver.Group, []string{groupID}), b.cache.DeleteMany(ctx, []string{key}))
	return &celeryresults.ChordParts{Group: &group}, err
}

func (b *CacheBackend) chordKey(groupID string) (string, error) {
	if !b.counts {
		return "", fmt.Errorf("cachebackend: chords of django-celery-results' cache backend are not counted: %w", errors.ErrUnsupported)
	}
	return b.keys.Chord(groupID)
}
