package python

import (
	"encoding/json"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// assignKnown assigns to the types that have a meaning of their own. It
// reports false for others, and for values that are left to the kind.
func assignKnown(pointer, value any) (done bool, err error) {
	ok := false
	switch p := pointer.(type) {
	case *time.Time:
		*p, ok = timeOf(value)
	case *time.Duration:
		*p, ok = durationOf(value)
	case *DateTime:
		p.Time, ok = timeOf(value)
		p.Time = p.UTC()
	case *Date:
		*p, ok = parsed(value, ParseDate)
	case *Time:
		*p, ok = parsed(value, ParseTime)
	case *UUID:
		*p, ok = uuidOf(value)
	case *Decimal:
		*p, ok = decimalOf(value)
	case *Timedelta, *Class, *Object, *Envelope:
		ok = copied(pointer, value)
	case *Tuple:
		*p, ok = itemsOf(value)
	case *Set:
		ok = copied(pointer, value)
		if items, isList := itemsOf(value); isList && !ok {
			p.Items, ok = items, true
		}
	case *Dict:
		*p, ok = dictOf(value)
	case *json.Number:
		*p, ok = numberOf(value)
	default:
		return false, nil
	}
	if !ok {
		return true, mismatch(reflect.ValueOf(pointer).Elem(), value)
	}
	return true, nil
}

// copied sets what pointer points to from a pointer of the same type.
func copied(pointer, value any) bool {
	if reflect.TypeOf(pointer) != reflect.TypeOf(value) {
		return false
	}
	reflect.ValueOf(pointer).Elem().Set(reflect.ValueOf(value).Elem())
	return true
}

func parsed[T any](value any, parse func(string) (T, error)) (T, bool) {
	text, ok := value.(string)
	v, err := parse(text)
	return v, ok && err == nil
}

func timeOf(value any) (time.Time, bool) {
	switch v := value.(type) {
	case time.Time:
		return v, true
	case DateTime:
		return v.Time, true
	case Date:
		return v.In(time.UTC), true
	case string:
		t, _, err := ParseISO(v)
		return t, err == nil
	}
	return time.Time{}, false
}

// durationOf reads numbers as seconds.
func durationOf(value any) (time.Duration, bool) {
	switch v := value.(type) {
	case Timedelta:
		return v.Duration()
	case int64:
		return time.Duration(v) * time.Second, v >= -maxSeconds && v <= maxSeconds
	case float64:
		return time.Duration(math.Round(v * 1e9)), math.Abs(v) < float64(maxSeconds)
	}
	return 0, false
}

// maxSeconds is the longest time.Duration.
const maxSeconds = int64(math.MaxInt64 / time.Second)

func uuidOf(value any) (UUID, bool) {
	if b, ok := value.([]byte); ok && len(b) == len(UUID{}) {
		return UUID(b), true
	}
	return parsed(value, ParseUUID)
}

func decimalOf(value any) (Decimal, bool) {
	switch v := value.(type) {
	case int64:
		return Decimal(strconv.FormatInt(v, 10)), true
	case *big.Int:
		return Decimal(v.String()), true
	}
	return parsed(value, ParseDecimal)
}

func dictOf(value any) (Dict, bool) {
	m, ok := value.(map[string]any)
	d := make(Dict, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		d = append(d, Pair{key, m[key]})
	}
	return d, ok
}

func numberOf(value any) (json.Number, bool) {
	switch v := value.(type) {
	case int64, *big.Int:
		text, _ := textOf(v)
		return json.Number(text), true
	case float64:
		text, _ := textOf(v)
		return json.Number(text), v-v == 0
	case Decimal:
		f, err := strconv.ParseFloat(string(v), 64)
		return json.Number(v), err == nil && f-f == 0
	}
	return "", false
}

// textOf returns the text form of values that have one.
func textOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case int64:
		return strconv.FormatInt(v, 10), true
	case *big.Int:
		return v.String(), true
	case float64:
		return string(AppendFloat(nil, v)), true
	}
	return stringOf(value)
}

// stringOf returns what a Go string may be filled with.
func stringOf(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case Decimal:
		return string(v), true
	case UUID:
		return v.String(), true
	case time.Time:
		return string(AppendISO(nil, v)), true
	case DateTime:
		return v.String(), true
	case Date:
		return v.String(), true
	case Time:
		return v.String(), true
	}
	return "", false
}

func assignString(dst reflect.Value, value any) error {
	s, ok := stringOf(value)
	if !ok {
		return mismatch(dst, value)
	}
	dst.SetString(s)
	return nil
}

func assignBool(dst reflect.Value, value any) error {
	b, ok := value.(bool)
	if !ok {
		return mismatch(dst, value)
	}
	dst.SetBool(b)
	return nil
}

// integerOf returns an int, or a float without a fraction, as an integer.
func integerOf(value any) (*big.Int, bool) {
	switch v := value.(type) {
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	case float64:
		if v != math.Trunc(v) || v-v != 0 {
			return nil, false
		}
		i, _ := big.NewFloat(v).Int(nil)
		return i, true
	}
	return nil, false
}

func assignInt(dst reflect.Value, value any) error {
	if i, ok := value.(int64); ok && !dst.OverflowInt(i) {
		dst.SetInt(i)
		return nil
	}
	i, ok := integerOf(value)
	switch {
	case !ok:
		return mismatch(dst, value)
	case !i.IsInt64() || dst.OverflowInt(i.Int64()):
		return outOfRange(dst, value)
	}
	dst.SetInt(i.Int64())
	return nil
}

func assignUint(dst reflect.Value, value any) error {
	i, ok := integerOf(value)
	switch {
	case !ok:
		return mismatch(dst, value)
	case !i.IsUint64() || dst.OverflowUint(i.Uint64()):
		return outOfRange(dst, value)
	}
	dst.SetUint(i.Uint64())
	return nil
}

// assignFloat rounds a float to the size of dst, but takes no inexact int.
func assignFloat(dst reflect.Value, value any) error {
	if f, ok := value.(float64); ok {
		if f-f == 0 && dst.OverflowFloat(f) {
			return outOfRange(dst, value)
		}
		dst.SetFloat(f)
		return nil
	}
	i, ok := integerOf(value)
	if !ok {
		return mismatch(dst, value)
	}
	f, exact := new(big.Float).SetInt(i).Float64()
	if dst.Kind() == reflect.Float32 && float64(float32(f)) != f || exact != big.Exact {
		return outOfRange(dst, value)
	}
	dst.SetFloat(f)
	return nil
}

func assignComplex(dst reflect.Value, value any) error {
	c, ok := value.(complex128)
	if !ok {
		var f float64
		if assignFloat(reflect.ValueOf(&f).Elem(), value) != nil {
			return mismatch(dst, value)
		}
		c = complex(f, 0)
	}
	if dst.OverflowComplex(c) {
		return outOfRange(dst, value)
	}
	dst.SetComplex(c)
	return nil
}
