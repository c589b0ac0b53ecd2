package sqlalchemybackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// layout is what the tables have.
type layout struct {
	until           time.Time        // when to look again, unless they have all there can be
	width           map[string]int   // of the task table's columns, in characters; 0: no limit
	groupWidth      int              // of the group's id
	plain, extended statements       // of results: without the columns of result_extended, and with them
	group           statements       // of groups
	modern, stamps  bool             // has what Celery 5.7 adds
	read            string           // the columns to read
	one             sqldialect.Query // reads a row by its id
	forgets         string           // a statement, without its condition
}

// lookAgain is how long it takes at most to notice that a newer Celery has added its
// columns.
const lookAgain = 30 * time.Second

// tables returns the layout, and makes the tables first where they are missing.
func (b *Store) tables(ctx context.Context) (*layout, error) {
	if l := b.layout.Load(); l != nil && (l.modern && l.stamps || b.base.Now().Before(l.until)) {
		return l, nil
	}
	l, err := b.look(ctx)
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	l.until = b.base.Now().Add(lookAgain)
	b.layout.Store(l)
	return l, nil
}

func (b *Store) look(ctx context.Context) (*layout, error) {
	tables, err := b.schema.Inspect(ctx, b.base.DB.DB, b.base.Dialect)
	if err != nil {
		return nil, err
	}
	if !tables.Has(b.task.Plain) || !tables.Has(b.group.Plain) {
		if create := b.settings.Database.CreateTablesAtSetup; create != nil && !*create {
			return nil, fmt.Errorf("%w %s or %s, and database_create_tables_at_setup is false: make them with celery-results migrate", celeryresults.ErrNoTable, b.task.Quoted, b.group.Quoted)
		}
		if _, err := b.schema.Migrate(ctx, b.base.DB.DB, b.base.Dialect, resultschema.Options{}); err != nil {
			return nil, err
		}
		if tables, err = b.schema.Inspect(ctx, b.base.DB.DB, b.base.Dialect); err != nil {
			return nil, err
		}
	}
	if err := b.schema.Check(tables); err != nil {
		return nil, err
	}
	return b.newLayout(tables[b.task.Plain], tables[b.group.Plain]), nil
}

// explain is Explain for statements that need the tables: somebody may have dropped one.
func (b *Store) explain(ctx context.Context, err error) error {
	err = b.base.Explain(ctx, err)
	if err != nil && errors.Is(err, celeryresults.ErrNoTable) {
		b.layout.Store(nil)
	}
	return err
}

// do is Do for such statements.
func (b *Store) do(ctx context.Context, operation func() error) error {
	return b.base.Do(ctx, func() error { return b.explain(ctx, operation()) })
}

func (b *Store) newLayout(task, group resultschema.Table) *layout {
	l := &layout{width: task.Columns, groupWidth: group.Columns["taskset_id"]}
	_, l.modern = task.Columns["children"]
	_, l.stamps = task.Columns["stamps"]
	var columns []column
	var places []int
	var read []string
	plain := 0
	for i, c := range taskColumns {
		if _, there := task.Columns[c.name]; !there {
			read = append(read, "NULL")
			continue
		}
		columns, places, read = append(columns, c), append(places, i), append(read, c.name)
		if i < inName {
			plain = len(columns)
		}
	}
	id := b.nextval(task, b.task.Sequence)
	l.plain, l.extended = b.newStatements(b.task.Quoted, id, columns[:plain], true), b.newStatements(b.task.Quoted, id, columns, true)
	l.plain.columns, l.extended.columns = places[:plain], places
	l.group = b.newStatements(b.group.Quoted, b.nextval(group, b.group.Sequence), groupColumns, false)
	l.read, l.forgets = strings.Join(read, ", "), b.forgetting(l)
	l.one = b.selects(l.read, "task_id = $1").Kept()
	return l
}

// nextval returns what gives a row its primary key, empty where that happens by itself.
func (b *Store) nextval(t resultschema.Table, sequence string) string {
	switch {
	case t.CountsID:
		return ""
	case b.base.Dialect == sqldialect.PostgreSQL:
		return `nextval('` + sequence + `')`
	}
	return `NEXTVAL(` + sequence + `)`
}

// MigrateOptions say how Migrate goes about it: of the fields, only Alter and Engine count
// for Celery's tables. The zero value is fine.
type MigrateOptions = resultschema.Options

// MigrateReport is what Migrate did and found.
type MigrateReport = resultschema.Report

// Migrate makes Celery's tables under the names that the settings give, where they are
// missing. Several processes may call it at once.
func Migrate(ctx context.Context, db *sql.DB, s celeryresults.Settings, o MigrateOptions) (MigrateReport, error) {
	b, err := newStore(db, s, Options{Engine: o.Engine})
	if err != nil {
		return MigrateReport{}, err
	}
	report, err := b.schema.Migrate(ctx, db, b.base.Dialect, o)
	if err != nil {
		err = fmt.Errorf("sqlalchemybackend: migrate: %w", err)
	}
	return report, err
}

// MissingColumns returns the columns that the tables lack: what they hold is not kept. It
// makes no table.
func (b *Store) MissingColumns(ctx context.Context) ([]string, error) {
	var tables resultschema.Tables
	err := b.do(ctx, func() (err error) {
		tables, err = b.schema.Inspect(ctx, b.base.DB.DB, b.base.Dialect)
		return err
	})
	if err == nil && !tables.Has(b.task.Plain) {
		err = fmt.Errorf("%w %s", celeryresults.ErrNoTable, b.task.Quoted)
	}
	return b.schema.Missing(tables), err
}
