package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
)

func TestSpansAreRead(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"36h": 36 * time.Hour, "30d": 30 * day, "2w": 14 * day, "1w2d12h": 9*day + 12*time.Hour, "1d1.5h": day + 90*time.Minute,
		"1.5d": 36 * time.Hour, "90": 90 * time.Second, "0.5": time.Second / 2, "1e3": 1000 * time.Second, "50ms": 50 * time.Millisecond,
	} {
		got, ok := parseSpan(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", " ", "0", "-1", "-3s", "0d", "-1d", "1d-12h", "d", "w", "1d2w", "1dd", "1d 2h", "soon", "never", "NaN", "Inf", "NaNd", "1e300",
		"1e300w", "30 d", "106751d106751d", "53375w2562047h", "1d1d",
	} {
		got, ok := parseSpan(text)
		assert.False(t, ok, "%q is read as %s", text, got)
	}
}

// FuzzSpan makes sure that no text is read as a span that is none.
func FuzzSpan(f *testing.F) {
	f.Add("1w2d12h")
	f.Add("26687w187649d2562047h")
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := parseSpan(text); ok {
			require.Positive(t, got, text)
		}
	})
}

func TestBackendsThatShareTablesAreOneStore(t *testing.T) {
	s := celeryresults.Settings{
		ResultBackend: "django-db",
		Databases:     map[string]cache.Database{"default": {URL: "sqlite:///a"}, "other": {URL: "sqlite:///b"}},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"archive": {Backend: "django-db"},
			"same":    {Backend: "django-db"},
			"apart":   {Backend: "django-db", ResultExpires: time.Hour, DjangoDB: celeryresults.DjangoDBSettings{Database: "other"}},
			"cache":   {Backend: "cache+memory://"},
			"off":     {Backend: "disabled"},
		},
	}
	stores, err := resultStores(s, "")
	require.NoError(t, err)
	require.Len(t, stores, 3)
	shared, apart, memory := stores[0], stores[1], stores[2]

	assert.Equal(t, []string{"default", "archive", "same"}, shared.names)
	assert.Equal(t, []string{"apart"}, apart.names)
	assert.Equal(t, time.Hour, apart.settings.ExpiresIn(celeryresults.Success))
	assert.False(t, memory.inTables())

	stores, err = resultStores(s, "same")
	require.NoError(t, err)
	require.Len(t, stores, 1)
	assert.Equal(t, "same", stores[0].names[0])
	assert.ElementsMatch(t, shared.names, stores[0].names)

	stores, err = resultStores(s, "off")
	require.NoError(t, err)
	assert.Empty(t, stores)
}

func TestProgressIsDrawnAndTakenAway(t *testing.T) {
	for name, due := range map[string]int64{"an estimate that is too low": 3, "an estimate": 10_000, "no estimate": 0} {
		t.Run(name, func(t *testing.T) {
			var drawn strings.Builder
			p := newProgress(&drawn, "archive\x1b[31m")
			for looked := int64(1); looked <= 5; looked++ {
				p.show(dbbackend.CleanupReport{Looked: looked * 1000, Due: due})
				time.Sleep(110 * time.Millisecond) // it is not drawn more often
			}
			text := drawn.String()
			assert.Contains(t, text, `archive\x1b[31m`)
			assert.Contains(t, text, "5000", "all that was looked at")
			assert.NotContains(t, text, "\n")
			p.clear()
			assert.True(t, strings.HasSuffix(drawn.String(), "\x1b[2K\r"), "%q", drawn.String())
			assert.Less(t, strings.Count(drawn.String(), "\x1b[2K\r"), 2, "it does not end before: %q", drawn.String())
		})
	}
}
