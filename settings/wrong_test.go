package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/settings"
)

// m is a table.
type m = map[string]any

// caches is CACHES with one entry of these keys and values.
func caches(pairs ...any) m { return m{"CACHES": m{"default": table(pairs)}} }

// cacheOptions is CACHES with one redis cache with these OPTIONS.
func cacheOptions(pairs ...any) m {
	return caches("BACKEND", "redis", "LOCATION", "redis://:hunter2@c.example/1", "OPTIONS", table(pairs))
}

// databases is DATABASES with one PostgreSQL entry and these keys and values.
func databases(pairs ...any) m {
	entry := table(append([]any{"ENGINE", "postgresql", "NAME", "shop", "PASSWORD", "hunter2"}, pairs...))
	return m{"DATABASES": m{"default": entry}}
}

func table(pairs []any) m {
	result := make(m)
	for i := 0; i < len(pairs); i += 2 {
		result[pairs[i].(string)] = pairs[i+1]
	}
	return result
}

// wrongs are settings that can't work, each with the words that the user needs.
var wrongs = []struct {
	name    string
	in      m
	environ []string
	words   []string
}{
	{"a slip in a setting's name", m{"CELERY_RESULT_BACKEN": "redis://:hunter2@r.example"}, nil, []string{"CELERY_RESULT_BACKEN:", "CELERY_RESULT_BACKEND?"}},
	{"a word of a name left out", m{"CELERY_EXPIRES": 5}, nil, []string{"CELERY_EXPIRES", "CELERY_RESULT_EXPIRES?"}},
	{"a slip in an older name", m{"CELERY_TASK_RESULT_EXPIRE": 5}, nil, []string{"CELERY_TASK_RESULT_EXPIRES?"}},
	{"a slip in a setting that concerns no result", m{"CELERY_BROKER_ULR": "amqp://:hunter2@b.example"}, nil, []string{"CELERY_BROKER_URL?"}},
	{"a slip in a lower-case name", m{"result_expire": 5}, nil, []string{"result_expires?"}},
	{"lower-case among upper-case names", m{"CELERY_RESULT_EXPIRES": 5, "result_extended": true}, nil, []string{"result_extended", "CELERY_RESULT_EXTENDED?"}},
	{"a name in mixed case", m{"Celery_Result_Expires": 5}, nil, []string{"result_expires?"}},
	{"one cache too few letters", m{"CACHE": m{}}, nil, []string{"CACHES?"}},
	{"one database too few letters", m{"DATABASE": m{}}, nil, []string{"DATABASES?"}},
	{"two letters of DATABASES swapped", m{"DATABSAES": m{}}, nil, []string{"DATABASES?"}},
	{"a slip in the id width", m{"DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGHT": 191}, nil, []string{"DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH?"}},
	{"one setting under two names", m{"CELERY_RESULT_EXPIRES": 5, "CELERY_TASK_RESULT_EXPIRES": 6}, nil, []string{"CELERY_TASK_RESULT_EXPIRES", "same setting as CELERY_RESULT_EXPIRES"}},
	{"one setting under two variables", nil, []string{"CELERY_IGNORE_RESULT=1", "CELERY_TASK_IGNORE_RESULT=1"}, []string{"CELERY_TASK_IGNORE_RESULT", "CELERY_IGNORE_RESULT", "environment"}},
	{"a variable that is none", nil, []string{"CELERY_RESULTS_EXPIRES=5"}, []string{"CELERY_RESULTS_EXPIRES", "CELERY_RESULT_EXPIRES?"}},
	{"a variable with a wrong value", nil, []string{"CELERY_RESULT_EXPIRES=soon"}, []string{"CELERY_RESULT_EXPIRES", `"soon"`, "36h", "environment"}},
	{"a variable that should be JSON", nil, []string{"CELERY_RESULT_BACKENDS={hunter2}"}, []string{"CELERY_RESULT_BACKENDS", "JSON"}},

	{"an expiry in words", m{"CELERY_RESULT_EXPIRES": "one day"}, nil, []string{"CELERY_RESULT_EXPIRES", "P1DT12H"}},
	{"a negative expiry", m{"CELERY_RESULT_EXPIRES": -1}, nil, []string{"CELERY_RESULT_EXPIRES", "negative"}},
	{"a negative timedelta", m{"CELERY_RESULT_EXPIRES": "-1 day, 23:00:00"}, nil, []string{"CELERY_RESULT_EXPIRES", "negative"}},
	{"an expiry that Celery would cut to never", m{"CELERY_RESULT_EXPIRES": 0.5}, nil, []string{"CELERY_RESULT_EXPIRES", "less than a second"}},
	{"an expiry that is no number", m{"CELERY_RESULT_EXPIRES": "NaN"}, nil, []string{"CELERY_RESULT_EXPIRES", "NaN"}},
	{"an expiry after the end of time", m{"CELERY_RESULT_EXPIRES": 1e30}, nil, []string{"CELERY_RESULT_EXPIRES", "292 years", "never"}},
	{"a list for an expiry", m{"CELERY_RESULT_EXPIRES": []any{1}}, nil, []string{"CELERY_RESULT_EXPIRES", "not a list"}},
	{"a word for a switch", m{"CELERY_RESULT_EXTENDED": "ja"}, nil, []string{"CELERY_RESULT_EXTENDED", "true or false", `"ja"`}},
	{"a table for a switch", m{"CELERY_TASK_TRACK_STARTED": m{}}, nil, []string{"CELERY_TASK_TRACK_STARTED", "not a table"}},
	{"half a port", m{"CELERY_REDIS_PORT": 6379.5}, nil, []string{"CELERY_REDIS_PORT", "whole"}},
	{"a port beyond 65535", m{"CELERY_REDIS_PORT": 70000}, nil, []string{"CELERY_REDIS_PORT", "70000"}},
	{"a number beyond any integer", m{"CELERY_REDIS_DB": "99999999999999999999"}, nil, []string{"CELERY_REDIS_DB", "too great"}},
	{"a negative database number", m{"CELERY_REDIS_DB": -1}, nil, []string{"CELERY_REDIS_DB", "negative"}},
	{"a numeric password", m{"CELERY_REDIS_PASSWORD": 987654321}, nil, []string{"CELERY_REDIS_PASSWORD", "in quotes"}},
	{"milliseconds below one", m{"CELERY_RESULT_BACKEND_BASE_SLEEP_BETWEEN_RETRIES_MS": 0}, nil, []string{"BETWEEN_RETRIES_MS", "1 or more"}},
	{"milliseconds after the end of time", m{"CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS": 1 << 60}, nil, []string{"BETWEEN_RETRIES_MS", "longer"}},
	{"no time between tries", m{"CELERY_RESULT_CHORD_RETRY_INTERVAL": 0}, nil, []string{"CELERY_RESULT_CHORD_RETRY_INTERVAL", "more than 0"}},
	{"retries that are no number", m{"CELERY_RESULT_BACKEND_MAX_RETRIES": "NaN"}, nil, []string{"CELERY_RESULT_BACKEND_MAX_RETRIES", "whole"}},
	{"ids of no length", m{"DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH": 0}, nil, []string{"DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH", "1 or more"}},
	{"a slip in a serializer's name", m{"CELERY_RESULT_SERIALIZER": "jason"}, nil, []string{"CELERY_RESULT_SERIALIZER", `"jason"`, "json"}},
	{"a serializer that isn't accepted", m{"CELERY_RESULT_SERIALIZER": "pickle"}, nil, []string{"CELERY_RESULT_ACCEPT_CONTENT", "pickle"}},
	{"a URL among the serializers", m{"CELERY_ACCEPT_CONTENT": "redis://:hunter2@r.example"}, nil, []string{"CELERY_ACCEPT_CONTENT", "not a URL"}},
	{"a number among the serializers", m{"CELERY_ACCEPT_CONTENT": []any{"json", 7}}, nil, []string{"CELERY_ACCEPT_CONTENT.1", "number"}},
	{"a slip in the key prefix", m{"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": m{"global_key_prefix": "p"}}, nil, []string{"TRANSPORT_OPTIONS.global_key_prefix", "global_keyprefix?"}},
	{"an unknown kind of table", m{"CELERY_DATABASE_TABLE_NAMES": m{"chord": "t"}}, nil, []string{"CELERY_DATABASE_TABLE_NAMES.chord", "group?"}},
	{"a date among kept options", m{"CELERY_CACHE_BACKEND_OPTIONS": m{"a": []any{struct{}{}}}}, nil, []string{"CELERY_CACHE_BACKEND_OPTIONS.a.0", "date"}},

	{"a slip in the backend", m{"CELERY_RESULT_BACKEND": "django-cahce"}, nil, []string{"CELERY_RESULT_BACKEND", "django-cache"}},
	{"a URL without its slashes", m{"CELERY_RESULT_BACKEND": "redis:hunter2@r.example"}, nil, []string{"CELERY_RESULT_BACKEND", "://"}},
	{"a cache that isn't there", m{"CELERY_RESULT_BACKEND": "django-cache", "CELERY_CACHE_BACKEND": "results", "CACHES": m{"default": m{}}}, nil, []string{"CELERY_CACHE_BACKEND", `"results"`, "default"}},
	{"redis as Celery's own cache", m{"CELERY_RESULT_BACKEND": "django-cache", "CELERY_CACHE_BACKEND": "redis://:hunter2@r.example"}, nil, []string{"CELERY_CACHE_BACKEND", "redis"}},
	{"results in a database that isn't there", m{"CELERY_RESULT_BACKEND": "django-db"}, nil, []string{"CELERY_RESULT_BACKEND", "DATABASES"}},
	{"results in a database that is Django's dummy", m{"CELERY_RESULT_BACKEND": "django-db", "DATABASES": m{"default": m{"ENGINE": "django.db.backends.dummy"}}}, nil, []string{"CELERY_RESULT_BACKEND", "DATABASES"}},
	{"results in another package's cache", m{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": m{"default": m{"BACKEND": "django_redis.cache.RedisCache", "OPTIONS": m{"CLIENT_CLASS": "c"}}}}, nil, []string{"CACHES.default.BACKEND", "django_redis", "redis"}},
	{"results in another package's database", m{"CELERY_RESULT_BACKEND": "django-db", "DATABASES": m{"default": m{"ENGINE": "mssql.base", "NAME": "n"}}}, nil, []string{"DATABASES.default.ENGINE", "mssql"}},
	{"a named backend without a backend", m{"CELERY_RESULT_BACKENDS": m{"fast": m{"RESULT_EXPIRES": 5}}}, nil, []string{"CELERY_RESULT_BACKENDS.fast", "BACKEND"}},
	{"a slip in a named backend", m{"CELERY_RESULT_BACKENDS": m{"fast": m{"BACKEND": "redis://:hunter2@r", "EXPIRES": 5}}}, nil, []string{"CELERY_RESULT_BACKENDS.fast.EXPIRES", "RESULT_EXPIRES?"}},
	{"a list of backends", m{"CELERY_RESULT_BACKENDS": []any{"redis://:hunter2@r"}}, nil, []string{"CELERY_RESULT_BACKENDS", "not a list"}},
	{"a task bound to a backend that isn't there", m{"CELERY_TASK_BACKENDS": m{"billing.*": "archive"}}, nil, []string{"CELERY_TASK_BACKENDS.billing.*", `"archive"`}},
	{"a task bound to a URL", m{"CELERY_TASK_BACKENDS": m{"billing.*": "redis://:hunter2@r"}}, nil, []string{"CELERY_TASK_BACKENDS.billing.*", "not a URL"}},
	{"a task bound to nothing", m{"CELERY_TASK_BACKENDS": m{"billing.*": nil}}, nil, []string{"CELERY_TASK_BACKENDS.billing.*", "null"}},

	{"results in an alias that isn't there", djangoDB("CELERY_RESULT_DATABASE", "reslts"), nil, []string{"CELERY_RESULT_BACKEND", `"reslts"`, "default"}},
	{"results read from an alias that isn't there", djangoDB("CELERY_RESULT_READ_DATABASE", "replica"), nil, []string{"CELERY_RESULT_READ_DATABASE", `"replica"`}},
	{"a negative lag", djangoDB("CELERY_RESULT_READ_YOUR_WRITES", -1), nil, []string{"CELERY_RESULT_READ_YOUR_WRITES", "negative"}},
	{"a state in lower case", djangoDB("CELERY_RESULT_EXPIRES_BY_STATE", m{"failure": 5}), nil, []string{"CELERY_RESULT_EXPIRES_BY_STATE", "FAILURE"}},
	{"a state's expiry in words", djangoDB("CELERY_RESULT_EXPIRES_BY_STATE", m{"FAILURE": "a month"}), nil, []string{"CELERY_RESULT_EXPIRES_BY_STATE.FAILURE", "a month"}},
	{"a negative limit of args", djangoDB("CELERY_RESULT_ARGS_LIMIT", -5), nil, []string{"CELERY_RESULT_ARGS_LIMIT", "negative"}},
	{"two expiries for one table", djangoDB("CELERY_RESULT_BACKENDS", m{"archive": m{"BACKEND": "django-db", "RESULT_EXPIRES": nil}}), nil, []string{"CELERY_RESULT_BACKENDS.archive", "CELERY_RESULT_BACKEND", "same table", "RESULT_DATABASE"}},
	{"a fallback that isn't there", m{"CELERY_RESULT_BACKENDS": m{"new": m{"BACKEND": "cache+memory://", "FALLBACKS": "old"}}}, nil, []string{"CELERY_RESULT_BACKENDS.new.FALLBACKS", `"old"`}},
	{"a fallback to itself", m{"CELERY_RESULT_BACKENDS": m{"new": m{"BACKEND": "cache+memory://", "FALLBACKS": "new"}}}, nil, []string{"CELERY_RESULT_BACKENDS.new.FALLBACKS", "itself"}},
	{"a backend named default", m{"CELERY_RESULT_BACKENDS": m{"default": "cache+memory://"}}, nil, []string{"CELERY_RESULT_BACKENDS.default", "another"}},

	{"a slip in a cache's key", caches("TIMEOUTS", 5), nil, []string{"CACHES.default.TIMEOUTS", "TIMEOUT?"}},
	{"a slip in a cache's options", cacheOptions("pasword", "hunter2"), nil, []string{"CACHES.default.OPTIONS.pasword", "password?"}},
	{"a slip in a cache's class", caches("BACKEND", "django.core.cache.backends.redis.RedisCahce"), nil, []string{"CACHES.default.BACKEND", "RedisCahce"}},
	{"a URL for a cache's class", caches("BACKEND", "redis://:hunter2@c.example"), nil, []string{"CACHES.default.BACKEND", "not a URL"}},
	{"a cache without its servers", caches("BACKEND", "memcached"), nil, []string{"CACHES.default.LOCATION", "127.0.0.1:11211"}},
	{"a cache with half a version", caches("VERSION", 1.5), nil, []string{"CACHES.default.VERSION", "whole"}},
	{"a cache of version 0", caches("VERSION", 0), nil, []string{"CACHES.default.VERSION", "1 or more"}},
	{"a key function of Python's", caches("KEY_FUNCTION", "shop.keys.make"), nil, []string{"CACHES.default.KEY_FUNCTION", "KeyFunction", "Go"}},
	{"a lifetime in words", caches("TIMEOUT", "long"), nil, []string{"CACHES.default.TIMEOUT", `"long"`}},
	{"a number for a place", caches("LOCATION", 5), nil, []string{"CACHES.default.LOCATION", "list"}},
	{"a number among the servers", caches("BACKEND", "redis", "LOCATION", []any{5}), nil, []string{"CACHES.default.LOCATION.0", "text"}},
	{"text for a cache", m{"CACHES": m{"default": "hunter2"}}, nil, []string{"CACHES.default", "table"}},
	{"null for a cache", m{"CACHES": m{"default": nil}}, nil, []string{"CACHES.default", "null"}},
	{"numbers for names", m{"CACHES": map[any]any{5: m{}}}, nil, []string{"CACHES", "keys"}},
	{"room for nothing", caches("OPTIONS", m{"MAX_ENTRIES": 0}), nil, []string{"CACHES.default.OPTIONS.MAX_ENTRIES", "1 or more"}},
	{"a negative cull frequency", caches("OPTIONS", m{"CULL_FREQUENCY": -2}), nil, []string{"CACHES.default.OPTIONS.CULL_FREQUENCY", "negative"}},
	{"another serializer of Django's", cacheOptions("serializer", "shop.JSONSerializer"), nil, []string{"OPTIONS.serializer", "remove"}},
	{"a prefix of pymemcache's", cacheOptions("key_prefix", "p"), nil, []string{"OPTIONS.key_prefix", "remove"}},
	{"another hasher of pymemcache's", cacheOptions("hasher", "shop.Hash"), nil, []string{"OPTIONS.hasher", "remove"}},
	{"an unknown certificate rule", cacheOptions("ssl_cert_reqs", "perhaps"), nil, []string{"OPTIONS.ssl_cert_reqs", "required"}},
	{"keys placed by another hash", caches("BACKEND", "pylibmc", "LOCATION", "a:1;b:1", "OPTIONS", m{"behaviors": m{"hash": "crc"}}), nil, []string{"CACHES.default.OPTIONS.behaviors.hash", "one server"}},
	{"keys placed by ketama with its own hash", caches("BACKEND", "pylibmc", "LOCATION", "a:1;b:1", "OPTIONS", m{"behaviors": m{"ketama": true, "ketama_hash": "md5"}}), nil, []string{"CACHES.default.OPTIONS.behaviors.ketama_hash", "one server"}},
	{"a password for memcached", caches("BACKEND", "memcached", "LOCATION", "a:1", "OPTIONS", m{"password": "hunter2"}), nil, []string{"CACHES.default.OPTIONS", "memcached"}},
	{"a cache in a database that isn't there", caches("BACKEND", "db", "LOCATION", "t", "OPTIONS", m{"DATABASE": "books"}), nil, []string{"CACHES.default", `"books"`}},

	{"a slip in a database's key", databases("HOTS", "db.example"), nil, []string{"DATABASES.default.HOTS", "HOST?"}},
	{"a slip in a database's engine", databases("ENGINE", "postgrsql"), nil, []string{"DATABASES.default.ENGINE", "postgrsql", "postgresql"}},
	{"a slip in Django's engine path", databases("ENGINE", "django.db.backends.postgres"), nil, []string{"DATABASES.default.ENGINE", "django.db.backends.postgres"}},
	{"a URL for an engine", databases("ENGINE", "postgres://u:hunter2@db.example"), nil, []string{"DATABASES.default.ENGINE", "not a URL"}},
	{"a word for a port", databases("PORT", "http"), nil, []string{"DATABASES.default.PORT", "http"}},
	{"a URL and a host", databases("URL", "postgres://u:hunter2@db.example/shop"), nil, []string{"DATABASES.default", "contradict"}},
	{"a database without a name", databases("NAME", ""), nil, []string{"DATABASES.default.NAME", "missing"}},
	{"a list among a database's options", databases("OPTIONS", m{"ssl": m{"ca": []any{1}}}), nil, []string{"DATABASES.default.OPTIONS.ssl.ca", "not a list"}},
	{"a numeric password of a database", databases("PASSWORD", 987654321), nil, []string{"DATABASES.default.PASSWORD", "in quotes"}},
}

func TestWrongSettingsSayWhatToChange(t *testing.T) {
	for _, test := range wrongs {
		t.Run(test.name, func(t *testing.T) {
			got, err := settings.Overlay(test.in, test.environ)
			if err == nil {
				err = got.Validate()
			}
			requireSettingsError(t, err, "%v %v", test.in, test.environ)
			for _, word := range test.words {
				assert.Contains(t, err.Error(), word, "input: %v %v", test.in, test.environ)
			}
		})
	}
}

// requireSettingsError fails unless err is a *SettingsError in one line that
// says a name and a reason, and no password.
func requireSettingsError(t *testing.T, err error, input ...any) {
	t.Helper()
	var wrong *celeryresults.SettingsError
	require.ErrorAs(t, err, &wrong, input...)
	require.ErrorIs(t, err, celeryresults.ErrSettings, input...)
	require.NotEmpty(t, wrong.Name, input...)
	require.NotEmpty(t, wrong.Reason, input...)
	require.NotContains(t, err.Error(), "hunter2", input...)
	require.NotContains(t, err.Error(), "987654321", input...)
	requireLine(t, err)
}

// requireLine fails unless err is about settings and is one line.
func requireLine(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, celeryresults.ErrSettings)
	require.NotContains(t, err.Error(), "\n")
}

func TestANameWithControlCharactersIsShownQuoted(t *testing.T) {
	_, err := settings.FromMap(m{"CELERY_\n\x1b[2J": 1})
	requireSettingsError(t, err)
	assert.Contains(t, err.Error(), `\n\x1b`)
}

func TestEndlessNamesAreCut(t *testing.T) {
	_, err := settings.FromMap(m{"CELERY_" + strings.Repeat("A", 1<<20): 1})
	requireSettingsError(t, err)
	assert.Less(t, len(err.Error()), 300)
}

func TestTablesThatHoldThemselvesAreAnError(t *testing.T) {
	knot := m{}
	knot["knot"] = knot
	_, err := settings.FromMap(m{"CELERY_CACHE_BACKEND_OPTIONS": knot})
	requireSettingsError(t, err)
	assert.Contains(t, err.Error(), "nested too deeply")
}

// wrongFiles are files that can't be read as settings.
var wrongFiles = []struct {
	name, file, content string
	words               []string
}{
	{"TOML that ends in a table's head", "s.toml", "A = 1\n\n[CACHES", []string{"line 3", "TOML"}},
	{"TOML with a secret in the wrong place", "s.toml", "CELERY_REDIS_PASSWORD = hunter2\n", []string{"line 1", "TOML"}},
	{"TOML with one name twice", "s.toml", "A = 1\nB = 2\nA = 'hunter2'\n", []string{"TOML"}},
	{"YAML with a tab", "s.yaml", "A: 1\nB:\n\t- hunter2\n", []string{"line 3", "YAML"}},
	{"YAML with one name twice", "s.yml", "A: 1\nA: hunter2\n", []string{"line 2", "YAML"}},
	{"YAML that is a list", "s.yaml", "- hunter2\n", []string{"line 1", "YAML", "names at the top"}},
	{"YAML that is text", "s.yaml", "hunter2\n", []string{"line 1", "YAML"}},
	{"JSON with a comma too many", "s.json", "{\n\"A\": 1,\n\"B\": \"hunter2\",\n}", []string{"line 4", "JSON"}},
	{"JSON that ends too early", "s.json", "{\n\"A\": \"hunter2", []string{"line 2", "JSON"}},
	{"JSON with more behind it", "s.json", "{}\n{\"A\": \"hunter2\"}", []string{"line 2", "JSON"}},
	{"JSON that is a list", "s.json", "[\"hunter2\"]", []string{"line 1", "JSON"}},
	{"a file of no known kind", "s.ini", "A=hunter2", []string{"s.ini", ".toml", ".yaml", ".json"}},
	{"a file that is too large", "s.json", strings.Repeat(" ", settings.MaxFile+1), []string{"s.json", "megabyte"}},
}

func TestWrongFilesNameTheLineAndQuoteNothing(t *testing.T) {
	for _, test := range wrongFiles {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), test.file)
			require.NoError(t, os.WriteFile(path, []byte(test.content), 0o600))
			_, err := settings.Read(path, nil)
			requireSettingsError(t, err)
			for _, word := range test.words {
				assert.Contains(t, err.Error(), word)
			}
		})
	}
}

func TestAFileThatIsNotThereIsNamed(t *testing.T) {
	_, err := settings.Read("testdata/none.toml", nil)
	requireSettingsError(t, err)
	assert.Contains(t, err.Error(), "testdata/none.toml: no such file")
}

func TestCelerysNamesNeedTheirNamespaceInADjangoModule(t *testing.T) {
	_, err := settings.FromMap(map[string]any{"RESULT_BACKEND": "cache+memory://", "CELERY_BROKER_URL": "x"})
	require.ErrorIs(t, err, celeryresults.ErrSettings)
	require.ErrorContains(t, err, "CELERY_RESULT_BACKEND")
}

// djangoDB returns settings of django-db with one more.
func djangoDB(name string, value any) m {
	return m{"CELERY_RESULT_BACKEND": "django-db", "DATABASES": m{"default": m{"ENGINE": "sqlite3", "NAME": "n"}}, name: value}
}
