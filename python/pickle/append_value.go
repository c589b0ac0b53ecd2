package pickle

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/celeryresults/celeryresults/python"
)

// value writes any value.
func (e *encoder) value(v any) error {
	if e.tooMany() {
		return limitError("number of values")
	}
	switch v := v.(type) {
	case nil:
		e.op(opNone)
	case bool:
		e.bool(v)
	case string:
		return e.text(v)
	case int:
		e.int(int64(v))
	case int64:
		e.int(v)
	case float64:
		e.float(v)
	case []byte:
		e.byteSlice(v)
	case int8:
		e.int(int64(v))
	case int16:
		e.int(int64(v))
	case int32:
		e.int(int64(v))
	case uint8:
		e.int(int64(v))
	case uint16:
		e.int(int64(v))
	case uint32:
		e.int(int64(v))
	case uint:
		return e.uint(uint64(v))
	case uint64:
		return e.uint(v)
	case float32:
		e.float(float64(v))
	default:
		return e.container(v)
	}
	return nil
}

// container writes the values that hold others.
func (e *encoder) container(v any) error {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return e.value(nil)
		}
		return textMap(e, v, e.value)
	case []any:
		if v == nil {
			return e.value(nil)
		}
		return sequence(e, v, e.value)
	case python.Tuple:
		return e.tuple(v)
	case python.Dict:
		return e.dict(v)
	case []python.Pair:
		return e.dict(v)
	case *python.Set:
		return e.set(v)
	case []string:
		return sequence(e, v, e.text)
	case map[string]string:
		return textMap(e, v, e.text)
	}
	return e.named(v)
}

// named writes the values that Python holds as instances of a class.
func (e *encoder) named(v any) error {
	switch v := v.(type) {
	case time.Time:
		return e.time(v)
	case python.DateTime:
		return e.dateTime(v)
	case python.Date:
		return e.date(v)
	case python.Time:
		return e.clock(v)
	case python.Timedelta:
		return e.timedelta(v)
	case python.Decimal:
		return e.decimal(v)
	case python.UUID:
		e.uuid(v)
		return nil
	case complex128:
		e.complex(v)
		return nil
	case *big.Int:
		return e.bigInt(v)
	case python.Class:
		return e.class(v)
	case *python.Object:
		return e.object(v, false)
	case Trusted:
		return e.object(v.Object, true)
	case python.Envelope:
		return e.dict(python.Dict{{Key: "__type__", Value: v.Type}, {Key: "__value__", Value: v.Value}})
	}
	return e.other(v)
}

// other writes a value in its plain form.
func (e *encoder) other(v any) error {
	if lazy, ok := v.(Lazy); ok {
		return e.lazy(lazy)
	}
	plain, err := python.Plain(v)
	if err != nil {
		return fmt.Errorf("pickle: %w", err)
	}
	if err := e.enter(); err != nil {
		return err
	}
	err = e.value(plain)
	e.leave()
	return err
}

func (e *encoder) bool(b bool) {
	if b {
		e.op(opNewTrue)
	} else {
		e.op(opNewFalse)
	}
}

func (e *encoder) int(i int64) {
	switch {
	case i >= 0 && i <= math.MaxUint8:
		e.op(opBinInt1, byte(i))
	case i >= 0 && i <= math.MaxUint16:
		e.op(opBinInt2, byte(i), byte(i>>8))
	case i >= math.MinInt32 && i <= math.MaxInt32:
		e.op(opBinInt)
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(i))
	default:
		e.long(i)
	}
}

// long writes i in the fewest bytes that keep its sign.
func (e *encoder) long(i int64) {
	n := 8
	for n > 1 && i>>(8*n-9) == i>>63 {
		n--
	}
	e.op(opLong1, byte(n))
	e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(i))
	e.buf = e.buf[:len(e.buf)-8+n]
}

func (e *encoder) uint(u uint64) error {
	if u > math.MaxInt64 {
		return e.bigInt(new(big.Int).SetUint64(u))
	}
	e.int(int64(u))
	return nil
}

func (e *encoder) bigInt(n *big.Int) error {
	switch {
	case n == nil:
		e.op(opNone)
	case n.IsInt64():
		e.int(n.Int64())
	case n.BitLen() >= 8*maxLong:
		return limitError("digits of an integer")
	default:
		e.longBytes(twosComplement(n))
	}
	return nil
}

// twosComplement returns n in the fewest little-endian bytes that keep its
// sign.
func twosComplement(n *big.Int) []byte {
	m := n
	if n.Sign() < 0 {
		m = new(big.Int).Not(n)
	}
	b := m.FillBytes(make([]byte, m.BitLen()/8+1))
	slices.Reverse(b)
	if n.Sign() < 0 {
		for i := range b {
			b[i] = ^b[i]
		}
	}
	return b
}

func (e *encoder) longBytes(b []byte) {
	e.sized(len(b), opLong1, opLong4, 0)
	e.buf = append(e.buf, b...)
}

func (e *encoder) float(f float64) {
	e.op(opBinFloat)
	e.buf = binary.BigEndian.AppendUint64(e.buf, math.Float64bits(f))
}

// sized writes the opcode and the length of what follows, in one, four or
// eight bytes.
func (e *encoder) sized(n int, short, long, huge byte) {
	switch {
	case n <= math.MaxUint8:
		e.op(short, byte(n))
	case uint64(n) <= math.MaxUint32:
		e.op(long)
		e.buf = binary.LittleEndian.AppendUint32(e.buf, uint32(n))
	default:
		e.op(huge)
		e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(n))
	}
}

func (e *encoder) text(s string) error {
	if !utf8.ValidString(s) {
		return unsupportedError("text that is not UTF-8")
	}
	e.constant(s)
	return nil
}

// constant writes text that is known to be UTF-8.
func (e *encoder) constant(s string) {
	e.sized(len(s), opShortBinUnicode, opBinUnicode, opBinUnicode8)
	e.buf = append(e.buf, s...)
	e.op(opMemoize)
}

func (e *encoder) byteSlice(b []byte) {
	if b == nil {
		e.op(opNone)
		return
	}
	e.binary(b)
}

func (e *encoder) binary(b []byte) {
	e.sized(len(b), opShortBinBytes, opBinBytes, opBinBytes8)
	e.buf = append(e.buf, b...)
	e.op(opMemoize)
}

func (e *encoder) dict(pairs []python.Pair) error {
	if err := e.openDict(); err != nil {
		return err
	}
	defer e.leave()
	return e.assign(pairs)
}

// assign writes the entries of the dict or object on top of the stack.
func (e *encoder) assign(pairs []python.Pair) error {
	return e.ordered(len(pairs), opSetItem, opSetItems, func(i int) error {
		if err := e.key(pairs[i].Key); err != nil {
			return err
		}
		return e.value(pairs[i].Value)
	})
}

func (e *encoder) set(s *python.Set) error {
	switch {
	case s == nil:
		e.op(opNone)
		return nil
	case !s.Frozen && e.hashed:
		return unsupportedError("set as a dict's key or in a set")
	}
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	if s.Frozen {
		return e.frozenSet(s.Items)
	}
	e.op(opEmptySet, opMemoize)
	return e.ordered(len(s.Items), 0, opAddItems, func(i int) error { return e.key(s.Items[i]) })
}

func (e *encoder) frozenSet(items []any) error {
	e.op(opMark)
	for _, item := range items {
		if err := e.key(item); err != nil {
			return err
		}
	}
	e.op(opFrozenSet, opMemoize)
	return nil
}
