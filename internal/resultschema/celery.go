package resultschema

import (
	"cmp"
	"errors"
	"strings"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Name is that of a table: as it is reported, and as it and the sequence of its primary keys
// stand in statements.
type Name struct{ Plain, Quoted, Sequence string }

// Celery returns the tables of Celery's own database backend, with their names. The settings
// database_table_schemas and database_table_names say where they are, by the keys task and
// group; without them, it is as in celery.backends.database.models. It returns an error for
// names that are none.
func Celery(d *sqldialect.Dialect, schemas, names map[string]string) (s *Schema, task, group Name, err error) {
	table := func(key, usual, sequence string, columns []column) (Name, definition) {
		t := definition{name: cmp.Or(names[key], usual), schema: schemas[key], columns: columns}
		prefix := ""
		if t.schema != "" {
			prefix = t.schema + "."
		}
		var err2, err3 error
		t.quoted, err2 = d.QuoteIdent(prefix + t.name)
		t.sequence, err3 = d.QuoteIdent(prefix + sequence)
		err = errors.Join(err, err2, err3)
		t.indexes = []index{{name: strings.ToLower("ix_" + t.name + "_date_done"), columns: "date_done"}}
		return Name{t.name, t.quoted, t.sequence}, t
	}
	s = &Schema{make([]definition, 2)}
	task, s.tables[0] = table("task", "celery_taskmeta", "task_id_sequence", taskColumns)
	group, s.tables[1] = table("group", "celery_tasksetmeta", "taskset_id_sequence", groupColumns)
	return s, task, group, err
}

// limit is how wide Celery's columns of texts are.
const limit = 155

// The columns, as celery.backends.database.models has them, with room for more: longer
// primary keys, and in MySQL times with their microseconds, texts compared by bytes and
// results over 64 KB. Only Celery from 5.7 on itself, or Options.Alter, adds children: by
// that column one knows that no older release reads the table.
var (
	taskColumns = []column{
		{name: "id", kind: keyID, must: true},
		{name: "task_id", kind: exact, width: limit, unique: true, null: true, must: true},
		{name: "status", kind: word, width: 50, null: true, must: true},
		{name: "result", kind: binary, null: true, must: true},
		{name: "date_done", kind: naive, null: true, must: true},
		{name: "traceback", kind: text, null: true, must: true},
		{name: "children", kind: binary, null: true, later: true},
		{name: "name", kind: word, width: limit, null: true},
		{name: "args", kind: binary, null: true},
		{name: "kwargs", kind: binary, null: true},
		{name: "worker", kind: word, width: limit, null: true},
		{name: "retries", kind: number, null: true},
		{name: "queue", kind: word, width: limit, null: true},
		{name: "stamps", kind: binary, null: true},
	}
	groupColumns = []column{
		{name: "id", kind: keyID, must: true},
		{name: "taskset_id", kind: exact, width: limit, unique: true, null: true, must: true},
		{name: "result", kind: binary, null: true, must: true},
		{name: "date_done", kind: naive, null: true, must: true},
	}
)

// Check returns why a table is not one of the list, though it has its name.
func (s *Schema) Check(tables Tables) error {
	for _, t := range s.tables {
		if err := t.verify(tables); err != nil {
			return err
		}
	}
	return nil
}

// Missing returns the columns that are not there, as table.column, and the tables: what they
// hold is not kept.
func (s *Schema) Missing(tables Tables) []string {
	var missing []string
	for _, t := range s.tables {
		switch {
		case t.name == VersionTable:
			continue
		case !tables.Has(t.name):
			missing = append(missing, t.name)
			continue
		}
		for _, c := range t.columns {
			if !c.later && !tables.Has(t.name, c.name) {
				missing = append(missing, t.name+"."+c.name)
			}
		}
	}
	return missing
}
