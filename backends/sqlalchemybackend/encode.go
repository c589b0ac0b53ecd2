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
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/python"
)

// entry is a record as it goes into a row.
type entry struct {
	statements *statements
	args       []any  // of the columns; nil is NULL. There is room for two more
	result     []byte // the one of args that tells records apart
	stored     int64  // rows, by the statement under way

	room [columnCount + 2]any // of args
}

// Encode implements celeryresults.Encoding (DatabaseBackend._store_result).
func (b *Store) Encode(ctx context.Context, meta *celeryresults.TaskMeta, w *driver.Write) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if err := l.checkTask(meta.TaskID); err != nil {
		return err
	}
	if err := checkText(string(meta.State), l.width["status"], longestState); err != nil {
		return fmt.Errorf("sqlalchemybackend: state %.60q of task %q %w", string(meta.State), meta.TaskID, err)
	}
	if err := document.CheckNames(meta.Extra); err != nil {
		return err
	}
	values, err := b.columnsOf(l, meta)
	if err != nil {
		return fmt.Errorf("sqlalchemybackend: encode task %q: %w", meta.TaskID, err)
	}
	e := &entry{statements: &l.plain}
	if b.settings.ResultExtended || meta.Extended {
		e.statements = &l.extended
	}
	e.args = e.room[:0]
	for _, column := range e.statements.columns {
		v := values[column]
		e.args = append(e.args, v)
		switch t := v.(type) {
		case []byte:
			w.Size += len(t)
		case string:
			w.Size += len(t)
		}
	}
	e.result, _ = values[inResult].([]byte)
	w.Row = e
	return nil
}

// columnsOf returns what goes into all the columns that the task table may have, in the
// order of taskColumns.
func (b *Store) columnsOf(l *layout, meta *celeryresults.TaskMeta) (values [columnCount]any, err error) {
	done := meta.DateDone
	if done.IsZero() || !meta.State.Ready() {
		done = b.base.Now()
	}
	if year := done.UTC().Year(); year < 1 || year > 9999 {
		return values, fmt.Errorf("no table holds the year %d", year)
	}
	values[inTaskID], values[inStatus], values[inDateDone] = meta.TaskID, string(meta.State), b.time(done)
	if values[inResult], err = b.resultColumn(l, meta); err != nil {
		return values, err
	}
	x := extras{b: b, layout: l}
	values[inTraceback] = x.fit("traceback", meta.Traceback)
	switch {
	case len(meta.Children) == 0:
	case l.modern:
		values[inChildren] = x.encoded(document.Children(meta.Children))
	default:
		x.add("children", document.Children(meta.Children))
	}
	if b.settings.ResultExtended || meta.Extended {
		values[inName], values[inWorker], values[inQueue] = x.fit("name", meta.Name), x.fit("worker", meta.Worker), x.fit("queue", meta.Queue)
		values[inArgs], values[inKwargs], values[inRetries] = x.value(meta.Args), x.value(meta.Kwargs), meta.Retries
	}
	values[inStamps] = x.stamps(meta)
	return values, x.err
}

// resultColumn returns the result as its column holds it.
func (b *Store) resultColumn(l *layout, meta *celeryresults.TaskMeta) (any, error) {
	d := document.Documents{Codec: b.codec}
	switch {
	case l.modern || b.codec == pickle.Codec && meta.State.Exception():
		return d.AppendResult(make([]byte, 0, 256), meta)
	case meta.State.Exception(): // as a mapping that JSON can hold
		d.Codec = json.Codec
		return pickle.Codec.Append(make([]byte, 0, 256), d.Exception(meta))
	}
	// Celery before 5.7 pickles everything. None is NULL.
	d.Codec = pickle.Codec
	data, err := d.AppendResult(make([]byte, 0, 256), meta)
	if bytes.Equal(data, none) {
		return nil, err
	}
	return data, err
}

// none is None, pickled.
var none, _ = pickle.Codec.Append(nil, nil)

// time is a time as the column date_done holds it: naive, in UTC.
func (b *Store) time(t time.Time) any {
	if b.base.Dialect == sqldialect.SQLite { // where texts are compared, and SQLAlchemy writes all digits
		return t.UTC().Format("2006-01-02 15:04:05.000000")
	}
	return b.base.Dialect.Time(t)
}

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

func (l *layout) checkTask(id string) error { return checkID("task", id, l.width["task_id"]) }

func (l *layout) checkGroup(id string) error { return checkID("group", id, l.groupWidth) }

func checkID(of, id string, width int) error {
	if err := checkText(id, width, limit); err != nil {
		return fmt.Errorf("sqlalchemybackend: %s id %.60q %w: %w", of, id, err, driver.ErrBadID)
	}
	return nil
}

// extras collects what has no column, or not enough of one.
type extras struct {
	b      *Store
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
	return x.encoded(document.Unboxed(v))
}

// ours is the name under which stamps has what is Go's alone.
const ours = "celeryresults"

// stamps returns the column stamps: as Celery's, with more beside it.
func (x *extras) stamps(meta *celeryresults.TaskMeta) any {
	for _, pair := range [...][2]string{{"group_id", meta.GroupID}, {"parent_id", meta.ParentID}, {"root_id", meta.RootID}, {"periodic_task_name", meta.PeriodicTaskName}} {
		if pair[1] != "" {
			x.add(pair[0], pair[1])
		}
	}
	var doc, apart, own python.Dict
	for _, extra := range meta.Extra {
		pair := python.Pair{Key: extra.Name, Value: document.Unboxed(extra.Value)}
		if slices.Contains(meta.StampedHeaders, extra.Name) {
			x.doc = append(x.doc, pair)
		} else {
			apart = append(apart, pair)
		}
	}
	if apart != nil {
		own = append(own, python.Pair{Key: "extra", Value: apart})
	}
	if !meta.Meta.IsZero() {
		own = append(own, python.Pair{Key: "meta", Value: document.Unboxed(meta.Meta)})
	}
	if at := meta.DateCreated; !at.IsZero() {
		own = append(own, python.Pair{Key: "date_created", Value: at.UTC().Format(time.RFC3339Nano)})
	}
	if at := meta.DateStarted; !at.IsZero() {
		own = append(own, python.Pair{Key: "date_started", Value: at.UTC().Format(time.RFC3339Nano)})
	}
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

// EncodeGroup implements celeryresults.Encoding (DatabaseBackend._save_group): as a tuple
// in the serializer since Celery 5.7, unless that is pickle, and before as a pickled
// GroupResult.
func (b *Store) EncodeGroup(ctx context.Context, group celeryresults.ResultTuple, w *driver.Write) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	if err := l.checkGroup(group.ID); err != nil {
		return err
	}
	var data []byte
	if l.modern && b.codec != pickle.Codec {
		data, err = document.Documents{Codec: b.codec}.AppendTuple(nil, group)
	} else {
		data, err = pickle.Codec.Append(nil, document.ResultObject(group))
	}
	if err != nil {
		return fmt.Errorf("sqlalchemybackend: encode group %q: %w", group.ID, err)
	}
	w.Row = &entry{statements: &l.group, args: []any{group.ID, data, b.time(b.base.Now())}, result: data}
	w.Size = len(data)
	return nil
}
