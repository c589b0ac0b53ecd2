package celeryresults_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/settings"
)

func TestZeroSettingsAreCelerysDefaults(t *testing.T) {
	var s celeryresults.Settings
	require.NoError(t, s.Validate())
	assert.Equal(t, 24*time.Hour, s.Expires())
	assert.Equal(t, "json", s.Serializer())
	assert.Equal(t, []string{"json"}, s.Accept())
	c, err := s.Cache("")
	require.NoError(t, err)
	assert.Zero(t, c, "Django's default cache is a locmem cache")
	s.ResultExpires = celeryresults.Never
	assert.Equal(t, celeryresults.Never, s.Expires())
}

// TestWrongSettings is about settings that were built in Go; package settings
// tests those that were read.
func TestWrongSettings(t *testing.T) {
	caches := func(c cache.Settings) celeryresults.Settings {
		return celeryresults.Settings{Caches: map[string]cache.Settings{"default": c}}
	}
	databases := func(d cache.Database) celeryresults.Settings {
		return celeryresults.Settings{Databases: map[string]cache.Database{"default": d}}
	}
	table := []struct {
		name  string
		s     celeryresults.Settings
		words string // all of which the user needs
	}{
		{"unknown serializer", celeryresults.Settings{ResultSerializer: "jason"}, "CELERY_RESULT_SERIALIZER jason json"},
		{"unknown content", celeryresults.Settings{AcceptContent: []string{"xml"}}, "xml msgpack"},
		{"results that could not be read", celeryresults.Settings{ResultSerializer: "yaml", AcceptContent: []string{"json"}}, "yaml CELERY_RESULT_ACCEPT_CONTENT"},
		{"unknown backend", celeryresults.Settings{ResultBackend: "djangodb"}, "CELERY_RESULT_BACKEND djangodb django-db"},
		{"unknown cache", celeryresults.Settings{ResultBackend: "django-cache", CacheBackend: "result", Caches: map[string]cache.Settings{"results": {}}}, "result results CELERY_CACHE_BACKEND"},
		{"redis as cache URL", celeryresults.Settings{ResultBackend: "django-cache", CacheBackend: "redis://h"}, "redis memcached:// CACHES"},
		{"cache without URL", celeryresults.Settings{ResultBackend: "cache"}, "CELERY_CACHE_BACKEND memcached://"},
		{"no database", celeryresults.Settings{ResultBackend: "django-db"}, "django-db DATABASES default"},
		{"unknown engine", caches(cache.Settings{Backend: "memcash"}), "CACHES.default.BACKEND memcash memcached"},
		{"no location", caches(cache.Settings{Backend: "redis"}), "LOCATION redis://"},
		{"db without table", caches(cache.Settings{Backend: "db"}), "LOCATION table"},
		{"db without database", caches(cache.Settings{Backend: "db", Location: []string{"t"}}), "DATABASES default"},
		{"negative version", caches(cache.Settings{Version: -1}), "VERSION"},
		{"negative entries", caches(cache.Settings{Options: cache.Options{MaxEntries: -1}}), "MAX_ENTRIES"},
		{"negative cull", caches(cache.Settings{Options: cache.Options{CullFrequency: -3}}), "CULL_FREQUENCY"},
		{"cache serializer", caches(cache.Settings{Options: cache.Options{Serializer: "yaml"}}), "SERIALIZER yaml pickle"},
		{"password for locmem", caches(cache.Settings{Options: cache.Options{Password: "hunter2"}}), "redis locmem"},
		{"no engine", databases(cache.Database{Name: "x"}), "DATABASES.default ENGINE"},
		{"unknown database engine", databases(cache.Database{Engine: "oracle", Name: "x"}), "oracle postgresql"},
		{"no name", databases(cache.Database{Engine: "mysql"}), "NAME mysql"},
		{"URL and name", databases(cache.Database{URL: "mysql://h/d", Name: "d"}), "URL NAME contradict"},
		{"host for sqlite", databases(cache.Database{Engine: "sqlite3", Name: "f", Host: "h"}), "HOST sqlite3"},
		{"task to nowhere", celeryresults.Settings{TaskBackends: map[string]string{"a.*": "durable"}}, "CELERY_TASK_BACKENDS.a.* durable none"},
		{"backend without backend", celeryresults.Settings{ResultBackends: map[string]celeryresults.BackendSettings{"x": {}}}, "CELERY_RESULT_BACKENDS.x BACKEND"},
		{"backend by a taken name", celeryresults.Settings{ResultBackends: map[string]celeryresults.BackendSettings{"django-db": {Backend: "memory://"}}}, "django-db another"},
		{"backend of a backend", celeryresults.Settings{ResultBackends: map[string]celeryresults.BackendSettings{"x": {Backend: "y"}, "y": {Backend: "memory://"}}}, "another URL"},
		{"ignored and bound", celeryresults.Settings{TaskIgnoreResult: true, TaskBackends: map[string]string{"a": "x"}, ResultBackends: map[string]celeryresults.BackendSettings{"x": {Backend: "memory://"}}}, "CELERY_TASK_IGNORE_RESULT contradict"},
		{"negative expiry", celeryresults.Settings{ResultExpires: -5 * time.Second}, "CELERY_RESULT_EXPIRES Never"},
		{"a short expiry", celeryresults.Settings{ResultExpires: 3600}, "CELERY_RESULT_EXPIRES nanoseconds"},
		{"a named backend's serializer", celeryresults.Settings{ResultBackends: map[string]celeryresults.BackendSettings{"a": {Backend: "cache+memory://", ResultSerializer: "xml"}}}, "CELERY_RESULT_BACKENDS.a.RESULT_SERIALIZER xml"},
		{"a URL in the wrong place", celeryresults.Settings{CacheBackend: "redis://u:hunter2@h", ResultBackend: "django-cache"}, "CELERY_CACHE_BACKEND"},
		{"id length", celeryresults.Settings{TaskIDMaxLength: -1}, "DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH 191"},
		{"redis port", celeryresults.Settings{Redis: celeryresults.RedisSettings{Port: 70000}}, "CELERY_REDIS_PORT 70000"},
		{"redis db", celeryresults.Settings{Redis: celeryresults.RedisSettings{DB: -1}}, "CELERY_REDIS_DB"},
		{"sleeps", celeryresults.Settings{ResultBackendBaseSleepBetweenRetry: time.Minute, ResultBackendMaxSleepBetweenRetry: time.Second}, "MAX_SLEEP base"},
	}
	for _, row := range table {
		t.Run(row.name, func(t *testing.T) {
			err := row.s.Validate()
			require.ErrorIs(t, err, celeryresults.ErrSettings)
			for word := range strings.FieldsSeq(row.words) {
				assert.ErrorContains(t, err, word)
			}
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestNamedSettingsLieOverTheApplications(t *testing.T) {
	yes := true
	s := celeryresults.Settings{
		ResultExpires: time.Hour, ResultSerializer: "json", CacheBackend: "a",
		ResultBackends: map[string]celeryresults.BackendSettings{
			"plain":   {Backend: "django-cache"},
			"durable": {Backend: "django-cache", CacheBackend: "b", ResultExpires: celeryresults.Never, ResultExtended: &yes, ResultSerializer: "pickle", ResultAcceptContent: []string{"pickle"}},
		},
	}
	plain, err := s.Named("plain")
	require.NoError(t, err)
	assert.Equal(t, []any{"django-cache", "a", time.Hour, false, "json"}, []any{plain.ResultBackend, plain.CacheBackend, plain.Expires(), plain.ResultExtended, plain.Serializer()})
	durable, err := s.Named("durable")
	require.NoError(t, err)
	assert.Equal(t, []any{"b", celeryresults.Never, true, "pickle"}, []any{durable.CacheBackend, durable.Expires(), durable.ResultExtended, durable.Serializer()})
	_, err = s.Named("durabel")
	require.ErrorIs(t, err, celeryresults.ErrUnknownBackend)
	assert.ErrorContains(t, err, "durable, plain")
}

func TestDescribe(t *testing.T) {
	s := celeryresults.Settings{
		ResultBackend: "django-cache", ResultExpires: time.Hour, ResultExtended: true,
		Caches: map[string]cache.Settings{"default": {Backend: "redis", KeyPrefix: "shop", Location: []string{"redis://:hunter2@h:1/2", "redis://u:hunter2@i:1/2"}}},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"own":  {Backend: "cache+memcached://a:1;b:2/", ResultExpires: celeryresults.Never},
			"none": {Backend: "disabled"},
		},
	}
	var text strings.Builder
	for _, d := range settings.Describe(s) {
		text.WriteString(d.String() + "\n")
	}
	assert.Equal(t, `backend:    default (django-cache)
store:      redis cache "default" redis://:**@h:1/2, redis://u:**@i:1/2
key:        shop:1:celery-task-meta-<task_id>
expires:    1h0m0s
serializer: pickle, as Django's caches hold values
extended:   yes
compatible: django-celery-results' cache backend on Django's redis cache

backend:    none (disabled)
store:      none: results are not kept
extended:   no

backend:    own (cache+memcached://a:1;b:2/)
store:      memcached://a:1;b:2/
key:        celery-task-meta-<task_id>
expires:    never
serializer: json
extended:   yes
compatible: Celery's own cache backend (pylibmc)

`, text.String())
}

func TestDescribeSaysWhatIsBoundedAndHowKeysBegin(t *testing.T) {
	s := celeryresults.Settings{ResultBackend: "django-cache", Databases: map[string]cache.Database{"default": {URL: "postgresql://u:hunter2@h/shop"}},
		Caches: map[string]cache.Settings{"default": {Backend: "db", Location: []string{"results"}}}}
	s.ResultBackendTransportOptions.GlobalKeyPrefix = "shop"
	text := settings.Describe(s)[0].String()
	for _, want := range []string{"300 entries", "shop_celery-task-meta-", "postgresql://u:**@h/shop", `db cache "default" results`} {
		assert.Contains(t, text, want)
	}
	s.ResultBackend = "cache+memory://"
	assert.Contains(t, settings.Describe(s)[0].String(), "5000 results")
}

func TestMaskURL(t *testing.T) {
	for url, want := range map[string]string{
		"redis://:secret@h:6379/0":                   "redis://:**@h:6379/0",
		"redis://user:secret@h/0":                    "redis://user:**@h/0",
		"redis://user@h/0":                           "redis://user@h/0",
		"redis://h/0?password=secret&db=1":           "redis://h/0?password=**&db=1",
		"redis://h/0?passwd=secret&PASS%57ORD=x":     "redis://h/0?passwd=**&PASS%57ORD=**",
		"redis://:hun;ter,2@h":                       "redis://:**@h",
		"redis://:a@h,redis://:b@h2":                 "redis://:**@h,redis://:**@h2",
		"redis://h,rediss://u:b@h2;unix:///s":        "redis://h,rediss://u:**@h2;unix:///s",
		"u:hun;ter2@h:11211":                         "u:**@h:11211",
		"cache+memcached://a:1;b:2/":                 "cache+memcached://a:1;b:2/",
		"redis://:a/b?c@d@h/0":                       "redis://:**@h/0",
		"sentinel://:secret@a:1;sentinel://:pw@b:2/": "sentinel://:**@a:1;sentinel://:**@b:2/",
		"db+postgresql://u:secret@h/d":               "db+postgresql://u:**@h/d",
		"django-db":                                  "django-db",
		"":                                           "",
	} {
		assert.Equal(t, want, mask.URL(url), url)
	}
}

func FuzzMaskURLHidesPasswords(f *testing.F) {
	f.Add("user", "secret", "host:1/2")
	f.Add("", "a/b?c@d", "h")
	f.Fuzz(func(t *testing.T, user, password, rest string) {
		if len(password) < 4 || strings.ContainsAny(user, ":@/?;") || strings.ContainsAny(rest, "@;") || strings.Contains(password, ";") ||
			strings.Contains("redis://"+user+":**@"+rest, password) {
			return // not a URL with a password that could be told from its surroundings
		}
		masked := mask.URL("redis://" + user + ":" + password + "@" + rest)
		if strings.Contains(masked, password) {
			t.Errorf("password %q is shown in %q", password, masked)
		}
	})
}
