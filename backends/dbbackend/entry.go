package dbbackend

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/survey"
	"github.com/celeryresults/celeryresults/python"
)

// entry is a result as it goes into a row. An empty text of a nullable column is
// NULL.
type entry struct {
	id    string
	state celeryresults.State

	contentType, contentEncoding string
	result, meta                 string
	args, kwargs                 string
	traceback, name, worker      string
	periodic, group              string
	done, created, started       time.Time
	labels                       []label
}

// label is an entry of the caller's metadata that lists can be filtered by.
type label struct{ name, value string }

// size is about how many bytes the entry adds to a statement.
func (e *entry) size() int {
	return len(e.result) + len(e.meta) + len(e.args) + len(e.kwargs) + len(e.traceback) + 512
}

// longestLabel and longestValue are the widths of the label table's columns in
// characters. What is longer is kept, but can't be looked for.
const (
	longestLabel = 64
	longestValue = 191
)

// longestRepr is how much of the repr of the arguments people are shown, in
// bytes: Celery's own limit.
const longestRepr = 1024

// The names of what only this library puts into the column meta.
const (
	own         = "celeryresults."
	ownArgs     = own + "args"
	ownKwargs   = own + "kwargs"
	ownCutArgs  = own + "args_cut"
	ownCutKw    = own + "kwargs_cut"
	ownExtra    = own + "extra"
	ownReserved = own + "meta"
)

// Encode implements celeryresults.Encoding: the row is an *entry. How wide the columns
// are has to be asked once.
func (b *DatabaseBackend) Encode(ctx context.Context, meta *celeryresults.TaskMeta, w *driver.Write) error {
	l, err := b.tables(ctx)
	if err != nil {
		return err
	}
	e, err := b.encode(l, meta)
	if err != nil {
		return err
	}
	w.Row, w.Size = e, e.size()
	return nil
}

// encode returns the row for a meta, or why it can't be stored.
func (b *DatabaseBackend) encode(l *layout, meta *celeryresults.TaskMeta) (*entry, error) {
	if err := l.checkID(meta.TaskID); err != nil {
		return nil, err
	}
	if err := l.checkState(meta.TaskID, meta.State); err != nil {
		return nil, err
	}
	codec := b.documents.Codec
	e := &entry{
		id: meta.TaskID, state: meta.State, contentType: codec.ContentType(), contentEncoding: codec.ContentEncoding(),
		done: meta.DateDone, created: meta.DateCreated, started: meta.DateStarted,
	}
	if err := e.times(b.now()); err != nil {
		return nil, fmt.Errorf("dbbackend: encode task %q: %w", meta.TaskID, err)
	}
	buffer, err := b.documents.AppendResult(make([]byte, 0, 512), meta)
	if err != nil {
		return nil, err
	}
	e.result = text(codec, buffer)
	w := metaWriter{layout: l, codec: codec, entry: e, doc: make(python.Dict, 0, 12), buffer: buffer}
	w.add("children", document.Children(meta.Children))
	e.traceback = w.fit("traceback", meta.Traceback)
	e.periodic = w.fit("periodic_task_name", meta.PeriodicTaskName)
	if extended := b.documents.Extended || meta.Extended; extended {
		err = w.extended(meta, b.argsLimit())
	}
	if err = errors.Join(err, w.rest(meta)); err != nil {
		return nil, fmt.Errorf("dbbackend: encode task %q: %w", meta.TaskID, err)
	}
	if e.meta, err = w.encoded(w.doc); err != nil {
		return nil, fmt.Errorf("dbbackend: encode metadata of task %q: %w", meta.TaskID, err)
	}
	return e, nil
}

func (b *DatabaseBackend) argsLimit() int {
	if limit := b.settings.DjangoDB.ArgsLimit; limit != 0 {
		return max(limit, 0)
	}
	return celeryresults.DefaultArgsLimit
}

// times sets the columns that Django's code sets itself: date_created on insert,
// date_done on every write, and date_started with STARTED. A time that not every
// database holds is an error.
func (e *entry) times(now time.Time) error {
	if e.done.IsZero() {
		e.done = now
	}
	if e.created.IsZero() {
		e.created = now
	}
	if e.started.IsZero() && e.state == celeryresults.Started {
		e.started = now
	}
	for _, t := range [...]time.Time{e.done, e.created, e.started} {
		if year := t.UTC().Year(); year < 1 || year > 9999 {
			return fmt.Errorf("no table holds the year %d", year)
		}
	}
	return nil
}

// text returns encoded bytes as a text column holds them
// (DatabaseBackend.encode_content).
func text(codec serialization.Codec, data []byte) string {
	if codec.ContentEncoding() == "binary" {
		return base64.StdEncoding.EncodeToString(data)
	}
	return string(data)
}

// metaWriter collects the entries of the column meta.
type metaWriter struct {
	layout *layout
	codec  serialization.Codec
	entry  *entry
	doc    python.Dict
	buffer []byte // room to encode in
}

// encoded returns a value as a text column holds it.
func (w *metaWriter) encoded(value any) (string, error) {
	data, err := w.codec.Append(w.buffer[:0], value)
	if err != nil {
		return "", err
	}
	w.buffer = data
	return text(w.codec, data), nil
}

func (w *metaWriter) add(name string, value any) {
	w.doc = append(w.doc, python.Pair{Key: name, Value: value})
}

// fit returns a text as its column can hold it. If that is not the whole text,
// meta has it, from where Python's AsyncResult takes it, too.
func (w *metaWriter) fit(column, value string) string {
	if !utf8.ValidString(value) {
		value = strings.ToValidUTF8(value, "\uFFFD")
	}
	fitting := strings.ReplaceAll(value, "\x00", "\u2400")
	if limit := w.layout.width[column]; limit > 0 && len(fitting) > limit {
		if runes := []rune(fitting); len(runes) > limit {
			fitting = string(runes[:limit-1]) + "…"
		}
	}
	if fitting != value {
		w.add(column, value)
	}
	return fitting
}

// extended adds what result_extended keeps.
func (w *metaWriter) extended(meta *celeryresults.TaskMeta, limit int) error {
	e := w.entry
	e.name, e.worker = w.fit("task_name", meta.Name), w.fit("worker", meta.Worker)
	if meta.Extended || meta.Retries > 0 || meta.Name != "" {
		w.add("retries", meta.Retries)
	}
	if meta.Queue != "" {
		w.add("queue", meta.Queue)
	}
	var row celeryresults.Row
	if meta.Row != nil {
		row = *meta.Row
	}
	var err, err2 error
	e.args, err = w.arguments(meta.Args, row.Args, row.ArgsCut, ownArgs, ownCutArgs, limit)
	e.kwargs, err2 = w.arguments(meta.Kwargs, row.Kwargs, row.KwargsCut, ownKwargs, ownCutKw, limit)
	return errors.Join(err, err2)
}

// arguments returns the column of args or kwargs, which people read, and adds
// the value for programs to meta. A value that is a text is what people read.
func (w *metaWriter) arguments(v celeryresults.Value, shown string, cut *celeryresults.Cut, name, cutName string, limit int) (string, error) {
	if v.IsZero() && shown == "" {
		return "", nil
	}
	tree, err := treeOf(v)
	if err != nil {
		return "", err
	}
	words, isText := tree.(string)
	switch {
	case shown != "":
	case isText:
		shown = words
	default:
		shown = python.Repr(asTuple(tree), longestRepr)
	}
	if cut == nil && !isText && tree != nil {
		if cut, err = w.whole(v, name, limit); err != nil {
			return "", err
		}
	}
	if cut != nil {
		w.add(cutName, python.Dict{{Key: "size", Value: cut.Size}, {Key: "sha256", Value: cut.SHA256}})
	}
	return w.encoded(strings.ToValidUTF8(strings.ReplaceAll(shown, "\x00", "\u2400"), "\uFFFD"))
}

// treeOf returns arguments as a tree that python.Repr can show: as they are, if
// they are one but for what stands in it.
func treeOf(v celeryresults.Value) (any, error) {
	switch tree := document.Unboxed(v).(type) {
	case []any, python.Tuple, map[string]any, python.Dict, string:
		return tree, nil
	}
	return v.Any()
}

// asTuple shows positional arguments as Python does.
func asTuple(tree any) any {
	if list, ok := tree.([]any); ok {
		return python.Tuple(list)
	}
	return tree
}

// whole adds arguments to meta, or returns what stands for them if they are too
// large.
func (w *metaWriter) whole(v celeryresults.Value, name string, limit int) (*celeryresults.Cut, error) {
	value := document.Unboxed(v)
	encoded, err := w.codec.Append(nil, value)
	switch {
	case err != nil:
		return nil, err
	case len(encoded) > limit:
		sum := sha256.Sum256(encoded)
		return &celeryresults.Cut{Size: len(encoded), SHA256: hex.EncodeToString(sum[:])}, nil
	case w.codec == json.Codec: // not to be encoded again
		value = serialization.Value{Codec: json.Codec, Data: encoded}
	}
	w.add(name, value)
	return nil, nil
}

// rest adds relations, stamps and the caller's own.
func (w *metaWriter) rest(meta *celeryresults.TaskMeta) error {
	for _, pair := range [][2]string{{"group_id", meta.GroupID}, {"parent_id", meta.ParentID}, {"root_id", meta.RootID}} {
		if pair[1] != "" {
			w.add(pair[0], pair[1])
		}
	}
	if checkText(meta.GroupID, w.layout.width["group_id"]) == nil { // what can't be looked for stands in meta alone
		w.entry.group = meta.GroupID
	}
	if err := document.CheckNames(meta.Extra); err != nil {
		return err
	}
	if err := w.stamps(meta); err != nil {
		return err
	}
	return w.labels(meta.Meta)
}

// stamps adds stamps under their own names, as Celery does, and other extras
// apart.
func (w *metaWriter) stamps(meta *celeryresults.TaskMeta) error {
	if len(meta.StampedHeaders) > 0 {
		w.add("stamped_headers", meta.StampedHeaders)
	}
	var extras python.Dict
	for _, extra := range meta.Extra {
		value := document.Unboxed(extra.Value)
		if slices.Contains(meta.StampedHeaders, extra.Name) && !reserved[extra.Name] {
			w.add(extra.Name, value)
			continue
		}
		extras = append(extras, python.Pair{Key: extra.Name, Value: value})
	}
	if extras != nil {
		w.add(ownExtra, extras)
	}
	return nil
}

// reserved are the names that Python's AsyncResult takes from the columns, or
// that reading gives a meaning: the caller's metadata can't stand under them.
var reserved = func() map[string]bool {
	names := map[string]bool{}
	for _, name := range strings.Fields(`id task_id status result date_done traceback meta task_args task_kwargs args kwargs
		task_name name worker date_created date_started periodic_task_name content_type content_encoding children
		retries queue group_id parent_id root_id stamped_headers`) {
		names[name] = true
	}
	return names
}()

// errMeta is returned for metadata of the caller's that is no mapping from texts.
var errMeta = errors.New("the meta must be a mapping with texts as keys")

// labels adds the caller's own metadata: its entries stand beside Celery's, as
// those of Python's request.meta do.
func (w *metaWriter) labels(v celeryresults.Value) error {
	if v.IsZero() {
		return nil
	}
	tree, err := v.Any()
	if err != nil {
		return err
	}
	pairs, ok := python.Pairs(tree)
	if !ok {
		return errMeta
	}
	var apart python.Dict
	for _, pair := range pairs {
		name, ok := pair.Key.(string)
		if !ok || name == "" {
			return errMeta
		}
		if reserved[name] || strings.HasPrefix(name, own) || w.has(name) {
			apart = append(apart, pair)
		} else {
			w.add(name, pair.Value)
		}
		w.label(name, pair.Value)
	}
	if apart != nil {
		w.add(ownReserved, apart)
	}
	return nil
}

func (w *metaWriter) has(name string) bool {
	for _, pair := range w.doc {
		if pair.Key == name {
			return true
		}
	}
	return false
}

// label notes an entry that lists can be filtered by.
func (w *metaWriter) label(name string, value any) {
	shown, ok := survey.Label(value)
	if ok && fitsLabel(name, shown) {
		w.entry.labels = append(w.entry.labels, label{name, shown})
	}
}

func fitsLabel(name, value string) bool {
	return name != "" && utf8.RuneCountInString(name) <= longestLabel && utf8.RuneCountInString(value) <= longestValue &&
		utf8.ValidString(name) && utf8.ValidString(value) && !strings.Contains(name+value, "\x00")
}

// checkText returns why a text can't stand in a column as it is.
func checkText(value string, limit int) error {
	switch {
	case !utf8.ValidString(value):
		return errors.New("is not UTF-8")
	case strings.Contains(value, "\x00"):
		return errors.New("has a NUL character")
	case limit > 0 && len(value) > limit && utf8.RuneCountInString(value) > limit:
		return fmt.Errorf("has %d characters, its column holds %d", utf8.RuneCountInString(value), limit)
	}
	return nil
}
