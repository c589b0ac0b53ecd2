// Package interop_test runs real Celery, Django and django-celery-results
// against this library: each reads, updates and cleans up what the other
// wrote, in tables that either made. Python's side is in django/; what it needs
// is installed by scripts/interop-venv.sh.
package interop_test

import (
	"database/sql"
	"encoding/json"
	"flag"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestMain(m *testing.M) {
	if err := mysql.SetLogger(&mysql.NopLogger{}); err != nil {
		panic(err)
	}
	flag.Parse()
	if few := flag.Lookup("test.parallel"); few.Value.String() == few.DefValue { // they wait for Python, not for processors
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	testserver.Main(m)
}

// engines gives every database a way to make an empty one.
var engines = []struct {
	name  string
	fresh func(t testing.TB) string
}{
	{"sqlite", func(t testing.TB) string { return "sqlite:///" + filepath.Join(t.TempDir(), "results.db") }},
	{"postgresql", func(t testing.TB) string { return testserver.Postgres(t) }},
	{"mysql", func(t testing.TB) string { return testserver.MySQL(t) }},
}

// tables gives the ways in which the tables come to be.
var tables = []struct {
	name string
	make func(t *testing.T, p *project)
}{
	{"Django", func(t *testing.T, p *project) {
		p.do(t, "migrate", nil)
	}},
	{"Migrate", func(t *testing.T, p *project) {
		p.migrate(t, dbbackend.MigrateOptions{})
		for _, label := range []string{"auth", "admin", "sessions"} { // for the pages
			p.do(t, "migrate", arguments{"label": label})
		}
	}},
	{"Django, altered by Migrate", func(t *testing.T, p *project) {
		p.do(t, "migrate", nil)
		p.migrate(t, dbbackend.MigrateOptions{Alter: true})
	}},
}

func (p *project) migrate(t *testing.T, o dbbackend.MigrateOptions) {
	t.Helper()
	_, err := dbbackend.Migrate(t.Context(), openDB(t, p.database), o)
	require.NoError(t, err)
}

func openDB(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, _, err := sqldialect.Open(cache.Database{URL: url})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// pair is a Python project and a Go program that share a database.
type pair struct {
	*project
	app *celeryresults.App
}

// open opens the Go side of the database with further settings.
func (p *project) open(t *testing.T, settings celeryresults.Settings) *pair {
	t.Helper()
	settings.ResultBackend = "django-db"
	settings.Databases = map[string]cache.Database{"default": {URL: p.database}}
	settings.ResultExtended = true
	settings.TaskTrackStarted = true
	backend, err := backends.OpenBackend(settings, "")
	require.NoError(t, err)
	app, err := celeryresults.NewApp(settings, backend, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return &pair{p, app}
}

// backend returns the Go side's backend.
func (p *pair) backend() *celeryresults.Backend { return p.app.BackendFor("") }

// meta returns what Go reads of the task.
func (p *pair) meta(t *testing.T, id string) *celeryresults.TaskMeta {
	t.Helper()
	meta, err := p.backend().GetTaskMeta(t.Context(), id)
	require.NoError(t, err)
	return meta
}

// onEach runs a test on each database with each kind of tables.
func onEach(t *testing.T, test func(t *testing.T, p *pair)) {
	needPython(t, "requirements.txt")
	for _, engine := range engines {
		for _, made := range tables {
			t.Run(engine.name+", tables made by "+made.name, func(t *testing.T) {
				t.Parallel()
				p := startProject(t, engine.fresh(t))
				made.make(t, p)
				test(t, p.open(t, celeryresults.Settings{}))
			})
		}
	}
}

// TestDjangoDB is one test for each database and kind of tables, as making
// these takes longer than what is done with them.
func TestDjangoDB(t *testing.T) {
	steps := []struct {
		name string
		test func(t *testing.T, p *pair)
	}{
		{"Python reads values of Go", readsValuesOfGo},
		{"Go reads values of Python", readsValuesOfPython},
		{"Python reads failures of Go", readsFailuresOfGo},
		{"Python reads states of Go", readsStatesOfGo},
		{"Python reads all fields of Go", readsFieldsOfGo},
		{"Go reads what a worker left", readsWorkers},
		{"Go reads states of Python", readsStatesOfPython},
		{"rows are the same", writesTheSameRows},
		{"names in the caller's metadata disturb nobody", keepsMetadataApart},
		{"any text is an id", takesAnyID},
		{"Python reads texts whole that their columns do not hold", readsLongTexts},
		{"secrets stay out of rows of Go", hidesArguments},
		{"Python goes on with a row of Go", updatesRowsOfGo},
		{"Go goes on with a row of Python", updatesRowsOfPython},
		{"a success of Python stands", refusesToReplaceSuccess},
		{"both store at once", storesAtOnce},
		{"Go waits for Python", waitsForPython},
		{"Go reads many of Python", readsMany},
		{"Go lists rows of both", lists},
		{"the admin shows rows of Go", showsInAdmin},
		{"both forget", forgets},
		{"groups", sharesGroups},
		{"what has expired is gone for Go", expires},
		{"both clean up", cleansUp},
	}
	onEach(t, func(t *testing.T, p *pair) {
		for _, step := range steps {
			t.Run(step.name, func(t *testing.T) { step.test(t, p) })
		}
	})
}

// TestDjangoDBPickled shares tables whose results are pickled.
func TestDjangoDBPickled(t *testing.T) {
	needPython(t, "requirements.txt")
	settings := celeryresults.Settings{ResultSerializer: "pickle", AcceptContent: []string{"json", "pickle"}}
	exact := slices.Concat(slices.DeleteFunc(slices.Clone(values), func(v value) bool { return v.reads != "" }), pickled)
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			project := startProject(t, engine.fresh(t), "RESULT_SERIALIZER=pickle")
			project.do(t, "migrate", nil)
			p := project.open(t, settings)
			t.Run("Python reads values of Go", func(t *testing.T) { p.readsValues(t, exact) })
			t.Run("Go reads values of Python", func(t *testing.T) { p.readsPythonValues(t, exact) })
			t.Run("Python reads failures of Go", func(t *testing.T) { readsFailuresOfGo(t, p) })
			t.Run("Go reads what a worker left", func(t *testing.T) { readsWorkers(t, p) })
			t.Run("Python reads all fields of Go", func(t *testing.T) { readsFieldsOfGo(t, p) })
			t.Run("groups", func(t *testing.T) { sharesGroups(t, p) })
		})
	}
}

// table is a table as Django's own inspection sees it.
type table struct {
	Columns     map[string][]any // the field, its width, null or not null, and the default
	Constraints []struct {
		Columns []string
		Kinds   []string // primary_key, unique, index, check
	}
}

// has reports whether the table has a constraint of the kind on the columns; an
// index may go on with others.
func (t table) has(kind string, columns []string) bool {
	for _, c := range t.Constraints {
		same := slices.Equal(columns, c.Columns)
		leads := kind == "index" && len(columns) < len(c.Columns) && slices.Equal(columns, c.Columns[:len(columns)])
		if (same || leads) && (slices.Contains(c.Kinds, kind) || kind == "index" && slices.Contains(c.Kinds, "unique")) {
			return true
		}
	}
	return false
}

// TestMigrateMakesDjangosTables looks for everything of Django's tables in
// those that Migrate makes for a Django project. These may have more, but
// nothing that an INSERT of Django's must fill.
func TestMigrateMakesDjangosTables(t *testing.T) {
	needPython(t, "requirements.txt")
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			theirs := startProject(t, engine.fresh(t))
			theirs.do(t, "migrate", nil)
			ours := startProject(t, engine.fresh(t))
			ours.migrate(t, dbbackend.MigrateOptions{DjangoMigrations: true})
			assert.Empty(t, ask[[]string](t, ours, "unapplied", arguments{"label": "django_celery_results"}))
			ours.do(t, "migrate", nil)
			got := ask[map[string]table](t, ours, "schema", nil)
			for name, want := range ask[map[string]table](t, theirs, "schema", nil) {
				compareTables(t, name, want, got[name])
			}
		})
	}
}

func compareTables(t *testing.T, name string, want, got table) {
	t.Helper()
	for column, field := range want.Columns {
		if column == "id" {
			assert.Contains(t, []any{"AutoField", "BigAutoField"}, got.Columns[column][0], "%s.%s", name, column)
			continue
		}
		assert.Equal(t, field, got.Columns[column], "%s.%s", name, column)
	}
	for column, field := range got.Columns {
		if want.Columns[column] == nil {
			assert.Equal(t, "null", field[2], "%s.%s, which Django does not have", name, column)
		}
	}
	for _, c := range want.Constraints {
		for _, kind := range c.Kinds {
			assert.True(t, got.has(kind, c.Columns), "%s has no %s on %s", name, kind, c.Columns)
		}
	}
}

// run has a worker run the task of that name and returns what Go reads.
func (p *pair) run(t *testing.T, id, name string, more arguments) *celeryresults.TaskMeta {
	t.Helper()
	given := arguments{"id": id, "task": "shop.tasks." + name}
	for k, v := range more {
		given[k] = v
	}
	p.do(t, "run", given)
	p.agree(t, id)
	return p.meta(t, id)
}

func compact(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

func deref(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}
