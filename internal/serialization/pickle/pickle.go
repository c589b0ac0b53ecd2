// Package pickle is kombu's pickle serializer: package python/pickle as a
// serialization.Codec.
package pickle

import (
	"errors"
	"fmt"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// Codec is kombu's pickle serializer. It is stateless and safe for concurrent
// use.
var Codec serialization.Codec = codec{}

type codec struct{}

func (codec) Name() string            { return "pickle" }
func (codec) ContentType() string     { return "application/x-python-serialize" }
func (codec) ContentEncoding() string { return "binary" }

func (codec) Append(dst []byte, v any) ([]byte, error) { return Append(dst, v) }
func (codec) Decode(data []byte) (any, error)          { return Decode(data) }

// Fields gives each Value the form of serialization: what is ready as it is,
// anything else as the Node of this codec.
func (codec) Fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	var room [16]pickle.Field // as many as a result has
	fields, err := pickle.Fields(room[:0], data)
	for _, f := range fields {
		v := serialization.Value{}
		var ready bool
		if v.Node, ready = f.Value.Ready(); !ready {
			v = serialization.Value{Codec: Codec, Node: f.Value}
		}
		dst = append(dst, serialization.Field{Name: f.Name, Value: v})
	}
	return dst, adapted(err)
}

func (codec) Resolve(v serialization.Value) (any, error) {
	switch n := v.Node.(type) {
	case pickle.Value:
		return n.Decode()
	case nil:
		return Decode(v.Data)
	}
	return nil, fmt.Errorf("pickle: resolve %T: %w", v.Node, serialization.ErrUnsupported)
}

// Trusted is pickle.Trusted: an object of the program's own.
type Trusted = pickle.Trusted

// Harmless is pickle.Harmless: whether Append writes objects of class c.
func Harmless(c python.Class) bool { return pickle.Harmless(c) }

// Append is pickle.Append. A serialization.Value is a pickle.Lazy.
func Append(dst []byte, v any) ([]byte, error) { return pickle.Append(dst, v) }

var _ pickle.Lazy = serialization.Value{}

// Decode is pickle.Unmarshal.
func Decode(data []byte) (any, error) {
	v, err := pickle.Unmarshal(data)
	return v, adapted(err)
}

// adapted returns a syntax error as all codecs report it.
func adapted(err error) error {
	if broken, ok := errors.AsType[*pickle.SyntaxError](err); ok {
		return &serialization.SyntaxError{Format: "pickle", Offset: broken.Offset, Reason: broken.Reason}
	}
	return err
}
