package python

import (
	"cmp"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"time"
)

// Plain returns v as a tree of the types that the package documentation lists,
// and of nothing else:
//
//   - Values of those types stay as they are and are not copied, nor is a
//     container in which nothing has to change: the result shares memory with v.
//   - Integers of every kind become int64, or *big.Int beyond it; floats
//     float64, complex numbers complex128, named strings string.
//   - Slices and arrays become []any, those of bytes []byte. Maps with keys of a
//     string kind become map[string]any, other maps a Dict sorted by key.
//   - Structs become a Dict in the order of their fields. Names, embedding,
//     "-", omitempty and omitzero follow encoding/json and its tags; the
//     option string is ignored.
//   - time.Duration becomes a Timedelta, json.Number an int or a float.
//   - An array of 16 bytes whose MarshalText writes a UUID becomes a UUID
//     (google/uuid, gofrs/uuid). A type with the methods Coefficient and
//     Exponent becomes a Decimal (shopspring/decimal).
//   - Any other type that implements json.Marshaler, json.RawMessage included,
//     becomes what its JSON says, and one that implements
//     encoding.TextMarshaler a string. These methods count before the kind of
//     the type does, also when they need a pointer.
//   - Pointers and interfaces are followed. A nil pointer, map, slice or
//     interface becomes nil, but a nil Tuple or Dict stays an empty one.
//
// Errors are a *[ConversionError]. It wraps [ErrUnsupported] for channels,
// functions, unsafe pointers and error values, [ErrLimit] for values that are
// nested too deeply or contain themselves, or what a marshaler returned.
func Plain(v any) (any, error) {
	p := plainer{left: maxNodes}
	out, _, err := p.plain(v, 0)
	if err != nil {
		return nil, located(err, "")
	}
	return out, nil
}

// plainer is one call of Plain.
type plainer struct {
	left int // values that may still be visited
}

// plain returns the plain form of in, and whether it is another value than in.
func (p *plainer) plain(in any, depth int) (any, bool, error) {
	if p.left--; p.left < 0 {
		return nil, false, fmt.Errorf("%w: more than %d values", ErrLimit, maxNodes)
	}
	switch v := in.(type) {
	case nil, bool, int64, float64, string, complex128, time.Time, DateTime,
		Date, Time, Timedelta, Decimal, UUID, Class:
		return in, false, nil
	case int:
		return int64(v), true, nil
	case []byte:
		return unlessNil(in, v == nil)
	case *big.Int:
		return unlessNil(in, v == nil)
	case []any, map[string]any, Tuple, Dict, *Set, *Object, Envelope:
		out, changed, err := p.container(in, depth)
		if err != nil || !changed {
			return in, false, err
		}
		return out, true, nil
	}
	out, err := p.reflected(reflect.ValueOf(in), depth)
	return out, true, err
}

func unlessNil(v any, isNil bool) (any, bool, error) {
	if isNil {
		return nil, true, nil
	}
	return v, false, nil
}

func (p *plainer) container(v any, depth int) (any, bool, error) {
	if depth >= maxDepth {
		return nil, false, errTooDeep
	}
	switch v := v.(type) {
	case []any:
		if v == nil {
			return nil, true, nil
		}
		return boxed(plainItems(p, v, depth+1))
	case Tuple:
		return boxed(plainItems(p, v, depth+1))
	case map[string]any:
		if v == nil {
			return nil, true, nil
		}
		return boxed(p.entries(v, depth+1))
	case Dict:
		return boxed(plainPairs(p, v, depth+1))
	case *Set:
		return p.set(v, depth+1)
	case *Object:
		return p.object(v, depth+1)
	default:
		return p.envelope(v.(Envelope), depth+1)
	}
}

var errTooDeep = fmt.Errorf("%w: nested deeper than %d levels", ErrLimit, maxDepth)

// boxed puts a changed value into an interface, and spares the allocation for
// one that is not needed.
func boxed[T any](v T, changed bool, err error) (any, bool, error) {
	if err != nil || !changed {
		return nil, false, err
	}
	return v, true, nil
}

// plainItems copies in when the first item changes.
func plainItems[S ~[]any](p *plainer, in S, depth int) (S, bool, error) {
	out, copied := in, false
	for i, item := range in {
		item, changed, err := p.plain(item, depth)
		if err != nil {
			return nil, false, atIndex(err, i)
		}
		if changed && !copied {
			out, copied = slices.Clone(in), true
		}
		if changed {
			out[i] = item
		}
	}
	return out, copied, nil
}

// entries copies in when the first value changes.
func (p *plainer) entries(in map[string]any, depth int) (map[string]any, bool, error) {
	var out map[string]any
	for key, value := range in {
		value, changed, err := p.plain(value, depth)
		if err != nil {
			return nil, false, atKey(err, key)
		}
		if changed && out == nil {
			out = make(map[string]any, len(in))
		}
		if changed {
			out[key] = value
		}
	}
	if out == nil {
		return in, false, nil
	}
	for key, value := range in {
		if _, done := out[key]; !done {
			out[key] = value
		}
	}
	return out, true, nil
}

// plainPairs copies in when the first key or value changes.
func plainPairs[S ~[]Pair](p *plainer, in S, depth int) (S, bool, error) {
	out, copied := in, false
	for i, pair := range in {
		pair, changed, err := p.pair(pair, depth)
		if err != nil {
			return nil, false, err
		}
		if changed && !copied {
			out, copied = slices.Clone(in), true
		}
		if changed {
			out[i] = pair
		}
	}
	return out, copied, nil
}

func (p *plainer) pair(in Pair, depth int) (Pair, bool, error) {
	key, keyChanged, err := p.plain(in.Key, depth)
	if err != nil {
		return Pair{}, false, atKey(err, in.Key)
	}
	value, valueChanged, err := p.plain(in.Value, depth)
	if err != nil {
		return Pair{}, false, atKey(err, key)
	}
	return Pair{key, value}, keyChanged || valueChanged, nil
}

func (p *plainer) set(in *Set, depth int) (any, bool, error) {
	if in == nil {
		return nil, true, nil
	}
	items, changed, err := plainItems(p, in.Items, depth)
	if err != nil || !changed {
		return nil, false, err
	}
	return &Set{Items: items, Frozen: in.Frozen}, true, nil
}

func (p *plainer) envelope(in Envelope, depth int) (any, bool, error) {
	value, changed, err := p.plain(in.Value, depth)
	if err != nil || !changed {
		return nil, false, err
	}
	return Envelope{Type: in.Type, Value: value}, true, nil
}

func (p *plainer) object(in *Object, depth int) (any, bool, error) {
	if in == nil {
		return nil, true, nil
	}
	args, c1, err1 := plainItems(p, in.Args, depth)
	kwargs, c2, err2 := p.entries(in.Kwargs, depth)
	state, c3, err3 := p.plain(in.State, depth)
	items, c4, err4 := plainItems(p, in.Items, depth)
	pairs, c5, err5 := plainPairs(p, in.Pairs, depth)
	if err := cmp.Or(err1, err2, err3, err4, err5); err != nil {
		return nil, false, err
	}
	if !(c1 || c2 || c3 || c4 || c5) {
		return nil, false, nil
	}
	return &Object{in.Class, args, kwargs, state, items, pairs}, true, nil
}
