package dbcache

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// CreateTable makes the table of a cache as Django's createcachetable does, if
// it is not there; on MySQL its keys are compared by their bytes. A table that is there is left alone. Several processes may
// call it at the same time. It returns an error for a table that lacks the
// three columns, for a table name that New would refuse or that is too long for
// its index, which is named after it, and for an unknown driver.
func CreateTable(ctx context.Context, db *sql.DB, table string) error {
	s, err := New(db, table, Options{})
	if err != nil {
		return err
	}
	return s.CreateTable(ctx)
}

// CreateTable makes the store's table, as the function of this name does.
func (s *Store) CreateTable(ctx context.Context) error {
	if s.probe(ctx) == nil {
		return nil
	}
	statements, err := createStatements(s.dialect, s.table)
	if err != nil {
		return fmt.Errorf("dbcache: create table: %w", err)
	}
	err = s.run(ctx, sqldialect.Repeatable, func() error { return s.create(ctx, statements) })
	if err != nil && sqldialect.Classify(err) != sqldialect.Conflict {
		return fmt.Errorf("dbcache: create table %q: %w", s.table, err)
	}
	if err := s.probe(ctx); err != nil {
		return fmt.Errorf("dbcache: create table %q: %w", s.table, err)
	}
	return nil
}

// probe returns an error unless the table is there with its columns.
func (s *Store) probe(ctx context.Context) error {
	return s.run(ctx, sqldialect.Repeatable, func() error {
		rows, err := s.db.QueryContext(ctx, `SELECT cache_key, value, expires FROM `+s.queries.table+` WHERE 1 = 0`)
		if err != nil {
			return err
		}
		defer rows.Close()
		return rows.Err()
	})
}

// create runs the statements in one transaction: table and index come together
// where the database can do that.
func (s *Store) create(ctx context.Context, statements []string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it says only that Commit was first
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// definitions is the table as Django makes it in each dialect. MySQL commits
// after every such statement, so it gets table and index in one.
var definitions = map[*sqldialect.Dialect][]string{
	sqldialect.PostgreSQL: {
		`CREATE TABLE IF NOT EXISTS {table} (
			cache_key varchar(255) NOT NULL PRIMARY KEY,
			value text NOT NULL,
			expires timestamp with time zone NOT NULL
		)`,
		`CREATE INDEX IF NOT EXISTS {index} ON {table} (expires)`,
	},
	sqldialect.MySQL: {
		// The database's collation, which Django takes, may hold keys that differ
		// in case or accents to be one.
		`CREATE TABLE IF NOT EXISTS {table} (
			cache_key varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
			value longtext NOT NULL,
			expires datetime(6) NOT NULL,
			KEY {index} (expires)
		)`,
	},
	sqldialect.SQLite: {
		`CREATE TABLE IF NOT EXISTS {table} (
			cache_key varchar(255) NOT NULL PRIMARY KEY,
			value text NOT NULL,
			expires datetime NOT NULL
		)`,
		`CREATE INDEX IF NOT EXISTS {schema}{index} ON {bare} (expires)`,
	},
}

// createStatements returns the definition of a table. The index is named after
// the table and stands in its schema, which SQLite wants before the index.
func createStatements(d *sqldialect.Dialect, table string) ([]string, error) {
	index, err := d.QuoteIdent(table[strings.LastIndex(table, ".")+1:] + "_expires")
	if err != nil {
		return nil, err
	}
	quoted, err := d.QuoteIdent(table)
	if err != nil {
		return nil, err
	}
	bare := quoted[strings.LastIndex(quoted, ".")+1:]
	names := strings.NewReplacer("{table}", quoted, "{index}", index, "{bare}", bare,
		"{schema}", strings.TrimSuffix(quoted, bare))
	statements := make([]string, len(definitions[d]))
	for i, definition := range definitions[d] {
		statements[i] = names.Replace(definition)
	}
	return statements, nil
}
