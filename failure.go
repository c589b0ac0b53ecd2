package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/celeryresults/celeryresults/python"
)

// TaskError is the exception that a task failed with, was retried for, or was
// revoked by, as an error value. Get it with errors.As, or test for one kind
// with errors.Is(err, &TaskError{Type: "ZeroDivisionError"}).
//
// To store a failure of a particular Python class, pass a *TaskError as the
// error. A class that Python cannot import still raises there, as a class of
// that name that Celery makes on the fly.
type TaskError struct {
	Type   string // class name, such as ZeroDivisionError; may be qualified
	Module string // such as builtins, which is the default for its own names
	Args   []any  // of the exception, as package python describes values

	// Traceback is Python's text of the stack, empty when there is none.
	Traceback string

	// State is the instance's own attributes where a pickle carried them.
	// It is not stored again.
	State any

	// Importable states that all of Python's readers can import Module.Type,
	// so that pickled stores (Django's caches) may hold an instance of the
	// class itself, and an except clause there catches it. Where one can't, it
	// can't read the record at all. Python's and Celery's own exceptions need
	// no such word. It is never set on reading.
	Importable bool

	cause error // why the payload could not be decoded
}

// Error returns "Type: message", much as Python's traceback ends.
func (e *TaskError) Error() string {
	msg := e.Message()
	if e.cause != nil && msg == "" {
		msg = e.cause.Error()
	}
	if msg == "" {
		return e.Type
	}
	return e.Type + ": " + msg
}

// Message returns the exception's one argument as text, or all of them as a
// list in JSON.
func (e *TaskError) Message() string {
	switch len(e.Args) {
	case 0:
		return ""
	case 1:
		if s, ok := e.Args[0].(string); ok {
			return s
		}
		return string(python.JSON(nil, e.Args[0]))
	default:
		return string(python.JSON(nil, e.Args))
	}
}

// Unwrap returns why the stored exception could not be decoded, or nil.
func (e *TaskError) Unwrap() error { return e.cause }

// Is reports whether target is a *TaskError of the same Type and, when target
// names one, the same Module.
func (e *TaskError) Is(target error) bool {
	t, ok := target.(*TaskError)
	if !ok || t == nil || e == nil {
		return false
	}
	return t.Type == e.Type && (t.Module == "" || t.Module == e.Module)
}

// Exception is an error that chooses how Python sees it.
type Exception interface {
	error

	// PythonException returns the class name, its module, and the arguments.
	PythonException() (typ, module string, args []any)
}

// Importable is an Exception that says whether Python's readers can import its
// class; see TaskError.Importable.
type Importable interface {
	Exception

	// PythonImportable reports whether they can.
	PythonImportable() bool
}

// NewTaskError returns err as a failure to store. A *TaskError in err's chain
// is taken as it is, an Exception is asked, a context's error becomes Python's
// TimeoutError or Celery's TaskRevokedError, an error of a named type gets the type's name
// with its package path as module, and all others are a builtins.Exception.
// The argument is err's text.
//
// A nil error, and one whose methods panic, such as a nil pointer of an error
// type, is an Exception without arguments.
func NewTaskError(err error) (e *TaskError) {
	defer func() {
		if recover() != nil || e == nil {
			e = &TaskError{Type: "Exception", Module: "builtins"}
		}
	}()
	if err == nil {
		return nil
	}
	var te *TaskError
	if errors.As(err, &te) {
		return te
	}
	var ex Exception
	if errors.As(err, &ex) {
		typ, module, args := ex.PythonException()
		importable, ok := ex.(Importable)
		return &TaskError{Type: typ, Module: module, Args: args, Importable: ok && importable.PythonImportable()}
	}
	typ, module := exceptionOf(err)
	return &TaskError{Type: typ, Module: module, Args: []any{strings.ToValidUTF8(err.Error(), "\uFFFD")}}
}

func exceptionOf(err error) (typ, module string) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "TimeoutError", "builtins"
	case errors.Is(err, context.Canceled):
		return "TaskRevokedError", "celery.exceptions"
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if first := t.Name(); first == "" || t.PkgPath() == "" || strings.ToUpper(first[:1]) != first[:1] {
		return "Exception", "builtins" // errors.New, fmt.Errorf and the like
	}
	return t.Name(), t.PkgPath()
}

func (m *TaskMeta) failure() *TaskError {
	if te, ok := m.Result.v.Node.(*TaskError); ok && m.Result.v.Codec == nil {
		return NewTaskError(te)
	}
	tree, err := m.Result.Any()
	var te *TaskError
	if err != nil {
		te = &TaskError{Type: "Exception", Module: "builtins", cause: fmt.Errorf("undecodable failure: %w", err)}
	} else {
		te = taskErrorOf(tree)
	}
	te.Traceback = m.Traceback
	return te
}

// taskErrorOf reads every form in which an exception is stored: Celery's dict
// of exc_type, exc_message and exc_module, a pickled instance, and, from older
// or foreign writers, anything else, which becomes the only argument.
func taskErrorOf(tree any) *TaskError {
	switch t := tree.(type) {
	case map[string]any:
		if typ, ok := t["exc_type"].(string); ok {
			module, _ := t["exc_module"].(string)
			return unwrapped(&TaskError{Type: typ, Module: module, Args: exceptionArgs(t["exc_message"])})
		}
	case *python.Object:
		return unwrapped(&TaskError{Type: t.Class.Name, Module: t.Class.Module, Args: t.Args, State: t.State})
	case python.Class:
		return &TaskError{Type: t.Name, Module: t.Module}
	case nil:
		return &TaskError{Type: "Exception", Module: "builtins"}
	}
	return &TaskError{Type: "Exception", Module: "builtins", Args: []any{tree}}
}

func exceptionArgs(message any) []any {
	switch m := message.(type) {
	case nil:
		return nil
	case []any:
		return m
	case python.Tuple:
		return m
	default:
		return []any{m}
	}
}

// unwrapped undoes celery.utils.serialization.UnpickleableExceptionWrapper,
// whose arguments are the module, class name and arguments of the exception it stands for.
// Written as JSON its third argument is only text and the wrapper stays, as in
// Celery.
func unwrapped(e *TaskError) *TaskError {
	if e.Type != unpickleable.Name || e.Module != unpickleable.Module || len(e.Args) < 3 {
		return e
	}
	module, ok1 := e.Args[0].(string)
	typ, ok2 := e.Args[1].(string)
	args, ok3 := sequence(e.Args[2])
	if !ok1 || !ok2 || !ok3 {
		return e
	}
	return &TaskError{Type: typ, Module: module, Args: args}
}

func sequence(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case python.Tuple:
		return v, true
	}
	return nil, false
}

var unpickleable = python.Class{Module: "celery.utils.serialization", Name: "UnpickleableExceptionWrapper"}
