package dbbackend_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// onEachServer runs a test on the databases that have a network in between, with
// a backend that reaches its server through a proxy.
func onEachServer(t *testing.T, test func(t *testing.T, b base, backend *celeryresults.Backend, proxy *testserver.Proxy)) {
	for _, engine := range engines[1:] {
		t.Run(engine.dialect.Name(), func(t *testing.T) {
			t.Parallel()
			direct := openBase(t, engine.fresh(t))
			direct.migrate(t, dbbackend.MigrateOptions{})
			u := parse(t, direct.database.URL)
			proxy := testserver.StartProxy(t, u.Host)
			u.Host = proxy.Addr()
			through := direct
			through.database = cache.Database{URL: u.String()}
			backend := through.open(t)
			store(t, backend, inState("warm", celeryresults.Started))
			test(t, direct, backend, proxy)
		})
	}
}

func TestOutcomesOfStores(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		store(t, backend, done("stands", 1))
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for name, row := range map[string]struct {
			err  error
			want celeryresults.Outcome
		}{
			"stored":              {backend.StoreResult(t.Context(), done("new", 1)), celeryresults.OutcomeStored},
			"refused":             {backend.StoreResult(t.Context(), done("stands", 2)), celeryresults.OutcomeRefused},
			"a context over":      {backend.StoreResult(over, done("over", 1)), celeryresults.OutcomeNotStored},
			"a deadline over":     {backend.StoreResult(within(t, -time.Second), done("over", 1)), celeryresults.OutcomeNotStored},
			"a value of no sense": {backend.StoreResult(t.Context(), done("over", make(chan int))), celeryresults.OutcomeNotStored},
			"no meta":             {backend.StoreResult(t.Context(), nil), celeryresults.OutcomeNotStored},
			"no id":               {backend.StoreResult(t.Context(), done("", 1)), celeryresults.OutcomeNotStored},
		} {
			assert.Equal(t, row.want, celeryresults.OutcomeOf(row.err), "%s: %v", name, row.err)
		}
		assert.True(t, get(t, backend, "over").Unknown)
		require.NoError(t, backend.Close())
		err := backend.StoreResult(t.Context(), done("late", 1))
		require.ErrorIs(t, err, celeryresults.ErrClosed)
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	})
}

func TestWithoutTablesNothingWorksAndTheErrorSaysWhy(t *testing.T) {
	onEachEmpty(t, "empty", func(t *testing.T, b base) {
		backend := b.open(t)
		err := backend.StoreResult(t.Context(), done("id", 1))
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		_, err = backend.GetTaskMeta(t.Context(), "id")
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		_, err = backend.List(t.Context(), celeryresults.Query{})
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		_, err = backend.Cleanup(t.Context())
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		missing, err := storeOf(t, backend).MissingColumns(t.Context())
		require.NoError(t, err)
		assert.Contains(t, missing, resultschema.GroupTable)

		b.migrate(t, dbbackend.MigrateOptions{})
		store(t, backend, done("id", 1))
		missing, err = storeOf(t, backend).MissingColumns(t.Context())
		require.NoError(t, err)
		assert.Empty(t, missing)
		b.exec(t, `DROP TABLE `+resultschema.TaskTable)
		require.ErrorIs(t, backend.StoreResult(t.Context(), done("id", 1)), celeryresults.ErrNoTable)
	})
}

func TestAContextThatEndsWhileAStatementHangsLeavesTheOutcomeUnknown(t *testing.T) {
	onEachServer(t, func(t *testing.T, _ base, backend *celeryresults.Backend, proxy *testserver.Proxy) {
		proxy.Hang(true)
		for _, cancelling := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			if cancelling {
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(200*time.Millisecond, cancel)
			}
			started := time.Now()
			err := backend.StoreResult(ctx, done("hangs", 1))
			cancel()
			assert.Less(t, time.Since(started), 2*time.Second)
			require.ErrorIs(t, err, ctx.Err())
			var failed *celeryresults.StoreError
			require.ErrorAs(t, err, &failed)
			want := celeryresults.OutcomeUnknown
			if cancelling { // the first end closed the connection, and no other one can be made
				want = celeryresults.OutcomeNotStored
			}
			assert.Equal(t, want, failed.Outcome)
			assert.Equal(t, "hangs", failed.TaskID)
		}
		proxy.Cut()
		proxy.Hang(false)
		require.NoError(t, backend.StoreResult(t.Context(), done("hangs", 1), celeryresults.Override), "it works again")
	})
}

func TestAStoreWithdrawnFromTheQueueNeverHappens(t *testing.T) {
	onEachServer(t, func(t *testing.T, b base, backend *celeryresults.Backend, proxy *testserver.Proxy) {
		everyone(8, func(i int) { // opens connections
			assert.NoError(t, backend.StoreResult(t.Context(), done(fmt.Sprint("warm-", i), 1)))
		})
		proxy.Hang(true)
		var busy sync.WaitGroup
		for _, id := range []string{"busy-1", "busy-2"} {
			busy.Go(func() { assert.NoError(t, backend.StoreResult(t.Context(), done(id, 1))) })
		}
		time.Sleep(100 * time.Millisecond)
		busy.Go(func() { assert.NoError(t, backend.StoreResult(t.Context(), done("queued", 1))) })
		everyone(4, func(i int) {
			err := backend.StoreResult(within(t, 200*time.Millisecond), done(fmt.Sprint("withdrawn-", i), 1))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		})
		proxy.Hang(false)
		busy.Wait()
		assert.Equal(t, 0, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable+` WHERE task_id LIKE 'withdrawn%'`))
		assert.Equal(t, 3, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable+` WHERE task_id IN ('busy-1', 'busy-2', 'queued')`))
	})
}

// TestALockedFileIsWaitedForAndGivenUp is about SQLite, where a lock is what
// hangs: nothing happens until it is gone.
func TestALockedFileIsWaitedForAndGivenUp(t *testing.T) {
	b := openBase(t, engines[0].fresh(t))
	b.migrate(t, dbbackend.MigrateOptions{})
	backend := b.open(t)
	store(t, backend, done("warm", 1))
	tx, err := b.db.BeginTx(t.Context(), nil) // immediate
	require.NoError(t, err)
	err = backend.StoreResult(within(t, 200*time.Millisecond), done("alone", 1))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
	var waiting sync.WaitGroup
	waiting.Go(func() { assert.NoError(t, backend.StoreResult(t.Context(), done("waits", 1))) })
	told := make([]error, 4)
	everyone(len(told), func(i int) {
		told[i] = backend.StoreResult(within(t, 200*time.Millisecond), done(fmt.Sprint("left-", i), 1))
	})
	assert.Equal(t, celeryresults.Success, get(t, backend, "warm").State, "readers do not wait")
	assert.True(t, get(t, backend, "alone").Unknown)
	require.NoError(t, tx.Rollback())
	waiting.Wait()
	store(t, backend, done("next", 1)) // behind all that was under way
	for i, err := range told {
		require.ErrorIs(t, err, context.DeadlineExceeded)
		unknown := celeryresults.OutcomeOf(err) == celeryresults.OutcomeUnknown // it was left while the database had it
		assert.True(t, unknown || get(t, backend, fmt.Sprint("left-", i)).Unknown, "%v", err)
	}
	assert.True(t, get(t, backend, "alone").Unknown)
	assert.Equal(t, celeryresults.Success, get(t, backend, "waits").State)
}

func TestAStoreWhoseAnswerIsLostFindsItself(t *testing.T) {
	onEachServer(t, func(t *testing.T, b base, backend *celeryresults.Backend, proxy *testserver.Proxy) {
		stored := 0
		for requests := 1; requests <= 4; requests++ {
			for _, labelled := range []bool{false, true} {
				for _, over := range []bool{false, true} {
					meta := done(fmt.Sprint("lost-", requests, labelled, over), 1)
					if labelled {
						meta.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme"})
					}
					if over {
						store(t, backend, inState(meta.TaskID, celeryresults.Started))
					}
					proxy.CutAfterRequest(requests)
					require.NoError(t, backend.StoreResult(t.Context(), meta), meta.TaskID)
					proxy.CutAfterRequest(0)
					assert.Equal(t, celeryresults.Success, get(t, backend, meta.TaskID).State)
					stored++
				}
			}
		}
		assert.Equal(t, stored, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable+` WHERE status = 'SUCCESS'`))
	})
}

func TestNothingIsLostWhenConnectionsBreak(t *testing.T) {
	onEachServer(t, func(t *testing.T, b base, backend *celeryresults.Backend, proxy *testserver.Proxy) {
		done1 := make(chan struct{})
		var cuts sync.WaitGroup
		cuts.Go(func() {
			for {
				select {
				case <-done1:
					return
				case <-time.After(30 * time.Millisecond):
					proxy.Cut()
				}
			}
		})
		everyone(16, func(i int) {
			for n := range 25 {
				id := fmt.Sprintf("%d-%d", i, n)
				assert.NoError(t, backend.StoreResult(within(t, time.Minute), done(id, n)))
				meta, err := backend.GetTaskMeta(within(t, time.Minute), id)
				assert.NoError(t, err)
				assert.Equal(t, celeryresults.Success, meta.State)
			}
		})
		close(done1)
		cuts.Wait()
		assert.Equal(t, 16*25, b.count(t, `SELECT COUNT(*) FROM `+resultschema.TaskTable+` WHERE status = 'SUCCESS'`))
	})
}

// TestAValueOverTheServersLimitFailsAlone needs a server with a low one.
func TestAValueOverTheServersLimitFailsAlone(t *testing.T) {
	server := testserver.StartMySQL(t, "--max-allowed-packet=1M")
	b := openBase(t, cache.Database{URL: server.URL()})
	require.Equal(t, sqldialect.MySQL, b.dialect)
	b.migrate(t, dbbackend.MigrateOptions{})
	backend := b.open(t)
	big := string(make([]byte, 2<<20))
	var errs [16]error
	everyone(len(errs), func(i int) {
		meta := done(fmt.Sprint("id-", i), i)
		switch i {
		case 3:
			meta.Result = celeryresults.NewValue(big)
		case 4:
			meta.State, meta.Result = celeryresults.Failure, celeryresults.NewValue(&celeryresults.TaskError{Type: "ValueError", Args: []any{big}})
		}
		errs[i] = backend.StoreResult(t.Context(), meta)
	})
	for i, err := range errs {
		if i == 3 {
			require.ErrorIs(t, err, cache.ErrTooLarge)
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
			continue
		}
		require.NoError(t, err, i)
	}
	assert.Less(t, len(get(t, backend, "id-4").Err().Error()), 3000)
}
