package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/schemes"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

const migrateHelp = `Makes the tables in which django-db keeps results, in every database that a
django-db backend of the settings uses, and Celery's own tables for backends such
as db+postgresql://, and prints what was done. --backend limits it to the database
of one backend; --database names an entry of DATABASES instead, whether or not a
backend uses it.

Tables that Django's migrations made are adopted as they are: results are kept in
them as Django keeps them. What they lack is printed as missing: results have no
such field then, and some lists are slow. --alter adds it. On a large table that
takes a while, and writers wait meanwhile. To Celery's own tables it adds what
Celery 5.7 does: older releases can't read results that are stored after that.

--django-migrations is for tables that are made here and a Django project that
comes later: it enters the migrations of django-celery-results as done, which
manage.py migrate would stumble over otherwise. --notify-trigger is for
PostgreSQL: rows that Python writes then wake those who wait in Go, as rows of Go
do anyway.

The command can be repeated, and run by several programs at once. The exit status
is 0 when the tables are there, 6 when a database can't be reached, and 2 when the
settings are wrong, or the tables are of a newer version of this program.`

const migrateExample = `  celery-results migrate --settings settings.toml
  celery-results migrate --alter --format json
  celery-results migrate --database archive --django-migrations`

const createCacheTableHelp = `Makes the table of every entry of CACHES whose engine is db, or of the entries
named, as Django's createcachetable does. Tables that are there are left alone.`

const createCacheTableExample = `  celery-results createcachetable
  celery-results createcachetable default archive --format json`

// migrateFlags are the flags of migrate.
type migrateFlags struct {
	alter, djangoMigrations, notifyTrigger bool
	database                               string
}

func (c *cli) migrateCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use: "migrate", Short: "Make the tables of django-db", Long: migrateHelp, Example: migrateExample,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0:
				return usage(cmd, "takes no arguments; --database ALIAS names a database")
			case f.database != "" && c.backend != "":
				return usage(cmd, "--backend and --database don't go together")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.migrate(cmd.Context(), f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.alter, "alter", false, "add columns and indexes to tables that Django made")
	flags.BoolVar(&f.djangoMigrations, "django-migrations", false, "enter the migrations of django-celery-results as done")
	flags.BoolVar(&f.notifyTrigger, "notify-trigger", false, "let rows that Python writes wake those who wait in Go (PostgreSQL)")
	flags.StringVar(&f.database, "database", "", "an `alias` of DATABASES (default: all that django-db uses)")
	return cmd
}

// migrate goes on after a database that fails.
func (c *cli) migrate(ctx context.Context, f migrateFlags) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	targets, err := migrateTargets(s, c.backend, f.database)
	if err != nil {
		return err
	}
	o := dbbackend.MigrateOptions{TaskIDMaxLength: s.TaskIDMaxLength, Alter: f.alter, DjangoMigrations: f.djangoMigrations, NotifyTrigger: f.notifyTrigger}
	for _, t := range targets {
		report, err := t.migrate(ctx, o)
		if err != nil {
			c.report("migrate "+t.name, err)
			continue
		}
		if err := c.printMigrated(t, report); err != nil {
			return err
		}
	}
	return nil
}

// target is a database whose tables are to be made.
type target struct {
	name     string // of the entry of DATABASES, or a URL without its password
	database cache.Database
	celerys  *celeryresults.Settings // of a backend with Celery's own tables; nil: django-celery-results'
}

// migrateTargets returns the named database, or those that the named backend or,
// without a name, all backends use, each once.
func migrateTargets(s celeryresults.Settings, backend, database string) ([]target, error) {
	if database != "" {
		entry, err := databaseNamed(s, database)
		return []target{{name: database, database: entry}}, err
	}
	names := append([]string{""}, slices.Sorted(maps.Keys(s.ResultBackends))...)
	if backend != "" {
		names = []string{backend}
	}
	var targets []target
	seen := map[string]bool{}
	for _, name := range names {
		b, err := s.Named(name)
		if err != nil {
			return nil, err
		}
		t, key, err := targetOf(b)
		if err != nil {
			return nil, err
		}
		if key != "" && !seen[key] {
			seen[key] = true
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		return nil, withStatus(statusUsage, errors.New("migrate: no backend is django-db or of Celery's own tables (db+postgresql://); --database names a database"))
	}
	return targets, nil
}

// targetOf returns the database of a backend with tables, with a key to tell it
// from others: the key of other backends is empty.
func targetOf(s celeryresults.Settings) (t target, key string, err error) {
	if url := sqlalchemybackend.URL(s); url != "" {
		return target{mask.URL(url), cache.Database{URL: url}, &s}, fmt.Sprint("db+", url, s.Database.TableNames, s.Database.TableSchemas), nil
	}
	kind, url := schemes.Of(s.ResultBackend)
	switch {
	case kind != schemes.DjangoDB:
		return target{}, "", nil
	case url != "":
		return target{name: mask.URL(url), database: cache.Database{URL: url}}, url, nil
	}
	name := databaseOf(s)
	database, err := databaseNamed(s, name)
	return target{name: name, database: database}, name, err
}

// databaseOf returns the entry of DATABASES that django-db uses.
func databaseOf(s celeryresults.Settings) string {
	return cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)
}

func databaseNamed(s celeryresults.Settings, name string) (cache.Database, error) {
	if database, ok := s.Databases[name]; ok {
		return database, nil
	}
	return cache.Database{}, withStatus(statusUsage, fmt.Errorf("unknown database %q; DATABASES has %s",
		name, cmp.Or(strings.Join(slices.Sorted(maps.Keys(s.Databases)), ", "), "none")))
}

func (t target) migrate(ctx context.Context, o dbbackend.MigrateOptions) (report dbbackend.MigrateReport, err error) {
	db, dialect, err := sqldialect.Open(t.database)
	if err != nil {
		return report, withStatus(statusUsage, err)
	}
	defer db.Close()
	if t.celerys != nil {
		return sqlalchemybackend.Migrate(ctx, db, *t.celerys, sqlalchemybackend.MigrateOptions{Alter: o.Alter, Engine: dialect.Name()})
	}
	o.Engine = dialect.Name()
	report, err = dbbackend.Migrate(ctx, db, o)
	if errors.Is(err, resultschema.ErrTooNew) || errors.Is(err, resultschema.ErrIncomplete) {
		err = withStatus(statusUsage, err)
	}
	return report, err
}

// printMigrated prints what was done and found. For people, what is empty is
// left out.
func (c *cli) printMigrated(t target, r dbbackend.MigrateReport) error {
	object, rows := python.Dict{{Key: "database", Value: t.name}}, []row{{"database", t.name}}
	if r.Version > 0 {
		object, rows = append(object, python.Pair{Key: "version", Value: int64(r.Version)}), append(rows, row{"version", strconv.Itoa(r.Version)})
	}
	for _, list := range []struct {
		name  string
		items []string
	}{
		{"created", r.Created},
		{"adopted", r.Adopted},
		{"altered", r.Altered},
		{"missing", r.Missing},
		{"missing_indexes", r.MissingIndexes},
		{"django_migrations", r.DjangoMigrations},
	} {
		values := make([]any, len(list.items))
		for i, item := range list.items {
			values[i] = item
		}
		object = append(object, python.Pair{Key: list.name, Value: values})
		if len(list.items) > 0 {
			rows = append(rows, row{list.name, strings.Join(list.items, "\n")})
		}
	}
	return c.print(object, rows)
}

func (c *cli) createCacheTableCommand() *cobra.Command {
	return &cobra.Command{
		Use: "createcachetable [ALIAS…]", Short: "Make the tables of db caches", Long: createCacheTableHelp, Example: createCacheTableExample,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, aliases []string) error { return c.createCacheTables(cmd.Context(), aliases) },
	}
}

// createCacheTables goes on after a table that fails.
func (c *cli) createCacheTables(ctx context.Context, aliases []string) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	if len(aliases) == 0 {
		aliases = slices.DeleteFunc(slices.Sorted(maps.Keys(s.Caches)), func(alias string) bool { return !isDatabaseCache(s.Caches[alias]) })
	}
	if err := checkDatabaseCaches(s, aliases); err != nil {
		return err
	}
	for _, alias := range aliases {
		created, err := createCacheTable(ctx, s, s.Caches[alias])
		if err != nil {
			c.report("createcachetable "+alias, err)
			continue
		}
		if err := c.printCacheTable(s, alias, created); err != nil {
			return err
		}
	}
	return nil
}

func isDatabaseCache(s cache.Settings) bool {
	engine, _ := cache.Engine(s.Backend)
	return engine == "db"
}

// checkDatabaseCaches returns an error before anything is made for one name in
// several that is wrong.
func checkDatabaseCaches(s celeryresults.Settings, aliases []string) error {
	for _, alias := range aliases {
		entry, ok := s.Caches[alias]
		switch {
		case !ok:
			return withStatus(statusUsage, fmt.Errorf("createcachetable: unknown cache %q; CACHES has %s",
				alias, cmp.Or(strings.Join(slices.Sorted(maps.Keys(s.Caches)), ", "), "none")))
		case !isDatabaseCache(entry):
			return withStatus(statusUsage, fmt.Errorf("createcachetable: cache %q has another engine than db", alias))
		}
	}
	return nil
}

// createCacheTable makes a cache's table and reports whether it was not there.
func createCacheTable(ctx context.Context, s celeryresults.Settings, entry cache.Settings) (created bool, err error) {
	database, err := databaseNamed(s, cacheDatabase(entry))
	if err != nil {
		return false, err
	}
	store, err := dbcache.Open(entry, database)
	if err != nil {
		return false, withStatus(statusUsage, err)
	}
	defer store.Close()
	_, err = store.Get(ctx, "celery-results-createcachetable")
	there := err == nil || errors.Is(err, cache.ErrMiss)
	return !there, store.CreateTable(ctx)
}

// cacheDatabase returns the entry of DATABASES that a db cache uses.
func cacheDatabase(s cache.Settings) string {
	return cmp.Or(s.Options.Database, celeryresults.DefaultDatabase)
}

func (c *cli) printCacheTable(s celeryresults.Settings, alias string, created bool) error {
	table, database := strings.Join(s.Caches[alias].Location, " "), cacheDatabase(s.Caches[alias])
	text := "was there"
	if created {
		text = "created"
	}
	object := python.Dict{
		{Key: "cache", Value: alias}, {Key: "database", Value: database}, {Key: "table", Value: table}, {Key: "created", Value: created},
	}
	return c.print(object, []row{{"cache", alias}, {"table", table + " in DATABASES." + database + ": " + text}})
}
