package dbbackend

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/pattern"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/survey"
)

// List implements driver.Lister. A page is found by the key of the row
// before it, so that a late one costs what the first one costs. In tables that
// Migrate made, each of the conditions States, Task, Worker, PeriodicTask,
// GroupID and Labels has an index that is sorted by creation; further conditions
// are checked row by row. In tables of Django's, which have no such indexes,
// the database looks for rows in the order of their creation, until
// MigrateOptions.Alter adds them.
//
// A list by GroupID or Labels needs what Migrate adds, and is
// errors.ErrUnsupported without.
func (b *DatabaseBackend) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	l, err := b.tables(ctx)
	if err != nil {
		return nil, "", err
	}
	list, err := b.newListing(ctx, l, q)
	if err != nil {
		return nil, "", b.explain(ctx, err)
	}
	page, next, err = list.page(ctx, l)
	return page, next, b.explain(ctx, err)
}

// Walk implements driver.Lister, by pages of a list.
func (b *DatabaseBackend) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		for q := (driver.Query{Limit: driver.MaxLimit}); ; {
			var page []driver.Record
			var next string
			err := b.retry(ctx, func() (err error) {
				page, next, err = b.List(ctx, q)
				return err
			})
			if err != nil {
				yield(driver.Record{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if q.Cursor = next; next == "" {
				return
			}
		}
	}
}

// Count implements driver.Lister. Counting a group's members needs the column group_id,
// and is errors.ErrUnsupported without; see MissingColumns.
func (b *DatabaseBackend) Count(ctx context.Context, of driver.Members) (map[driver.State]int, error) {
	l, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	counts := map[driver.State]int{}
	if of.Group == "" {
		can := slices.DeleteFunc(slices.Clone(of.IDs), func(id string) bool { return l.checkID(id) != nil })
		for ids := range slices.Chunk(can, countedTogether) {
			in, args := b.inExactly("t.task_id", ids)
			if err := b.count(ctx, counts, b.from(0, ids...), in, args); err != nil {
				return nil, err
			}
		}
		return counts, nil
	}
	if err := l.checkGroup(of.Group); err != nil {
		return nil, err
	}
	if !l.has("group_id") {
		return nil, fmt.Errorf("table %s has no column group_id, which celery-results migrate --alter adds: %w", taskTable, errors.ErrUnsupported)
	}
	return counts, b.count(ctx, counts, b.from(0, of.Group), b.dialect.SameKey("t.group_id", "$1"), []any{of.Group})
}

// countedTogether is how many tasks a statement counts: as many as have parameters in
// every database.
const countedTogether = 8192

// count adds the rows of a condition, by their states.
func (b *DatabaseBackend) count(ctx context.Context, counts map[driver.State]int, db *sqldialect.DB, condition string, args []any) error {
	expired := b.expiry.condition("t.", len(args)+1)
	q := b.dialect.Rebind(`SELECT t.status, COUNT(*) FROM ` + taskTable + ` t WHERE ` + condition + ` AND t.status <> '' AND ` + expired + ` IS NOT TRUE GROUP BY t.status`)
	err := db.Rows(ctx, q, append(args, b.expiry.args(b.now(), b.dialect.Time)...), func(scan func(...any) error) error {
		var state driver.State
		var n int
		err := scan(&state, &n)
		counts[state] += n
		return err
	})
	return b.explain(ctx, err)
}

// listing is a list under way.
type listing struct {
	b     *DatabaseBackend
	query driver.Query
	limit int
	sum   uint32
	after *cursor // nil for the first page

	join  string   // of the label table, when it leads
	by    string   // the column that is sorted by
	id    string   // the column that decides between equal times
	where []string // conditions that hold for every branch
	args  []any

	// branches are alternatives, such as states: each is looked for by itself, in
	// its part of an index, and the first rows of all are merged.
	branches []string
}

func (b *DatabaseBackend) newListing(ctx context.Context, l *layout, q driver.Query) (*listing, error) {
	list := &listing{b: b, query: q, sum: checksum(q), limit: q.Limit, by: "t.date_created", id: "t.id"}
	if q.Order == driver.ByDone {
		list.by = "t.date_done"
	}
	if q.Cursor != "" {
		c, err := parseCursor(q.Cursor, list.sum)
		if err != nil {
			return nil, err
		}
		list.after = &c
	}
	if err := list.labels(l); err != nil {
		return nil, err
	}
	if err := list.texts(ctx, l); err != nil {
		return nil, err
	}
	list.times()
	list.alive()
	return list, nil
}

// bind adds an argument and returns its parameter.
func (l *listing) bind(value any) string {
	l.args = append(l.args, value)
	return fmt.Sprintf("$%d", len(l.args))
}

func (l *listing) need(condition string) { l.where = append(l.where, condition) }

// labels filters by the label table, which also sorts, unless something else is
// sorted by.
func (l *listing) labels(layout *layout) error {
	if len(l.query.Labels) == 0 {
		return nil
	}
	if !layout.labels {
		return fmt.Errorf("by label: there is no table %s; celery-results migrate makes it: %w", labelTable, errors.ErrUnsupported)
	}
	for i, name := range sortedKeys(l.query.Labels) {
		value := l.query.Labels[name]
		if !fitsLabel(name, value) {
			return fmt.Errorf("by label %.60q: names have at most %d and values %d characters", name, longestLabel, longestValue)
		}
		if i > 0 {
			l.need("EXISTS (SELECT 1 FROM " + labelTable + " x WHERE x.result_id = t.id AND x.name = " + l.bind(name) + " AND x.value = " + l.bind(value) + ")")
			continue
		}
		// The time tells a label from one of an expired result that the row once held.
		// COALESCE hides from planners that few rows of any two tables have the same.
		l.join = " JOIN " + labelTable + " l ON l.result_id = t.id AND COALESCE(l.date_created = t.date_created, 1 = 0)"
		l.need("l.name = " + l.bind(name) + " AND l.value = " + l.bind(value))
		if l.query.Order == driver.ByCreated {
			l.by, l.id = "l.date_created", "l.result_id"
		}
	}
	return nil
}

// texts filters by text columns. The first one that has several alternatives
// makes the branches.
func (l *listing) texts(ctx context.Context, layout *layout) error {
	q := l.query
	for _, c := range []struct{ column, value string }{{"periodic_task_name", q.PeriodicTask}, {"group_id", q.GroupID}, {"worker", q.Worker}} {
		if c.value == "" {
			continue
		}
		if !layout.has(c.column) {
			return fmt.Errorf("by %s: table %s has no such column; celery-results migrate --alter adds it: %w", c.column, taskTable, errors.ErrUnsupported)
		}
		l.need(l.same(c.column, c.value))
	}
	if err := l.task(ctx, layout); err != nil {
		return err
	}
	states := make([]string, 0, len(q.States))
	for _, state := range q.States {
		if !slices.Contains(states, string(state)) {
			states = append(states, string(state))
		}
	}
	l.anyOf("status", states)
	if q.Order == driver.ByDone || !q.DoneFrom.IsZero() || !q.DoneBefore.IsZero() {
		l.need("t.status IN ('SUCCESS', 'FAILURE', 'REVOKED')")
	}
	return nil
}

// same is the condition that a column has exactly this value.
func (l *listing) same(column, value string) string {
	return l.b.dialect.SameKey("t."+column, l.bind(value))
}

// anyOf filters by a column with alternatives.
func (l *listing) anyOf(column string, values []string) {
	var alternatives []string
	for _, value := range values {
		alternatives = append(alternatives, l.same(column, value))
	}
	switch {
	case len(alternatives) == 0:
	case len(alternatives) == 1:
		l.need(alternatives[0])
	case l.branches == nil && l.join == "":
		l.branches = alternatives
	default:
		l.need("(" + strings.Join(alternatives, " OR ") + ")")
	}
}

// mostNames is how many task names that meet a pattern are looked for one by
// one.
const mostNames = 200

// task filters by the task's name. A pattern becomes the names that meet it: of
// these there are few, and each has its part of the index.
func (l *listing) task(ctx context.Context, layout *layout) error {
	task := l.query.Task
	if task == "" {
		return nil
	}
	if !pattern.Is(task) {
		l.need(l.same("task_name", task))
		return nil
	}
	names, few, err := l.b.taskNames(ctx, layout, task)
	switch {
	case err != nil:
		return err
	case !few:
		l.need(l.b.like("t.task_name", task, l.bind))
	case len(names) == 0:
		l.need("1 = 0")
	default:
		l.anyOf("task_name", names)
	}
	return nil
}

// like is the condition that a column meets a pattern.
func (b *DatabaseBackend) like(column, pattern string, bind func(any) string) string {
	if b.dialect == sqldialect.SQLite {
		return column + " GLOB " + bind(strings.ReplaceAll(pattern, "[", "[[]"))
	}
	escaped := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_", "*", "%", "?", "_").Replace(pattern)
	if b.dialect == sqldialect.MySQL { // whatever collation and character set the column has
		column = "CONVERT(" + column + " USING utf8mb4) COLLATE utf8mb4_bin"
	}
	return column + " LIKE " + bind(escaped) + " ESCAPE '!'"
}

// mostDistinct is how many different task names a table may have for patterns to
// be looked up name by name.
const mostDistinct = 500

// distinct selects the different task names, hopping from one to the next in the
// index, and one more than mostDistinct at most. MySQL hops by itself.
var distinct = map[bool]string{
	true: `SELECT DISTINCT task_name FROM {table} WHERE task_name > '' LIMIT {most}`,
	false: `WITH RECURSIVE n (name, count) AS (
			SELECT MIN(task_name), 1 FROM {table}
			UNION ALL
			SELECT (SELECT MIN(t.task_name) FROM {table} t WHERE t.task_name > n.name), n.count + 1 FROM n
			WHERE n.name IS NOT NULL AND n.count < {most}
		)
		SELECT name FROM n WHERE name IS NOT NULL`,
}

// taskNames returns the names of tasks with results that meet a pattern, and
// false if there are too many, or names too many to look through.
func (b *DatabaseBackend) taskNames(ctx context.Context, l *layout, wanted string) (names []string, few bool, err error) {
	if !l.exact { // of names that the collation takes for the same, only one would be found
		return nil, false, nil
	}
	replacer := strings.NewReplacer("{table}", taskTable, "{most}", strconv.Itoa(mostDistinct+1))
	q := b.dialect.Rebind(replacer.Replace(distinct[b.dialect == sqldialect.MySQL]))
	seen := 0
	err = b.reads.Rows(ctx, q, nil, func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		if seen++; pattern.Matches(wanted, name) {
			names = append(names, name)
		}
		return err
	})
	return names, seen <= mostDistinct && len(names) <= mostNames, err
}

// times filters by times. What the cursor implies is left out: planners take two
// bounds from above for a small range, and sort it.
func (l *listing) times() {
	q := l.query
	if l.after != nil && q.Order == driver.ByCreated {
		q.CreatedBefore = time.Time{}
	} else if l.after != nil {
		q.DoneBefore = time.Time{}
	}
	for _, c := range []struct {
		at        time.Time
		condition string
	}{
		{q.CreatedFrom, "t.date_created >= "}, {q.CreatedBefore, "t.date_created < "},
		{q.DoneFrom, "t.date_done >= "}, {q.DoneBefore, "t.date_done < "},
	} {
		if !c.at.IsZero() {
			l.need(c.condition + l.bind(l.b.dialect.Time(c.at)))
		}
	}
}

// alive leaves out what has expired. MySQL would look for NOT in indexes, which
// are not sorted as the list.
func (l *listing) alive() {
	if _, some := l.b.expiry.shortest(); some {
		l.need(l.b.expiry.condition("t.", len(l.args)+1) + " IS NOT TRUE")
		l.args = append(l.args, l.b.expiry.args(l.b.now(), l.b.dialect.Time)...)
	}
}

// keyset is the condition that a row comes after the cursor. MySQL takes no
// range of an index from a comparison of tuples.
func (l *listing) keyset() string {
	at, id := l.bind(l.b.dialect.Time(l.after.time())), bigint(l.b.dialect, l.bind(l.after.id))
	if l.b.dialect == sqldialect.MySQL {
		return fmt.Sprintf("%[1]s <= %[3]s AND (%[1]s < %[3]s OR %[2]s < %[4]s)", l.by, l.id, at, id)
	}
	return fmt.Sprintf("(%s, %s) < (%s, %s)", l.by, l.id, at, id)
}

// bigint makes a parameter 64 bits wide: the ids of Django's tables in PostgreSQL
// are narrower, and the driver would refuse what does not fit.
func bigint(d *sqldialect.Dialect, parameter string) string {
	if d == sqldialect.PostgreSQL {
		return parameter + "::bigint"
	}
	return parameter
}

// page reads one row more than the page has, to know whether another follows.
func (l *listing) page(ctx context.Context, tables *layout) (page []driver.Record, next string, err error) {
	if l.after != nil {
		l.need(l.keyset())
	}
	page = make([]driver.Record, 0, l.limit)
	last, seen := cursor{query: l.sum}, 0
	err = l.b.rows(ctx, l.b.reads, tables, l.rest(), l.args, func(row *row) {
		if seen++; seen > l.limit {
			return
		}
		last.id, last.at = row.id, row.created.UnixMicro()
		if l.query.Order == driver.ByDone {
			last.at = row.done.UnixMicro()
		}
		r := driver.Record{ID: row.taskID}
		l.b.read(&r, row)
		if meta, ok := r.Row.(*celeryresults.TaskMeta); r.Err != nil || ok && survey.HasLabels(meta, l.query.Labels) {
			page = append(page, r)
		}
	})
	if seen > l.limit {
		next = last.String()
	}
	return page, next, err
}

// rest returns the statement behind SELECT … FROM the table: the keys of the page
// are found first, in an index, and then their rows.
func (l *listing) rest() string {
	branches := l.branches
	if branches == nil {
		branches = []string{""}
	}
	selects := make([]string, len(branches))
	for i, branch := range branches {
		where := l.where
		if branch != "" {
			where = append([]string{branch}, where...)
		}
		condition := ""
		if len(where) > 0 {
			condition = " WHERE " + strings.Join(where, " AND ")
		}
		selects[i] = fmt.Sprintf("SELECT %s AS id, %s AS sorted FROM %s t%s%s ORDER BY %s DESC, %s DESC LIMIT %d",
			l.id, l.by, taskTable, l.join, condition, l.by, l.id, l.limit+1)
	}
	keys := selects[0]
	if len(selects) > 1 {
		for i := range selects {
			selects[i] = fmt.Sprintf("SELECT id, sorted FROM (%s) b%d", selects[i], i)
		}
		keys = strings.Join(selects, " UNION ALL ") + fmt.Sprintf(" ORDER BY sorted DESC, id DESC LIMIT %d", l.limit+1)
	}
	return " JOIN (" + keys + ") k ON k.id = t.id ORDER BY k.sorted DESC, k.id DESC"
}
