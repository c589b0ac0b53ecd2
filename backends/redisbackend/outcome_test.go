package redisbackend_test

import (
	"context"
	"fmt"
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

// proxied opens a backend that reaches its server through a proxy: over
// connections of its own, and over a client of the caller's.
func proxied(t *testing.T, test func(t *testing.T, server *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy)) {
	for name, open := range map[string]func(t *testing.T, addr string) *celeryresults.Backend{
		"opened":   func(t *testing.T, addr string) *celeryresults.Backend { return at(t, addr) },
		"a client": func(t *testing.T, addr string) *celeryresults.Backend { return leased(t, addr, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			server := testserver.StartRedis(t)
			proxy := testserver.StartProxy(t, server.Addr())
			b := open(t, proxy.Addr())
			store(t, b, inState("warm", celeryresults.Started))
			test(t, server, b, proxy)
		})
	}
}

func TestOutcomesOfStores(t *testing.T) {
	b := at(t, testserver.StartRedis(t).Addr())
	store(t, b, done("stands", 1))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, row := range map[string]struct {
		err  error
		want celeryresults.Outcome
	}{
		"stored":              {b.StoreResult(t.Context(), done("new", 1)), celeryresults.OutcomeStored},
		"refused":             {b.StoreResult(t.Context(), done("stands", 2)), celeryresults.OutcomeRefused},
		"a context over":      {b.StoreResult(over, done("over", 1)), celeryresults.OutcomeNotStored},
		"a deadline over":     {b.StoreResult(within(t, -time.Second), done("over", 1)), celeryresults.OutcomeNotStored},
		"a value of no sense": {b.StoreResult(t.Context(), done("over", make(chan int))), celeryresults.OutcomeNotStored},
		"no meta":             {b.StoreResult(t.Context(), nil), celeryresults.OutcomeNotStored},
		"no id":               {b.StoreResult(t.Context(), done("", 1)), celeryresults.OutcomeNotStored},
	} {
		assert.Equal(t, row.want, celeryresults.OutcomeOf(row.err), "%s: %v", name, row.err)
	}
	assert.True(t, get(t, b, "over").Unknown)
	require.NoError(t, b.Close())
	err := b.StoreResult(t.Context(), done("late", 1))
	require.ErrorIs(t, err, celeryresults.ErrClosed)
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
}

func TestAServerThatIsNotThereLeavesNothingStored(t *testing.T) {
	b := open(t, celeryresults.Settings{ResultBackend: "redis://127.0.0.1:1", ResultBackendMaxRetries: 3})
	began := time.Now()
	err := b.StoreResult(t.Context(), done("nowhere", 1))
	require.Error(t, err)
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	assert.Less(t, time.Since(began), 2*time.Second)
	_, err = at(t, "127.0.0.1:1").GetTaskMeta(within(t, 100*time.Millisecond), "nowhere")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAWrongPasswordIsNoReasonToWaitAndIsNotShown(t *testing.T) {
	server := testserver.StartRedis(t, "--requirepass", "s3cret")
	b := open(t, celeryresults.Settings{ResultBackend: "redis://:wr0ng@" + server.Addr()})
	began := time.Now()
	err := b.StoreResult(t.Context(), done("x", 1))
	require.ErrorContains(t, err, "WRONGPASS")
	assert.NotContains(t, err.Error(), "wr0ng")
	assert.Less(t, time.Since(began), time.Second)
	right := open(t, celeryresults.Settings{ResultBackend: "redis://:s3cret@" + server.Addr()})
	store(t, right, done("x", 1))
}

func TestAContextThatEndsWhileAServerHangsReturnsAtOnce(t *testing.T) {
	proxied(t, func(t *testing.T, _ *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy) {
		proxy.Hang(true)
		for _, cancelling := range []bool{false, true} {
			for name, operation := range map[string]func(ctx context.Context) error{
				"store":  func(ctx context.Context) error { return b.StoreResult(ctx, done("hangs", 1)) },
				"get":    func(ctx context.Context) error { _, err := b.GetTaskMeta(ctx, "hangs"); return err },
				"many":   func(ctx context.Context) error { _, err := b.GetMany(ctx, []string{"hangs", "warm"}); return err },
				"forget": func(ctx context.Context) error { return b.Forget(ctx, "hangs") },
				"group":  func(ctx context.Context) error { _, err := b.RestoreGroup(ctx, "hangs"); return err },
				"wait":   func(ctx context.Context) error { _, err := b.WaitFor(ctx, "hangs"); return err },
				"part": func(ctx context.Context) error {
					_, err := b.CeleryChord("g").Report(ctx, celeryresults.ChordPart{TaskID: "t", State: "SUCCESS"})
					return err
				},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				if cancelling {
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(100*time.Millisecond, cancel)
				}
				began := time.Now()
				err := operation(ctx)
				took := time.Since(began)
				require.ErrorIs(t, err, ctx.Err(), name)
				cancel()
				assert.Less(t, took, 150*time.Millisecond, name)
				if name == "store" {
					assert.Equal(t, celeryresults.OutcomeUnknown, celeryresults.OutcomeOf(err))
				}
			}
		}
		proxy.Cut()
		proxy.Hang(false)
		require.NoError(t, b.StoreResult(within(t, 20*time.Second), done("hangs", 1), celeryresults.Override), "it works again")
	})
}

func TestAStoreWithdrawnFromTheQueueNeverHappens(t *testing.T) {
	proxied(t, func(t *testing.T, server *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy) {
		everyone(8, func(i int) { assert.NoError(t, b.StoreResult(t.Context(), done(fmt.Sprint("warm-", i), 1))) })
		proxy.Hang(true)
		var busy sync.WaitGroup
		for _, id := range []string{"busy-1", "busy-2"} {
			busy.Go(func() { assert.NoError(t, b.StoreResult(t.Context(), done(id, 1))) })
		}
		time.Sleep(10 * time.Millisecond)
		busy.Go(func() { assert.NoError(t, b.StoreResult(t.Context(), done("queued", 1))) })
		raw := rawClient(t, server.Addr())
		var withdrawn [4]bool
		everyone(len(withdrawn), func(i int) {
			err := b.StoreResult(within(t, 40*time.Millisecond), done(fmt.Sprint("withdrawn-", i), 1))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			withdrawn[i] = celeryresults.OutcomeOf(err) == celeryresults.OutcomeNotStored
		})
		proxy.Hang(false)
		busy.Wait()
		for i, was := range withdrawn {
			if was { // not so when the test took so long that the queue went on
				assert.Zero(t, raw.Exists(t.Context(), taskKey(fmt.Sprint("withdrawn-", i))).Val())
			}
		}
		assert.Contains(t, withdrawn, true)
		assert.Equal(t, int64(3), raw.Exists(t.Context(), taskKey("busy-1"), taskKey("busy-2"), taskKey("queued")).Val())
	})
}

// TestAStoreWhoseAnswerIsLostFindsItself cuts the connection after the server has
// got a request.
func TestAStoreWhoseAnswerIsLostFindsItself(t *testing.T) {
	proxied(t, func(t *testing.T, _ *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy) {
		for _, state := range []celeryresults.State{celeryresults.Success, celeryresults.Failure, celeryresults.Started} {
			for _, over := range []bool{false, true} {
				meta := inState(fmt.Sprint("lost-", state, over), state)
				if over {
					store(t, b, inState(meta.TaskID, celeryresults.Received))
				}
				proxy.CutAfterRequest(1)
				require.NoError(t, b.StoreResult(t.Context(), meta), meta.TaskID)
				proxy.CutAfterRequest(0)
				assert.Equal(t, state, get(t, b, meta.TaskID).State)
				if state.Ready() {
					require.ErrorIs(t, b.StoreResult(t.Context(), inState(meta.TaskID, celeryresults.Started)), celeryresults.ErrRefused)
				}
			}
		}
	})
}

func TestChordsWhoseAnswersAreLostFireOnce(t *testing.T) {
	proxied(t, func(t *testing.T, _ *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy) {
		for cut := range 5 {
			id := fmt.Sprint("cut-", cut)
			require.NoError(t, b.StartChord(t.Context(), celeryresults.Chord{ID: id, Members: []string{"a", "b"}}))
			calls := 0
			body := func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error { calls++; return nil }
			require.NoError(t, b.ReportPart(t.Context(), id, "a", body))
			proxy.CutAfterRequest(cut + 1)
			require.NoError(t, b.ReportPart(t.Context(), id, "b", body))
			proxy.CutAfterRequest(0)
			assert.Equal(t, 1, calls)

			require.NoError(t, b.CeleryChord(id).Start(t.Context(), celeryresults.ResultTuple{}, 2))
			part := celeryresults.ChordPart{TaskID: "a", State: celeryresults.Success}
			_, err := b.CeleryChord(id).Report(t.Context(), part)
			require.NoError(t, err)
			part.TaskID = "b"
			proxy.CutAfterRequest(cut + 1)
			complete, err := b.CeleryChord(id).Report(t.Context(), part)
			proxy.CutAfterRequest(0)
			require.NoError(t, err)
			require.NotNil(t, complete)
			assert.Len(t, complete.Members, 2)
		}
	})
}

func TestNothingIsLostWhenConnectionsBreak(t *testing.T) {
	proxied(t, func(t *testing.T, server *testserver.Server, b *celeryresults.Backend, proxy *testserver.Proxy) {
		stop := make(chan struct{})
		var cuts sync.WaitGroup
		cuts.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					proxy.Cut()
				}
			}
		})
		everyone(16, func(i int) {
			for n := range 100 {
				id := fmt.Sprintf("%d-%d", i, n)
				assert.NoError(t, b.StoreResult(within(t, time.Minute), done(id, id)))
				meta, err := b.GetTaskMeta(within(t, time.Minute), id)
				if assert.NoError(t, err) {
					got, _ := celeryresults.As[string](meta.Result)
					assert.Equal(t, id, got)
				}
			}
		})
		close(stop)
		cuts.Wait()
		n, err := rawClient(t, server.Addr()).DBSize(t.Context()).Result()
		require.NoError(t, err)
		assert.Equal(t, int64(1+16*100), n)
	})
}

// TestWhatWasStoredSurvivesRestarts restarts a server that writes everything to
// its file during 20 000 stores.
func TestWhatWasStoredSurvivesRestarts(t *testing.T) {
	server := testserver.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	b := at(t, server.Addr())
	const n = 20_000
	var next, stored atomic.Int64
	var restarts sync.WaitGroup
	restarts.Go(func() {
		for i := range int64(3) {
			for stored.Load() < (i+1)*n/4 {
				time.Sleep(time.Millisecond)
			}
			assert.NoError(t, server.Restart())
		}
	})
	everyone(32, func(int) {
		for i := next.Add(1); i <= n; i = next.Add(1) {
			if assert.NoError(t, b.StoreResult(t.Context(), done(fmt.Sprint("survivor-", i-1), i))) {
				stored.Add(1)
			}
		}
	})
	restarts.Wait()
	metas, err := b.GetMany(t.Context(), ids("survivor", n))
	require.NoError(t, err)
	lost := 0
	for _, meta := range metas {
		if meta.State != celeryresults.Success {
			lost++
		}
	}
	assert.Zero(t, lost)
	t.Logf("%d stored, %d lost", stored.Load(), lost)
}

func TestAFailoverOfASentinelsMaster(t *testing.T) {
	servers := testserver.StartSentinel(t, 1, 3)
	s := celeryresults.Settings{ResultBackend: "sentinel://" + strings.Join(servers.SentinelAddrs(), "/0;sentinel://") + "/0"}
	s.ResultBackendTransportOptions.Other = map[string]any{"master_name": servers.MasterName()}
	b := open(t, s)
	failover(t, b, func() { servers.KillMaster() })
}

func TestAFailoverInACluster(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	nodes.AddReplicas()
	b := open(t, celeryresults.Settings{ResultBackend: "redis+cluster://" + strings.Join(nodes.Addrs(), ",")})
	failover(t, b, func() { nodes.KillMaster(taskKey("failover-0")) })
}

// failover kills a master while results are stored and waited for.
func failover(t *testing.T, b *celeryresults.Backend, kill func()) {
	const n = 400
	store(t, b, done("warm", 1))
	time.Sleep(1200 * time.Millisecond) // replicas get the stream with their first acknowledgement
	var all sync.WaitGroup
	for _, id := range ids("failover", n) {
		all.Go(func() { wait(t, b, id, time.Minute) })
	}
	all.Go(func() {
		time.Sleep(50 * time.Millisecond)
		kill()
	})
	everyone(8, func(i int) {
		for j := i; j < n; j += 8 {
			id := fmt.Sprint("failover-", j)
			assert.NoError(t, b.StoreResult(within(t, time.Minute), done(id, id)))
			time.Sleep(5 * time.Millisecond)
		}
	})
	time.Sleep(time.Second)
	// What was acknowledged and not yet replicated is gone with the master: these
	// are stored again, as their writers would.
	metas, err := b.GetMany(within(t, 20*time.Second), ids("failover", n))
	require.NoError(t, err)
	lost := 0
	for i, meta := range metas {
		if meta.Unknown {
			lost++
			id := fmt.Sprint("failover-", i)
			store(t, b, done(id, id))
		}
	}
	all.Wait()
	t.Logf("%d of %d were lost in Redis' own replication", lost, n)
}

func TestTheCallersClientStaysOpen(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t)})
	defer client.Close()
	b, err := redisbackend.New(client, celeryresults.Settings{}, redisbackend.Options{})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.NoError(t, client.Ping(t.Context()).Err())
}

func TestARingIsStoredToAndWaitedFor(t *testing.T) {
	shards := map[string]string{}
	for _, name := range []string{"a", "b"} {
		shards[name] = testserver.StartRedis(t).Addr()
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: shards})
	defer ring.Close()
	b, err := redisbackend.New(ring, celeryresults.Settings{}, redisbackend.Options{})
	require.NoError(t, err)
	defer b.Close()
	var all sync.WaitGroup
	for _, id := range ids("ring", 200) {
		all.Go(func() { wait(t, b, id, time.Minute) })
	}
	everyone(200, func(i int) {
		id := fmt.Sprint("ring-", i)
		assert.NoError(t, b.StoreResult(t.Context(), done(id, id)))
		assert.ErrorIs(t, b.StoreResult(t.Context(), inState(id, celeryresults.Started)), celeryresults.ErrRefused)
	})
	all.Wait()
	for name, addr := range shards {
		assert.Positive(t, rawClient(t, addr).DBSize(t.Context()).Val(), name)
	}
	require.NoError(t, b.Forget(t.Context(), ids("ring", 200)...))
	metas, err := b.GetMany(t.Context(), ids("ring", 200))
	require.NoError(t, err)
	for _, meta := range metas {
		assert.True(t, meta.Unknown)
	}
}
