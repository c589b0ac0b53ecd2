package dbbackend_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// TestMain leaves out the MySQL driver's remarks about connections that tests
// have ended, and is the process that TestBodyOutlivesItsProcess kills.
func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	if chord := os.Getenv(dyingEnv); chord != "" {
		die(chord)
	}
	testserver.Main(m)
}

// engines gives every database a way to make an empty one.
var engines = []struct {
	dialect *sqldialect.Dialect
	fresh   func(t testing.TB) cache.Database
}{
	{sqldialect.SQLite, func(t testing.TB) cache.Database {
		return cache.Database{URL: "sqlite:///" + filepath.Join(t.TempDir(), "results.db")}
	}},
	{sqldialect.PostgreSQL, func(t testing.TB) cache.Database { return cache.Database{URL: testserver.Postgres(t)} }},
	{sqldialect.MySQL, func(t testing.TB) cache.Database { return cache.Database{URL: testserver.MySQL(t)} }},
}

// onEach runs a test on our own tables in every database.
func onEach(t *testing.T, test func(t *testing.T, b base)) {
	for _, engine := range engines {
		t.Run(engine.dialect.Name(), func(t *testing.T) {
			t.Parallel()
			b := openBase(t, engine.fresh(t))
			b.migrate(t, dbbackend.MigrateOptions{})
			test(t, b)
		})
	}
}

// onEachTable runs a test on our own tables and on those that Django's
// migrations made, as they are and with what MigrateOptions.Alter adds.
func onEachTable(t *testing.T, test func(t *testing.T, b base)) {
	t.Run("own", func(t *testing.T) { onEach(t, test) })
	for _, version := range []string{"2.4.0", "2.6.0"} {
		onEachEmpty(t, version, func(t *testing.T, b base) {
			b.load(t, version)
			b.migrate(t, dbbackend.MigrateOptions{})
			test(t, b)
		})
	}
	onEachEmpty(t, "2.5.1 altered", func(t *testing.T, b base) {
		b.load(t, "2.5.1")
		b.migrate(t, dbbackend.MigrateOptions{Alter: true})
		test(t, b)
	})
}

func onEachEmpty(t *testing.T, name string, test func(t *testing.T, b base)) {
	t.Run(name, func(t *testing.T) {
		for _, engine := range engines {
			t.Run(engine.dialect.Name(), func(t *testing.T) {
				t.Parallel()
				test(t, openBase(t, engine.fresh(t)))
			})
		}
	})
}

// base is a database, opened by the test beside the backends under test.
type base struct {
	db       *sql.DB
	dialect  *sqldialect.Dialect
	database cache.Database
}

func openBase(t testing.TB, database cache.Database) base {
	t.Helper()
	db, dialect, err := sqldialect.Open(database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return base{db, dialect, database}
}

func (b base) migrate(t testing.TB, o dbbackend.MigrateOptions) {
	t.Helper()
	_, err := dbbackend.Migrate(t.Context(), b.db, o)
	require.NoError(t, err)
}

// load runs a dump of what Django's migrations made.
func (b base) load(t testing.TB, version string) {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("..", "..", "internal", "resultschema", "testdata", version+"."+b.dialect.Name()+".sql"))
	require.NoError(t, err)
	for statement := range strings.SplitSeq(strings.TrimSpace(string(dump)), ";\n") {
		b.exec(t, strings.TrimSuffix(statement, ";"))
	}
}

func (b base) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	q := b.dialect.Rebind(statement)
	require.NoError(t, sqldialect.Retry(t.Context(), sqldialect.Once, func() error {
		_, err := b.db.ExecContext(t.Context(), q.Text, q.Args(args...)...)
		return err
	}), statement)
}

// settings are those of the tests: a day's expiry, and everything kept.
func (b base) settings() celeryresults.Settings {
	return celeryresults.Settings{
		ResultBackend: "django-db", ResultExtended: true,
		Databases: map[string]cache.Database{celeryresults.DefaultDatabase: b.database},
	}
}

// open returns a backend of the test's database, with connections of its own.
func (b base) open(t testing.TB, set ...func(*celeryresults.Settings)) *celeryresults.Backend {
	t.Helper()
	s := b.settings()
	for _, f := range set {
		f(&s)
	}
	backend, err := dbbackend.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

// at returns a backend over the test's handle, with a clock.
func (b base) at(t testing.TB, now func() time.Time, set ...func(*celeryresults.Settings)) *celeryresults.Backend {
	t.Helper()
	s := b.settings()
	for _, f := range set {
		f(&s)
	}
	backend, err := dbbackend.New(b.db, s, dbbackend.Options{Now: now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

// storeOf returns the store of a backend.
func storeOf(t testing.TB, b *celeryresults.Backend) *dbbackend.DatabaseBackend {
	t.Helper()
	store, ok := dbbackend.StoreOf(b)
	require.True(t, ok)
	return store
}

// rows returns what a query selects, a map of texts for each row; NULL is nil.
func (b base) rows(t testing.TB, query string, args ...any) []map[string]any {
	t.Helper()
	q := b.dialect.Rebind(query)
	return b.query(t, q.Text, q.Args(args...))
}

// query is rows for a statement in the database's own words.
func (b base) query(t testing.TB, statement string, args []any) []map[string]any {
	t.Helper()
	rows, err := b.db.QueryContext(t.Context(), statement, args...)
	require.NoError(t, err, statement)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var all []map[string]any
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		require.NoError(t, rows.Scan(values...))
		row := map[string]any{}
		for i, column := range columns {
			row[column] = shown(*values[i].(*any))
		}
		all = append(all, row)
	}
	require.NoError(t, rows.Err())
	return all
}

// shown returns a column's value, texts as string and times in UTC.
func shown(value any) any {
	switch v := value.(type) {
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC()
	}
	return value
}

// row returns the only row of a task.
func (b base) row(t testing.TB, id string) map[string]any {
	t.Helper()
	rows := b.rows(t, `SELECT * FROM `+resultschema.TaskTable+` WHERE task_id = $1`, id)
	require.Len(t, rows, 1, id)
	for _, column := range []string{"date_created", "date_started", "date_done"} {
		if text, ok := rows[0][column].(string); ok {
			at, err := sqldialect.ParseTime(text)
			require.NoError(t, err)
			rows[0][column] = at
		}
	}
	return rows[0]
}

// count returns the number that a query selects.
func (b base) count(t testing.TB, query string, args ...any) int {
	t.Helper()
	q, n := b.dialect.Rebind(query), 0
	require.NoError(t, b.db.QueryRowContext(t.Context(), q.Text, q.Args(args...)...).Scan(&n), query)
	return n
}

func (b base) has(t testing.TB, table, column string) bool {
	t.Helper()
	tables, err := resultschema.Django.Inspect(t.Context(), b.db, b.dialect)
	require.NoError(t, err)
	return tables.Has(table, column)
}

// done returns the meta of a task that returned value now.
func done(id string, value any) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value), Children: []celeryresults.ResultTuple{},
	}
}

func inState(id string, state celeryresults.State) *celeryresults.TaskMeta {
	meta := done(id, string(state))
	meta.State = state
	return meta
}

func store(t testing.TB, b *celeryresults.Backend, metas ...*celeryresults.TaskMeta) {
	t.Helper()
	for _, meta := range metas {
		require.NoError(t, b.StoreResult(t.Context(), meta), meta.TaskID)
	}
}

func get(t testing.TB, b *celeryresults.Backend, id string) *celeryresults.TaskMeta {
	t.Helper()
	meta, err := b.GetTaskMeta(t.Context(), id)
	require.NoError(t, err, id)
	return meta
}

// plain returns a value as text.
func plain(t testing.TB, v celeryresults.Value) string {
	t.Helper()
	printed, err := v.MarshalJSON()
	require.NoError(t, err)
	return string(printed)
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// start is a moment that all databases hold, for clocks of tests.
var start = time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC)

func numbered(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%03d", prefix, i)
	}
	return ids
}

// everyone calls f from n goroutines at once and waits for them.
func everyone(n int, f func(i int)) {
	var group sync.WaitGroup
	ready := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-ready
			f(i)
		})
	}
	close(ready)
	group.Wait()
}

func parse(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u
}
