package dbbackend

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// GetTaskMeta implements celeryresults.Backend. The reads of concurrent callers
// are sent together. A result that has expired is unknown, also while its row is
// still there.
func (b *DatabaseBackend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if err := b.check(ctx, taskID); err != nil {
		return nil, err
	}
	meta, err := b.gets.Do(ctx, taskID)
	switch {
	case err != nil:
		return nil, err
	case meta == nil:
		return celeryresults.NewUnknownMeta(taskID), nil
	}
	return meta, nil
}

// check returns why tasks can't be read.
func (b *DatabaseBackend) check(ctx context.Context, taskIDs ...string) error {
	if slices.Contains(taskIDs, "") {
		return celeryresults.ErrNoTaskID
	}
	if err := b.ready(ctx); err != nil {
		return err
	}
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	return l.checkIDs(taskIDs)
}

// from returns where tasks are to be read.
func (b *DatabaseBackend) from(taskIDs ...string) *sqldialect.DB {
	if b.recent.has(taskIDs...) {
		return b.db
	}
	return b.reads
}

// readOne reads a task, nil if it is unknown.
func (b *DatabaseBackend) readOne(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	l := b.layout.Load()
	var r row
	err := b.retry(ctx, func() error { return b.from(taskID).Row(ctx, l.one, []any{taskID}, b.destinations(&r)...) })
	if errors.Is(err, sql.ErrNoRows) || err == nil && r.taskID != taskID { // equal by the collation only
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dbbackend: get: %w", err)
	}
	return b.meta(&r)
}

// readMany reads tasks, nil for those that are unknown. A row without a state
// fails it: whoever asked reads it alone then.
func (b *DatabaseBackend) readMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	found, err := b.find(ctx, b.from(taskIDs...), taskIDs)
	if err != nil {
		return nil, err
	}
	metas := make([]*celeryresults.TaskMeta, len(taskIDs))
	for i, id := range taskIDs {
		metas[i] = found[id]
	}
	return metas, nil
}

// GetMany implements celeryresults.Backend, with one statement for every 2000
// tasks.
func (b *DatabaseBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	if len(taskIDs) == 0 {
		return nil, b.ready(ctx)
	}
	if err := b.check(ctx, taskIDs...); err != nil {
		return nil, err
	}
	found, err := b.find(ctx, b.from(taskIDs...), taskIDs)
	if found == nil {
		return nil, fmt.Errorf("dbbackend: get many: %w", err)
	}
	unreadable := map[string]bool{}
	for _, e := range unreadables(err) {
		unreadable[e.ID] = true
	}
	metas := make([]*celeryresults.TaskMeta, len(taskIDs))
	for i, id := range taskIDs {
		if metas[i] = found[id]; metas[i] == nil && !unreadable[id] {
			metas[i] = celeryresults.NewUnknownMeta(id)
		}
	}
	return metas, err
}

// idsPerStatement is how many tasks a statement reads.
const idsPerStatement = 2000

// find returns the tasks that are known in a database. Rows without a state are errors beside
// them; after any other error there is no map.
func (b *DatabaseBackend) find(ctx context.Context, db *sqldialect.DB, taskIDs []string) (map[string]*celeryresults.TaskMeta, error) {
	found := make(map[string]*celeryresults.TaskMeta, len(taskIDs))
	wanted := make(map[string]bool, len(taskIDs))
	for _, id := range taskIDs {
		wanted[id] = true
	}
	var unreadable []error
	for chunk := range slices.Chunk(taskIDs, idsPerStatement) {
		in, args := b.in("t.task_id", 1, chunk)
		err := b.rows(ctx, db, ` WHERE `+in, args, func(r *row) {
			if !wanted[r.taskID] {
				return // equal to a wanted id by the collation only
			}
			meta, err := b.meta(r)
			if err != nil {
				unreadable = append(unreadable, err)
			} else {
				found[r.taskID] = meta
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return found, errors.Join(unreadable...)
}

func unreadables(err error) []*celeryresults.UnreadableError {
	var list []*celeryresults.UnreadableError
	if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // find joined them
		for _, err := range joined.Unwrap() {
			list = append(list, unreadables(err)...)
		}
	} else if e, ok := errors.AsType[*celeryresults.UnreadableError](err); ok {
		list = append(list, e)
	}
	return list
}

// rows reads the rows that the rest of a statement selects. A statement that
// fails is repeated, and then calls each only for the rows of the one that did
// not.
func (b *DatabaseBackend) rows(ctx context.Context, db *sqldialect.DB, rest string, args []any, each func(*row)) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	q := b.dialect.Rebind(`SELECT ` + l.fields + ` FROM ` + taskTable + ` t` + rest)
	var rows []row
	err = b.retry(ctx, func() error {
		rows = rows[:0]
		return db.Rows(ctx, q, args, func(scan func(...any) error) error {
			var r row
			err := scan(b.destinations(&r)...)
			rows = append(rows, r)
			return err
		})
	})
	if err != nil {
		return err
	}
	for i := range rows {
		each(&rows[i])
	}
	return nil
}

// row is a row of the task table.
type row struct {
	id                           int64
	taskID, status               string
	contentType, contentEncoding string
	result, meta                 []byte
	args, kwargs                 []byte
	traceback, name, worker      sql.NullString
	periodic, group              sql.NullString
	done, created, started       time.Time
}

// readFields lists what rows are read as, in the order of destinations.
func (l *layout) readFields() string {
	fields := []string{"t.id"}
	for _, c := range taskColumns {
		if _, there := l.width[c.name]; there {
			fields = append(fields, "t."+c.name)
		} else {
			fields = append(fields, "NULL")
		}
	}
	return strings.Join(fields, ", ")
}

func (b *DatabaseBackend) destinations(r *row) []any {
	return []any{
		&r.id, &r.taskID, &r.status, &r.contentType, &r.contentEncoding, &r.result, b.scanTime(&r.done), &r.traceback,
		&r.meta, &r.args, &r.kwargs, &r.name, &r.worker, b.scanTime(&r.created), &r.periodic, b.scanTime(&r.started), &r.group,
	}
}

// scanTime returns a destination for a time. What is none, which only SQLite
// lets stand there, is the zero time: it must not hide the rest of the row, nor
// other rows.
func (b *DatabaseBackend) scanTime(dst *time.Time) sql.Scanner {
	return looseTime{b.dialect.ScanTime(dst), dst}
}

type looseTime struct {
	sql.Scanner
	dst *time.Time
}

// Scan implements sql.Scanner.
func (l looseTime) Scan(value any) error {
	if err := l.Scanner.Scan(value); err != nil {
		*l.dst = time.Time{}
	}
	return nil
}

// meta returns what a row says: of one that has expired no more than that.
func (b *DatabaseBackend) meta(r *row) (*celeryresults.TaskMeta, error) {
	state := celeryresults.State(r.status)
	if state == "" {
		return nil, &celeryresults.UnreadableError{ID: r.taskID, Err: errors.New("its status is empty")}
	}
	if b.expiry.expired(state, r.done, b.now()) {
		unknown := celeryresults.NewUnknownMeta(r.taskID)
		unknown.Expired = true
		return unknown, nil
	}
	var both struct {
		celeryresults.TaskMeta
		row celeryresults.Row
	}
	m := &both.TaskMeta
	m.Row = &both.row
	m.Row.ID, m.Row.Updated = r.id, r.done
	m.TaskID, m.State, m.GroupID = r.taskID, state, r.group.String
	m.Name, m.Worker, m.PeriodicTaskName, m.Traceback = r.name.String, r.worker.String, r.periodic.String, r.traceback.String
	m.DateCreated, m.DateStarted = r.created, r.started
	if state.Ready() {
		m.DateDone = r.done
	}
	codec, err := b.codecOf(r.contentType)
	d := decoder{codec: codec, err: err, binary: r.contentEncoding == "binary"}
	m.Result = d.value(r.result)
	m.Row.Args, m.Args = d.shown(r.args)
	m.Row.Kwargs, m.Kwargs = d.shown(r.kwargs)
	m.Extended = r.name.Valid || r.worker.Valid || r.args != nil || r.kwargs != nil
	d.meta(m, r.meta)
	return m, nil
}

// decoder decodes the columns of a row that are serialized.
type decoder struct {
	codec  serialization.Codec
	err    error // why nothing can be decoded
	binary bool  // columns are base64
}

// bytes returns what a column holds.
func (d *decoder) bytes(column []byte) ([]byte, error) {
	if d.err != nil || !d.binary {
		return column, d.err
	}
	return base64.StdEncoding.AppendDecode(nil, column)
}

// value returns a column's value; None for NULL.
func (d *decoder) value(column []byte) celeryresults.Value {
	if column == nil {
		return celeryresults.Value{}
	}
	data, err := d.bytes(column)
	if err != nil {
		return celeryresults.StoredValue(keyvalue.Unread(d.codec, err))
	}
	return celeryresults.StoredValue(keyvalue.Whole(d.codec, data))
}

// shown returns the text in task_args or task_kwargs, and the value of the
// column. Writers before django-celery-results 2 left the arguments themselves
// there: their text is what the column holds.
func (d *decoder) shown(column []byte) (string, celeryresults.Value) {
	if column == nil {
		return "", celeryresults.Value{}
	}
	value := d.value(column)
	tree, err := value.Any()
	if text, ok := tree.(string); ok {
		return text, value
	}
	if err != nil { // a text that is not encoded
		value = celeryresults.NewValue(string(column))
	}
	return string(column), value
}

// meta reads the column meta. What can't be read there hides nothing else.
func (d *decoder) meta(m *celeryresults.TaskMeta, column []byte) {
	data, err := d.bytes(column)
	if column == nil || err != nil {
		return
	}
	fields, _ := d.codec.Fields(make([]serialization.Field, 0, 8), data)
	var rest []serialization.Field
	for i := range fields {
		if !known(m, &fields[i]) {
			rest = append(rest, fields[i])
		}
	}
	if rest != nil {
		others(m, rest)
	}
}

// known takes over an entry of meta whose name has a meaning.
func known(m *celeryresults.TaskMeta, f *serialization.Field) bool {
	switch f.Name {
	case "children":
		m.Children = keyvalue.Tuples(f.Value)
	case "retries":
		m.Extended, m.Retries = true, keyvalue.Number(f.Value)
	case "queue":
		m.Extended, m.Queue = true, keyvalue.Text(f.Value)
	case "group_id":
		m.GroupID = keyvalue.Text(f.Value)
	case "parent_id":
		m.ParentID = keyvalue.Text(f.Value)
	case "root_id":
		m.RootID = keyvalue.Text(f.Value)
	case "stamped_headers":
		m.StampedHeaders = keyvalue.Texts(f.Value)
	default:
		return knownText(m, f) || ours(m, f)
	}
	return true
}

// knownText takes over the whole of a text that its column could not hold.
func knownText(m *celeryresults.TaskMeta, f *serialization.Field) bool {
	switch f.Name {
	case "traceback":
		m.Traceback = keyvalue.Text(f.Value)
	case "task_name":
		m.Name = keyvalue.Text(f.Value)
	case "worker":
		m.Worker = keyvalue.Text(f.Value)
	case "periodic_task_name":
		m.PeriodicTaskName = keyvalue.Text(f.Value)
	default:
		return false
	}
	return true
}

func ours(m *celeryresults.TaskMeta, f *serialization.Field) bool {
	switch f.Name {
	case ownArgs:
		m.Args = celeryresults.StoredValue(f.Value)
	case ownKwargs:
		m.Kwargs = celeryresults.StoredValue(f.Value)
	case ownCutArgs:
		m.Row.ArgsCut = cutOf(f.Value)
	case ownCutKw:
		m.Row.KwargsCut = cutOf(f.Value)
	case ownExtra:
		tree, _ := f.Value.Decode()
		pairs, _ := pairsOf(tree)
		for _, pair := range pairs {
			if name, ok := pair.Key.(string); ok {
				m.Extra = append(m.Extra, celeryresults.Extra{Name: name, Value: celeryresults.NewValue(pair.Value)})
			}
		}
	default:
		return false
	}
	return true
}

func cutOf(v serialization.Value) *celeryresults.Cut {
	tree, _ := v.Decode()
	doc, _ := tree.(map[string]any)
	size, _ := doc["size"].(int64)
	sum, _ := doc["sha256"].(string)
	return &celeryresults.Cut{Size: int(size), SHA256: sum}
}

// others takes over stamps, and what is left as the caller's metadata.
func others(m *celeryresults.TaskMeta, fields []serialization.Field) {
	var own python.Dict
	for _, f := range fields {
		if slices.Contains(m.StampedHeaders, f.Name) {
			m.Extra = append(m.Extra, celeryresults.Extra{Name: f.Name, Value: celeryresults.StoredValue(f.Value)})
			continue
		}
		tree, err := f.Value.Decode()
		switch {
		case err != nil:
			m.Meta = celeryresults.StoredValue(keyvalue.Unread(f.Value.Codec, err))
			return
		case f.Name == ownReserved:
			pairs, _ := pairsOf(tree)
			own = append(own, pairs...)
		default:
			own = append(own, python.Pair{Key: f.Name, Value: tree})
		}
	}
	if own != nil {
		m.Meta = celeryresults.NewValue(own)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// WaitFor implements celeryresults.Waiter: one poller asks for all waiters of the
// backend together. On PostgreSQL a connection of its own listens to what stores
// tell, and the poller asks only for these, and once a second for safety.
func (b *DatabaseBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if err := b.check(ctx, taskID); err != nil {
		return nil, err // it would fail the reads of all who wait
	}
	return b.poller.WaitFor(ctx, taskID)
}

// Await implements celeryresults.Awaiter, in the same way.
func (b *DatabaseBackend) Await(ctx context.Context, taskID string, until func(*celeryresults.TaskMeta) bool) (*celeryresults.TaskMeta, error) {
	if err := b.check(ctx, taskID); err != nil {
		return nil, err
	}
	return b.poller.Await(ctx, taskID, until)
}

// AwaitMany implements celeryresults.ManyAwaiter, in the same way.
func (b *DatabaseBackend) AwaitMany(ctx context.Context, taskIDs []string, until func(*celeryresults.TaskMeta) bool) error {
	if len(taskIDs) == 0 {
		return b.ready(ctx)
	}
	if err := b.check(ctx, taskIDs...); err != nil {
		return err
	}
	return b.poller.AwaitMany(ctx, taskIDs, until)
}

// Forget implements celeryresults.Backend.
func (b *DatabaseBackend) Forget(ctx context.Context, taskIDs ...string) error {
	if err := b.check(ctx, taskIDs...); err != nil {
		return err
	}
	defer b.recent.add(taskIDs...)
	for chunk := range slices.Chunk(taskIDs, idsPerStatement) {
		if err := b.forget(ctx, chunk); err != nil {
			return fmt.Errorf("dbbackend: forget: %w", err)
		}
	}
	return nil
}

func (b *DatabaseBackend) forget(ctx context.Context, taskIDs []string) error {
	in, args := b.in("task_id", 1, taskIDs)
	if b.dialect == sqldialect.MySQL { // spare what is equal by the collation only
		exact, more := b.in("CAST(task_id AS BINARY)", len(args)+1, taskIDs)
		in, args = in+" AND "+exact, append(args, more...)
	}
	rows := b.dialect.Rebind(`DELETE FROM ` + taskTable + ` WHERE ` + in)
	if !b.layout.Load().labels {
		return b.change(ctx, rows, args...)
	}
	labels := b.dialect.Rebind(`DELETE FROM ` + labelTable + ` WHERE result_id IN (SELECT id FROM ` + taskTable + ` WHERE ` + in + `)`)
	return b.retry(ctx, func() error {
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			if _, err := tx.Affect(ctx, labels, args...); err != nil {
				return err
			}
			_, err := tx.Affect(ctx, rows, args...)
			return err
		})
	})
}
