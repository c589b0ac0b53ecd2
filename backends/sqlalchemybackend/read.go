package sqlalchemybackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/ahead"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// idsPerStatement is how many tasks are asked for together.
const idsPerStatement = 1000

// row is a row of the task table.
type row struct {
	taskID               string
	status, traceback    sql.NullString
	name, worker, queue  sql.NullString
	result, children     []byte
	args, kwargs, stamps []byte
	retries              sql.NullInt64
	done                 time.Time
}

func (b *DatabaseBackend) check(ctx context.Context, taskIDs ...string) (*layout, error) {
	if slices.Contains(taskIDs, "") {
		return nil, celeryresults.ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return nil, err
	}
	l, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range taskIDs {
		if err := checkText(id, l.width["task_id"], limit); err != nil {
			return nil, fmt.Errorf("sqlalchemybackend: task id %.60q %w: %w", id, err, celeryresults.ErrBadID)
		}
	}
	return l, nil
}

// GetTaskMeta implements celeryresults.Backend (DatabaseBackend._get_task_meta_for).
// The reads of concurrent callers are sent together.
func (b *DatabaseBackend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if _, err := b.check(ctx, taskID); err != nil {
		return nil, err
	}
	return b.gets.Do(ctx, taskID)
}

func (b *DatabaseBackend) readOne(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	metas, err := b.readMany(ctx, []string{taskID})
	if err != nil {
		return nil, err
	}
	return metas[0], nil
}

// readMany fails where one can't be read.
func (b *DatabaseBackend) readMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	metas, bad, err := b.read(ctx, taskIDs)
	return metas, errors.Join(err, bad)
}

// GetMany implements celeryresults.Backend, in parts of 1000 tasks, each asked for
// while the one before is decoded.
func (b *DatabaseBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	if _, err := b.check(ctx, taskIDs...); err != nil {
		return nil, err
	}
	metas, bad, err := b.read(ctx, taskIDs)
	if err != nil {
		return nil, err
	}
	return metas, bad
}

func (b *DatabaseBackend) read(ctx context.Context, taskIDs []string) (metas []*celeryresults.TaskMeta, bad, err error) {
	metas = make([]*celeryresults.TaskMeta, 0, len(taskIDs))
	var unreadable []error
	for rows, err := range ahead.Chunks(ctx, taskIDs, idsPerStatement, b.rows(false)) {
		if err != nil {
			return nil, nil, err
		}
		for _, r := range rows {
			meta, err := b.meta(taskIDs[len(metas)], r)
			if err != nil {
				unreadable = append(unreadable, err)
			}
			metas = append(metas, meta)
		}
	}
	return metas, errors.Join(unreadable...), nil
}

// GetStatuses implements celeryresults.StatusGetter, in the same way.
func (b *DatabaseBackend) GetStatuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	if _, err := b.check(ctx, taskIDs...); err != nil {
		return nil, err
	}
	statuses := make([]celeryresults.Status, 0, len(taskIDs))
	var unreadable []error
	for rows, err := range ahead.Chunks(ctx, taskIDs, idsPerStatement, b.rows(true)) {
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			status, err := b.status(taskIDs[len(statuses)], r)
			if err != nil {
				unreadable = append(unreadable, err)
			}
			statuses = append(statuses, status)
		}
	}
	return statuses, errors.Join(unreadable...)
}

// rows returns what reads rows, nil for those that are not there, or only what counts
// for their states.
func (b *DatabaseBackend) rows(states bool) func(ctx context.Context, taskIDs []string) ([]*row, error) {
	return func(ctx context.Context, taskIDs []string) ([]*row, error) {
		l, err := b.tables(ctx)
		if err != nil || len(taskIDs) == 0 {
			return nil, err
		}
		selected := l.selected
		if states {
			selected = l.status
		}
		in, args := b.dialect.In("task_id", 1, taskIDs)
		q := b.dialect.Rebind(`SELECT ` + selected + ` FROM ` + b.names.task + ` WHERE ` + in)
		var found map[string]*row
		err = b.do(ctx, "get", func() error {
			found = make(map[string]*row, len(taskIDs))
			return b.db.Rows(ctx, q, args, func(scan func(...any) error) error {
				r := new(row)
				dst := []any{&r.taskID, &r.status, b.dialect.ScanTime(&r.done)}
				if !states {
					dst = []any{
						&r.taskID, &r.status, &r.result, b.dialect.ScanTime(&r.done), &r.traceback,
						&r.children, &r.name, &r.args, &r.kwargs, &r.worker, &r.retries, &r.queue, &r.stamps,
					}
				}
				if err := scan(dst...); err != nil {
					return err
				}
				found[r.taskID] = r
				return nil
			})
		})
		rows := make([]*row, len(taskIDs))
		for i, id := range taskIDs {
			rows[i] = found[id]
		}
		return rows, err
	}
}

// expired reports whether a row has expired, after it was last written.
func (b *DatabaseBackend) expired(done time.Time) bool {
	return b.expires != celeryresults.Never && !done.IsZero() && done.Before(b.now().Add(-b.expires))
}

func (b *DatabaseBackend) status(taskID string, r *row) (celeryresults.Status, error) {
	switch {
	case r == nil:
		return celeryresults.Status{State: celeryresults.Pending, Unknown: true}, nil
	case r.status.String == "":
		return celeryresults.Status{}, &celeryresults.UnreadableError{ID: taskID, Err: errors.New("its status is empty")}
	case b.expired(r.done):
		return celeryresults.Status{State: celeryresults.Pending, Unknown: true, Expired: true}, nil
	}
	return celeryresults.Status{State: celeryresults.State(r.status.String)}, nil
}

// meta returns what a row says: of one that has expired no more than that.
func (b *DatabaseBackend) meta(taskID string, r *row) (*celeryresults.TaskMeta, error) {
	status, err := b.status(taskID, r)
	if err != nil {
		return nil, err
	}
	if status.Unknown {
		unknown := celeryresults.NewUnknownMeta(taskID)
		unknown.Expired = status.Expired
		return unknown, nil
	}
	m := &celeryresults.TaskMeta{TaskID: taskID, State: status.State, Traceback: r.traceback.String, Row: &celeryresults.Row{Updated: r.done}}
	if status.State.Ready() {
		m.DateDone = r.done
	}
	m.Result = b.value(r.result)
	if r.children != nil {
		m.Children = keyvalue.Tuples(b.value(r.children).Stored())
	}
	m.Name, m.Worker, m.Queue, m.Retries = r.name.String, r.worker.String, r.queue.String, int(r.retries.Int64)
	m.Args, m.Kwargs = b.value(r.args), b.value(r.kwargs)
	m.Extended = r.name.Valid || r.worker.Valid || r.retries.Valid || r.args != nil || r.kwargs != nil
	b.readStamps(m, r.stamps)
	return m, nil
}

// value returns a column's value; None for NULL.
func (b *DatabaseBackend) value(data []byte) celeryresults.Value {
	if data == nil {
		return celeryresults.Value{}
	}
	return celeryresults.StoredValue(keyvalue.Whole(b.codecOf(data), data))
}

// readStamps reads the column stamps. What can't be read there hides nothing else.
func (b *DatabaseBackend) readStamps(m *celeryresults.TaskMeta, data []byte) {
	if data == nil {
		return
	}
	tree, err := b.codecOf(data).Decode(data)
	if err != nil {
		return
	}
	doc := entriesOf(tree)
	for _, header := range listOf(doc.get("stamped_headers")) {
		if name, ok := header.(string); ok {
			m.StampedHeaders = append(m.StampedHeaders, name)
		}
	}
	texts := map[string]*string{
		"group_id": &m.GroupID, "parent_id": &m.ParentID, "root_id": &m.RootID, "periodic_task_name": &m.PeriodicTaskName,
		"traceback": &m.Traceback, "name": &m.Name, "worker": &m.Worker, "queue": &m.Queue,
	}
	for _, e := range entriesOf(doc.get("stamps")) {
		if e.name == children {
			m.Children = tuplesOf(e.value)
			continue
		}
		if dst, text := texts[e.name], ""; dst != nil {
			if text, _ = e.value.(string); text != "" {
				*dst = text
			}
			continue
		}
		m.Extra = append(m.Extra, celeryresults.Extra{Name: e.name, Value: celeryresults.NewValue(e.value)})
	}
	own := entriesOf(doc.get(ours))
	for _, e := range entriesOf(own.get("extra")) {
		m.Extra = append(m.Extra, celeryresults.Extra{Name: e.name, Value: celeryresults.NewValue(e.value)})
	}
	if meta := own.get("meta"); meta != nil {
		m.Meta = celeryresults.NewValue(meta)
	}
	m.DateCreated, m.DateStarted = instant(own.get("date_created")), instant(own.get("date_started"))
}

// tuples reads children that were decoded with what is around them.
func tuplesOf(tree any) []celeryresults.ResultTuple {
	data, err := json.Codec.Append(nil, tree)
	if err != nil {
		return nil
	}
	return keyvalue.TuplesOf(data)
}

func instant(v any) time.Time {
	text, _ := v.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at.UTC()
}

type named struct {
	name  string
	value any
}

type entries []named

func (list entries) get(name string) any {
	for _, e := range list {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// entriesOf returns the entries of a mapping whose keys are texts, sorted where the
// mapping is not.
func entriesOf(tree any) entries {
	var list entries
	pairs, _ := python.Pairs(tree)
	for _, pair := range pairs {
		if name, ok := pair.Key.(string); ok {
			list = append(list, named{name, pair.Value})
		}
	}
	return list
}

func listOf(tree any) []any {
	switch t := tree.(type) {
	case []any:
		return t
	case python.Tuple:
		return t
	}
	return nil
}

// WaitFor implements celeryresults.Waiter: one poller asks for all waiters of the
// backend together.
func (b *DatabaseBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if _, err := b.check(ctx, taskID); err != nil {
		return nil, err // it would fail the reads of all who wait
	}
	return b.poller.WaitFor(ctx, taskID)
}

// Await implements celeryresults.Awaiter, in the same way.
func (b *DatabaseBackend) Await(ctx context.Context, taskID string, until func(*celeryresults.TaskMeta) bool) (*celeryresults.TaskMeta, error) {
	if _, err := b.check(ctx, taskID); err != nil {
		return nil, err
	}
	return b.poller.Await(ctx, taskID, until)
}

// AwaitMany implements celeryresults.ManyAwaiter, in the same way.
func (b *DatabaseBackend) AwaitMany(ctx context.Context, taskIDs []string, until func(*celeryresults.TaskMeta) bool) error {
	if len(taskIDs) == 0 {
		return b.ready(ctx)
	}
	if _, err := b.check(ctx, taskIDs...); err != nil {
		return err
	}
	return b.poller.AwaitMany(ctx, taskIDs, until)
}

// Forget implements celeryresults.Backend. With Settings.ResultTombstones rows stay
// without what was in them, as rows of PENDING that have expired; where results never
// expire, they are deleted.
func (b *DatabaseBackend) Forget(ctx context.Context, taskIDs ...string) error {
	l, err := b.check(ctx, taskIDs...)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(taskIDs, idsPerStatement) {
		in, args := b.dialect.In("task_id", 1, chunk)
		if b.dialect == sqldialect.MySQL { // spare what is equal by the collation only
			exact, more := b.dialect.In("CAST(task_id AS BINARY)", len(args)+1, chunk)
			in, args = in+" AND "+exact, append(args, more...)
		}
		text := `DELETE FROM ` + b.names.task
		if b.settings.ResultTombstones > 0 && b.expires != celeryresults.Never {
			args = append(args, b.time(b.now().Add(-b.expires-time.Millisecond)))
			text = `UPDATE ` + b.names.task + ` SET status = 'PENDING', date_done = $` + strconv.Itoa(len(args))
			for _, c := range columns {
				if _, there := l.width[c.name]; there && c.name != "task_id" && c.name != "status" && c.name != "date_done" {
					text += ", " + c.name + " = NULL"
				}
			}
		}
		if err := b.change(ctx, "forget", text+` WHERE `+in, args...); err != nil {
			return err
		}
	}
	return nil
}

// change runs a statement that can be applied twice.
func (b *DatabaseBackend) change(ctx context.Context, what, text string, args ...any) error {
	q := b.dialect.Rebind(text)
	return b.do(ctx, what, func() error {
		_, err := b.db.Affect(ctx, q, args...)
		return err
	})
}

// rowsPerCleanup is how many rows a statement of the clean-up removes.
const rowsPerCleanup = 5000

// Cleanup implements celeryresults.Cleaner (DatabaseBackend.cleanup), in small
// statements.
func (b *DatabaseBackend) Cleanup(ctx context.Context) (int64, error) {
	if _, err := b.check(ctx); err != nil || b.expires == celeryresults.Never {
		return 0, err
	}
	var removed int64
	for _, table := range []string{b.names.task, b.names.group} {
		text := `DELETE FROM ` + table + ` WHERE id IN (SELECT id FROM ` + table + ` WHERE date_done < $1 ORDER BY date_done LIMIT ` + strconv.Itoa(rowsPerCleanup) + `)`
		if b.dialect == sqldialect.MySQL {
			text = `DELETE FROM ` + table + ` WHERE date_done < $1 ORDER BY date_done LIMIT ` + strconv.Itoa(rowsPerCleanup)
		}
		q := b.dialect.Rebind(text)
		for {
			var n int64
			err := b.do(ctx, "clean up", func() (err error) {
				n, err = b.db.Affect(ctx, q, b.time(b.now().Add(-b.expires)))
				return err
			})
			if removed += n; err != nil {
				return removed, err
			}
			if n == 0 {
				break
			}
		}
	}
	return removed, nil
}
