package dbbackend_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// isolated returns handles whose sessions default to an isolation level.
func (b base) isolated(t *testing.T, level string) *sql.DB {
	t.Helper()
	if b.dialect == sqldialect.PostgreSQL {
		db, _, err := sqldialect.Open(cache.Database{URL: b.database.URL, Options: map[string]string{"default_transaction_isolation": level}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return db
	}
	config := b.mysqlConfig(t)
	name, value := "transaction_isolation", "'"+strings.ToUpper(strings.ReplaceAll(level, " ", "-"))+"'"
	if strings.Contains(fmt.Sprint(b.rows(t, `SELECT VERSION() AS version`)), "MariaDB") {
		name = "tx_isolation"
	}
	config.Params = map[string]string{name: value}
	return openMySQL(t, config)
}

func openMySQL(t *testing.T, config *mysql.Config) *sql.DB {
	t.Helper()
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	sqldialect.LimitPool(db, 16)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// mysqlConfig returns what the driver needs to reach the test's database, as a
// program would write it.
func (b base) mysqlConfig(t *testing.T) *mysql.Config {
	t.Helper()
	u := parse(t, b.database.URL)
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", u.Host, u.Path[1:]
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.InterpolateParams = true
	return config
}

func (b base) over(t *testing.T, db *sql.DB, o dbbackend.Options, set ...func(*celeryresults.Settings)) *celeryresults.Backend {
	t.Helper()
	s := b.settings()
	for _, f := range set {
		f(&s)
	}
	backend, err := dbbackend.New(db, s, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, backend.Close()) })
	return backend
}

// levels are isolation levels above the default ones.
var levels = []string{"repeatable read", "serializable"}

func onEachLevel(t *testing.T, test func(t *testing.T, b base, level string)) {
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			onEach(t, func(t *testing.T, b base) {
				if b.dialect == sqldialect.SQLite {
					t.Skip("it has one level")
				}
				test(t, b, level)
			})
		})
	}
}

func TestReadsDoNotGoStaleInRepeatableReadSessions(t *testing.T) {
	onEachLevel(t, func(t *testing.T, b base, level string) {
		db := b.isolated(t, level)
		reader, writer := b.over(t, db, dbbackend.Options{}), b.open(t)
		store(t, writer, inState("task", celeryresults.Started))
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true}) // a caller's own, which has read the table
		require.NoError(t, err)
		defer tx.Rollback() //nolint:errcheck // it was only read
		var status string
		require.NoError(t, tx.QueryRowContext(t.Context(), `SELECT status FROM `+resultschema.TaskTable).Scan(&status))
		if b.dialect == sqldialect.MySQL && level == "serializable" {
			require.NoError(t, tx.Rollback()) // it has the row locked
		}
		assert.Equal(t, celeryresults.Started, get(t, reader, "task").State)
		waited := make(chan *celeryresults.TaskMeta)
		go func() {
			meta, err := reader.WaitFor(within(t, time.Minute), "task")
			assert.NoError(t, err)
			waited <- meta
		}()
		store(t, writer, done("task", "new"))
		assert.Equal(t, celeryresults.Success, (<-waited).State)
		assert.Equal(t, celeryresults.Success, get(t, reader, "task").State)
		page, err := reader.List(t.Context(), celeryresults.Query{States: []celeryresults.State{celeryresults.Success}})
		require.NoError(t, err)
		assert.Len(t, page.Results, 1)
	})
}

func TestStoresInStrictSessionsLoseNothing(t *testing.T) {
	const tasks = 60
	states := []celeryresults.State{celeryresults.Started, celeryresults.Failure, "PROGRESS", celeryresults.Success}
	onEachLevel(t, func(t *testing.T, b base, level string) {
		backends := []*celeryresults.Backend{b.over(t, b.isolated(t, level), dbbackend.Options{}), b.over(t, b.isolated(t, level), dbbackend.Options{})}
		ids := numbered("strict", tasks)
		everyone(len(backends)*len(states)*8, func(i int) {
			backend, state := backends[i%2], states[i/2%len(states)]
			for task := i / (2 * len(states)); task < tasks; task += 8 {
				meta := inState(ids[task], state)
				meta.Meta = celeryresults.NewValue(map[string]any{"tenant": fmt.Sprint(i % 3)})
				err := backend.StoreResult(within(t, time.Minute), meta)
				if err != nil {
					assert.ErrorIs(t, err, celeryresults.ErrRefused)
				}
			}
		})
		for _, id := range ids {
			assert.Equal(t, celeryresults.Success, get(t, backends[0], id).State)
		}
		for _, tenant := range []string{"0", "1", "2"} {
			page, err := backends[0].List(t.Context(), celeryresults.Query{Labels: map[string]string{"tenant": tenant}})
			require.NoError(t, err)
			for _, meta := range page.Results {
				assert.JSONEq(t, `{"tenant": "`+tenant+`"}`, plain(t, meta.Meta))
			}
		}
	})
}

// TestHandlesOfTheCallersOwnWork is about what New asks for only as "best": a
// MySQL source without our parameters, and SQLite with several connections.
func TestHandlesOfTheCallersOwnWork(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		db := b.db
		switch b.dialect {
		case sqldialect.MySQL:
			config := b.mysqlConfig(t)
			config.InterpolateParams = false
			config.Loc = time.FixedZone("", -7*3600)
			config.ParseTime = true
			connector, err := mysql.NewConnector(config)
			require.NoError(t, err)
			db = sql.OpenDB(connector)
		case sqldialect.SQLite:
			var err error
			db, err = sql.Open("sqlite", "file:"+strings.TrimPrefix(parse(t, b.database.URL).Path, "/"))
			require.NoError(t, err)
			db.SetMaxOpenConns(4)
		}
		if db != b.db {
			t.Cleanup(func() { require.NoError(t, db.Close()) })
		}
		backend := b.over(t, db, dbbackend.Options{}, forever)
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				meta := known(fmt.Sprint("id-", i))
				assert.NoError(t, backend.StoreResult(t.Context(), inState(meta.TaskID, celeryresults.Started)))
				assert.NoError(t, backend.StoreResult(t.Context(), meta))
				assert.NoError(t, backend.StoreResult(t.Context(), meta, celeryresults.Override), "the same once more")
			})
		}
		all.Wait()
		for i := range 16 {
			got := get(t, backend, fmt.Sprint("id-", i))
			assert.Equal(t, []any{celeryresults.Success, start}, []any{got.State, got.DateDone})
		}
		require.NoError(t, backend.Close())
		require.NoError(t, db.PingContext(context.WithoutCancel(t.Context())), "the handle stays open")
	})
}
