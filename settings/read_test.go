package settings_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/settings"
)

func TestExpiryIsReadInEveryFormThatPythonAndGoWrite(t *testing.T) {
	for _, test := range []struct {
		value any
		want  time.Duration
	}{
		{3600, time.Hour},
		{int64(3600), time.Hour},
		{uint8(60), time.Minute},
		{3600.5, time.Hour + 500*time.Millisecond},
		{json.Number("3600"), time.Hour},
		{"3600", time.Hour},
		{" 36h ", 36 * time.Hour},
		{time.Minute, time.Minute},
		{"P1DT00H00M00S", 24 * time.Hour},
		{"P1DT0S", 24 * time.Hour},
		{"P0DT01H30M00.500000S", 90*time.Minute + 500*time.Millisecond},
		{"P2W", 14 * 24 * time.Hour},
		{"PT90M", 90 * time.Minute},
		{"1 day, 0:00:00", 24 * time.Hour},
		{"3 days, 1:02:03.000004", 73*time.Hour + 2*time.Minute + 3*time.Second + 4*time.Microsecond},
		{"0:05:00", 5 * time.Minute},
		{nil, celeryresults.Never},
		{0, celeryresults.Never},
		{0.0, celeryresults.Never},
		{"0", celeryresults.Never},
		{"0:00:00", celeryresults.Never},
		{"P0DT00H00M00S", celeryresults.Never},
		{"never", celeryresults.Never},
		{"None", celeryresults.Never},
		{celeryresults.Never, celeryresults.Never},
	} {
		got, err := settings.FromMap(m{"CELERY_RESULT_EXPIRES": test.value})
		require.NoError(t, err, "%#v", test.value)
		assert.Equal(t, test.want, got.ResultExpires, "%#v", test.value)
	}
}

func TestTimeoutIsReadAsDjangoDoes(t *testing.T) {
	for _, test := range []struct {
		entry m
		want  time.Duration
	}{
		{m{}, 0},
		{m{"TIMEOUT": nil}, cache.Never},
		{m{"TIMEOUT": "never"}, cache.Never},
		{m{"TIMEOUT": 0}, cache.AtOnce},
		{m{"TIMEOUT": -5}, cache.AtOnce},
		{m{"TIMEOUT": 0.9}, cache.AtOnce},
		{m{"TIMEOUT": "60"}, time.Minute},
		{m{"TIMEOUT": 60}, time.Minute},
	} {
		got, err := settings.FromMap(m{"CACHES": m{"default": test.entry}})
		require.NoError(t, err, "%v", test.entry)
		assert.Equal(t, test.want, got.Caches["default"].Timeout, "%v", test.entry)
	}
}

func TestRetriesAreCountedAsCeleryDoes(t *testing.T) {
	for value, want := range map[any]int{
		"inf": 0, ".inf": -2, 0: -1, -3: -1, 3: 3, "7": 7, 4.0: 4, json.Number("9"): 9,
	} {
		got, err := settings.FromMap(m{"CELERY_RESULT_BACKEND_MAX_RETRIES": value})
		if want == -2 {
			requireSettingsError(t, err, "%#v", value)
			continue
		}
		require.NoError(t, err, "%#v", value)
		assert.Equal(t, want, got.ResultBackendMaxRetries, "%#v", value)
	}
}

func TestNoLimitIsNever(t *testing.T) {
	for _, value := range []any{nil, 0, "0", "none"} {
		got, err := settings.FromMap(m{"CELERY_REDIS_SOCKET_TIMEOUT": value})
		require.NoError(t, err, "%#v", value)
		assert.Equal(t, celeryresults.Never, got.Redis.SocketTimeout, "%#v", value)
	}
}

func TestNullLeavesTheDefault(t *testing.T) {
	in := m{}
	for _, name := range settings.Names() {
		in[name] = nil
	}
	got, err := settings.FromMap(in)
	require.NoError(t, err)
	assert.Equal(t, s{
		ResultExpires: celeryresults.Never, ResultChordJoinTimeout: celeryresults.Never,
		Redis:    celeryresults.RedisSettings{SocketTimeout: celeryresults.Never, ConnectTimeout: celeryresults.Never},
		DjangoDB: celeryresults.DjangoDBSettings{UnfinishedExpires: celeryresults.Never},
	}, got)
}

func TestAnythingElseInADjangoModuleIsIgnored(t *testing.T) {
	got, err := settings.FromMap(m{
		"DEBUG": true, "SECRET_KEY": "hunter2", "INSTALLED_APPS": []any{"shop"}, "_PRIVATE": 1, "DATABASE_ROUTERS": []any{},
		"CACHE_MIDDLEWARE_SECONDS": 600, "BROKER_URL": "amqp://", "DJANGO_CELERY_RESULTS_ALLOW_EDITS": true,
		"CELERY_BROKER_URL": "amqp://", "CELERY_BEAT_SCHEDULE": m{}, "CELERY_TASK_ROUTES": []any{}, "CELERY_ALWAYS_EAGER": true,
		"CELERY_REDIS_BACKEND_HEALTH_CHECK_INTERVAL": 5,
	})
	require.NoError(t, err)
	assert.Equal(t, s{}, got)
}

func TestCelerysOtherLowerCaseSettingsAreIgnored(t *testing.T) {
	got, err := settings.FromMap(m{"broker_url": "amqp://", "task_routes": m{}, "result_extended": true, "CACHES": m{}})
	require.NoError(t, err)
	assert.Equal(t, s{ResultExtended: true, Caches: map[string]cache.Settings{}}, got)
}

func TestANamedBackendIsAURLOrATable(t *testing.T) {
	got, err := settings.FromMap(m{"CELERY_RESULT_BACKENDS": m{"a": "redis://r.example", "b": m{
		"BACKEND": "django-cache", "CACHE_BACKEND": "local", "RESULT_EXPIRES": nil, "RESULT_EXTENDED": false,
		"RESULT_SERIALIZER": "json", "RESULT_ACCEPT_CONTENT": "json", "RESULT_BACKEND_TRANSPORT_OPTIONS": m{"global_keyprefix": "p:"},
	}}})
	require.NoError(t, err)
	assert.Equal(t, map[string]celeryresults.BackendSettings{"a": {Backend: "redis://r.example"}, "b": {
		Backend: "django-cache", CacheBackend: "local", ResultExpires: celeryresults.Never, ResultExtended: &no,
		ResultSerializer: "json", ResultAcceptContent: []string{"json"},
		ResultBackendTransportOptions: &celeryresults.TransportOptions{GlobalKeyPrefix: "p:"},
	}}, got.ResultBackends)
}

func TestWhatDjangoDBCanDoBeyondCelerys(t *testing.T) {
	databases := m{"default": m{"ENGINE": "sqlite3", "NAME": "a"}, "results": m{"ENGINE": "sqlite3", "NAME": "b"}, "replica": m{"ENGINE": "sqlite3", "NAME": "c"}}
	byState := map[celeryresults.State]time.Duration{"FAILURE": 30 * 24 * time.Hour, "REVOKED": celeryresults.Never}
	got, err := settings.FromMap(m{
		"CELERY_RESULT_BACKEND": "django-db", "DATABASES": databases,
		"CELERY_RESULT_DATABASE": "results", "CELERY_RESULT_READ_DATABASE": "replica", "CELERY_RESULT_READ_YOUR_WRITES": "10s",
		"CELERY_RESULT_EXPIRES_BY_STATE": m{"FAILURE": "30d", "REVOKED": nil}, "CELERY_RESULT_UNFINISHED_EXPIRES": "never",
		"CELERY_RESULT_ARGS_LIMIT": 0, "CELERY_RESULT_NOTIFY": false,
		"CELERY_RESULT_BACKENDS": m{"old": "django-db", "billing": m{
			"BACKEND": "django-db", "RESULT_DATABASE": "default", "RESULT_READ_DATABASE": "results", "RESULT_READ_YOUR_WRITES": 5,
			"RESULT_EXPIRES_BY_STATE": m{"FAILURE": 60}, "RESULT_UNFINISHED_EXPIRES": "90d", "RESULT_ARGS_LIMIT": 4096, "RESULT_NOTIFY": true, "FALLBACKS": []any{"old", "default"},
		}},
	})
	require.NoError(t, err)
	assert.Equal(t, celeryresults.DjangoDBSettings{
		Database: "results", ReadDatabase: "replica", ReadYourWrites: 10 * time.Second, ExpiresByState: byState,
		UnfinishedExpires: celeryresults.Never, ArgsLimit: -1, Notify: &no,
	}, got.DjangoDB)
	named, err := got.Named("billing")
	require.NoError(t, err)
	assert.Equal(t, celeryresults.DjangoDBSettings{
		Database: "default", ReadDatabase: "results", ReadYourWrites: 5 * time.Second, UnfinishedExpires: 90 * 24 * time.Hour, ArgsLimit: 4096, Notify: &yes,
		ExpiresByState: map[celeryresults.State]time.Duration{"FAILURE": time.Minute},
	}, named.DjangoDB)
	assert.Equal(t, []string{"old", "default"}, got.ResultBackends["billing"].Fallbacks)
	old, err := got.Named("old")
	require.NoError(t, err)
	assert.Equal(t, got.DjangoDB, old.DjangoDB, "what an entry does not say follows the application")
}

func TestServersInOneTextAreSplitAsDjangoDoes(t *testing.T) {
	for _, test := range []struct {
		backend  string
		location any
		want     []string
	}{
		{"memcached", "a:1;b:1", []string{"a:1", "b:1"}},
		{"pylibmc", "a:1, unix:/run/m.sock", []string{"a:1", "unix:/run/m.sock"}},
		{"redis", "redis://a,redis://b", []string{"redis://a", "redis://b"}},
		{"redis", []string{"redis://a", "redis://b"}, []string{"redis://a", "redis://b"}},
		{"locmem", "a;b", []string{"a;b"}},
		{"locmem", "", nil},
		{"db", "cache_table", []string{"cache_table"}},
	} {
		got, err := settings.FromMap(m{"CACHES": m{"c": m{"BACKEND": test.backend, "LOCATION": test.location}}})
		require.NoError(t, err, "%v", test)
		assert.Equal(t, test.want, got.Caches["c"].Location, "%v", test)
	}
}

func TestOptionsOfPythonsClientsAreMappedOrIgnored(t *testing.T) {
	got, err := settings.FromMap(cacheOptions(
		"no_delay", true, "ignore_exc", true, "use_pooling", true, "behaviors", m{"ketama": true}, "binary", true,
		"parser_class", "redis.connection.PythonParser", "serializer", "django.core.cache.backends.redis.RedisSerializer",
		"serde", "<pymemcache.serde.PickleSerde object at 0x7f5c>", "hasher", nil, "key_prefix", "",
		"max_connections", 9, "server_max_value_length", 1<<22, "SERIALIZER", "json", "username", "u", "password", "p", "db", "3",
		"ssl_ca_certs", "ca.pem", "ssl_certfile", "c.pem", "ssl_keyfile", "k.pem", "ssl_cert_reqs", nil))
	require.NoError(t, err)
	assert.Equal(t, cache.Options{
		PoolSize: 9, MaxValue: 1 << 22, Serializer: "json", Username: "u", Password: "p", DB: 3,
		CACert: "ca.pem", ClientCert: "c.pem", ClientKey: "k.pem", Insecure: true,
	}, got.Caches["default"].Options)
}

func TestCertificateRulesAreReadAsPythonWritesThem(t *testing.T) {
	for value, insecure := range map[any]bool{
		"none": true, "CERT_NONE": true, "VerifyMode.CERT_NONE": true, 0: true,
		"required": false, "CERT_REQUIRED": false, 2: false, "optional": false,
	} {
		got, err := settings.FromMap(cacheOptions("ssl_cert_reqs", value))
		require.NoError(t, err, "%#v", value)
		assert.Equal(t, insecure, got.Caches["default"].Options.Insecure, "%#v", value)
	}
}

func TestWhatNoResultNeedsMayHaveEnginesOfOtherPackages(t *testing.T) {
	got, err := settings.FromMap(m{
		"CELERY_RESULT_BACKEND": "redis://r.example",
		"CACHES":                m{"default": m{"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": m{"CLIENT_CLASS": "c"}}, "local": m{}},
		"DATABASES":             m{"default": m{"ENGINE": "mssql", "NAME": "n"}, "old": m{"ENGINE": "mssql.base", "EXTRA": 1}, "none": m{}},
	})
	require.NoError(t, err)
	assert.Equal(t, map[string]cache.Settings{"local": {}}, got.Caches)
	assert.Equal(t, map[string]cache.Database{"default": {Engine: "mssql", Name: "n"}}, got.Databases, "a short name is no path, but a slip")
}

func TestTheEnvironmentGoesOverTheFile(t *testing.T) {
	got, err := settings.Read("testdata/shop.toml", []string{
		"PATH=/bin", "CELERY_RESULT_EXPIRES=1h", "CELERY_RESULT_EXPIRES=2h", "CELERY_ACCEPT_CONTENT=pickle,json,yaml",
		"CELERY_TASK_BACKENDS={\"a.b\": \"fast\"}", "CELERY_CACHE_BACKEND=", "DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH=191",
	})
	require.NoError(t, err)
	assert.Equal(t, 2*time.Hour, got.ResultExpires)
	assert.Equal(t, []string{"pickle", "json", "yaml"}, got.AcceptContent)
	assert.Equal(t, map[string]string{"a.b": "fast"}, got.TaskBackends)
	assert.Equal(t, "results", got.CacheBackend, "an empty variable is none")
	assert.Equal(t, 191, got.TaskIDMaxLength)
}

func TestTheEnvironmentAloneIsEnough(t *testing.T) {
	got, err := settings.Read("", []string{"CELERY_RESULT_BACKEND=redis://r.example"})
	require.NoError(t, err)
	assert.Equal(t, s{ResultBackend: "redis://r.example"}, got)
}

func TestReadValidates(t *testing.T) {
	_, err := settings.Read("", []string{"CELERY_RESULT_BACKEND=django-db"})
	requireSettingsError(t, err)
}

func TestVariablesOfOtherProgramsAreIgnored(t *testing.T) {
	got, err := settings.Overlay(nil, []string{
		"CELERY_RESULTS_SETTINGS=shop.toml", "CELERY_RESULTS_TEST_REDIS=redis://", "CELERYRESULTS_TEST_REQUIRE=redis",
		"CELERY_APP=shop", "CELERY_LOADER=app", "CELERY_CONFIG_MODULE=c", "CELERYD_NODES=w1", "CELERYBEAT_OPTS=x", "CELERY_BIN=b",
		"CELERY_WORKER_LOGLEVEL=info", "CELERY_BROKER_URL=amqp://", "CELERY_SKIP_CHECKS=1", "CELERY_RDB_PORT=6899", "CELERY_LOG_LEVEL=10",
		"CELERY_SERVICE_HOST=10.0.0.1", "CELERY_REDIS_SERVICE_PORT=6379", "CELERY_REDIS_PORT=tcp://10.0.0.1:6379",
		"CELERY_REDIS_PORT_6379_TCP_ADDR=10.0.0.1", "CELERY_PORT=tcp://10.0.0.1:80",
	})
	require.NoError(t, err)
	assert.Equal(t, s{}, got)
}

func TestFromMapLeavesItsInputAlone(t *testing.T) {
	options := m{"global_keyprefix": "p", "deep": m{"a": []any{1}}}
	in := m{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": options}
	got, err := settings.FromMap(in)
	require.NoError(t, err)
	got.ResultBackendTransportOptions.Other["deep"].(m)["a"] = 5
	assert.Equal(t, m{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": m{"global_keyprefix": "p", "deep": m{"a": []any{1}}}}, in)
}

func TestEmptyFilesHoldNoSettings(t *testing.T) {
	for _, file := range []string{"s.toml", "s.yaml", "s.yml", "s.JSON"} {
		path := filepath.Join(t.TempDir(), file)
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		got, err := settings.Read(path, nil)
		require.NoError(t, err, file)
		assert.Equal(t, s{}, got, file)
	}
}

func ExampleFromMap() {
	s, err := settings.FromMap(map[string]any{
		"CELERY_RESULT_BACKEND": "redis://results.example:6379/0",
		"CELERY_RESULT_EXPIRES": "P1DT12H",
	})
	fmt.Println(s.ResultBackend, s.ResultExpires, err)

	_, err = settings.FromMap(map[string]any{"CELERY_RESULTS_BACKEND": "redis://results.example:6379/0"})
	fmt.Println(err)
	// Output:
	// redis://results.example:6379/0 36h0m0s <nil>
	// celeryresults: settings: CELERY_RESULTS_BACKEND: is unknown; did you mean CELERY_RESULT_BACKEND?
}

func TestDjangoRedisOptions(t *testing.T) {
	got, err := settings.FromMap(m{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": m{"default": m{
		"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://a/1,redis://b/1", "KEY_PREFIX": "shop", "REVERSE_KEY_FUNCTION": "shop.reverse",
		"OPTIONS": m{
			"CLIENT_CLASS": "django_redis.client.DefaultClient", "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
			"COMPRESSOR": "django_redis.compressors.zstd.ZStdCompressor", "PASSWORD": "hidden", "CONNECTION_POOL_KWARGS": m{"max_connections": 9}, "SOCKET_TIMEOUT": 5,
		},
	}}})
	require.NoError(t, err)
	assert.Equal(t, cache.Settings{
		Backend: "django_redis.cache.RedisCache", Location: []string{"redis://a/1", "redis://b/1"}, KeyPrefix: "shop",
		Options: cache.Options{Serializer: "json", Compressor: "zstd", Password: "hidden", PoolSize: 9},
	}, got.Caches["default"])
	for name, options := range map[string]m{
		"CLIENT_CLASS=django_redis.client.ShardClient":               {"CLIENT_CLASS": "django_redis.client.ShardClient"},
		"SERIALIZER=django_redis.serializers.msgpack":                {"SERIALIZER": "django_redis.serializers.msgpack.MSGPackSerializer"},
		"COMPRESSOR=shop.Compressor":                                 {"COMPRESSOR": "shop.Compressor"},
		"CACHES.default.OPTIONS.PASWORD: is unknown; did you mean P": {"PASWORD": "hidden"},
	} {
		got, err := settings.FromMap(m{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": m{"default": m{
			"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://a/1", "OPTIONS": options,
		}}})
		if err == nil {
			err = got.Validate()
		}
		require.ErrorContains(t, err, name)
		assert.NotContains(t, err.Error(), "hidden")
	}
}

func TestDistributionsOfPylibmc(t *testing.T) {
	for want, behaviors := range map[string]m{
		"": {"tcp_nodelay": true, "ketama": false}, "ketama": {"ketama": true}, "ketama_weighted": {"ketama_weighted": true, "ketama": nil},
	} {
		got, err := settings.FromMap(m{"CACHES": m{"default": m{"BACKEND": "pylibmc", "LOCATION": "a:1;b:1", "OPTIONS": m{"behaviors": behaviors}}}})
		require.NoError(t, err)
		require.NoError(t, got.Validate())
		assert.Equal(t, want, got.Caches["default"].Options.Distribution)
	}
	got, err := settings.FromMap(m{"CACHES": m{"default": m{"BACKEND": "pylibmc", "LOCATION": "a:1;b:1", "OPTIONS": m{"behaviors": m{"distribution": "consistent"}}}}})
	require.NoError(t, err)
	assert.Equal(t, "ketama", got.Caches["default"].Options.Distribution)
}
