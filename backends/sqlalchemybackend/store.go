package sqlalchemybackend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/keyvalue"
	"github.com/celeryresults/celeryresults/internal/retry"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/trace"
	"github.com/celeryresults/celeryresults/python"
)

// entry is a result as it goes into a row. Nil is NULL.
type entry struct {
	id    string
	state celeryresults.State
	power power

	result, done, traceback, children any
	name, args, kwargs, worker        any
	retries, queue, stamps            any
	extended                          bool
}

// bytes is how many bytes the encoded values have.
func (e *entry) bytes() int {
	n := 0
	for _, v := range []any{e.result, e.traceback, e.children, e.args, e.kwargs, e.stamps} {
		switch t := v.(type) {
		case []byte:
			n += len(t)
		case string:
			n += len(t)
		}
	}
	return n
}

// power says which records a result may replace, beside those that have expired:
// celeryresults.State.MayReplace.
type power int

const (
	nothing    power = iota // PENDING
	unready                 // whatever is not ready
	anyFailure              // whatever is not SUCCESS
	everything              // Override
	powers
)

func powerOf(state celeryresults.State, override bool) power {
	switch {
	case override:
		return everything
	case state == celeryresults.Pending:
		return nothing
	case state.Ready():
		return anyFailure
	}
	return unready
}

// column is one that a statement writes.
type column struct {
	name, cast string // cast is for PostgreSQL
	value      func(*entry) any
}

var columns = []column{
	{"task_id", "varchar", func(e *entry) any { return e.id }},
	{"status", "varchar", func(e *entry) any { return string(e.state) }},
	{"result", "bytea", func(e *entry) any { return e.result }},
	{"date_done", "timestamp", func(e *entry) any { return e.done }},
	{"traceback", "text", func(e *entry) any { return e.traceback }},
	{"children", "bytea", func(e *entry) any { return e.children }},
	{"stamps", "bytea", func(e *entry) any { return e.stamps }},
	{"name", "varchar", func(e *entry) any { return e.name }},
	{"args", "bytea", func(e *entry) any { return e.args }},
	{"kwargs", "bytea", func(e *entry) any { return e.kwargs }},
	{"worker", "varchar", func(e *entry) any { return e.worker }},
	{"retries", "integer", func(e *entry) any { return e.retries }},
	{"queue", "varchar", func(e *entry) any { return e.queue }},
}

// firstExtended is the first of the columns of result_extended.
const firstExtended = 7

// statements store a result. Their parameters are the columns; those that update have
// the moment before which results have expired, too, unless none ever does.
type statements struct {
	columns []column
	both    [powers]sqldialect.Query // PostgreSQL: update, or insert
	update  [powers]sqldialect.Query
	insert  sqldialect.Query
}

func (b *DatabaseBackend) newStatements(l *layout, extended bool) statements {
	var s statements
	for i, c := range columns {
		if _, there := l.width[c.name]; there && (extended || i < firstExtended) {
			s.columns = append(s.columns, c)
		}
	}
	var names, parameters, sets []string
	if l.taskID != "" {
		names, parameters = append(names, "id"), append(parameters, l.taskID)
	}
	for i, c := range s.columns {
		parameter := fmt.Sprintf("$%d", i+1)
		if b.dialect == sqldialect.PostgreSQL {
			parameter += "::" + c.cast
		}
		names, parameters = append(names, c.name), append(parameters, parameter)
		if c.name != "task_id" {
			sets = append(sets, c.name+" = "+parameter)
		}
	}
	same := b.dialect.SameKey("task_id", "$1")
	insert := `INSERT INTO ` + b.names.task + ` (` + strings.Join(names, ", ") + `) SELECT ` + strings.Join(parameters, ", ") +
		` WHERE NOT EXISTS (SELECT 1 FROM ` + b.names.task + ` WHERE ` + same + `)`
	if b.dialect == sqldialect.MySQL { // where that locks gaps, and writers end one another
		insert = `INSERT INTO ` + b.names.task + ` (` + strings.Join(names, ", ") + `) VALUES (` + strings.Join(parameters, ", ") + `)`
	}
	s.insert = b.dialect.Rebind(insert)
	for p := range powers {
		update := `UPDATE ` + b.names.task + ` SET ` + strings.Join(sets, ", ") + ` WHERE ` + same + b.guard(p, len(s.columns)+1)
		s.update[p] = b.dialect.Rebind(update)
		if b.dialect == sqldialect.PostgreSQL {
			s.both[p] = b.dialect.Rebind(`WITH updated AS (` + update + ` RETURNING 1), inserted AS (` + insert + ` ON CONFLICT (task_id) DO NOTHING RETURNING 1)
				SELECT (SELECT count(*) FROM updated) + (SELECT count(*) FROM inserted)`)
		}
	}
	return s
}

// guard is the condition that a row may be replaced.
func (b *DatabaseBackend) guard(p power, parameter int) string {
	var may string
	switch p {
	case everything:
		return ""
	case anyFailure:
		may = `COALESCE(status, '') <> 'SUCCESS'`
	case unready:
		may = `COALESCE(status, '') NOT IN ('SUCCESS', 'FAILURE', 'REVOKED')`
	default:
		may = `1 = 0`
	}
	if b.expires != celeryresults.Never {
		may += fmt.Sprintf(` OR date_done < $%d`, parameter)
	}
	return ` AND (` + may + `)`
}

// StoreResult implements celeryresults.Backend (DatabaseBackend._store_result). Unless
// the result is stored or refused, or has no id, the error is a
// *celeryresults.StoreError, which says whether nothing was stored or that is not
// known. A result over its column's limit is cache.ErrTooLarge; a failure is then
// stored with its texts cut and marked as cut.
func (b *DatabaseBackend) StoreResult(ctx context.Context, meta *celeryresults.TaskMeta, options ...celeryresults.StoreOption) error {
	if meta == nil || meta.TaskID == "" {
		return celeryresults.ErrNoTaskID
	}
	override := slices.Contains(options, celeryresults.Override)
	err := b.storeMeta(ctx, meta, override)
	if errors.Is(err, cache.ErrTooLarge) && meta.State.Exception() {
		err = b.storeMeta(ctx, keyvalue.Shortened(meta), override)
	}
	return err
}

func (b *DatabaseBackend) storeMeta(ctx context.Context, meta *celeryresults.TaskMeta, override bool) error {
	failed := func(outcome celeryresults.Outcome, err error) error {
		return &celeryresults.StoreError{TaskID: meta.TaskID, Outcome: outcome, Err: err}
	}
	if err := b.ready(ctx); err != nil {
		return failed(celeryresults.OutcomeNotStored, err)
	}
	l, err := b.tables(ctx)
	if err != nil {
		return failed(celeryresults.OutcomeNotStored, err)
	}
	e, err := b.encode(l, meta, override)
	if err != nil {
		return failed(celeryresults.OutcomeNotStored, err)
	}
	trace.Sent(ctx, e.bytes())
	if _, ends := ctx.Deadline(); !ends { // a statement that hangs ends, too
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, retry.Patience)
		defer cancel()
	}
	w := &write{b: b, layout: l, entry: e}
	err = b.do(ctx, "store", func() error { return w.attempt(ctx) })
	switch {
	case w.refused != nil:
		return w.refused
	case err == nil:
		return nil
	case w.uncertain:
		return failed(celeryresults.OutcomeUnknown, err)
	case sqldialect.Classify(err) == sqldialect.TooLarge:
		err = fmt.Errorf("%w: %w", cache.ErrTooLarge, err)
	}
	return failed(celeryresults.OutcomeNotStored, err)
}

// write is one result on its way.
type write struct {
	b         *DatabaseBackend
	layout    *layout
	entry     *entry
	uncertain bool // a statement with it broke off: it may have happened
	conflicts int
	refused   error
}

// errChanged is why an attempt is repeated: a record came or went between two
// statements.
var errChanged = errors.New("the record changed under every attempt")

// mostConflicts is how often somebody may be quicker, before it is a row that the
// database takes for the same.
const mostConflicts = 5

func (w *write) attempt(ctx context.Context) error {
	sent := false
	err := w.b.db.OnConn(ctx, func(conn *sqldialect.Conn) error {
		sent = true
		return w.put(ctx, conn)
	})
	switch condition := sqldialect.Classify(err); {
	case err == nil || !sent:
	case condition == sqldialect.Disconnected, condition == sqldialect.Other && w.b.ready(ctx) != nil:
		w.uncertain = true
	case condition == sqldialect.Conflict:
		if w.conflicts++; w.conflicts > mostConflicts {
			return fmt.Errorf("the table takes task id %.60q for that of another task: %w", w.entry.id, celeryresults.ErrBadID)
		}
	}
	return err
}

func (w *write) put(ctx context.Context, conn *sqldialect.Conn) error {
	e, s := w.entry, w.layout.plain
	if e.extended {
		s = w.layout.extended
	}
	args := make([]any, 0, len(s.columns)+1)
	for _, c := range s.columns {
		args = append(args, c.value(e))
	}
	guarded := args
	if e.power != everything && w.b.expires != celeryresults.Never {
		guarded = append(args, w.b.time(w.b.now().Add(-w.b.expires)))
	}
	stored, err := w.send(ctx, conn, s, args, guarded)
	if err != nil || stored {
		return err
	}
	return w.refuse(ctx, conn)
}

func (w *write) send(ctx context.Context, conn *sqldialect.Conn, s statements, args, guarded []any) (stored bool, err error) {
	if w.b.dialect == sqldialect.PostgreSQL {
		var n int
		err := conn.Rows(ctx, s.both[w.entry.power], guarded, func(scan func(...any) error) error { return scan(&n) })
		return n > 0, err
	}
	n, err := conn.Affect(ctx, s.update[w.entry.power], guarded...)
	if err != nil || n > 0 {
		return n > 0, err
	}
	n, err = conn.Affect(ctx, s.insert, args...)
	if w.b.dialect == sqldialect.MySQL && sqldialect.Classify(err) == sqldialect.Conflict && w.conflicts < mostConflicts {
		w.conflicts++
		return false, nil // it stands: refuse says whether it may be replaced
	}
	return n > 0, err
}

// refuse finds out why the result was not stored. One that broke off before finds
// itself in the table if it had happened.
func (w *write) refuse(ctx context.Context, conn *sqldialect.Conn) error {
	var r row
	found := false
	q := w.b.dialect.Rebind(`SELECT status, result, date_done FROM ` + w.b.names.task + ` WHERE ` + w.b.dialect.SameKey("task_id", "$1"))
	err := conn.Rows(ctx, q, []any{w.entry.id}, func(scan func(...any) error) error {
		found = true
		return scan(&r.status, &r.result, w.b.dialect.ScanTime(&r.done))
	})
	if err != nil {
		return err
	}
	stands, e := celeryresults.State(r.status.String), w.entry
	result, _ := e.result.([]byte)
	switch {
	case !found:
		return errChanged
	case w.uncertain && stands == e.state && bytes.Equal(r.result, result):
		return nil
	case e.power == everything, w.b.expired(r.done), e.state != celeryresults.Pending && e.state.MayReplace(stands):
		return errChanged
	}
	w.refused = &celeryresults.RefusedError{TaskID: e.id, Stands: stands, Stored: e.state}
	return nil
}

// time is a time as the column date_done holds it: naive, in UTC.
func (b *DatabaseBackend) time(t time.Time) any {
	if b.dialect == sqldialect.SQLite { // where texts are compared, and SQLAlchemy writes all digits
		return t.UTC().Format("2006-01-02 15:04:05.000000")
	}
	return b.dialect.Time(t)
}

// encode returns the row for a meta, or why it can't be stored.
func (b *DatabaseBackend) encode(l *layout, meta *celeryresults.TaskMeta, override bool) (*entry, error) {
	if meta.State == "" {
		return nil, fmt.Errorf("%w of task %q", celeryresults.ErrNoState, meta.TaskID)
	}
	if err := checkText(meta.TaskID, l.width["task_id"], limit); err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: task id %.60q %w: %w", meta.TaskID, err, celeryresults.ErrBadID)
	}
	if err := checkText(string(meta.State), l.width["status"], longestState); err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: state %.60q of task %q %w", string(meta.State), meta.TaskID, err)
	}
	if err := keyvalue.CheckNames(meta.Extra); err != nil {
		return nil, err
	}
	result, err := b.resultColumn(l, meta)
	if err != nil {
		return nil, err
	}
	e := &entry{id: meta.TaskID, state: meta.State, power: powerOf(meta.State, override), result: result, extended: b.settings.ResultExtended || meta.Extended}
	done := meta.DateDone
	if done.IsZero() || !meta.State.Ready() {
		done = b.now()
	}
	if year := done.UTC().Year(); year < 1 || year > 9999 {
		return nil, fmt.Errorf("sqlalchemybackend: encode task %q: no table holds the year %d", meta.TaskID, year)
	}
	e.done = b.time(done)
	x := extras{b: b, layout: l}
	e.traceback = x.fit("traceback", meta.Traceback)
	switch {
	case len(meta.Children) == 0:
	case l.modern:
		e.children = x.encoded(keyvalue.Children(meta.Children))
	default:
		x.add(children, keyvalue.Children(meta.Children))
	}
	if e.extended {
		e.name, e.worker, e.queue = x.fit("name", meta.Name), x.fit("worker", meta.Worker), x.fit("queue", meta.Queue)
		e.args, e.kwargs = x.value(meta.Args), x.value(meta.Kwargs)
		e.retries = meta.Retries
	}
	e.stamps = x.stamps(meta)
	if x.err != nil {
		return nil, fmt.Errorf("sqlalchemybackend: encode task %q: %w", meta.TaskID, x.err)
	}
	return e, nil
}

// resultColumn returns the result as its column holds it.
func (b *DatabaseBackend) resultColumn(l *layout, meta *celeryresults.TaskMeta) (any, error) {
	d := b.documents()
	if l.modern || b.codec == pickle.Codec && meta.State.Exception() {
		return d.AppendResult(make([]byte, 0, 256), meta)
	}
	// Celery before 5.7 pickles everything, but an exception as what JSON can hold.
	// None is NULL.
	if !meta.State.Exception() {
		d.Codec = pickle.Codec
		data, err := d.AppendResult(make([]byte, 0, 256), meta)
		if bytes.Equal(data, none) {
			return nil, err
		}
		return data, err
	}
	d.Codec = json.Codec
	encoded, err := d.AppendResult(make([]byte, 0, 256), meta)
	if err != nil {
		return nil, err
	}
	tree, err := json.Codec.Decode(encoded)
	if err != nil {
		return nil, err
	}
	return pickle.Codec.Append(nil, tree)
}

// none is None, pickled.
var none, _ = pickle.Codec.Append(nil, nil)

// limit and longestState are the widths of Celery's columns, where the database does
// not say.
const (
	limit        = 155
	longestState = 50
)

// checkText returns why a text can't stand in a column as it is.
func checkText(value string, width, usual int) error {
	if width == 0 {
		width = usual
	}
	switch {
	case !utf8.ValidString(value):
		return errors.New("is not UTF-8")
	case strings.Contains(value, "\x00"):
		return errors.New("has a NUL character")
	case utf8.RuneCountInString(value) > width:
		return fmt.Errorf("has %d characters, its column holds %d", utf8.RuneCountInString(value), width)
	}
	return nil
}

// extras collects what has no column, or not enough of one.
type extras struct {
	b      *DatabaseBackend
	layout *layout
	doc    python.Dict
	err    error
}

func (x *extras) add(name string, value any) {
	x.doc = append(x.doc, python.Pair{Key: name, Value: value})
}

// fit returns a text as its column can hold it, nil for none. If that is not the whole
// text, stamps has it, from where Python's AsyncResult takes it, too.
func (x *extras) fit(name, value string) any {
	if value == "" {
		return nil
	}
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	fitting := strings.ReplaceAll(value, "\x00", "\u2400")
	width := x.layout.width[name]
	if width == 0 && name != "traceback" {
		width = limit
	}
	if width > 0 && len(fitting) > width {
		if runes := []rune(fitting); len(runes) > width {
			fitting = string(runes[:width-1]) + "…"
		}
	}
	if fitting != value {
		x.add(name, value)
	}
	return fitting
}

func (x *extras) encoded(value any) any {
	data, err := x.b.codec.Append(nil, value)
	x.err = errors.Join(x.err, err)
	return data
}

// value returns arguments as their column holds them, nil for none.
func (x *extras) value(v celeryresults.Value) any {
	if v.IsZero() {
		return nil
	}
	return x.encoded(keyvalue.Unboxed(v))
}

// The name under which stamps has what is Go's alone.
const ours = "celeryresults"

// stamps returns the column stamps: as Celery's, with more beside it.
func (x *extras) stamps(meta *celeryresults.TaskMeta) any {
	for _, pair := range [][2]string{{"group_id", meta.GroupID}, {"parent_id", meta.ParentID}, {"root_id", meta.RootID}, {"periodic_task_name", meta.PeriodicTaskName}} {
		if pair[1] != "" {
			x.add(pair[0], pair[1])
		}
	}
	var apart python.Dict
	for _, extra := range meta.Extra {
		pair := python.Pair{Key: extra.Name, Value: keyvalue.Unboxed(extra.Value)}
		if slices.Contains(meta.StampedHeaders, extra.Name) {
			x.doc = append(x.doc, pair)
		} else {
			apart = append(apart, pair)
		}
	}
	var own python.Dict
	if apart != nil {
		own = append(own, python.Pair{Key: "extra", Value: apart})
	}
	if !meta.Meta.IsZero() {
		own = append(own, python.Pair{Key: "meta", Value: keyvalue.Unboxed(meta.Meta)})
	}
	for name, at := range map[string]time.Time{"date_created": meta.DateCreated, "date_started": meta.DateStarted} {
		if !at.IsZero() {
			own = append(own, python.Pair{Key: name, Value: at.UTC().Format(time.RFC3339Nano)})
		}
	}
	var doc python.Dict
	if len(meta.StampedHeaders) > 0 {
		doc = append(doc, python.Pair{Key: "stamped_headers", Value: meta.StampedHeaders})
	}
	if x.doc != nil {
		doc = append(doc, python.Pair{Key: "stamps", Value: x.doc})
	}
	if own != nil {
		doc = append(doc, python.Pair{Key: ours, Value: own})
	}
	if doc == nil || !x.layout.stamps {
		return nil
	}
	return x.encoded(doc)
}
