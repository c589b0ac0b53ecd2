package celeryresults_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// tablesEngine is a backend over the tables, beside the same database used
// directly: an upsert of a row that is ready, without a guard, into a table of
// the same shape, and a select of a row's fourteen columns.
type tablesEngine struct {
	name    string
	url     string // of a server
	db      *sql.DB
	dialect *sqldialect.Dialect
	backend *celeryresults.Backend
}

// openTables opens them on servers that keep what they acknowledge, as those of
// users do.
func openTables(b *testing.B) []tablesEngine {
	postgres := testserver.StartPostgres(b, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_wal_size=4GB", "shared_buffers=512MB")
	mysql := testserver.StartMySQL(b, "--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1", "--innodb-log-file-size=512M", "--innodb-buffer-pool-size=1G")
	return []tablesEngine{
		openTablesEngine(b, "postgresql", cache.Database{URL: postgres.URL()}),
		openTablesEngine(b, "mysql", cache.Database{URL: mysql.URL()}),
		openTablesEngine(b, "sqlite", cache.Database{Engine: "sqlite3", Name: filepath.Join(b.TempDir(), "results.sqlite3")}),
	}
}

func openTablesEngine(b *testing.B, name string, d cache.Database) tablesEngine {
	db, dialect, err := sqldialect.Open(d)
	require.NoError(b, err)
	b.Cleanup(func() { _ = db.Close() })
	// The raw table is made first, by the same definition, and renamed.
	migrate := func() error {
		_, err := dbbackend.Migrate(context.Background(), db, dbbackend.MigrateOptions{Engine: dialect.Name()})
		return err
	}
	require.NoError(b, migrate())
	for _, statement := range rawTable[dialect.Name()] {
		_, err := db.ExecContext(context.Background(), statement)
		require.NoError(b, err, statement)
	}
	backend, err := dbbackend.Open(celeryresults.Settings{
		ResultBackend: "django-db", Databases: map[string]cache.Database{"default": d}, ResultExtended: true,
	})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, backend.Close()) })
	return tablesEngine{name, d.URL, db, dialect, backend}
}

// rawTable makes a table like the one of results.
var rawTable = map[string][]string{
	"postgresql": {`CREATE TABLE raw_results (LIKE django_celery_results_taskresult INCLUDING ALL)`},
	"mysql":      {`CREATE TABLE raw_results LIKE django_celery_results_taskresult`},
	"sqlite": {
		`CREATE TABLE raw_results (id integer PRIMARY KEY AUTOINCREMENT, task_id varchar(255) NOT NULL, status varchar(50) NOT NULL,
			content_type varchar(128) NOT NULL, content_encoding varchar(64) NOT NULL, result text, date_done datetime NOT NULL, traceback text,
			meta text, task_args text, task_kwargs text, task_name varchar(255), worker varchar(100), date_created datetime NOT NULL,
			periodic_task_name varchar(255), date_started datetime, group_id varchar(255))`,
		`CREATE UNIQUE INDEX raw_key ON raw_results (task_id)`,
		`CREATE INDEX raw_created ON raw_results (date_created, id)`, `CREATE INDEX raw_done ON raw_results (date_done, id)`,
		`CREATE INDEX raw_status ON raw_results (status, date_created, id)`, `CREATE INDEX raw_name ON raw_results (task_name, date_created, id)`,
		`CREATE INDEX raw_worker ON raw_results (worker, date_created, id)`,
		`CREATE INDEX raw_periodic ON raw_results (periodic_task_name, date_created, id) WHERE periodic_task_name IS NOT NULL`,
		`CREATE INDEX raw_group ON raw_results (group_id, date_created, id) WHERE group_id IS NOT NULL`,
	},
}

var rawColumns = []string{
	"task_id", "status", "content_type", "content_encoding", "result", "date_done", "meta", "task_args", "task_kwargs", "task_name", "worker", "date_created",
}

const (
	rawResult = `{"currency": "EUR", "lines": [{"count": 2, "price": 99.5, "sku": "A-100"}, {"count": 1, "price": 1035.5, "sku": "B-200"}], "note": "delivered to the neighbour, second floor", "order": 4711, "paid": true, "total": "1234.50"}`
	rawMeta   = `{"children": [], "retries": 0, "queue": "billing", "celeryresults.args": [4711], "celeryresults.kwargs": {"locale": "de_DE", "notify": true}}`
)

// rawStore returns an upsert of a row that is ready, with what follows it.
func (e tablesEngine) rawStore(b *testing.B, rest string) func(id string) error {
	var sets []string
	upsert := "ON CONFLICT (task_id) DO UPDATE SET "
	if e.dialect == sqldialect.MySQL {
		upsert = "ON DUPLICATE KEY UPDATE "
	}
	for _, column := range rawColumns[1:] {
		if e.dialect == sqldialect.MySQL {
			sets = append(sets, column+" = VALUES("+column+")")
		} else {
			sets = append(sets, column+" = excluded."+column)
		}
	}
	q := e.dialect.Rebind(`INSERT INTO raw_results (` + strings.Join(rawColumns, ", ") + `) VALUES (` +
		sqldialect.Parameters(1, len(rawColumns)) + `) ` + upsert + strings.Join(sets, ", ") + rest)
	exec := e.db.ExecContext
	if e.dialect == sqldialect.SQLite { // parsing would take longer than storing
		prepared, err := e.db.PrepareContext(context.Background(), q.Text)
		require.NoError(b, err)
		b.Cleanup(func() { _ = prepared.Close() })
		exec = func(ctx context.Context, _ string, args ...any) (sql.Result, error) {
			return prepared.ExecContext(ctx, args...)
		}
	}
	return func(id string) error {
		now := e.dialect.Time(time.Now())
		_, err := exec(context.Background(), q.Text, id, "SUCCESS", "application/json", "utf-8", rawResult, now, rawMeta,
			`"(4711,)"`, `"{'locale': 'de_DE', 'notify': True}"`, "shop.tasks.settle_order", "celery@worker-7.example.org", now)
		return err
	}
}

// rawGet returns a select of a whole row.
func (e tablesEngine) rawGet(b *testing.B) func(id string) error {
	q := e.dialect.Rebind(`SELECT id, task_id, status, content_type, content_encoding, result, date_done, traceback, meta, task_args,
		task_kwargs, task_name, worker, date_created FROM raw_results WHERE task_id = $1`)
	query := e.db.QueryRowContext
	if e.dialect == sqldialect.SQLite {
		prepared, err := e.db.PrepareContext(context.Background(), q.Text)
		require.NoError(b, err)
		b.Cleanup(func() { _ = prepared.Close() })
		query = func(ctx context.Context, _ string, args ...any) *sql.Row {
			return prepared.QueryRowContext(ctx, args...)
		}
	}
	return func(id string) error {
		var rowID int64
		var text [12]sql.NullString
		var done, created time.Time
		return query(context.Background(), q.Text, id).Scan(&rowID, &text[0], &text[1], &text[2], &text[3], &text[4],
			e.dialect.ScanTime(&done), &text[5], &text[6], &text[7], &text[8], &text[9], &text[10], e.dialect.ScanTime(&created))
	}
}

// BenchmarkTables compares guarded stores of new results, and gets of stored
// ones, with the database used directly, as BenchmarkBackend does.
func BenchmarkTables(b *testing.B) {
	for _, e := range openTables(b) {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/store/%d", e.name, callers), func(b *testing.B) { e.benchStore(b, callers) })
			b.Run(fmt.Sprintf("%s/get/%d", e.name, callers), func(b *testing.B) { e.benchGet(b, callers) })
		}
		b.Run(e.name+"/get many", e.benchGetMany)
	}
}

func (e tablesEngine) benchStore(b *testing.B, callers int) {
	run := rand.Text()
	var n atomic.Int64
	raw := e.rawStore(b, "")
	compare(b, callers, func() error { return raw(run + strconv.FormatInt(n.Add(1), 10)) }, func() error {
		return e.backend.StoreResult(context.Background(), benchMeta(run+strconv.FormatInt(n.Add(1), 10)))
	})
}

func (e tablesEngine) fill(b *testing.B, n int) []string {
	run, raw := rand.Text(), e.rawStore(b, "")
	ids := make([]string, n)
	var errs []error
	for i := range ids {
		ids[i] = fmt.Sprint(run, i)
		errs = append(errs, raw(ids[i]), e.backend.StoreResult(context.Background(), benchMeta(ids[i])))
	}
	require.NoError(b, errors.Join(errs...))
	return ids
}

func (e tablesEngine) benchGet(b *testing.B, callers int) {
	ids, raw := e.fill(b, 2000), e.rawGet(b)
	var n atomic.Int64
	next := func() string { return ids[n.Add(1)%int64(len(ids))] }
	compare(b, callers, func() error { return raw(next()) }, func() error {
		_, err := e.backend.GetTaskMeta(context.Background(), next())
		return err
	})
}

// benchGetMany compares a thousand results in one call with as many selects.
func (e tablesEngine) benchGetMany(b *testing.B) {
	ids, raw := e.fill(b, 1000), e.rawGet(b)
	compare(b, 1, func() error {
		for _, id := range ids {
			if err := raw(id); err != nil {
				return err
			}
		}
		return nil
	}, func() error {
		_, err := e.backend.GetMany(context.Background(), ids)
		return err
	})
}
