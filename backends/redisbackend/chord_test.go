package redisbackend_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// leased opens a backend whose chord claims are short.
func leased(t testing.TB, addr string, lease time.Duration) *celeryresults.Backend {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	b, err := redisbackend.New(client, celeryresults.Settings{}, redisbackend.Options{ChordLease: lease})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		_ = client.Close()
	})
	return b
}

var errDeath = errors.New("the process has died")

// fired counts how often the body of each chord was handed over.
type fired struct {
	mu    sync.Mutex
	count map[string]int
}

func (f *fired) add(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count[id]++
}

// TestChordsFireExactlyOnce has 500 chords with 20 members, each reported one to
// three times in any order by 16 workers, of which some die with the claim.
func TestChordsFireExactlyOnce(t *testing.T) {
	const chords, members, workers = 500, 20, 16
	server := testserver.StartRedis(t)
	raw, b := rawClient(t, server.Addr()), leased(t, server.Addr(), 300*time.Millisecond)
	var reports [][2]string
	for c := range chords {
		chord := celeryresults.Chord{ID: fmt.Sprint("chord-", c), Members: ids(fmt.Sprint("member-", c), members), Body: celeryresults.NewValue(c)}
		require.NoError(t, b.StartChord(t.Context(), chord))
		require.NoError(t, b.StartChord(t.Context(), chord), "it stands")
		for _, id := range chord.Members {
			store(t, b, done(id, id))
			for range 1 + rand.IntN(3) {
				reports = append(reports, [2]string{chord.ID, id})
			}
		}
	}
	rand.Shuffle(len(reports), func(i, j int) { reports[i], reports[j] = reports[j], reports[i] })
	f := fired{count: map[string]int{}}
	var deaths atomic.Int64
	body := func(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
		if rand.IntN(3) == 0 {
			deaths.Add(1)
			panic(errDeath)
		}
		f.add(chord.ID)
		number, err := celeryresults.As[int](chord.Body)
		assert.NoError(t, err)
		assert.Equal(t, chord.ID, fmt.Sprint("chord-", number))
		assert.Equal(t, ids(fmt.Sprint("member-", number), members), chord.Members)
		for i, result := range results {
			got, err := celeryresults.As[string](result.Result)
			assert.NoError(t, err)
			assert.Equal(t, chord.Members[i], got)
		}
		return nil
	}
	everyone(workers, func(w int) {
		for i := w; i < len(reports); i += workers {
			mayDie(t, func() { assert.NoError(t, b.ReportPart(t.Context(), reports[i][0], reports[i][1], body)) })
		}
	})
	require.Eventually(t, func() bool {
		everyone(4, func(int) {
			mayDie(t, func() {
				_, err := b.SweepChords(t.Context(), body)
				assert.NoError(t, err)
			})
		})
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.count) == chords
	}, 30*time.Second, 50*time.Millisecond)
	for id, n := range f.count {
		assert.Equal(t, 1, n, id)
	}
	left, err := raw.Keys(t.Context(), "celery-chord-*").Result()
	require.NoError(t, err)
	assert.Len(t, left, chords, "a mark of each")
	for _, key := range left {
		assert.Equal(t, map[string]string{"done": "1"}, raw.HGetAll(t.Context(), key).Val())
		assert.Positive(t, raw.TTL(t.Context(), key).Val())
	}
	t.Logf("%d chords, %d reports, %d deaths", chords, len(reports), deaths.Load())
}

// mayDie runs what may die with a claim, which then is neither confirmed nor given
// back.
func mayDie(t *testing.T, f func()) {
	defer func() {
		if died := recover(); died != nil {
			assert.Equal(t, errDeath, died)
		}
	}()
	f()
}

func TestABodyThatFailsIsLeftForTheNextSweep(t *testing.T) {
	b := at(t, testserver.StartRedis(t).Addr())
	require.NoError(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "fails", Members: []string{"a"}}))
	no := errors.New("no broker")
	refuse := func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error { return no }
	require.ErrorIs(t, b.ReportPart(t.Context(), "fails", "a", refuse), no)
	n, err := b.SweepChords(t.Context(), refuse)
	require.ErrorIs(t, err, no)
	assert.Zero(t, n)
	n, err = b.SweepChords(t.Context(), func(_ context.Context, _ celeryresults.Chord, results []*celeryresults.TaskMeta) error {
		assert.True(t, results[0].Unknown)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 1, n)
	n, err = b.SweepChords(t.Context(), refuse)
	require.NoError(t, err)
	assert.Zero(t, n)
	require.NoError(t, b.ReportPart(t.Context(), "fails", "a", refuse), "it is gone")
}

func TestAClaimIsKeptWhileItsBodyIsHandedOver(t *testing.T) {
	b := leased(t, testserver.StartRedis(t).Addr(), 200*time.Millisecond)
	require.NoError(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "slow", Members: []string{"a"}}))
	var calls atomic.Int64
	slow := func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error {
		calls.Add(1)
		time.Sleep(time.Second)
		return nil
	}
	var reporting sync.WaitGroup
	reporting.Go(func() { assert.NoError(t, b.ReportPart(t.Context(), "slow", "a", slow)) })
	for range 30 {
		time.Sleep(30 * time.Millisecond)
		n, err := b.SweepChords(t.Context(), slow)
		require.NoError(t, err)
		require.Zero(t, n)
	}
	reporting.Wait()
	assert.Equal(t, int64(1), calls.Load())
}

func TestChordsExpireAndAreDeleted(t *testing.T) {
	addr := testserver.StartRedis(t).Addr()
	raw := rawClient(t, addr)
	b := open(t, celeryresults.Settings{ResultBackend: "redis://" + addr, ResultExpires: time.Hour})
	no := func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error { return errDeath }
	require.NoError(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "expires", Members: []string{"a", "b"}}))
	require.NoError(t, b.ReportPart(t.Context(), "expires", "a", no))
	require.NoError(t, b.ReportPart(t.Context(), "expires", "stranger", no))
	require.NoError(t, b.ReportPart(t.Context(), "unknown", "a", no))
	require.ErrorIs(t, b.ReportPart(t.Context(), "expires", "b", no), errDeath)
	keys, err := raw.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 2)
	for _, key := range keys {
		assert.Equal(t, time.Hour, raw.TTL(t.Context(), key).Val().Round(time.Minute), key)
	}
	require.NoError(t, b.DeleteChord(t.Context(), "expires"))
	require.NoError(t, b.DeleteChord(t.Context(), "expires"))
	keys, err = raw.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	assert.Empty(t, keys)
	n, err := b.SweepChords(t.Context(), no)
	require.NoError(t, err)
	assert.Zero(t, n)
}

func TestChordsNeedMembersAndIDs(t *testing.T) {
	b := at(t, testserver.Redis(t))
	require.ErrorIs(t, b.StartChord(t.Context(), celeryresults.Chord{Members: []string{"a"}}), celeryresults.ErrNoTaskID)
	require.Error(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "c"}))
	require.ErrorContains(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "c", Members: []string{"a", "a"}}), "twice")
	require.ErrorIs(t, b.StartChord(t.Context(), celeryresults.Chord{ID: "c", Members: []string{"a", ""}}), celeryresults.ErrNoTaskID)
}

func TestChordsInACluster(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	b := open(t, celeryresults.Settings{ResultBackend: "redis+cluster://" + strings.Join(nodes.Addrs(), ",")})
	for _, odd := range []string{"plain", "{tag}", "}{", "a}b"} {
		var calls int
		body := func(_ context.Context, chord celeryresults.Chord, results []*celeryresults.TaskMeta) error {
			calls++
			assert.Len(t, results, 3)
			return nil
		}
		chord := celeryresults.Chord{ID: odd, Members: ids(odd, 3)}
		require.NoError(t, b.StartChord(t.Context(), chord))
		for _, id := range chord.Members {
			require.NoError(t, b.ReportPart(t.Context(), odd, id, body))
		}
		assert.Equal(t, 1, calls, odd)
		require.NoError(t, b.CeleryChord(odd).Start(t.Context(), celeryresults.ResultTuple{}, 1))
		complete, err := b.CeleryChord(odd).Report(t.Context(), celeryresults.ChordPart{TaskID: "a", State: celeryresults.Success})
		require.NoError(t, err)
		require.NotNil(t, complete)
	}
	n, err := b.SweepChords(t.Context(), nil)
	require.NoError(t, err)
	assert.Zero(t, n)
}
