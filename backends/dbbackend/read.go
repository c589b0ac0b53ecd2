package dbbackend

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	return found, nil
}

// GetMany implements celeryresults.Backend, with one statement for every 1000
// tasks, of which two run at a time.
func (b *DatabaseBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	if len(taskIDs) == 0 {
		return nil, b.ready(ctx)
	}
	if err := b.check(ctx, taskIDs...); err != nil {
		return nil, err
	}
	metas, err := b.find(ctx, b.from(taskIDs...), taskIDs)
	if metas == nil {
		return nil, fmt.Errorf("dbbackend: get many: %w", err)
	}
	fillUnknown(metas, taskIDs, err)
	return metas, err
}

// fillUnknown puts metas for those that were not found, but not for those that
// err says can't be read.
func fillUnknown(metas []*celeryresults.TaskMeta, taskIDs []string, err error) {
	unreadable := map[string]bool{}
	for _, e := range unreadables(err) {
		unreadable[e.ID] = true
	}
	for i, id := range taskIDs {
		if metas[i] == nil && !unreadable[id] {
			metas[i] = celeryresults.NewUnknownMeta(id)
		}
	}
}

// idsPerStatement is how many tasks a statement reads, and statementsAtOnce how
// many statements of one call are under way together: the server works on one
// while the rows of another are decoded.
const (
	idsPerStatement  = 1000
	statementsAtOnce = 2
)

// find returns the tasks as they are in a database, nil for those that are not.
// Rows without a state are nil, too, and errors beside the others; after any other
// error there is nothing.
func (b *DatabaseBackend) find(ctx context.Context, db *sqldialect.DB, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	metas := make([]*celeryresults.TaskMeta, len(taskIDs))
	places, ids := placesOf(taskIDs)
	bad, err := b.inChunks(ctx, ids, func(ctx context.Context, chunk []string) (unreadable, err error) {
		in, args := b.dialect.In("t.task_id", 1, chunk)
		err = b.rows(ctx, db, ` WHERE `+in, args, func() {
			unreadable = nil
			for _, id := range chunk {
				metas[places[id]] = nil
			}
		}, func(r *row) {
			if place, wanted := places[r.taskID]; wanted { // or equal to a wanted id by the collation only
				meta, err := b.meta(r)
				metas[place], unreadable = meta, errors.Join(unreadable, err)
			}
		})
		return unreadable, err
	})
	if err != nil {
		return nil, err
	}
	repeat(metas, taskIDs, places, ids)
	return metas, bad
}

// GetStatuses implements celeryresults.StatusGetter, with the statements of
// GetMany, but for columns that do not count.
func (b *DatabaseBackend) GetStatuses(ctx context.Context, taskIDs []string) ([]celeryresults.Status, error) {
	if len(taskIDs) == 0 {
		return nil, b.ready(ctx)
	}
	if err := b.check(ctx, taskIDs...); err != nil {
		return nil, err
	}
	db := b.from(taskIDs...)
	unknown := celeryresults.NewUnknownMeta("").Status()
	statuses := make([]celeryresults.Status, len(taskIDs))
	places, ids := placesOf(taskIDs)
	bad, err := b.inChunks(ctx, ids, func(ctx context.Context, chunk []string) (unreadable, err error) {
		in, args := b.dialect.In("t.task_id", 1, chunk)
		q := b.dialect.Rebind(`SELECT t.task_id, t.status, t.date_done FROM ` + taskTable + ` t WHERE ` + in)
		var r row
		destinations := []any{&r.taskID, &r.status, b.scanTime(&r.done)}
		err = b.retry(ctx, func() error {
			unreadable = nil
			for _, id := range chunk {
				statuses[places[id]] = unknown
			}
			return db.Rows(ctx, q, args, func(scan func(...any) error) error {
				if err := scan(destinations...); err != nil {
					return err
				}
				if place, wanted := places[r.taskID]; wanted {
					status, err := b.status(&r)
					statuses[place], unreadable = status, errors.Join(unreadable, err)
				}
				return nil
			})
		})
		return unreadable, err
	})
	if err != nil {
		return nil, fmt.Errorf("dbbackend: get statuses: %w", err)
	}
	repeat(statuses, taskIDs, places, ids)
	return statuses, bad
}

// repeat fills in the answers for ids that were asked for again.
func repeat[T any](answers []T, taskIDs []string, places map[string]int, once []string) {
	if len(once) == len(taskIDs) {
		return
	}
	for i, id := range taskIDs {
		answers[i] = answers[places[id]]
	}
}

// placesOf returns where each id stands, the first time, and each id once.
func placesOf(taskIDs []string) (places map[string]int, once []string) {
	places, once = make(map[string]int, len(taskIDs)), make([]string, 0, len(taskIDs))
	for i, id := range taskIDs {
		if _, there := places[id]; !there {
			places[id] = i
			once = append(once, id)
		}
	}
	return places, once
}

// inChunks calls f with as many ids as a statement has, for a few statements at a
// time, and joins what it says is unreadable. The first other error ends it.
func (b *DatabaseBackend) inChunks(ctx context.Context, ids []string, f func(ctx context.Context, chunk []string) (unreadable, err error)) (error, error) { //nolint:revive,staticcheck // unreadable rows are errors beside an answer
	if len(ids) <= idsPerStatement {
		return f(ctx, ids)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		bad     []error // guarded by mu
	)
	chunks := slices.Collect(slices.Chunk(ids, idsPerStatement))
	var next atomic.Int64
	for range min(statementsAtOnce, len(chunks)) {
		workers.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(chunks) {
					return
				}
				unreadable, err := f(ctx, chunks[n])
				if err != nil {
					cancel(err)
				}
				mu.Lock()
				bad = append(bad, unreadable)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return errors.Join(bad...), context.Cause(ctx)
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

// rows calls each for the rows that the rest of a statement selects; it must not
// keep the row. A statement that fails is repeated: begin is called before each
// attempt, and what was seen in another counts no more.
func (b *DatabaseBackend) rows(ctx context.Context, db *sqldialect.DB, rest string, args []any, begin func(), each func(*row)) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	q := b.dialect.Rebind(`SELECT ` + l.fields + ` FROM ` + taskTable + ` t` + rest)
	var r row
	destinations := b.destinations(&r)
	return b.retry(ctx, func() error {
		begin()
		return db.Rows(ctx, q, args, func(scan func(...any) error) error {
			err := scan(destinations...)
			if err == nil {
				each(&r)
			}
			return err
		})
	})
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
		&r.id, &r.taskID, &r.status, &r.contentType, &r.contentEncoding, encoded{&r.result}, b.scanTime(&r.done), &r.traceback,
		encoded{&r.meta}, encoded{&r.args}, encoded{&r.kwargs}, &r.name, &r.worker, b.scanTime(&r.created), &r.periodic, b.scanTime(&r.started), &r.group,
	}
}

// encoded is a destination for what is decoded later. A text of the driver's is
// not copied: nobody writes to it.
type encoded struct{ dst *[]byte }

// Scan implements sql.Scanner.
func (e encoded) Scan(value any) error {
	switch v := value.(type) {
	case string:
		*e.dst = serialization.BytesOf(v)
	case []byte:
		*e.dst = bytes.Clone(v)
	case nil:
		*e.dst = nil
	default:
		*e.dst = fmt.Append(nil, v)
	}
	return nil
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

// status returns what counts of a row.
func (b *DatabaseBackend) status(r *row) (celeryresults.Status, error) {
	state := celeryresults.State(r.status)
	switch {
	case state == "":
		return celeryresults.Status{}, &celeryresults.UnreadableError{ID: r.taskID, Err: errors.New("its status is empty")}
	case b.expiry.expired(state, r.done, b.now()):
		return celeryresults.Status{State: celeryresults.Pending, Unknown: true, Expired: true}, nil
	}
	return celeryresults.Status{State: state}, nil
}

// meta returns what a row says: of one that has expired no more than that.
func (b *DatabaseBackend) meta(r *row) (*celeryresults.TaskMeta, error) {
	status, err := b.status(r)
	switch {
	case err != nil:
		return nil, err
	case status.Expired:
		unknown := celeryresults.NewUnknownMeta(r.taskID)
		unknown.Expired = true
		return unknown, nil
	}
	state := status.State
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
	if text := keyvalue.Text(value.Stored()); text != "" {
		return text, value
	}
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
	var rest []serialization.Field
	_ = keyvalue.EachField(d.codec, data, func(f *serialization.Field) {
		if !known(m, f) {
			rest = append(rest, *f)
		}
	})
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
		pairs, _ := python.Pairs(tree)
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
			pairs, _ := python.Pairs(tree)
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

// Forget implements celeryresults.Backend. With Settings.ResultTombstones rows
// stay without what was in them, as rows of PENDING that have expired; where those
// never expire, they are deleted.
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
	in, args := b.dialect.In("task_id", 1, taskIDs)
	if b.dialect == sqldialect.MySQL { // spare what is equal by the collation only
		exact, more := b.dialect.In("CAST(task_id AS BINARY)", len(args)+1, taskIDs)
		in, args = in+" AND "+exact, append(args, more...)
	}
	rows, rowArgs, err := b.forgetRows(in, args)
	if err != nil {
		return err
	}
	if !b.layout.Load().labels {
		return b.change(ctx, rows, rowArgs...)
	}
	labels := b.dialect.Rebind(`DELETE FROM ` + labelTable + ` WHERE result_id IN (SELECT id FROM ` + taskTable + ` WHERE ` + in + `)`)
	return b.retry(ctx, func() error {
		return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
			if _, err := tx.Affect(ctx, labels, args...); err != nil {
				return err
			}
			_, err := tx.Affect(ctx, rows, rowArgs...)
			return err
		})
	})
}

// forgetRows returns the statement that forgets the rows of a condition.
func (b *DatabaseBackend) forgetRows(in string, args []any) (sqldialect.Query, []any, error) {
	expires := b.expiry.of(celeryresults.Pending)
	if b.settings.ResultTombstones == 0 || expires == celeryresults.Never {
		return b.dialect.Rebind(`DELETE FROM ` + taskTable + ` WHERE ` + in), args, nil
	}
	l := b.layout.Load()
	over := b.now().Add(-expires - time.Millisecond)
	empty, err := b.encode(l, &celeryresults.TaskMeta{TaskID: "forgotten", State: celeryresults.Pending, DateDone: over, DateCreated: over}, false)
	if err != nil {
		return sqldialect.Query{}, nil, err
	}
	var sets []string
	for i, value := range b.values(l, empty) {
		if l.columns[i].set != nil {
			args = append(args, value)
			sets = append(sets, l.columns[i].name+" = "+b.parameter(len(args)-1, l.columns[i]))
		}
	}
	return b.dialect.Rebind(`UPDATE ` + taskTable + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + in), args, nil
}
