// Package yaml reads and writes kombu's yaml serializer: what PyYAML's
// safe_dump writes and its safe_load reads.
//
// Reading applies YAML 1.1 as PyYAML does: yes and off are booleans, 010 and
// 190:20:30 are integers, 1e3 is text because a float needs a dot, and a
// timestamp keeps its offset. Beyond PyYAML, three things are read rather than
// refused, since a result has to be readable before anybody can repair it:
//
//   - Tags that safe_load refuses. !!python/tuple and its relatives become the
//     value that they name. Python objects, functions and modules become an
//     inert python.Object or python.Class. A value under any other tag becomes
//     a python.Object whose class has the tag for its name and whose only
//     argument is the value. Nothing is imported or called.
//   - Plain scalars that PyYAML recognizes and then fails to convert, such as
//     the date 2026-13-45. They stay text.
//   - The plain scalars = and << where they are no keys. They stay text.
//
// Sets are a python.Set, !!omap and !!pairs a list of tuples of two. An alias
// is decoded anew each time that it occurs.
//
// Writing makes block style that safe_load reads into equal values: ASCII,
// words plain, other text in double quotes, never folded. The entries of a
// map[string]any are sorted; a python.Dict and a python.Set keep their order.
package yaml

import (
	"fmt"

	"go.yaml.in/yaml/v4"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// Codec is kombu's yaml serializer. Values that it makes in Fields keep a
// parsed node and are converted when they are decoded.
var Codec serialization.Codec = codec{}

const format = "yaml"

type codec struct{}

func (codec) Name() string            { return format }
func (codec) ContentType() string     { return "application/x-yaml" }
func (codec) ContentEncoding() string { return "utf-8" }

// Decode decodes a stream of one document, as PyYAML's safe_load does. An
// empty stream is None.
func (codec) Decode(data []byte) (any, error) {
	root, err := parse(data)
	if root == nil || err != nil {
		return nil, err
	}
	return decoder{data}.value(root)
}

// Fields splits the document's mapping, with its merge keys resolved. All of
// data is parsed first, so a syntax error leaves no entries.
func (codec) Fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	root, err := parse(data)
	if err != nil {
		return dst, err
	}
	d := decoder{data}
	if root == nil || root.Kind != yaml.MappingNode {
		return dst, d.syntax(root, "not a mapping")
	}
	pairs, err := d.pairs(root)
	if err != nil {
		return dst, err
	}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := textKey(pairs[i])
		if !ok {
			return dst, d.syntax(pairs[i], "a key that is not text")
		}
		value := serialization.Value{Codec: Codec, Data: data, Node: pairs[i+1]}
		dst = append(dst, serialization.Field{Name: name, Value: value})
	}
	return dst, nil
}

// Resolve converts the node of a Value that Fields made.
func (codec) Resolve(v serialization.Value) (any, error) {
	node, ok := v.Node.(*yaml.Node)
	if !ok || node == nil {
		return nil, fmt.Errorf("yaml: resolve: a value with a node of type %T", v.Node)
	}
	return decoder{v.Data}.value(node)
}

// Append writes v as a document. Decimal, UUID, timedelta, time, frozenset,
// complex, classes, objects and envelopes are refused, as PyYAML's safe_dump
// does, and so is a mapping key that is a list or a mapping, which safe_load
// could not read back.
func (codec) Append(dst []byte, v any) ([]byte, error) {
	e := encoder{out: dst, fresh: true, left: serialization.MaxNodes, limit: len(dst) + maxSize}
	if err := e.value(v, 0); err != nil {
		return dst, err
	}
	return append(e.out, '\n'), nil
}
