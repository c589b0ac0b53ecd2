package resultschema

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"strings"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Tables are the tables of this package that a database has, by their names.
type Tables map[string]Table

// Table is a table as it is, whoever made it.
type Table struct {
	// Columns are the columns, each with the most characters that it takes: 0
	// when it is no varchar or, as on SQLite, the width is not enforced.
	Columns map[string]int

	// Indexes are the names of the indexes.
	Indexes map[string]bool

	// WideID says that the column id has 64 bits. Django's tables have 32,
	// except on SQLite.
	WideID bool

	// CountsID says that the column id gets its values by itself.
	CountsID bool
}

// Has reports whether the table is there with all the columns.
func (t Tables) Has(table string, columns ...string) bool {
	found, ok := t[table]
	for _, c := range columns {
		_, there := found.Columns[c]
		ok = ok && there
	}
	return ok
}

// MaxLength returns the most characters that a column takes, 0 for no limit.
func (t Tables) MaxLength(table, column string) int { return t[table].Columns[column] }

// MadeHere reports whether the table is there and Migrate made it. It is known
// by its unique index, so neither a lost record nor a copied database matters.
func (t Tables) MadeHere(table string) bool {
	found, ok := t[table]
	for _, d := range Django.tables {
		if d.name == table && d.djangos() {
			return found.Indexes[d.key.name]
		}
	}
	return ok
}

// Inspect says what a database has of the tables, with one query. On PostgreSQL it sees
// what statements see by the search_path.
func (s *Schema) Inspect(ctx context.Context, db *sql.DB, d *sqldialect.Dialect) (Tables, error) {
	var tables Tables
	err := sqldialect.Retry(ctx, sqldialect.Repeatable, func() error {
		var err error
		tables, err = s.inspect(ctx, db, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("resultschema: inspect: %w", err)
	}
	return tables, nil
}

// session is a database, a connection or a transaction.
type session interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, statement string, args ...any) (*sql.Rows, error)
}

// catalogues select table, name, whether it is an index, a column's width, whether it
// has 64 bits, and whether it gets its values by itself.
var catalogues = map[*sqldialect.Dialect]string{
	// The catalogue itself shows also what the user may not read.
	sqldialect.PostgreSQL: `
		SELECT t.relname, a.attname, 0,
			CASE WHEN a.atttypid = 'varchar'::regtype AND a.atttypmod > 4 THEN a.atttypmod - 4 ELSE 0 END,
			(a.atttypid = 'bigint'::regtype)::integer, (a.atthasdef OR a.attidentity <> '')::integer
		FROM pg_catalog.pg_class t
		JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE t.oid IN ({tables})
		UNION ALL
		SELECT t.relname, i.relname, 1, 0, 0, 0
		FROM pg_catalog.pg_class t
		JOIN pg_catalog.pg_index x ON x.indrelid = t.oid
		JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
		WHERE t.oid IN ({tables})`,
	sqldialect.MySQL: `
		SELECT table_name, column_name, 0,
			CASE WHEN data_type = 'varchar' THEN character_maximum_length ELSE 0 END, data_type = 'bigint',
			extra LIKE '%auto_increment%' OR COALESCE(column_default, '') LIKE '%nextval%'
		FROM information_schema.columns
		WHERE {tables}
		UNION ALL
		SELECT table_name, index_name, 1, 0, 0, 0
		FROM information_schema.statistics
		WHERE ({tables}) AND seq_in_index = 1`,
	sqldialect.SQLite: `
		SELECT t.column1, c.name, 0, 0, 1, 1
		FROM (VALUES {tables}) t JOIN pragma_table_info(t.column1) c
		UNION ALL
		SELECT t.column1, i.name, 1, 0, 0, 0
		FROM (VALUES {tables}) t JOIN pragma_index_list(t.column1) i`,
}

// inCatalogue is how a catalogue asks for a table: for the one that statements find.
func (t definition) inCatalogue(d *sqldialect.Dialect) string {
	switch d {
	case sqldialect.PostgreSQL:
		return "to_regclass('" + t.inStatements() + "')::oid"
	case sqldialect.MySQL:
		schema := "DATABASE()"
		if t.schema != "" {
			schema = "'" + t.schema + "'"
		}
		return "table_schema = " + schema + " AND table_name = '" + t.name + "'"
	}
	return "('" + t.name + "')"
}

func (s *Schema) inspect(ctx context.Context, db session, d *sqldialect.Dialect) (Tables, error) {
	asked := s.tables
	if s == Django {
		asked = append([]definition{{name: djangoTable}}, asked...)
	}
	list, separator := make([]string, len(asked)), ", "
	for i, t := range asked {
		list[i] = t.inCatalogue(d)
	}
	if d == sqldialect.MySQL {
		separator = " OR "
	}
	rows, err := db.QueryContext(ctx, strings.ReplaceAll(catalogues[d], "{tables}", strings.Join(list, separator)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tables := Tables{}
	for rows.Next() {
		var table, name string
		var index, wide, counts bool
		var width int
		if err := rows.Scan(&table, &name, &index, &width, &wide, &counts); err != nil {
			return nil, err
		}
		for _, t := range asked {
			if strings.EqualFold(t.name, table) { // MySQL may have it in small letters
				tables.add(t.name, name, index, width, wide, counts)
			}
		}
	}
	// MySQL reads the columns first: a table that is made meanwhile has but indexes.
	maps.DeleteFunc(tables, func(_ string, t Table) bool { return len(t.Columns) == 0 })
	return tables, rows.Err()
}

func (t Tables) add(table, name string, index bool, width int, wide, counts bool) {
	found, ok := t[table]
	if !ok {
		found = Table{Columns: map[string]int{}, Indexes: map[string]bool{}}
	}
	if index {
		found.Indexes[name] = true
	} else {
		found.Columns[name] = width
		found.WideID = found.WideID || name == "id" && wide
		found.CountsID = found.CountsID || name == "id" && counts
	}
	t[table] = found
}
