package resultschema

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// lockNumber is this package's advisory lock in a PostgreSQL database.
const lockNumber = 0x63656c657279 // "celery"

// lockName is the same in MySQL, where locks belong to the whole server. It
// takes names of up to 64 characters.
const lockName = `CONCAT('celeryresults_', LEFT(DATABASE(), 45))`

// farewell is how long a connection may take to give up what it holds after
// the context is over.
const farewell = 5 * time.Second

// errNoDatabase is a MySQL connection that names no database.
var errNoDatabase = errors.New("the connection has no database")

// locked does the work while no other process does such work on this database.
// On PostgreSQL and SQLite the work is a transaction.
func locked(ctx context.Context, db *sql.DB, d *sqldialect.Dialect, work func(session) error) error {
	switch d {
	case sqldialect.PostgreSQL:
		return lockedPostgreSQL(ctx, db, work)
	case sqldialect.MySQL:
		return lockedMySQL(ctx, db, work)
	}
	return lockedSQLite(ctx, db, work)
}

// lockedPostgreSQL wants each statement to see what was committed before it,
// as the lock is got after the transaction has begun.
func lockedPostgreSQL(ctx context.Context, db *sql.DB, work func(session) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it says only that Commit was first
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lockNumber)); err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// lockedMySQL holds a lock that ends with its connection.
func lockedMySQL(ctx context.Context, db *sql.DB, work func(session) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := getLock(ctx, conn); err != nil {
		return err
	}
	defer release(ctx, conn, `DO RELEASE_LOCK(`+lockName+`)`)
	return work(conn)
}

// getLock asks again every second, so that no timeout of the connection ends
// the wait.
func getLock(ctx context.Context, conn *sql.Conn) error {
	for {
		var got sql.NullBool
		if err := conn.QueryRowContext(ctx, `SELECT GET_LOCK(`+lockName+`, 1)`).Scan(&got); err != nil {
			return err
		}
		switch {
		case !got.Valid:
			return errNoDatabase
		case got.Bool:
			return nil
		}
	}
}

// lockedSQLite begins by itself what drivers may not begin as immediate.
func lockedSQLite(ctx context.Context, db *sql.DB, work func(session) error) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	if err := work(conn); err != nil {
		release(ctx, conn, `ROLLBACK`)
		return err
	}
	if _, err := conn.ExecContext(ctx, `COMMIT`); err != nil {
		release(ctx, conn, `ROLLBACK`)
		return err
	}
	return nil
}

// release ends what the connection holds, or else the connection.
func release(ctx context.Context, conn *sql.Conn, statement string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if _, err := conn.ExecContext(ctx, statement); err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it is thrown away
	}
}
