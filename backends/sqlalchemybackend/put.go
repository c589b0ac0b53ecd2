package sqlalchemybackend

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/rank"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// The columns that the task table may have, as they stand in taskColumns.
const (
	inTaskID = iota
	inStatus
	inResult
	inDateDone
	inTraceback
	inChildren
	inStamps
	inName // the first of those of result_extended
	inArgs
	inKwargs
	inWorker
	inRetries
	inQueue
	columnCount
)

// column is a column that is written, with its type in PostgreSQL, which would take
// different ones for a parameter in different places.
type column struct{ name, cast string }

var taskColumns = [columnCount]column{
	{"task_id", "varchar"}, {"status", "varchar"}, {"result", "bytea"}, {"date_done", "timestamp"}, {"traceback", "text"},
	{"children", "bytea"}, {"stamps", "bytea"}, {"name", "varchar"}, {"args", "bytea"}, {"kwargs", "bytea"},
	{"worker", "varchar"}, {"retries", "integer"}, {"queue", "varchar"},
}

var groupColumns = []column{{"taskset_id", "varchar"}, {"result", "bytea"}, {"date_done", "timestamp"}}

// statements store a record. Their parameters are the columns, of which the first is the
// key; those that update have the power and the moment before which results have expired,
// too, if guarded says so.
type statements struct {
	columns  []int // of taskColumns
	guarded  bool  // by the rule of who may replace whom
	update   sqldialect.Query
	insert   sqldialect.Query
	both     sqldialect.Query // PostgreSQL: update, or insert
	standing sqldialect.Query // selects what counts of the record that stands
}

// newStatements returns the statements of a table whose rows get their primary keys from
// an expression, or by themselves where that is empty.
func (b *Store) newStatements(table, id string, columns []column, guarded bool) statements {
	var names, parameters, sets []string
	if id != "" {
		names, parameters = append(names, "id"), append(parameters, id)
	}
	for i, c := range columns {
		parameter := b.parameter(i+1, c.cast)
		names, parameters = append(names, c.name), append(parameters, parameter)
		if i > 0 {
			sets = append(sets, c.name+" = "+parameter)
		}
	}
	key := columns[0].name
	same := b.base.Dialect.SameKey(key, "$1")
	update := `UPDATE ` + table + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + same
	state := "NULL"
	if guarded {
		update, state = update+` AND (`+b.allowed(len(columns)+1)+`)`, "status"
	}
	insert := `INSERT INTO ` + table + ` (` + strings.Join(names, ", ") + `) SELECT ` + strings.Join(parameters, ", ") +
		` WHERE NOT EXISTS (SELECT 1 FROM ` + table + ` WHERE ` + same + `)`
	if b.base.Dialect == sqldialect.MySQL { // where that locks gaps, and writers end one another
		insert = `INSERT INTO ` + table + ` (` + strings.Join(names, ", ") + `) VALUES (` + strings.Join(parameters, ", ") + `)`
	}
	s := statements{
		guarded: guarded, update: b.base.Dialect.Rebind(update), insert: b.base.Dialect.Rebind(insert),
		standing: b.base.Dialect.Rebind(`SELECT ` + key + `, ` + state + `, result, date_done FROM ` + table + ` WHERE ` + key + ` = $1`),
	}
	switch b.base.Dialect {
	case sqldialect.SQLite:
		s.update, s.insert = s.update.Kept(), s.insert.Kept()
	case sqldialect.PostgreSQL:
		s.both = b.base.Dialect.Rebind(`WITH updated AS (` + update + ` RETURNING 1), inserted AS (` + insert + ` ON CONFLICT (` + key + `) DO NOTHING RETURNING 1)
			SELECT (SELECT count(*) FROM updated) + (SELECT count(*) FROM inserted)`)
	}
	return s
}

func (b *Store) parameter(n int, cast string) string {
	if b.base.Dialect == sqldialect.PostgreSQL {
		return fmt.Sprintf("$%d::%s", n, cast)
	}
	return fmt.Sprintf("$%d", n)
}

// allowed is the condition that a row may be replaced: its state gives way to the power in
// the parameter of a number, or it was written before the moment in the next one.
func (b *Store) allowed(power int) string {
	may := rank.SQL("COALESCE(status, '')", b.parameter(power, "integer"))
	if b.base.Expires != celeryresults.Never {
		may += fmt.Sprintf(` OR date_done < $%d`, power+1)
	}
	return may
}

// Put implements driver.Store.
func (b *Store) Put(ctx context.Context, writes []*driver.Write) {
	if err := b.onConnection(ctx, writes); err != nil { // nothing was sent
		b.fail(ctx, writes, err)
	}
}

// fail answers writes that were sent in vain, or not at all.
func (b *Store) fail(ctx context.Context, writes []*driver.Write, err error) {
	answer := driver.Answer{Outcome: driver.NotStored, Err: b.explain(ctx, err)}
	if b.base.Unsure(ctx, err) {
		answer.Outcome = driver.Unknown
	}
	for _, w := range writes {
		w.Answer = answer
	}
}

// onConnection answers the writes over one connection, so that what fails before, for want
// of one, is known to have changed nothing. A statement that hangs ends some time. SQLite's
// driver does not tell what became of a statement that its context ended: there they are
// short, and not ended.
func (b *Store) onConnection(ctx context.Context, writes []*driver.Write) error {
	timed := ctx
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		timed, cancel = context.WithTimeout(ctx, celeryresults.Patience)
		defer cancel()
	}
	if b.base.Dialect == sqldialect.SQLite && len(writes) > 1 {
		return b.putTogether(ctx, timed, writes)
	}
	return b.base.DB.OnConn(timed, func(conn *sqldialect.Conn) error {
		if b.base.Dialect == sqldialect.SQLite {
			timed = context.WithoutCancel(timed)
		}
		for i, w := range writes {
			if err := b.put(timed, conn, w); err != nil {
				b.fail(ctx, writes[i:i+1], err)
			}
		}
		return nil
	})
}

// putTogether answers the writes in one transaction, which fails as a whole.
func (b *Store) putTogether(ctx, timed context.Context, writes []*driver.Write) error {
	s := writes[0].Row.(*entry).statements
	if err := b.base.DB.Prepare(timed, s.update, s.insert); err != nil { // there may be but one connection
		return err
	}
	return b.base.DB.OnConn(timed, func(conn *sqldialect.Conn) error {
		timed := context.WithoutCancel(timed)
		err := conn.InTx(timed, func(tx *sqldialect.Tx) error {
			for _, w := range writes {
				if err := b.put(timed, tx, w); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.fail(ctx, writes, err)
		}
		return nil
	})
}

// session is a connection or a transaction.
type session interface {
	Affect(ctx context.Context, q sqldialect.Query, args ...any) (int64, error)
	Rows(ctx context.Context, q sqldialect.Query, args []any, scan func(scan func(dst ...any) error) error) error
}

// put stores a record if it may be stored, and answers the write.
func (b *Store) put(ctx context.Context, s session, w *driver.Write) error {
	e := w.Row.(*entry)
	stored, err := b.send(ctx, s, e, w.Power)
	if err != nil {
		return err
	}
	if stored {
		w.Answer.Outcome = driver.Stored
		return nil
	}
	return b.refuse(ctx, s, e, w)
}

func (b *Store) send(ctx context.Context, s session, e *entry, power driver.Power) (stored bool, err error) {
	guarded := e.args
	if e.statements.guarded {
		guarded = append(guarded, int(power))
		if b.base.Expires != celeryresults.Never {
			guarded = append(guarded, b.time(b.base.Cutoff()))
		}
	}
	if b.base.Dialect == sqldialect.PostgreSQL {
		err := s.Rows(ctx, e.statements.both, guarded, func(scan func(...any) error) error { return scan(&e.stored) })
		return e.stored > 0, err
	}
	n, err := s.Affect(ctx, e.statements.update, guarded...)
	if err != nil || n > 0 {
		return n > 0, err
	}
	n, err = s.Affect(ctx, e.statements.insert, e.args...)
	if sqldialect.Classify(err) == sqldialect.Conflict { // a record stands, maybe of another id
		return false, nil
	}
	return n > 0, err
}

// errChanged is why a write is repeated: a record came or went between two statements.
var errChanged = errors.New("sqlalchemybackend: the record changed")

// refuse finds out why a record was not stored. A write that is repeated finds itself in
// the table if it had happened.
func (b *Store) refuse(ctx context.Context, s session, e *entry, w *driver.Write) error {
	var id string
	var status sql.NullString
	var result []byte
	var written time.Time
	found := false
	err := s.Rows(ctx, e.statements.standing, []any{w.ID}, func(scan func(...any) error) error {
		found = true
		return scan(&id, &status, &result, b.base.ScanTime(&written))
	})
	if err != nil {
		return err
	}
	state := celeryresults.State(status.String)
	switch {
	case found && id != w.ID:
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: fmt.Errorf("the table takes id %.60q for %.60q: %w", w.ID, id, driver.ErrBadID)}
	case found && w.Repeated && state == w.State && bytes.Equal(result, e.result):
		w.Answer.Outcome = driver.Stored
	case found && !w.Power.Over(state) && !b.base.Expired(written):
		w.Answer = driver.Answer{Outcome: driver.Refused, Stands: state}
	default:
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: &driver.Again{Err: errChanged, Conflict: true}}
	}
	return nil
}
