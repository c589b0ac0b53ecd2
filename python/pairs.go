package python

import (
	"maps"
	"slices"
)

// Pairs returns the entries of a mapping among the types that this package lists: those of a Dict
// in their order, and those of a map sorted by name. None has no entries; ok is false for all
// else.
func Pairs(tree any) (pairs Dict, ok bool) {
	switch t := tree.(type) {
	case nil:
		return nil, true
	case Dict:
		return t, true
	case map[string]any:
		pairs = make(Dict, 0, len(t))
		for _, name := range slices.Sorted(maps.Keys(t)) {
			pairs = append(pairs, Pair{Key: name, Value: t[name]})
		}
		return pairs, true
	}
	return nil, false
}
