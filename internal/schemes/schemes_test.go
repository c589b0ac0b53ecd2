package schemes

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOf(t *testing.T) {
	for backend, want := range map[string]struct {
		kind Kind
		url  string
	}{
		"": {Disabled, ""}, "disabled": {Disabled, ""},
		"redis": {Redis, ""}, "redis://h": {Redis, ""}, "rediss://h": {Redis, ""}, "redis+socket:///s": {Redis, ""}, "redis+cluster://h": {Redis, ""},
		"rediss+cluster://h": {Redis, ""}, "sentinel://h;sentinel://i": {Redis, ""},
		"redis+sentinel://h": {Unknown, ""}, "rediss": {Unknown, ""}, "redis+": {Unknown, ""}, "redis+://h": {Unknown, ""},
		"db+postgresql://u@h/n": {SQLAlchemy, "postgresql://u@h/n"}, "db+mysql+pymysql://h/n": {SQLAlchemy, "mysql+pymysql://h/n"}, "db": {Unknown, ""},
		"database": {SQLAlchemy, ""}, "db://": {SQLAlchemy, ""}, "database://": {SQLAlchemy, ""}, "celery.backends.database:DatabaseBackend": {SQLAlchemy, ""},
		"django-db": {DjangoDB, ""}, "django-db+sqlite:///f": {DjangoDB, "sqlite:///f"}, "django_celery_results.backends:DatabaseBackend": {DjangoDB, ""},
		"django-cache": {DjangoCache, ""}, "django_celery_results.backends:CacheBackend": {DjangoCache, ""},
		"django-celery": {DjangoCelery, ""}, "django-celery+mysql://h/n": {DjangoCelery, "mysql://h/n"},
		"cache": {CeleryCache, ""}, "cache+memory://": {CeleryCache, "memory://"}, "cache+memcached://a;b/": {CeleryCache, "memcached://a;b/"},
		"mongodb://h": {Unknown, ""}, "nowhere": {Unknown, ""}, "amqp://": {Unknown, ""},
	} {
		kind, url := Of(backend)
		assert.Equal(t, want.kind, kind, backend)
		assert.Equal(t, want.url, url, backend)
	}
}

func TestEveryExampleIsUnderstood(t *testing.T) {
	for _, s := range table {
		if s.Example != "" {
			kind, _ := Of(s.Example)
			assert.Equal(t, s.Kind, kind, s.Example)
		}
	}
	for _, alias := range Aliases() {
		kind, _ := Of(alias)
		assert.NotEqual(t, Unknown, kind, alias)
	}
	for _, alias := range paths {
		kind, _ := Of(alias)
		assert.NotEqual(t, Unknown, kind, alias)
	}
	assert.Equal(t, "redis, redis://, redis+socket://, redis+cluster://, rediss://, rediss+cluster://, sentinel://, db+postgresql://, database, django-db, django-db+postgresql://, "+
		"django-cache, django-celery, django-celery+postgresql://, cache, cache+memcached://, disabled", Supported())
}
