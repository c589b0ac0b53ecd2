package msgpack

import (
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/tinylib/msgp/msgp"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/python"
)

// encoder appends values to out.
type encoder struct {
	out  []byte
	left int // values that may still be written
}

func (e *encoder) value(v any, depth int) error {
	if e.left--; e.left < 0 || depth > serialization.MaxDepth {
		return limitError("a value that is too large or nested too deeply")
	}
	switch v := v.(type) {
	case serialization.Value:
		return e.encoded(v, depth)
	case map[string]any:
		return e.entries(v, depth)
	case python.Dict:
		return e.dict(v, depth)
	case []any:
		return e.list(v, depth)
	case python.Tuple:
		return e.items(v, depth)
	}
	if e.atom(v) {
		return nil
	}
	return e.other(v, depth)
}

// atom writes a value without parts, if v is one.
func (e *encoder) atom(v any) bool {
	switch v := v.(type) {
	case nil:
		e.out = msgp.AppendNil(e.out)
	case bool:
		e.out = msgp.AppendBool(e.out, v)
	case string:
		e.out = msgp.AppendString(e.out, strings.ToValidUTF8(v, "\uFFFD"))
	case int64:
		e.integer(v)
	case int:
		e.integer(int64(v))
	case float64:
		e.float(v)
	default:
		return false
	}
	return true
}

func (e *encoder) integer(n int64) {
	if n >= 0 {
		e.out = msgp.AppendUint64(e.out, uint64(n))
		return
	}
	e.out = msgp.AppendInt64(e.out, n)
}

// float writes 64 bits. Every NaN is written as Python's own.
func (e *encoder) float(f float64) {
	if f != f {
		f = math.Float64frombits(0x7ff8 << 48)
	}
	e.out = msgp.AppendFloat64(e.out, f)
}

func (e *encoder) list(items []any, depth int) error {
	if items == nil {
		e.out = msgp.AppendNil(e.out)
		return nil
	}
	return e.items(items, depth)
}

func (e *encoder) items(items []any, depth int) error {
	e.out = msgp.AppendArrayHeader(e.out, uint32(len(items)))
	for _, item := range items {
		if err := e.value(item, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) entries(m map[string]any, depth int) error {
	if m == nil {
		e.out = msgp.AppendNil(e.out)
		return nil
	}
	e.out = msgp.AppendMapHeader(e.out, uint32(len(m)))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		e.atom(key)
		if err := e.value(m[key], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) dict(dict python.Dict, depth int) error {
	e.out = msgp.AppendMapHeader(e.out, uint32(len(dict)))
	for _, pair := range dict {
		if !hashable(pair.Key) {
			return fmt.Errorf("msgpack: %w: a map with a key of type %T, which no reader takes", serialization.ErrUnsupported, pair.Key)
		}
		if err := e.value(pair.Key, depth+1); err != nil {
			return err
		}
		if err := e.value(pair.Value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// hashable reports whether Python can use a key once it has been read back.
func hashable(key any) bool {
	switch key.(type) {
	case nil, bool, string, []byte, int, int64, uint64, float64, *big.Int:
		return true
	}
	return false
}

// encoded writes a Value: its bytes if they are msgpack already.
func (e *encoder) encoded(v serialization.Value, depth int) error {
	if v.Codec == Codec && len(v.Data) > 0 {
		e.out = append(e.out, v.Data...)
		return nil
	}
	decoded, err := v.Decode()
	if err != nil {
		return fmt.Errorf("msgpack: %w", err)
	}
	return e.value(decoded, depth+1)
}

// other writes what package python makes of v.
func (e *encoder) other(v any, depth int) error {
	plain, err := python.Plain(v)
	if err != nil {
		return fmt.Errorf("msgpack: %w", err)
	}
	switch plain := plain.(type) {
	case []byte:
		e.out = msgp.AppendBytes(e.out, plain)
		return nil
	case *big.Int:
		return e.bigInteger(plain)
	case map[string]any, python.Dict, []any, python.Tuple:
		return e.value(plain, depth)
	}
	if e.atom(plain) {
		return nil
	}
	return fmt.Errorf("msgpack: %w: %T", serialization.ErrUnsupported, plain)
}

func (e *encoder) bigInteger(n *big.Int) error {
	switch {
	case n.IsInt64():
		e.integer(n.Int64())
	case n.IsUint64():
		e.out = msgp.AppendUint64(e.out, n.Uint64())
	default:
		return fmt.Errorf("msgpack: %w: an integer of %d bits", serialization.ErrUnsupported, n.BitLen())
	}
	return nil
}
