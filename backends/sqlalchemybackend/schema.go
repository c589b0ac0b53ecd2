package sqlalchemybackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// names are those of the tables, quoted, and in parts.
type names struct {
	task, group       string // with their schemas, quoted
	taskSeq, groupSeq string // PostgreSQL's and MariaDB's sequences of the ids
	parts             [2]struct{ schema, table string }
}

// The names of celery.backends.database.models.
const (
	taskTable  = "celery_taskmeta"
	groupTable = "celery_tasksetmeta"
)

func newNames(d *sqldialect.Dialect, s celeryresults.DatabaseSettings) (n names, err error) {
	quote := func(i int, key, usual, sequence string) (table, seq string) {
		part := &n.parts[i]
		if part.schema, part.table = s.TableSchemas[key], s.TableNames[key]; part.table == "" {
			part.table = usual
		}
		prefix := ""
		if part.schema != "" {
			prefix = part.schema + "."
		}
		table, err2 := d.QuoteIdent(prefix + part.table)
		seq, err3 := d.QuoteIdent(prefix + sequence)
		err = errors.Join(err, err2, err3)
		return table, seq
	}
	n.task, n.taskSeq = quote(0, "task", taskTable, "task_id_sequence")
	n.group, n.groupSeq = quote(1, "group", groupTable, "taskset_id_sequence")
	return n, err
}

// layout is what the tables have.
type layout struct {
	until            time.Time      // when to look again, unless they have all there can be
	width            map[string]int // of the task table's columns, in characters; 0: no limit
	groupWidth       int            // of the group's id
	taskID, groupID  string         // how rows get their primary key; empty: by themselves
	plain, extended  statements     // without the columns of result_extended, and with them
	modern, stamps   bool           // has what Celery 5.7 adds
	selected, status string         // columns to read
}

// own are the columns that Celery has always had, more those that tables made here have,
// too: of result_extended, and stamps. Only Celery 5.7 itself, or MigrateOptions.Alter,
// adds children: by that column one knows that no older release reads the table.
var (
	own  = []string{"id", "task_id", "status", "result", "date_done", "traceback"}
	more = []string{"name", "args", "kwargs", "worker", "retries", "queue", "stamps"}
)

const children = "children"

// tables returns the layout, and makes the tables first where they are missing.
func (b *DatabaseBackend) tables(ctx context.Context) (*layout, error) {
	if l := b.layout.Load(); l != nil && (l.modern && l.stamps || b.now().Before(l.until)) {
		return l, nil
	}
	var l *layout
	err := b.do(ctx, "look at the tables", func() error {
		task, group, err := b.inspect(ctx)
		if err != nil {
			return err
		}
		if len(task) == 0 || len(group) == 0 {
			if create := b.settings.Database.CreateTablesAtSetup; create != nil && !*create {
				return fmt.Errorf("%w %s or %s, and database_create_tables_at_setup is false: make them with celery-results migrate", celeryresults.ErrNoTable, b.names.task, b.names.group)
			}
			if err := b.create(ctx); err != nil {
				return err
			}
			if task, group, err = b.inspect(ctx); err != nil {
				return err
			}
		}
		l, err = b.newLayout(task, group)
		return err
	})
	if err != nil {
		return nil, err
	}
	l.until = b.now().Add(lookAgain)
	b.layout.Store(l)
	return l, nil
}

// lookAgain is how long it takes at most to notice that a newer Celery has added its
// columns.
const lookAgain = 30 * time.Second

// field is a column of a table.
type field struct {
	width     int
	generated bool // gets its value by itself
}

func (b *DatabaseBackend) inspect(ctx context.Context) (task, group map[string]field, err error) {
	if task, err = b.fields(ctx, b.names.parts[0].schema, b.names.parts[0].table); err == nil {
		group, err = b.fields(ctx, b.names.parts[1].schema, b.names.parts[1].table)
	}
	return task, group, err
}

// fields returns the columns of a table, none if it is not there.
func (b *DatabaseBackend) fields(ctx context.Context, schema, table string) (map[string]field, error) {
	var text string
	args := []any{table, schema}
	switch b.dialect {
	case sqldialect.PostgreSQL:
		text = `SELECT column_name, COALESCE(character_maximum_length, 0), CASE WHEN column_default IS NOT NULL OR is_identity = 'YES' THEN 1 ELSE 0 END
			FROM information_schema.columns WHERE table_name = $1 AND table_schema = COALESCE(NULLIF($2, ''), current_schema())`
	case sqldialect.MySQL:
		text = `SELECT column_name, CASE WHEN data_type = 'varchar' THEN character_maximum_length ELSE 0 END,
			CASE WHEN extra LIKE '%auto_increment%' OR column_default LIKE '%nextval%' THEN 1 ELSE 0 END
			FROM information_schema.columns WHERE table_name = $1 AND table_schema = COALESCE(NULLIF($2, ''), DATABASE())`
	default:
		text, args = `SELECT name, 0, 1 FROM pragma_table_info($1)`, args[:1]
	}
	found := map[string]field{}
	err := b.db.Rows(ctx, b.dialect.Rebind(text), args, func(scan func(...any) error) error {
		var name string
		var f field
		if err := scan(&name, &f.width, &f.generated); err != nil {
			return err
		}
		found[name] = f
		return nil
	})
	return found, err
}

func (b *DatabaseBackend) newLayout(task, group map[string]field) (*layout, error) {
	for _, name := range own {
		if _, there := task[name]; !there {
			return nil, fmt.Errorf("table %s has no column %s, so it is not one of Celery's", b.names.task, name)
		}
	}
	for _, name := range []string{"id", "taskset_id", "result", "date_done"} {
		if _, there := group[name]; !there {
			return nil, fmt.Errorf("table %s has no column %s, so it is not one of Celery's", b.names.group, name)
		}
	}
	l := &layout{width: map[string]int{}, groupWidth: group["taskset_id"].width}
	for name, f := range task {
		l.width[name] = f.width
	}
	_, l.modern = task[children]
	_, l.stamps = task["stamps"]
	if !task["id"].generated {
		l.taskID = b.nextval(b.names.taskSeq)
	}
	if !group["id"].generated {
		l.groupID = b.nextval(b.names.groupSeq)
	}
	read := []string{"task_id", "status", "result", "date_done", "traceback"}
	for _, name := range append([]string{children}, more...) {
		if _, there := task[name]; !there {
			name = "NULL"
		}
		read = append(read, name)
	}
	l.selected, l.status = strings.Join(read, ", "), "task_id, status, date_done"
	l.plain, l.extended = b.newStatements(l, false), b.newStatements(l, true)
	return l, nil
}

func (b *DatabaseBackend) nextval(sequence string) string {
	if b.dialect == sqldialect.PostgreSQL {
		return `nextval('` + sequence + `')`
	}
	return `NEXTVAL(` + sequence + `)`
}

// types are the columns' types in each database, as celery.backends.database.models
// has them, with room for more: longer primary keys, and in MySQL times with their
// microseconds, texts compared by bytes and results over 64 KB.
var types = map[*sqldialect.Dialect]map[string]string{
	sqldialect.PostgreSQL: {"id": "BIGINT NOT NULL PRIMARY KEY", "key": "VARCHAR(155) UNIQUE", "status": "VARCHAR(50)", "short": "VARCHAR(155)", "bytes": "BYTEA", "time": "TIMESTAMP WITHOUT TIME ZONE", "text": "TEXT", "end": ""},
	sqldialect.MySQL: {
		"id": "BIGINT NOT NULL PRIMARY KEY", "key": "VARCHAR(155) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin UNIQUE",
		"status": "VARCHAR(50)", "short": "VARCHAR(155)", "bytes": "LONGBLOB", "time": "DATETIME(6)", "text": "LONGTEXT", "end": " DEFAULT CHARACTER SET utf8mb4",
	},
	sqldialect.SQLite: {"id": "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "key": "VARCHAR(155) UNIQUE", "status": "VARCHAR(50)", "short": "VARCHAR(155)", "bytes": "BLOB", "time": "DATETIME", "text": "TEXT", "end": ""},
}

// kinds are the types of the columns that every table may get.
var kinds = map[string]string{
	"id": "id", "task_id": "key", "taskset_id": "key", "status": "status", "result": "bytes", "date_done": "time", "traceback": "text",
	"children": "bytes", "name": "short", "args": "bytes", "kwargs": "bytes", "worker": "short", "retries": "", "queue": "short", "stamps": "bytes",
}

func (b *DatabaseBackend) columnType(name string) string {
	if kinds[name] == "" {
		return "INTEGER"
	}
	return types[b.dialect][kinds[name]]
}

// sequences reports whether SQLAlchemy takes primary keys from sequences: in
// PostgreSQL, and in MariaDB, which MySQL is not.
func (b *DatabaseBackend) sequences(ctx context.Context) (bool, error) {
	if b.dialect != sqldialect.MySQL {
		return b.dialect == sqldialect.PostgreSQL, nil
	}
	var version string
	err := b.db.Row(ctx, b.dialect.Rebind(`SELECT VERSION()`), nil, &version)
	return strings.Contains(version, "MariaDB"), err
}

// create makes the tables that are not there. Somebody may do so at the same time.
func (b *DatabaseBackend) create(ctx context.Context) error {
	sequences, err := b.sequences(ctx)
	if err != nil {
		return err
	}
	var statements []string
	table := func(name, sequence, index string, columns []string) {
		list := make([]string, len(columns))
		for i, column := range columns {
			list[i] = column + " " + b.columnType(column)
		}
		switch {
		case sequences:
			statements = append(statements, `CREATE SEQUENCE IF NOT EXISTS `+sequence)
		case b.dialect == sqldialect.MySQL:
			list[0] += " AUTO_INCREMENT"
		}
		text := `CREATE TABLE IF NOT EXISTS ` + name + ` (` + strings.Join(list, ", ")
		if b.dialect == sqldialect.MySQL {
			text += `, INDEX ` + index + ` (date_done)`
		}
		statements = append(statements, text+`)`+types[b.dialect]["end"])
		if b.dialect != sqldialect.MySQL {
			statements = append(statements, `CREATE INDEX IF NOT EXISTS `+index+` ON `+name+` (date_done)`)
		}
	}
	table(b.names.task, b.names.taskSeq, "ix_"+b.names.parts[0].table+"_date_done", append(append([]string{}, own...), more...))
	table(b.names.group, b.names.groupSeq, "ix_"+b.names.parts[1].table+"_date_done", []string{"id", "taskset_id", "result", "date_done"})
	for _, text := range statements {
		if _, err := b.db.Exec(ctx, b.dialect.Rebind(text)); err != nil {
			return err
		}
	}
	return nil
}

// MigrateOptions say how Migrate goes about it. The zero value is fine.
type MigrateOptions struct {
	// Alter also adds the columns that tables of older releases of Celery lack, and
	// those of result_extended. Celery from 5.7 on then reads and writes results in
	// result_serializer, and older releases can't read what Go writes. Default: false.
	Alter bool

	// Engine is postgresql, mysql or sqlite, for drivers whose type does not
	// tell. Default: told by the driver.
	Engine string
}

// MigrateReport is what Migrate did and found.
type MigrateReport struct {
	Created []string // tables that were made
	Altered []string // columns that were added, as table.column
	Missing []string // columns that are not there, as table.column: what they hold is not kept
}

// Migrate makes Celery's tables under the names that the settings give, where they are
// missing. Several processes may call it at once.
func Migrate(ctx context.Context, db *sql.DB, s celeryresults.Settings, o MigrateOptions) (MigrateReport, error) {
	b, err := New(db, s, Options{Engine: o.Engine})
	if err != nil {
		return MigrateReport{}, err
	}
	defer b.Close()
	var report MigrateReport
	err = b.do(ctx, "migrate", func() (err error) {
		report, err = b.migrate(ctx, o.Alter)
		return err
	})
	return report, err
}

func (b *DatabaseBackend) migrate(ctx context.Context, alter bool) (report MigrateReport, err error) {
	task, group, err := b.inspect(ctx)
	if err != nil {
		return report, err
	}
	for i, fields := range []map[string]field{task, group} {
		if len(fields) == 0 {
			report.Created = append(report.Created, b.names.parts[i].table)
		}
	}
	if report.Created != nil {
		if err := b.create(ctx); err != nil {
			return report, err
		}
		if task, group, err = b.inspect(ctx); err != nil {
			return report, err
		}
	}
	if _, err := b.newLayout(task, group); err != nil {
		return report, err
	}
	for _, column := range append([]string{children}, more...) {
		if _, there := task[column]; there || column == children && !alter {
			continue
		}
		name := b.names.parts[0].table + "." + column
		if !alter {
			report.Missing = append(report.Missing, name)
			continue
		}
		if _, err := b.db.Exec(ctx, b.dialect.Rebind(`ALTER TABLE `+b.names.task+` ADD COLUMN `+column+` `+b.columnType(column))); err != nil {
			return report, err
		}
		report.Altered = append(report.Altered, name)
	}
	return report, nil
}

// MissingColumns returns the columns that the task table lacks: what they hold is not
// kept. It makes no table.
func (b *DatabaseBackend) MissingColumns(ctx context.Context) ([]string, error) {
	var missing []string
	err := b.do(ctx, "look at the tables", func() error {
		missing = nil
		task, _, err := b.inspect(ctx)
		if err == nil && len(task) == 0 {
			err = fmt.Errorf("%w %s", celeryresults.ErrNoTable, b.names.task)
		}
		for _, column := range append(append([]string{}, own...), more...) {
			if _, there := task[column]; !there {
				missing = append(missing, b.names.parts[0].table+"."+column)
			}
		}
		return err
	})
	return missing, err
}
