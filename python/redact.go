package python

import (
	"slices"
	"strings"
)

// Redacted stands for what is not to be seen.
const Redacted = "***"

// Redact returns a tree, of the types that this package lists, without the values of those
// names: in mappings and in the keyword arguments, state and entries of objects, at any depth, they
// become Redacted. Names are compared without regard to case. The arguments of objects
// have no names, so they become Redacted, too, and so does what is nested deeper than Plain
// allows. The tree itself is not changed. Without names it is returned as it is.
func Redact(tree any, names []string) any {
	if len(names) == 0 {
		return tree
	}
	return redactor(names).redact(tree, 0)
}

type redactor []string

func (r redactor) secret(name any) bool {
	text, ok := name.(string)
	return ok && slices.ContainsFunc(r, func(s string) bool { return strings.EqualFold(s, text) })
}

func (r redactor) redact(tree any, depth int) any {
	if depth > maxDepth {
		return Redacted
	}
	depth++
	switch t := tree.(type) {
	case map[string]any:
		return r.mapping(t, depth)
	case Dict:
		return Dict(r.pairs(t, depth))
	case []any:
		return r.items(t, depth)
	case Tuple:
		return Tuple(r.items(t, depth))
	case *Set:
		return &Set{Items: r.items(t.Items, depth), Frozen: t.Frozen}
	case Envelope:
		return Envelope{Type: t.Type, Value: r.redact(t.Value, depth)}
	case *Object:
		return r.object(t, depth)
	}
	return tree
}

func (r redactor) items(list []any, depth int) []any {
	if list == nil {
		return nil
	}
	out := make([]any, len(list))
	for i, item := range list {
		out[i] = r.redact(item, depth)
	}
	return out
}

func (r redactor) pairs(list []Pair, depth int) []Pair {
	if list == nil {
		return nil
	}
	out := make([]Pair, len(list))
	for i, pair := range list {
		if out[i] = (Pair{Key: pair.Key, Value: Redacted}); !r.secret(pair.Key) {
			out[i].Value = r.redact(pair.Value, depth)
		}
	}
	return out
}

func (r redactor) mapping(m map[string]any, depth int) map[string]any {
	if m == nil {
		return nil
	}
	out := make(map[string]any, len(m))
	for name, value := range m {
		if out[name] = Redacted; !r.secret(name) {
			out[name] = r.redact(value, depth)
		}
	}
	return out
}

func (r redactor) object(o *Object, depth int) *Object {
	if o == nil {
		return nil
	}
	out := &Object{
		Class: o.Class, Kwargs: r.mapping(o.Kwargs, depth), State: r.redact(o.State, depth),
		Items: r.items(o.Items, depth), Pairs: r.pairs(o.Pairs, depth),
	}
	for range o.Args {
		out.Args = append(out.Args, Redacted)
	}
	return out
}
