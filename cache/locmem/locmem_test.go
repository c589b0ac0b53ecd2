package locmem_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/cachetest"
	"github.com/celeryresults/celeryresults/cache/locmem"
)

func open(t testing.TB, location string, o *locmem.Options) *locmem.Store {
	t.Helper()
	s, err := locmem.New(location, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestSuite(t *testing.T) {
	cachetest.Harness{
		Owned: true,
		Open: func(t *testing.T) cache.Store {
			return open(t, t.Name(), &locmem.Options{MaxEntries: 10_000})
		},
	}.Run(t)
}
