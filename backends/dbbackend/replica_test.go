package dbbackend_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/resultschema"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// replicas runs a test with a second database, which lags behind until catchUp.
func replicas(t *testing.T, test func(t *testing.T, primary, replica base)) {
	for _, engine := range engines {
		t.Run(engine.dialect.Name(), func(t *testing.T) {
			t.Parallel()
			primary, replica := openBase(t, engine.fresh(t)), openBase(t, engine.fresh(t))
			primary.migrate(t, dbbackend.MigrateOptions{})
			replica.migrate(t, dbbackend.MigrateOptions{})
			test(t, primary, replica)
		})
	}
}

// catchUp copies all rows to the replica.
func (b base) catchUp(t *testing.T, primary base) {
	t.Helper()
	for _, table := range []string{resultschema.TaskTable, resultschema.GroupTable, resultschema.LabelTable} {
		b.exec(t, `DELETE FROM `+table)
		for _, row := range primary.rows(t, `SELECT * FROM `+table) {
			var columns string
			var args []any
			for column, value := range row {
				if columns != "" {
					columns += ", "
				}
				columns += column
				args = append(args, value)
			}
			b.exec(t, `INSERT INTO `+table+` (`+columns+`) VALUES (`+sqldialect.Parameters(1, len(args))+`)`, args...)
		}
	}
}

func (b base) reading(from base, set ...func(*celeryresults.Settings)) func(*celeryresults.Settings) {
	return func(s *celeryresults.Settings) {
		s.Databases = map[string]cache.Database{"default": b.database, "replica": from.database}
		s.DjangoDB.ReadDatabase = "replica"
		for _, f := range set {
			f(s)
		}
	}
}

func TestResultsAreReadFromTheReplica(t *testing.T) {
	replicas(t, func(t *testing.T, primary, replica base) {
		backend := primary.open(t, primary.reading(replica))
		meta := done("task", 1)
		meta.Name, meta.Meta = "shop.add", celeryresults.NewValue(map[string]any{"tenant": "acme"})
		store(t, backend, meta)
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
		lists := []celeryresults.Query{{}, {Task: "shop.*"}, {Labels: map[string]string{"tenant": "acme"}}}
		for _, there := range []bool{false, true} {
			if there {
				replica.catchUp(t, primary)
			}
			assert.Equal(t, !there, get(t, backend, "task").Unknown)
			metas, err := backend.GetMany(t.Context(), []string{"task"})
			require.NoError(t, err)
			assert.Equal(t, !there, metas[0].Unknown)
			_, err = backend.RestoreGroup(t.Context(), "group")
			assert.Equal(t, there, err == nil)
			for _, query := range lists {
				page, err := backend.List(t.Context(), query)
				require.NoError(t, err)
				assert.Equal(t, there, len(page.Results) == 1)
			}
		}
		require.ErrorIs(t, backend.StoreResult(t.Context(), done("task", 2)), celeryresults.ErrRefused)
		require.NoError(t, backend.Forget(t.Context(), "task"))
		assert.Equal(t, celeryresults.Success, get(t, backend, "task").State, "the replica has it still")
	})
}

func TestWritesOfThisProcessAreReadBackAtOnce(t *testing.T) {
	replicas(t, func(t *testing.T, primary, replica base) {
		backend := primary.open(t, primary.reading(replica, func(s *celeryresults.Settings) { s.DjangoDB.ReadYourWrites = time.Second }))
		other := primary.open(t)
		store(t, backend, done("mine", 1))
		store(t, other, done("theirs", 1))
		assert.Equal(t, celeryresults.Success, get(t, backend, "mine").State)
		assert.True(t, get(t, backend, "theirs").Unknown)
		metas, err := backend.GetMany(t.Context(), []string{"theirs", "mine"})
		require.NoError(t, err)
		assert.Equal(t, celeryresults.Success, metas[1].State)
		group := celeryresults.ResultTuple{ID: "group", Children: []celeryresults.ResultTuple{{ID: "mine"}}}
		require.NoError(t, backend.SaveGroup(t.Context(), group))
		restored, err := backend.RestoreGroup(t.Context(), "group")
		require.NoError(t, err)
		assert.Equal(t, group, restored)

		replica.catchUp(t, primary)
		require.NoError(t, backend.Forget(t.Context(), "mine"))
		assert.True(t, get(t, backend, "mine").Unknown)
		require.Eventually(t, func() bool { return !get(t, backend, "mine").Unknown }, 10*time.Second, 50*time.Millisecond, "in time the replica is asked again")
	})
}

// TestChordsAreGivenWhatWasJustStored is about results that the replica of the
// process that hands a chord over does not have yet.
func TestChordsAreGivenWhatWasJustStored(t *testing.T) {
	replicas(t, func(t *testing.T, primary, replica base) {
		backend, worker := primary.open(t, primary.reading(replica)), primary.open(t)
		require.NoError(t, backend.StartChord(t.Context(), celeryresults.Chord{ID: "chord", Members: []string{"a"}}))
		store(t, worker, done("a", 1))
		fired := collect(nil)
		require.NoError(t, backend.ReportPart(t.Context(), "chord", "a", fired.body))
		assert.Equal(t, []string{"chord: a=1"}, fired.all())
	})
}

func TestAReadingHandleNeverWrites(t *testing.T) {
	replicas(t, func(t *testing.T, primary, _ base) {
		if primary.dialect != sqldialect.PostgreSQL {
			t.Skip("a session that only reads is PostgreSQL's")
		}
		reads, _, err := sqldialect.Open(cache.Database{URL: primary.database.URL, Options: map[string]string{"options": "-c default_transaction_read_only=on"}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, reads.Close()) })
		_, err = reads.ExecContext(t.Context(), `DELETE FROM `+resultschema.TaskTable)
		require.ErrorContains(t, err, "read-only")
		backend := primary.over(t, primary.db, dbbackend.Options{Reads: reads})
		everyone(8, func(i int) {
			id := numbered("task", 8)[i]
			assert.NoError(t, backend.StoreResult(t.Context(), done(id, i)))
			assert.ErrorIs(t, backend.StoreResult(t.Context(), done(id, i)), celeryresults.ErrRefused)
			meta, err := backend.GetTaskMeta(t.Context(), id)
			assert.NoError(t, err)
			assert.Equal(t, celeryresults.Success, meta.State)
		})
		page, err := backend.List(t.Context(), celeryresults.Query{Task: "*"})
		require.NoError(t, err)
		assert.Empty(t, page.Results)
		require.NoError(t, backend.SaveGroup(t.Context(), celeryresults.ResultTuple{ID: "group"}))
		_, err = backend.RestoreGroup(t.Context(), "group")
		require.NoError(t, err)
		_, err = storeOf(t, backend).CleanupWith(t.Context(), dbbackend.CleanupOptions{OlderThan: time.Nanosecond})
		require.NoError(t, err)
		require.NoError(t, backend.Forget(t.Context(), "task-000"))
	})
}

func TestHandlesOfDifferentEnginesAreRefused(t *testing.T) {
	b := base{database: engines[0].fresh(t)}
	s := b.settings()
	s.Databases["replica"] = cache.Database{URL: "postgres://nobody:secret@127.0.0.1:1/nothing"}
	s.DjangoDB.ReadDatabase = "replica"
	_, err := dbbackend.Open(s)
	require.ErrorContains(t, err, "postgresql")
	assert.NotContains(t, err.Error(), "secret")
	s.DjangoDB.ReadDatabase = "missing"
	_, err = dbbackend.Open(s)
	require.Error(t, err)
}
