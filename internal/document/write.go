package document

import (
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/python"
)

// Documents reads and writes metadata documents.
type Documents struct {
	Codec serialization.Codec

	// Extended writes the fields of result_extended even where the meta does
	// not say that it has them.
	Extended bool

	// Compression is how documents, groups and chord parts are compressed. What is read
	// says itself whether it is.
	Compression Compression
}

// Append appends the document of meta (Backend._get_result_meta). Its entries
// are in Celery's order, those that only this library knows after them, and
// task_id last.
func (d Documents) Append(dst []byte, meta *celeryresults.TaskMeta) ([]byte, error) {
	if meta.State == "" {
		return dst, fmt.Errorf("%w of task %q", celeryresults.ErrNoState, meta.TaskID)
	}
	out, err := d.append(dst, meta, d.result(meta))
	if err != nil && meta.State.Exception() {
		out, err = d.append(dst, meta, d.exception(safeArgs(d.Codec, failure(meta))))
	}
	if err != nil {
		return dst, fmt.Errorf("celeryresults: encode result of task %q: %w", meta.TaskID, err)
	}
	return out, nil
}

// AppendResult appends the result of meta alone, as stores with columns keep it:
// in exception states the exception (Backend.encode_result).
func (d Documents) AppendResult(dst []byte, meta *celeryresults.TaskMeta) ([]byte, error) {
	out, err := d.Codec.Append(dst, d.result(meta))
	if err != nil && meta.State.Exception() {
		out, err = d.Codec.Append(dst, d.exception(safeArgs(d.Codec, failure(meta))))
	}
	if err != nil {
		return dst, fmt.Errorf("celeryresults: encode result of task %q: %w", meta.TaskID, err)
	}
	return out, nil
}

func (d Documents) append(dst []byte, meta *celeryresults.TaskMeta, result any) ([]byte, error) {
	if err := CheckNames(meta.Extra); err != nil {
		return dst, err
	}
	doc := meta.AppendFields(make(python.Dict, 0, 20), d.Extended, func(name string, at any) any {
		if name == "result" {
			return result
		}
		return Plain(at)
	})
	return d.encode(dst, doc)
}

// Plain returns what a codec takes for a field, as TaskMeta.Field returns it: texts and times
// that are not set are None.
func Plain(field any) any {
	switch p := field.(type) {
	case *string:
		return textOrNone(*p)
	case *celeryresults.State:
		return string(*p)
	case *celeryresults.Value:
		return Unboxed(*p)
	case *int:
		return *p
	case *time.Time:
		return timeOrNone(*p)
	case *[]celeryresults.ResultTuple:
		return Children(*p)
	case *[]string:
		return *p
	}
	return nil
}

// ErrReserved is returned for a stamp or extra whose name a document uses for
// something else.
var ErrReserved = errors.New("reserved name")

// CheckNames refuses what would make a document have a name twice.
func CheckNames(extras []celeryresults.Extra) error {
	if len(extras) == 0 {
		return nil
	}
	taken := map[string]bool{}
	for _, extra := range extras {
		if taken[extra.Name] || reserved(extra.Name) {
			return fmt.Errorf("%w: no stamp or extra can be called %q", ErrReserved, extra.Name)
		}
		taken[extra.Name] = true
	}
	return nil
}

// reserved reports whether reading gives a name a meaning.
func reserved(name string) bool {
	at, _ := new(celeryresults.TaskMeta).Field(name)
	return at != nil || name == ""
}

// Unboxed returns what a codec takes for the value: a Go value as it is.
func Unboxed(v celeryresults.Value) any {
	if stored := v.Stored(); stored.Codec != nil {
		return stored
	}
	return v.Stored().Node
}

// result returns what to store as the result: in exception states the
// exception in the form of the serializer (Backend.encode_result).
func (d Documents) result(meta *celeryresults.TaskMeta) any {
	if !meta.State.Exception() || d.splices(meta.Result.Stored()) {
		return Unboxed(meta.Result)
	}
	return d.exception(failure(meta))
}

// splices reports whether the value can be written again as the bytes that
// were read.
func (d Documents) splices(v serialization.Value) bool {
	return v.Codec == d.Codec && v.Data != nil && d.Codec != pickle.Codec
}

// failure returns the exception to store. Without a module, a name of Python's
// own exceptions is that.
func failure(meta *celeryresults.TaskMeta) *celeryresults.TaskError {
	e, _ := errors.AsType[*celeryresults.TaskError](meta.Err())
	builtin := python.Class{Module: "builtins", Name: e.Type}
	if e.Module != "" || !pickle.Harmless(builtin) {
		return e
	}
	named := *e
	named.Module = builtin.Module
	return &named
}

// Exception returns the exception of a meta in an exception state as Celery's
// prepare_exception does, with the text of the arguments that the codec can't hold.
func (d Documents) Exception(meta *celeryresults.TaskMeta) any {
	return d.exception(safeArgs(d.Codec, failure(meta)))
}

// exception returns e as Celery's prepare_exception does: for pickle an
// instance, which Python can always make, otherwise a dict.
func (d Documents) exception(e *celeryresults.TaskError) any {
	if d.Codec != pickle.Codec {
		return python.Dict{
			{Key: "exc_type", Value: e.Type},
			{Key: "exc_message", Value: append([]any{}, e.Args...)},
			{Key: "exc_module", Value: textOrNone(e.Module)},
		}
	}
	class := python.Class{Module: e.Module, Name: e.Type}
	object := &python.Object{Class: class, Args: e.Args}
	switch {
	case pickle.Harmless(class):
		return object
	case e.Importable:
		return pickle.Trusted{Object: object}
	}
	return &python.Object{Class: wrapper, Args: python.Tuple{e.Module, e.Type, python.Tuple(e.Args), e.Error()}}
}

// wrapper is the class in which Celery stores exceptions that pickle refuses;
// its readers turn it back into an exception of the original's name.
var wrapper = python.Class{Module: "celery.utils.serialization", Name: "UnpickleableExceptionWrapper"}

// safeArgs replaces the arguments that the codec can't hold by their text, as
// Celery's ensure_serializable does: a failure is stored in any case.
func safeArgs(codec serialization.Codec, e *celeryresults.TaskError) *celeryresults.TaskError {
	safe := *e
	safe.Args = make([]any, len(e.Args))
	for i, arg := range e.Args {
		safe.Args[i] = arg
		if _, err := codec.Append(nil, arg); err != nil {
			safe.Args[i] = textOf(arg)
		}
	}
	return &safe
}

func textOf(arg any) string {
	if o, ok := arg.(*python.Object); ok {
		return o.String()
	}
	return fmt.Sprintf("<%T>", arg)
}

func textOrNone(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeOrNone returns t as Celery writes date_done: ISO 8601 in UTC.
func timeOrNone(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return string(python.AppendISO(make([]byte, 0, 32), t.UTC()))
}

// Children returns the list of result tuples to encode, or None.
func Children(list []celeryresults.ResultTuple) any {
	if list == nil {
		return nil
	}
	if len(list) == 0 {
		return none
	}
	out := make([]any, len(list))
	for i, c := range list {
		out[i] = tuple(c)
	}
	return out
}

// none is the empty list of children that most tasks have.
var none any = []any{}

// tuple returns r as ResultBase.as_tuple does: (id, parent), children.
func tuple(r celeryresults.ResultTuple) any {
	var parent any
	if r.Parent != nil {
		parent = tuple(*r.Parent)
	}
	return python.Tuple{python.Tuple{r.ID, parent}, Children(r.Children)}
}

// AppendTuple appends a group's result tuple alone, as stores with columns keep
// it.
func (d Documents) AppendTuple(dst []byte, group celeryresults.ResultTuple) ([]byte, error) {
	if group.Children == nil {
		group.Children = []celeryresults.ResultTuple{}
	}
	out, err := d.Codec.Append(dst, tuple(group))
	if err != nil {
		return dst, fmt.Errorf("celeryresults: encode group %q: %w", group.ID, err)
	}
	return out, nil
}

// AppendGroup appends the document of a group (KeyValueStoreBackend._save_group).
func (d Documents) AppendGroup(dst []byte, group celeryresults.ResultTuple) ([]byte, error) {
	if group.Children == nil {
		group.Children = []celeryresults.ResultTuple{}
	}
	out, err := d.encode(dst, python.Dict{{Key: "result", Value: tuple(group)}})
	if err != nil {
		return dst, fmt.Errorf("celeryresults: encode group %q: %w", group.ID, err)
	}
	return out, nil
}

// AppendPart appends what a member of a chord reports: the list [1, task_id,
// state, result] of RedisBackend.on_chord_part_return.
func (d Documents) AppendPart(dst []byte, meta *celeryresults.TaskMeta) ([]byte, error) {
	part := func(result any) []any { return []any{1, meta.TaskID, string(meta.State), result} }
	out, err := d.encode(dst, part(d.result(meta)))
	if err != nil && meta.State.Exception() {
		out, err = d.encode(dst, part(d.exception(safeArgs(d.Codec, failure(meta)))))
	}
	if err != nil {
		return dst, fmt.Errorf("celeryresults: encode chord part of task %q: %w", meta.TaskID, err)
	}
	return out, nil
}

// JSON returns result tuples as Python's json.dumps does, whatever the
// serializer.
func JSON(list []celeryresults.ResultTuple) ([]byte, error) {
	return json.Codec.Append(nil, Children(list))
}
