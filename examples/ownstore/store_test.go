package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/driver/drivertest"
)

func openTest(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	store, err := OpenStore(filepath.Join(t.TempDir(), "results.bolt"))
	require.NoError(t, err)
	store.db.NoSync = true // nothing of it is to outlive the machine
	b, err := backends.New(store, s)
	require.NoError(t, err)
	return b
}

func storeOf(t *testing.T, b *celeryresults.Backend) *Store {
	t.Helper()
	store, ok := b.Driver().(*Store)
	require.True(t, ok)
	return store
}

func TestSuite(t *testing.T) {
	drivertest.Run(t, drivertest.Harness{
		Open: openTest,
		Raw: func(t *testing.T, b *celeryresults.Backend, id string) []byte {
			records := []driver.Record{{ID: id}}
			require.NoError(t, storeOf(t, b).Get(t.Context(), driver.Task, records, 0))
			return records[0].Document
		},
		Break: func(t *testing.T, b *celeryresults.Backend, id string) {
			require.NoError(t, storeOf(t, b).db.Update(func(tx *bbolt.Tx) error {
				return tx.Bucket(bucket).Put(keyOf(driver.Task, id), append(until(time.Hour), "no document"...))
			}))
		},
		ShortestExpiry: 100 * time.Millisecond,
	})
}

func TestResultsOutliveTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.bolt")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), file, &out))
	assert.Equal(t, `sum: 5
late: celeryresults: store PROGRESS of task "d7f6" refused: SUCCESS stands
in the file: d7f6 shop.add SUCCESS
`, out.String())
	app, err := open(file)
	require.NoError(t, err)
	sum, err := celeryresults.Get[int](t.Context(), app.AsyncResult("d7f6"))
	require.NoError(t, err)
	assert.Equal(t, 5, sum)
	_, err = OpenStore(file)
	require.ErrorIs(t, err, bolterrors.ErrTimeout, "one process has it")
	require.NoError(t, app.Close())
}

func TestCleanup(t *testing.T) {
	b := openTest(t, celeryresults.Settings{ResultExpires: 50 * time.Millisecond})
	defer b.Close()
	for i := range atOnce + 10 {
		require.NoError(t, b.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: fmt.Sprint(i), State: celeryresults.Success}))
	}
	require.NoError(t, b.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
	time.Sleep(50 * time.Millisecond)
	removed, err := b.Cleanup(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(atOnce+10), removed)
	require.NoError(t, storeOf(t, b).db.View(func(tx *bbolt.Tx) error {
		key, _ := tx.Bucket(bucket).Cursor().First()
		assert.Nil(t, key)
		return nil
	}))
}

func TestAPutWhoseContextIsOverStoresNothing(t *testing.T) {
	b := openTest(t, celeryresults.Settings{})
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &driver.Write{Kind: driver.Task, ID: "one", Power: driver.Anything, Document: []byte("{}"), TTL: driver.Never}
	storeOf(t, b).Put(ctx, []*driver.Write{w})
	assert.Equal(t, driver.NotStored, w.Answer.Outcome)
	require.ErrorIs(t, w.Answer.Err, context.Canceled)
	meta, err := b.GetTaskMeta(t.Context(), "one")
	require.NoError(t, err)
	assert.True(t, meta.Unknown)
}

// TestThePageShowsThisCode finds every line of Go on the page in this program.
func TestThePageShowsThisCode(t *testing.T) {
	page, err := os.ReadFile("../../docs/howto/ownstore.md")
	require.NoError(t, err)
	var source strings.Builder
	for _, file := range []string{"store.go", "main.go", "store_test.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		source.Write(text)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		for part := range strings.SplitSeq(block[1], "\n\n") {
			assert.Contains(t, source.String(), strings.TrimSpace(part))
		}
	}
}
