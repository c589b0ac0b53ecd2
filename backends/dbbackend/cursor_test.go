package dbbackend

import (
	"encoding/base64"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

func TestCursorsRoundTrip(t *testing.T) {
	for _, c := range []cursor{
		{0, 0, 0}, {math.MaxUint32, latest, math.MaxInt64}, {1, earliest, 1}, {7, time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC).UnixMicro(), 42},
	} {
		text := c.String()
		assert.Regexp(t, `^[A-Za-z0-9_-]+$`, text, "fit for URLs")
		got, err := parseCursor(text, c.query)
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
}

func TestTextsThatAreNoCursorsAreRefused(t *testing.T) {
	good := cursor{1, 2, 3}.String()
	for _, text := range []string{
		"x", "=", good[:len(good)-1], good + "A", good + "=", " " + good, good + "\n", strings.Repeat("A", 1<<16), "\x00", "é",
		base64.StdEncoding.EncodeToString([]byte(good)), cursor{2, 2, 3}.String(), cursor{1, 2, -3}.String(),
		cursor{1, earliest - 1, 3}.String(), cursor{1, latest + 1, 3}.String(), cursor{1, math.MinInt64, 3}.String(),
	} {
		_, err := parseCursor(text, 1)
		require.ErrorIs(t, err, celeryresults.ErrCursor, "%.40q", text)
	}
}

func TestQueriesHaveChecksumsOfTheirOwn(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	queries := []celeryresults.Query{
		{}, {States: []celeryresults.State{"A", "B"}}, {States: []celeryresults.State{"A B"}}, {Task: "a"}, {Worker: "a"}, {PeriodicTask: "a"}, {GroupID: "a"},
		{Labels: map[string]string{"a": "b"}}, {Labels: map[string]string{"a": "b", "c": "d"}}, {Order: celeryresults.ByDone},
		{CreatedFrom: at}, {CreatedBefore: at}, {DoneFrom: at}, {DoneBefore: at}, {DoneBefore: at.Add(time.Microsecond)},
	}
	seen := map[uint32]int{}
	for i, q := range queries {
		sum := checksum(q)
		other, twice := seen[sum]
		assert.False(t, twice, "%d and %d", i, other)
		seen[sum] = i
		q.Limit, q.Cursor, q.CreatedFrom = 7, "x", q.CreatedFrom.In(time.FixedZone("", 3600))
		assert.Equal(t, sum, checksum(q), "pages may differ in size")
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(cursor{1, 2, 3}.String(), uint32(1))
	f.Add("", uint32(0))
	f.Add(strings.Repeat("_", 28), uint32(math.MaxUint32))
	f.Fuzz(func(t *testing.T, text string, query uint32) {
		c, err := parseCursor(text, query)
		if err != nil {
			if !errors.Is(err, celeryresults.ErrCursor) {
				t.Fatalf("parseCursor(%q) = %v", text, err)
			}
			return
		}
		if c.String() != text {
			t.Fatalf("%q became %q", text, c.String())
		}
	})
}
