package python

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A converter turns a value of one type, that is no pointer and no interface,
// into its plain form.
type converter func(p *plainer, v reflect.Value, depth int) (any, error)

var converters sync.Map // reflect.Type to converter

// reflected follows pointers and interfaces and converts what they lead to.
func (p *plainer) reflected(v reflect.Value, depth int) (any, error) {
	for range maxDepth {
		switch {
		case !v.IsValid():
			return nil, nil
		case keptPointers[v.Type()]:
			out, _, err := p.plain(v.Interface(), depth)
			return out, err
		case v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface:
			return converterOf(v.Type())(p, v, depth)
		}
		v = v.Elem()
	}
	return nil, errTooDeep
}

// element converts a part of a container.
func (p *plainer) element(v reflect.Value, depth int) (any, error) {
	if p.left--; p.left < 0 {
		return nil, fmt.Errorf("%w: more than %d values", ErrLimit, maxNodes)
	}
	return p.reflected(v, depth)
}

func converterOf(t reflect.Type) converter {
	if known, ok := converters.Load(t); ok {
		return known.(converter)
	}
	known, _ := converters.LoadOrStore(t, newConverter(t))
	return known.(converter)
}

func newConverter(t reflect.Type) converter {
	for _, find := range []func(reflect.Type) converter{converterByType, converterByMethods} {
		if c := find(t); c != nil {
			return c
		}
	}
	return converterByKind(t)
}

// keptPointers are the pointer types that are plain values themselves.
var keptPointers = map[reflect.Type]bool{
	reflect.TypeFor[*big.Int](): true,
	reflect.TypeFor[*Set]():     true,
	reflect.TypeFor[*Object]():  true,
}

// converterByType knows the types that have a meaning of their own.
func converterByType(t reflect.Type) converter {
	switch reflect.Zero(t).Interface().(type) {
	case time.Time, DateTime, Date, Time, Timedelta, Decimal, UUID, Class,
		Envelope, Tuple, Dict, []any, map[string]any:
		return convertTree
	case Set, Object, big.Int:
		return convertPointed
	case time.Duration:
		return convertDuration
	case json.Number:
		return convertNumber
	case json.RawMessage:
		return convertRawMessage
	}
	return nil
}

func convertTree(p *plainer, v reflect.Value, depth int) (any, error) {
	out, _, err := p.plain(v.Interface(), depth)
	return out, err
}

func convertPointed(p *plainer, v reflect.Value, depth int) (any, error) {
	out, _, err := p.plain(pointerTo(v), depth)
	return out, err
}

func convertDuration(_ *plainer, v reflect.Value, _ int) (any, error) {
	return TimedeltaOf(time.Duration(v.Int())), nil
}

func convertNumber(_ *plainer, v reflect.Value, _ int) (any, error) {
	return number(v.String())
}

func convertRawMessage(p *plainer, v reflect.Value, depth int) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	return p.fromJSON(v.Bytes(), depth)
}

// pointerTo returns a pointer to v, or to a copy where v has no address.
func pointerTo(v reflect.Value) any {
	if v.CanAddr() {
		return v.Addr().Interface()
	}
	c := reflect.New(v.Type())
	c.Elem().Set(v)
	return c.Interface()
}

// decimal has the methods by which a decimal type is recognized.
type decimal interface {
	Coefficient() *big.Int
	Exponent() int32
	String() string
}

var (
	errorType         = reflect.TypeFor[error]()
	decimalType       = reflect.TypeFor[decimal]()
	jsonMarshalerType = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

func hasMethods(t, iface reflect.Type) bool {
	return reflect.PointerTo(t).Implements(iface)
}

func converterByMethods(t reflect.Type) converter {
	switch {
	case hasMethods(t, errorType):
		return convertError
	case isByteArray(t) && t.Len() == len(UUID{}) && hasMethods(t, textMarshalerType):
		return convertUUID
	case hasMethods(t, decimalType):
		return convertDecimal
	case hasMethods(t, jsonMarshalerType):
		return convertMarshaler
	case hasMethods(t, textMarshalerType):
		return convertText
	}
	return nil
}

func isByteArray(t reflect.Type) bool {
	return t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8
}

func convertError(_ *plainer, v reflect.Value, _ int) (any, error) {
	return nil, fmt.Errorf("%w: %s is an error; store its text or its fields", ErrUnsupported, v.Type())
}

// convertUUID tells a UUID from another 16 byte identifier by its text.
func convertUUID(p *plainer, v reflect.Value, depth int) (any, error) {
	var id UUID
	reflect.Copy(reflect.ValueOf(id[:]), v)
	text, err := convertText(p, v, depth)
	if err != nil || !strings.EqualFold(text.(string), id.String()) {
		return text, err
	}
	return id, nil
}

// convertDecimal leaves the zeros of a huge exponent unwritten.
func convertDecimal(_ *plainer, v reflect.Value, _ int) (any, error) {
	d := pointerTo(v).(decimal)
	if e := d.Exponent(); e > maxDigits || e < -maxDigits {
		return Decimal(d.Coefficient().String() + "E" + strconv.Itoa(int(e))), nil
	}
	return Decimal(d.String()), nil
}

func convertMarshaler(p *plainer, v reflect.Value, depth int) (any, error) {
	text, err := marshaled(pointerTo(v).(json.Marshaler).MarshalJSON)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Type(), err)
	}
	return p.fromJSON(text, depth)
}

// marshaled calls a method of somebody else's, which may panic: those that an
// embedded nil pointer lends do.
func marshaled(method func() ([]byte, error)) (text []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: its method panicked: %v", ErrUnsupported, r)
		}
	}()
	return method()
}

func convertText(_ *plainer, v reflect.Value, _ int) (any, error) {
	text, err := marshaled(pointerTo(v).(encoding.TextMarshaler).MarshalText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Type(), err)
	}
	return string(text), nil
}

func (p *plainer) fromJSON(text []byte, depth int) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("JSON with more than one value")
	}
	out, _, err := p.plain(v, depth)
	return out, err
}

// number returns a JSON number as int64, *big.Int or float64.
func number(s string) (any, error) {
	if s == "" {
		return int64(0), nil
	}
	if strings.ContainsAny(s, ".eE") {
		return parseFloat(s)
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, nil
	}
	if len(s) > maxDigits {
		return nil, fmt.Errorf("%w: integer of more than %d digits", ErrLimit, maxDigits)
	}
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("%w: %q is not a number", ErrUnsupported, s)
	}
	return i, nil
}

// parseFloat is Python's float(): too large is infinite.
func parseFloat(s string) (any, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("%w: %q is not a number", ErrUnsupported, s)
	}
	return f, nil
}

func converterByKind(t reflect.Type) converter {
	switch k := t.Kind(); {
	case k == reflect.Bool:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return v.Bool(), nil }
	case reflect.Int <= k && k <= reflect.Int64:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return v.Int(), nil }
	case reflect.Uint <= k && k <= reflect.Uintptr:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return unsigned(v.Uint()), nil }
	case k == reflect.Float32 || k == reflect.Float64:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return v.Float(), nil }
	case k == reflect.Complex64 || k == reflect.Complex128:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return v.Complex(), nil }
	case k == reflect.String:
		return func(_ *plainer, v reflect.Value, _ int) (any, error) { return v.String(), nil }
	case k == reflect.Slice || k == reflect.Array:
		return sequenceConverter(t)
	case k == reflect.Map:
		return mapConverter(t)
	case k == reflect.Struct:
		return convertStruct
	}
	return func(*plainer, reflect.Value, int) (any, error) {
		return nil, fmt.Errorf("%w: %s has no Python form", ErrUnsupported, t)
	}
}

func unsigned(u uint64) any {
	if u <= math.MaxInt64 {
		return int64(u)
	}
	return new(big.Int).SetUint64(u)
}

func sequenceConverter(t reflect.Type) converter {
	switch {
	case t.Elem().Kind() != reflect.Uint8 || converterByMethods(t.Elem()) != nil:
		return convertSequence
	case t.Kind() == reflect.Array:
		return convertByteArray
	}
	return convertBytes
}

func convertBytes(_ *plainer, v reflect.Value, _ int) (any, error) {
	if v.IsNil() {
		return nil, nil
	}
	return v.Bytes(), nil
}

func convertByteArray(_ *plainer, v reflect.Value, _ int) (any, error) {
	out := make([]byte, v.Len())
	for i := range out {
		out[i] = byte(v.Index(i).Uint())
	}
	return out, nil
}

func convertSequence(p *plainer, v reflect.Value, depth int) (any, error) {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil, nil
	}
	if depth >= maxDepth {
		return nil, errTooDeep
	}
	out := make([]any, v.Len())
	for i := range out {
		item, err := p.element(v.Index(i), depth+1)
		if err != nil {
			return nil, atIndex(err, i)
		}
		out[i] = item
	}
	return out, nil
}

func mapConverter(t reflect.Type) converter {
	convert := convertMap
	if t.Key().Kind() == reflect.String {
		convert = convertTextMap
	}
	return func(p *plainer, v reflect.Value, depth int) (any, error) {
		switch {
		case v.IsNil():
			return nil, nil
		case depth >= maxDepth:
			return nil, errTooDeep
		}
		return convert(p, v, depth+1)
	}
}

func convertTextMap(p *plainer, v reflect.Value, depth int) (any, error) {
	out := make(map[string]any, v.Len())
	for it := v.MapRange(); it.Next(); {
		key := it.Key().String()
		value, err := p.element(it.Value(), depth)
		if err != nil {
			return nil, atKey(err, key)
		}
		out[key] = value
	}
	return out, nil
}

func convertMap(p *plainer, v reflect.Value, depth int) (any, error) {
	out := make(Dict, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		key, err := p.element(it.Key(), depth)
		if err != nil {
			return nil, located(err, "[key]")
		}
		value, err := p.element(it.Value(), depth)
		if err != nil {
			return nil, atKey(err, key)
		}
		out = append(out, Pair{key, value})
	}
	slices.SortFunc(out, func(a, b Pair) int { return compareKeys(a.Key, b.Key) })
	return out, nil
}

// compareKeys orders keys of one Go map: by type, then by value. Types without
// an order of their own go by their text.
func compareKeys(a, b any) int {
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return cmp.Compare(a, b)
		}
	case float64:
		if b, ok := b.(float64); ok {
			return cmp.Compare(a, b)
		}
	case *big.Int:
		if b, ok := b.(*big.Int); ok {
			return a.Cmp(b)
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b)
		}
	}
	return cmp.Or(cmp.Compare(typeName(a), typeName(b)), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
}

func convertStruct(p *plainer, v reflect.Value, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, errTooDeep
	}
	fields := fieldsOf(v.Type()).list
	out := make(Dict, 0, len(fields))
	for i := range fields {
		f := &fields[i]
		value, ok := f.of(v)
		if !ok || f.omits(value) {
			continue
		}
		item, err := p.element(value, depth+1)
		if err != nil {
			return nil, atKey(err, f.name)
		}
		out = append(out, Pair{f.name, item})
	}
	return out, nil
}

// typeName returns Python's name of the type of a plain value.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case complex128:
		return "complex"
	case string:
		return "str"
	case []byte:
		return "bytes"
	case []any:
		return "list"
	case Tuple:
		return "tuple"
	case map[string]any, Dict:
		return "dict"
	case *Set:
		return "set"
	case time.Time, DateTime:
		return "datetime"
	case Class:
		return "class"
	case *Object:
		return v.Class.String()
	case Envelope:
		return "envelope"
	}
	return strings.TrimPrefix(strings.ToLower(fmt.Sprintf("%T", v)), "python.")
}
