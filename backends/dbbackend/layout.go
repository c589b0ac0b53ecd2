package dbbackend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// layout is what the tables of a database are like, and the statements for
// them. It never changes.
type layout struct {
	columns []column       // of the task table, those that are there
	width   map[string]int // of the task table's columns in characters, 0 for any
	groupID int            // width of ids of groups and chords, the narrowest of their tables
	groups  bool           // the group table is there
	labels  bool           // the label table is there
	chords  bool           // the chord tables are there
	exact   bool           // to the task table, names that differ in anything are different

	put put // the statements that store

	one    sqldialect.Query // a row by its id
	fields string           // what rows are read as
}

// MissingColumns returns the columns that django-celery-results 2.6 or this library
// would use and the tables do not have, as table.column, and tables that are not
// there at all. What would stand there is not kept, or lists by it are not
// possible. Migrate adds what may be added.
func (b *DatabaseBackend) MissingColumns(ctx context.Context) ([]string, error) {
	var tables resultschema.Tables
	err := b.retry(ctx, func() (err error) {
		tables, err = resultschema.Django.Inspect(ctx, b.db.DB, b.dialect)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("dbbackend: missing columns: %w", err)
	}
	return resultschema.Django.Missing(tables), nil
}

// tables returns the layout of the tables, which it looks at once.
func (b *DatabaseBackend) tables(ctx context.Context) (*layout, error) {
	if l := b.layout.Load(); l != nil {
		return l, nil
	}
	tables, err := resultschema.Django.Inspect(ctx, b.db.DB, b.dialect)
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	l, err := b.newLayout(tables)
	if err != nil {
		return nil, err
	}
	b.layout.Store(l)
	return l, nil
}

func (b *DatabaseBackend) newLayout(tables resultschema.Tables) (*layout, error) {
	found, ok := tables[resultschema.TaskTable]
	if !ok {
		return nil, fmt.Errorf("%w %s: make it with celery-results migrate, dbbackend.Migrate, or Django's migrations", celeryresults.ErrNoTable, resultschema.TaskTable)
	}
	l := &layout{
		width: found.Columns, groupID: narrowest(tables),
		labels: tables.Has(resultschema.LabelTable), groups: tables.Has(resultschema.GroupTable),
		chords: tables.Has(resultschema.ChordTable) && tables.Has(resultschema.ChordMemberTable),
		exact:  b.dialect != sqldialect.MySQL || tables.MadeHere(resultschema.TaskTable),
	}
	for _, c := range taskColumns {
		_, there := found.Columns[c.name]
		switch {
		case there:
			l.columns = append(l.columns, c)
		case !c.optional:
			return nil, fmt.Errorf("dbbackend: table %s has no column %s: migrate it to django-celery-results 2.4 or later (it has %s)",
				resultschema.TaskTable, c.name, strings.Join(slices.Sorted(maps.Keys(found.Columns)), ", "))
		}
	}
	l.fields = l.readFields()
	l.one = b.dialect.Rebind(`SELECT ` + l.fields + ` FROM ` + taskTable + ` t WHERE t.task_id = $1`).Kept()
	l.put = b.newPut(l)
	return l, nil
}

// narrowest returns the width in characters that ids of groups and chords may
// have in all tables that keep them, 0 for any.
func narrowest(tables resultschema.Tables) int {
	narrowest := 0
	for _, table := range []string{resultschema.GroupTable, resultschema.ChordTable, resultschema.ChordMemberTable, resultschema.ChordCounterTable} {
		if width := tables.MaxLength(table, "group_id"); width > 0 && (narrowest == 0 || width < narrowest) {
			narrowest = width
		}
	}
	return narrowest
}

// The tables' names need no quotes.
const (
	taskTable   = resultschema.TaskTable
	groupTable  = resultschema.GroupTable
	labelTable  = resultschema.LabelTable
	chordTable  = resultschema.ChordTable
	memberTable = resultschema.ChordMemberTable
	counter     = resultschema.ChordCounterTable
)

// column is one of the task table.
type column struct {
	name     string
	cast     string // its type in PostgreSQL
	optional bool   // tables of older versions may lack it

	// set is how a row that stands is updated: new is the new value, and fresh
	// the condition that the row has expired, so that nothing of it counts.
	set func(name, new, fresh string) string

	value func(e *entry, clock clock) (text string, null bool)
}

func assign(name, new, _ string) string { return name + " = " + new }

// assignCreated keeps the time of a row's first record.
func assignCreated(name, new, fresh string) string {
	return name + " = CASE WHEN " + fresh + " THEN " + new + " ELSE {t}" + name + " END"
}

// assignStarted keeps the time of a start until the next one.
func assignStarted(name, new, fresh string) string {
	return name + " = COALESCE(" + new + ", CASE WHEN " + fresh + " THEN NULL ELSE {t}" + name + " END)"
}

func required(value func(*entry) string) func(*entry, clock) (string, bool) {
	return func(e *entry, _ clock) (string, bool) { return value(e), false }
}

// nullable takes an empty text for NULL.
func nullable(value func(*entry) string) func(*entry, clock) (string, bool) {
	return func(e *entry, _ clock) (string, bool) {
		text := value(e)
		return text, text == ""
	}
}

// taskColumns are the columns of the task table but id. The id of the task is
// the first.
var taskColumns = []column{
	{"task_id", "text", false, nil, required(func(e *entry) string { return e.id })},
	{"status", "text", false, assign, required(func(e *entry) string { return string(e.state) })},
	{"content_type", "text", false, assign, required(func(e *entry) string { return e.contentType })},
	{"content_encoding", "text", false, assign, required(func(e *entry) string { return e.contentEncoding })},
	{"result", "text", false, assign, required(func(e *entry) string { return e.result })},
	{"date_done", "timestamptz", false, assign, func(e *entry, c clock) (string, bool) { return c.text(e.done), false }},
	{"traceback", "text", false, assign, nullable(func(e *entry) string { return e.traceback })},
	{"meta", "text", false, assign, required(func(e *entry) string { return e.meta })},
	{"task_args", "text", false, assign, nullable(func(e *entry) string { return e.args })},
	{"task_kwargs", "text", false, assign, nullable(func(e *entry) string { return e.kwargs })},
	{"task_name", "text", false, assign, nullable(func(e *entry) string { return e.name })},
	{"worker", "text", false, assign, nullable(func(e *entry) string { return e.worker })},
	{"date_created", "timestamptz", false, assignCreated, func(e *entry, c clock) (string, bool) { return c.text(e.created), false }},
	{"periodic_task_name", "text", true, assign, nullable(func(e *entry) string { return e.periodic })},
	{"date_started", "timestamptz", true, assignStarted, func(e *entry, c clock) (string, bool) {
		if e.started.IsZero() {
			return "", true
		}
		return c.text(e.started), false
	}},
	{"group_id", "text", true, assign, nullable(func(e *entry) string { return e.group })},
}

// has reports whether the task table has a column.
func (l *layout) has(column string) bool {
	_, there := l.width[column]
	return there
}

// names lists the columns, each with a prefix.
func (l *layout) names(prefix string) string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = prefix + c.name
	}
	return strings.Join(names, ", ")
}

func (l *layout) checkID(id string) error {
	if err := checkText(id, l.width["task_id"]); err != nil {
		return fmt.Errorf("dbbackend: task id %.60q %w: %w", id, err, driver.ErrBadID)
	}
	return nil
}

func (l *layout) checkIDs(ids []string) error {
	for _, id := range ids {
		if err := l.checkID(id); err != nil {
			return err
		}
	}
	return nil
}

func (l *layout) checkGroup(id string) error {
	if err := checkText(id, l.groupID); err != nil {
		return fmt.Errorf("dbbackend: group id %.60q %w: %w", id, err, driver.ErrBadID)
	}
	return nil
}

func (l *layout) checkState(id string, state celeryresults.State) error {
	if err := checkText(string(state), l.width["status"]); err != nil {
		return fmt.Errorf("dbbackend: state %.60q of task %q %w", string(state), id, err)
	}
	return nil
}
