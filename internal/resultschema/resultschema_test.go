package resultschema_test

import (
	"context"
	"database/sql"
	"fmt"
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

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// TestMain leaves out the MySQL driver's remarks about connections that tests
// have ended.
func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
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

// onEach runs a test on an empty database of every engine.
func onEach(t *testing.T, test func(t *testing.T, b base)) {
	for _, engine := range engines {
		t.Run(engine.dialect.Name(), func(t *testing.T) {
			t.Parallel()
			test(t, open(t, engine.fresh(t)))
		})
	}
}

// base is an open database.
type base struct {
	db       *sql.DB
	dialect  *sqldialect.Dialect
	database cache.Database
}

func open(t testing.TB, database cache.Database) base {
	t.Helper()
	db, dialect, err := sqldialect.Open(database)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return base{db, dialect, database}
}

func (b base) exec(t testing.TB, statement string, args ...any) {
	t.Helper()
	q := b.dialect.Rebind(statement)
	_, err := b.db.ExecContext(t.Context(), q.Text, q.Args(args...)...)
	require.NoError(t, err, statement)
}

func (b base) migrate(t testing.TB, o resultschema.Options) resultschema.Report {
	t.Helper()
	report, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, o)
	require.NoError(t, err)
	return report
}

func (b base) inspect(t testing.TB) resultschema.Tables {
	t.Helper()
	tables, err := resultschema.Django.Inspect(t.Context(), b.db, b.dialect)
	require.NoError(t, err)
	return tables
}

// strings returns the rows of a query, their columns joined by spaces.
func (b base) strings(t testing.TB, query string, args ...any) []string {
	t.Helper()
	q := b.dialect.Rebind(query)
	rows, err := b.db.QueryContext(t.Context(), q.Text, q.Args(args...)...)
	require.NoError(t, err, query)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	var lines []string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		pointers := make([]any, len(columns))
		for i := range values {
			pointers[i] = &values[i]
		}
		require.NoError(t, rows.Scan(pointers...))
		line := make([]string, len(values))
		for i, v := range values {
			line[i] = v.String
		}
		lines = append(lines, strings.TrimRight(strings.Join(line, " "), " "))
	}
	require.NoError(t, rows.Err())
	return lines
}

// described are queries that describe all tables as the database itself does:
// columns with all that belongs to them, and indexes.
var described = map[*sqldialect.Dialect][]string{
	sqldialect.SQLite: {`SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY 1, 2`},
	sqldialect.PostgreSQL: {
		`SELECT table_schema, table_name, column_name, ordinal_position, data_type, character_maximum_length, is_nullable, column_default,
			is_identity FROM information_schema.columns WHERE table_schema NOT IN ('information_schema', 'pg_catalog') ORDER BY 1, 2, 4`,
		`SELECT indexdef FROM pg_indexes WHERE schemaname <> 'pg_catalog' ORDER BY 1`,
		`SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0 AND connamespace <> 'pg_catalog'::regnamespace
			AND connamespace <> 'information_schema'::regnamespace ORDER BY 1, 2`,
	},
	sqldialect.MySQL: {
		`SELECT table_name, column_name, ordinal_position, column_type, collation_name, is_nullable, extra, column_default
			FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 3`,
		`SELECT table_name, index_name, non_unique, seq_in_index, column_name
			FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, 4`,
		`SELECT table_name, engine, table_collation FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1`,
	},
}

func (b base) describe(t testing.TB) []string {
	t.Helper()
	var lines []string
	for _, query := range described[b.dialect] {
		lines = append(lines, b.strings(t, query)...)
	}
	return lines
}

// djangos returns the lines of a description that concern Django's tables.
func djangos(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.Contains(line, "django_") })
}

var (
	allTables = []string{
		resultschema.VersionTable, resultschema.TaskTable, resultschema.GroupTable, resultschema.ChordCounterTable,
		resultschema.LabelTable, resultschema.ChordTable, resultschema.ChordMemberTable,
	}
	djangoTables = []string{resultschema.TaskTable, resultschema.GroupTable, resultschema.ChordCounterTable}
	taskIndexes  = []string{
		"celeryresults_task_created", "celeryresults_task_done", "celeryresults_task_status", "celeryresults_task_name",
		"celeryresults_task_worker", "celeryresults_task_periodic", "celeryresults_task_group",
	}
	groupIndexes = []string{"celeryresults_group_done", "celeryresults_group_created"}
)

func TestEmptyDatabaseGetsAllTables(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		assert.Empty(t, b.inspect(t))
		before := time.Now().Add(-time.Second)
		report := b.migrate(t, resultschema.Options{})
		assert.Equal(t, resultschema.Report{Created: allTables, Version: resultschema.Version}, report)

		tables := b.inspect(t)
		assert.True(t, tables.Has(resultschema.TaskTable, "id", "task_id", "status", "content_type", "content_encoding", "result", "date_done",
			"traceback", "meta", "task_args", "task_kwargs", "task_name", "worker", "date_created", "periodic_task_name", "date_started", "group_id"))
		assert.True(t, tables.Has(resultschema.GroupTable, "id", "group_id", "date_created", "date_done", "content_type", "content_encoding", "result"))
		assert.True(t, tables.Has(resultschema.ChordCounterTable, "id", "group_id", "sub_tasks", "count"))
		assert.True(t, tables.Has(resultschema.LabelTable, "name", "value", "date_created", "result_id"))
		assert.True(t, tables.Has(resultschema.ChordTable, "group_id", "missing", "body", "content_type", "content_encoding", "claimed_by",
			"claimed_until", "date_created"))
		assert.True(t, tables.Has(resultschema.ChordMemberTable, "group_id", "task_id", "position", "date_reported"))
		assert.False(t, tables.Has(resultschema.TaskTable, "hidden"))
		assert.False(t, tables.Has("django_migrations"))
		for _, name := range djangoTables {
			assert.True(t, tables[name].WideID, "%s: ids have 64 bits", name)
		}
		for _, name := range allTables {
			assert.True(t, tables.MadeHere(name), name)
		}
		for _, index := range append(taskIndexes, "celeryresults_task_key") {
			assert.True(t, tables[resultschema.TaskTable].Indexes[index], index)
		}
		for _, index := range append(groupIndexes, "celeryresults_group_key") {
			assert.True(t, tables[resultschema.GroupTable].Indexes[index], index)
		}
		assert.True(t, tables[resultschema.ChordTable].Indexes["celeryresults_chord_missing"])
		assert.True(t, tables[resultschema.LabelTable].Indexes["celeryresults_label_result"])
		b.checkRecords(t, before, 7)
	})
}

// checkRecords makes sure that all tables are recorded, so many as made here.
func (b base) checkRecords(t testing.TB, since time.Time, madeHere int) {
	t.Helper()
	rows := b.strings(t, `SELECT name, version FROM `+resultschema.VersionTable)
	assert.Len(t, rows, len(allTables))
	for _, name := range allTables {
		assert.Contains(t, rows, fmt.Sprintf("%s %d", name, resultschema.Version))
	}
	assert.Len(t, b.strings(t, `SELECT name FROM `+resultschema.VersionTable+` WHERE made_here = 1`), madeHere)
	var first, last time.Time
	require.NoError(t, b.db.QueryRowContext(t.Context(), `SELECT MIN(date_applied), MAX(date_applied) FROM `+resultschema.VersionTable).
		Scan(b.dialect.ScanTime(&first), b.dialect.ScanTime(&last)))
	assert.WithinRange(t, first, since, time.Now())
	assert.WithinRange(t, last, since, time.Now())
}

func TestSecondCallChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		o := resultschema.Options{DjangoMigrations: true}
		b.migrate(t, o)
		tables, records := b.describe(t), b.strings(t, `SELECT * FROM `+resultschema.VersionTable)
		for _, again := range []resultschema.Options{o, {}, {Alter: true, TaskIDMaxLength: 100}} {
			assert.Equal(t, resultschema.Report{Version: resultschema.Version}, b.migrate(t, again))
			assert.Equal(t, tables, b.describe(t))
			assert.Equal(t, records, b.strings(t, `SELECT * FROM `+resultschema.VersionTable))
		}
	})
}

// versions are the releases of django-celery-results whose tables testdata has,
// as dumped after manage.py migrate by Django 3.2, 4.2 and 5.2, with what each
// lacks.
var versions = []struct {
	name    string
	missing []string
	listed  int
}{
	{"2.4.0", []string{"date_started", "group_id"}, 11},
	{"2.5.1", []string{"date_started", "group_id"}, 11},
	{"2.6.0", []string{"group_id"}, 14},
}

// onEachVersion runs a test on the tables that Django made.
func onEachVersion(t *testing.T, test func(t *testing.T, b base, missing []string, listed int)) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, b base) {
				b.load(t, version.name)
				missing := make([]string, len(version.missing))
				for i, name := range version.missing {
					missing[i] = resultschema.TaskTable + "." + name
				}
				test(t, b, missing, version.listed)
			})
		})
	}
}

// load runs a dump of what Django's migrations made.
func (b base) load(t testing.TB, version string) {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("testdata", version+"."+b.dialect.Name()+".sql"))
	require.NoError(t, err)
	for statement := range strings.SplitSeq(strings.TrimSpace(string(dump)), ";\n") {
		b.exec(t, strings.TrimSuffix(statement, ";"))
	}
}

func (b base) listed(t testing.TB) []string {
	t.Helper()
	return b.strings(t, `SELECT name FROM django_migrations WHERE app = 'django_celery_results' ORDER BY id`)
}

func TestDjangosTablesAreAdoptedUnchanged(t *testing.T) {
	onEachVersion(t, func(t *testing.T, b base, missing []string, listed int) {
		before := b.describe(t)
		for _, o := range []resultschema.Options{{}, {DjangoMigrations: true, TaskIDMaxLength: 50}} {
			report := b.migrate(t, o)
			assert.Equal(t, djangoTables, report.Adopted)
			assert.Equal(t, missing, report.Missing)
			assert.Equal(t, slices.Concat(taskIndexes, groupIndexes), report.MissingIndexes)
			assert.Empty(t, report.Altered)
			assert.Empty(t, report.DjangoMigrations)
			assert.Equal(t, before, djangos(b.describe(t)))
			assert.Len(t, b.listed(t), listed)
		}
		b.checkRecords(t, time.Now().Add(-time.Minute), 4)
		tables := b.inspect(t)
		for _, name := range djangoTables {
			assert.False(t, tables.MadeHere(name), name)
			assert.Equal(t, b.dialect == sqldialect.SQLite, tables[name].WideID, name)
		}
	})
}

func TestAlterAddsToDjangosTables(t *testing.T) {
	onEachVersion(t, func(t *testing.T, b base, missing []string, listed int) {
		before := djangos(b.describe(t))
		b.migrate(t, resultschema.Options{})
		b.insertTask(t, "before")
		report := b.migrate(t, resultschema.Options{Alter: true})
		assert.Empty(t, report.Created)
		assert.Equal(t, djangoTables, report.Adopted)
		assert.Equal(t, slices.Concat(missing, taskIndexes, groupIndexes), report.Altered)
		assert.Empty(t, report.Missing)
		assert.Empty(t, report.MissingIndexes)
		assert.True(t, b.inspect(t).Has(resultschema.TaskTable, "date_started", "group_id"))
		b.insertTask(t, "after")
		if b.dialect != sqldialect.SQLite { // which keeps the altered text of the table
			assert.Subset(t, b.describe(t), before, "nothing is taken away")
		}

		// Django must not add the column once more, and has its other migrations to do.
		assert.Len(t, b.listed(t), max(listed, 12))
		if listed < 12 {
			assert.Equal(t, []string{"0012_taskresult_date_started"}, report.DjangoMigrations)
		}
		after := b.describe(t)
		report = b.migrate(t, resultschema.Options{Alter: true})
		assert.Equal(t, resultschema.Report{Adopted: djangoTables, Version: resultschema.Version}, report)
		assert.Equal(t, after, b.describe(t))
	})
}

func (b base) insertTask(t testing.TB, id string) {
	t.Helper()
	b.exec(t, `INSERT INTO `+resultschema.TaskTable+` (task_id, status, content_type, content_encoding, date_created, date_done)
		VALUES ($1, 'SUCCESS', 'application/json', 'utf-8', $2, $2)`, id, b.dialect.Time(time.Now()))
}

func TestAlterLeavesToDjangoWhatItsMigrationsMustDoFirst(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.load(t, "2.4.0")
		b.exec(t, `DELETE FROM django_migrations WHERE name >= '0011'`)
		b.exec(t, `ALTER TABLE `+resultschema.TaskTable+` DROP COLUMN periodic_task_name`)
		b.exec(t, `DELETE FROM django_migrations WHERE name >= '0010'`)
		report := b.migrate(t, resultschema.Options{Alter: true})
		assert.Equal(t, []string{resultschema.TaskTable + ".periodic_task_name", resultschema.TaskTable + ".date_started"}, report.Missing)
		assert.Equal(t, []string{"celeryresults_task_periodic"}, report.MissingIndexes)
		assert.Empty(t, report.DjangoMigrations)

		b.exec(t, `INSERT INTO django_migrations (app, name, applied) VALUES ('django_celery_results', '0010_remove_duplicate_indices', $1)`,
			b.dialect.Time(time.Now()))
		report = b.migrate(t, resultschema.Options{Alter: true})
		assert.Empty(t, report.Missing)
		assert.Equal(t, []string{"0011_taskresult_periodic_task_name", "0012_taskresult_date_started"}, report.DjangoMigrations)
	})
}

func TestTablesThatDjangoHasYetToMakeAreLeftToIt(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.load(t, "2.4.0")
		b.exec(t, `DROP TABLE `+resultschema.GroupTable)
		b.exec(t, `DELETE FROM django_migrations WHERE name >= '0009'`)
		report := b.migrate(t, resultschema.Options{Alter: true, DjangoMigrations: true})
		assert.Contains(t, report.Missing, resultschema.GroupTable)
		assert.NotContains(t, report.Created, resultschema.GroupTable)
		assert.False(t, b.inspect(t).Has(resultschema.GroupTable))
		assert.Len(t, b.listed(t), 8)
	})
}

func TestDjangoMigrationsAreEntered(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.migrate(t, resultschema.Options{})
		report := b.migrate(t, resultschema.Options{DjangoMigrations: true})
		assert.Equal(t, []string{"django_migrations"}, report.Created)
		assert.Len(t, report.DjangoMigrations, 14)
		assert.Equal(t, b.listed(t), report.DjangoMigrations)

		// Tables that were made here stay so, and what is missing is made again.
		b.exec(t, `DROP TABLE `+resultschema.GroupTable)
		b.exec(t, `DELETE FROM django_migrations WHERE name >= '0012'`)
		report = b.migrate(t, resultschema.Options{DjangoMigrations: true})
		assert.Equal(t, []string{resultschema.GroupTable}, report.Created)
		assert.Empty(t, report.Adopted)
		assert.Len(t, b.listed(t), 14)
	})
}

func TestDjangoMigrationsAreNotEnteredForIncompleteTables(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.load(t, "2.4.0")
		b.exec(t, `DELETE FROM django_migrations`)
		before := b.describe(t)
		_, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{DjangoMigrations: true})
		require.ErrorIs(t, err, resultschema.ErrIncomplete)
		require.ErrorContains(t, err, resultschema.TaskTable+".date_started")
		assert.NotContains(t, err.Error(), "group_id", "which is not Django's")
		assert.Equal(t, before, b.describe(t), "nothing was done")

		report := b.migrate(t, resultschema.Options{DjangoMigrations: true, Alter: true})
		assert.Contains(t, report.Altered, resultschema.TaskTable+".date_started")
		assert.Len(t, b.listed(t), 14)
	})
}

func TestManyProcessesAtOnceMakeOneSetOfTables(t *testing.T) {
	const processes = 8
	onEach(t, func(t *testing.T, b base) {
		reports, errs := make([]resultschema.Report, processes), make([]error, processes)
		start := make(chan struct{})
		var group sync.WaitGroup
		for i := range processes {
			own := open(t, b.database)
			group.Go(func() {
				<-start
				reports[i], errs[i] = resultschema.Django.Migrate(t.Context(), own.db, own.dialect, resultschema.Options{DjangoMigrations: true})
			})
		}
		close(start)
		group.Wait()
		var created []string
		for i := range processes {
			assert.NoError(t, errs[i], "process %d", i)
			assert.Empty(t, reports[i].Adopted)
			created = append(created, reports[i].Created...)
		}
		assert.ElementsMatch(t, append(allTables, "django_migrations"), created, "each table once")
		assert.Len(t, b.listed(t), 14)
		b.checkRecords(t, time.Now().Add(-time.Minute), 7)
	})
}

func TestSchemaOfALaterProgramIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.migrate(t, resultschema.Options{})
		b.exec(t, `UPDATE `+resultschema.VersionTable+` SET version = $1 WHERE name = $2`, resultschema.Version+1, resultschema.LabelTable)
		b.exec(t, `DROP TABLE `+resultschema.ChordTable)
		_, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{})
		require.ErrorIs(t, err, resultschema.ErrTooNew)
		require.ErrorContains(t, err, "update the program")
		assert.False(t, b.inspect(t).Has(resultschema.ChordTable), "nothing was done")
	})
}

func TestWidthOfIDs(t *testing.T) {
	for _, width := range []int{0, 191, 300} {
		t.Run(fmt.Sprint(width), func(t *testing.T) {
			onEach(t, func(t *testing.T, b base) {
				b.migrate(t, resultschema.Options{TaskIDMaxLength: width})
				tables, want := b.inspect(t), width
				if width == 0 {
					want = resultschema.DefaultTaskIDMaxLength
				}
				periodic, text := 255, 0
				if b.dialect == sqldialect.SQLite {
					want, periodic = 0, 0 // it enforces no width
				}
				for _, c := range []struct{ table, column string }{
					{resultschema.TaskTable, "task_id"}, {resultschema.TaskTable, "task_name"}, {resultschema.TaskTable, "group_id"},
					{resultschema.GroupTable, "group_id"}, {resultschema.ChordCounterTable, "group_id"},
					{resultschema.ChordTable, "group_id"}, {resultschema.ChordMemberTable, "group_id"}, {resultschema.ChordMemberTable, "task_id"},
				} {
					assert.Equal(t, want, tables.MaxLength(c.table, c.column), "%s.%s", c.table, c.column)
				}
				assert.Equal(t, periodic, tables.MaxLength(resultschema.TaskTable, "periodic_task_name"))
				assert.Equal(t, text, tables.MaxLength(resultschema.TaskTable, "result"))
			})
		})
	}
}

func TestWidthThatNoIndexTakesIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		_, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{TaskIDMaxLength: -1})
		require.ErrorContains(t, err, "negative")
		_, err = resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{TaskIDMaxLength: 385})
		if b.dialect == sqldialect.MySQL {
			require.ErrorContains(t, err, "MySQL takes 384 at most")
			b.migrate(t, resultschema.Options{TaskIDMaxLength: 384})
		} else {
			require.NoError(t, err)
		}
	})
}

func TestInterruptedCallIsResumed(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.migrate(t, resultschema.Options{})
		want := b.describe(t)
		for name, interrupt := range map[string]func(){
			"before the last tables": func() {
				b.exec(t, `DROP TABLE `+resultschema.ChordMemberTable)
				b.exec(t, `DROP TABLE `+resultschema.ChordTable)
				b.exec(t, `DELETE FROM `+resultschema.VersionTable+` WHERE name IN ($1, $2)`, resultschema.ChordTable, resultschema.ChordMemberTable)
			},
			"before a table was recorded": func() {
				b.exec(t, `DELETE FROM `+resultschema.VersionTable+` WHERE name = $1`, resultschema.TaskTable)
			},
			"before anything was recorded": func() { b.exec(t, `DELETE FROM `+resultschema.VersionTable) },
			"and the records are lost":     func() { b.exec(t, `DROP TABLE `+resultschema.VersionTable) },
			"and a table is lost":          func() { b.exec(t, `DROP TABLE `+resultschema.TaskTable) },
			"and an index is lost":         func() { b.dropIndex(t, resultschema.TaskTable, "celeryresults_task_status") },
		} {
			interrupt()
			report := b.migrate(t, resultschema.Options{})
			assert.Empty(t, report.Adopted, name)
			assert.Empty(t, report.Missing, name)
			assert.Empty(t, report.MissingIndexes, name)
			assert.Equal(t, want, b.describe(t), name)
			b.checkRecords(t, time.Now().Add(-time.Minute), 7)
		}
	})
}

func (b base) dropIndex(t testing.TB, table, index string) {
	t.Helper()
	if b.dialect == sqldialect.MySQL {
		b.exec(t, `DROP INDEX `+index+` ON `+table)
		return
	}
	b.exec(t, `DROP INDEX `+index)
}

func TestErrorUndoesTheWholeCall(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.exec(t, `CREATE TABLE `+resultschema.ChordTable+` (stranger integer)`)
		b.exec(t, `CREATE TABLE `+resultschema.VersionTable+` (stranger integer)`)
		_, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{})
		require.Error(t, err)
		b.exec(t, `DROP TABLE `+resultschema.VersionTable)
		before := b.describe(t)
		_, err = resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{})
		require.ErrorContains(t, err, resultschema.ChordTable+" has no column group_id")
		if b.dialect != sqldialect.MySQL { // which commits each table
			assert.Equal(t, before, b.describe(t))
		}
		b.exec(t, `DROP TABLE `+resultschema.ChordTable)
		b.migrate(t, resultschema.Options{})
		assert.True(t, b.inspect(t).Has(resultschema.ChordMemberTable))
	})
}

func TestCancelledContextReturnsAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := resultschema.Django.Migrate(cancelled, b.db, b.dialect, resultschema.Options{})
		require.ErrorIs(t, err, context.Canceled)
		_, err = resultschema.Django.Inspect(cancelled, b.db, b.dialect)
		require.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, b.inspect(t))
	})
}

// takeLock is what another process does that works on the tables for long.
var takeLock = map[*sqldialect.Dialect]string{
	sqldialect.SQLite:     `BEGIN IMMEDIATE`,
	sqldialect.PostgreSQL: `SELECT pg_advisory_lock(109287261434489)`,
	sqldialect.MySQL:      `SELECT GET_LOCK(CONCAT('celeryresults_', LEFT(DATABASE(), 45)), 0)`,
}

func TestWaitForAnotherProcessEndsWithTheContext(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		other := open(t, b.database)
		conn, err := other.db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(t.Context(), takeLock[b.dialect])
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		started := time.Now()
		_, err = resultschema.Django.Migrate(ctx, b.db, b.dialect, resultschema.Options{})
		require.Error(t, err)
		require.Error(t, ctx.Err(), "it has waited: %v", err)
		assert.Less(t, time.Since(started), 2*time.Second)

		done := make(chan error, 1)
		go func() {
			_, err := resultschema.Django.Migrate(t.Context(), b.db, b.dialect, resultschema.Options{})
			done <- err
		}()
		time.Sleep(50 * time.Millisecond)
		if b.dialect == sqldialect.SQLite {
			_, err = conn.ExecContext(t.Context(), `ROLLBACK`)
		} else {
			err = conn.Raw(func(c any) error { return c.(interface{ Close() error }).Close() })
		}
		require.NoError(t, err)
		require.NoError(t, <-done)
		assert.True(t, b.inspect(t).Has(resultschema.TaskTable))
	})
}

func TestTablesInASchemaOfTheSearchPath(t *testing.T) {
	database := engines[1].fresh(t)
	public := open(t, database)
	public.exec(t, `CREATE SCHEMA apart`)
	public.load(t, "2.4.0")
	database.Options = map[string]string{"search_path": "apart"}
	apart := open(t, database)
	assert.Empty(t, apart.inspect(t), "the tables of another schema don't count")

	report := apart.migrate(t, resultschema.Options{DjangoMigrations: true})
	assert.Equal(t, append(slices.Clone(allTables), "django_migrations"), report.Created)
	assert.Len(t, apart.strings(t, `SELECT tablename FROM pg_tables WHERE schemaname = 'apart'`), 8)
	assert.Len(t, public.strings(t, `SELECT tablename FROM pg_tables WHERE schemaname = 'public'`), 4)
	assert.False(t, public.inspect(t).MadeHere(resultschema.TaskTable))

	// The first schema of the path is for what is made, all of them for what is there.
	public.exec(t, `CREATE SCHEMA third`)
	database.Options = map[string]string{"search_path": "third,public"}
	both := open(t, database)
	report = both.migrate(t, resultschema.Options{})
	assert.Equal(t, djangoTables, report.Adopted)
	assert.Len(t, both.strings(t, `SELECT tablename FROM pg_tables WHERE schemaname = 'third'`), 4)
}

// Nothing that an id may be is taken for another one on MySQL, whatever the
// database's own character set is.
func TestMySQLComparesIDsByTheirBytes(t *testing.T) {
	b := open(t, engines[2].fresh(t))
	var name string
	require.NoError(t, b.db.QueryRowContext(t.Context(), `SELECT DATABASE()`).Scan(&name))
	b.exec(t, `ALTER DATABASE `+name+` CHARACTER SET latin1`)
	b.migrate(t, resultschema.Options{})
	for _, id := range []string{"a", "A", "\u00e4", "\U0001F600"} {
		b.insertTask(t, id)
		b.exec(t, `UPDATE `+resultschema.TaskTable+` SET result = $1 WHERE task_id = $1`, id)
		assert.Equal(t, []string{id}, b.strings(t, `SELECT result FROM `+resultschema.TaskTable+` WHERE task_id = $1`, id))
	}
	var exact []string
	for _, line := range b.strings(t, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = DATABASE() AND collation_name = 'utf8mb4_bin'`) {
		if column, ok := strings.CutPrefix(line, resultschema.TaskTable+" "); ok {
			exact = append(exact, column)
		}
	}
	assert.ElementsMatch(t, []string{"task_id", "group_id", "status", "task_name", "worker", "periodic_task_name"}, exact)
}

func TestCountersAreNotNegative(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		b.migrate(t, resultschema.Options{})
		b.exec(t, `INSERT INTO `+resultschema.ChordCounterTable+` (group_id, sub_tasks, count) VALUES ('g', '[]', 0)`)
		_, err := b.db.ExecContext(t.Context(), `INSERT INTO `+resultschema.ChordCounterTable+` (group_id, sub_tasks, count) VALUES ('h', '[]', -1)`)
		require.Error(t, err)
		_, err = b.db.ExecContext(t.Context(), `INSERT INTO `+resultschema.ChordCounterTable+` (group_id, sub_tasks, count) VALUES ('g', '[]', 1)`)
		require.Equal(t, sqldialect.Conflict, sqldialect.Classify(err), err)
	})
}

func TestSQLiteInMemory(t *testing.T) {
	b := open(t, cache.Database{URL: "sqlite://"})
	b.migrate(t, resultschema.Options{})
	assert.True(t, b.inspect(t).Has(resultschema.TaskTable))
}
