package msgpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// maxReserve is the most items that are reserved because a header claims them.
// Beyond it a container grows as its items are read.
const maxReserve = 64

// decoder walks one document.
type decoder struct {
	rest []byte
	size int // of the whole document
	left int // values that may still be made
}

func (d *decoder) syntax(reason string) error {
	return &serialization.SyntaxError{Format: format, Offset: d.size - len(d.rest), Reason: reason}
}

// failed returns what msgp reports as a SyntaxError.
func (d *decoder) failed(err error) error {
	if errors.Is(err, msgp.ErrShortBytes) {
		return d.syntax("the data ends too early")
	}
	if errors.Is(err, msgp.ErrRecursion) {
		return limitError("nested too deeply")
	}
	return d.syntax(strings.TrimPrefix(err.Error(), "msgp: "))
}

func limitError(what string) error {
	return fmt.Errorf("msgpack: %w: %s", serialization.ErrLimit, what)
}

// take moves on to what a reading function of msgp left over.
func take[T any](d *decoder, v T, rest []byte, err error) (T, error) {
	if err != nil {
		return v, d.failed(err)
	}
	d.rest = rest
	return v, nil
}

// asAny drops the type of a result, so that a failure is a nil any.
func asAny[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (d *decoder) value(depth int) (any, error) {
	if depth > serialization.MaxDepth {
		return nil, limitError("nested too deeply")
	}
	if d.left--; d.left < 0 {
		return nil, limitError("more than " + strconv.Itoa(serialization.MaxNodes) + " values")
	}
	switch msgp.NextType(d.rest) {
	case msgp.MapType:
		return d.mapping(depth)
	case msgp.ArrayType:
		return asAny(d.array(depth))
	case msgp.StrType:
		return asAny(d.text())
	case msgp.ExtensionType, msgp.TimeType, msgp.Complex64Type, msgp.Complex128Type:
		return d.extension()
	}
	return d.atom()
}

// atom decodes a value without parts.
func (d *decoder) atom() (any, error) {
	switch msgp.NextType(d.rest) {
	case msgp.NilType:
		rest, err := msgp.ReadNilBytes(d.rest)
		return take[any](d, nil, rest, err)
	case msgp.BoolType:
		v, rest, err := msgp.ReadBoolBytes(d.rest)
		return asAny(take(d, v, rest, err))
	case msgp.IntType:
		v, rest, err := msgp.ReadInt64Bytes(d.rest)
		return asAny(take(d, v, rest, err))
	case msgp.UintType:
		return d.unsigned()
	case msgp.Float32Type, msgp.Float64Type:
		v, rest, err := msgp.ReadFloat64Bytes(d.rest)
		return asAny(take(d, v, rest, err))
	case msgp.BinType:
		v, rest, err := msgp.ReadBytesBytes(d.rest, []byte{})
		return asAny(take(d, v, rest, err))
	}
	if len(d.rest) == 0 {
		return nil, d.failed(msgp.ErrShortBytes)
	}
	return nil, d.syntax("a byte that starts no value")
}

func (d *decoder) unsigned() (any, error) {
	v, rest, err := msgp.ReadUint64Bytes(d.rest)
	if v > math.MaxInt64 {
		return asAny(take(d, new(big.Int).SetUint64(v), rest, err))
	}
	return asAny(take(d, int64(v), rest, err))
}

func (d *decoder) text() (string, error) {
	v, rest, err := msgp.ReadStringZC(d.rest)
	if _, err := take(d, v, rest, err); err != nil {
		return "", err
	}
	return strings.ToValidUTF8(string(v), "\uFFFD"), nil
}

func (d *decoder) array(depth int) ([]any, error) {
	count, rest, err := msgp.ReadArrayHeaderBytes(d.rest)
	if _, err := take(d, count, rest, err); err != nil {
		return nil, err
	}
	items := make([]any, 0, min(count, maxReserve))
	for ; count > 0; count-- {
		item, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// mapping returns a map[string]any, or a python.Dict when a key is not text.
func (d *decoder) mapping(depth int) (any, error) {
	count, rest, err := msgp.ReadMapHeaderBytes(d.rest)
	if _, err := take(d, count, rest, err); err != nil {
		return nil, err
	}
	pairs := make(python.Dict, 0, min(count, maxReserve))
	text := true
	for ; count > 0; count-- {
		pair, err := d.pair(depth + 1)
		if err != nil {
			return nil, err
		}
		_, isText := pair.Key.(string)
		text = text && isText
		pairs = append(pairs, pair)
	}
	if !text {
		return d.unique(pairs)
	}
	entries := make(map[string]any, len(pairs))
	for _, pair := range pairs {
		entries[pair.Key.(string)] = pair.Value
	}
	return entries, nil
}

func (d *decoder) pair(depth int) (pair python.Pair, err error) {
	if pair.Key, err = d.value(depth); err != nil {
		return pair, err
	}
	pair.Value, err = d.value(depth)
	return pair, err
}

// unique keeps of every key the first position and the last value, as a
// Python dict does.
func (d *decoder) unique(pairs python.Dict) (any, error) {
	index := make(map[any]int, len(pairs))
	dict := pairs[:0]
	for _, pair := range pairs {
		id, ok := identity(pair.Key)
		if !ok {
			return nil, d.syntax("a map with a key that cannot be hashed")
		}
		if at, seen := index[id]; seen {
			dict[at].Value = pair.Value
			continue
		}
		index[id] = len(dict)
		dict = append(dict, pair)
	}
	return dict, nil
}

type (
	bytesKey string
	bigKey   string
	instant  struct{ seconds, nanoseconds int64 }
)

// identity returns what tells a dict's keys apart: equal numbers are one key
// whatever their type. It reports false for what Python cannot hash.
func identity(key any) (any, bool) {
	switch key := key.(type) {
	case nil, string, int64, *python.Object:
		return key, true
	case bool:
		if key {
			return int64(1), true
		}
		return int64(0), true
	case float64:
		if whole := int64(key); float64(whole) == key {
			return whole, true
		}
		return key, true
	case []byte:
		return bytesKey(key), true
	case *big.Int:
		return bigKey(key.String()), true
	case time.Time:
		return instant{key.Unix(), int64(key.Nanosecond())}, true
	}
	return nil, false
}

// field reads a text key and the extent of its value.
func (d *decoder) field() (field serialization.Field, err error) {
	if msgp.NextType(d.rest) != msgp.StrType {
		return field, d.syntax("a key that is not text")
	}
	if field.Name, err = d.text(); err != nil {
		return field, err
	}
	field.Value.Codec = Codec
	field.Value.Data, err = d.span()
	return field, err
}

// span skips one value and returns its bytes.
func (d *decoder) span() ([]byte, error) {
	start := d.rest
	rest, err := msgp.Skip(start)
	if _, err := take(d, start, rest, err); err != nil {
		return nil, err
	}
	size := len(start) - len(rest)
	return start[:size:size], nil
}

// extension decodes a timestamp, or leaves an application's type as it is.
func (d *decoder) extension() (any, error) {
	span, err := d.span()
	if err != nil {
		return nil, err
	}
	head := extensionHead(span[0])
	code, payload := int8(span[head-1]), span[head:]
	if t, ok := timestamp(payload); code == msgp.MsgTimeExtension && ok {
		return t, nil
	}
	class := python.Class{Module: "msgpack", Name: "ExtType"}
	return &python.Object{Class: class, Args: python.Tuple{int64(code), append([]byte{}, payload...)}}, nil
}

// extensionHead returns how many bytes come before an extension's payload. The
// last of them is its code.
func extensionHead(lead byte) int {
	switch lead {
	case 0xc7:
		return 3
	case 0xc8:
		return 4
	case 0xc9:
		return 6
	}
	return 2
}

// timestamp decodes the payload of extension -1 in its three sizes. It reports
// false for a time that Python's datetime could not hold.
func timestamp(b []byte) (time.Time, bool) {
	var seconds, nanoseconds int64
	switch len(b) {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		both := binary.BigEndian.Uint64(b)
		seconds, nanoseconds = int64(both&(1<<34-1)), int64(both>>34)
	case 12:
		seconds, nanoseconds = int64(binary.BigEndian.Uint64(b[4:])), int64(binary.BigEndian.Uint32(b))
	default:
		return time.Time{}, false
	}
	const first, last = -62135596800, 253402300799 // years 1 to 9999
	if seconds < first || seconds > last || nanoseconds > 999_999_999 {
		return time.Time{}, false
	}
	return time.Unix(seconds, nanoseconds).UTC(), true
}
