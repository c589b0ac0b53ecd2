package dbbackend_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/pattern"
	"github.com/celeryresults/celeryresults/internal/resultschema"
)

// model is what a list is compared with: metas that are filtered and sorted in
// Go, with their primary keys.
type model struct {
	rows []*celeryresults.TaskMeta
	ids  map[string]int64
	now  time.Time
}

// pick returns one of the items.
func pick[T any](r *rand.Rand, items ...T) T { return items[r.IntN(len(items))] }

var (
	modelStates = []celeryresults.State{celeryresults.Success, celeryresults.Success, celeryresults.Failure, celeryresults.Revoked, celeryresults.Started, "PROGRESS", celeryresults.Pending}
	modelNames  = []string{
		"shop.add", "shop.addx", "shop_add", "shop%add", "SHOP.add", "shop.[add]", "a[b", "a]b", "[ab]", "!bang", "!%_", "wörk.é", "wörk.e", "back\\slash", "q'uote", "x",
	}
	modelPatterns = []string{
		"shop.add", "shop*", "shop?add", "*add", "*", "?", "a[*", "a]?", "[*", "[ab]*", "!*", "!%?", "*%*", "*_*", "wörk.*", "w*rk.e", "back\\*", "q'*", "none*", "SHOP*", "*\\*",
	}
)

func newModel(t *testing.T, b base, r *rand.Rand, rows int) *model {
	t.Helper()
	m := &model{ids: map[string]int64{}, now: start}
	early := b.at(t, func() time.Time { return start.Add(-24 * time.Hour) }, retention)
	late := b.at(t, func() time.Time { return start }, retention)
	for i := range rows {
		meta := inState(fmt.Sprintf("id-%04d", i), pick(r, modelStates...))
		meta.Name, meta.Worker, meta.PeriodicTaskName, meta.GroupID = pick(r, modelNames...), pick(r, "", "w1", "w2", "W1"), pick(r, "", "", "nightly", "weekly"), pick(r, "", "g1", "g2")
		meta.DateCreated = start.Add(time.Duration(r.IntN(8)-8) * time.Minute)
		meta.DateDone = start.Add(-time.Duration(r.IntN(8)) * 17 * time.Minute)
		labels := map[string]any{"tenant": pick(r, "acme", "Acme", "other"), "cost": pick[any](r, 1, 2, 1.5, true), "deep": []any{1}}
		meta.Meta = celeryresults.NewValue(labels)
		if r.IntN(3) == 0 { // what is replaced leaves no trace
			before := inState(meta.TaskID, celeryresults.Started)
			before.Name, before.Worker = "shop.add", "w1"
			before.Meta = celeryresults.NewValue(map[string]any{"tenant": "acme", "cost": 1})
			before.DateCreated = meta.DateCreated
			before.DateDone = start.Add(-20 * time.Hour)
			store(t, early, before)
		}
		require.NoError(t, late.StoreResult(t.Context(), meta, celeryresults.Override))
		m.ids[meta.TaskID] = b.row(t, meta.TaskID)["id"].(int64)
		m.rows = append(m.rows, meta)
	}
	return m
}

func randomQuery(r *rand.Rand, groups bool) celeryresults.Query {
	var q celeryresults.Query
	set := func(f func()) {
		if r.IntN(4) == 0 {
			f()
		}
	}
	set(func() {
		for range 1 + r.IntN(3) {
			q.States = append(q.States, pick(r, append(modelStates, "NONE")...))
		}
	})
	set(func() { q.Task = pick(r, modelPatterns...) })
	set(func() { q.Worker = pick(r, "w1", "W1", "none") })
	set(func() { q.PeriodicTask = pick(r, "nightly", "weekly", "Weekly") })
	set(func() {
		q.Labels = map[string]string{"tenant": pick(r, "acme", "Acme", "none")}
		set(func() { q.Labels["cost"] = pick(r, "1", "1.5", "true", "[1]") })
	})
	set(func() { q.CreatedFrom = start.Add(-time.Duration(r.IntN(8)) * time.Minute) })
	set(func() { q.CreatedBefore = start.Add(-time.Duration(r.IntN(8)) * time.Minute) })
	set(func() { q.DoneFrom = start.Add(-time.Duration(r.IntN(8)) * 17 * time.Minute) })
	set(func() { q.DoneBefore = start.Add(-time.Duration(r.IntN(8)) * 17 * time.Minute) })
	set(func() { q.Order = celeryresults.ByDone })
	if groups {
		set(func() { q.GroupID = pick(r, "g1", "g2", "G1") })
	}
	return q
}

// want returns the ids that a list must have, in its order.
func (m *model) want(q celeryresults.Query) []string {
	rows := slices.DeleteFunc(slices.Clone(m.rows), func(meta *celeryresults.TaskMeta) bool { return !m.meets(meta, q) })
	slices.SortFunc(rows, func(x, y *celeryresults.TaskMeta) int {
		byTime := y.DateCreated.Compare(x.DateCreated)
		if q.Order == celeryresults.ByDone {
			byTime = y.DateDone.Compare(x.DateDone)
		}
		if byTime != 0 {
			return byTime
		}
		return int(m.ids[y.TaskID] - m.ids[x.TaskID])
	})
	ids := []string{}
	for _, meta := range rows {
		ids = append(ids, meta.TaskID)
	}
	return ids
}

func (m *model) meets(meta *celeryresults.TaskMeta, q celeryresults.Query) bool {
	var s celeryresults.Settings
	retention(&s)
	if expires := s.ExpiresIn(meta.State); expires != celeryresults.Never && m.now.Sub(meta.DateDone) > expires {
		return false
	}
	is := func(want, value string) bool { return want == "" || want == value }
	if !is(q.Worker, meta.Worker) || !is(q.PeriodicTask, meta.PeriodicTaskName) || !is(q.GroupID, meta.GroupID) ||
		q.Task != "" && !pattern.Matches(q.Task, meta.Name) || len(q.States) > 0 && !slices.Contains(q.States, meta.State) {
		return false
	}
	labels, _ := celeryresults.As[map[string]any](meta.Meta)
	for name, value := range q.Labels {
		if fmt.Sprint(labels[name]) != value || name == "cost" && value == "[1]" {
			return false
		}
	}
	byDone := q.Order == celeryresults.ByDone || !q.DoneFrom.IsZero() || !q.DoneBefore.IsZero()
	return (!byDone || meta.State.Ready()) &&
		(q.CreatedFrom.IsZero() || !meta.DateCreated.Before(q.CreatedFrom)) && (q.CreatedBefore.IsZero() || meta.DateCreated.Before(q.CreatedBefore)) &&
		(q.DoneFrom.IsZero() || !meta.DateDone.Before(q.DoneFrom)) && (q.DoneBefore.IsZero() || meta.DateDone.Before(q.DoneBefore))
}

// walk returns the ids of all pages of a list, and calls between between two.
func walk(t *testing.T, b *celeryresults.Backend, q celeryresults.Query, between func()) []string {
	t.Helper()
	ids := []string{}
	for pages := 0; ; pages++ {
		require.Less(t, pages, 2000, "%+v", q)
		page, err := b.List(t.Context(), q)
		require.NoError(t, err, "%+v", q)
		require.LessOrEqual(t, len(page.Results), q.Limit)
		for _, meta := range page.Results {
			ids = append(ids, meta.TaskID)
		}
		if page.Next == "" {
			return ids
		}
		q.Cursor = page.Next
		if between != nil {
			between()
		}
	}
}

func TestListsAreThoseOfTheModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	onEachTable(t, func(t *testing.T, b base) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t, b, r, 80)
		backend := b.at(t, func() time.Time { return start }, retention)
		groups := b.has(t, resultschema.TaskTable, "group_id")
		full := 0
		for range 150 {
			q := randomQuery(r, groups)
			q.Limit = 1 + r.IntN(7)
			want := m.want(q)
			assert.Equal(t, want, walk(t, backend, q, nil), "seed %d: %+v", seed, q)
			full += len(want)
		}
		assert.Positive(t, full)
		if !groups {
			_, err := backend.List(t.Context(), celeryresults.Query{GroupID: "g1"})
			require.ErrorIs(t, err, errors.ErrUnsupported)
		}
	})
}

func TestRowsThatComeAndGoBetweenPagesDisturbNoList(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	onEach(t, func(t *testing.T, b base) {
		r := rand.New(rand.NewPCG(seed, 2))
		m := newModel(t, b, r, 60)
		backend := b.at(t, func() time.Time { return start }, retention)
		for round, q := range []celeryresults.Query{{}, {Order: celeryresults.ByDone}, {States: []celeryresults.State{celeryresults.Success, celeryresults.Failure}}, {Task: "shop*"}} {
			q.Limit = 3
			before := m.want(q)
			gone := map[string]bool{}
			n := 0
			got := walk(t, backend, q, func() {
				n++
				meta := inState(fmt.Sprintf("new-%d-%d", round, n), celeryresults.Success)
				meta.Name, meta.DateCreated, meta.DateDone = "shop.add", start.Add(time.Duration(r.IntN(8)-8)*time.Minute), start.Add(-time.Minute)
				store(t, backend, meta)
				if victim := pick(r, m.rows...).TaskID; n%2 == 0 && !gone[victim] {
					gone[victim] = true
					require.NoError(t, backend.Forget(t.Context(), victim))
				}
			})
			assert.Len(t, got, len(slices.Compact(slices.Sorted(slices.Values(got)))), "seed %d: no doubles", seed)
			for _, id := range before {
				assert.True(t, gone[id] || slices.Contains(got, id), "seed %d: %s was missed", seed, id)
			}
			m.rows = slices.DeleteFunc(m.rows, func(meta *celeryresults.TaskMeta) bool { return gone[meta.TaskID] })
		}
	})
}

func TestPatternsThatMeetManyNames(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		var want []string
		for _, names := range []int{250, 300} { // more than are looked up one by one, then more than are looked through
			first := len(want)
			everyone(32, func(i int) {
				for n := first + i; n < first+names; n += 32 {
					meta := done(fmt.Sprintf("id-%03d", n), n)
					meta.Name, meta.DateCreated = fmt.Sprintf("many.%03d", n), start.Add(time.Duration(n)*time.Second)
					assert.NoError(t, backend.StoreResult(t.Context(), meta))
				}
			})
			for n := first; n < first+names; n++ {
				want = append([]string{fmt.Sprintf("id-%03d", n)}, want...)
			}
			assert.Equal(t, want, walk(t, backend, celeryresults.Query{Task: "many.*", Limit: 100}, nil))
			assert.Equal(t, []string{"id-123"}, walk(t, backend, celeryresults.Query{Task: "many.12?", Limit: 100, CreatedFrom: start.Add(123 * time.Second), CreatedBefore: start.Add(124 * time.Second)}, nil))
			assert.Empty(t, walk(t, backend, celeryresults.Query{Task: "many%*", Limit: 100}, nil))
		}
	})
}

func TestALabelCountsWhileTheRowHasIt(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		now := start
		backend := b.at(t, func() time.Time { return now }, retention)
		with := func(id string, state celeryresults.State, meta any) *celeryresults.TaskMeta {
			m := inState(id, state)
			m.Meta = celeryresults.NewValue(meta)
			return m
		}
		by := func(name, value string) []string {
			return walk(t, backend, celeryresults.Query{Labels: map[string]string{name: value}, Limit: 2}, nil)
		}
		store(t, backend, with("a", celeryresults.Started, map[string]any{"tenant": "old", "kept": "x"}), with("b", celeryresults.Started, map[string]any{"tenant": "old"}))
		store(t, backend, with("a", celeryresults.Success, map[string]any{"tenant": "new", "kept": "x"}))
		assert.Equal(t, []string{"b"}, by("tenant", "old"))
		assert.Equal(t, []string{"a"}, by("tenant", "new"))
		store(t, backend, done("b", 1))
		assert.Empty(t, by("tenant", "old"), "what replaced it has no labels")
		now = start.Add(2 * time.Hour)
		store(t, backend, with("a", celeryresults.Success, map[string]any{"tenant": "new"}))
		assert.Equal(t, []string{"a"}, by("tenant", "new"), "once, though an expired result had it, too")

		many := map[string]any{}
		for i := range 700 {
			many[fmt.Sprintf("label-%d", i)] = fmt.Sprint(i)
		}
		everyone(4, func(i int) {
			assert.NoError(t, backend.StoreResult(t.Context(), with(fmt.Sprint("many-", i), celeryresults.Success, many)))
		})
		assert.Len(t, by("label-699", "699"), 4)
		require.NoError(t, backend.Forget(t.Context(), "a", "many-0", "many-1", "many-2"))
		assert.Equal(t, 700, b.count(t, `SELECT COUNT(*) FROM `+resultschema.LabelTable+` WHERE result_id IN (SELECT id FROM `+resultschema.TaskTable+` WHERE task_id = 'many-3')`))
	})
}

func TestLimitsOfAPage(t *testing.T) {
	onEach(t, func(t *testing.T, b base) {
		backend := b.open(t)
		everyone(32, func(i int) {
			for n := i; n < 1010; n += 32 {
				assert.NoError(t, backend.StoreResult(t.Context(), done(fmt.Sprint("id-", n), n)))
			}
		})
		for limit, want := range map[int]int{0: driver.DefaultLimit, 1: 1, driver.MaxLimit + 1: driver.MaxLimit} {
			page, err := backend.List(t.Context(), celeryresults.Query{Limit: limit})
			require.NoError(t, err)
			assert.Len(t, page.Results, want)
			assert.NotEmpty(t, page.Next)
		}
		_, err := backend.List(t.Context(), celeryresults.Query{Limit: -1})
		require.Error(t, err)
		_, err = backend.List(t.Context(), celeryresults.Query{Labels: map[string]string{strings.Repeat("n", 65): "v"}})
		require.Error(t, err)
	})
}

// oddCursors are well formed, and lead nowhere.
func oddCursors(t testing.TB, b *celeryresults.Backend) []string {
	t.Helper()
	page, err := b.List(t.Context(), celeryresults.Query{Limit: 1})
	require.NoError(t, err)
	return []string{page.Next, "AQ", "!", page.Next[:8] + "____________________", page.Next + page.Next, strings.ToLower(page.Next), strings.Repeat("A", 28)}
}

func TestCursorsOfOtherListsAndGarbageAreRefused(t *testing.T) {
	onEachTable(t, func(t *testing.T, b base) {
		backend := b.open(t)
		for _, id := range numbered("id", 5) {
			store(t, backend, done(id, 1))
		}
		for _, cursor := range oddCursors(t, backend) {
			for _, q := range []celeryresults.Query{{Order: celeryresults.ByDone}, {States: []celeryresults.State{celeryresults.Success}}, {Task: "a*"}} {
				q.Cursor = cursor
				_, err := backend.List(t.Context(), q)
				require.ErrorIs(t, err, celeryresults.ErrCursor, cursor)
			}
		}
		for _, cursor := range dbbackend.ExtremeCursors(celeryresults.Query{}) {
			_, err := backend.List(t.Context(), celeryresults.Query{Cursor: cursor})
			require.NoError(t, err)
		}
	})
}

// FuzzListNeverFailsOverACursor uses SQLite, which is quick.
func FuzzListNeverFailsOverACursor(f *testing.F) {
	database := cache.Database{URL: "sqlite:///" + filepath.Join(f.TempDir(), "results.db")}
	b := openBase(f, database)
	b.migrate(f, dbbackend.MigrateOptions{})
	backend := b.open(f)
	for _, id := range numbered("id", 5) {
		store(f, backend, done(id, 1))
	}
	for _, cursor := range oddCursors(f, backend) {
		f.Add(cursor)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		for _, q := range []celeryresults.Query{{Cursor: cursor}, {Cursor: cursor, Order: celeryresults.ByDone, Task: "a*"}} {
			if _, err := backend.List(t.Context(), q); err != nil && !errors.Is(err, celeryresults.ErrCursor) {
				t.Fatal(err)
			}
		}
	})
}
