package dbbackend_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// What the django-db backend promises when connections and servers fail. Every
// server here belongs to one test and keeps what it has confirmed.

func TestPostgreSQLFaults(t *testing.T) {
	runFaults(t, newFaultServer(t, testserver.StartPostgres(t,
		"fsync=on", "synchronous_commit=on", "full_page_writes=on", "deadlock_timeout=300ms")))
}

func TestMariaDBFaults(t *testing.T) {
	runFaults(t, newFaultServer(t, testserver.StartMySQL(t, "--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1")))
}

func runFaults(t *testing.T, s *faultServer) {
	for _, fault := range []struct {
		name string
		test func(*testing.T, *faultServer)
	}{
		{"results that were confirmed survive restarts of the server", restartsLoseNothing},
		{"connections that are cut reach no caller and lose nothing", cutsReachNobody},
		{"sessions that an administrator ends reach no caller and lose nothing", terminationsReachNobody},
		{"a store whose confirmation was lost is stored once", lostConfirmationsAreFound},
		{"a store whose confirmation was lost is unknown when its context ends", lostConfirmationsAreUnknown},
		{"idle connections that were closed fail no call", closedConnectionsFailNobody},
		{"idle connections that timed out fail no call", timedOutConnectionsFailNobody},
		{"a server that is down ends no call before its context does", downServersAreWaitedFor},
		{"stores behind a server that hangs leave at once and know what became of them", hangingServersAreLeft},
		{"connections that never come to be are left at once", hangingConnectsAreLeft},
		{"connections that take too long are tried again", slowConnectsAreRepeated},
		{"deadlocks with other sessions lose nothing", deadlocksLoseNothing},
		{"a result that was stored before others had to wait too long is not refused", partsOfBatchesAreFound},
		{"serialization failures lose nothing", serializationFailuresLoseNothing},
		{"what fails at the commit is not confirmed", failedCommitsAreNotConfirmed},
		{"waits survive cuts and a restart", waitsSurvive},
	} {
		t.Run(fault.name, func(t *testing.T) { fault.test(t, s) })
	}
}

// inTime is what a call may take at most after its context has ended, however busy the
// machine is: less than anything that the call could wait for instead.
const inTime = 5 * time.Second

// faultServer is a database server that belongs to a test.
type faultServer struct {
	*testserver.Server
	dialect *sqldialect.Dialect
	admin   *sql.DB // keeps no connection
}

func newFaultServer(t *testing.T, server *testserver.Server) *faultServer {
	t.Helper()
	admin, dialect, err := sqldialect.Open(cache.Database{URL: server.URL()})
	require.NoError(t, err)
	admin.SetMaxOpenConns(0)
	admin.SetMaxIdleConns(0)
	t.Cleanup(func() { assert.NoError(t, admin.Close()) })
	_, err = dbbackend.Migrate(t.Context(), admin, dbbackend.MigrateOptions{})
	require.NoError(t, err)
	return &faultServer{server, dialect, admin}
}

func (s *faultServer) postgres() bool { return s.dialect == sqldialect.PostgreSQL }

// say returns what a statement is called in the server's own words.
func (s *faultServer) say(postgres, mysql string) string {
	if s.postgres() {
		return postgres
	}
	return mysql
}

// database returns the server as one at another address.
func (s *faultServer) database(t *testing.T, address string, options map[string]string) cache.Database {
	t.Helper()
	u, err := url.Parse(s.URL())
	require.NoError(t, err)
	u.Host = address
	return cache.Database{URL: u.String(), Options: options}
}

// open returns a backend with its own connections, by way of an address.
func (s *faultServer) open(t *testing.T, address string, options map[string]string) *celeryresults.Backend {
	t.Helper()
	b, err := dbbackend.Open(celeryresults.Settings{
		ResultBackend: "django-db",
		Databases:     map[string]cache.Database{"default": s.database(t, address, options)},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

// openUnconnected returns a backend that knows its tables and has no connection.
func (s *faultServer) openUnconnected(t *testing.T, address string, options map[string]string) *celeryresults.Backend {
	t.Helper()
	db, _, err := sqldialect.Open(s.database(t, address, options))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	b, err := dbbackend.New(db, celeryresults.Settings{}, dbbackend.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	_, err = b.GetTaskMeta(t.Context(), "unknown")
	require.NoError(t, err)
	db.SetMaxIdleConns(0)
	require.Zero(t, db.Stats().OpenConnections)
	return b
}

func (s *faultServer) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := s.admin.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

// text returns the only value of a query.
func (s *faultServer) text(t *testing.T, query string) string {
	t.Helper()
	var value sql.NullString
	require.NoError(t, s.admin.QueryRowContext(t.Context(), query).Scan(&value))
	return value.String
}

func (s *faultServer) rows(t *testing.T, id string) string {
	t.Helper()
	return s.text(t, `SELECT COUNT(*) FROM django_celery_results_taskresult WHERE task_id = '`+id+`'`)
}

const (
	postgresSessions = ` FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`
	mysqlSessions    = ` FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'celery'`
)

// terminate ends all sessions but its own.
func (s *faultServer) terminate(t *testing.T) {
	t.Helper()
	conn, err := s.admin.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	if s.postgres() {
		_, err = conn.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid)`+postgresSessions)
		require.NoError(t, err)
		return
	}
	var ids sql.NullString
	require.NoError(t, conn.QueryRowContext(t.Context(), `SELECT GROUP_CONCAT(id)`+mysqlSessions).Scan(&ids))
	for _, id := range strings.FieldsFunc(ids.String, func(r rune) bool { return r == ',' }) {
		_, _ = conn.ExecContext(t.Context(), `KILL `+id) // it may have gone by itself
	}
}

// awaitNoSessions waits until no session is left.
func (s *faultServer) awaitNoSessions(t *testing.T) {
	t.Helper()
	until(t, "no session is left", func() bool {
		return s.text(t, s.say(`SELECT COUNT(*)`+postgresSessions, `SELECT COUNT(*)`+mysqlSessions)) == "0"
	})
}

// status returns one of MySQL's counters. Its table of transactions would not
// change while somebody looks at it all the time.
func (s *faultServer) status(t *testing.T, name string) string {
	t.Helper()
	var value string
	require.NoError(t, s.admin.QueryRowContext(t.Context(), `SHOW GLOBAL STATUS LIKE '`+name+`'`).Scan(&name, &value))
	return value
}

const postgresBlocked = ` FROM pg_stat_activity WHERE wait_event_type = 'Lock'`

// awaitBlocked waits until a number of statements wait for locks.
func (s *faultServer) awaitBlocked(t *testing.T, count int) {
	t.Helper()
	until(t, fmt.Sprintf("%d statements wait for locks", count), func() bool {
		if s.postgres() {
			return s.text(t, `SELECT COUNT(*)`+postgresBlocked) == fmt.Sprint(count)
		}
		return s.status(t, "Innodb_row_lock_current_waits") == fmt.Sprint(count)
	})
}

// wait returns which wait for a lock is the latest, empty for none.
func (s *faultServer) wait(t *testing.T) string {
	t.Helper()
	if s.postgres() {
		return s.text(t, `SELECT MAX(pid || '-' || query_start)`+postgresBlocked)
	}
	return s.status(t, "Innodb_row_lock_waits")
}

// rival is a transaction of another session.
type rival struct {
	t  *testing.T
	tx *sql.Tx
}

func (s *faultServer) rival(t *testing.T) *rival {
	t.Helper()
	tx, err := s.admin.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted}) // it locks rows, and no gaps
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return &rival{t, tx}
}

func (r *rival) exec(statement string) {
	r.t.Helper()
	_, err := r.tx.ExecContext(r.t.Context(), statement)
	require.NoError(r.t, err)
}

// write changes and so locks the rows of tasks.
func (r *rival) write(ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		r.exec(lockStatement(id))
	}
}

func lockStatement(id string) string {
	return `UPDATE django_celery_results_taskresult SET periodic_task_name = 'rival' WHERE task_id = '` + id + `'`
}

func (r *rival) commit() {
	r.t.Helper()
	require.NoError(r.t, r.tx.Commit())
}

// until polls until a condition holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "it did not come to be: %s", what)
	}
}

// putting is a store that tells which writes have reached it.
type putting struct {
	*dbbackend.DatabaseBackend

	mu   sync.Mutex
	seen map[string]bool // ids; guarded by mu
}

// tellingPuts returns a backend over the store of another one.
func tellingPuts(t *testing.T, b *celeryresults.Backend) (*celeryresults.Backend, *putting) {
	t.Helper()
	p := &putting{DatabaseBackend: storeOf(t, b), seen: map[string]bool{}}
	telling, err := celeryresults.NewBackend(p, p, celeryresults.Settings{}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, telling.Close()) })
	return telling, p
}

// Put implements driver.Store.
func (p *putting) Put(ctx context.Context, writes []*driver.Write) {
	p.mu.Lock()
	for _, w := range writes {
		p.seen[w.ID] = true
	}
	p.mu.Unlock()
	p.DatabaseBackend.Put(ctx, writes)
}

func (p *putting) has(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[id]
}

func (p *putting) await(t *testing.T, id string) {
	t.Helper()
	until(t, "the store of "+id+" is under way", func() bool { return p.has(id) })
}

// queueing is a context that tells when somebody waits for its end, as the store of a
// caller does that has to wait for others.
type queueing struct {
	context.Context //nolint:containedctx // it is one

	queued chan struct{}
	once   sync.Once
}

// Done implements context.Context.
func (q *queueing) Done() <-chan struct{} {
	q.once.Do(func() { close(q.queued) })
	return q.Context.Done()
}

// newIDs returns a function that numbers tasks of one test.
func newIDs() func(n int) string {
	prefix := rand.Text()[:10]
	return func(n int) string { return fmt.Sprintf("%s-%d", prefix, n) }
}

func resultOf(id string, value int) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value)}
}

func startOf(id string) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Started}
}

// labelled adds what is stored in another table, in one transaction.
func labelled(meta *celeryresults.TaskMeta) *celeryresults.TaskMeta {
	meta.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme"})
	return meta
}

// is returns why a meta is not the result of a task, nil if it is.
func is(meta *celeryresults.TaskMeta, id string, value int) error {
	got, err := celeryresults.As[int](meta.Result)
	if err != nil || meta.TaskID != id || meta.State != celeryresults.Success || got != value {
		return fmt.Errorf("got task %s %s with value %d (error %w), want task %s SUCCESS with value %d", meta.TaskID, meta.State, got, err, id, value)
	}
	return nil
}

// reads returns why a backend does not read the result of a task.
func reads(ctx context.Context, b *celeryresults.Backend, id string, value int) error {
	meta, err := b.GetTaskMeta(ctx, id)
	if err != nil {
		return err
	}
	return is(meta, id, value)
}

// waits returns why a wait does not return the result of a task.
func waits(ctx context.Context, b *celeryresults.Backend, id string, value int) error {
	meta, err := celeryresults.NewAsyncResult(id, b).Wait(ctx)
	if err != nil {
		return err
	}
	return is(meta, id, value)
}

// store returns what became of a result that was to be stored within a time.
func storeWithin(t *testing.T, limit time.Duration, b *celeryresults.Backend, meta *celeryresults.TaskMeta) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return b.StoreResult(ctx, meta)
}

// plenty is a deadline that no fault of these tests outlasts.
const plenty = 30 * time.Second

func withPlenty(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), plenty)
	t.Cleanup(cancel)
	return ctx
}

// early is the lateness of a call that returned before its context had ended.
const early = -1

// lateness returns how long after the end of a context a call returned, as somebody sees
// it who only waits for that end.
func lateness(ctx context.Context, call func(context.Context)) time.Duration {
	ended := make(chan time.Time, 1)
	go func() {
		<-ctx.Done()
		ended <- time.Now()
	}()
	call(ctx)
	returned := time.Now()
	if deadline, timed := ctx.Deadline(); ctx.Err() == nil && (!timed || returned.Before(deadline)) {
		return early
	}
	return max(returned.Sub(<-ended), 0)
}

// assertOnTime checks that a call lasted until its context ended, and not longer.
func assertOnTime(t *testing.T, what string, late time.Duration) {
	t.Helper()
	assert.Less(t, late, inTime, "%s returned too late", what)
	assert.NotEqual(t, time.Duration(early), late, "%s gave up before its context ended", what)
}

// untrue returns why what a store said of its result is not so, nil if it is.
func untrue(told error, meta *celeryresults.TaskMeta, id string, value int) error {
	switch outcome := celeryresults.OutcomeOf(told); {
	case outcome == celeryresults.OutcomeRefused:
		return fmt.Errorf("nobody else stores task %s, and it was refused: %w", id, told)
	case outcome == celeryresults.OutcomeNotStored && !meta.Unknown:
		return fmt.Errorf("task %s was told not to be stored, and is there: %w", id, told)
	case outcome == celeryresults.OutcomeStored, !meta.Unknown:
		return is(meta, id, value)
	}
	return nil
}

// assertTold checks what stores said of their results, whose values are their
// numbers, and returns how often they said what.
func assertTold(t *testing.T, b *celeryresults.Backend, id func(int) string, told []error) map[celeryresults.Outcome]int {
	t.Helper()
	ids := make([]string, len(told))
	for i := range told {
		ids[i] = id(i)
	}
	metas, err := b.GetMany(withPlenty(t), ids)
	require.NoError(t, err)
	counts, wrong := map[celeryresults.Outcome]int{}, 0
	for i, meta := range metas {
		counts[celeryresults.OutcomeOf(told[i])]++
		if err := untrue(told[i], meta, ids[i], i); err != nil {
			if wrong++; wrong <= 3 {
				assert.NoError(t, err)
			}
		}
	}
	assert.Zero(t, wrong, "stores that did not say what is so")
	return counts
}

// assertNotStored checks that stores say that nothing of theirs is stored, and
// that this is so.
func assertNotStored(t *testing.T, b *celeryresults.Backend, id func(int) string, told []error) {
	t.Helper()
	for i, err := range told {
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err), "store %d: %v", i, err)
	}
	assertTold(t, b, id, told)
}

func restartsLoseNothing(t *testing.T, s *faultServer) {
	const writers, results, restarts = 16, 5000, 4
	b, id := s.open(t, s.Addr(), nil), newIDs()
	told := make([]error, results)
	var next, done atomic.Int64
	var storing, restarting sync.WaitGroup
	due := make(chan struct{}, restarts)
	restarting.Go(func() {
		for range due {
			assert.NoError(t, s.Restart())
		}
	})
	for range writers {
		storing.Go(func() {
			for i := int(next.Add(1)) - 1; i < results; i = int(next.Add(1)) - 1 {
				limit := plenty
				if i%10 == 0 {
					limit = 50 * time.Millisecond
				}
				told[i] = storeWithin(t, limit, b, resultOf(id(i), i))
				if n := done.Add(1); n%(results/(restarts+1)) == 0 && n < results {
					due <- struct{}{}
				}
			}
		})
	}
	storing.Wait()
	close(due)
	restarting.Wait()

	counts := assertTold(t, s.open(t, s.Addr(), nil), id, told)
	for i, err := range told {
		if i%10 != 0 {
			assert.NoError(t, err, "task %d had time", i)
		}
	}
	t.Logf("%d results over %d restarts: %v", results, restarts, counts)
}

func cutsReachNobody(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	faultsReachNobody(t, s, proxy.Addr(), 30, proxy.Cut)
}

func terminationsReachNobody(t *testing.T, s *faultServer) {
	faultsReachNobody(t, s, s.Addr(), 15, func() { s.terminate(t) })
}

// faultsReachNobody runs rounds of everything that tasks do while a fault comes
// again and again, each time after some progress.
func faultsReachNobody(t *testing.T, s *faultServer, address string, faults int, fault func()) {
	const workers, pace = 8, 30
	b, id := s.open(t, address, nil), newIDs()
	ctx := withPlenty(t)
	var progress, rounds, failed atomic.Int64
	var over atomic.Bool
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for !over.Load() {
				n := int(rounds.Add(1))
				if err := round(ctx, b, id(n), n, &progress); err != nil {
					failed.Add(1)
					t.Errorf("round %d: %v", n, err)
				}
			}
		})
	}
	for range faults {
		before := progress.Load()
		until(t, "there is progress", func() bool { return progress.Load() >= before+pace || failed.Load() > 0 })
		fault()
	}
	over.Store(true)
	working.Wait()

	other := s.open(t, s.Addr(), nil)
	for n := range int(rounds.Load()) {
		require.NoError(t, reads(t.Context(), other, id(n+1), n+1))
		group, err := other.RestoreGroup(t.Context(), id(n+1))
		require.NoError(t, err)
		require.Equal(t, id(n+1), group.Children[0].ID)
	}
	t.Logf("%d calls in %d rounds over %d faults", progress.Load(), rounds.Load(), faults)
}

// round stores the results of a task that somebody waits for, and a group and a
// chord with it.
func round(ctx context.Context, b *celeryresults.Backend, id string, value int, progress *atomic.Int64) error {
	waited := make(chan error, 1)
	go func() { waited <- waits(ctx, b, id, value) }()
	fired := 0
	body := func(_ context.Context, _ celeryresults.Chord, results []*celeryresults.TaskMeta) error {
		fired++
		return is(results[0], id, value)
	}
	result := resultOf(id, value)
	if value%2 == 0 {
		result = labelled(result)
	}
	for _, step := range []struct {
		name string
		call func() error
	}{
		{"start chord", func() error {
			return b.StartChord(ctx, celeryresults.Chord{ID: id, Members: []string{id}})
		}},
		{"store STARTED", func() error { return b.StoreResult(ctx, startOf(id)) }},
		{"get", func() error {
			meta, err := b.GetTaskMeta(ctx, id)
			if err == nil && meta.State != celeryresults.Started {
				err = fmt.Errorf("got %s, want STARTED", meta.State)
			}
			return err
		}},
		{"store SUCCESS", func() error { return b.StoreResult(ctx, result) }},
		{"get again", func() error { return reads(ctx, b, id, value) }},
		{"save group", func() error {
			return b.SaveGroup(ctx, celeryresults.ResultTuple{ID: id, Children: []celeryresults.ResultTuple{{ID: id}}})
		}},
		{"report part", func() error { return b.ReportPart(ctx, id, id, body) }},
		{"wait", func() error { return <-waited }},
	} {
		if err := step.call(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		progress.Add(1)
	}
	if fired != 1 {
		return fmt.Errorf("the chord's body was handed over %d times", fired)
	}
	return nil
}

func lostConfirmationsAreFound(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	b, id := s.open(t, proxy.Addr(), nil), newIDs()
	n := 0
	for _, c := range []struct {
		name     string
		requests int // at least what a store sends
		started  bool
		meta     func(id string, value int) *celeryresults.TaskMeta
	}{
		{"a new result", 3, false, resultOf},
		{"a result after STARTED", 3, true, resultOf},
		{"a result with labels", 10, false, func(id string, value int) *celeryresults.TaskMeta { return labelled(resultOf(id, value)) }},
	} {
		for request := 1; request <= c.requests; request++ {
			n++
			require.NoError(t, storeWithin(t, plenty, b, startOf(id(-n)))) // there is a connection
			if c.started {
				require.NoError(t, storeWithin(t, plenty, b, startOf(id(n))))
			}
			proxy.CutAfterRequest(request)
			err := storeWithin(t, plenty, b, c.meta(id(n), n))
			proxy.CutAfterRequest(0)
			assert.NoError(t, err, "%s, cut after request %d", c.name, request)
			assert.NoError(t, reads(t.Context(), b, id(n), n), "%s, cut after request %d", c.name, request)
			assert.Equal(t, "1", s.rows(t, id(n)), "%s, cut after request %d", c.name, request)
		}
	}
	for request := 1; request <= 12; request++ { // of stores that are sent together
		proxy.CutAfterRequest(request)
		var storing sync.WaitGroup
		for i := 1000 * request; i < 1000*request+12; i++ {
			storing.Go(func() {
				assert.NoError(t, storeWithin(t, plenty, b, resultOf(id(i), i)), "cut after request %d", request)
				assert.NoError(t, reads(t.Context(), b, id(i), i))
			})
		}
		storing.Wait()
		proxy.CutAfterRequest(0)
	}
}

func lostConfirmationsAreUnknown(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	b, id := s.open(t, proxy.Addr(), nil), newIDs()
	require.NoError(t, storeWithin(t, plenty, b, startOf(id(0))))
	requests := 1
	if !s.postgres() {
		requests = 2 // it looks, and then inserts
	}
	proxy.CutAfterRequest(requests)
	proxy.Refuse(true)
	meta := resultOf(id(1), 1)
	meta.DateDone = time.Now().UTC()
	store := leave(t, b, meta)
	until(t, "the server has done it", func() bool { return s.rows(t, id(1)) == "1" })
	err := store.end(t)
	require.Equal(t, celeryresults.OutcomeUnknown, celeryresults.OutcomeOf(err), "%v", err)
	proxy.Refuse(false)
	require.NoError(t, reads(t.Context(), b, id(1), 1), "the server did it")

	again := storeWithin(t, plenty, b, meta)
	require.Contains(t, []celeryresults.Outcome{celeryresults.OutcomeStored, celeryresults.OutcomeRefused}, celeryresults.OutcomeOf(again), "%v", again)
	require.NoError(t, reads(t.Context(), b, id(1), 1), "storing it again is safe")
}

// calls is everything that a backend does with its database. The task of the id
// is stored before.
var calls = []struct {
	name string
	call func(ctx context.Context, b *celeryresults.Backend, id string) error
}{
	{"store", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.StoreResult(ctx, startOf(id+"-new"))
	}},
	{"store with labels", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.StoreResult(ctx, labelled(startOf(id+"-labelled")))
	}},
	{"get", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return reads(ctx, b, id, 1)
	}},
	{"get many", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		metas, err := b.GetMany(ctx, []string{id})
		if err != nil {
			return err
		}
		return is(metas[0], id, 1)
	}},
	{"wait", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return waits(ctx, b, id, 1)
	}},
	{"list", func(ctx context.Context, b *celeryresults.Backend, _ string) error {
		_, err := b.List(ctx, celeryresults.Query{States: []celeryresults.State{celeryresults.Success}})
		return err
	}},
	{"list by a pattern", func(ctx context.Context, b *celeryresults.Backend, _ string) error {
		_, err := b.List(ctx, celeryresults.Query{Task: "billing.*"})
		return err
	}},
	{"save group", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.SaveGroup(ctx, celeryresults.ResultTuple{ID: id, Children: []celeryresults.ResultTuple{{ID: id}}})
	}},
	{"restore group", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		_, err := b.RestoreGroup(ctx, id)
		return err
	}},
	{"delete group", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.DeleteGroup(ctx, id)
	}},
	{"start chord", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.StartChord(ctx, celeryresults.Chord{ID: id, Members: []string{id}})
	}},
	{"report part", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.ReportPart(ctx, id, id, func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error { return nil })
	}},
	{"sweep chords", func(ctx context.Context, b *celeryresults.Backend, _ string) error {
		_, err := b.SweepChords(ctx, func(context.Context, celeryresults.Chord, []*celeryresults.TaskMeta) error { return nil })
		return err
	}},
	{"delete chord", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.DeleteChord(ctx, id)
	}},
	{"start chord counter", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.CeleryChord(id).Start(ctx, celeryresults.ResultTuple{Children: []celeryresults.ResultTuple{{ID: id}, {ID: id + "-new"}}}, 2)
	}},
	{"count chord part", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		parts, err := b.CeleryChord(id).Report(ctx, celeryresults.ChordPart{TaskID: id, State: celeryresults.Success})
		if err == nil && parts != nil {
			err = errors.New("1 part of 2 was counted, and the chord is complete")
		}
		return err
	}},
	{"clean-up", func(ctx context.Context, b *celeryresults.Backend, _ string) error {
		_, err := b.Cleanup(ctx)
		return err
	}},
	{"missing columns", func(ctx context.Context, b *celeryresults.Backend, _ string) error {
		tables := b.Driver().(interface {
			MissingColumns(ctx context.Context) ([]string, error)
		})
		_, err := tables.MissingColumns(ctx)
		return err
	}},
	{"forget", func(ctx context.Context, b *celeryresults.Backend, id string) error {
		return b.Forget(ctx, id)
	}},
}

// connect makes a backend have several idle connections.
func connect(t *testing.T, b *celeryresults.Backend) {
	t.Helper()
	var reading sync.WaitGroup
	for range 8 {
		reading.Go(func() {
			_, err := b.GetMany(t.Context(), []string{"unknown"})
			assert.NoError(t, err)
		})
	}
	reading.Wait()
}

func closedConnectionsFailNobody(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	for _, c := range []struct {
		name  string
		close func()
	}{
		{"by the server", func() {
			s.terminate(t)
			s.awaitNoSessions(t)
		}},
		{"by the network", proxy.Cut},
	} {
		b, id := s.open(t, proxy.Addr(), nil), newIDs()(0)
		require.NoError(t, storeWithin(t, plenty, b, resultOf(id, 1)))
		for _, call := range calls {
			connect(t, b)
			c.close()
			assert.NoError(t, call.call(withPlenty(t), b, id), "%s, closed %s", call.name, c.name)
		}
	}
}

func timedOutConnectionsFailNobody(t *testing.T, s *faultServer) {
	var options map[string]string
	if s.postgres() {
		options = map[string]string{"options": "-c idle_session_timeout=100ms"}
	} else {
		s.exec(t, `SET GLOBAL wait_timeout = 1`)
		defer s.exec(t, `SET GLOBAL wait_timeout = DEFAULT`)
	}
	id := newIDs()(0)
	require.NoError(t, storeWithin(t, plenty, s.open(t, s.Addr(), nil), resultOf(id, 1)))
	backends := make([]*celeryresults.Backend, len(calls))
	for i := range calls {
		backends[i] = s.open(t, s.Addr(), options)
		connect(t, backends[i])
	}
	if s.postgres() { // the one that stored has no time-out
		s.terminate(t)
	}
	s.awaitNoSessions(t)
	for i, call := range calls {
		assert.NoError(t, call.call(withPlenty(t), backends[i], id), "%s", call.name)
	}
}

func TestServersWithoutRoom(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func() *testserver.Server
	}{
		{"PostgreSQL", func() *testserver.Server { return testserver.StartPostgres(t, "max_connections=5") }},
		{"MariaDB", func() *testserver.Server {
			return testserver.StartMySQL(t, "--max-connections=5") /* MariaDB makes 10 of it */
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFaultServer(t, c.start())
			t.Run("are waited for", func(t *testing.T) { fullServersAreWaitedFor(t, s) })
			t.Run("are left when the context ends", func(t *testing.T) { fullServersAreLeft(t, s) })
		})
	}
}

// occupy takes all connections that a server has, until release is called.
func (s *faultServer) occupy(t *testing.T) (release func()) {
	t.Helper()
	room, err := strconv.Atoi(s.text(t, s.say(`SHOW max_connections`, `SELECT @@max_connections + 1`))) // and one for administrators
	require.NoError(t, err)
	var conns []*sql.Conn
	release = sync.OnceFunc(func() {
		for _, conn := range conns {
			assert.NoError(t, conn.Close())
		}
	})
	t.Cleanup(release)
	until(t, "the server is full", func() bool { // those that just went may take a moment
		conn, err := s.admin.Conn(t.Context())
		if err != nil {
			require.Equal(t, sqldialect.Transient, sqldialect.Classify(err), "%v", err)
			return len(conns) == room
		}
		conns = append(conns, conn)
		return false
	})
	return release
}

func fullServersAreWaitedFor(t *testing.T, s *faultServer) {
	id := newIDs()(0)
	first := s.open(t, s.Addr(), nil)
	require.NoError(t, first.StoreResult(t.Context(), resultOf(id, 1)))
	require.NoError(t, first.Close())
	for _, c := range []struct {
		name string
		open func(*testing.T, string, map[string]string) *celeryresults.Backend
	}{
		{"by a backend that knows its tables", s.openUnconnected},
		{"by a new backend", s.open},
	} {
		b := c.open(t, s.Addr(), nil)
		s.awaitNoSessions(t)
		release := s.occupy(t)
		var released atomic.Bool
		var calling sync.WaitGroup
		for _, call := range calls[:8] { // those that need none of the others
			calling.Go(func() {
				assert.NoError(t, call.call(withPlenty(t), b, id), "%s %s", call.name, c.name)
				assert.True(t, released.Load(), "%s had a connection", call.name)
			})
		}
		time.AfterFunc(300*time.Millisecond, func() {
			released.Store(true)
			release()
		})
		calling.Wait()
		require.NoError(t, b.Close())
	}
}

func fullServersAreLeft(t *testing.T, s *faultServer) {
	b, id := s.openUnconnected(t, s.Addr(), nil), newIDs()
	s.awaitNoSessions(t)
	release := s.occupy(t)
	const results = 24
	told := make([]error, results)
	for i := range results / 2 { // alone
		told[i] = leftOnTime(t, b, resultOf(id(i), i), 100*time.Millisecond)
	}
	var storing sync.WaitGroup
	for i := results / 2; i < results; i++ { // together
		storing.Go(func() { told[i] = leftOnTime(t, b, resultOf(id(i), i), 100*time.Millisecond) })
	}
	storing.Wait()
	release()
	assertNotStored(t, b, id, told[:results/2])
	// Those who leave while a batch of several waits for a connection can't know that it
	// has not been sent yet.
	counts := assertTold(t, b, id, told)
	assert.Equal(t, results, counts[celeryresults.OutcomeNotStored]+counts[celeryresults.OutcomeUnknown])
}

// leftOnTime stores a result where none can be stored, checks that this ends with
// the context, and returns what it says.
func leftOnTime(t *testing.T, b *celeryresults.Backend, meta *celeryresults.TaskMeta, limit time.Duration) (err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	assertOnTime(t, "the store of "+meta.TaskID, lateness(ctx, func(ctx context.Context) { err = b.StoreResult(ctx, meta) }))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	return err
}

func downServersAreWaitedFor(t *testing.T, s *faultServer) {
	const limit = 200 * time.Millisecond
	idle, unconnected, id, idleID := s.open(t, s.Addr(), nil), s.openUnconnected(t, s.Addr(), nil), newIDs(), newIDs()
	connect(t, idle)
	s.Stop()
	const results = 16
	told := make([]error, results+1)
	var calling sync.WaitGroup
	for i := range results / 2 { // together
		calling.Go(func() { told[i] = leftOnTime(t, unconnected, resultOf(id(i), i), limit) })
	}
	calling.Wait()
	for i := results / 2; i < results; i++ { // alone, with limits that end anywhere in the pauses
		told[i] = leftOnTime(t, unconnected, resultOf(id(i), i), limit+time.Duration(i)*3*time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(limit, cancel)
	assertOnTime(t, "a store", lateness(ctx, func(ctx context.Context) {
		told[results] = unconnected.StoreResult(ctx, resultOf(id(results), results))
	}))
	assert.ErrorIs(t, told[results], context.Canceled)
	idleTold := make([]error, 4)
	for i := range idleTold { // by connections that seem to be there
		idleTold[i] = leftOnTime(t, idle, resultOf(idleID(i), i), limit)
	}
	for _, call := range calls {
		calling.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			var err error
			late := lateness(ctx, func(ctx context.Context) { err = call.call(ctx, unconnected, id(0)) })
			if assert.ErrorIs(t, err, context.DeadlineExceeded, "%s", call.name) {
				assertOnTime(t, call.name, late)
			}
		})
	}
	calling.Wait()

	require.NoError(t, s.Restart())
	assertNotStored(t, unconnected, func(i int) string { return id(results/2 + i) }, told[results/2:])
	counts := assertTold(t, unconnected, id, told) // as where servers have no room
	assert.Equal(t, results+1, counts[celeryresults.OutcomeNotStored]+counts[celeryresults.OutcomeUnknown])
	assertTold(t, unconnected, idleID, idleTold)
}

// leaving is a store under way that its caller can leave.
type leaving struct {
	ctx    *queueing
	cancel context.CancelFunc
	told   chan error
	late   time.Duration // once told
}

func leave(t *testing.T, b *celeryresults.Backend, meta *celeryresults.TaskMeta) *leaving {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l := &leaving{ctx: &queueing{Context: ctx, queued: make(chan struct{})}, cancel: cancel, told: make(chan error, 1)}
	go func() {
		var err error
		l.late = lateness(ctx, func(context.Context) { err = b.StoreResult(l.ctx, meta) })
		l.told <- err
	}()
	return l
}

// end ends the store's context and returns what it says.
func (l *leaving) end(t *testing.T) error {
	t.Helper()
	l.cancel()
	err := <-l.told
	assertOnTime(t, "a store that was cancelled", l.late)
	assert.ErrorIs(t, err, context.Canceled)
	return err
}

func hangingServersAreLeft(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	b, puts := tellingPuts(t, s.open(t, proxy.Addr(), nil))
	id := newIDs()
	connect(t, b)
	const sent, queued = 2, 6
	for i := range sent {
		require.NoError(t, storeWithin(t, plenty, b, startOf(id(i))))
	}
	other := s.rival(t)
	var stores []*leaving
	for i := range sent { // the server works on them
		other.write(id(i))
		stores = append(stores, leave(t, b, resultOf(id(i), i)))
	}
	s.awaitBlocked(t, sent)
	proxy.Hang(true)
	for i := sent; i < sent+queued; i++ {
		stores = append(stores, leave(t, b, resultOf(id(i), i-sent)))
		<-stores[i].ctx.queued
	}
	told := make([]error, sent+queued)
	for i := sent; i < sent+queued; i++ {
		told[i] = stores[i].end(t)
		if !puts.has(id(i)) { // the queue sends what has waited for long
			assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(told[i]), "it queued: %v", told[i])
		}
	}
	for i := range sent {
		told[i] = stores[i].end(t)
		assert.Equal(t, celeryresults.OutcomeUnknown, celeryresults.OutcomeOf(told[i]), "it was sent: %v", told[i])
	}
	other.commit()
	proxy.Hang(false)
	require.NoError(t, storeWithin(t, plenty, b, resultOf(id(100), 100)))
	require.NoError(t, b.Close())
	s.awaitNoSessions(t) // all that was held back has arrived
	after := s.open(t, s.Addr(), nil)
	for i := range sent {
		meta, err := after.GetTaskMeta(t.Context(), id(i))
		require.NoError(t, err)
		if meta.State != celeryresults.Started {
			require.NoError(t, is(meta, id(i), i))
		}
	}
	assertTold(t, after, func(i int) string { return id(sent + i) }, told[sent:])
}

func hangingConnectsAreLeft(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	b, puts := tellingPuts(t, s.openUnconnected(t, proxy.Addr(), nil))
	id := newIDs()
	proxy.Hang(true)
	store := leave(t, b, resultOf(id(0), 0))
	puts.await(t, id(0))
	told := []error{store.end(t)}
	for _, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		var err error
		assertOnTime(t, call.name, lateness(ctx, func(ctx context.Context) { err = call.call(ctx, b, id(0)) }))
		assert.ErrorIs(t, err, context.DeadlineExceeded, "%s", call.name)
		cancel()
	}
	proxy.Hang(false)
	assertNotStored(t, b, id, told)
}

func slowConnectsAreRepeated(t *testing.T, s *faultServer) {
	proxy := testserver.StartProxy(t, s.Addr())
	b, id := s.openUnconnected(t, proxy.Addr(), map[string]string{"connect_timeout": "1"}), newIDs()
	proxy.Hang(true)
	time.AfterFunc(1100*time.Millisecond, func() {
		proxy.Cut()
		proxy.Hang(false)
	})
	assert.NoError(t, storeWithin(t, plenty, b, resultOf(id(0), 0)))
}

// batch returns writes of the results of tasks, whose values are their numbers.
func batch(t *testing.T, store *dbbackend.DatabaseBackend, id func(int) string, numbers ...int) []*driver.Write {
	t.Helper()
	var writes []*driver.Write
	for _, i := range numbers {
		w := &driver.Write{Kind: driver.Task, ID: id(i), State: celeryresults.Success, Power: driver.Unsuccessful, TTL: driver.Never}
		require.NoError(t, store.Encode(t.Context(), resultOf(id(i), i), w))
		writes = append(writes, w)
	}
	return writes
}

// put stores writes together, once, and tells when that has ended.
func put(ctx context.Context, store *dbbackend.DatabaseBackend, writes []*driver.Write) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		store.Put(ctx, writes)
	}()
	return ended
}

// repeat stores once more what was not stored, as a Backend does.
func repeat(t *testing.T, store *dbbackend.DatabaseBackend, writes []*driver.Write) {
	t.Helper()
	var again []*driver.Write
	for _, w := range writes {
		if w.Answer.Outcome != driver.Stored {
			w.Answer = driver.Answer{}
			again = append(again, w)
		}
	}
	if len(again) > 0 {
		store.Put(withPlenty(t), again)
	}
	for _, w := range writes {
		assert.Equal(t, driver.Answer{Outcome: driver.Stored}, w.Answer, w.ID)
	}
}

// assertAgain checks that nothing of a write is stored, and that it may be repeated.
func assertAgain(t *testing.T, w *driver.Write) {
	t.Helper()
	assert.Equal(t, driver.NotStored, w.Answer.Outcome, w.ID)
	var again *driver.Again
	assert.ErrorAs(t, w.Answer.Err, &again, w.ID)
}

// deadlocksLoseNothing has a statement that stores two results and another session wait
// for one another.
func deadlocksLoseNothing(t *testing.T, s *faultServer) {
	for range 5 {
		if deadlock(t, s) {
			callersOutliveDeadlocks(t, s)
			return
		}
	}
	require.Fail(t, "the other session lost every time")
}

// deadlock reports whether it was the statement that the server ended.
func deadlock(t *testing.T, s *faultServer) (lost bool) {
	t.Helper()
	b, id := s.open(t, s.Addr(), nil), newIDs()
	for i := range 50 {
		require.NoError(t, storeWithin(t, plenty, b, startOf(id(i))))
	}
	other := s.rival(t)
	if s.postgres() { // whoever looks for a deadlock finds it, and looks once
		other.exec(`SET LOCAL deadlock_timeout = '20s'`)
	} else { // whoever has done less loses
		for i := 4; i < 50; i++ {
			other.write(id(i))
		}
	}
	other.write(id(3))
	store := storeOf(t, b)
	writes := batch(t, store, id, 2, 3)
	ended := put(withPlenty(t), store, writes)
	s.awaitBlocked(t, 1)
	if _, err := other.tx.ExecContext(t.Context(), lockStatement(id(2))); err == nil {
		other.commit()
		lost = true
	} else {
		require.Equal(t, sqldialect.Transient, sqldialect.Classify(err), "%v", err)
		require.NoError(t, other.tx.Rollback())
	}
	<-ended
	for _, w := range writes {
		if lost {
			assertAgain(t, w)
		}
	}
	repeat(t, store, writes)
	for _, i := range []int{2, 3} {
		require.NoError(t, reads(t.Context(), b, id(i), i))
	}
	return lost
}

// callersOutliveDeadlocks stores results of tasks while sessions lock them in other
// orders.
func callersOutliveDeadlocks(t *testing.T, s *faultServer) {
	const tasks, rivals = 40, 60
	b, id := s.open(t, s.Addr(), nil), newIDs()
	for i := range tasks {
		require.NoError(t, storeWithin(t, plenty, b, startOf(id(i))))
	}
	var working sync.WaitGroup
	working.Go(func() {
		for i := range rivals {
			s.lockInOrder(t, id(i%tasks), id((i+tasks-3)%tasks), id((i+tasks-7)%tasks))
		}
	})
	for i := range tasks {
		working.Go(func() {
			assert.NoError(t, storeWithin(t, plenty, b, labelled(resultOf(id(i), i))))
			assert.NoError(t, reads(t.Context(), b, id(i), i))
		})
	}
	working.Wait()
}

// lockInOrder locks tasks one after another in a transaction, which may lose a deadlock.
func (s *faultServer) lockInOrder(t *testing.T, ids ...string) {
	tx, err := s.admin.BeginTx(t.Context(), nil)
	if !assert.NoError(t, err) {
		return
	}
	defer tx.Rollback() //nolint:errcheck // it says only that the server or Commit was first
	for _, id := range ids {
		if _, err = tx.ExecContext(t.Context(), lockStatement(id)); err != nil {
			assert.Equal(t, sqldialect.Transient, sqldialect.Classify(err), "%v", err)
			return
		}
	}
	assert.NoError(t, tx.Commit())
}

func partsOfBatchesAreFound(t *testing.T, s *faultServer) {
	var options map[string]string
	if s.postgres() {
		options = map[string]string{"lock_timeout": "1s"}
	} else {
		s.exec(t, `SET GLOBAL innodb_lock_wait_timeout = 1`)
		defer s.exec(t, `SET GLOBAL innodb_lock_wait_timeout = DEFAULT`)
	}
	b, id := s.open(t, s.Addr(), options), newIDs()
	require.NoError(t, storeWithin(t, plenty, b, startOf(id(3)))) // 2 is new
	require.NoError(t, storeWithin(t, plenty, b, startOf(id(4))))
	other := s.rival(t)
	other.write(id(3), id(4))
	store := storeOf(t, b)
	writes := batch(t, store, id, 2, 3)
	<-put(withPlenty(t), store, writes) // it waits for too long
	assertAgain(t, writes[1])
	if s.postgres() {
		assertAgain(t, writes[0])
	} else { // which inserts first
		assert.Equal(t, driver.Answer{Outcome: driver.Stored}, writes[0].Answer)
	}
	told := make(chan error, 1)
	go func() { told <- storeWithin(t, plenty, b, resultOf(id(4), 4)) }()
	first := ""
	until(t, "a store waits", func() bool {
		s.awaitBlocked(t, 1)
		first = s.wait(t)
		return first != ""
	})
	until(t, "it waits a second time", func() bool {
		now := s.wait(t)
		return now != "" && now != first
	})
	other.commit()
	assert.NoError(t, <-told)
	repeat(t, store, writes)
	for _, i := range []int{2, 3, 4} {
		assert.NoError(t, reads(t.Context(), b, id(i), i))
	}
}

func serializationFailuresLoseNothing(t *testing.T, s *faultServer) {
	var options map[string]string
	if s.postgres() {
		options = map[string]string{"default_transaction_isolation": "serializable"}
	} else {
		s.exec(t, `SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE`)
		defer s.exec(t, `SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ`)
	}
	b, id := s.open(t, s.Addr(), options), newIDs()
	require.NoError(t, storeWithin(t, plenty, b, labelled(startOf(id(0)))))
	other := s.rival(t)
	other.write(id(0))
	told := make(chan error, 1)
	go func() { told <- storeWithin(t, plenty, b, labelled(resultOf(id(0), 0))) }()
	s.awaitBlocked(t, 1)
	other.commit() // PostgreSQL now fails whoever waited
	require.NoError(t, <-told)
	require.NoError(t, reads(t.Context(), b, id(0), 0))

	second := s.open(t, s.Addr(), options) // of two, so that more is under way
	var storing sync.WaitGroup
	for i := 1; i <= 200; i++ {
		storing.Go(func() {
			use := b
			if i%2 == 0 {
				use = second
			}
			assert.NoError(t, storeWithin(t, plenty, use, labelled(startOf(id(i)))))
			assert.NoError(t, storeWithin(t, plenty, use, labelled(resultOf(id(i), i))))
			assert.NoError(t, reads(t.Context(), b, id(i), i))
		})
	}
	storing.Wait()
	shared := make(map[celeryresults.Outcome]int)
	var mu sync.Mutex
	for i := range 40 { // all of one task: one stands, whoever that is
		storing.Go(func() {
			use := b
			if i%2 == 0 {
				use = second
			}
			err := storeWithin(t, plenty, use, labelled(resultOf(id(-1), 1)))
			mu.Lock()
			defer mu.Unlock()
			shared[celeryresults.OutcomeOf(err)]++
		})
	}
	storing.Wait()
	assert.Equal(t, map[celeryresults.Outcome]int{celeryresults.OutcomeStored: 1, celeryresults.OutcomeRefused: 39}, shared)
	require.NoError(t, reads(t.Context(), b, id(-1), 1))
}

// failedCommitsAreNotConfirmed has statements fail that have returned all their
// rows: PostgreSQL checks deferred constraints, and what is serializable, then.
func failedCommitsAreNotConfirmed(t *testing.T, s *faultServer) {
	if !s.postgres() {
		t.Skip("no such failure can be ordered from MySQL")
	}
	s.exec(t, `CREATE SEQUENCE faults`)
	s.exec(t, `CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.worker = 'never' OR nextval('faults') <= 8 THEN
			RAISE EXCEPTION 'at the commit' USING ERRCODE = CASE NEW.worker WHEN 'never' THEN 'P0001' ELSE '40001' END;
		END IF;
		RETURN NULL;
	END $$`)
	s.exec(t, `CREATE CONSTRAINT TRIGGER fault AFTER INSERT ON django_celery_results_taskresult
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.worker IS NOT NULL) EXECUTE FUNCTION fault()`)
	defer s.exec(t, `DROP TRIGGER fault ON django_celery_results_taskresult`)
	b, id := s.open(t, s.Addr(), nil), newIDs()
	by := func(worker string, meta *celeryresults.TaskMeta) *celeryresults.TaskMeta {
		meta.Extended, meta.Worker = true, worker
		return meta
	}
	var storing sync.WaitGroup
	for i := range 24 {
		storing.Go(func() {
			meta := by("late", resultOf(id(i), i))
			if i%4 == 0 {
				meta = labelled(meta)
			}
			assert.NoError(t, storeWithin(t, plenty, b, meta))
			assert.NoError(t, reads(t.Context(), b, id(i), i))
		})
	}
	storing.Wait()
	never, told := newIDs(), make([]error, 8)
	for i := range told {
		storing.Go(func() { told[i] = storeWithin(t, plenty, b, by("never", resultOf(never(i), i))) })
	}
	storing.Wait()
	assertNotStored(t, b, never, told)
}

func waitsSurvive(t *testing.T, s *faultServer) {
	const waiters = 40
	proxy := testserver.StartProxy(t, s.Addr())
	b, id := s.open(t, proxy.Addr(), nil), newIDs()
	writer := s.open(t, s.Addr(), nil)
	require.NoError(t, storeWithin(t, plenty, b, startOf(id(-1))))
	results := make(chan error, waiters)
	for i := range waiters {
		go func() { results <- waits(withPlenty(t), b, id(i), i) }()
	}
	const cancelled = 10
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	late := make(chan time.Duration, cancelled)
	for i := range cancelled {
		go func() {
			late <- lateness(ctx, func(ctx context.Context) {
				_, err := celeryresults.NewAsyncResult(id(-2-i), b).Wait(ctx)
				assert.ErrorIs(t, err, context.Canceled)
			})
		}()
	}
	for i := range waiters {
		switch {
		case i == waiters/2:
			proxy.Hang(true)
			cancel() // even now
			for range cancelled {
				assertOnTime(t, "a wait that was cancelled", <-late)
			}
			proxy.Cut()
			proxy.Hang(false)
			require.NoError(t, s.Restart())
		case i%4 == 0:
			proxy.Cut()
		}
		if i == waiters/4 {
			select {
			case err := <-results:
				assert.NoError(t, err)
				results <- nil
			case <-time.After(plenty):
				require.Fail(t, "nobody was woken by a quarter of the results")
			}
		}
		require.NoError(t, storeWithin(t, plenty, writer, resultOf(id(i), i)))
	}
	for range waiters {
		assert.NoError(t, <-results)
	}
}

// A SQLite file that another process has locked for writing.

const lockedFile = "CELERYRESULTS_TEST_LOCKED_FILE"

// TestHoldsTheLockOfAFile is that other process: it writes, does not commit, and
// ends with its input.
func TestHoldsTheLockOfAFile(t *testing.T) {
	file := os.Getenv(lockedFile)
	if file == "" {
		t.Skip("it runs for TestLockedSQLiteFiles only")
	}
	db, _, err := sqldialect.Open(cache.Database{Engine: "sqlite3", Name: file})
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback() //nolint:errcheck // the end of the process does it, too
	_, err = tx.ExecContext(t.Context(), `DELETE FROM django_celery_results_taskresult`)
	require.NoError(t, err)
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// lockFile has another process lock a file until release is called, which kills
// it.
func lockFile(t *testing.T, file string) (release func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldsTheLockOfAFile$")
	cmd.Env = append(os.Environ(), lockedFile+"="+file)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	release = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	t.Cleanup(release)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "locked\n", line)
	return release
}

func TestLockedSQLiteFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.sqlite3")
	d := cache.Database{Engine: "sqlite3", Name: file}
	db, _, err := sqldialect.Open(d)
	require.NoError(t, err)
	_, err = dbbackend.Migrate(t.Context(), db, dbbackend.MigrateOptions{})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	b, err := dbbackend.Open(celeryresults.Settings{ResultBackend: "django-db", Databases: map[string]cache.Database{"default": d}})
	require.NoError(t, err)
	defer b.Close()
	id := newIDs()
	require.NoError(t, storeWithin(t, plenty, b, resultOf(id(0), 1)))

	t.Run("are waited for by writers, and not by readers", func(t *testing.T) {
		release := lockFile(t, file)
		require.NoError(t, reads(t.Context(), b, id(0), 1), "readers do not wait")
		var released atomic.Bool
		var calling sync.WaitGroup
		for i := 1; i <= 16; i++ {
			calling.Go(func() {
				assert.NoError(t, storeWithin(t, plenty, b, resultOf(id(i), i)))
				assert.True(t, released.Load(), "the file was locked")
			})
		}
		for _, call := range calls {
			if call.name == "save group" || call.name == "start chord" || call.name == "start chord counter" || call.name == "store with labels" {
				calling.Go(func() { assert.NoError(t, call.call(withPlenty(t), b, id(0)), "%s", call.name) })
			}
		}
		time.AfterFunc(300*time.Millisecond, func() {
			released.Store(true)
			release()
		})
		calling.Wait()
		for i := 1; i <= 16; i++ {
			require.NoError(t, reads(t.Context(), b, id(i), i))
		}
		require.NoError(t, reads(t.Context(), b, id(0), 1), "what the other process deleted was not committed")
	})
	t.Run("are left when the context ends", func(t *testing.T) {
		release := lockFile(t, file)
		const results = 16
		id, told := newIDs(), make([]error, results)
		for i := range results / 2 { // alone, with limits that end anywhere
			told[i] = leftOnTime(t, b, resultOf(id(i), i), time.Duration(100+7*i)*time.Millisecond)
		}
		b, puts := tellingPuts(t, b)
		store := leave(t, b, resultOf(id(results-1), results-1))
		puts.await(t, id(results-1))
		var storing sync.WaitGroup
		for i := results / 2; i < results-1; i++ { // together, behind the one under way
			storing.Go(func() { told[i] = leftOnTime(t, b, resultOf(id(i), i), 100*time.Millisecond) })
		}
		storing.Wait()
		told[results-1] = store.end(t)
		release()
		require.NoError(t, storeWithin(t, plenty, b, resultOf(id(results), 0)))
		assertNotStored(t, b, id, told[:results/2])
		for i := results / 2; i < results; i++ {
			if !puts.has(id(i)) { // else others may have had it when it was left
				assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(told[i]), "store %d: %v", i, told[i])
			}
		}
		assertTold(t, b, id, told)
	})
}
