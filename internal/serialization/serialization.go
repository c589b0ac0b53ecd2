// Package serialization declares what kombu calls a serializer: a codec
// between Python's values, as package python describes them, and bytes. The
// codecs are in the folders below; package registry finds them by name.
//
// Payloads are hostile until decoded. Every codec promises: nothing is
// executed, nothing is allocated by a length that the input only claims, depth
// and size are bounded by the limits here, and no input panics.
package serialization

import (
	"fmt"
	"unsafe"

	"github.com/celeryresults/celeryresults/python"
)

// Limits that hold in every codec.
const (
	// MaxDepth is the deepest nesting that is read or written.
	MaxDepth = 512

	// MaxNodes is the most values that one decoded tree may have. A few bytes
	// of pickle or YAML can claim billions by sharing.
	MaxNodes = 1 << 20

	// MaxDigits is the longest decimal integer, CPython's own default.
	MaxDigits = 4300
)

// Errors that callers act on. Test with errors.Is.
var (
	// ErrLimit is returned when a payload exceeds a limit of this package.
	ErrLimit = python.ErrLimit

	// ErrUnsupported is returned for a value that a format cannot hold.
	ErrUnsupported = python.ErrUnsupported
)

// SyntaxError is a payload that does not follow its format.
type SyntaxError struct {
	Format string // json, pickle, yaml, msgpack
	Offset int    // in bytes from the start, where it was noticed
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s: %s at byte %d", e.Format, e.Reason, e.Offset)
}

// Codec is one serializer. All codecs are stateless and safe for concurrent use.
type Codec interface {
	// Name is kombu's: json, pickle, yaml, msgpack.
	Name() string

	// ContentType is kombu's, such as application/json.
	ContentType() string

	// ContentEncoding is utf-8, or binary.
	ContentEncoding() string

	// Append appends the encoding of v to dst. On error it returns dst as it
	// was, and the error. v is any value that python.Plain accepts, a
	// python.Dict for an ordered mapping, or a Value, also inside a Dict, an
	// []any or a map[string]any.
	Append(dst []byte, v any) ([]byte, error)

	// Decode decodes the whole of data, which it does not keep.
	Decode(data []byte) (any, error)

	// Fields splits a top-level mapping with text keys into its entries,
	// appended to dst, without decoding their values. The Values keep data:
	// it must not change afterwards. Of entries with one name the last counts. Entries that were read before an error
	// are returned beside it. Data that is not such a mapping is an error.
	Fields(dst []Field, data []byte) ([]Field, error)

	// Resolve decodes a Value that this codec's Fields made.
	Resolve(v Value) (any, error)
}

// Field is one entry of a document.
type Field struct {
	Name  string
	Value Value
}

// Value is a value that may still be encoded: either Codec and what it needs
// (Data, or a Node of its own), or a Go value in Node with a nil Codec. The zero Value is None.
type Value struct {
	Codec Codec
	Data  []byte
	Node  any
}

// Decode returns the value as package python describes it. It is safe for
// concurrent use and decodes anew at each call.
func (v Value) Decode() (any, error) {
	if v.Codec == nil {
		return v.Node, nil
	}
	return v.Codec.Resolve(v)
}

// BytesOf returns a text that a client made for its caller alone as bytes, without
// copying it.
func BytesOf(text string) []byte {
	if text == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(text), len(text))
}
