package interop_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/caches"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// TestEveryKeyIsFoundOnItsServer stores keys in Django's caches over several
// memcached servers, half of them from each language, and finds all of them from the
// other.
func TestEveryKeyIsFoundOnItsServer(t *testing.T) {
	const keys = 10_000
	python := needPython(t, "requirements.txt")
	for _, c := range []struct {
		name, backend, distribution string
		behaviors                   map[string]any
	}{
		{"pymemcache", "django.core.cache.backends.memcached.PyMemcacheCache", "", nil},
		{"pylibmc", "django.core.cache.backends.memcached.PyLibMCCache", "", nil},
		{"pylibmc with ketama", "django.core.cache.backends.memcached.PyLibMCCache", "ketama", map[string]any{"ketama": true}},
		{"pylibmc with ketama, weighted", "django.core.cache.backends.memcached.PyLibMCCache", "ketama_weighted", map[string]any{"ketama_weighted": true}},
	} {
		for _, servers := range []int{3, 5} {
			t.Run(fmt.Sprintf("%s over %d", c.name, servers), func(t *testing.T) {
				t.Parallel()
				var locations []string
				for range servers {
					locations = append(locations, testserver.StartMemcached(t).Addr())
				}
				theirs := map[string]any{"BACKEND": c.backend, "LOCATION": locations}
				if c.behaviors != nil {
					theirs["OPTIONS"] = map[string]any{"behaviors": c.behaviors}
				}
				settings, err := json.Marshal(map[string]any{"CACHES": map[string]any{"default": theirs}})
				require.NoError(t, err)
				p := startWith(t, python, "sqlite:///:memory:", "SETTINGS="+string(settings))
				ours, err := caches.Open(cache.Settings{Backend: c.backend, Location: locations, Options: cache.Options{Distribution: c.distribution}}, nil)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, ours.Close()) })

				values := make(map[string]any, keys/2)
				for i := range keys / 2 {
					values["go-"+strconv.Itoa(i)] = i
				}
				require.NoError(t, ours.SetMany(t.Context(), values, 0))
				found := ask[int](t, p, "cache_count", arguments{"prefix": "go-", "n": keys / 2})
				assert.Equal(t, keys/2, found, "found by Python")

				p.do(t, "cache_fill", arguments{"prefix": "python-", "n": keys / 2})
				names := make([]string, keys/2)
				for i := range names {
					names[i] = "python-" + strconv.Itoa(i)
				}
				got, err := ours.GetMany(t.Context(), names)
				require.NoError(t, err)
				assert.Len(t, got, keys/2, "found by Go")
			})
		}
	}
}
