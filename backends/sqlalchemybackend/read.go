package sqlalchemybackend

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/sqlstore"
	"github.com/celeryresults/celeryresults/python"
)

// row is a row of the task table.
type row struct {
	id                           int64
	taskID                       string
	status, traceback            sql.NullString
	name, worker, queue, retries sql.NullString
	result, children             []byte
	args, kwargs, stamps         []byte
	done                         time.Time
}

// Get implements driver.Store (DatabaseBackend._get_task_meta_for and _restore_group).
func (b *Store) Get(ctx context.Context, kind driver.Kind, records []driver.Record, how driver.How) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	switch kind {
	case driver.Task:
		if w := sqlstore.NewWanted(records, l.checkTask); len(w.IDs) > 0 {
			found := func(r *row) { b.found(w.Record(r.taskID), r) }
			switch {
			case how&driver.States != 0:
				err = b.states(ctx, w)
			case len(w.IDs) == 1:
				err = b.rows(ctx, l.one, []any{w.IDs[0]}, false, found)
			default:
				in, args := b.base.Dialect.In("task_id", 1, w.IDs)
				err = b.rows(ctx, b.selects(l.read, in), args, false, found)
			}
		}
	case driver.Group:
		if w := sqlstore.NewWanted(records, l.checkGroup); len(w.IDs) > 0 {
			err = b.groups(ctx, w)
		}
	default:
		err = errors.ErrUnsupported
	}
	return b.explain(ctx, err)
}

// states reads only what counts of tasks.
func (b *Store) states(ctx context.Context, w sqlstore.Wanted) error {
	in, args := b.base.Dialect.In("task_id", 1, w.IDs)
	var id string
	var status sql.NullString
	var done time.Time
	dst := []any{&id, &status, b.base.ScanTime(&done)}
	return b.base.DB.Rows(ctx, b.selects("task_id, status, date_done", in), args, func(scan func(...any) error) error {
		err := scan(dst...)
		if r := w.Record(id); err == nil && r != nil {
			b.base.Stands(r, status.String, done)
		}
		return err
	})
}

// selects returns the statement that reads columns of the rows of a condition.
func (b *Store) selects(columns, where string) sqldialect.Query {
	return b.base.Dialect.Rebind(`SELECT ` + columns + ` FROM ` + b.task.Quoted + ` WHERE ` + where)
}

// rows calls each for the rows of a statement, which reads the columns of a layout, with id
// as the last one.
func (b *Store) rows(ctx context.Context, q sqldialect.Query, args []any, id bool, each func(*row)) error {
	var r row
	dst := []any{
		&r.taskID, &r.status, &r.result, b.base.ScanTime(&r.done), &r.traceback, &r.children, &r.stamps,
		&r.name, &r.args, &r.kwargs, &r.worker, &r.retries, &r.queue, &r.id,
	}
	if !id {
		dst = dst[:columnCount]
	}
	return b.base.DB.Rows(ctx, q, args, func(scan func(...any) error) error {
		if err := scan(dst...); err != nil {
			return err
		}
		one := r
		each(&one)
		return nil
	})
}

// found fills in a record that is wanted.
func (b *Store) found(r *driver.Record, row *row) {
	if r != nil && b.base.Stands(r, row.status.String, row.done) {
		r.Row = row
	}
}

func (b *Store) groups(ctx context.Context, w sqlstore.Wanted) error {
	in, args := b.base.Dialect.In("taskset_id", 1, w.IDs)
	q := b.base.Dialect.Rebind(`SELECT taskset_id, result, date_done FROM ` + b.group.Quoted + ` WHERE ` + in)
	return b.base.DB.Rows(ctx, q, args, func(scan func(...any) error) error {
		var id string
		var done time.Time
		result := []byte{}
		err := scan(&id, &result, b.base.ScanTime(&done))
		r := w.Record(id)
		switch {
		case err != nil || r == nil:
		case b.base.Expired(done):
			r.Expired = true
		default:
			r.Document = append([]byte{}, result...) // also of NULL
		}
		return err
	})
}

// State implements celeryresults.Encoding.
func (b *Store) State(r *driver.Record) (celeryresults.State, error) { return r.State, nil }

// Decode implements celeryresults.Encoding.
func (b *Store) Decode(record *driver.Record) (*celeryresults.TaskMeta, error) {
	r := record.Row.(*row)
	var both struct {
		celeryresults.TaskMeta
		row celeryresults.Row
	}
	m := &both.TaskMeta
	m.Row = &both.row
	m.Row.Updated = r.done
	m.TaskID, m.State, m.Traceback = r.taskID, record.State, r.traceback.String
	if m.State.Ready() {
		m.DateDone = r.done
	}
	m.Result = b.value(r.result)
	if r.children != nil {
		m.Children = document.Tuples(b.value(r.children).Stored())
	}
	m.Name, m.Worker, m.Queue = r.name.String, r.worker.String, r.queue.String
	m.Retries, _ = strconv.Atoi(r.retries.String)
	m.Args, m.Kwargs = b.value(r.args), b.value(r.kwargs)
	m.Extended = r.name.Valid || r.worker.Valid || r.retries.Valid || r.args != nil || r.kwargs != nil
	b.readStamps(m, r.stamps)
	return m, nil
}

// value returns a column's value; None for NULL.
func (b *Store) value(data []byte) celeryresults.Value {
	if data == nil {
		return celeryresults.Value{}
	}
	return celeryresults.StoredValue(document.Whole(b.codecOf(data), data))
}

// readStamps reads the column stamps. What can't be read there hides nothing else.
func (b *Store) readStamps(m *celeryresults.TaskMeta, data []byte) {
	if data == nil {
		return
	}
	tree, err := b.codecOf(data).Decode(data)
	if err != nil {
		return
	}
	doc := entriesOf(tree)
	m.StampedHeaders = document.Texts(serialization.Value{Node: doc.get("stamped_headers")})
	for _, p := range entriesOf(doc.get("stamps")) {
		if name := p.Key.(string); !setField(m, name, p.Value) {
			m.Extra = append(m.Extra, celeryresults.Extra{Name: name, Value: celeryresults.NewValue(p.Value)})
		}
	}
	own := entriesOf(doc.get(ours))
	for _, p := range entriesOf(own.get("extra")) {
		m.Extra = append(m.Extra, celeryresults.Extra{Name: p.Key.(string), Value: celeryresults.NewValue(p.Value)})
	}
	if meta := own.get("meta"); meta != nil {
		m.Meta = celeryresults.NewValue(meta)
	}
	for _, name := range [...]string{"date_created", "date_started"} {
		at, _ := m.Field(name)
		document.Set(at, serialization.Value{Node: own.get(name)})
	}
}

// setField takes over an entry that has no column, or not enough of one.
func setField(m *celeryresults.TaskMeta, name string, value any) bool {
	switch name {
	case "children", "group_id", "parent_id", "root_id", "periodic_task_name", "traceback", "name", "worker", "queue":
		at, _ := m.Field(name)
		return document.Set(at, serialization.Value{Node: value})
	}
	return false
}

// entries are those of a mapping, sorted where the mapping is not.
type entries []python.Pair

func entriesOf(tree any) entries {
	pairs, _ := python.Pairs(tree)
	return entries(slices.DeleteFunc(pairs, func(p python.Pair) bool {
		_, named := p.Key.(string)
		return !named
	}))
}

func (list entries) get(name string) any {
	for _, p := range list {
		if p.Key == name {
			return p.Value
		}
	}
	return nil
}

// DecodeGroup implements celeryresults.Encoding.
func (b *Store) DecodeGroup(r *driver.Record) (celeryresults.ResultTuple, error) {
	codec := b.codecOf(r.Document)
	if codec == pickle.Codec {
		tree, err := codec.Decode(r.Document)
		if err != nil {
			return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: r.ID, Err: err}
		}
		if group, ok := document.TupleOfObject(tree); ok {
			return group, nil
		}
	}
	return document.Documents{Codec: codec}.ReadTuple(r.ID, r.Document)
}

// Walk implements driver.Lister, in the order of the primary keys.
func (b *Store) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	read := func(last int64) (rows []*row, err error) {
		l, err := b.tables(ctx)
		if err == nil {
			q := b.selects(l.read+", id", `id > $1 ORDER BY id LIMIT `+strconv.Itoa(sqlstore.Most))
			err = b.rows(ctx, q, []any{last}, true, func(r *row) { rows = append(rows, r) })
		}
		return rows, b.explain(ctx, err)
	}
	return func(yield func(driver.Record, error) bool) {
		for rows, err := range sqlstore.Pages(ctx, b.base, read, func(r *row) int64 { return r.id }) {
			if err != nil {
				yield(driver.Record{}, err)
			}
			for _, row := range rows {
				r := driver.Record{ID: row.taskID}
				if b.found(&r, row); !yield(r, nil) {
					return
				}
			}
		}
	}
}

// Delete implements driver.Store. With Settings.ResultTombstones rows of tasks stay without
// what was in them, as rows of PENDING that have expired; where results never expire, they
// are deleted.
func (b *Store) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	check, key, text := l.checkTask, "task_id", `DELETE FROM `+b.task.Quoted
	switch {
	case kind == driver.Group:
		check, key, text = l.checkGroup, "taskset_id", `DELETE FROM `+b.group.Quoted
	case kind != driver.Task:
		return errors.ErrUnsupported
	}
	for _, id := range ids {
		if err := check(id); err != nil {
			return err
		}
	}
	in, args := b.base.InExactly(key, ids)
	if kind == driver.Task && b.settings.ResultTombstones > 0 && b.base.Expires != celeryresults.Never {
		args = append(args, b.time(b.base.Cutoff().Add(-time.Millisecond)))
		text = l.forgets + strconv.Itoa(len(args))
	}
	_, err = b.base.DB.Affect(ctx, b.base.Dialect.Rebind(text+` WHERE `+in), args...)
	return b.explain(ctx, err)
}

// forgetting is the statement that takes out what is in rows, up to the number of the
// parameter for date_done.
func (b *Store) forgetting(l *layout) string {
	sets := []string{"status = 'PENDING'"}
	for _, i := range l.extended.columns {
		if i != inTaskID && i != inStatus && i != inDateDone {
			sets = append(sets, taskColumns[i].name+" = NULL")
		}
	}
	return `UPDATE ` + b.task.Quoted + ` SET ` + strings.Join(sets, ", ") + `, date_done = $`
}

// rowsPerCleanup is how many rows a statement of the clean-up removes.
const rowsPerCleanup = 5000

// Cleanup implements driver.Lister (DatabaseBackend.cleanup), in small statements.
func (b *Store) Cleanup(ctx context.Context) (removed int64, err error) {
	if _, err := b.tables(ctx); err != nil || b.base.Expires == celeryresults.Never {
		return 0, err
	}
	for _, table := range []string{b.task.Quoted, b.group.Quoted} {
		text := `DELETE FROM ` + table + ` WHERE id IN (SELECT id FROM ` + table + ` WHERE date_done < $1 ORDER BY date_done LIMIT ` + strconv.Itoa(rowsPerCleanup) + `)`
		if b.base.Dialect == sqldialect.MySQL {
			text = `DELETE FROM ` + table + ` WHERE date_done < $1 ORDER BY date_done LIMIT ` + strconv.Itoa(rowsPerCleanup)
		}
		q := b.base.Dialect.Rebind(text)
		for n := int64(1); n > 0; removed += n {
			err := b.do(ctx, func() (err error) {
				n, err = b.base.DB.Affect(ctx, q, b.time(b.base.Cutoff()))
				return err
			})
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}
