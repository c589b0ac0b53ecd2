package sqldialect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

var dialects = []*sqldialect.Dialect{sqldialect.PostgreSQL, sqldialect.MySQL, sqldialect.SQLite}

func TestIdentifiersAreQuoted(t *testing.T) {
	for _, tc := range []struct {
		dialect    *sqldialect.Dialect
		name, want string
	}{
		{sqldialect.PostgreSQL, "my_cache_table", `"my_cache_table"`},
		{sqldialect.MySQL, "my_cache_table", "`my_cache_table`"},
		{sqldialect.SQLite, "my_cache_table", `"my_cache_table"`},
		{sqldialect.PostgreSQL, "public.Table2", `"public"."Table2"`},
		{sqldialect.MySQL, "db.order", "`db`.`order`"},
		{sqldialect.PostgreSQL, strings.Repeat("n", 63), `"` + strings.Repeat("n", 63) + `"`},
	} {
		got, err := tc.dialect.QuoteIdent(tc.name)
		require.NoError(t, err, tc.name)
		assert.Equal(t, tc.want, got, "%s in %s", tc.name, tc.dialect.Name())
	}
}

func TestIdentifiersThatCouldChangeAStatementAreRefused(t *testing.T) {
	for _, name := range []string{
		"", ".", "a.", ".a", "a.b.c", `a"b`, "a`b", "a b", "a;b", "a-b", "a\x00", "tablé", strings.Repeat("n", 256),
	} {
		for _, d := range dialects {
			got, err := d.QuoteIdent(name)
			assert.Error(t, err, "%q in %s became %s", name, d.Name(), got)
		}
	}
	_, err := sqldialect.PostgreSQL.QuoteIdent(strings.Repeat("n", 64))
	assert.ErrorContains(t, err, "64 characters, postgresql allows 63")
}

func FuzzQuoteIdentKeepsQuotesOut(f *testing.F) {
	for _, seed := range []string{"a", "a.b", `"`, "`", "a.b.c", "\x00", "é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, d := range dialects {
			quoted, err := d.QuoteIdent(name)
			if err != nil {
				continue
			}
			bare := strings.NewReplacer(`"`, "", "`", "").Replace(quoted)
			if bare != name || len(quoted) != len(name)+2*(1+strings.Count(name, ".")) {
				t.Errorf("%q became %s in %s", name, quoted, d.Name())
			}
		}
	})
}

func TestParametersAreRenumbered(t *testing.T) {
	const statement = "UPDATE t SET a = $2, b = $1 WHERE a <> $2 AND c = $11"
	args := []any{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
	for _, tc := range []struct {
		dialect *sqldialect.Dialect
		text    string
		args    []any
	}{
		{sqldialect.PostgreSQL, statement, args},
		{sqldialect.SQLite, "UPDATE t SET a = ?2, b = ?1 WHERE a <> ?2 AND c = ?11", args},
		{sqldialect.MySQL, "UPDATE t SET a = ?, b = ? WHERE a <> ? AND c = ?", []any{2, 1, 2, 11}},
	} {
		q := tc.dialect.Rebind(statement)
		assert.Equal(t, tc.text, q.Text)
		assert.Equal(t, tc.args, q.Args(args...))
	}
	assert.Empty(t, sqldialect.MySQL.Rebind("SELECT 1").Args())
}

func TestClauses(t *testing.T) {
	assert.Equal(t, "ON CONFLICT (k) DO UPDATE SET a = excluded.a, b = excluded.b", sqldialect.SQLite.Upsert("k", "a", "b"))
	assert.Equal(t, "ON CONFLICT (k) DO UPDATE SET a = excluded.a", sqldialect.PostgreSQL.Upsert("k", "a"))
	assert.Equal(t, "ON DUPLICATE KEY UPDATE k = VALUES(k), a = VALUES(a)", sqldialect.MySQL.Upsert("k", "a"))
	assert.Equal(t, "k = $1", sqldialect.PostgreSQL.SameKey("k", "$1"))
	assert.Equal(t, "k = $1 AND CAST(k AS BINARY) = CAST($1 AS BINARY)", sqldialect.MySQL.SameKey("k", "$1"))
	assert.Equal(t, "CAST(v AS BINARY) = CAST($2 AS BINARY)", sqldialect.MySQL.Same("v", "$2"))
}

func TestTimesAreBoundAsDjangoWritesThem(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	for _, tc := range []struct {
		time time.Time
		text string
	}{
		{time.Date(2026, 11, 21, 10, 49, 41, 0, zone), "2026-11-21 08:49:41"},
		{time.Date(2026, 11, 21, 10, 49, 41, 123_456_789, zone), "2026-11-21 08:49:41.123456"},
		{time.Date(2026, 11, 21, 0, 0, 0, 500_000_000, zone), "2026-11-20 22:00:00.500000"},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC), "9999-12-31 23:59:59.999999"},
	} {
		assert.Equal(t, tc.text, sqldialect.SQLite.Time(tc.time))
		assert.Equal(t, tc.text, sqldialect.MySQL.Time(tc.time))
		assert.Equal(t, tc.time.UTC().Truncate(time.Microsecond), sqldialect.PostgreSQL.Time(tc.time))
	}
}

func TestTimesAreScannedInUTC(t *testing.T) {
	local := time.FixedZone("", 9*3600)
	want := time.Date(2026, 11, 21, 8, 49, 41, 123_000_000, time.UTC)
	for name, tc := range map[string]struct {
		dialect *sqldialect.Dialect
		value   any
		want    time.Time
	}{
		"text":                                 {sqldialect.SQLite, "2026-11-21 08:49:41.123", want},
		"text with a T and Z":                  {sqldialect.SQLite, "2026-11-21T08:49:41.123Z", want},
		"text with an offset":                  {sqldialect.SQLite, "2026-11-21 17:49:41.123+09:00", want},
		"bytes with a short offset":            {sqldialect.PostgreSQL, []byte("2026-11-21 17:49:41.123+09"), want},
		"a date":                               {sqldialect.SQLite, "2026-11-21", time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)},
		"a moment in another zone":             {sqldialect.PostgreSQL, want.In(local), want},
		"a naive time that a zone was made up": {sqldialect.MySQL, time.Date(2026, 11, 21, 8, 49, 41, 123_000_000, local), want},
		"NULL":                                 {sqldialect.MySQL, nil, time.Time{}},
	} {
		got := time.Unix(0, 0)
		require.NoError(t, tc.dialect.ScanTime(&got).Scan(tc.value), name)
		assert.Equal(t, tc.want, got, name)
	}
	var unused time.Time
	assert.Error(t, sqldialect.MySQL.ScanTime(&unused).Scan("0000-00-00 00:00:00"))
	assert.Error(t, sqldialect.MySQL.ScanTime(&unused).Scan(42))
}

func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"2026-11-21 08:49:41", "2026-11-21 08:49:41.123456", "2026-11-21T08:49:41Z", "2026-11-21 08:49:41+02", "", "x", "2026-11-21",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := sqldialect.ParseTime(text)
		if err != nil || parsed.Year() < 0 || parsed.Year() > 9999 {
			return
		}
		written := sqldialect.SQLite.Time(parsed).(string)
		again, err := sqldialect.ParseTime(written)
		if err != nil || !again.Equal(parsed.Truncate(time.Microsecond)) {
			t.Errorf("%q is %v, written %q, which is %v, %v", text, parsed, written, again, err)
		}
	})
}
