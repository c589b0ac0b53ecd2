package settings

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
)

var cacheFields = fields[cache.Settings]{
	"BACKEND":      to(func(c *cache.Settings) *string { return &c.Backend }, word),
	"LOCATION":     to(func(c *cache.Settings) *[]string { return &c.Location }, location),
	"TIMEOUT":      toNullable(func(c *cache.Settings) *time.Duration { return &c.Timeout }, timeout),
	"KEY_PREFIX":   to(func(c *cache.Settings) *string { return &c.KeyPrefix }, text),
	"VERSION":      to(func(c *cache.Settings) *int { return &c.Version }, positive),
	"KEY_FUNCTION": keyFunction,
	"OPTIONS":      to(func(c *cache.Settings) *cache.Options { return &c.Options }, cacheOptions),
}

// cacheEntry reads one entry of CACHES.
func cacheEntry(v any) (cache.Settings, error) {
	var c cache.Settings
	m, err := mapping(v)
	if err != nil {
		return c, err
	}
	name, _ := m["BACKEND"].(string)
	if isForeignCache(name) {
		return cache.Settings{Backend: name}, nil
	}
	read := cacheFields
	if engine, _ := cache.Engine(name); engine == "django-redis" {
		if odd := oddDjangoRedis(m["OPTIONS"]); odd != "" {
			return cache.Settings{Backend: odd}, nil
		}
		read = djangoRedisFields
	}
	if err := read.read(&c, m); err != nil {
		return c, err
	}
	splitLocation(&c)
	return c, readPlacement(&c, m["OPTIONS"])
}

func location(v any) ([]string, error) {
	s, ok := v.(string)
	switch {
	case !ok:
		return texts(v, text)
	case s == "":
		return nil, nil
	}
	return []string{s}, nil
}

// betweenURLs is what stands between two URLs. A comma or semicolon that no
// scheme follows may belong to a password.
var betweenURLs = regexp.MustCompile(`[;,]\s*([a-z+]+://)`)

// splitLocation takes several servers out of one text, as Django does.
func splitLocation(c *cache.Settings) {
	if len(c.Location) != 1 {
		return
	}
	switch engine, _ := cache.Engine(c.Backend); engine {
	case "memcached", "pylibmc":
		c.Location = strings.FieldsFunc(c.Location[0], func(r rune) bool { return r == ';' || r == ',' })
	case "redis", "django-redis":
		c.Location = strings.Split(betweenURLs.ReplaceAllString(c.Location[0], "\n$1"), "\n")
	}
	for i, server := range c.Location {
		c.Location[i] = strings.TrimSpace(server)
	}
}

// defaultKeyFunction is the path that means no KEY_FUNCTION.
const defaultKeyFunction = "django.core.cache.backends.base.default_key_func"

func keyFunction(_ *cache.Settings, v any) error {
	if v == nil || v == "" || v == defaultKeyFunction {
		return nil
	}
	return errors.New("is Python code, which can't run here; remove it and set KeyFunction of cache.Settings to a Go function that makes the same keys")
}

// optionFields are the OPTIONS of Django's engines, which hand most of them to
// Python's clients. What only tells these how to go about it is ignored.
var optionFields = fields[cache.Options]{
	"MAX_ENTRIES":    to(func(o *cache.Options) *int { return &o.MaxEntries }, positive),
	"CULL_FREQUENCY": to(func(o *cache.Options) *int { return &o.CullFrequency }, cullFrequency),
	"SERIALIZER":     to(func(o *cache.Options) *string { return &o.Serializer }, word),
	"DATABASE":       to(func(o *cache.Options) *string { return &o.Database }, word),

	"username":                to(func(o *cache.Options) *string { return &o.Username }, text),
	"password":                to(func(o *cache.Options) *string { return &o.Password }, text),
	"db":                      to(func(o *cache.Options) *int { return &o.DB }, count),
	"max_connections":         to(func(o *cache.Options) *int { return &o.PoolSize }, count),
	"max_pool_size":           to(func(o *cache.Options) *int { return &o.PoolSize }, count),
	"server_max_value_length": to(func(o *cache.Options) *int { return &o.MaxValue }, count),
	"ssl_ca_certs":            to(func(o *cache.Options) *string { return &o.CACert }, text),
	"ssl_certfile":            to(func(o *cache.Options) *string { return &o.ClientCert }, text),
	"ssl_keyfile":             to(func(o *cache.Options) *string { return &o.ClientKey }, text),
	"ssl_cert_reqs":           toNullable(func(o *cache.Options) *bool { return &o.Insecure }, unverified),

	// These change the bytes or the servers of entries.
	"serializer": only("RedisSerializer"),
	"serde":      only("PickleSerde", "pickle_serde"),
	"hasher":     only("RendezvousHash"),
	"key_prefix": only(),
}.ignoring(`
allow_unicode_keys behaviors binary client_name connect_timeout dead_timeout default_noreply
deserializer encoding health_check_interval ignore_exc lock_generator no_delay parser_class
pool_class pool_idle_timeout protocol retry_attempts retry_on_timeout retry_timeout
socket_connect_timeout socket_keepalive socket_keepalive_options socket_module socket_timeout
ssl_check_hostname timeout tls_context use_pooling
`)

func cacheOptions(v any) (cache.Options, error) {
	var o cache.Options
	err := optionFields.read(&o, v)
	return o, err
}

// cullFrequency reads CULL_FREQUENCY, whose 0 drops everything.
func cullFrequency(v any) (int, error) {
	n, err := count(v)
	if err == nil && n == 0 {
		n = cache.CullAll
	}
	return n, err
}

// unverified reads ssl_cert_reqs: the names and numbers of Python's ssl module.
func unverified(v any) (bool, error) {
	if v == nil {
		return true, nil
	}
	s, _ := numeral(v)
	switch strings.ToLower(s[strings.LastIndex(s, ".")+1:]) {
	case "0", "none", "cert_none":
		return true, nil
	case "1", "2", "optional", "required", "cert_optional", "cert_required":
		return false, nil
	}
	return false, errors.New("must be none, optional or required")
}

// only makes the setter of an option that may name one of the classes that
// this library follows, whichever way Python writes a class.
func only(classes ...string) setter[cache.Options] {
	return func(_ *cache.Options, v any) error {
		s, isText := v.(string)
		if v == nil || isText && s == "" {
			return nil
		}
		for _, class := range classes {
			if strings.Contains(s, class) {
				return nil
			}
		}
		return errors.New("changes what Python stores or where, and can't be followed; remove it on both sides")
	}
}

// placement are the behaviors of libmemcached that choose a key's server.
var placement = []string{"distribution", "hash", "ketama", "ketama_hash", "ketama_pre12_compat", "ketama_weighted"}

// readPlacement reads the behaviors that say where Python looks for keys. With one
// server they change nothing.
func readPlacement(c *cache.Settings, v any) error {
	o, err := mapping(v)
	if err != nil || len(c.Location) < 2 {
		return nil
	}
	behaviors, _ := mapping(o["behaviors"])
	on := func(name string) bool { v := behaviors[name]; return v != nil && v != false && v != int64(0) && v != 0 }
	if engine, _ := cache.Engine(c.Backend); engine == "pylibmc" {
		switch {
		case on("ketama_weighted"):
			c.Options.Distribution = "ketama_weighted"
		case on("ketama"), behaviors["distribution"] == "consistent", behaviors["distribution"] == "consistent ketama":
			c.Options.Distribution = "ketama"
		}
	}
	for _, name := range slices.Sorted(maps.Keys(behaviors)) {
		if !slices.Contains(placement, name) || !on(name) {
			continue
		}
		switch ketama := c.Options.Distribution; {
		case name == "ketama" && ketama == "ketama", name == "ketama_weighted" && ketama == name:
		case name == "distribution" && (behaviors[name] == "modula" && ketama == "" || ketama == "ketama"):
		case name == "hash" && behaviors[name] == "default" && ketama != "ketama_weighted":
		default:
			return wrong("OPTIONS.behaviors."+name, "places keys in a way that can't be followed; ketama and ketama_weighted can, each alone. Remove it on both sides, or use one server")
		}
	}
	return nil
}

// djangoCaches begins the paths of Django's own engines.
const djangoCaches = "django.core.cache.backends."

// isForeignCache reports whether a BACKEND is a class that Django or another
// package has and this library has not, rather than a slip.
func isForeignCache(path string) bool {
	if _, known := cache.Engine(path); known {
		return false
	}
	class, django := strings.CutPrefix(path, djangoCaches)
	if django {
		return class == "dummy.DummyCache" || class == "filebased.FileBasedCache" || class == "memcached.MemcachedCache"
	}
	return isPath(path)
}

// isPath reports whether s is a dotted path of Python.
func isPath(s string) bool {
	return strings.Contains(s, ".") && !strings.ContainsAny(s, ":/@ ")
}
