package celeryresults

import "hash/maphash"

// idSeed makes ids that collide hard to guess.
var idSeed = maphash.MakeSeed()

// once returns each id once, in the order in which they come first, and the place among
// these of each id. Where all ids differ, as they mostly do, the places are nil: each id has
// its own.
func once(ids []string) (unique []string, places []int) {
	if len(ids) < 2 {
		return ids, nil
	}
	size := 4
	for size < 2*len(ids) {
		size *= 2
	}
	table := make([]int32, size) // places among unique, from 1 on
	unique = ids
	for i, id := range ids {
		at := int(maphash.String(idSeed, id)) & (size - 1)
		for table[at] != 0 && unique[table[at]-1] != id {
			at = (at + 1) & (size - 1)
		}
		switch there := int(table[at]); {
		case there == 0 && places == nil:
			table[at] = int32(i) + 1
		case there == 0:
			unique = append(unique, id)
			table[at] = int32(len(unique))
			places = append(places, len(unique)-1)
		default:
			if places == nil { // the first one that is there twice
				unique = append(make([]string, 0, len(ids)), ids[:i]...)
				places = make([]int, i, len(ids))
				for n := range places {
					places[n] = n
				}
			}
			places = append(places, there-1)
		}
	}
	return unique, places
}

// placeOf returns the place of the i-th id among those that once returns.
func placeOf(places []int, i int) int {
	if places == nil {
		return i
	}
	return places[i]
}
