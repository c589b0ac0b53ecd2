package sqldialect

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// DB is an open database with its dialect, and the statements that are kept
// prepared. It is safe for concurrent use. Make one with [NewDB].
type DB struct {
	*sql.DB
	Dialect *Dialect

	kept sync.Map // text → *sql.Stmt
}

// NewDB returns db with what this package adds to it. It stays the caller's to
// close.
func NewDB(db *sql.DB, d *Dialect) *DB { return &DB{DB: db, Dialect: d} }

// Exec runs a statement.
func (db *DB) Exec(ctx context.Context, q Query, args ...any) (sql.Result, error) {
	stmt, err := db.statement(ctx, q)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return db.ExecContext(ctx, q.Text, q.Args(args...)...)
	}
	return stmt.ExecContext(ctx, q.Args(args...)...)
}

// Affect runs a statement and returns how many rows it affected.
func (db *DB) Affect(ctx context.Context, q Query, args ...any) (int64, error) {
	result, err := db.Exec(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Row runs a query and scans its only row, or returns sql.ErrNoRows.
func (db *DB) Row(ctx context.Context, q Query, args []any, dst ...any) error {
	stmt, err := db.statement(ctx, q)
	if err != nil {
		return err
	}
	if stmt == nil {
		return db.QueryRowContext(ctx, q.Text, q.Args(args...)...).Scan(dst...)
	}
	return stmt.QueryRowContext(ctx, q.Args(args...)...).Scan(dst...)
}

// Rows runs a query and calls scan for each row.
func (db *DB) Rows(ctx context.Context, q Query, args []any, scan func(scan func(dst ...any) error) error) error {
	stmt, err := db.statement(ctx, q)
	if err != nil {
		return err
	}
	if stmt == nil {
		rows, err := db.QueryContext(ctx, q.Text, q.Args(args...)...)
		return eachRow(rows, err, scan)
	}
	rows, err := stmt.QueryContext(ctx, q.Args(args...)...)
	return eachRow(rows, err, scan)
}

func eachRow(rows *sql.Rows, err error, scan func(scan func(dst ...any) error) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// UnsentError is why there was no connection to send anything over.
type UnsentError struct{ Err error }

// Error returns the reason.
func (e *UnsentError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *UnsentError) Unwrap() error { return e.Err }

// Conn is one connection of a database.
type Conn struct {
	conn *sql.Conn
	db   *DB
}

// OnConn runs f on one connection. When there is none to be had, the error is an
// *UnsentError. Statements on it are not prepared.
func (db *DB) OnConn(ctx context.Context, f func(*Conn) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return &UnsentError{err}
	}
	defer conn.Close()
	return f(&Conn{conn, db})
}

// Affect runs a statement and returns how many rows it affected.
func (c *Conn) Affect(ctx context.Context, q Query, args ...any) (int64, error) {
	result, err := c.conn.ExecContext(ctx, q.Text, q.Args(args...)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Rows runs a query and calls scan for each row.
func (c *Conn) Rows(ctx context.Context, q Query, args []any, scan func(scan func(dst ...any) error) error) error {
	rows, err := c.conn.QueryContext(ctx, q.Text, q.Args(args...)...)
	return eachRow(rows, err, scan)
}

// Tx is a transaction with the statements that are kept prepared.
type Tx struct {
	tx *sql.Tx
	db *DB
}

// InTx runs f in a transaction, which is rolled back when f fails.
func (db *DB) InTx(ctx context.Context, f func(*Tx) error) error {
	return db.inTx(ctx, db.BeginTx, f)
}

// InTx runs f in a transaction of the connection, as DB.InTx does.
func (c *Conn) InTx(ctx context.Context, f func(*Tx) error) error {
	return c.db.inTx(ctx, c.conn.BeginTx, f)
}

func (db *DB) inTx(ctx context.Context, begin func(context.Context, *sql.TxOptions) (*sql.Tx, error), f func(*Tx) error) error {
	tx, err := begin(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it says only that Commit was first
	if err := f(&Tx{tx, db}); err != nil {
		return err
	}
	return tx.Commit()
}

// Affect runs a statement and returns how many rows it affected.
func (tx *Tx) Affect(ctx context.Context, q Query, args ...any) (int64, error) {
	result, err := tx.exec(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// exec runs a statement that is prepared already as such: preparing another one
// would need a second connection, which SQLite does not have.
func (tx *Tx) exec(ctx context.Context, q Query, args ...any) (sql.Result, error) {
	if kept, ok := tx.db.kept.Load(q.Text); ok && q.keep {
		return tx.tx.StmtContext(ctx, kept.(*sql.Stmt)).ExecContext(ctx, q.Args(args...)...) //nolint:sqlclosecheck // the transaction does
	}
	return tx.tx.ExecContext(ctx, q.Text, q.Args(args...)...)
}

// Rows runs a query and calls scan for each row.
func (tx *Tx) Rows(ctx context.Context, q Query, args []any, scan func(scan func(dst ...any) error) error) error {
	rows, err := tx.tx.QueryContext(ctx, q.Text, q.Args(args...)...)
	return eachRow(rows, err, scan)
}

// Prepare prepares statements that are kept, for transactions to use.
func (db *DB) Prepare(ctx context.Context, queries ...Query) error {
	for _, q := range queries {
		if _, err := db.statement(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// prepared is a statement that stays prepared, and is not its user's to close.
type prepared interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// statement returns the prepared statement of a query that is kept, and nil for
// others. SQLite takes longer to parse most of them than to run them, and MySQL
// some. PostgreSQL's driver keeps statements by itself.
func (db *DB) statement(ctx context.Context, q Query) (prepared, error) {
	if db.Dialect == PostgreSQL || !q.keep {
		return nil, nil
	}
	if kept, ok := db.kept.Load(q.Text); ok {
		return kept.(*sql.Stmt), nil
	}
	stmt, err := db.PrepareContext(ctx, q.Text)
	if err != nil {
		return nil, err
	}
	first, there := db.kept.LoadOrStore(q.Text, stmt)
	if there {
		defer stmt.Close()
	}
	return first.(*sql.Stmt), nil
}

// CloseStatements closes the prepared statements.
func (db *DB) CloseStatements() error {
	var errs []error
	for _, stmt := range db.kept.Range {
		errs = append(errs, UnlessGone(stmt.(*sql.Stmt).Close()))
	}
	return errors.Join(errs...)
}

// UnlessGone returns an error of closing something, but not that its connection
// is gone already.
func UnlessGone(err error) error {
	if Classify(err) != Other {
		return nil
	}
	return err
}
