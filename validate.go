package celeryresults

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

var serializers = []string{"json", "msgpack", "pickle", "yaml"}

// Validate reports the first setting that can't work, as a *SettingsError
// whose text says what to change. Opening backends validates first.
func (s *Settings) Validate() error {
	checks := []func() error{
		s.validateNumbers, s.validateOwnSerializers, s.validateCaches, s.validateDatabases,
		s.validateBackends, s.validateTasks,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) validateNumbers() error {
	switch {
	case s.TaskIDMaxLength < 0 || s.TaskIDMaxLength > math.MaxUint16:
		return wrong("DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH", "%d is no column width; use 191 for MySQL or 255", s.TaskIDMaxLength)
	case s.ResultChordRetryInterval < 0:
		return wrong("CELERY_RESULT_CHORD_RETRY_INTERVAL", "must be positive")
	case s.ResultExpires < 0 && s.ResultExpires != Never:
		return wrong("CELERY_RESULT_EXPIRES", "%s is negative; use Never for results that stay", s.ResultExpires)
	case s.ResultExpires > 0 && s.ResultExpires < time.Millisecond:
		return wrong("CELERY_RESULT_EXPIRES", "%s is too short to be meant; numbers are seconds in a file and nanoseconds in Go", s.ResultExpires)
	case s.ResultTombstones < 0 || s.ResultTombstones > 0 && s.ResultTombstones < time.Second:
		return wrong("CELERY_RESULT_TOMBSTONES", "%s is less than a second; leave it out, to remember nothing", s.ResultTombstones)
	case s.Redis.MaxConnections < 0:
		return wrong("CELERY_REDIS_MAX_CONNECTIONS", "%d is negative", s.Redis.MaxConnections)
	case s.ResultCacheMax < -1:
		return wrong("CELERY_RESULT_CACHE_MAX", "must be -1 (no cache) or a number of results")
	case s.Redis.DB < 0:
		return wrong("CELERY_REDIS_DB", "a database number is not negative")
	case s.Redis.Port < 0 || s.Redis.Port > math.MaxUint16:
		return wrong("CELERY_REDIS_PORT", "%d is no port", s.Redis.Port)
	case s.ResultBackendMaxSleepBetweenRetry > 0 && s.ResultBackendMaxSleepBetweenRetry < s.ResultBackendBaseSleepBetweenRetry:
		return wrong("CELERY_RESULT_BACKEND_MAX_SLEEP_BETWEEN_RETRIES_MS", "is less than the base sleep")
	}
	return nil
}

func (s *Settings) validateOwnSerializers() error { return s.validateSerializers("CELERY_") }

// validateSerializers names the settings with prefix in front.
func (s *Settings) validateSerializers(prefix string) error {
	if !slices.Contains(serializers, s.Serializer()) {
		return wrong(prefix+"RESULT_SERIALIZER", "unknown serializer %q; known are %s", s.Serializer(), strings.Join(serializers, ", "))
	}
	if kind, _ := s.kind(); kind == schemes.DjangoCache {
		return nil // Django's caches pickle, whatever the serializer
	}
	return validateAccept(prefix+"RESULT_ACCEPT_CONTENT", s.Accept(), s.Serializer())
}

// validateAccept refuses a backend that could not read its own results.
func validateAccept(name string, accept []string, serializer string) error {
	for _, a := range accept {
		if !slices.Contains(serializers, shortSerializer(a)) {
			return wrong(name, "unknown serializer %q; known are %s", a, strings.Join(serializers, ", "))
		}
	}
	for _, a := range accept {
		if shortSerializer(a) == serializer {
			return nil
		}
	}
	return wrong(name, "does not list %q, which CELERY_RESULT_SERIALIZER writes; add it, or results can't be read", serializer)
}

// shortSerializer returns the name for a content type of kombu's.
func shortSerializer(s string) string {
	switch s {
	case "application/json":
		return "json"
	case "application/x-python-serialize":
		return "pickle"
	case "application/x-yaml":
		return "yaml"
	case "application/x-msgpack":
		return "msgpack"
	}
	return s
}

func (s *Settings) validateCaches() error {
	for _, alias := range sortedNames(s.Caches) {
		if err := s.validateCache("CACHES."+alias, s.Caches[alias]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) validateCache(name string, c cache.Settings) error {
	engine, known := cache.Engine(c.Backend)
	o := c.Options
	switch {
	case !known:
		return wrong(name+".BACKEND", "unknown cache engine %q; known are %s and Django's class paths of these", c.Backend, strings.Join(cache.EngineNames, ", "))
	case c.Version < 0:
		return wrong(name+".VERSION", "%d is negative; use 1 or more", c.Version)
	case o.MaxEntries < 0:
		return wrong(name+".OPTIONS.MAX_ENTRIES", "%d is negative", o.MaxEntries)
	case o.CullFrequency < cache.CullAll:
		return wrong(name+".OPTIONS.CULL_FREQUENCY", "%d is negative", o.CullFrequency)
	case o.PoolSize < 0:
		return wrong(name+".OPTIONS.max_connections", "%d is negative", o.PoolSize)
	case o.MaxValue < 0:
		return wrong(name+".OPTIONS.server_max_value_length", "%d is negative", o.MaxValue)
	case o.DB < 0:
		return wrong(name+".OPTIONS.db", "a database number is not negative")
	case (o.ClientCert == "") != (o.ClientKey == ""):
		return wrong(name+".OPTIONS", "a client certificate needs its key and a key its certificate")
	case o.Serializer != "" && o.Serializer != "pickle" && o.Serializer != "json":
		return wrong(name+".OPTIONS.SERIALIZER", "unknown serializer %q; a cache holds pickle or json", o.Serializer)
	case engine != "locmem" && len(c.Location) == 0:
		return wrong(name+".LOCATION", "is missing; %s", locationHint[engine])
	case engine != "redis" && engine != "django-redis" && (o.Password != "" || o.Username != "" || o.DB != 0):
		return wrong(name+".OPTIONS", "username, password and db are for redis, not for %s", engine)
	case o.Distribution != "" && (engine != "pylibmc" || o.Distribution != "ketama" && o.Distribution != "ketama_weighted"):
		return wrong(name+".OPTIONS.behaviors", "pylibmc's distributions are ketama and ketama_weighted; %q for %s is none", o.Distribution, engine)
	case engine != "django-redis" && o.Compressor != "":
		return wrong(name+".OPTIONS.COMPRESSOR", "is for django-redis, not for %s", engine)
	case engine == "db":
		return s.validateCacheTable(name, c)
	}
	return nil
}

var locationHint = map[string]string{
	"memcached":    "name the servers, such as 127.0.0.1:11211",
	"pylibmc":      "name the servers, such as 127.0.0.1:11211",
	"redis":        "name the server, such as redis://127.0.0.1:6379/1",
	"django-redis": "name the server, such as redis://127.0.0.1:6379/1",
	"db":           "name the table, such as cache_table",
}

func (s *Settings) validateCacheTable(name string, c cache.Settings) error {
	alias := c.Options.Database
	if alias == "" {
		alias = "default"
	}
	if _, ok := s.Databases[alias]; !ok {
		return wrong(name, "the db engine needs a database, and DATABASES has no %q (it has %s)", alias, names(s.Databases))
	}
	if len(c.Location) > 1 {
		return wrong(name+".LOCATION", "the db engine takes one table name")
	}
	return nil
}

func (s *Settings) validateDatabases() error {
	for _, alias := range sortedNames(s.Databases) {
		name, d := "DATABASES."+alias, s.Databases[alias]
		engine, known := cache.DatabaseEngine(d.Engine)
		switch {
		case d.URL == "" && d.Engine == "":
			return wrong(name, "needs an ENGINE (postgresql, mysql or sqlite3) or a URL")
		case d.URL != "" && (d.Name != "" || d.Host != ""):
			return wrong(name, "has a URL and NAME or HOST: they contradict each other; keep one")
		case d.Engine != "" && !known:
			return wrong(name+".ENGINE", "unknown database engine %q; known are postgresql, mysql, sqlite3 and Django's class paths of these", d.Engine)
		case d.URL == "" && d.Name == "":
			return wrong(name+".NAME", "is missing: which %s database?", engine)
		case engine == "sqlite" && d.Host != "":
			return wrong(name+".HOST", "sqlite3 is a file; it has no host")
		}
	}
	return nil
}

func (s *Settings) validateBackends() error {
	own := *s
	own.resolve()
	if err := s.DjangoDB.validate("CELERY_"); err != nil {
		return err
	}
	if err := s.validateBackend("CELERY_RESULT_BACKEND", &own); err != nil {
		return err
	}
	for _, name := range sortedNames(s.ResultBackends) {
		setting, b := "CELERY_RESULT_BACKENDS."+name, s.ResultBackends[name]
		switch {
		case name == "" || name == DefaultBackend || strings.Contains(name, "://"),
			name != "redis" && slices.Contains(schemes.Aliases(), name): // one that is named redis is meant where that is chosen
			return wrong(setting, "is no name for a backend: it means something already; choose another")
		case b.Backend == "":
			return wrong(setting, "needs a BACKEND: a URL, django-cache or django-db")
		}
		if err := errors.Join(b.DjangoDB.validate(setting+"."), s.validateFallbacks(setting, name, b.Fallbacks)); err != nil {
			return err
		}
		merged, err := s.Named(name)
		if err != nil {
			return err
		}
		if err := s.validateBackend(setting, &merged); err != nil {
			return err
		}
		if err := merged.validateSerializers(setting + "."); err != nil {
			return err
		}
	}
	return s.validateTables()
}

// validateTables refuses two expiries for one table: a row does not say which
// backend wrote it, so whoever cleans up would go by the wrong one.
func (s *Settings) validateTables() error {
	first := map[string]string{} // the setting of the first backend of each table
	byName := map[string]*Settings{}
	for _, name := range append([]string{""}, sortedNames(s.ResultBackends)...) {
		merged, err := s.Named(name)
		if kind, _ := merged.kind(); err != nil || kind != schemes.DjangoDB {
			continue
		}
		setting, table := "CELERY_RESULT_BACKENDS."+name, merged.ResultBackend+" "+cmp.Or(merged.DjangoDB.Database, DefaultDatabase)
		if name == "" {
			setting = "CELERY_RESULT_BACKEND"
		}
		other, shared := first[table]
		if !shared {
			first[table], byName[table] = setting, &merged
			continue
		}
		if !merged.sameExpiry(byName[table]) {
			return wrong(setting, "keeps results in the same table as %s, and for another time: a table has one expiry. Give both the same RESULT_EXPIRES settings, or one another database (RESULT_DATABASE)", other)
		}
	}
	return nil
}

// sameExpiry reports whether results of each state stay equally long.
func (s *Settings) sameExpiry(o *Settings) bool {
	states := []State{"", Success, Failure, Revoked}
	states = append(append(states, slices.Collect(maps.Keys(s.DjangoDB.ExpiresByState))...), slices.Collect(maps.Keys(o.DjangoDB.ExpiresByState))...)
	return !slices.ContainsFunc(states, func(state State) bool { return s.ExpiresIn(state) != o.ExpiresIn(state) })
}

func (s *Settings) validateBackend(setting string, b *Settings) error {
	backend := b.ResultBackend
	if _, named := s.ResultBackends[backend]; named {
		if setting == "CELERY_RESULT_BACKEND" {
			return nil // validated under its own name
		}
		return wrong(setting, "BACKEND %q is the name of another backend; give its URL instead", backend)
	}
	if read := b.DjangoDB.ReadDatabase; read != "" {
		if err := s.validateDatabaseOf(setting, backend, "CELERY_RESULT_READ_DATABASE", read); err != nil {
			return err
		}
	}
	kind, url := b.kind()
	switch {
	case kind == schemes.SQLAlchemy && url == "" && b.Database.URL == "":
		return wrong(setting, "database needs CELERY_DATABASE_URL, such as postgresql://user:password@host/name; or use db+postgresql://…")
	case strings.Contains(backend, "://"): // those of other backends of Celery's are refused when they are opened
		return nil
	case kind == schemes.DjangoCache || kind == schemes.CeleryCache:
		return b.validateCacheBackend(backend)
	case kind == schemes.DjangoDB || kind == schemes.DjangoCelery:
		return s.validateDatabaseOf(setting, backend, "CELERY_RESULT_DATABASE", cmp.Or(b.DjangoDB.Database, DefaultDatabase))
	case kind != schemes.Unknown:
		return nil
	}
	return wrong(setting, "unknown backend %q; use one of %s, or a name of CELERY_RESULT_BACKENDS (%s)",
		backend, schemes.Supported(), names(s.ResultBackends))
}

// validateDatabaseOf checks that the entry of DATABASES that a backend needs is
// there.
func (s *Settings) validateDatabaseOf(setting, backend, by, alias string) error {
	if _, ok := s.Databases[alias]; !ok {
		return wrong(setting, "%s needs a database, and DATABASES has no %q (it has %s); %s chooses another", backend, alias, names(s.Databases), by)
	}
	return nil
}

// validate names the settings with prefix in front.
func (d *DjangoDBSettings) validate(prefix string) error {
	switch {
	case d.ReadYourWrites < 0:
		return wrong(prefix+"RESULT_READ_YOUR_WRITES", "%s is negative", d.ReadYourWrites)
	case d.UnfinishedExpires < 0 && d.UnfinishedExpires != Never:
		return wrong(prefix+"RESULT_UNFINISHED_EXPIRES", "%s is negative; use Never for records that stay", d.UnfinishedExpires)
	}
	for _, state := range slices.Sorted(maps.Keys(d.ExpiresByState)) {
		expires := d.ExpiresByState[state]
		switch {
		case state == "":
			return wrong(prefix+"RESULT_EXPIRES_BY_STATE", "has an empty state")
		case string(state) != strings.ToUpper(string(state)):
			return wrong(prefix+"RESULT_EXPIRES_BY_STATE", "%q: states are written in capitals: %s", string(state), strings.ToUpper(string(state)))
		case expires < 0 && expires != Never:
			return wrong(prefix+"RESULT_EXPIRES_BY_STATE."+string(state), "%s is negative; use Never for results that stay", expires)
		}
	}
	return nil
}

// validateFallbacks checks the names of an entry's fallbacks.
func (s *Settings) validateFallbacks(setting, name string, fallbacks []string) error {
	for _, fallback := range fallbacks {
		_, known := s.ResultBackends[fallback]
		switch {
		case fallback == name || fallback == DefaultBackend && s.ResultBackend == name:
			return wrong(setting+".FALLBACKS", "names the backend itself")
		case !known && fallback != DefaultBackend:
			return wrong(setting+".FALLBACKS", "unknown backend %q; CELERY_RESULT_BACKENDS has %s, and default is the default one", fallback, names(s.ResultBackends))
		}
	}
	return nil
}

func (s *Settings) validateCacheBackend(backend string) error {
	if scheme, _, isURL := strings.Cut(s.CacheBackend, "://"); isURL {
		if scheme != "memcached" && scheme != "memcache" && scheme != "pylibmc" && scheme != "memory" {
			return wrong("CELERY_CACHE_BACKEND", "unknown scheme %q; a URL here is memcached:// or memory://, and redis goes into CELERY_RESULT_BACKEND or CACHES", scheme)
		}
		return nil
	}
	if backend == "cache" {
		return wrong("CELERY_CACHE_BACKEND", "the cache backend needs memcached://host:port/ or memory://")
	}
	_, err := s.Cache(s.CacheBackend)
	return err
}

func (s *Settings) validateTasks() error {
	for _, task := range sortedNames(s.TaskBackends) {
		setting, name := "CELERY_TASK_BACKENDS."+task, s.TaskBackends[task]
		if task == "" {
			return wrong(setting, "has an empty task name")
		}
		if _, ok := s.ResultBackends[name]; !ok {
			return wrong(setting, "unknown backend %q; CELERY_RESULT_BACKENDS has %s", name, names(s.ResultBackends))
		}
	}
	if s.TaskIgnoreResult && len(s.TaskBackends) > 0 {
		return wrong("CELERY_TASK_IGNORE_RESULT", "ignores every result, and CELERY_TASK_BACKENDS says where to keep some: they contradict each other")
	}
	return nil
}
