// Package msgpack reads and writes kombu's msgpack serializer: what
// msgpack-python packs with use_bin_type and unpacks with raw off.
//
// Beyond msgpack-python's defaults, keys of any type are read, timestamps
// (extension -1) become a time.Time in UTC, and text that is not UTF-8 is
// repaired with U+FFFD. Any other extension becomes an inert python.Object of
// the class msgpack.ExtType with its code and its bytes as arguments.
//
// Tuples are written as arrays. What packb refuses is refused here too: sets,
// times of every kind, Decimal, UUID, complex, objects, and integers beyond 64
// bits.
package msgpack

import (
	"github.com/tinylib/msgp/msgp"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// Codec is kombu's msgpack serializer. Values that it makes in Fields keep the
// bytes of the document and are parsed when they are decoded; Append copies
// those bytes as they are.
var Codec serialization.Codec = codec{}

const format = "msgpack"

type codec struct{}

func (codec) Name() string            { return format }
func (codec) ContentType() string     { return "application/x-msgpack" }
func (codec) ContentEncoding() string { return "binary" }

// Decode decodes exactly one value. Bytes behind it are an error.
func (codec) Decode(data []byte) (any, error) {
	d := decoder{rest: data, size: len(data), left: serialization.MaxNodes}
	v, err := d.value(0)
	if err == nil && len(d.rest) > 0 {
		err = d.syntax("more than one value")
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Fields splits a map with text keys. The values are checked for their lengths
// and not decoded.
func (codec) Fields(dst []serialization.Field, data []byte) ([]serialization.Field, error) {
	d := decoder{rest: data, size: len(data)}
	count, rest, err := msgp.ReadMapHeaderBytes(data)
	if err != nil {
		return dst, d.failed(err)
	}
	for d.rest = rest; count > 0; count-- {
		field, err := d.field()
		if err != nil {
			return dst, err
		}
		dst = append(dst, field)
	}
	if len(d.rest) > 0 {
		return dst, d.syntax("more than one value")
	}
	return dst, nil
}

// Resolve decodes the bytes of a Value that Fields made.
func (c codec) Resolve(v serialization.Value) (any, error) { return c.Decode(v.Data) }

// Append writes v as msgpack-python's packb does: in the shortest form of each
// length and integer, and floats in 64 bits. A python.Dict keeps its order, a
// Go map is sorted by key.
func (codec) Append(dst []byte, v any) ([]byte, error) {
	e := encoder{out: dst, left: serialization.MaxNodes}
	if err := e.value(v, 0); err != nil {
		return dst, err
	}
	return e.out, nil
}
