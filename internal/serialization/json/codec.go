// Package json is kombu's json serializer: Python's dialect of JSON, byte for
// byte as json.dumps writes it, with kombu's envelopes for times, decimals,
// UUIDs and bytes.
package json

import (
	"fmt"

	"github.com/celeryresults/celeryresults/internal/serialization"
)

// Codec is kombu's json. It is safe for concurrent use.
//
// Append writes ASCII with the separators ", " and ": ", floats as Python's
// repr, NaN, Infinity and -Infinity as bare words, keys of a map[string]any in
// order, and a Dict as it stands, its int, float, bool and None keys turned
// into text. A tuple becomes a list. A [serialization.Value] of this codec is
// copied as it was read. Sets, timedeltas, complex numbers, classes, objects,
// times that Python cannot hold and text that is not UTF-8 are an error that
// wraps [serialization.ErrUnsupported].
//
// Decode reads what Python's json.loads reads, and refuses what it refuses.
// Integers keep all digits, a float that is too large is infinite, the last of
// several equal keys counts, and each lone surrogate is U+FFFD. An envelope of
// an unknown type, or with a value that does not suit its type, stays a
// [python.Envelope].
//
// Fields returns equal keys as often as they occur, and Values that hold JSON
// text in Data. It checks a value no further than to find its end: Decode of
// the Value does, and so does Append.
var Codec serialization.Codec = codec{}

type codec struct{}

var (
	errTooDeep = fmt.Errorf("json: %w: nested deeper than %d levels", serialization.ErrLimit, serialization.MaxDepth)
	errTooMany = fmt.Errorf("json: %w: more than %d values", serialization.ErrLimit, serialization.MaxNodes)
	errTooLong = fmt.Errorf("json: %w: integer of more than %d digits", serialization.ErrLimit, serialization.MaxDigits)
)

func (codec) Name() string            { return "json" }
func (codec) ContentType() string     { return "application/json" }
func (codec) ContentEncoding() string { return "utf-8" }

// The types of kombu's envelopes.
const (
	typeKey  = "__type__"
	valueKey = "__value__"

	typeDateTime = "datetime"
	typeDate     = "date"
	typeTime     = "time"
	typeDecimal  = "decimal"
	typeUUID     = "uuid"
	typeBytes    = "bytes"
	typeBase64   = "base64"
)
