package python

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Assign puts value, a tree as the package documentation describes it or
// anything that [Plain] accepts, into the variable that dst points to. It works
// as json.Unmarshal does, but keeps to the types:
//
//   - nil (None) sets the zero value, and any takes the tree as it is.
//   - Structs take dicts by the field names and tags of encoding/json: by the
//     exact name, or else by one that differs in case. Other keys are ignored,
//     and fields without a key are left alone.
//   - Integers take ints and whole floats, floats take floats and the ints that
//     they can hold exactly. What is out of range is an error.
//   - Strings take str, Decimal, UUID and ISO 8601 forms of times; []byte takes
//     bytes, and str as UTF-8.
//   - Slices and arrays take lists, tuples and sets. Too long a list for an
//     array is an error, the rest of the array becomes zero.
//   - Maps take dicts and keep the entries they have. Keys that are text are
//     read as numbers if need be. A map to bool or struct{} takes a set.
//   - time.Time takes aware times, naive ones and dates as UTC, and ISO 8601
//     text; time.Duration takes a Timedelta, or seconds as int or float.
//   - Pointers are allocated. Types of this package take their own values, and
//     text in their own form.
//   - A type that implements encoding.TextUnmarshaler takes text, numbers,
//     decimals, UUIDs and times in their text form; one that implements
//     json.Unmarshaler takes the [JSON] of everything else. These methods count
//     before the kind of the type does.
//
// Errors are a *[ConversionError] that names the path: cannot put str into int
// at .items[3].price. What was assigned before the error stays. dst and value
// may share memory afterwards.
func Assign(dst any, value any) error {
	target := reflect.ValueOf(dst)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return &ConversionError{Err: fmt.Errorf("%w: %T is not a pointer to a variable", ErrUnsupported, dst)}
	}
	tree, err := Plain(value)
	if err != nil {
		return err
	}
	if err := assign(target.Elem(), tree); err != nil {
		return located(err, "")
	}
	return nil
}

// assign puts a plain value into dst, which is addressable.
func assign(dst reflect.Value, value any) error {
	if value == nil {
		dst.SetZero()
		return nil
	}
	dst, err := pointee(dst, value)
	if err != nil {
		return err
	}
	if v := reflect.ValueOf(value); dst.Kind() == reflect.Interface || v.Type() == dst.Type() {
		return set(dst, v)
	}
	pointer := dst.Addr().Interface()
	if done, err := assignKnown(pointer, value); done {
		return err
	}
	if done, err := assignByMethod(pointer, value); done {
		return err
	}
	return assignByKind(dst, value)
}

// pointee follows pointers, and allocates the missing ones, up to a variable
// of the type of value or one that is no pointer.
func pointee(dst reflect.Value, value any) (reflect.Value, error) {
	for range maxDepth {
		if dst.Kind() != reflect.Pointer || dst.Type() == reflect.TypeOf(value) {
			return dst, nil
		}
		if dst.IsNil() {
			dst.Set(reflect.New(dst.Type().Elem()))
		}
		dst = dst.Elem()
	}
	return dst, errTooDeep
}

func set(dst, v reflect.Value) error {
	if !v.Type().AssignableTo(dst.Type()) {
		return mismatch(dst, v.Interface())
	}
	dst.Set(v)
	return nil
}

func mismatch(dst reflect.Value, value any) error {
	return fmt.Errorf("cannot put %s into %s", typeName(value), dst.Type())
}

func outOfRange(dst reflect.Value, value any) error {
	return fmt.Errorf("%w: out of range", mismatch(dst, value))
}

// assignByMethod reports false for a type that has neither method.
func assignByMethod(pointer, value any) (done bool, err error) {
	if u, ok := pointer.(encoding.TextUnmarshaler); ok {
		if text, ok := textOf(value); ok {
			return true, refused(pointer, value, u.UnmarshalText([]byte(text)))
		}
	}
	if u, ok := pointer.(json.Unmarshaler); ok {
		return true, refused(pointer, value, u.UnmarshalJSON(JSON(nil, value)))
	}
	return false, nil
}

func refused(pointer, value any, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", mismatch(reflect.ValueOf(pointer).Elem(), value), err)
}

func assignByKind(dst reflect.Value, value any) error {
	switch k := dst.Kind(); {
	case k == reflect.Bool:
		return assignBool(dst, value)
	case reflect.Int <= k && k <= reflect.Int64:
		return assignInt(dst, value)
	case reflect.Uint <= k && k <= reflect.Uintptr:
		return assignUint(dst, value)
	case k == reflect.Float32 || k == reflect.Float64:
		return assignFloat(dst, value)
	case k == reflect.Complex64 || k == reflect.Complex128:
		return assignComplex(dst, value)
	case k == reflect.String:
		return assignString(dst, value)
	case k == reflect.Slice:
		return assignSlice(dst, value)
	case k == reflect.Array:
		return assignArray(dst, value)
	case k == reflect.Map:
		return assignMap(dst, value)
	case k == reflect.Struct:
		return assignStruct(dst, value)
	}
	return mismatch(dst, value)
}

// itemsOf returns the items of a list, tuple or set.
func itemsOf(value any) ([]any, bool) {
	switch v := value.(type) {
	case []any:
		return v, true
	case Tuple:
		return v, true
	case *Set:
		return v.Items, true
	}
	return nil, false
}

// bytesOf returns what a slice or array of bytes may be filled with.
func bytesOf(value any) ([]byte, bool) {
	switch v := value.(type) {
	case []byte:
		return v, true
	case string:
		return []byte(v), true
	case UUID:
		return v[:], true
	}
	return nil, false
}

func assignSlice(dst reflect.Value, value any) error {
	if b, ok := bytesOf(value); ok && dst.Type().Elem().Kind() == reflect.Uint8 {
		dst.SetBytes(b)
		return nil
	}
	items, ok := itemsOf(value)
	if !ok {
		return mismatch(dst, value)
	}
	dst.Set(reflect.MakeSlice(dst.Type(), len(items), len(items)))
	return assignItems(dst, items)
}

func assignArray(dst reflect.Value, value any) error {
	if b, ok := bytesOf(value); ok && dst.Type().Elem().Kind() == reflect.Uint8 {
		return assignByteArray(dst, b, value)
	}
	items, ok := itemsOf(value)
	if !ok {
		return mismatch(dst, value)
	}
	if len(items) > dst.Len() {
		return outOfRange(dst, value)
	}
	dst.SetZero()
	return assignItems(dst, items)
}

func assignByteArray(dst reflect.Value, b []byte, value any) error {
	if len(b) != dst.Len() {
		return outOfRange(dst, value)
	}
	for i, c := range b {
		dst.Index(i).SetUint(uint64(c))
	}
	return nil
}

func assignItems(dst reflect.Value, items []any) error {
	for i, item := range items {
		if err := assign(dst.Index(i), item); err != nil {
			return atIndex(err, i)
		}
	}
	return nil
}

// assignMap takes dicts, and sets where the values of the map say no more than
// that the key is there.
func assignMap(dst reflect.Value, value any) error {
	if dst.IsNil() {
		switch value.(type) {
		case map[string]any, Dict, *Set:
			dst.Set(reflect.MakeMap(dst.Type()))
		}
	}
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			if err := assignEntry(dst, key, item); err != nil {
				return err
			}
		}
		return nil
	case Dict:
		for _, p := range v {
			if err := assignEntry(dst, p.Key, p.Value); err != nil {
				return err
			}
		}
		return nil
	case *Set:
		return assignMembers(dst, v)
	}
	return mismatch(dst, value)
}

func assignEntry(dst reflect.Value, key, value any) error {
	k := reflect.New(dst.Type().Key()).Elem()
	if err := assignKey(k, key); err != nil {
		return atKey(err, key)
	}
	v := reflect.New(dst.Type().Elem()).Elem()
	if err := assign(v, value); err != nil {
		return atKey(err, key)
	}
	dst.SetMapIndex(k, v)
	return nil
}

// assignKey also reads a number from a text: json keeps no other keys.
func assignKey(dst reflect.Value, key any) error {
	text, isText := key.(string)
	if isText && reflect.Int <= dst.Kind() && dst.Kind() <= reflect.Float64 {
		if _, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); !ok {
			n, err := number(text)
			if err != nil {
				return mismatch(dst, key)
			}
			key = n
		}
	}
	if err := assign(dst, key); err != nil {
		return err
	}
	if !dst.Comparable() {
		return mismatch(dst, key)
	}
	return nil
}

var errNoMember = errors.New("a set needs a map to bool or struct{}")

func assignMembers(dst reflect.Value, s *Set) error {
	member := reflect.New(dst.Type().Elem()).Elem()
	switch {
	case member.Kind() == reflect.Bool:
		member.SetBool(true)
	case member.Kind() != reflect.Struct || member.NumField() > 0:
		return fmt.Errorf("%w: %w", mismatch(dst, s), errNoMember)
	}
	for _, item := range s.Items {
		k := reflect.New(dst.Type().Key()).Elem()
		if err := assignKey(k, item); err != nil {
			return located(err, "[member]")
		}
		dst.SetMapIndex(k, member)
	}
	return nil
}

func assignStruct(dst reflect.Value, value any) error {
	fields := fieldsOf(dst.Type())
	switch v := value.(type) {
	case map[string]any:
		return assignFields(dst, fields, v)
	case Dict:
		return assignFields(dst, fields, v.texts())
	}
	return mismatch(dst, value)
}

// texts returns the entries with text keys.
func (d Dict) texts() map[string]any {
	m := make(map[string]any, len(d))
	for _, p := range d {
		if key, ok := p.Key.(string); ok {
			m[key] = p.Value
		}
	}
	return m
}

// assignFields goes through the exact names, then through the names in other
// case of the fields that are left, in order.
func assignFields(dst reflect.Value, fields *structFields, values map[string]any) error {
	var others []string
	for key, value := range values {
		f := fields.byName[key]
		if f == nil {
			others = append(others, key)
			continue
		}
		if err := assignField(dst, f, key, value); err != nil {
			return err
		}
	}
	slices.Sort(others)
	done := map[*field]bool{}
	for _, key := range others {
		f := fields.fold(key)
		if f == nil || done[f] || has(values, f.name) {
			continue
		}
		done[f] = true
		if err := assignField(dst, f, key, values[key]); err != nil {
			return err
		}
	}
	return nil
}

func has(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

func assignField(dst reflect.Value, f *field, key string, value any) error {
	v, err := f.make(dst)
	if err == nil {
		err = assign(v, value)
	}
	if err != nil {
		return atKey(err, key)
	}
	return nil
}
