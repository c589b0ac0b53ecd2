package settings_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/settings"
)

// fact is a setting of Celery 5.6, as celery/app/defaults.py has it.
type fact struct {
	Name    string
	Older   []string
	Default any
}

func facts(t *testing.T) []fact {
	t.Helper()
	data, err := os.ReadFile("testdata/defaults.json")
	require.NoError(t, err)
	var all []fact
	require.NoError(t, json.Unmarshal(data, &all))
	return all
}

// sample is a value for a setting, and where it must arrive.
type sample struct {
	value    any
	variable string // the value as an environment variable
	get      func(*celeryresults.Settings) any
	want     any
}

type s = celeryresults.Settings

var yes, no = true, false

var samples = map[string]sample{
	"result_backend":              {"django-db", "django-db", func(s *s) any { return s.ResultBackend }, "django-db"},
	"cache_backend":               {"memory://", "memory://", func(s *s) any { return s.CacheBackend }, "memory://"},
	"cache_backend_options":       {map[string]any{"a": 1}, `{"a": 1}`, func(s *s) any { return s.CacheBackendOptions }, map[string]any{"a": int64(1)}},
	"result_expires":              {3600, "1h", func(s *s) any { return s.Expires() }, time.Hour},
	"result_extended":             {true, "yes", func(s *s) any { return s.ResultExtended }, true},
	"result_serializer":           {"yaml", "yaml", func(s *s) any { return s.Serializer() }, "yaml"},
	"result_accept_content":       {[]any{"json", "yaml"}, "json, yaml", func(s *s) any { return s.ResultAcceptContent }, []string{"json", "yaml"}},
	"accept_content":              {[]string{"json", "yaml"}, "json,yaml", func(s *s) any { return s.Accept() }, []string{"json", "yaml"}},
	"result_cache_max":            {100, "100", func(s *s) any { return s.ResultCacheMax }, 100},
	"result_compression":          {"gzip", "gzip", func(s *s) any { return s.ResultCompression }, "gzip"},
	"result_persistent":           {false, "no", func(s *s) any { return s.ResultPersistent }, &no},
	"result_chord_retry_interval": {0.25, "0.25", func(s *s) any { return s.ResultChordRetryInterval }, 250 * time.Millisecond},
	"result_chord_join_timeout":   {7, "7", func(s *s) any { return s.ResultChordJoinTimeout }, 7 * time.Second},
	"result_backend_transport_options": {map[string]any{"global_keyprefix": "p", "result_chord_ordered": false, "x": 1.5},
		`{"global_keyprefix": "p", "result_chord_ordered": false, "x": 1.5}`,
		func(s *s) any { return s.ResultBackendTransportOptions },
		celeryresults.TransportOptions{GlobalKeyPrefix: "p", ResultChordOrdered: &no, Other: map[string]any{"x": 1.5}}},
	"result_backend_always_retry":                  {true, "1", func(s *s) any { return s.ResultBackendAlwaysRetry }, true},
	"result_backend_max_sleep_between_retries_ms":  {1500, "1500", func(s *s) any { return s.ResultBackendMaxSleepBetweenRetry }, 1500 * time.Millisecond},
	"result_backend_base_sleep_between_retries_ms": {20, "20", func(s *s) any { return s.ResultBackendBaseSleepBetweenRetry }, 20 * time.Millisecond},
	"result_backend_max_retries":                   {5, "5", func(s *s) any { return s.ResultBackendMaxRetries }, 5},
	"task_track_started":                           {true, "on", func(s *s) any { return s.TaskTrackStarted }, true},
	"task_ignore_result":                           {"True", "True", func(s *s) any { return s.TaskIgnoreResult }, true},
	"task_store_errors_even_if_ignored":            {1, "true", func(s *s) any { return s.TaskStoreErrorsEvenIfIgnored }, true},
	"task_store_eager_result":                      {true, "true", func(s *s) any { return s.TaskStoreEagerResult }, true},
	"redis_host":                                   {"r.example", "r.example", func(s *s) any { return s.Redis.Host }, "r.example"},
	"redis_port":                                   {"6380", "6380", func(s *s) any { return s.Redis.Port }, 6380},
	"redis_db":                                     {2, "2", func(s *s) any { return s.Redis.DB }, 2},
	"redis_username":                               {"u", "u", func(s *s) any { return s.Redis.Username }, "u"},
	"redis_password":                               {"0123", "0123", func(s *s) any { return s.Redis.Password }, "0123"},
	"redis_max_connections":                        {10, "10", func(s *s) any { return s.Redis.MaxConnections }, 10},
	"redis_socket_timeout":                         {1.5, "1.5", func(s *s) any { return s.Redis.SocketTimeout }, 1500 * time.Millisecond},
	"redis_socket_connect_timeout":                 {nil, "none", func(s *s) any { return s.Redis.ConnectTimeout }, celeryresults.Never},
	"redis_retry_on_timeout":                       {true, "true", func(s *s) any { return s.Redis.RetryOnTimeout }, true},
	"redis_socket_keepalive":                       {true, "true", func(s *s) any { return s.Redis.SocketKeepalive }, true},
	"redis_backend_use_ssl": {map[string]any{"ssl_cert_reqs": 0}, `{"ssl_cert_reqs": 0}`, func(s *s) any { return s.Redis.UseSSL },
		map[string]any{"ssl_cert_reqs": int64(0)}},
	"database_url":                    {"sqlite:///r.db", "sqlite:///r.db", func(s *s) any { return s.Database.URL }, "sqlite:///r.db"},
	"database_engine_options":         {map[string]any{"echo": true}, `{"echo": true}`, func(s *s) any { return s.Database.EngineOptions }, map[string]any{"echo": true}},
	"database_short_lived_sessions":   {true, "true", func(s *s) any { return s.Database.ShortLivedSessions }, true},
	"database_table_names":            {map[string]any{"task": "t", "group": "g"}, `{"task": "t", "group": "g"}`, func(s *s) any { return s.Database.TableNames }, map[string]string{"task": "t", "group": "g"}},
	"database_table_schemas":          {map[string]string{"task": "celery"}, `{"task": "celery"}`, func(s *s) any { return s.Database.TableSchemas }, map[string]string{"task": "celery"}},
	"database_create_tables_at_setup": {false, "off", func(s *s) any { return s.Database.CreateTablesAtSetup }, &no},
}

// notations returns the names of a setting and, for each, a map with it.
func notations(f fact, value any) map[string]map[string]any {
	upper := "CELERY_" + strings.ToUpper(f.Name)
	all := map[string]map[string]any{upper: {upper: value}, f.Name: {f.Name: value}}
	for _, older := range f.Older {
		all[older] = map[string]any{older: value}
	}
	return all
}

func TestEverySettingIsReadUnderEachOfItsNames(t *testing.T) {
	for _, f := range facts(t) {
		given, ok := samples[f.Name]
		require.True(t, ok, "no sample for %s", f.Name)
		for name, m := range notations(f, given.value) {
			got, err := settings.FromMap(m)
			require.NoError(t, err, name)
			assert.Equal(t, given.want, given.get(&got), name)
		}
	}
}

func TestEverySettingIsReadFromTheEnvironment(t *testing.T) {
	for _, f := range facts(t) {
		given := samples[f.Name]
		environ := []string{"CELERY_" + strings.ToUpper(f.Name) + "=" + given.variable}
		for name, m := range notations(f, "not a value for anything, to be replaced") {
			got, err := settings.Overlay(m, environ)
			require.NoError(t, err, name)
			assert.Equal(t, given.want, given.get(&got), "%q over %s", environ, name)
		}
	}
}

// promised is what Settings promises for a zero field, where that differs from
// the zero value of its type.
var promised = map[string]any{
	"result_cache_max":                             -1,
	"result_chord_retry_interval":                  time.Second,
	"result_chord_join_timeout":                    3 * time.Second,
	"result_backend_max_sleep_between_retries_ms":  10 * time.Second,
	"result_backend_base_sleep_between_retries_ms": 10 * time.Millisecond,
	"redis_socket_timeout":                         120 * time.Second,
	"redis_socket_connect_timeout":                 celeryresults.Never, // given; when absent, 5 s end what would hang
	"database_engine_options":                      map[string]any{"pool_pre_ping": true, "pool_recycle": 3600.0},
	"database_create_tables_at_setup":              &yes,
	"cache_backend_options":                        map[string]any{},
}

func TestAnAbsentSettingIsCelerysDefault(t *testing.T) {
	absent, err := settings.FromMap(nil)
	require.NoError(t, err)
	assert.Equal(t, celeryresults.Settings{}, absent)
	for _, f := range facts(t) {
		given, err := settings.FromMap(map[string]any{f.Name: f.Default})
		require.NoError(t, err, f.Name)
		get := samples[f.Name].get
		want, ok := promised[f.Name]
		if !ok {
			want = get(&absent)
		}
		assert.Equal(t, want, get(&given), "%s: %v", f.Name, f.Default)
	}
}

func TestNamesListsEverySettingOnce(t *testing.T) {
	names := settings.Names()
	want := []string{
		"CACHES", "CELERY_RESULT_BACKENDS", "CELERY_TASK_BACKENDS", "DATABASES", "DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH",
		"CELERY_RESULT_ARGS_LIMIT", "CELERY_RESULT_DATABASE", "CELERY_RESULT_NOTIFY", "CELERY_RESULT_TOMBSTONES", "CELERY_RESULT_TALLY", "CELERY_RESULT_REDACT", "CELERY_RESULT_EXPIRES_BY_STATE", "CELERY_RESULT_READ_DATABASE",
		"CELERY_RESULT_READ_YOUR_WRITES", "CELERY_RESULT_UNFINISHED_EXPIRES",
	}
	for _, f := range facts(t) {
		want = append(want, "CELERY_"+strings.ToUpper(f.Name))
	}
	slices.Sort(want)
	assert.Equal(t, want, names)
}

func TestFilesWithTheSameContentAreTheSameSettings(t *testing.T) {
	want := s{
		ResultBackend: "django-cache", CacheBackend: "results", ResultExpires: 36 * time.Hour, ResultExtended: true,
		ResultSerializer: "pickle", AcceptContent: []string{"json", "pickle"}, ResultChordRetryInterval: 500 * time.Millisecond,
		ResultBackendTransportOptions: celeryresults.TransportOptions{GlobalKeyPrefix: "shop_", Other: map[string]any{
			"master_name": "primary", "retry_policy": map[string]any{"timeout": 5.0, "max_retries": int64(9007199254740993)}}},
		Redis: celeryresults.RedisSettings{Port: 6380},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"archive": {Backend: "django-db"},
			"fast":    {Backend: "redis://:hunter2@cache.example:6379/3", ResultExpires: 10 * time.Minute, ResultSerializer: "json"},
		},
		TaskBackends: map[string]string{"billing.*": "archive", "shop.tasks.thumbnail": "fast"},
		Caches: map[string]cache.Settings{
			"default": {Backend: "locmem"},
			"results": {
				Backend:  "django.core.cache.backends.redis.RedisCache",
				Location: []string{"redis://cache-1.example:6379/1", "redis://cache-2.example:6379/1"},
				Timeout:  cache.Never, KeyPrefix: "shop", Version: 3,
				Options: cache.Options{Password: "hunter2", DB: 2, PoolSize: 16},
			},
		},
		Databases: map[string]cache.Database{"default": {
			Engine: "django.db.backends.postgresql", Name: "shop", User: "shop", Password: "hunter2", Host: "db.example", Port: "5432",
			Options: map[string]string{"sslmode": "require", "connect_timeout": "3"},
		}},
	}
	for _, file := range []string{"shop.toml", "shop.yaml", "shop.json"} {
		got, err := settings.Read(filepath.Join("testdata", file), nil)
		require.NoError(t, err, file)
		assert.Equal(t, want, got, file)
	}
}

// testdata/django.json is what the package comment's command wrote for a
// project of Django 5.2 with Celery 5.6.
func TestTheExportOfADjangoProjectIsRead(t *testing.T) {
	want := s{
		ResultBackend: "django-cache", CacheBackend: "results", ResultExpires: 36 * time.Hour, ResultExtended: true,
		AcceptContent: []string{"pickle", "json"}, TaskTrackStarted: true, TaskIDMaxLength: 191,
		ResultBackendTransportOptions: celeryresults.TransportOptions{GlobalKeyPrefix: "shop_", Other: map[string]any{"visibility_timeout": int64(3600)}},
		Caches: map[string]cache.Settings{
			"default": {
				Backend:  "django.core.cache.backends.redis.RedisCache",
				Location: []string{"redis://cache-1.example:6379/1", "redis://cache-2.example:6379/1"}, Options: cache.Options{PoolSize: 32},
			},
			"results": {
				Backend:  "django.core.cache.backends.memcached.PyMemcacheCache",
				Location: []string{"10.0.0.1:11211", "10.0.0.2:11211"}, KeyPrefix: "shop", Timeout: cache.Never, Options: cache.Options{PoolSize: 4},
			},
			"local": {
				Backend: "django.core.cache.backends.locmem.LocMemCache", Timeout: cache.AtOnce,
				Options: cache.Options{MaxEntries: 1000, CullFrequency: cache.CullAll},
			},
			"sessions": {Backend: "django.core.cache.backends.db.DatabaseCache", Location: []string{"session_cache"}, Version: 2},
		},
		Databases: map[string]cache.Database{
			"default": {Engine: "django.db.backends.sqlite3", Name: "/srv/shop/db.sqlite3", Options: map[string]string{}},
			"replica": {
				Engine: "django.db.backends.postgresql", Name: "shop", User: "shop", Password: "hunter2", Host: "db.example", Port: "5432",
				Options: map[string]string{"sslmode": "require", "pool.min_size": "2"},
			},
		},
	}
	got, err := settings.Read("testdata/django.json", nil)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}
