package sqlalchemybackend_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/python"
)

func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	testserver.Main(m)
}

// onEach runs a test in an empty database of every kind.
func onEach(t *testing.T, test func(t *testing.T, s celeryresults.Settings, b base)) {
	for name, fresh := range map[string]func(t *testing.T) string{
		"sqlite":     func(t *testing.T) string { return "sqlite:///" + filepath.Join(t.TempDir(), "results.db") },
		"postgresql": func(t *testing.T) string { return testserver.Postgres(t) },
		"mysql":      func(t *testing.T) string { return testserver.MySQL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, b := openBase(t, fresh(t))
			test(t, s, b)
		})
	}
}

// openBase opens a database, and returns the settings of a backend there.
func openBase(t *testing.T, url string) (celeryresults.Settings, base) {
	t.Helper()
	db, dialect, err := sqldialect.Open(cache.Database{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return celeryresults.Settings{ResultBackend: "db+" + url, ResultExpires: celeryresults.Never}, base{db, dialect}
}

// base is a database beside the backend under test.
type base struct {
	db      *sql.DB
	dialect *sqldialect.Dialect
}

func (b base) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	q := b.dialect.Rebind(statement)
	require.NoError(t, sqldialect.Retry(t.Context(), sqldialect.Once, func() error {
		_, err := b.db.ExecContext(t.Context(), q.Text, q.Args(args...)...)
		return err
	}), statement)
}

// scan returns one value of the database.
func (b base) scan(t *testing.T, dst any, statement string, args ...any) {
	t.Helper()
	q := b.dialect.Rebind(statement)
	require.NoError(t, b.db.QueryRowContext(t.Context(), q.Text, q.Args(args...)...).Scan(dst), statement)
}

// old makes the tables that Celery 5.6 makes, with result_extended or without.
func (b base) old(t *testing.T, extended bool) {
	t.Helper()
	id, binary, at := "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "BLOB", "DATETIME"
	switch b.dialect {
	case sqldialect.PostgreSQL:
		id, binary, at = "INTEGER NOT NULL PRIMARY KEY", "BYTEA", "TIMESTAMP WITHOUT TIME ZONE"
		b.exec(t, `CREATE SEQUENCE task_id_sequence`)
		b.exec(t, `CREATE SEQUENCE taskset_id_sequence`)
	case sqldialect.MySQL:
		id = "INTEGER NOT NULL PRIMARY KEY AUTO_INCREMENT"
	}
	more := ""
	if extended {
		more = `, name VARCHAR(155), args ` + binary + `, kwargs ` + binary + `, worker VARCHAR(155), retries INTEGER, queue VARCHAR(155)`
	}
	b.exec(t, `CREATE TABLE celery_taskmeta (id `+id+`, task_id VARCHAR(155) UNIQUE, status VARCHAR(50), result `+binary+`, date_done `+at+`, traceback TEXT`+more+`)`)
	b.exec(t, `CREATE TABLE celery_tasksetmeta (id `+id+`, taskset_id VARCHAR(155) UNIQUE, result `+binary+`, date_done `+at+`)`)
}

func missingColumns(t *testing.T, b *celeryresults.Backend) ([]string, error) {
	t.Helper()
	return b.Driver().(*sqlalchemybackend.Store).MissingColumns(t.Context())
}

func open(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	b, err := sqlalchemybackend.Open(s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// record is one line of a recording of real tables.
type record struct {
	Case    string          `json:"case"`
	TaskID  string          `json:"task_id"`
	GroupID string          `json:"group_id"`
	Canon   json.RawMessage `json:"canon"`
	Tuple   json.RawMessage `json:"tuple"`
	Store   map[string]any  `json:"store"`
}

func recordings(t *testing.T) []record {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "driver", "drivertest", "testdata", "recorded", "sqlalchemy-*.jsonl"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	var all []record
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range bytes.Lines(data) {
			var r record
			require.NoError(t, json.Unmarshal(line, &r))
			if r.Case != "" {
				all = append(all, r)
			}
		}
	}
	require.Len(t, all, 2*37)
	return all
}

// insert puts the recorded row into its table.
func (r record) insert(t *testing.T, b base, id int) {
	t.Helper()
	table := "celery_taskmeta"
	if r.TaskID == "" {
		table = "celery_tasksetmeta"
	}
	r.Store["id"] = id
	columns := slices.Sorted(maps.Keys(r.Store))
	args := make([]any, len(columns))
	for i, column := range columns {
		args[i] = r.Store[column]
		text, isText := args[i].(string)
		switch {
		case !isText:
		case column == "date_done":
			at, err := sqldialect.ParseTime(text)
			require.NoError(t, err)
			args[i] = b.dialect.Time(at)
		case column == "result" || column == "args" || column == "kwargs":
			data, err := base64.StdEncoding.DecodeString(text)
			require.NoError(t, err)
			args[i] = data
		}
	}
	b.exec(t, `INSERT INTO `+table+` (`+strings.Join(columns, ", ")+`) VALUES (`+sqldialect.Parameters(1, len(columns))+`)`, args...)
}

func exact(t *testing.T, data []byte) map[string]any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v map[string]any
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}

func (r record) check(t *testing.T, b base, meta *celeryresults.TaskMeta, copied bool) {
	t.Helper()
	printed, err := json.Marshal(meta)
	require.NoError(t, err)
	got, want := exact(t, printed), exact(t, r.Canon)
	if copied && !meta.State.Ready() {
		delete(want, "date_done") // that of the row's last write
	}
	if r.Case == "unserializable-failure" { // whose message Python makes anew of an object's address
		delete(got["result"].(map[string]any), "exc_message")
		delete(want["result"].(map[string]any), "exc_message")
	}
	for name, value := range want {
		if at, ok := value.(string); ok && name == "date_done" { // naive, and in UTC
			first, err := time.Parse(time.RFC3339Nano, at+"Z")
			require.NoError(t, err)
			second, err := time.Parse(time.RFC3339Nano, got[name].(string))
			require.NoError(t, err)
			off := time.Duration(0)
			if b.dialect == sqldialect.MySQL { // whose DATETIME holds seconds
				off = time.Second
			}
			assert.WithinDuration(t, first, second, off, "%s of %s", name, r.TaskID)
			continue
		}
		assert.Equal(t, value, got[name], "%s of %s", name, r.TaskID)
	}
}

func TestRowsOfPythonAreReadAndKept(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		b.old(t, true)
		backend := open(t, s)
		for i, r := range recordings(t) {
			r.insert(t, b, 1000+i)
			if r.TaskID == "" {
				r.checkGroup(t, backend)
				continue
			}
			meta, err := backend.GetTaskMeta(t.Context(), r.TaskID)
			require.NoError(t, err)
			r.check(t, b, meta, false)
			require.NoError(t, backend.StoreResult(t.Context(), meta, celeryresults.Override), r.Case)
			again, err := backend.GetTaskMeta(t.Context(), r.TaskID)
			require.NoError(t, err)
			r.check(t, b, again, true)
			var result []byte
			b.scan(t, &result, `SELECT result FROM celery_taskmeta WHERE task_id = $1`, r.TaskID)
			pickled, ok := r.Store["result"].(string)
			if !ok {
				assert.Nil(t, result, "None is NULL")
				continue
			}
			want, err := base64.StdEncoding.DecodeString(pickled)
			require.NoError(t, err)
			assert.Equal(t, plain(t, want), plain(t, result), "the pickle of %s", r.TaskID)
		}
	})
}

func plain(t *testing.T, pickled []byte) string {
	t.Helper()
	tree, err := pickle.Codec.Decode(pickled)
	require.NoError(t, err)
	return string(python.JSON(nil, tree))
}

func (r record) checkGroup(t *testing.T, backend *celeryresults.Backend) {
	t.Helper()
	for range 2 {
		group, err := backend.RestoreGroup(t.Context(), r.GroupID)
		require.NoError(t, err)
		got, err := json.Marshal(group)
		require.NoError(t, err)
		assert.JSONEq(t, string(r.Tuple), string(got))
		require.NoError(t, backend.SaveGroup(t.Context(), group))
	}
}

func TestTablesAreMadeAndExtended(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		no := false
		s.Database.CreateTablesAtSetup = &no
		strict := open(t, s)
		_, err := strict.GetTaskMeta(t.Context(), "a")
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		_, err = missingColumns(t, strict)
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		err = strict.StoreResult(t.Context(), done("a", 1))
		require.ErrorIs(t, err, celeryresults.ErrNoTable)
		assert.Equal(t, celeryresults.OutcomeNotStored, celeryresults.OutcomeOf(err))

		s.Database.CreateTablesAtSetup = nil
		var starting sync.WaitGroup // several programs at once
		for i := range 4 {
			starting.Go(func() {
				own := open(t, s)
				assert.NoError(t, own.StoreResult(t.Context(), done(string(rune('a'+i)), i)))
			})
		}
		starting.Wait()
		for i := range 4 {
			meta, err := strict.GetTaskMeta(t.Context(), string(rune('a'+i)))
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
		}

		now := time.Now()
		clocked, err := sqlalchemybackend.New(b.db, s, sqlalchemybackend.Options{Now: func() time.Time { return now }})
		require.NoError(t, err)
		defer clocked.Close()
		require.NoError(t, clocked.StoreResult(t.Context(), done("pickled", "x")))
		report, err := sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{})
		require.NoError(t, err)
		assert.Equal(t, sqlalchemybackend.MigrateReport{}, report)
		report, err = sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{Alter: true})
		require.NoError(t, err)
		assert.Equal(t, sqlalchemybackend.MigrateReport{Altered: []string{"celery_taskmeta.children"}}, report)
		now = now.Add(time.Minute) // it is noticed
		require.NoError(t, clocked.StoreResult(t.Context(), done("encoded", "x")))
		var result []byte
		b.scan(t, &result, `SELECT result FROM celery_taskmeta WHERE task_id = $1`, "encoded")
		assert.Equal(t, `"x"`, string(result))
		b.scan(t, &result, `SELECT result FROM celery_taskmeta WHERE task_id = $1`, "pickled")
		assert.Equal(t, `"x"`, plain(t, result))
		for _, id := range []string{"encoded", "pickled"} {
			got, err := celeryresults.Get[string](t.Context(), celeryresults.NewAsyncResult(id, clocked))
			require.NoError(t, err)
			assert.Equal(t, "x", got)
		}
	})
}

// Tables may have other names, and stand in other schemas than where statements look.
func TestNamesOfTables(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		s.Database.TableNames = map[string]string{"task": "My_Tasks", "group": "my_groups"}
		switch b.dialect {
		case sqldialect.PostgreSQL:
			b.exec(t, `CREATE SCHEMA results`)
			s.Database.TableSchemas = map[string]string{"task": "results", "group": "results"}
		case sqldialect.MySQL:
			var database string
			b.scan(t, &database, `SELECT DATABASE()`)
			s.Database.TableSchemas = map[string]string{"task": database}
		}
		backend := open(t, s)
		require.NoError(t, backend.StoreResult(t.Context(), done("a", 1)))
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "g"}))
		report, err := sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{Alter: true})
		require.NoError(t, err)
		assert.Equal(t, sqlalchemybackend.MigrateReport{Altered: []string{"My_Tasks.children"}}, report)
		var id int
		if b.dialect == sqldialect.PostgreSQL {
			b.scan(t, &id, `SELECT id FROM results."My_Tasks" WHERE task_id = $1`, "a")
		} else {
			b.scan(t, &id, `SELECT id FROM My_Tasks WHERE task_id = $1`, "a")
		}
		assert.Equal(t, 1, id)
		group, err := open(t, s).RestoreGroup(t.Context(), "g")
		require.NoError(t, err)
		assert.Equal(t, "g", group.ID)
		b.exec(t, `CREATE TABLE strange (id INTEGER PRIMARY KEY, task_id VARCHAR(20))`)
		s.Database.TableNames, s.Database.TableSchemas = map[string]string{"task": "strange"}, nil
		_, err = sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{Alter: true})
		require.ErrorContains(t, err, "another program's")
		_, err = open(t, s).GetTaskMeta(t.Context(), "a")
		require.ErrorContains(t, err, "another program's")
	})
}

func TestOldTablesLackColumns(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		b.old(t, false)
		s.ResultExtended = true
		backend := open(t, s)
		missing, err := missingColumns(t, backend)
		require.NoError(t, err)
		assert.Equal(t, []string{"celery_taskmeta.name", "celery_taskmeta.args", "celery_taskmeta.kwargs", "celery_taskmeta.worker", "celery_taskmeta.retries", "celery_taskmeta.queue", "celery_taskmeta.stamps"}, missing)
		meta := done("a", 1)
		meta.Name, meta.GroupID = "shop.add", "g"
		require.NoError(t, backend.StoreResult(t.Context(), meta))
		meta, err = backend.GetTaskMeta(t.Context(), "a")
		require.NoError(t, err)
		assert.Empty(t, meta.Name+meta.GroupID)
		var id int
		b.scan(t, &id, `SELECT id FROM celery_taskmeta WHERE task_id = $1`, "a")
		assert.Equal(t, 1, id)
		for range 3 { // an update burns no id
			require.NoError(t, backend.StoreResult(t.Context(), done("a", 2), celeryresults.Override))
		}
		require.ErrorIs(t, backend.StoreResult(t.Context(), done("a", 3)), celeryresults.ErrRefused)
		if b.dialect != sqldialect.MySQL { // where a refusal tries to insert
			require.NoError(t, backend.StoreResult(t.Context(), done("b", 2)))
			b.scan(t, &id, `SELECT id FROM celery_taskmeta WHERE task_id = $1`, "b")
			assert.Equal(t, 2, id)
		}
		report, err := sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{})
		require.NoError(t, err)
		assert.Equal(t, missing, report.Missing)
	})
}

func done(id string, value any) *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{TaskID: id, State: celeryresults.Success, Result: celeryresults.NewValue(value), DateDone: time.Now().UTC()}
}

func TestExpiredRowsAreCleanedUp(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		s.ResultExpires = time.Hour
		backend := open(t, s)
		old := time.Now().Add(-2 * time.Hour)
		for i := range 20 {
			meta := done(string(rune('a'+i)), i)
			if i%2 == 0 {
				meta.DateDone = old
			}
			require.NoError(t, backend.StoreResult(t.Context(), meta))
		}
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "old"}))
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "new"}))
		b.exec(t, `UPDATE celery_tasksetmeta SET date_done = $1 WHERE taskset_id = 'old'`, b.dialect.Time(old))
		_, err := backend.RestoreGroup(t.Context(), "old")
		require.ErrorIs(t, err, celeryresults.ErrUnknownGroup)
		n, err := backend.Cleanup(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 11, n)
		var left int
		b.scan(t, &left, `SELECT COUNT(*) FROM celery_taskmeta`)
		assert.Equal(t, 10, left)
	})
}

func TestWrongSettings(t *testing.T) {
	for _, s := range []celeryresults.Settings{
		{ResultBackend: "database"},
		{ResultBackend: "db+oracle://u:hunter2@h/d"},
		{ResultBackend: "db+sqlite://", ResultSerializer: "xml"},
		{ResultBackend: "db+sqlite://", Database: celeryresults.DatabaseSettings{TableNames: map[string]string{"task": "t; DROP TABLE x"}}},
		{ResultBackend: "db+sqlite://", Database: celeryresults.DatabaseSettings{TableSchemas: map[string]string{"group": `a"b`}}},
	} {
		_, err := sqlalchemybackend.Open(s)
		require.Error(t, err)
		assert.NotContains(t, err.Error(), "hunter2")
	}
	_, err := sqlalchemybackend.New(nil, celeryresults.Settings{}, sqlalchemybackend.Options{})
	require.Error(t, err)
	b := open(t, celeryresults.Settings{ResultBackend: "database", Database: celeryresults.DatabaseSettings{URL: "sqlite://"}})
	require.NoError(t, b.StoreResult(t.Context(), done("a", 1)))
}

// Rows may hold anything: none is executed, panics, or hides the others.
func TestHostileRows(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		backend := open(t, s)
		require.NoError(t, backend.StoreResult(t.Context(), done("fine", 1)))
		for i, data := range [][]byte{
			{}, {0x80}, {0x80, 5}, {0x80, 5, '.'}, []byte("\x80\x05cos\nsystem\n(S'x'\ntR."), []byte("{"), {0xff, 0xfe}, bytes.Repeat([]byte{'['}, 100_000),
		} {
			id := "bad-" + string(rune('a'+i))
			b.exec(t, `INSERT INTO celery_taskmeta (id, task_id, status, result, stamps, date_done) VALUES ($1, $2, 'SUCCESS', $3, $3, $4)`, 1000+i, id, data, b.dialect.Time(time.Now()))
			b.exec(t, `INSERT INTO celery_tasksetmeta (id, taskset_id, result, date_done) VALUES ($1, $2, $3, $4)`, 1000+i, id, data, b.dialect.Time(time.Now()))
			meta, err := backend.GetTaskMeta(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
			if tree, err := meta.Result.Any(); err == nil && len(data) > 0 { // the call stays a description
				assert.IsType(t, &python.Object{}, tree, "%q", data)
			}
			_, err = backend.RestoreGroup(t.Context(), id)
			var unreadable *celeryresults.UnreadableError
			require.True(t, errors.As(err, &unreadable), "%q: %v", data, err)
		}
		b.exec(t, `INSERT INTO celery_taskmeta (id, task_id, status, date_done) VALUES (2000, 'no-status', NULL, NULL)`)
		metas, err := backend.GetMany(t.Context(), []string{"no-status", "fine"})
		require.Error(t, err)
		require.Len(t, metas, 2)
		assert.Equal(t, celeryresults.Success, metas[1].State)
		if b.dialect == sqldialect.SQLite { // where anything may stand anywhere
			b.exec(t, `UPDATE celery_taskmeta SET date_done = 'soon', retries = 'many' WHERE task_id = 'bad-a'`)
			metas, err := backend.GetMany(t.Context(), []string{"bad-a", "fine"})
			require.NoError(t, err)
			assert.Equal(t, celeryresults.Success, metas[0].State)
		}
	})
}
