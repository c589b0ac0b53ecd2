package python

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is one entry of a struct as encoding/json would name it.
type field struct {
	name      string
	index     []int // the way there through embedded structs
	tagged    bool
	omitEmpty bool
	omitZero  bool
}

// structFields are the fields of one struct type in the order of declaration.
type structFields struct {
	list   []field
	byName map[string]*field
	byFold map[string]*field // by the name in lower case, the first of several
}

var structs sync.Map // reflect.Type to *structFields

func fieldsOf(t reflect.Type) *structFields {
	if known, ok := structs.Load(t); ok {
		return known.(*structFields)
	}
	known, _ := structs.LoadOrStore(t, newStructFields(t))
	return known.(*structFields)
}

func newStructFields(t reflect.Type) *structFields {
	all := collectFields(nil, t, nil, nil)
	s := &structFields{byName: make(map[string]*field), byFold: make(map[string]*field)}
	for i, f := range all {
		if dominates(all, i) {
			s.list = append(s.list, f)
		}
	}
	for i := range s.list {
		f := &s.list[i]
		s.byName[f.name] = f
		if s.fold(f.name) == nil {
			s.byFold[strings.ToLower(f.name)] = f
		}
	}
	return s
}

// fold returns the field of that name in whatever case, or nil.
func (s *structFields) fold(name string) *field { return s.byFold[strings.ToLower(name)] }

// collectFields appends the fields of t, and of the structs embedded in it.
// The types in path are being collected already.
func collectFields(all []field, t reflect.Type, index []int, path []reflect.Type) []field {
	if slices.Contains(path, t) {
		return all
	}
	path = append(path, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		f := newField(sf, append(slices.Clone(index), i))
		embedded := embeddedStruct(sf)
		switch {
		case sf.Tag.Get("json") == "-":
		case embedded != nil && !f.tagged:
			all = collectFields(all, embedded, f.index, path)
		case sf.IsExported():
			all = append(all, f)
		}
	}
	return all
}

func newField(sf reflect.StructField, index []int) field {
	name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
	list := strings.Split(options, ",")
	return field{
		name:      cmp.Or(name, sf.Name),
		index:     index,
		tagged:    name != "",
		omitEmpty: slices.Contains(list, "omitempty"),
		omitZero:  slices.Contains(list, "omitzero"),
	}
}

// embeddedStruct returns the struct type that sf embeds, or nil.
func embeddedStruct(sf reflect.StructField) reflect.Type {
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !sf.Anonymous || t.Kind() != reflect.Struct {
		return nil
	}
	return t
}

// dominates tells whether all[i] is the field that its name stands for: the
// least deeply embedded one, then the one with a tag. A tie hides them all.
func dominates(all []field, i int) bool {
	f := all[i]
	for j, other := range all {
		if j == i || other.name != f.name {
			continue
		}
		deeper := len(other.index) > len(f.index)
		outranked := len(other.index) == len(f.index) && f.tagged && !other.tagged
		if !deeper && !outranked {
			return false
		}
	}
	return true
}

// of returns the field's value in v, and false behind a nil embedded pointer.
func (f *field) of(v reflect.Value) (reflect.Value, bool) {
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return reflect.Value{}, false
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, true
}

// make returns the field's variable in v, behind embedded pointers that it
// allocates.
func (f *field) make(v reflect.Value) (reflect.Value, error) {
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() && !v.CanSet() {
				return v, fmt.Errorf("%w: embedded pointer to unexported %s", ErrUnsupported, v.Type().Elem())
			}
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, nil
}

func (f *field) omits(v reflect.Value) bool {
	return f.omitEmpty && isEmpty(v) || f.omitZero && isZero(v)
}

// isEmpty is what omitempty means in encoding/json.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// isZero is what omitzero means in encoding/json.
func isZero(v reflect.Value) bool {
	if v.IsZero() {
		return true
	}
	if v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		z, ok := v.Interface().(interface{ IsZero() bool })
		return ok && z.IsZero()
	}
	z, ok := pointerTo(v).(interface{ IsZero() bool })
	return ok && z.IsZero()
}
