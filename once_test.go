package celeryresults

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnceFindsEachID(t *testing.T) {
	for range 2000 {
		ids := make([]string, rand.IntN(40))
		for i := range ids {
			ids[i] = strconv.Itoa(rand.IntN(1 + rand.IntN(80)))
		}
		var want []string
		for _, id := range ids {
			if !slices.Contains(want, id) {
				want = append(want, id)
			}
		}
		before := slices.Clone(ids)
		unique, places := once(ids)
		require.Equal(t, before, ids)
		require.True(t, slices.Equal(want, unique), "%v: %v", ids, unique)
		require.Equal(t, len(want) == len(ids), places == nil)
		for i, id := range ids {
			require.Equal(t, id, unique[placeOf(places, i)], "%v", ids)
		}
	}
}
