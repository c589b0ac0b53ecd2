package settings

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
)

// djangoRedisFields are an entry of CACHES of the package django-redis.
var djangoRedisFields = func() fields[cache.Settings] {
	f := maps.Clone(cacheFields)
	f["OPTIONS"] = to(func(c *cache.Settings) *cache.Options { return &c.Options }, func(v any) (cache.Options, error) {
		var o cache.Options
		err := djangoRedisOptions.read(&o, v)
		return o, err
	})
	return f.ignoring("REVERSE_KEY_FUNCTION")
}()

// djangoRedisOptions are its OPTIONS. What only tells Python's client how to go about
// it is ignored.
var djangoRedisOptions = fields[cache.Options]{
	"SERIALIZER": to(func(o *cache.Options) *string { return &o.Serializer }, cacheSerializer),
	"COMPRESSOR": to(func(o *cache.Options) *string { return &o.Compressor }, compressor),
	"USERNAME":   to(func(o *cache.Options) *string { return &o.Username }, text),
	"PASSWORD":   to(func(o *cache.Options) *string { return &o.Password }, text),
	"CONNECTION_POOL_KWARGS": func(o *cache.Options, v any) error {
		return poolFields.read(o, v)
	},
}.ignoring(`
CLIENT_CLASS CLOSE_CONNECTION CONNECTION_FACTORY CONNECTION_POOL_CLASS CULL_FREQUENCY IGNORE_EXCEPTIONS
LOG_IGNORED_EXCEPTIONS MAX_ENTRIES PARSER_CLASS PICKLE_VERSION REDIS_CLIENT_CLASS REDIS_CLIENT_KWARGS REPLICA_READ_ONLY
SOCKET_CONNECT_TIMEOUT SOCKET_TIMEOUT
`)

// poolFields are CONNECTION_POOL_KWARGS, which go to redis-py's pool.
var poolFields = fields[cache.Options]{
	"max_connections": to(func(o *cache.Options) *int { return &o.PoolSize }, count),
	"ssl_ca_certs":    to(func(o *cache.Options) *string { return &o.CACert }, text),
	"ssl_certfile":    to(func(o *cache.Options) *string { return &o.ClientCert }, text),
	"ssl_keyfile":     to(func(o *cache.Options) *string { return &o.ClientKey }, text),
	"ssl_cert_reqs":   toNullable(func(o *cache.Options) *bool { return &o.Insecure }, unverified),
}.ignoring(`
client_name encoding health_check_interval protocol retry_on_timeout socket_connect_timeout socket_keepalive
socket_keepalive_options socket_timeout ssl_check_hostname timeout
`)

// oddDjangoRedis returns what stands for the BACKEND of an entry with an option that
// changes what is stored or where, in a way that can't be followed: it is an engine of
// another kind, which only matters if it is to hold results.
func oddDjangoRedis(options any) string {
	m, err := mapping(options)
	if err != nil {
		return ""
	}
	for name, follows := range map[string]func(any) bool{
		"CLIENT_CLASS": func(v any) bool { return v == "django_redis.client.DefaultClient" },
		"SERIALIZER":   func(v any) bool { _, err := cacheSerializer(v); return err == nil },
		"COMPRESSOR":   func(v any) bool { _, err := compressor(v); return err == nil },
	} {
		if v, there := m[name]; there && v != nil && !follows(v) {
			return strings.Map(withoutMarks, fmt.Sprintf("django_redis.cache.RedisCache(%s=%.80v)", name, v))
		}
	}
	return ""
}

// withoutMarks leaves a text that isPath takes.
func withoutMarks(r rune) rune {
	if strings.ContainsRune(":/@ ", r) {
		return '_'
	}
	return r
}

// cacheSerializer reads SERIALIZER: pickle or json, or a class of django-redis.
func cacheSerializer(v any) (string, error) {
	s, err := word(v)
	switch strings.TrimPrefix(s, "django_redis.serializers.") {
	case "pickle", "pickle.PickleSerializer":
		return "pickle", err
	case "json", "json.JSONSerializer":
		return "json", err
	}
	return "", errors.New("can't be followed; of django-redis' serializers PickleSerializer and JSONSerializer can")
}

// compressor reads COMPRESSOR: a class of django-redis, or the name of its module.
func compressor(v any) (string, error) {
	s, err := word(v)
	if class, theirs := strings.CutPrefix(s, "django_redis.compressors."); theirs {
		s, _, _ = strings.Cut(class, ".")
	}
	switch s {
	case "identity":
		return "", err
	case "", "zlib", "gzip", "lzma", "zstd", "lz4":
		return s, err
	}
	return "", errors.New("can't be followed; of django-redis' compressors zlib, gzip, lzma, zstd, lz4 and identity can")
}
