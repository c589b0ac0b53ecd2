package dbbackend

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/rank"
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
	return "(" + expired + " OR " + rank.SQL(status, power) + ")"
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

// entryOf returns the row of a write.
func entryOf(w *driver.Write) *entry { return w.Row.(*entry) }

// put stores as far as it may, and marks what is stored. Of some, MySQL does not say
// whether it has stored them.
func (b *DatabaseBackend) put(ctx context.Context, s session, l *layout, writes []*driver.Write) (perhaps []*driver.Write, err error) {
	switch b.dialect {
	case sqldialect.PostgreSQL:
		return nil, b.putMerged(ctx, s, l, writes)
	case sqldialect.SQLite:
		return nil, b.putEach(ctx, s, l, writes)
	}
	return b.putApart(ctx, s, l, writes)
}

func (b *DatabaseBackend) putMerged(ctx context.Context, s session, l *layout, writes []*driver.Write) error {
	var q sqldialect.Query
	var args []any
	if len(writes) > 1 {
		q, args = l.put.merged, b.arrays(l, writes)
	} else {
		q, args = l.put.single, append(b.values(l, entryOf(writes[0])), strconv.Itoa(int(writes[0].Power)))
	}
	err := s.Rows(ctx, q, append(args, b.expiry.args(b.now(), b.dialect.Time)...), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		markStored(writes, id)
		return err
	})
	if err != nil { // the rows come before the commit does
		forgetAnswers(writes)
	}
	return err
}

// markStored notes that the write of a task is stored.
func markStored(writes []*driver.Write, id string) {
	i, found := slices.BinarySearchFunc(writes, id, func(w *driver.Write, id string) int { return strings.Compare(w.ID, id) })
	if found {
		writes[i].Answer.Outcome = driver.Stored
	}
}

func forgetAnswers(writes []*driver.Write) {
	for _, w := range writes {
		w.Answer = driver.Answer{}
	}
}

// arrays returns the arrays of the columns and of the powers.
func (b *DatabaseBackend) arrays(l *layout, writes []*driver.Write) []any {
	c := clock{b.dialect}
	args := make([]any, 0, len(l.columns)+8)
	for _, column := range l.columns {
		array := sqldialect.NewArray(64 * len(writes))
		for _, w := range writes {
			if text, null := column.value(entryOf(w), c); null {
				array.AddNull()
			} else {
				array.Add(text)
			}
		}
		args = append(args, array.String())
	}
	powers := sqldialect.NewArray(8 * len(writes))
	for _, w := range writes {
		powers.Add(strconv.Itoa(int(w.Power)))
	}
	return append(args, powers.String())
}

// putEach stores one by one.
func (b *DatabaseBackend) putEach(ctx context.Context, s session, l *layout, writes []*driver.Write) error {
	expiry := b.expiry.args(b.now(), b.dialect.Time)
	for _, w := range writes {
		values := b.values(l, entryOf(w))
		n, err := s.Affect(ctx, l.put.update, append(append(values[:len(values):len(values)], int(w.Power)), expiry...)...)
		if err == nil && n == 0 {
			n, err = s.Affect(ctx, l.put.insert, values...)
		}
		if err != nil {
			return err
		}
		if n > 0 {
			w.Answer.Outcome = driver.Stored
		}
	}
	return nil
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
func (b *DatabaseBackend) putApart(ctx context.Context, s session, l *layout, writes []*driver.Write) (perhaps []*driver.Write, err error) {
	standing, err := b.standing(ctx, s, writes)
	if err != nil {
		return nil, err
	}
	var absent, present []*driver.Write
	others := len(standing)
	for _, w := range writes {
		s, there := standing[w.ID]
		switch {
		case !there:
			absent = append(absent, w)
			continue
		case b.mayReplace(w, s):
			present = append(present, w)
		}
		others--
	}
	if others > 0 && len(absent) > 0 { // with several writes, it is about one of them
		return nil, fmt.Errorf("dbbackend: the table takes task id %.60q for that of another task: %w", absent[0].ID, driver.ErrBadID)
	}
	if err := b.insertApart(ctx, s, l, absent); err != nil {
		return nil, err
	}
	return b.updateApart(ctx, s, l, present, standing)
}

func (b *DatabaseBackend) insertApart(ctx context.Context, s session, l *layout, absent []*driver.Write) error {
	if len(absent) == 0 {
		return nil
	}
	rows := make([]string, len(absent))
	args := make([]any, 0, len(absent)*len(l.columns))
	for i, w := range absent {
		rows[i] = "(" + sqldialect.Parameters(len(args)+1, len(l.columns)) + ")"
		args = append(args, b.values(l, entryOf(w))...)
	}
	q := b.dialect.Rebind(`INSERT INTO ` + taskTable + ` (` + l.names("") + `) VALUES ` + strings.Join(rows, ", "))
	if _, err := s.Affect(ctx, q, args...); err != nil {
		return err
	}
	for _, w := range absent {
		w.Answer.Outcome = driver.Stored
	}
	return nil
}

// updateApart updates rows by their primary keys, which no assignment changes:
// MySQL's assignments see the ones before them. It returns the writes when not all rows
// were updated; some sessions don't count those that have the values already.
func (b *DatabaseBackend) updateApart(ctx context.Context, s session, l *layout, present []*driver.Write, standing map[string]standing) (perhaps []*driver.Write, err error) {
	if len(present) == 0 {
		return nil, nil
	}
	u := cases{ids: make([]int64, len(present))}
	values := make([][]any, len(present))
	fresh := make([]bool, len(present))
	for i, w := range present {
		row := standing[w.ID]
		u.ids[i], values[i] = row.id, b.values(l, entryOf(w))
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
	power := u.column(func(n int) string { return strconv.Itoa(int(present[n].Power)) })
	in := make([]string, len(u.ids))
	for i, id := range u.ids {
		in[i] = strconv.FormatInt(id, 10)
	}
	statement := `UPDATE ` + taskTable + ` SET ` + strings.Join(sets, ", ") + ` WHERE id IN (` + strings.Join(in, ", ") + `) AND ` +
		allowed("status", power, b.expiry.condition("", len(u.args)+1))
	n, err := s.Affect(ctx, b.dialect.Rebind(statement), append(u.args, b.expiry.args(b.now(), b.dialect.Time)...)...)
	switch {
	case err != nil:
		return nil, err
	case int(n) < len(present):
		return present, nil
	}
	for _, w := range present {
		w.Answer.Outcome = driver.Stored
	}
	return nil, nil
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
