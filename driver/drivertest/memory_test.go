package drivertest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
)

// harness opens backends over one store.
func harness(store driver.Store, m *Memory) Harness {
	return Harness{
		ShortestExpiry: 20 * time.Millisecond,
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			return OpenStore(t, store, s)
		},
		Raw: func(_ *testing.T, _ *celeryresults.Backend, id string) []byte { return m.Document(driver.Task, id) },
		Break: func(_ *testing.T, _ *celeryresults.Backend, id string) {
			m.SetDocument(driver.Task, id, []byte(`{"status": }`), driver.Never)
		},
		Dead: func(t *testing.T) *celeryresults.Backend {
			return OpenStore(t, hanging{}, celeryresults.Settings{})
		},
	}
}

// bounded is a store of small records.
type bounded struct{ *listing }

func (b bounded) Traits() driver.Traits {
	t := b.listing.Traits()
	t.MaxDocument = 1 << 20
	return t
}

// A store that lists and counts, and holds small records alone.
func TestListing(t *testing.T) {
	l, err := newListing(celeryresults.Settings{ResultExtended: true})
	require.NoError(t, err)
	h := harness(bounded{l}, l.Memory)
	h.Dead = func(t *testing.T) *celeryresults.Backend { return OpenStore(t, absent{}, celeryresults.Settings{}) }
	Run(t, h)
}

func TestMemory(t *testing.T) {
	m := &Memory{}
	Run(t, harness(m, m))
}

// A page goes on although the result that it ended with is gone.
func TestListsOfSeveralStoresGoOn(t *testing.T) {
	var all []*celeryresults.Backend
	for range 2 {
		l, err := newListing(celeryresults.Settings{})
		require.NoError(t, err)
		all = append(all, open(t, Harness{Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			return OpenStore(t, l, s)
		}}, celeryresults.Settings{}))
	}
	all[0].AddFallbacks(all[1])
	at := time.Now()
	var want []string
	for i := range 40 {
		meta := done(newID("on"), i)
		meta.DateDone = at.Add(time.Duration(-i) * time.Second)
		store(t, all[i%3%2], meta)
		want = append(want, meta.TaskID)
	}
	var got []string
	q := celeryresults.Query{Limit: 3}
	for {
		page, err := all[0].List(t.Context(), q)
		require.NoError(t, err)
		for _, meta := range page.Results {
			got = append(got, meta.TaskID)
		}
		require.NoError(t, all[0].Forget(t.Context(), got[len(got)-1]))
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	assert.Equal(t, want, got)
}
