package djcelerybackend_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/djcelerybackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	testserver.Main(m)
}

// tables are what the migrations of django-celery 3.3 make.
var tables = map[*sqldialect.Dialect][]string{
	sqldialect.SQLite: {
		`CREATE TABLE celery_taskmeta (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, task_id varchar(255) NOT NULL UNIQUE, status varchar(50) NOT NULL,
			result text NULL, date_done datetime NOT NULL, traceback text NULL, hidden bool NOT NULL, meta text NULL)`,
		`CREATE TABLE celery_tasksetmeta (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, taskset_id varchar(255) NOT NULL UNIQUE, result text NOT NULL, date_done datetime NOT NULL, hidden bool NOT NULL)`,
	},
	sqldialect.PostgreSQL: {
		`CREATE TABLE celery_taskmeta (id serial NOT NULL PRIMARY KEY, task_id varchar(255) NOT NULL UNIQUE, status varchar(50) NOT NULL,
			result text NULL, date_done timestamp with time zone NOT NULL, traceback text NULL, hidden boolean NOT NULL, meta text NULL)`,
		`CREATE TABLE celery_tasksetmeta (id serial NOT NULL PRIMARY KEY, taskset_id varchar(255) NOT NULL UNIQUE, result text NOT NULL, date_done timestamp with time zone NOT NULL, hidden boolean NOT NULL)`,
	},
	sqldialect.MySQL: {
		"CREATE TABLE celery_taskmeta (id integer AUTO_INCREMENT NOT NULL PRIMARY KEY, task_id varchar(191) NOT NULL UNIQUE, status varchar(50) NOT NULL, " +
			"result longtext NULL, date_done datetime(6) NOT NULL, traceback longtext NULL, hidden bool NOT NULL, meta longtext NULL) DEFAULT CHARSET utf8mb4",
		"CREATE TABLE celery_tasksetmeta (id integer AUTO_INCREMENT NOT NULL PRIMARY KEY, taskset_id varchar(191) NOT NULL UNIQUE, result longtext NOT NULL, date_done datetime(6) NOT NULL, hidden bool NOT NULL) DEFAULT CHARSET utf8mb4",
	},
}

type base struct {
	db       *sql.DB
	dialect  *sqldialect.Dialect
	database cache.Database
}

func (b base) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	q := b.dialect.Rebind(statement)
	_, err := b.db.ExecContext(t.Context(), q.Text, q.Args(args...)...)
	require.NoError(t, err, statement)
}

// onEach runs a test in every database, on tables with the rows of testdata, which were
// written at a time.
func onEach(t *testing.T, at time.Time, test func(t *testing.T, b base)) {
	data, err := os.ReadFile("testdata/rows.jsonl")
	require.NoError(t, err)
	for name, fresh := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "old.db") },
		"postgresql": func(t *testing.T) string { return testserver.Postgres(t) },
		"mysql":      func(t *testing.T) string { return testserver.MySQL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := cache.Database{URL: fresh(t)}
			db, dialect, err := sqldialect.Open(database)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			b := base{db, dialect, database}
			for _, statement := range tables[dialect] {
				b.exec(t, statement)
			}
			for line := range bytes.Lines(data) {
				var r map[string]any
				require.NoError(t, json.Unmarshal(line, &r))
				if r["group_id"] != nil {
					b.exec(t, `INSERT INTO celery_tasksetmeta (taskset_id, result, date_done, hidden) VALUES ($1, $2, $3, $4)`, r["group_id"], r["result"], dialect.Time(at), r["hidden"])
					continue
				}
				b.exec(t, `INSERT INTO celery_taskmeta (task_id, status, result, date_done, traceback, hidden, meta) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
					r["task_id"], r["status"], r["result"], dialect.Time(at), r["traceback"], r["hidden"], r["meta"])
			}
			test(t, b)
		})
	}
}

func open(t *testing.T, b base, expires time.Duration) *celeryresults.Backend {
	t.Helper()
	old, err := djcelerybackend.Open(celeryresults.Settings{
		ResultBackend: "django-celery", ResultExpires: expires, Databases: map[string]cache.Database{"default": b.database},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, old.Close()) })
	return old
}

// want is what a task reads as, in the command's JSON.
var want = map[string]string{
	"int":             `{"status":"SUCCESS","result":5,"children":[]}`,
	"text":            `{"status":"SUCCESS","result":"héllo","children":[]}`,
	"dict":            `{"status":"SUCCESS","result":{"a":[1,2.5,null],"when":"2015-03-01T12:30:00"},"children":[]}`,
	"failure":         `{"status":"FAILURE","result":{"exc_type":"ValueError","exc_message":["no",3],"exc_module":"builtins"},"traceback":"Traceback (most recent call last):\n  …\n","children":[]}`,
	"custom":          `{"status":"FAILURE","result":{"exc_type":"QuotaExceeded","exc_message":["acme",10],"exc_module":"shop.errors"},"children":[]}`,
	"progress":        `{"status":"PROGRESS","result":{"current":1,"total":2},"children":[]}`,
	"children":        `{"status":"SUCCESS","result":"spawned","children":[[["child-1",null],null],[["g",null],[[["a",null],null]]]]}`,
	"objects":         `{"status":"SUCCESS","result":"spawned","children":[[["child-2",null],null]]}`,
	"python2 text":    `{"status":"SUCCESS","result":"plain","children":[]}`,
	"python2 failure": `{"status":"FAILURE","result":{"exc_type":"ValueError","exc_message":["no"],"exc_module":"builtins"},"children":[]}`,
}

var at = time.Date(2015, 3, 1, 12, 0, 0, 123456000, time.UTC)

func check(t *testing.T, b *celeryresults.Backend, id string) {
	t.Helper()
	meta, err := b.GetTaskMeta(t.Context(), id)
	require.NoError(t, err)
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	var got, expected map[string]any
	require.NoError(t, json.Unmarshal(printed, &got))
	require.NoError(t, json.Unmarshal([]byte(want[id]), &expected))
	for name, value := range expected {
		assert.Equal(t, value, got[name], "%s of %s", name, id)
	}
	assert.Equal(t, "2015-03-01T12:00:00.123456+00:00", got["date_done"], id)
}

func TestOldRowsAreRead(t *testing.T) {
	onEach(t, at, func(t *testing.T, b base) {
		old := open(t, b, celeryresults.Never)
		for id := range want {
			check(t, old, id)
		}
		hidden, err := old.GetTaskMeta(t.Context(), "hidden")
		require.NoError(t, err)
		assert.True(t, hidden.Unknown)
		broken, err := old.GetTaskMeta(t.Context(), "broken")
		require.NoError(t, err)
		_, err = broken.Result.Any()
		require.Error(t, err)
		group, err := old.RestoreGroup(t.Context(), "group")
		require.NoError(t, err)
		assert.Equal(t, celeryresults.ResultTuple{ID: "group", Children: []celeryresults.ResultTuple{{ID: "int"}, {ID: "text"}}}, group)
		_, err = old.RestoreGroup(t.Context(), "nobody's")
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
		meta, err := old.WaitFor(t.Context(), "int")
		require.NoError(t, err)
		assert.Equal(t, at, meta.DateDone)

		err = old.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: "new", State: celeryresults.Success})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))
		require.NoError(t, old.Forget(t.Context(), "int"))
		meta, err = old.GetTaskMeta(t.Context(), "int")
		require.NoError(t, err)
		assert.True(t, meta.Unknown)

		var walked []string
		for meta, err := range old.Walk(t.Context()) {
			require.NoError(t, err)
			walked = append(walked, meta.TaskID)
		}
		assert.Len(t, walked, len(want), "without int, but with the broken one")
		assert.NotContains(t, walked, "hidden")
		require.NoError(t, old.DeleteGroup(t.Context(), "group"))
		_, err = old.RestoreGroup(t.Context(), "group")
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)

		meta, err = open(t, b, time.Hour).GetTaskMeta(t.Context(), "text")
		require.NoError(t, err)
		assert.True(t, meta.Expired)
		wrapped, err := djcelerybackend.New(b.db, celeryresults.Settings{}, djcelerybackend.Options{Engine: b.dialect.Name()})
		require.NoError(t, err)
		require.ErrorIs(t, wrapped.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "new"}), errors.ErrUnsupported)
		require.NoError(t, wrapped.Close())
	})
}

func TestOldRowsAreCopied(t *testing.T) {
	onEach(t, at, func(t *testing.T, b base) {
		_, err := dbbackend.Migrate(t.Context(), b.db, dbbackend.MigrateOptions{Engine: b.dialect.Name()})
		require.NoError(t, err)
		s := celeryresults.Settings{ResultBackend: "django-db", ResultExpires: celeryresults.Never, Databases: map[string]cache.Database{"default": b.database}}
		s.DjangoDB.UnfinishedExpires = celeryresults.Never
		s.ResultSerializer, s.ResultAcceptContent = "pickle", []string{"pickle"}
		to, err := dbbackend.Open(s)
		require.NoError(t, err)
		defer to.Close()
		require.NoError(t, to.StoreResult(t.Context(), &celeryresults.TaskMeta{TaskID: "int", State: celeryresults.Failure, DateDone: at, Result: celeryresults.NewValue(errors.New("newer"))}))
		old := open(t, b, celeryresults.Never)
		for n := range 1200 {
			b.exec(t, `INSERT INTO celery_taskmeta (task_id, status, result, date_done, hidden) VALUES ($1, 'SUCCESS', NULL, $2, $3)`, fmt.Sprint("many-", n), b.dialect.Time(at), false)
		}
		var failed []string
		batches := 0
		report, err := djcelerybackend.Copy(t.Context(), old, to, func(id string, err error) { failed = append(failed, id) }, func(djcelerybackend.CopyReport) { batches++ })
		require.NoError(t, err)
		assert.Equal(t, djcelerybackend.CopyReport{Copied: len(want) - 1 + 1200, Groups: 2, Standing: 1, Unreadable: 1}, report)
		assert.Equal(t, []string{"broken"}, failed)
		assert.Equal(t, 3, batches)
		for id := range want {
			if id != "int" {
				check(t, to, id)
			}
		}
		standing, err := to.GetTaskMeta(t.Context(), "int")
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Failure, standing.State, "what is there stays")
		group, err := to.RestoreGroup(t.Context(), "group of tuples")
		require.NoError(t, err)
		assert.Equal(t, []celeryresults.ResultTuple{{ID: "int"}}, group.Children)

		report, err = djcelerybackend.Copy(t.Context(), old, to, nil, nil)
		require.NoError(t, err)
		assert.Equal(t, djcelerybackend.CopyReport{Standing: len(want) + 1200, Unreadable: 1}, report)
		report, err = djcelerybackend.Copy(t.Context(), open(t, b, time.Hour), to, nil, nil)
		require.NoError(t, err)
		assert.Equal(t, 1+2, report.Expired, "the broken one, and the groups")
	})
}
