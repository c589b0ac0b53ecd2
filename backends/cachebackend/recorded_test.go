package cachebackend_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

// record is one line of a recording of a real store.
type record struct {
	Backend string          `json:"backend"`
	Case    string          `json:"case"`
	TaskID  string          `json:"task_id"`
	GroupID string          `json:"group_id"`
	Canon   json.RawMessage `json:"canon"`
	Tuple   json.RawMessage `json:"tuple"`
	Store   struct {
		Key      string `json:"key"`
		CacheKey string `json:"cache_key"`
		Value    []byte `json:"value"`
		Flags    int    `json:"flags"`
	} `json:"store"`
}

func recordings(t *testing.T, pattern string) map[string][]record {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "driver", "drivertest", "testdata", "recorded", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	all := map[string][]record{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(data) {
			var r record
			require.NoError(t, json.Unmarshal(line, &r))
			if r.Case != "" {
				name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
				all[name] = append(all[name], r)
			}
		}
	}
	return all
}

// keyOf returns the stored key and its prefix and version.
func (r record) keyOf() (whole, prefix string, version int) {
	whole = r.Store.Key + r.Store.CacheKey
	switch prefix, _, _ = strings.Cut(whole, ":"); prefix {
	case "pylib":
		return whole, prefix, 2
	default:
		return whole, prefix, 1
	}
}

func newStore(t *testing.T) cache.Store {
	t.Helper()
	store, err := locmem.New(t.Name(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// djangoBackend returns a backend over an in-process store that holds the
// record's bytes under the record's key.
func djangoBackend(t *testing.T, r record) (*celeryresults.Backend, *cache.Cache) {
	t.Helper()
	whole, prefix, version := r.keyOf()
	store := newStore(t)
	require.NoError(t, store.Set(t.Context(), whole, cache.Item{Value: r.Store.Value, Format: cache.Pickled}, cache.Never))
	c, err := cache.New(store, cache.Settings{KeyPrefix: prefix, Version: version})
	require.NoError(t, err)
	b, err := cachebackend.New(c, celeryresults.Settings{ResultExtended: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b, c
}

func TestDjangoCachesAreReadAsPythonReadsThem(t *testing.T) {
	for name, records := range recordings(t, "django-cache-*.jsonl") {
		t.Run(name, func(t *testing.T) {
			for _, r := range records {
				t.Run(r.Case, func(t *testing.T) {
					b, c := djangoBackend(t, r)
					checkRead(t, r, b)
					checkRewrite(t, r, b, c)
				})
			}
			t.Logf("%s: %d records equal", name, len(records))
		})
	}
}

func checkRead(t *testing.T, r record, b *celeryresults.Backend) {
	t.Helper()
	if r.GroupID != "" && r.TaskID == "" {
		group, err := b.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		got, err := json.Marshal(group)
		require.NoError(t, err)
		assert.JSONEq(t, string(r.Tuple), string(got))
		return
	}
	meta, err := b.GetTaskMeta(t.Context(), r.TaskID)
	require.NoError(t, err)
	checkCanon(t, r, meta)
}

// checkCanon compares with canon, exactly: numbers by their digits.
func checkCanon(t *testing.T, r record, meta *celeryresults.TaskMeta) {
	t.Helper()
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	got, want := exact(t, printed), exact(t, r.Canon)
	if r.Case == "unserializable-failure" {
		dropAddress(got)
		dropAddress(want)
	}
	assert.Equal(t, want, got)
}

func exact(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}

// dropAddress removes what depends on where CPython put an object.
func dropAddress(doc map[string]any) {
	delete(doc["result"].(map[string]any), "exc_message")
}

// checkRewrite stores what was read and reads it again.
func checkRewrite(t *testing.T, r record, b *celeryresults.Backend, c *cache.Cache) {
	t.Helper()
	if r.TaskID == "" {
		group, err := b.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		require.NoError(t, b.SaveGroup(t.Context(), group))
		checkRead(t, r, b)
		return
	}
	meta, err := b.GetTaskMeta(t.Context(), r.TaskID)
	require.NoError(t, err)
	require.NoError(t, c.DeleteMany(t.Context(), []string{"celery-task-meta-" + r.TaskID}))
	plain, err := cachebackend.New(c, celeryresults.Settings{})
	require.NoError(t, err)
	require.NoError(t, plain.StoreResult(t.Context(), meta))
	checkRead(t, r, b)
}

// TestCelerysMemcachedBackendIsReadAndWrittenByteByByte covers Celery's own
// layout: JSON documents are deterministic.
func TestCelerysMemcachedBackendIsReadAndWrittenByteByByte(t *testing.T) {
	for name, records := range recordings(t, "memcached-json.jsonl") {
		for _, r := range records {
			t.Run(r.Case, func(t *testing.T) {
				require.Equal(t, 16, r.Store.Flags)
				store := newStore(t)
				item := cache.Item{Value: r.Store.Value, Format: cache.Text}
				require.NoError(t, store.Set(t.Context(), r.Store.Key, item, cache.Never))
				b, err := cachebackend.NewCelery(store, celeryresults.Settings{})
				require.NoError(t, err)
				checkRead(t, r, b)
				rewriteCelery(t, r, b, store)
			})
		}
		t.Logf("%s: %d records equal", name, len(records))
	}
}

func rewriteCelery(t *testing.T, r record, b *celeryresults.Backend, store cache.Store) {
	t.Helper()
	if r.TaskID == "" {
		group, err := b.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		require.NoError(t, b.SaveGroup(t.Context(), group))
	} else {
		meta, err := b.GetTaskMeta(t.Context(), r.TaskID)
		require.NoError(t, err)
		require.NoError(t, b.StoreResult(t.Context(), rebuilt(t, meta), celeryresults.Override))
	}
	item, err := store.Get(t.Context(), r.Store.Key)
	require.NoError(t, err)
	assert.Equal(t, string(r.Store.Value), string(item.Value))
	assert.Equal(t, cache.Text, item.Format)
}

// rebuilt returns the meta with its values decoded, so that writing encodes
// them anew.
func rebuilt(t *testing.T, meta *celeryresults.TaskMeta) *celeryresults.TaskMeta {
	t.Helper()
	again := *meta
	for _, v := range []*celeryresults.Value{&again.Args, &again.Kwargs} {
		tree, err := v.Any()
		require.NoError(t, err)
		if !oneKey(tree) {
			continue // a Go map has no order; the bytes that were read keep it
		}
		*v = celeryresults.NewValue(tree)
	}
	if meta.State.Exception() {
		again.Result = celeryresults.NewValue(meta.Err())
		return &again
	}
	tree, err := meta.Result.Any()
	require.NoError(t, err)
	if oneKey(tree) {
		again.Result = celeryresults.NewValue(tree)
	}
	return &again
}

// oneKey reports whether the order of a dict's keys can't matter.
func oneKey(tree any) bool {
	m, ok := tree.(map[string]any)
	return !ok || len(m) < 2
}
