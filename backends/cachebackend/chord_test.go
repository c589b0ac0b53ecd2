package cachebackend_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestChordCounters(t *testing.T) {
	server, err := memcached.Open(cache.Settings{Backend: "django.core.cache.backends.memcached.PyMemcacheCache", Location: []string{testserver.StartMemcached(t).Addr()}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, server.Close()) })
	memory, err := locmem.New("chords", nil)
	require.NoError(t, err)
	for name, store := range map[string]cache.Store{"memcached": server, "memory": memory} {
		t.Run(name, func(t *testing.T) {
			b, err := cachebackend.NewCelery(store, celeryresults.Settings{})
			require.NoError(t, err)
			group := celeryresults.ResultTuple{ID: "g"}
			for range 50 {
				group.Children = append(group.Children, celeryresults.ResultTuple{ID: "member"})
			}
			part := celeryresults.ChordPart{TaskID: "member", State: celeryresults.Success}
			require.NoError(t, b.CeleryChord("g").Start(t.Context(), group, 50))
			var last atomic.Int32
			var members sync.WaitGroup
			for range group.Children {
				members.Go(func() {
					parts, err := b.CeleryChord("g").Report(t.Context(), part)
					assert.NoError(t, err)
					if parts != nil {
						last.Add(1)
						assert.Equal(t, &group, parts.Group)
						assert.Len(t, parts.Members, 50)
					}
				})
			}
			members.Wait()
			assert.EqualValues(t, 1, last.Load())

			_, err = b.CeleryChord("g").Report(t.Context(), part)
			require.ErrorIs(t, err, celeryresults.ErrUnknownChord, "it is complete")
			_, err = b.CeleryChord("").Report(t.Context(), part)
			require.ErrorIs(t, err, celeryresults.ErrNoTaskID)
			require.NoError(t, b.SaveGroup(t.Context(), group))
			_, err = b.CeleryChord("g").Report(t.Context(), part)
			require.ErrorIs(t, err, celeryresults.ErrUnknownChord, "its counter is not there")

			require.NoError(t, b.CeleryChord("g").Start(t.Context(), group, 50))
			part.Size = 1 // as the message says
			parts, err := b.CeleryChord("g").Report(t.Context(), part)
			require.NoError(t, err)
			assert.NotNil(t, parts)
			require.ErrorIs(t, b.CeleryChord("g").Add(t.Context()), errors.ErrUnsupported)

			named, err := cache.New(store, cache.Settings{})
			require.NoError(t, err)
			b, err = cachebackend.New(named, celeryresults.Settings{})
			require.NoError(t, err)
			_, err = b.CeleryChord("g").Report(t.Context(), part)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorIs(t, b.CeleryChord("g").Start(t.Context(), group, 50), errors.ErrUnsupported)
		})
	}
}
