package sqlalchemybackend_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// The tables as the backend makes them, and as Celery 5.7 extends them.
func TestSuite(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		drivertest.Run(t, b.harness(s))
	})
}

func TestSuiteOfAlteredTables(t *testing.T) {
	onEach(t, func(t *testing.T, s celeryresults.Settings, b base) {
		b.alter(t, s)
		h := b.harness(s)
		h.ValuesOnly = b.dialect != sqldialect.PostgreSQL
		drivertest.Run(t, h)
	})
}

func TestSuiteOfSerializers(t *testing.T) {
	for _, name := range []string{"pickle", "yaml", "msgpack"} {
		for _, alter := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, altered %v", name, alter), func(t *testing.T) {
				s, b := openBase(t, testserver.Postgres(t))
				s.ResultSerializer, s.ResultAcceptContent = name, []string{name}
				if alter {
					b.alter(t, s)
				}
				h := b.harness(s)
				h.ValuesOnly, h.PlainValues = true, alter && name != "pickle"
				drivertest.Run(t, h)
			})
		}
	}
}

func (b base) alter(t *testing.T, s celeryresults.Settings) {
	t.Helper()
	_, err := sqlalchemybackend.Migrate(t.Context(), b.db, s, sqlalchemybackend.MigrateOptions{Alter: true})
	require.NoError(t, err)
}

func (b base) harness(base celeryresults.Settings) drivertest.Harness {
	h := drivertest.Harness{
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			t.Helper()
			backend, err := sqlalchemybackend.Open(over(base, s))
			require.NoError(t, err)
			return backend
		},
		Raw: func(t *testing.T, _ *celeryresults.Backend, id string) []byte { return b.raw(t, id) },
		Break: func(t *testing.T, _ *celeryresults.Backend, id string) {
			t.Helper()
			b.exec(t, `UPDATE celery_taskmeta SET status = '' WHERE task_id = $1`, id)
		},
		ShortestExpiry: 50 * time.Millisecond,
	}
	if b.dialect != sqldialect.SQLite {
		h.Dead = func(t *testing.T) *celeryresults.Backend { return dead(t, base) }
	}
	return h
}

// over lays the suite's settings over those of a database.
func over(base, s celeryresults.Settings) celeryresults.Settings {
	base.ResultExpires, base.ResultExtended = s.ResultExpires, s.ResultExtended
	base.ResultTombstones, base.ResultTally = s.ResultTombstones, s.ResultTally
	return base
}

// dead returns a backend whose server takes connections and never answers.
func dead(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
	t.Helper()
	u, err := url.Parse(sqlalchemybackend.URL(s))
	require.NoError(t, err)
	proxy := testserver.StartProxy(t, u.Host)
	proxy.Hang(true)
	u.Host = proxy.Addr()
	s.ResultBackend = "db+" + u.String()
	backend, err := sqlalchemybackend.Open(s)
	require.NoError(t, err)
	return backend
}

// raw returns all that the row of a task has but its primary key.
func (b base) raw(t *testing.T, id string) []byte {
	t.Helper()
	q := b.dialect.Rebind(`SELECT * FROM celery_taskmeta WHERE task_id = $1`)
	rows, err := b.db.QueryContext(t.Context(), q.Text, q.Args(id)...)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	require.True(t, rows.Next())
	values := make([]sql.RawBytes, len(columns))
	dst := make([]any, len(columns))
	for i := range values {
		dst[i] = &values[i]
	}
	require.NoError(t, rows.Scan(dst...))
	row := map[string][]byte{}
	for i, column := range columns {
		row[column] = values[i]
	}
	raw, err := json.Marshal(row) // with sorted keys
	require.NoError(t, err)
	require.NoError(t, rows.Err())
	return raw
}

// TestTheSameRecordHasTheSameBytes is about what stands in stamps beside Celery's own.
func TestTheSameRecordHasTheSameBytes(t *testing.T) {
	s, b := openBase(t, "sqlite:///"+filepath.Join(t.TempDir(), "results.db"))
	s.ResultExtended = true
	backend := open(t, s)
	at := time.Date(2026, 11, 21, 8, 0, 0, 123456000, time.UTC)
	var first []byte
	for range 40 {
		meta := done("a", map[string]any{"x": 1, "y": 2, "z": 3})
		meta.DateDone, meta.DateCreated, meta.DateStarted = at, at.Add(-2*time.Minute), at.Add(-time.Minute)
		meta.GroupID, meta.RootID, meta.PeriodicTaskName = "g", "r", "nightly"
		meta.Meta = celeryresults.NewValue(map[string]any{"p": 1, "q": 2, "r": 3})
		meta.StampedHeaders = []string{"stamp"}
		meta.Extra = []celeryresults.Extra{{Name: "stamp", Value: celeryresults.NewValue("v")}, {Name: "more", Value: celeryresults.NewValue(map[string]any{"i": 1, "j": 2})}}
		require.NoError(t, backend.StoreResult(t.Context(), meta, celeryresults.Override))
		if raw := b.raw(t, "a"); first == nil {
			first = raw
		} else {
			require.Equal(t, string(first), string(raw))
		}
	}
	read, err := backend.GetTaskMeta(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, at.Add(-2*time.Minute), read.DateCreated)
	assert.Equal(t, at.Add(-time.Minute), read.DateStarted)
}
