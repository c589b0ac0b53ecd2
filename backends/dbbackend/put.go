package dbbackend

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// put are the statements that store results. Which of them there are depends on
// the database.
type put struct {
	single, merged sqldialect.Query // PostgreSQL: one result, and any number
	update, insert sqldialect.Query // SQLite: a result each
}

// kept returns the statements that are kept prepared.
func (p put) kept() []sqldialect.Query {
	if p.update.Text == "" {
		return nil
	}
	return []sqldialect.Query{p.update, p.insert}
}

// session is a database, a connection or a transaction.
type session interface {
	Affect(ctx context.Context, q sqldialect.Query, args ...any) (int64, error)
	Rows(ctx context.Context, q sqldialect.Query, args []any, scan func(scan func(dst ...any) error) error) error
}

// clock writes times as the columns of a database want them in text.
type clock struct{ dialect *sqldialect.Dialect }

func (c clock) text(t time.Time) string {
	if c.dialect == sqldialect.PostgreSQL {
		return t.UTC().Format("2006-01-02 15:04:05.999999Z07:00")
	}
	return c.dialect.Time(t).(string)
}

// allowed is the condition that a row may be replaced: it has expired, or its
// state gives way to the new one's power.
func allowed(status, power, expired string) string {
	return fmt.Sprintf("(%[2]s = %[4]d OR %[3]s OR %[2]s >= %[5]d AND %[1]s <> 'SUCCESS' AND (%[2]s = %[6]d OR %[1]s NOT IN ('FAILURE', 'REVOKED')))",
		status, power, expired, everything, unready, anyFailure)
}

func (b *DatabaseBackend) newPut(l *layout) put {
	switch b.dialect {
	case sqldialect.PostgreSQL:
		return put{single: b.dialect.Rebind(b.singleStatement(l)), merged: b.dialect.Rebind(b.mergedStatement(l))}
	case sqldialect.SQLite:
		update, insert := b.updateStatement(l), b.insertStatement(l)
		return put{update: b.dialect.Rebind(update).Kept(), insert: b.dialect.Rebind(insert).Kept()}
	}
	return put{}
}

// updateStatement updates a row if it may be. Its parameters are the columns, the
// power, and those of the expiry.
func (b *DatabaseBackend) updateStatement(l *layout) string {
	power := len(l.columns) + 1
	expired := b.expiry.condition("", power+1)
	var sets []string
	for i, c := range l.columns {
		if c.set != nil {
			sets = append(sets, strings.ReplaceAll(c.set(c.name, b.parameter(i, c), expired), "{t}", ""))
		}
	}
	return `UPDATE ` + taskTable + ` SET ` + strings.Join(sets, ", ") + ` WHERE task_id = ` + b.parameter(0, l.columns[0]) +
		` AND ` + allowed("status", b.parameter(power-1, column{cast: "int"}), expired)
}

// insertStatement inserts a row if it is not there. Its parameters are the
// columns.
func (b *DatabaseBackend) insertStatement(l *layout) string {
	parameters := make([]string, len(l.columns))
	for i, c := range l.columns {
		parameters[i] = b.parameter(i, c)
	}
	return `INSERT INTO ` + taskTable + ` (` + l.names("") + `) SELECT ` + strings.Join(parameters, ", ") +
		` WHERE NOT EXISTS (SELECT 1 FROM ` + taskTable + ` WHERE task_id = ` + parameters[0] + `)`
}

// parameter returns a column's parameter, with its type in PostgreSQL, which
// would take different ones in different places.
func (b *DatabaseBackend) parameter(i int, c column) string {
	if b.dialect == sqldialect.PostgreSQL {
		return fmt.Sprintf("$%d::%s", i+1, c.cast)
	}
	return fmt.Sprintf("$%d", i+1)
}

// singleStatement updates a row if it may be, inserts it if it is not there, and
// returns its id if it did either. Its parameters are those of updateStatement.
//
// Only a row that somebody else inserts at the same moment lets it use an id of
// the sequence in vain.
func (b *DatabaseBackend) singleStatement(l *layout) string {
	return `WITH updated AS (` + b.updateStatement(l) + ` RETURNING task_id),
		inserted AS (` + b.insertStatement(l) + ` ON CONFLICT (task_id) DO NOTHING RETURNING task_id)
		SELECT s.task_id FROM (SELECT task_id FROM updated UNION ALL SELECT task_id FROM inserted) s` + b.notify()
}

// notify tells of the rows that were stored, in the statement that stores them:
// the server lets notifications commit one after another, and so as few as can be.
func (b *DatabaseBackend) notify() string {
	if !b.notifies() {
		return ""
	}
	return `, pg_notify('` + channel + `', s.task_id)`
}

// mergedStatement is singleStatement for any number of results. Its parameters
// are an array for each column, the powers, and those of the expiry.
//
// The planner makes one plan for good, and so must not know how long the arrays
// of this time are, hence the sub-selects, nor take them for so long that
// reading the whole of a table which is small then is cheaper than its index,
// hence a condition that seems to leave one row.
func (b *DatabaseBackend) mergedStatement(l *layout) string {
	arrays, names := make([]string, 0, len(l.columns)+1), l.names("")
	for i, c := range l.columns {
		arrays = append(arrays, fmt.Sprintf("(SELECT $%d::%s[])", i+1, c.cast))
	}
	power := len(l.columns) + 1
	arrays = append(arrays, fmt.Sprintf("(SELECT $%d::int[])", power))
	expired := b.expiry.condition("t.", power+1)
	var sets []string
	for _, c := range l.columns {
		if c.set != nil {
			sets = append(sets, strings.ReplaceAll(c.set(c.name, "i."+c.name, expired), "{t}", "t."))
		}
	}
	return `
		WITH input AS (SELECT * FROM unnest(` + strings.Join(arrays, ", ") + `) AS i (` + names + `, power) WHERE i.power % 1 = 0),
		updated AS (
			UPDATE ` + taskTable + ` AS t SET ` + strings.Join(sets, ", ") + ` FROM input i
			WHERE t.task_id = i.task_id AND ` + allowed("t.status", "i.power", expired) + ` RETURNING t.task_id
		),
		inserted AS (
			INSERT INTO ` + taskTable + ` (` + names + `) SELECT ` + l.names("i.") + ` FROM input i
			WHERE NOT EXISTS (SELECT 1 FROM ` + taskTable + ` t WHERE t.task_id = i.task_id)
			ON CONFLICT (task_id) DO NOTHING RETURNING task_id
		)
		SELECT s.task_id FROM (SELECT task_id FROM updated UNION ALL SELECT task_id FROM inserted) s` + b.notify()
}

// connection is a database, or one connection of it.
type connection interface {
	session
	InTx(ctx context.Context, f func(*sqldialect.Tx) error) error
}

// onConnection runs f with a connection, so that what fails before, for want of
// one, is known to have changed nothing. SQLite's driver does not tell what became
// of a statement that its context ended: there they are short, and not ended.
func (b *DatabaseBackend) onConnection(ctx context.Context, l *layout, f func(context.Context, connection) error) error {
	if err := b.db.Prepare(ctx, l.put.kept()...); err != nil { // there may be but one connection
		return err
	}
	return b.db.OnConn(ctx, func(conn *sqldialect.Conn) error {
		if b.dialect == sqldialect.SQLite {
			ctx = context.WithoutCancel(ctx)
		}
		return f(ctx, conn)
	})
}

// putAll stores the requests as far as they may be and returns the ids of those
// that are stored. Beside an error it returns those that are stored for certain.
func (b *DatabaseBackend) putAll(ctx context.Context, conn connection, rs []*request) (stored map[string]bool, err error) {
	l := rs[0].layout
	entries := make([]*entry, len(rs))
	labelled := false
	for i, r := range rs {
		entries[i] = r.entry
		labelled = labelled || l.labels && len(r.entry.labels) > 0
	}
	if b.dialect != sqldialect.SQLite && !labelled {
		return b.put(ctx, conn, l, entries)
	}
	err = conn.InTx(ctx, func(tx *sqldialect.Tx) error {
		if stored, err = b.put(ctx, tx, l, entries); err != nil || !labelled {
			return err
		}
		return b.putLabels(ctx, tx, entries, stored)
	})
	if err != nil {
		return nil, err
	}
	return stored, nil
}

func (b *DatabaseBackend) put(ctx context.Context, s session, l *layout, entries []*entry) (map[string]bool, error) {
	switch b.dialect {
	case sqldialect.PostgreSQL:
		return b.putMerged(ctx, s, l, entries)
	case sqldialect.SQLite:
		return b.putEach(ctx, s, l, entries)
	}
	return b.putApart(ctx, s, l, entries)
}

func (b *DatabaseBackend) putMerged(ctx context.Context, s session, l *layout, entries []*entry) (map[string]bool, error) {
	q, args := l.put.single, b.values(l, entries[0])
	if len(entries) > 1 {
		q, args = l.put.merged, b.arrays(l, entries)
	} else {
		args = append(args, strconv.Itoa(int(entries[0].power)))
	}
	stored := make(map[string]bool, len(entries))
	err := s.Rows(ctx, q, append(args, b.expiry.args(b.now(), b.dialect.Time)...), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		stored[id] = true
		return err
	})
	if err != nil {
		return nil, err // the rows come before the commit does
	}
	return stored, nil
}

// arrays returns the arrays of the columns and of the powers.
func (b *DatabaseBackend) arrays(l *layout, entries []*entry) []any {
	c := clock{b.dialect}
	args := make([]any, 0, len(l.columns)+8)
	for _, column := range l.columns {
		array := sqldialect.NewArray(64 * len(entries))
		for _, e := range entries {
			if text, null := column.value(e, c); null {
				array.AddNull()
			} else {
				array.Add(text)
			}
		}
		args = append(args, array.String())
	}
	powers := sqldialect.NewArray(8 * len(entries))
	for _, e := range entries {
		powers.Add(strconv.Itoa(int(e.power)))
	}
	return append(args, powers.String())
}

// putEach stores one by one.
func (b *DatabaseBackend) putEach(ctx context.Context, s session, l *layout, entries []*entry) (map[string]bool, error) {
	stored := make(map[string]bool, len(entries))
	expiry := b.expiry.args(b.now(), b.dialect.Time)
	for _, e := range entries {
		values := b.values(l, e)
		n, err := s.Affect(ctx, l.put.update, append(append(values[:len(values):len(values)], int(e.power)), expiry...)...)
		if err == nil && n == 0 {
			n, err = s.Affect(ctx, l.put.insert, values...)
		}
		if err != nil {
			return nil, err
		}
		if n > 0 {
			stored[e.id] = true
		}
	}
	return stored, nil
}

// values returns what goes into the columns.
func (b *DatabaseBackend) values(l *layout, e *entry) []any {
	c := clock{b.dialect}
	values := make([]any, len(l.columns), len(l.columns)+8)
	for i, column := range l.columns {
		if text, null := column.value(e, c); !null {
			values[i] = text
		}
	}
	return values
}

// putApart is for databases that can neither update several rows from a list nor
// return what they changed: it looks which rows are there, inserts the others
// and updates these. What somebody else did in between is a Conflict, or not
// among what is returned.
func (b *DatabaseBackend) putApart(ctx context.Context, s session, l *layout, entries []*entry) (map[string]bool, error) {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	standing, err := b.standing(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	var absent, present []*entry
	others := len(standing)
	for _, e := range entries {
		s, there := standing[e.id]
		switch {
		case !there:
			absent = append(absent, e)
			continue
		case b.mayReplace(e, s):
			present = append(present, e)
		}
		others--
	}
	if others > 0 && len(absent) > 0 { // with several entries, it is about one of them
		return nil, fmt.Errorf("dbbackend: the table takes task id %.60q for that of another task: %w", absent[0].id, celeryresults.ErrBadID)
	}
	stored := make(map[string]bool, len(entries))
	if err := b.insertApart(ctx, s, l, absent, stored); err != nil {
		return nil, err
	}
	return stored, b.updateApart(ctx, s, l, present, standing, stored)
}

func (b *DatabaseBackend) insertApart(ctx context.Context, s session, l *layout, absent []*entry, stored map[string]bool) error {
	if len(absent) == 0 {
		return nil
	}
	rows := make([]string, len(absent))
	args := make([]any, 0, len(absent)*len(l.columns))
	for i, e := range absent {
		rows[i] = "(" + sqldialect.Parameters(len(args)+1, len(l.columns)) + ")"
		args = append(args, b.values(l, e)...)
	}
	q := b.dialect.Rebind(`INSERT INTO ` + taskTable + ` (` + l.names("") + `) VALUES ` + strings.Join(rows, ", "))
	if _, err := s.Affect(ctx, q, args...); err != nil {
		return err
	}
	for _, e := range absent {
		stored[e.id] = true
	}
	return nil
}

// updateApart updates rows by their primary keys, which no assignment changes:
// MySQL's assignments see the ones before them.
func (b *DatabaseBackend) updateApart(ctx context.Context, s session, l *layout, present []*entry, standing map[string]standing, stored map[string]bool) error {
	if len(present) == 0 {
		return nil
	}
	u := cases{ids: make([]int64, len(present))}
	values := make([][]any, len(present))
	fresh := make([]bool, len(present))
	for i, e := range present {
		row := standing[e.id]
		u.ids[i], values[i] = row.id, b.values(l, e)
		fresh[i] = b.expiry.expired(row.state, row.written, b.now())
	}
	var sets []string
	for i, c := range l.columns {
		if c.set == nil {
			continue
		}
		set := u.column(func(n int) string {
			truth := "1 = 0"
			if fresh[n] {
				truth = "1 = 1"
			}
			_, new, _ := strings.Cut(c.set(c.name, u.bind(values[n][i]), truth), " = ")
			return strings.ReplaceAll(new, "{t}", "")
		})
		sets = append(sets, c.name+" = "+set)
	}
	power := u.column(func(n int) string { return strconv.Itoa(int(present[n].power)) })
	in := make([]string, len(u.ids))
	for i, id := range u.ids {
		in[i] = strconv.FormatInt(id, 10)
	}
	statement := `UPDATE ` + taskTable + ` SET ` + strings.Join(sets, ", ") + ` WHERE id IN (` + strings.Join(in, ", ") + `) AND ` +
		allowed("status", power, b.expiry.condition("", len(u.args)+1))
	n, err := s.Affect(ctx, b.dialect.Rebind(statement), append(u.args, b.expiry.args(b.now(), b.dialect.Time)...)...)
	if err != nil {
		return err
	}
	for _, e := range present {
		stored[e.id] = int(n) == len(present)
		e.perhaps = !stored[e.id]
	}
	return nil
}

// cases writes CASE expressions over primary keys.
type cases struct {
	ids  []int64
	args []any
}

func (c *cases) bind(value any) string {
	c.args = append(c.args, value)
	return "$" + strconv.Itoa(len(c.args))
}

// column returns the expression that is value(n) in the n-th of the rows.
func (c *cases) column(value func(n int) string) string {
	var text strings.Builder
	text.WriteString("CASE id")
	for n, id := range c.ids {
		fmt.Fprintf(&text, " WHEN %d THEN %s", id, value(n))
	}
	text.WriteString(" END")
	return text.String()
}
