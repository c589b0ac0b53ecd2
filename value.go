package celeryresults

import (
	"fmt"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// Value is a Python value in a result: still encoded when it was read from a
// store, a Go value when the caller made it. It is decoded when asked, anew at
// each call, so it is safe for concurrent use. The zero Value is None.
type Value struct {
	v serialization.Value
}

// NewValue returns v as a Value to store. Every Go value that python.Plain
// accepts can be stored; what the backend's serializer can't hold is an error
// of StoreResult.
func NewValue(v any) Value {
	if value, ok := v.(Value); ok {
		return value
	}
	return Value{serialization.Value{Node: v}}
}

// StoredValue is for backends: it returns what a serializer left undecoded.
func StoredValue(v serialization.Value) Value { return Value{v} }

// Stored is for backends: it returns what StoredValue took, or the Go value.
func (v Value) Stored() serialization.Value { return v.v }

// IsZero reports whether the Value is the zero Value: absent, or a plain None
// that the caller made.
func (v Value) IsZero() bool {
	return v.v.Codec == nil && v.v.Node == nil
}

// Any returns the value as a tree of the types that package python lists. A
// *TaskError is Celery's mapping of exc_type, exc_message and exc_module.
func (v Value) Any() (any, error) {
	tree, err := v.v.Decode()
	if err != nil {
		return nil, fmt.Errorf("celeryresults: decode value: %w", err)
	}
	if v.v.Codec != nil {
		return tree, nil
	}
	if e, ok := tree.(*TaskError); ok {
		return NewTaskError(e).tree()
	}
	tree, err = python.Plain(tree)
	if err != nil {
		return nil, fmt.Errorf("celeryresults: value: %w", err)
	}
	return tree, nil
}

// Decode decodes the value into the pointer dst, by the rules of
// python.Assign.
func (v Value) Decode(dst any) error {
	tree, err := v.Any()
	if err != nil {
		return err
	}
	if err := python.Assign(dst, tree); err != nil {
		return fmt.Errorf("celeryresults: decode value: %w", err)
	}
	return nil
}

// MarshalJSON returns the value in plain JSON, as the command prints it: see
// python.JSON.
func (v Value) MarshalJSON() ([]byte, error) {
	tree, err := v.Any()
	if err != nil {
		return nil, err
	}
	return python.JSON(nil, tree), nil
}

// As decodes a Value into a T.
func As[T any](v Value) (T, error) {
	var t T
	err := v.Decode(&t)
	return t, err
}
