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
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/compression"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/sqlstore"
)

// The tables of djcelery.models.
const (
	taskTable  = "celery_taskmeta"
	groupTable = "celery_tasksetmeta"
)

// Store is the store of a celeryresults.Backend that reads, and stores nothing.
// New and Open return such a Backend, whose Driver it is. All methods are safe for
// concurrent use.
//
// What django-celery's admin has hidden is not there. Results expire after
// result_expires, by date_done.
type Store struct {
	driver.Unlisted
	celeryresults.Encoding // of values; nothing is stored

	base *sqlstore.Store
}

var (
	_ driver.Store           = (*Store)(nil)
	_ driver.Lister          = (*Store)(nil)
	_ celeryresults.Encoding = (*Store)(nil)
)

// Options are what New takes beside the settings. The zero value is fine.
type Options struct {
	// Engine is postgresql, mysql or sqlite, for drivers whose type does not tell,
	// such as wrapped ones. Default: told by the driver.
	Engine string
}

// New returns a Backend over an open database, which stays the caller's. Of the settings
// it uses ResultExpires and the retry settings. It returns an error for an unknown driver
// when the Options name no engine.
func New(db *sql.DB, s celeryresults.Settings, o Options) (*celeryresults.Backend, error) {
	return newBackend(db, s, o, false)
}

func newBackend(db *sql.DB, s celeryresults.Settings, o Options, owned bool) (*celeryresults.Backend, error) {
	base, err := sqlstore.New(db, o.Engine, s, nil)
	if err != nil {
		return nil, fmt.Errorf("djcelerybackend: new: %w", err)
	}
	if owned {
		base.Own()
	}
	base.NoTable = " of django-celery's"
	encoding, err := document.NewEncoding(celeryresults.Settings{}, driver.Traits{})
	if err != nil {
		return nil, fmt.Errorf("djcelerybackend: new: %w", err)
	}
	b := &Store{Encoding: encoding, base: base}
	return celeryresults.NewBackend(b, b, s, nil)
}

// Open opens the database of a ResultBackend of the form
// django-celery+postgresql://user:password@host/name, or for django-celery that of
// DATABASES, which RESULT_DATABASE may name. Close closes it.
func Open(s celeryresults.Settings) (*celeryresults.Backend, error) {
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
	b, err := newBackend(db, s, Options{Engine: dialect.Name()}, true)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return b, nil
}

// Traits implements driver.Store.
func (b *Store) Traits() driver.Traits {
	return driver.Traits{Name: "django-celery", GetMost: sqlstore.Most, KeepsExpired: true, ReadOnly: true}
}

// Close implements driver.Store. It closes the database that Open opened.
func (b *Store) Close() error { return b.base.Close() }

// Put implements driver.Store. It stores nothing.
func (b *Store) Put(_ context.Context, writes []*driver.Write) {
	for _, w := range writes {
		w.Answer = driver.Answer{Outcome: driver.NotStored, Err: errors.ErrUnsupported}
	}
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

func (b *Store) rows(ctx context.Context, where string, args []any) (rows []*row, err error) {
	q := b.base.Dialect.Rebind(`SELECT ` + columns + ` FROM ` + taskTable + ` WHERE NOT hidden AND ` + where)
	err = b.base.DB.Rows(ctx, q, args, func(scan func(...any) error) error {
		r := new(row)
		rows = append(rows, r)
		return scan(&r.id, &r.taskID, &r.status, &r.result, b.base.ScanTime(&r.done), &r.traceback, &r.meta)
	})
	return rows, err
}

// pages yields the rows of a table in the order of their primary keys.
func pages[R any](ctx context.Context, b *Store, rows func(context.Context, string, []any) ([]R, error), key func(R) int64) iter.Seq2[[]R, error] {
	return sqlstore.Pages(ctx, b.base, func(last int64) ([]R, error) {
		return rows(ctx, `id > $1 ORDER BY id LIMIT `+strconv.Itoa(rowsAtATime), []any{last})
	}, key)
}

func (r *row) key() int64 { return r.id }

func (r *groupRow) key() int64 { return r.id }

// rowsAtATime is how many rows a walk or a copy reads at a time.
const rowsAtATime = 500

// Get implements driver.Store (djcelery's TaskManager.get_task and
// TaskSetManager.restore_taskset).
func (b *Store) Get(ctx context.Context, kind driver.Kind, records []driver.Record, _ driver.How) error {
	w := sqlstore.NewWanted(records, func(string) error { return nil })
	switch kind {
	case driver.Task:
		in, args := b.base.Dialect.In("task_id", 1, w.IDs)
		rows, err := b.rows(ctx, in, args)
		for _, row := range rows {
			b.found(w.Record(row.taskID), row)
		}
		return b.base.Explain(ctx, err)
	case driver.Group:
		in, args := b.base.Dialect.In("taskset_id", 1, w.IDs)
		rows, err := b.groupRows(ctx, in, args)
		for _, row := range rows {
			if r := w.Record(row.groupID); r == nil {
				continue
			} else if r.Expired = b.base.Expired(row.done); !r.Expired {
				r.Row = row
			}
		}
		return b.base.Explain(ctx, err)
	}
	return errors.ErrUnsupported
}

// found fills in a record that is wanted.
func (b *Store) found(r *driver.Record, row *row) {
	if r != nil && b.base.Stands(r, row.status, row.done) {
		r.Row = row
	}
}

// Walk implements driver.Lister, in the order of the primary keys.
func (b *Store) Walk(ctx context.Context) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		for rows, err := range pages(ctx, b, b.rows, (*row).key) {
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

// State implements celeryresults.Encoding.
func (b *Store) State(r *driver.Record) (celeryresults.State, error) { return r.State, nil }

// Decode implements celeryresults.Encoding.
func (b *Store) Decode(r *driver.Record) (*celeryresults.TaskMeta, error) {
	return r.Row.(*row).read(), nil
}

// read returns what a row says.
func (r *row) read() *celeryresults.TaskMeta {
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
	return m
}

// pickled returns the value of a PickledObjectField: base64 of a pickle, which may be
// compressed by zlib. NULL is None.
func pickled(column []byte) celeryresults.Value {
	if column == nil {
		return celeryresults.Value{}
	}
	data, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(column))
	if err != nil {
		return celeryresults.StoredValue(document.Unread(pickle.Codec, err))
	}
	if len(data) > 1 && data[0] == 0x78 { // no pickle begins so
		if data, err = inflate(data); err != nil {
			return celeryresults.StoredValue(document.Unread(pickle.Codec, err))
		}
	}
	return celeryresults.StoredValue(document.Whole(pickle.Codec, data))
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
		if first, ok := document.TupleOfObject(list[0]); ok {
			children := []celeryresults.ResultTuple{first}
			for _, item := range list[1:] {
				if child, ok := document.TupleOfObject(item); ok {
					children = append(children, child)
				}
			}
			return children
		}
	}
	return document.Tuples(serialization.Value{Node: tree})
}

// Delete implements driver.Store: it deletes the rows.
func (b *Store) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	table, key := taskTable, "task_id"
	switch kind {
	case driver.Task:
	case driver.Group:
		table, key = groupTable, "taskset_id"
	default:
		return errors.ErrUnsupported
	}
	in, args := b.base.InExactly(key, ids)
	_, err := b.base.DB.Affect(ctx, b.base.Dialect.Rebind(`DELETE FROM `+table+` WHERE `+in), args...)
	return b.base.Explain(ctx, err)
}

// groupRow is a row of the group table.
type groupRow struct {
	id      int64
	groupID string
	result  []byte
	done    time.Time
}

func (b *Store) groupRows(ctx context.Context, where string, args []any) (rows []*groupRow, err error) {
	q := b.base.Dialect.Rebind(`SELECT id, taskset_id, result, date_done FROM ` + groupTable + ` WHERE NOT hidden AND ` + where)
	err = b.base.DB.Rows(ctx, q, args, func(scan func(...any) error) error {
		r := new(groupRow)
		rows = append(rows, r)
		return scan(&r.id, &r.groupID, &r.result, b.base.ScanTime(&r.done))
	})
	return rows, err
}

// DecodeGroup implements celeryresults.Encoding.
func (b *Store) DecodeGroup(r *driver.Record) (celeryresults.ResultTuple, error) {
	return r.Row.(*groupRow).read()
}

func (r *groupRow) read() (celeryresults.ResultTuple, error) {
	unreadable := func(err error) (celeryresults.ResultTuple, error) {
		return celeryresults.ResultTuple{}, &celeryresults.UnreadableError{ID: r.groupID, Err: err}
	}
	tree, err := pickled(r.result).Any()
	if err != nil {
		return unreadable(err)
	}
	if group, ok := document.TupleOfObject(tree); ok {
		return group, nil
	}
	tuples := document.Tuples(serialization.Value{Node: []any{tree}})
	if len(tuples) != 1 {
		return unreadable(errors.New("it is no group of Celery's"))
	}
	return tuples[0], nil
}
