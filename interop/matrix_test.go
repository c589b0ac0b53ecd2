package interop_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/python"
)

// wakeTimeout is how long anything may take that is waited for.
const wakeTimeout = 15 * time.Second

var update = flag.Bool("update", false, "write into docs/compat.md how the matrix came out")

// set is what of Python runs: a file of pinned requirements.
type set struct{ name, requirements string }

var sets = []set{
	{"current", "requirements.txt"},
	{"older", "requirements-older.txt"},
}

// store is one way to keep results that both languages have.
type store struct {
	name     string
	format   string // of what lies there: json, pickle, yaml or msgpack
	settings func(t *testing.T, serializer string) shared
	lacks    map[string]string // sets that have no such store, and why
	holds    map[string]string // the format of what lies there for sets where it is another
}

// formatFor returns the format of what lies in the store.
func (s store) formatFor(set string) string { return cmp.Or(s.holds[set], s.format) }

// shared are the settings of one store in both languages.
type shared struct {
	ours     celeryresults.Settings
	python   map[string]any
	database string // of Django, where it matters
	redis    string // the address of the server that publishes
}

// stores are the rows of the matrix.
var stores = []store{
	{name: "redis, json", format: "json", settings: onRedis},
	{name: "redis, json, with a prefix", format: "json", settings: onRedisWithPrefix, lacks: map[string]string{"older": "Celery 5.2 has no global_keyprefix"}},
	{name: "redis, json, compressed", format: "json", settings: onCompressedRedis, lacks: map[string]string{"older": "Celery before 5.7 does not compress results"}},
	{name: "redis, pickle", format: "pickle", settings: onRedis},
	{name: "redis, yaml", format: "yaml", settings: onRedis},
	{name: "redis, msgpack", format: "msgpack", settings: onRedis},
	{name: "memcached by Celery, json", format: "json", settings: onCelerysMemcached},
	{name: "django-cache, RedisCache", format: "pickle", settings: onCache("django.core.cache.backends.redis.RedisCache", redisLocation)},
	{name: "django-cache, django-redis", format: "pickle", settings: onDjangoRedis("")},
	{name: "django-cache, django-redis, compressed by zlib", format: "pickle", settings: onDjangoRedis("zlib.ZlibCompressor")},
	{name: "django-cache, django-redis, compressed by lzma", format: "pickle", settings: onDjangoRedis("lzma.LzmaCompressor")},
	{name: "django-cache, PyMemcacheCache", format: "pickle", settings: onCache("django.core.cache.backends.memcached.PyMemcacheCache", memcachedLocation)},
	{name: "django-cache, PyLibMCCache", format: "pickle", settings: onCache("django.core.cache.backends.memcached.PyLibMCCache", memcachedLocation)},
	{name: "django-cache, DatabaseCache on SQLite", format: "pickle", settings: onCacheTable(0)},
	{name: "django-cache, DatabaseCache on PostgreSQL", format: "pickle", settings: onCacheTable(1)},
	{name: "django-cache, DatabaseCache on MariaDB", format: "pickle", settings: onCacheTable(2)},
	{name: "django-db on SQLite, json", format: "json", settings: onTables(0)},
	{name: "django-db on PostgreSQL, json", format: "json", settings: onTables(1)},
	{name: "django-db on PostgreSQL, pickle", format: "pickle", settings: onTables(1)},
	{name: "django-db on MariaDB, json", format: "json", settings: onTables(2)},
	{name: "SQLAlchemy on SQLite, json", format: "json", settings: onSQLAlchemy(0, false), holds: pickledBefore57},
	{name: "SQLAlchemy on PostgreSQL, json", format: "json", settings: onSQLAlchemy(1, false), holds: pickledBefore57},
	{name: "SQLAlchemy on PostgreSQL, pickle, with other tables in a schema", format: "pickle", settings: onSQLAlchemy(1, true)},
	{name: "SQLAlchemy on MariaDB, json", format: "json", settings: onSQLAlchemy(2, false), holds: pickledBefore57},
}

// pickledBefore57: Celery's own tables hold pickles, whatever the serializer.
var pickledBefore57 = map[string]string{"older": "pickle"}

func onRedis(t *testing.T, serializer string) shared {
	server := testserver.StartRedis(t)
	url := "redis://" + server.Addr() + "/3"
	return shared{
		ours: celeryresults.Settings{
			ResultBackend: url, ResultSerializer: serializer, ResultAcceptContent: []string{serializer},
		},
		python: map[string]any{
			"CELERY_RESULT_BACKEND": url, "CELERY_RESULT_SERIALIZER": serializer, "CELERY_RESULT_ACCEPT_CONTENT": []string{serializer},
		},
		redis: server.Addr(),
	}
}

func onRedisWithPrefix(t *testing.T, serializer string) shared {
	s := onRedis(t, serializer)
	s.ours.ResultBackendTransportOptions.GlobalKeyPrefix = "shop"
	s.python["CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS"] = map[string]any{"global_keyprefix": "shop"}
	return s
}

func onCompressedRedis(t *testing.T, serializer string) shared {
	s := onRedis(t, serializer)
	s.ours.ResultCompression, s.python["CELERY_RESULT_COMPRESSION"] = "gzip", "gzip"
	return s
}

func onCelerysMemcached(t *testing.T, serializer string) shared {
	url := "cache+memcached://" + testserver.StartMemcached(t).Addr() + "/"
	return shared{
		ours:   celeryresults.Settings{ResultBackend: url, ResultSerializer: serializer},
		python: map[string]any{"CELERY_RESULT_BACKEND": url, "CELERY_RESULT_SERIALIZER": serializer},
	}
}

func redisLocation(t *testing.T) string     { return "redis://" + testserver.StartRedis(t).Addr() + "/1" }
func memcachedLocation(t *testing.T) string { return testserver.StartMemcached(t).Addr() }

func onCache(engine string, location func(t *testing.T) string) func(t *testing.T, _ string) shared {
	return func(t *testing.T, _ string) shared {
		at := location(t)
		return shared{
			ours: celeryresults.Settings{
				ResultBackend: "django-cache", CacheBackend: "results",
				Caches: map[string]cache.Settings{"results": {Backend: engine, Location: []string{at}, KeyPrefix: "shop", Version: 2}},
			},
			python: map[string]any{
				"CELERY_RESULT_BACKEND": "django-cache", "CELERY_CACHE_BACKEND": "results",
				"CACHES": map[string]any{
					"default": map[string]any{"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
					"results": map[string]any{"BACKEND": engine, "LOCATION": at, "KEY_PREFIX": "shop", "VERSION": 2},
				},
			},
		}
	}
}

// onDjangoRedis is the cache of the package django-redis.
func onDjangoRedis(compressor string) func(t *testing.T, _ string) shared {
	return func(t *testing.T, _ string) shared {
		s := onCache("django_redis.cache.RedisCache", redisLocation)(t, "")
		if compressor != "" {
			name, _, _ := strings.Cut(compressor, ".")
			ours := s.ours.Caches["results"]
			ours.Options.Compressor = name
			s.ours.Caches["results"] = ours
			theirs := s.python["CACHES"].(map[string]any)["results"].(map[string]any)
			theirs["OPTIONS"] = map[string]any{"COMPRESSOR": "django_redis.compressors." + compressor}
		}
		return s
	}
}

func onCacheTable(engine int) func(t *testing.T, _ string) shared {
	return func(t *testing.T, _ string) shared {
		const class = "django.core.cache.backends.db.DatabaseCache"
		s := onCache(class, func(*testing.T) string { return "cache_table" })(t, "")
		s.database = engines[engine].fresh(t)
		s.ours.Databases = map[string]cache.Database{"default": {URL: s.database}}
		return s
	}
}

func onTables(engine int) func(t *testing.T, serializer string) shared {
	return func(t *testing.T, serializer string) shared {
		s := shared{database: engines[engine].fresh(t)}
		s.ours = celeryresults.Settings{
			ResultBackend: "django-db", ResultSerializer: serializer, ResultAcceptContent: []string{"json", "pickle"},
			Databases: map[string]cache.Database{"default": {URL: s.database}},
		}
		s.python = map[string]any{"CELERY_RESULT_BACKEND": "django-db", "CELERY_RESULT_SERIALIZER": serializer}
		return s
	}
}

// onSQLAlchemy is Celery's own backend for databases, whose tables Python makes.
func onSQLAlchemy(engine int, named bool) func(t *testing.T, serializer string) shared {
	return func(t *testing.T, serializer string) shared {
		url := engines[engine].fresh(t)
		scheme, rest, _ := strings.Cut(url, "://")
		s := shared{
			ours: celeryresults.Settings{ResultBackend: "db+" + url, ResultSerializer: serializer, ResultAcceptContent: []string{serializer}},
			python: map[string]any{
				"CELERY_RESULT_BACKEND": "db+" + sqlAlchemyDrivers[scheme] + "://" + rest, "CELERY_RESULT_SERIALIZER": serializer,
				"CELERY_RESULT_ACCEPT_CONTENT": []string{serializer},
			},
		}
		if named {
			s.ours.Database.TableNames = map[string]string{"task": "results", "group": "groups"}
			s.ours.Database.TableSchemas = map[string]string{"task": "celery", "group": "celery"}
			s.python["CELERY_DATABASE_TABLE_NAMES"], s.python["CELERY_DATABASE_TABLE_SCHEMAS"] = s.ours.Database.TableNames, s.ours.Database.TableSchemas
			db, _, err := sqldialect.Open(cache.Database{URL: url})
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), `CREATE SCHEMA celery`)
			require.NoError(t, errors.Join(err, db.Close()))
		}
		return s
	}
}

// sqlAlchemyDrivers are the drivers that SQLAlchemy is to use.
var sqlAlchemyDrivers = map[string]string{"sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql+pymysql"}

// cell is what came out for one store and one feature.
type cell struct {
	equal, all int
	notes      []string // numbers of differences
}

// difference is one that is known, and why it is.
type difference struct {
	set     string // empty: all
	format  string // of the stores; empty: any
	stores  string // the beginning of their names
	feature string
	cases   []string
	why     string
}

func (d difference) is(m *matrix, feature, what string) bool {
	return (d.set == "" || d.set == m.set.name) && (d.format == "" || d.format == m.format) && strings.HasPrefix(m.store.name, d.stores) &&
		d.feature == feature && slices.Contains(d.cases, what)
}

// matrix runs the features of one store.
type matrix struct {
	*pair
	set    set
	store  store
	format string
	redis  string

	mu     sync.Mutex
	cells  map[string]*cell
	differ map[string]string // cases that differ, and how
}

// count notes one case of a feature, which differs if how is not empty.
func (m *matrix) count(feature, what, how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cells[feature]
	if c == nil {
		c = new(cell)
		m.cells[feature] = c
	}
	c.all++
	if how == "" {
		c.equal++
	} else {
		m.differ[feature+": "+what] = how
	}
}

// features are the columns of the matrix.
var features = []struct {
	name string
	run  func(t *testing.T, m *matrix)
}{
	{"values Go → Python", func(_ *testing.T, m *matrix) { m.valuesOfGo() }},
	{"values Python → Go", func(_ *testing.T, m *matrix) { m.valuesOfPython() }},
	{"states Go → Python", func(t *testing.T, m *matrix) { m.statesOfGo(t.Context()) }},
	{"states worker → Go", func(t *testing.T, m *matrix) { m.statesOfWorker(t.Context()) }},
	{"relations", func(t *testing.T, m *matrix) { m.relations(t.Context()) }},
	{"groups", func(t *testing.T, m *matrix) { m.groups(t.Context()) }},
	{"chord with Go", func(t *testing.T, m *matrix) { m.chords(t.Context()) }},
	{"Python waits", func(t *testing.T, m *matrix) { m.pythonWaits(t.Context()) }},
	{"Go waits", func(t *testing.T, m *matrix) { m.goWaits(t.Context()) }},
}

// outcomes collects the cells of all runs, for the table.
type outcomes struct {
	cells map[string]map[string]*cell // by set and store, and by feature
}

func TestMatrix(t *testing.T) {
	all := &outcomes{cells: map[string]map[string]*cell{}}
	used := make([]bool, len(known))
	wanted := 0
	var mu sync.Mutex
	ok := t.Run("stores", func(t *testing.T) {
		for _, set := range sets {
			for _, s := range stores {
				if s.lacks[set.name] != "" {
					continue
				}
				wanted++
				t.Run(set.name+"/"+s.name, func(t *testing.T) {
					t.Parallel()
					m := startMatrix(t, set, s)
					for _, f := range features {
						f.run(t, m)
					}
					mu.Lock()
					defer mu.Unlock()
					m.check(t, used)
					all.cells[set.name+"/"+s.name] = m.cells
				})
			}
		}
	})
	if !ok || len(all.cells) < wanted { // some were left out
		return
	}
	for i, d := range known {
		assert.True(t, used[i], "this difference is none any more: %+v", d)
	}
	all.compare(t)
}

func startMatrix(t *testing.T, on set, s store) *matrix {
	t.Helper()
	python := needPython(t, on.requirements)
	both := s.settings(t, s.format)
	both.python["CELERY_TASK_TRACK_STARTED"] = true
	settings, err := json.Marshal(both.python)
	require.NoError(t, err)
	p := startWith(t, python, cmp.Or(both.database, "sqlite:///"+filepath.Join(t.TempDir(), "unused.db")), "SETTINGS="+string(settings))
	if both.database != "" {
		p.do(t, "migrate", nil)
		p.do(t, "createcachetable", nil)
	}
	both.ours.ResultExtended, both.ours.TaskTrackStarted = true, true
	app, err := backends.Open(both.ours)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	p.do(t, "worker", nil)
	p.do(t, "read", arguments{"id": "nobody's"}) // Celery makes its own tables when it first looks
	return &matrix{
		pair: &pair{p, app}, set: on, store: s, format: s.formatFor(on.name), redis: both.redis,
		cells: map[string]*cell{}, differ: map[string]string{},
	}
}

// check compares the differences with those that are known.
func (m *matrix) check(t *testing.T, used []bool) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(m.differ)) {
		found := false
		for i, d := range known {
			feature, one, _ := strings.Cut(what, ": ")
			if !d.is(m, feature, one) {
				continue
			}
			found, used[i] = true, true
			if note := fmt.Sprint(i + 1); !slices.Contains(m.cells[feature].notes, note) {
				m.cells[feature].notes = append(m.cells[feature].notes, note)
			}
		}
		assert.True(t, found, "%s: %s", what, m.differ[what])
	}
}

// asked asks Python, and returns how that failed.
func asked[T any](m *matrix, command string, given arguments) (T, error) {
	var v T
	answer, err := m.ask(command, given)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(answer)))
		d.UseNumber()
		err = d.Decode(&v)
	}
	return v, err
}

// unlike returns how two things differ that print as JSON, empty if they do not.
func unlike(want, got any) string {
	w, err := json.Marshal(want)
	g, err2 := json.Marshal(got)
	if err != nil || err2 != nil {
		return fmt.Sprint(err, err2)
	}
	if string(w) == string(g) {
		return ""
	}
	return fmt.Sprintf("want %s, got %s", shortened(string(w)), shortened(string(g)))
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return shortened(err.Error())
}

// Values

// values are those of the store's format.
func (m *matrix) values() []value {
	if m.format != "pickle" {
		return slices.Concat(values, pickled[1:]) // a tuple is a list there
	}
	list := slices.DeleteFunc(slices.Clone(values), func(v value) bool { return v.name == "tuple" })
	return append(list, pickled...)
}

func (m *matrix) valuesOfGo() {
	for _, v := range m.values() {
		m.count("values Go → Python", v.name, m.valueOfGo(v))
	}
}

func (m *matrix) valueOfGo(v value) string {
	id := "go-value-" + strings.ReplaceAll(v.name, " ", "-")
	stored := m.app.MarkAsDone(context.Background(), &celeryresults.Request{ID: id}, v.in)
	theirs := m.pythonHolds(id+"-by-python", v)
	switch {
	case stored != nil && theirs != nil: // the format does not hold it
		return ""
	case stored != nil:
		return "Go can't store it, Python can: " + said(stored)
	case theirs != nil:
		return "Python can't store it, Go can: " + said(theirs)
	}
	got, err := asked[reading](m, "read", arguments{"id": id})
	if err != nil {
		return said(err)
	}
	want, err := asked[evaluated](m, "evaluate", arguments{"value": cmp.Or(v.reads, v.source)})
	switch {
	case err != nil:
		return said(err)
	case got.State != "SUCCESS" || got.Raised != nil:
		return fmt.Sprintf("Python reads %s, and get raises %+v", got.State, got.Raised)
	case want.Repr != got.Repr:
		return fmt.Sprintf("want %s, got %s", shortened(want.Repr), shortened(got.Repr))
	}
	return ""
}

// pythonHolds returns nil if Python stores the value and reads it again.
func (m *matrix) pythonHolds(id string, v value) error {
	_, err := m.ask("store", arguments{"id": id, "state": "SUCCESS", "value": v.source})
	if err == nil {
		_, err = m.ask("read", arguments{"id": id})
	}
	return err
}

func (m *matrix) valuesOfPython() {
	for _, v := range m.values() {
		m.count("values Python → Go", v.name, m.valueOfPython(v))
	}
}

func (m *matrix) valueOfPython(v value) string {
	id := "python-value-" + strings.ReplaceAll(v.name, " ", "-")
	if m.pythonHolds(id, v) != nil {
		return "" // whether Go stores it, valueOfGo asks
	}
	want := v.in
	if v.read != nil {
		want = v.read
	}
	tree, err := python.Plain(want)
	if err != nil {
		return said(err)
	}
	meta, err := m.backend().GetTaskMeta(context.Background(), id)
	if err != nil {
		return said(err)
	}
	got, err := meta.Result.Any()
	switch {
	case err != nil:
		return said(err)
	case meta.State != celeryresults.Success:
		return fmt.Sprintf("Go reads %s", meta.State)
	case fmt.Sprintf("%T", tree) != fmt.Sprintf("%T", got):
		return fmt.Sprintf("want a %T, got a %T", tree, got)
	case string(python.JSON(nil, tree)) != string(python.JSON(nil, got)):
		return fmt.Sprintf("want %s, got %s", shortened(string(python.JSON(nil, tree))), shortened(string(python.JSON(nil, got))))
	}
	return ""
}

// States

func (m *matrix) statesOfGo(ctx context.Context) {
	request := func(id string) *celeryresults.Request {
		return &celeryresults.Request{ID: id, Task: "shop.tasks.add", Worker: "go@shop", Args: []any{2, "zwei"}}
	}
	progress := map[string]int{"current": 40, "total": 100}
	for _, c := range []struct {
		state  celeryresults.State
		store  func(id string) error
		canon  any
		raised string // what get raises
	}{
		{"PENDING", func(id string) error { return m.app.RecordPending(ctx, request(id)) }, nil, ""},
		{"STARTED", func(id string) error { return m.app.UpdateState(ctx, request(id), "STARTED", map[string]int{"pid": 7}) }, map[string]int{"pid": 7}, ""},
		{"PROGRESS", func(id string) error { return m.app.UpdateState(ctx, request(id), "PROGRESS", progress) }, progress, ""},
		{"RETRY", func(id string) error {
			return m.app.MarkAsRetry(ctx, request(id), &celeryresults.TaskError{Type: "ConnectionError", Args: []any{"upstream closed"}})
		}, exception("ConnectionError", "builtins", "upstream closed"), ""},
		{"REVOKED", func(id string) error { return m.app.MarkAsRevoked(ctx, request(id), "terminated") },
			exception("TaskRevokedError", "celery.exceptions", "terminated"), "TaskRevokedError"},
		{"SUCCESS", func(id string) error { return m.app.MarkAsDone(ctx, request(id), 5) }, 5, ""},
	} {
		id := "go-state-" + string(c.state)
		m.count("states Go → Python", string(c.state), m.stateOfGo(id, c.state, c.store(id), c.canon, c.raised))
	}
	for _, f := range failures {
		id := "go-failure-" + strings.ReplaceAll(f.name, " ", "-")
		err := m.app.MarkAsFailure(ctx, request(id), f.err)
		m.count("states Go → Python", "FAILURE, "+f.name, m.stateOfGo(id, "FAILURE", err, exception(f.typ, f.module, f.args...), f.typ))
	}
}

func exception(class, module string, args ...any) map[string]any {
	if args == nil {
		args = []any{}
	}
	return map[string]any{"exc_type": class, "exc_message": args, "exc_module": module}
}

func (m *matrix) stateOfGo(id string, state celeryresults.State, stored error, canon any, raised string) string {
	if stored != nil {
		return said(stored)
	}
	got, err := asked[reading](m, "read", arguments{"id": id})
	switch {
	case err != nil:
		return said(err)
	case got.State != string(state):
		return "Python reads " + got.State
	case (raised != "") != (got.Raised != nil), got.Raised != nil && got.Raised.Type != raised:
		return fmt.Sprintf("get raises %+v", got.Raised)
	}
	return unlike(canon, got.Canon)
}

func (m *matrix) statesOfWorker(ctx context.Context) {
	for _, c := range []struct {
		what   string
		state  celeryresults.State
		send   arguments
		result string // in JSON
	}{
		{"SUCCESS", "SUCCESS", arguments{"task": "add", "args": "(2, 3)"}, `5`},
		{"FAILURE", "FAILURE", arguments{"task": "divide", "args": "(1, 0)"}, `{"exc_message":["division by zero"],"exc_module":"builtins","exc_type":"ZeroDivisionError"}`},
		{"FAILURE of the project's own", "FAILURE", arguments{"task": "quota"}, `{"exc_message":["acme",10],"exc_module":"shop.errors","exc_type":"QuotaExceeded"}`},
		{"RETRY", "RETRY", arguments{"task": "flaky"}, `{"exc_message":["upstream closed"],"exc_module":"builtins","exc_type":"ConnectionError"}`},
		{"REVOKED", "REVOKED", arguments{"task": "add", "args": "(2, 3)", "revoked": true}, `{"exc_message":["revoked"],"exc_module":"celery.exceptions","exc_type":"TaskRevokedError"}`},
		{"PROGRESS", "PROGRESS", arguments{"task": "progress"}, `{"current":40,"total":100}`},
		{"STARTED", "STARTED", arguments{"task": "hold"}, ""},
	} {
		m.count("states worker → Go", c.what, m.stateOfWorker(ctx, "worker-"+strings.ReplaceAll(c.what, " ", "-"), c.state, c.send, c.result))
	}
	if _, err := m.ask("release", nil); err != nil {
		m.count("states worker → Go", "release", said(err))
	}
	m.count("states worker → Go", "SUCCESS after STARTED", m.stateOfWorker(ctx, "worker-STARTED", "SUCCESS", nil, `"released"`))
}

// stateOfWorker waits until the worker has left the state.
func (m *matrix) stateOfWorker(ctx context.Context, id string, state celeryresults.State, send arguments, result string) string {
	if send != nil {
		given := maps.Clone(send)
		given["id"], given["task"] = id, fmt.Sprint("shop.tasks.", send["task"])
		if _, err := m.ask("send", given); err != nil {
			return said(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	meta, err := m.backend().Await(ctx, id, func(meta *celeryresults.TaskMeta) bool { return meta.State == state })
	if err != nil {
		last, _ := m.backend().GetTaskMeta(context.Background(), id)
		return fmt.Sprintf("%v; it is %+v", err, last)
	}
	fields, err := fieldsOf(meta)
	if err != nil {
		return said(err)
	}
	if got, err := json.Marshal(fields["result"]); result != "" && (err != nil || string(got) != result) {
		return fmt.Sprintf("want %s, got %s %v", result, got, err)
	}
	return m.like(id)
}

// like compares, field by field, the metadata that Python reads of a task with what
// Go does.
func (m *matrix) like(id string) string {
	meta, err := m.backend().GetTaskMeta(context.Background(), id)
	if err != nil {
		return said(err)
	}
	ours, err := fieldsOf(meta)
	if err != nil {
		return said(err)
	}
	theirs, err := asked[reading](m, "read", arguments{"id": id})
	if err != nil {
		return said(err)
	}
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(theirs.Meta)) {
		want, got := theirs.Meta[name], ours[name]
		switch {
		case name == "date_done": // older writers leave out the offset
			want, got = instantOf(want), instantOf(got)
		case strings.HasPrefix(name, "celeryresults."): // Go's own, beside Python's
			continue
		case name == "args" && meta.Row != nil && meta.Row.ID != 0: // what people are shown
			got = meta.Row.Args
		case name == "kwargs" && meta.Row != nil && meta.Row.ID != 0:
			got = meta.Row.Kwargs
		}
		if how := unlike(want, got); how != "" {
			bad = append(bad, name+": "+how)
		}
	}
	return strings.Join(bad, "; ")
}

// fieldsOf returns a meta as the command prints it.
func fieldsOf(meta *celeryresults.TaskMeta) (map[string]any, error) {
	data, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var fields map[string]any
	return fields, d.Decode(&fields)
}

func instantOf(v any) any {
	text, _ := v.(string)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC()
		}
	}
	return v
}

// Relations

func (m *matrix) relations(ctx context.Context) {
	m.count("relations", "children of a worker", m.childrenOfWorker(ctx))
	request := &celeryresults.Request{
		ID: "go-relations", GroupID: "group-of-it", ParentID: "parent-of-it", Args: []any{2, "zwei"}, Kwargs: map[string]any{"n": 5},
		Children: []celeryresults.ResultTuple{{ID: "c1", Parent: &celeryresults.ResultTuple{ID: "go-relations"}}, {ID: "g1", Children: []celeryresults.ResultTuple{{ID: "c2"}}}},
	}
	err := m.app.MarkAsDone(ctx, request, 5)
	how := said(err)
	if err == nil {
		how = m.relationsOfGo(request)
	}
	m.count("relations", "of Go", how)

	const source = "{'children': [[['c1', None], None]], 'group': 'group-of-it', 'parent_id': 'parent-of-it', 'args': (2, 'zwei'), 'kwargs': {'n': 5}, 'task': 'shop.tasks.add', 'hostname': 'worker@shop', 'retries': 3}"
	_, err = m.ask("store", arguments{"id": "python-relations", "state": "SUCCESS", "value": "5", "request": source})
	how = said(err)
	if err == nil {
		how = m.like("python-relations")
	}
	m.count("relations", "of Python", how)
}

func (m *matrix) childrenOfWorker(ctx context.Context) string {
	if how := m.stateOfWorker(ctx, "worker-parent", "SUCCESS", arguments{"task": "spawns"}, `"spawned"`); how != "" {
		return how
	}
	meta, err := m.backend().GetTaskMeta(ctx, "worker-parent")
	if err != nil {
		return said(err)
	}
	if len(meta.Children) != 1 || meta.Children[0].ID != "child-of-worker-parent" {
		return fmt.Sprintf("children are %+v", meta.Children)
	}
	return m.stateOfWorker(ctx, "child-of-worker-parent", "SUCCESS", nil, "3")
}

func (m *matrix) relationsOfGo(request *celeryresults.Request) string {
	got, err := asked[reading](m, "read", arguments{"id": request.ID})
	if err != nil {
		return said(err)
	}
	return cmp.Or(unlike(request.Children, got.Children), unlike(request.GroupID, got.Meta["group_id"]), unlike(request.ParentID, got.Meta["parent_id"]), m.like(request.ID))
}

// Groups

func (m *matrix) groups(ctx context.Context) {
	groups := m.backend()
	for _, group := range []celeryresults.ResultTuple{
		{ID: "plain", Children: []celeryresults.ResultTuple{{ID: "a"}, {ID: "b"}, {ID: "c"}}},
		{ID: "with-a-parent", Parent: &celeryresults.ResultTuple{ID: "p"}, Children: []celeryresults.ResultTuple{{ID: "a", Parent: &celeryresults.ResultTuple{ID: "q"}}}},
		{ID: "nested", Children: []celeryresults.ResultTuple{{ID: "inner", Children: []celeryresults.ResultTuple{{ID: "a"}}}, {ID: "b"}}},
	} {
		ours := group
		ours.ID = "go-" + group.ID
		how := said(groups.SaveGroup(ctx, ours))
		if how == "" {
			got, err := asked[any](m, "restore_group", arguments{"id": ours.ID})
			how = cmp.Or(said(err), unlike(ours, got))
		}
		m.count("groups", group.ID+", saved by Go", how)

		theirs := group
		theirs.ID = "python-" + group.ID
		_, err := m.ask("save_group", arguments{"id": theirs.ID, "members": theirs.Children, "parent": theirs.Parent})
		want, err2 := asked[any](m, "restore_group", arguments{"id": theirs.ID}) // a pickled group has no parent
		if how = said(errors.Join(err, err2)); how == "" {
			got, err := groups.RestoreGroup(ctx, theirs.ID)
			how = cmp.Or(said(err), unlike(want, got))
		}
		m.count("groups", group.ID+", saved by Python", how)
	}
}

// Chords

// message is what a worker gets of a member of a chord.
type message struct {
	ID    string
	Args  []any
	Group string
	Index *int
	Chord json.RawMessage // the body's signature
}

// chords has Python send chords of two members, of which a worker of Python runs
// one and Go the other.
func (m *matrix) chords(ctx context.Context) {
	for _, order := range []string{"first", "last"} {
		m.count("chord with Go", "Go "+order, m.mixedChord(ctx, order))
	}
}

func (m *matrix) mixedChord(ctx context.Context, order string) string {
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	name := "chord-go-" + order
	queue := "celery"
	if order == "first" {
		queue = "later" // which nobody serves before Go is done
	}
	members := [][]any{{"shop.tasks.add", []int{1, 2}, name + "-python", queue}, {"go.double", []int{7}, name + "-go", "go"}}
	if _, err := m.ask("send_chord", arguments{"members": members, "body_id": name + "-body"}); err != nil {
		return said(err)
	}
	got, err := asked[message](m, "take", arguments{"queue": "go"})
	if err != nil {
		return said(err)
	}
	if order == "last" {
		if _, err := celeryresults.NewAsyncResult(name+"-python", m.backend()).Wait(ctx); err != nil {
			return said(err)
		}
	}
	if how := m.runInGo(ctx, got); how != "" {
		return how
	}
	if order == "first" {
		if _, err := m.ask("serve_later", nil); err != nil {
			return said(err)
		}
	}
	sum, err := celeryresults.Get[int](ctx, celeryresults.NewAsyncResult(name+"-body", m.backend()))
	if err != nil {
		return fmt.Sprintf("the body: %v", err)
	}
	return unlike(17, sum)
}

// runInGo is a worker in Go: it stores the member's result and reports its part.
func (m *matrix) runInGo(ctx context.Context, got message) string {
	n, _ := got.Args[0].(json.Number).Int64()
	request := &celeryresults.Request{ID: got.ID, GroupID: got.Group, Task: "go.double"}
	if err := m.app.MarkAsDone(ctx, request, 2*n); err != nil {
		return said(err)
	}
	parts, err := m.backend().CeleryChord(got.Group).Report(ctx, celeryresults.ChordPart{
		TaskID: got.ID, Index: got.Index, State: celeryresults.Success, Result: celeryresults.NewValue(2 * n),
	})
	if err != nil || parts == nil {
		if errors.Is(err, errors.ErrUnsupported) { // Python's chord_unlock looks whether all are ready
			return ""
		}
		return said(err)
	}
	results := make([]celeryresults.Value, len(parts.Members))
	for i, member := range parts.Members {
		results[i] = member.Result
	}
	_, err = m.ask("send_body", arguments{"body": got.Chord, "results": results})
	return said(err)
}

// Waits

func (m *matrix) pythonWaits(ctx context.Context) {
	for _, c := range []struct {
		what  string
		store func(request *celeryresults.Request) error
		want  map[string]any
	}{
		{"SUCCESS", func(r *celeryresults.Request) error { return m.app.MarkAsDone(ctx, r, "dönë") }, map[string]any{"canon": "dönë"}},
		{"FAILURE", func(r *celeryresults.Request) error {
			return m.app.MarkAsFailure(ctx, r, &celeryresults.TaskError{Type: "KeyError", Args: []any{"k"}})
		}, map[string]any{"raised": []any{"KeyError", []any{"k"}}}},
	} {
		id := "python-waits-" + c.what
		_, err := m.ask("expect", arguments{"id": id})
		if err == nil {
			err = m.subscribed(ctx, id)
		}
		if err == nil {
			err = c.store(&celeryresults.Request{ID: id})
		}
		var got map[string]any
		if err == nil {
			got, err = asked[map[string]any](m, "expected", arguments{"id": id})
		}
		m.count("Python waits", c.what, cmp.Or(said(err), unlike(c.want, got)))
	}
}

// subscribed waits until Python has subscribed, where results are published.
func (m *matrix) subscribed(ctx context.Context, id string) error {
	if m.redis == "" {
		return nil
	}
	client := redis.NewClient(&redis.Options{Addr: m.redis})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	for {
		list, err := client.PubSubChannels(ctx, "*"+id).Result()
		if err != nil || len(list) > 0 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

func (m *matrix) goWaits(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, wakeTimeout)
	defer cancel()
	type answer struct {
		meta *celeryresults.TaskMeta
		err  error
	}
	for what, given := range map[string]arguments{
		"SUCCESS": {"task": "shop.tasks.add", "args": "(2, 3)"}, "FAILURE": {"task": "shop.tasks.divide", "args": "(1, 0)"},
	} {
		id := "go-waits-" + what
		woken, waits := make(chan answer, 1), make(chan struct{})
		go func() {
			var once sync.Once
			meta, err := m.backend().Await(ctx, id, func(meta *celeryresults.TaskMeta) bool {
				once.Do(func() { close(waits) }) // it has looked, in vain
				return meta.State.Ready()
			})
			woken <- answer{meta, err}
		}()
		var err error
		var got answer
		select {
		case <-waits:
			given["id"] = id
			_, err = m.ask("send", given)
			got = <-woken
		case got = <-woken:
		}
		err = errors.Join(err, got.err)
		how := said(err)
		if err == nil {
			how = unlike(what, got.meta.State)
		}
		m.count("Go waits", what, how)
	}
}

// The table

const (
	tableBegins = "<!-- from here to the next such mark, TestMatrix wrote it: go test ./interop -run TestMatrix -update -->\n"
	tableEnds   = "<!-- to here -->\n"
)

func (o *outcomes) compare(t *testing.T) {
	const path = "../docs/compat.md"
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	committed := string(data)
	before, rest, found := strings.Cut(committed, tableBegins)
	_, after, ends := strings.Cut(rest, tableEnds)
	require.True(t, found && ends, "docs/compat.md lacks the marks of the table")
	text := before + tableBegins + o.table() + tableEnds + after
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return
	}
	assert.Equal(t, committed, text, "docs/compat.md is not what came out; go test ./interop -run TestMatrix -update writes it")
}

func (o *outcomes) table() string {
	var b strings.Builder
	for _, set := range sets {
		fmt.Fprintf(&b, "\n### %s\n\n| store |", strings.Join(pinned(set.requirements), ", "))
		for _, f := range features {
			fmt.Fprintf(&b, " %s |", f.name)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(features)) + "\n")
		for _, s := range stores {
			fmt.Fprintf(&b, "| %s |", s.name)
			for _, f := range features {
				fmt.Fprintf(&b, " %s |", o.cells[set.name+"/"+s.name][f.name])
			}
			b.WriteString("\n")
		}
	}
	if len(known) > 0 {
		b.WriteString("\n### Differences\n\n")
		for i, d := range known {
			fmt.Fprintf(&b, "%d. %s (%s): %s\n", i+1, d.feature, strings.Join(d.cases, ", "), d.why)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// String shows the cell.
func (c *cell) String() string {
	if c == nil {
		return "–"
	}
	text := fmt.Sprintf("%d/%d", c.equal, c.all)
	if len(c.notes) > 0 {
		text += " (" + strings.Join(c.notes, ", ") + ")"
	}
	return text
}

// pinned returns the releases that a set names first.
func pinned(requirements string) []string {
	data, err := os.ReadFile(requirements)
	if err != nil {
		return []string{err.Error()}
	}
	_, rest, _ := strings.Cut(string(data), "\ncelery==")
	first, _, _ := strings.Cut("celery=="+rest, "\n\n")
	names := strings.Split(strings.TrimSpace(first), "\n")
	for i, name := range names {
		names[i] = strings.Replace(name, "==", " ", 1)
	}
	return names
}

// known are the differences that are to be, or that can't be helped.
var known = []difference{
	{
		set: "older", format: "json", feature: "values Go → Python",
		cases: []string{
			"date", "datetime", "datetime with an offset", "naive datetime", "time", "decimal", "decimal with an exponent", "uuid", "struct",
			"bytes", "binary", "empty bytes", "typed values in a dict",
		},
		why: "kombu before 5.3 knows no typed values in JSON: it reads Go's, and those of newer kombu, as plain dicts, and stores no bytes",
	},
	{
		set: "older", format: "json", feature: "values Python → Go",
		cases: []string{
			"date", "datetime", "datetime with an offset", "naive datetime", "time", "decimal", "decimal with an exponent", "uuid", "struct",
		},
		why: "kombu before 5.3 writes these as text in JSON, and text is what every reader gets",
	},
	{
		set: "older", stores: "SQLAlchemy", feature: "relations", cases: []string{"children of a worker", "of Go"},
		why: "Celery's own tables have no children before Celery 5.7; what Go stores, Go reads",
	},
}
