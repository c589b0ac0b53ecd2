package dbbackend_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

func TestSuite(t *testing.T) {
	for _, engine := range engines {
		t.Run(engine.dialect.Name(), func(t *testing.T) {
			b := openBase(t, engine.fresh(t))
			b.migrate(t, dbbackend.MigrateOptions{})
			drivertest.Run(t, b.harness())
		})
	}
}

// TestTheSuiteOnDjangosTables is about columns that are narrower, and fewer.
func TestTheSuiteOnDjangosTables(t *testing.T) {
	onEachEmpty(t, "2.4.0", func(t *testing.T, b base) {
		b.load(t, "2.4.0")
		b.migrate(t, dbbackend.MigrateOptions{})
		h := b.harness()
		h.ValuesOnly = true
		drivertest.Run(t, h)
	})
}

func (b base) harness() drivertest.Harness {
	h := drivertest.Harness{
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			t.Helper()
			opened, err := dbbackend.Open(b.suiteSettings(s))
			require.NoError(t, err)
			return opened
		},
		Raw: func(t *testing.T, _ *celeryresults.Backend, id string) []byte {
			t.Helper()
			row := b.row(t, id)
			raw, err := json.Marshal(row) // with sorted keys
			require.NoError(t, err)
			return raw
		},
		Break: func(t *testing.T, backend *celeryresults.Backend, id string) {
			t.Helper()
			require.NoError(t, backend.StoreResult(t.Context(), inState(id, celeryresults.Started), celeryresults.Override))
			b.exec(t, `UPDATE `+resultschema.TaskTable+` SET status = '' WHERE task_id = $1`, id)
		},
		ShortestExpiry: 50 * time.Millisecond,
	}
	if b.dialect != sqldialect.SQLite {
		h.Dead = b.dead
	}
	return h
}

// suiteSettings lays the suite's settings over those of the database.
func (b base) suiteSettings(s celeryresults.Settings) celeryresults.Settings {
	settings := b.settings()
	settings.ResultExpires, settings.ResultExtended = s.ResultExpires, s.ResultExtended
	settings.ResultTombstones, settings.ResultTally = s.ResultTombstones, s.ResultTally
	return settings
}

// dead returns a backend whose server takes connections and never answers.
func (b base) dead(t *testing.T) *celeryresults.Backend {
	t.Helper()
	u := parse(t, b.database.URL)
	proxy := testserver.StartProxy(t, u.Host)
	proxy.Hang(true)
	u.Host = proxy.Addr()
	s := b.settings()
	s.Databases = map[string]cache.Database{celeryresults.DefaultDatabase: {URL: u.String()}}
	backend, err := dbbackend.Open(s)
	require.NoError(t, err)
	return backend
}
