// Package djcelerybackend reads the tables of django-celery (2.5 to 3.3), which Django
// projects had before django-celery-results: celery_taskmeta and celery_tasksetmeta,
// under the names of Celery's own tables, with other columns. Nothing is stored there:
// Copy moves what they hold on, and as one of FALLBACKS the backend keeps old ids
// readable.
package djcelerybackend

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/compression"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// The tables of djcelery.models.
const (
	taskTable  = "celery_taskmeta"
	groupTable = "celery_tasksetmeta"
)

// DatabaseBackend is a celeryresults.Backend that reads, and stores nothing. Make one
// with New or Open. All methods are safe for concurrent use.
//
// What django-celery's admin has hidden is not there. Results expire after
// result_expires, by date_done.
type DatabaseBackend struct {
	db      *sqldialect.DB
	dialect *sqldialect.Dialect
	expires time.Duration
	retries retry.Policy
	now     func() time.Time
	owned   *sql.DB
	poller  *celeryresults.Poller
}

var (
	_ celeryresults.Backend = (*DatabaseBackend)(nil)
	_ celeryresults.Waiter  = (*DatabaseBackend)(nil)
	_ celeryresults.Grouper = (*DatabaseBackend)(nil)
)

// New returns a backend over an open database, which stays the caller's. Of the settings
// it uses ResultExpires and the retry settings. The engine is postgresql, mysql or
// sqlite; empty, the driver tells.
func New(db *sql.DB, s celeryresults.Settings, engine string) (*DatabaseBackend, error) {
	if db == nil {
		return nil, errors.New("djcelerybackend: new: no database")
	}
	dialect, err := sqldialect.ForDriver(db)
	if engine != "" {
		dialect, err = sqldialect.ForEngine(engine)
	}
	if err != nil {
		return nil, fmt.Errorf("djcelerybackend: new: %w", err)
	}
	b := &DatabaseBackend{db: sqldialect.NewDB(db, dialect), dialect: dialect, expires: s.Expires(), retries: retry.From(s), now: time.Now}
	b.poller = celeryresults.NewPoller(b.GetMany)
	return b, nil
}

// Open opens the database of a ResultBackend of the form
// django-celery+postgresql://user:password@host/name, or for django-celery that of
// DATABASES, which RESULT_DATABASE may name. Close closes it.
func Open(s celeryresults.Settings) (*DatabaseBackend, error) {
	database := cache.Database{}
	if url, ok := strings.CutPrefix(s.ResultBackend, "django-celery+"); ok {
		database.URL = url
	} else {
		alias := cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)
		if database, ok = s.Databases[alias]; !ok {
			return nil, fmt.Errorf("djcelerybackend: open: DATABASES has no %q", alias)
		}
	}
	db, dialect, err := sqldialect.Open(database)
	if err != nil {
		return nil, fmt.Errorf("djcelerybackend: open: %w", err)
	}
	b, err := New(db, s, dialect.Name())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	b.owned = db
	return b, nil
}

// Close ends the waits, and closes the database that Open opened.
func (b *DatabaseBackend) Close() error {
	err := errors.Join(b.poller.Close(), b.db.CloseStatements())
	if b.owned != nil {
		err = errors.Join(err, sqldialect.UnlessGone(b.owned.Close()))
	}
	return err
}

var errReads = fmt.Errorf("djcelerybackend: django-celery's tables are only read: %w", errors.ErrUnsupported)

// StoreResult returns errors.ErrUnsupported.
func (b *DatabaseBackend) StoreResult(_ context.Context, meta *celeryresults.TaskMeta, _ ...celeryresults.StoreOption) error {
	if meta == nil || meta.TaskID == "" {
		return celeryresults.ErrNoTaskID
	}
	return &celeryresults.StoreError{TaskID: meta.TaskID, Outcome: celeryresults.OutcomeNotStored, Err: errReads}
}

// SaveGroup returns errors.ErrUnsupported.
func (b *DatabaseBackend) SaveGroup(context.Context, celeryresults.ResultTuple) error {
	return errReads
}

func (b *DatabaseBackend) do(ctx context.Context, what string, operation func() error) error {
	err := b.retries.Do(ctx, func(ctx context.Context) error { return ctx.Err() }, retryable, operation)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case sqldialect.Classify(err) == sqldialect.NoTable:
		return fmt.Errorf("%w of django-celery's: %w", celeryresults.ErrNoTable, err)
	}
	return fmt.Errorf("djcelerybackend: %s: %w", what, err)
}

func retryable(err error) bool {
	switch sqldialect.Classify(err) {
	case sqldialect.Transient, sqldialect.Disconnected, sqldialect.Locked:
		return true
	}
	return false
}

// row is a row of the task table.
type row struct {
	id             int64
	taskID, status string
	result, meta   []byte
	traceback      sql.NullString
	done           time.Time
}

const columns = `id, task_id, status, result, date_done, traceback, meta`

func (b *DatabaseBackend) rows(ctx context.Context, where string, args []any) ([]*row, error) {
	q := b.dialect.Rebind(`SELECT ` + columns + ` FROM ` + taskTable + ` WHERE NOT hidden AND ` + where)
	var rows []*row
	err := b.do(ctx, "get", func() error {
		rows = nil
		return b.db.Rows(ctx, q, args, func(scan func(...any) error) error {
			r := new(row)
			rows = append(rows, r)
			return scan(&r.id, &r.taskID, &r.status, &r.result, b.dialect.ScanTime(&r.done), &r.traceback, &r.meta)
		})
	})
	return rows, err
}

// GetTaskMeta implements celeryresults.Backend (djcelery's TaskManager.get_task).
func (b *DatabaseBackend) GetTaskMeta(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	metas, err := b.GetMany(ctx, []string{taskID})
	if err != nil {
		return nil, err
	}
	return metas[0], nil
}

// idsPerStatement is how many tasks are asked for together.
const idsPerStatement = 1000

// GetMany implements celeryresults.Backend.
func (b *DatabaseBackend) GetMany(ctx context.Context, taskIDs []string) ([]*celeryresults.TaskMeta, error) {
	if slices.Contains(taskIDs, "") {
		return nil, celeryresults.ErrNoTaskID
	}
	found := make(map[string]*row, len(taskIDs))
	for chunk := range slices.Chunk(taskIDs, idsPerStatement) {
		in, args := b.dialect.In("task_id", 1, chunk)
		rows, err := b.rows(ctx, in, args)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[r.taskID] = r
		}
	}
	metas := make([]*celeryresults.TaskMeta, len(taskIDs))
	var bad []error
	for i, id := range taskIDs {
		r := found[id]
		switch {
		case r == nil:
			metas[i] = celeryresults.NewUnknownMeta(id)
		case b.expired(r.done):
			metas[i] = celeryresults.NewUnknownMeta(id)
			metas[i].Expired = true
		default:
			var err error
			if metas[i], err = r.read(); err != nil {
				bad = append(bad, err)
			}
		}
	}
	return metas, errors.Join(bad...)
}

func (b *DatabaseBackend) expired(done time.Time) bool {
	return b.expires != celeryresults.Never && !done.IsZero() && done.Before(b.now().Add(-b.expires))
}

// read returns what a row says.
func (r *row) read() (*celeryresults.TaskMeta, error) {
	if r.status == "" {
		return nil, &celeryresults.UnreadableError{ID: r.taskID, Err: errors.New("its status is empty")}
	}
	m := &celeryresults.TaskMeta{
		TaskID: r.taskID, State: celeryresults.State(r.status), Traceback: r.traceback.String,
		Result: pickled(r.result), Row: &celeryresults.Row{Updated: r.done},
	}
	if m.State.Ready() {
		m.DateDone = r.done
	}
	if tree, err := pickled(r.meta).Any(); err == nil {
		doc, _ := tree.(map[string]any)
		m.Children = childrenOf(doc["children"])
	}
	return m, nil
}

// pickled returns the value of a PickledObjectField: base64 of a pickle, which may be
// compressed by zlib. NULL is None.
func pickled(column []byte) celeryresults.Value {
	if column == nil {
		return celeryresults.Value{}
	}
	data, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(column))
	if err != nil {
		return celeryresults.StoredValue(keyvalue.Unread(pickle.Codec, err))
	}
	if len(data) > 1 && data[0] == 0x78 { // no pickle begins so
		if data, err = inflate(data); err != nil {
			return celeryresults.StoredValue(keyvalue.Unread(pickle.Codec, err))
		}
	}
	return celeryresults.StoredValue(keyvalue.Whole(pickle.Codec, data))
}

func inflate(data []byte) ([]byte, error) {
	r, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(r, compression.Max+1))
	if err == nil && len(plain) > compression.Max {
		return nil, serialization.ErrLimit
	}
	return plain, err
}

// childrenOf reads children, which are result tuples, or results themselves.
func childrenOf(tree any) []celeryresults.ResultTuple {
	list, ok := tree.([]any)
	if !ok {
		return nil
	}
	if len(list) > 0 {
		if first, ok := keyvalue.TupleOfObject(list[0]); ok {
			children := []celeryresults.ResultTuple{first}
			for _, item := range list[1:] {
				if child, ok := keyvalue.TupleOfObject(item); ok {
					children = append(children, child)
				}
			}
			return children
		}
	}
	return keyvalue.Tuples(serialization.Value{Node: tree})
}

// WaitFor implements celeryresults.Waiter.
func (b *DatabaseBackend) WaitFor(ctx context.Context, taskID string) (*celeryresults.TaskMeta, error) {
	if taskID == "" {
		return nil, celeryresults.ErrNoTaskID
	}
	return b.poller.WaitFor(ctx, taskID)
}

// Forget implements celeryresults.Backend: it deletes the rows.
func (b *DatabaseBackend) Forget(ctx context.Context, taskIDs ...string) error {
	if slices.Contains(taskIDs, "") {
		return celeryresults.ErrNoTaskID
	}
	for chunk := range slices.Chunk(taskIDs, idsPerStatement) {
		in, args := b.dialect.In("task_id", 1, chunk)
		if err := b.delete(ctx, `DELETE FROM `+taskTable+` WHERE `+in, args...); err != nil {
			return err
		}
	}
	return nil
}

func (b *DatabaseBackend) delete(ctx context.Context, text string, args ...any) error {
	q := b.dialect.Rebind(text)
	return b.do(ctx, "forget", func() error {
		_, err := b.db.Affect(ctx, q, args...)
		return err
	})
}

// groupRow is a row of the group table.
type groupRow struct {
	id      int64
	groupID string
	result  []byte
	done    time.Time
}

func (b *DatabaseBackend) groupRows(ctx context.Context, where string, args []any) ([]*groupRow, error) {
	q := b.dialect.Rebind(`SELECT id, taskset_id, result, date_done FROM ` + groupTable + ` WHERE NOT hidden AND ` + where)
	var rows []*groupRow
	err := b.do(ctx, "get groups", func() error {
		rows = nil
		return b.db.Rows(ctx, q, args, func(scan func(...any) error) error {
			r := new(groupRow)
			rows = append(rows, r)
			return scan(&r.id, &r.groupID, &r.result, b.dialect.ScanTime(&r.done))
		})
	})
	return rows, err
}

// RestoreGroup implements celeryresults.Grouper (djcelery's TaskSetManager.restore_taskset).
func (b *DatabaseBackend) RestoreGroup(ctx context.Context, groupID string) (celeryresults.ResultTuple, error) {
	if groupID == "" {
		return celeryresults.ResultTuple{}, celeryresults.ErrNoTaskID
	}
	rows, err := b.groupRows(ctx, b.dialect.SameKey("taskset_id", "$1"), []any{groupID})
	if err != nil {
		return celeryresults.ResultTuple{}, err
	}
	if len(rows) == 0 || b.expired(rows[0].done) {
		return celeryresults.ResultTuple{}, fmt.Errorf("%w %q", celeryresults.ErrUnknownGroup, groupID)
	}
	return rows[0].read()
}

func (r *groupRow) read() (celeryresults.ResultTuple, error) {
	unreadable := func(err error) (celeryresults.ResultTuple, error) {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: r.groupID, Err: err}
	}
	tree, err := pickled(r.result).Any()
	if err != nil {
		return unreadable(err)
	}
	if group, ok := keyvalue.TupleOfObject(tree); ok {
		return group, nil
	}
	tuples := keyvalue.Tuples(serialization.Value{Node: []any{tree}})
	if len(tuples) != 1 {
		return unreadable(errors.New("it is no group of Celery's"))
	}
	return tuples[0], nil
}

// DeleteGroup implements celeryresults.Grouper.
func (b *DatabaseBackend) DeleteGroup(ctx context.Context, groupID string) error {
	if groupID == "" {
		return celeryresults.ErrNoTaskID
	}
	return b.delete(ctx, `DELETE FROM `+groupTable+` WHERE `+b.dialect.SameKey("taskset_id", "$1"), groupID)
}
