package cache

// engines holds the short names of the engines, each with the dotted class paths of
// Django, or of the package django-redis, that mean it.
var engines = map[string]string{
	"locmem": "locmem", "memory": "locmem",
	"memcached": "memcached", "pymemcache": "memcached",
	"pylibmc":      "pylibmc",
	"redis":        "redis",
	"django-redis": "django-redis", "django_redis": "django-redis",
	"db": "db", "database": "db",

	"django.core.cache.backends.locmem.LocMemCache":        "locmem",
	"django.core.cache.backends.memcached.PyMemcacheCache": "memcached",
	"django.core.cache.backends.memcached.PyLibMCCache":    "pylibmc",
	"django.core.cache.backends.redis.RedisCache":          "redis",
	"django.core.cache.backends.db.DatabaseCache":          "db",
	"django_redis.cache.RedisCache":                        "django-redis",
}

// Engine returns the short name for a BACKEND of CACHES, which is a dotted
// class path of Django's or a short name: locmem, memcached (pymemcache's
// layout), pylibmc, redis, django-redis, or db. Empty means locmem. False: unknown.
func Engine(backend string) (string, bool) {
	if backend == "" {
		return "locmem", true
	}
	name, ok := engines[backend]
	return name, ok
}

// EngineNames lists what people write for BACKEND, for error messages.
var EngineNames = []string{"locmem", "memcached", "pylibmc", "redis", "django-redis", "db"}

// databases holds the engine paths of DATABASES.
var databases = map[string]string{
	"postgresql": "postgresql", "postgres": "postgresql", "pgsql": "postgresql",
	"mysql": "mysql", "mariadb": "mysql",
	"sqlite3": "sqlite", "sqlite": "sqlite",
	"django.db.backends.postgresql":          "postgresql",
	"django.db.backends.postgresql_psycopg2": "postgresql",
	"django.contrib.gis.db.backends.postgis": "postgresql",
	"django.db.backends.mysql":               "mysql",
	"django.db.backends.sqlite3":             "sqlite",
}

// DatabaseEngine returns postgresql, mysql or sqlite for an ENGINE of
// DATABASES, which is a dotted path of Django's or a short name. False:
// unknown.
func DatabaseEngine(engine string) (string, bool) {
	name, ok := databases[engine]
	return name, ok
}
