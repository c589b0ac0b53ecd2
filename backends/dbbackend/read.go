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
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// Get implements driver.Store. A result that has expired is told as such while its row
// is still there.
func (b *DatabaseBackend) Get(ctx context.Context, kind driver.Kind, records []driver.Record, how driver.How) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if len(records) == 1 && kind == driver.Task && how&driver.States == 0 {
		return b.explain(ctx, b.getOne(ctx, l, &records[0], how))
	}
	check := l.checkID
	if kind == driver.Group {
		check = l.checkGroup
	}
	w := newWanted(records, check)
	if len(w.ids) == 0 {
		return nil
	}
	db := b.from(how, w.ids...)
	switch {
	case kind == driver.Group:
		err = b.getGroups(ctx, db, w)
	case kind != driver.Task:
		err = errors.ErrUnsupported
	case how&driver.States != 0:
		err = b.getStates(ctx, db, w)
	default:
		err = b.getMany(ctx, db, l, w)
	}
	return b.explain(ctx, err)
}

// from returns where tasks or groups are to be read.
func (b *DatabaseBackend) from(how driver.How, ids ...string) *sqldialect.DB {
	if how&driver.Primary != 0 || b.recent.has(ids...) {
		return b.db
	}
	return b.reads
}

// wanted are records that are to be read.
type wanted struct {
	records []driver.Record
	ids     []string       // of those whose ids the tables can hold
	places  map[string]int // by id, in records; nil for one
}

// newWanted returns the records that can be read, and notes why others can't.
func newWanted(records []driver.Record, check func(id string) error) wanted {
	w := wanted{records: records, ids: make([]string, 0, len(records))}
	if len(records) > 1 {
		w.places = make(map[string]int, len(records))
	}
	for i := range records {
		r := &records[i]
		if r.Err = check(r.ID); r.Err != nil {
			continue
		}
		w.ids = append(w.ids, r.ID)
		if w.places != nil {
			w.places[r.ID] = i
		}
	}
	return w
}

// record returns the record of an id, nil if it is not wanted: the collation of a
// column may take it for another one.
func (w wanted) record(id []byte) *driver.Record {
	if w.places == nil && w.ids[0] == string(id) {
		return &w.records[0]
	}
	if i, found := w.places[string(id)]; found {
		return &w.records[i]
	}
	return nil
}

// getOne reads a task.
func (b *DatabaseBackend) getOne(ctx context.Context, l *layout, r *driver.Record, how driver.How) error {
	if r.Err = l.checkID(r.ID); r.Err != nil {
		return nil
	}
	s := b.newScanner()
	err := b.from(how, r.ID).Row(ctx, l.one, []any{r.ID}, s.destinations[:]...)
	if errors.Is(err, sql.ErrNoRows) || err == nil && s.taskID != r.ID { // equal by the collation only
		return nil
	}
	if err == nil {
		b.read(r, &s.row)
	}
	return err
}

// getMany reads tasks.
func (b *DatabaseBackend) getMany(ctx context.Context, db *sqldialect.DB, l *layout, w wanted) error {
	in, args := b.dialect.In("t.task_id", 1, w.ids)
	return b.rows(ctx, db, l, ` WHERE `+in, args, func(row *row) {
		if r := w.record(serialization.BytesOf(row.taskID)); r != nil {
			b.read(r, row)
		}
	})
}

// getStates reads only what counts of tasks.
func (b *DatabaseBackend) getStates(ctx context.Context, db *sqldialect.DB, w wanted) error {
	in, args := b.dialect.In("t.task_id", 1, w.ids)
	q := b.dialect.Rebind(`SELECT t.task_id, t.status, t.date_done FROM ` + taskTable + ` t WHERE ` + in)
	var id sql.RawBytes
	var row row
	destinations := []any{&id, stateText{&row.status}, b.scanTime(&row.done)}
	return db.Rows(ctx, q, args, func(scan func(...any) error) error {
		if err := scan(destinations...); err != nil {
			return err
		}
		if r := w.record(id); r != nil {
			b.readState(r, &row)
		}
		return nil
	})
}

// rows calls each for the rows that the rest of a statement selects; it must not
// keep the row.
func (b *DatabaseBackend) rows(ctx context.Context, db *sqldialect.DB, l *layout, rest string, args []any, each func(*row)) error {
	q := b.dialect.Rebind(`SELECT ` + l.fields + ` FROM ` + taskTable + ` t` + rest)
	s := b.newScanner()
	return db.Rows(ctx, q, args, func(scan func(...any) error) error {
		err := scan(s.destinations[:]...)
		if err == nil {
			each(&s.row)
		}
		return err
	})
}

// Decode implements celeryresults.Encoding. The row was decoded when it was read, into the
// place where it was allocated.
func (b *DatabaseBackend) Decode(r *driver.Record) (*celeryresults.TaskMeta, error) {
	return r.Row.(*celeryresults.TaskMeta), nil
}

// State implements celeryresults.Encoding.
func (b *DatabaseBackend) State(r *driver.Record) (celeryresults.State, error) { return r.State, nil }

// EncodeValue implements celeryresults.Encoding.
func (b *DatabaseBackend) EncodeValue(v celeryresults.Value) (contentType string, data []byte, err error) {
	return b.documents.EncodeValue(v)
}

// DecodeValue implements celeryresults.Encoding.
func (b *DatabaseBackend) DecodeValue(contentType string, data []byte) (celeryresults.Value, error) {
	return b.documents.DecodeValue(contentType, data)
}

// row is a row of the task table.
type row struct {
	id                           int64
	taskID                       string
	status                       celeryresults.State
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
		if l.has(c.name) {
			fields = append(fields, "t."+c.name)
		} else {
			fields = append(fields, "NULL")
		}
	}
	return strings.Join(fields, ", ")
}

// scanner is a row with the destinations to scan it into.
type scanner struct {
	row
	destinations [17]any
	times        [3]looseTime
}

func (b *DatabaseBackend) newScanner() *scanner {
	s := &scanner{}
	r := &s.row
	s.times = [3]looseTime{b.scanTime(&r.done), b.scanTime(&r.created), b.scanTime(&r.started)}
	s.destinations = [17]any{
		&r.id, &r.taskID, stateText{&r.status}, &r.contentType, &r.contentEncoding, encoded{&r.result}, &s.times[0], &r.traceback,
		encoded{&r.meta}, encoded{&r.args}, encoded{&r.kwargs}, &r.name, &r.worker, &s.times[1], &r.periodic, &s.times[2], &r.group,
	}
	return s
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

// stateText is a destination for a state, of which few differ.
type stateText struct{ dst *celeryresults.State }

// Scan implements sql.Scanner.
func (s stateText) Scan(value any) error {
	var text []byte
	switch v := value.(type) {
	case string:
		text = serialization.BytesOf(v)
	case []byte:
		text = v
	}
	switch string(text) {
	case string(celeryresults.Success):
		*s.dst = celeryresults.Success
	case string(celeryresults.Failure):
		*s.dst = celeryresults.Failure
	case string(celeryresults.Started):
		*s.dst = celeryresults.Started
	case string(celeryresults.Pending):
		*s.dst = celeryresults.Pending
	default:
		*s.dst = celeryresults.State(text)
	}
	return nil
}

// scanTime returns a destination for a time. What is none, which only SQLite
// lets stand there, is the zero time: it must not hide the rest of the row, nor
// other rows.
func (b *DatabaseBackend) scanTime(dst *time.Time) looseTime {
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

// errNoStatus is why a row can't be read.
var errNoStatus = errors.New("its status is empty")

// readState notes what counts of a row, and reports whether it stands.
func (b *DatabaseBackend) readState(r *driver.Record, row *row) bool {
	switch {
	case row.status == "":
		r.Err = &celeryresults.UnreadableError{ID: r.ID, Err: errNoStatus}
		return false
	case b.expiry.expired(row.status, row.done, b.now()):
		r.Expired = true
		return false
	}
	r.State = row.status
	return true
}

// read notes what a row says: of one that has expired no more than that.
func (b *DatabaseBackend) read(r *driver.Record, row *row) {
	if b.readState(r, row) {
		r.Row = b.meta(row)
	}
}

// meta returns what a row says.
func (b *DatabaseBackend) meta(r *row) *celeryresults.TaskMeta {
	state := r.status
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
	return m
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
		return celeryresults.StoredValue(document.Unread(d.codec, err))
	}
	return celeryresults.StoredValue(document.Whole(d.codec, data))
}

// shown returns the text in task_args or task_kwargs, and the value of the
// column. Writers before django-celery-results 2 left the arguments themselves
// there: their text is what the column holds.
func (d *decoder) shown(column []byte) (string, celeryresults.Value) {
	if column == nil {
		return "", celeryresults.Value{}
	}
	value := d.value(column)
	if text := document.Text(value.Stored()); text != "" {
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
	_ = document.EachField(d.codec, data, func(f *serialization.Field) {
		if !known(m, f) {
			rest = append(rest, *f)
		}
	})
	if rest != nil {
		others(m, rest)
	}
}

// known takes over an entry of meta whose name has a meaning: fields of the record that have
// no column, and the whole of texts that their columns could not hold.
func known(m *celeryresults.TaskMeta, f *serialization.Field) bool {
	name := f.Name
	if name == "task_name" { // as the column is called
		name = "name"
	}
	at, extended := m.Field(name)
	if at == nil || inColumns[f.Name] {
		return ours(m, f)
	}
	if name == "retries" || name == "queue" {
		m.Extended = m.Extended || extended
	}
	return document.Set(at, f.Value)
}

// inColumns are the fields that stand in columns, whatever meta says.
var inColumns = map[string]bool{
	"task_id": true, "status": true, "result": true, "date_done": true, "date_created": true, "date_started": true,
	"meta": true, "name": true, "args": true, "kwargs": true,
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
			m.Meta = celeryresults.StoredValue(document.Unread(f.Value.Codec, err))
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

// Delete implements driver.Store. With Settings.ResultTombstones rows of tasks stay
// without what was in them, as rows of PENDING that have expired; where those never
// expire, they are deleted.
func (b *DatabaseBackend) Delete(ctx context.Context, kind driver.Kind, ids []string) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	check := l.checkGroup
	if kind == driver.Task {
		check = l.checkID
	}
	for _, id := range ids {
		if err := check(id); err != nil {
			return err
		}
	}
	defer b.recent.add(ids...)
	switch kind {
	case driver.Task:
		err = b.forget(ctx, l, ids)
	case driver.Group:
		in, args := b.inExactly("group_id", ids)
		_, err = b.db.Affect(ctx, b.dialect.Rebind(`DELETE FROM `+groupTable+` WHERE `+in), args...)
	case driver.Chord:
		err = b.deleteChords(ctx, l, ids)
	default:
		err = errors.ErrUnsupported
	}
	return b.explain(ctx, err)
}

// inExactly is the condition that a column is one of the ids, sparing what is equal by
// the collation only.
func (b *DatabaseBackend) inExactly(column string, ids []string) (string, []any) {
	in, args := b.dialect.In(column, 1, ids)
	if b.dialect == sqldialect.MySQL {
		exact, more := b.dialect.In("CAST("+column+" AS BINARY)", len(args)+1, ids)
		in, args = in+" AND "+exact, append(args, more...)
	}
	return in, args
}

func (b *DatabaseBackend) forget(ctx context.Context, l *layout, taskIDs []string) error {
	in, args := b.inExactly("task_id", taskIDs)
	rows, rowArgs, err := b.forgetRows(l, in, args)
	if err != nil {
		return err
	}
	if !l.labels {
		_, err := b.db.Affect(ctx, rows, rowArgs...)
		return err
	}
	labels := b.dialect.Rebind(`DELETE FROM ` + labelTable + ` WHERE result_id IN (SELECT id FROM ` + taskTable + ` WHERE ` + in + `)`)
	return b.db.InTx(ctx, func(tx *sqldialect.Tx) error {
		if _, err := tx.Affect(ctx, labels, args...); err != nil {
			return err
		}
		_, err := tx.Affect(ctx, rows, rowArgs...)
		return err
	})
}

// forgetRows returns the statement that forgets the rows of a condition.
func (b *DatabaseBackend) forgetRows(l *layout, in string, args []any) (sqldialect.Query, []any, error) {
	expires := b.expiry.of(celeryresults.Pending)
	if b.settings.ResultTombstones == 0 || expires == celeryresults.Never {
		return b.dialect.Rebind(`DELETE FROM ` + taskTable + ` WHERE ` + in), args, nil
	}
	over := b.now().Add(-expires - time.Millisecond)
	empty, err := b.encode(l, &celeryresults.TaskMeta{TaskID: "forgotten", State: celeryresults.Pending, DateDone: over, DateCreated: over})
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
