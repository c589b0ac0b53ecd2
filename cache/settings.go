package cache

import "time"

// Settings is one entry of Django's CACHES. The zero value of every field
// means Django's default. It is data: copying it is fine.
type Settings struct {
	// Backend is the engine: Django's dotted class path or a short name
	// (locmem, memcached, redis, db). Default: locmem.
	Backend string

	// Location is where the engine keeps its entries: server addresses or
	// URLs, a table name, or the name of an in-process store. Default: none,
	// which locmem takes for its nameless store.
	Location []string

	// Timeout is the lifetime of entries stored with the default timeout.
	// Default: 300 s. Never: no expiry. AtOnce: nothing is kept.
	Timeout time.Duration

	// KeyPrefix goes in front of every key. Default: empty.
	KeyPrefix string

	// Version is the default version of keys. Default: 1.
	Version int

	// KeyFunction makes the stored key. Default: DefaultKey, Django's
	// "prefix:version:key".
	KeyFunction KeyFunc `json:"-"`

	// Options are the engine's own settings.
	Options Options
}

// Options is the OPTIONS of one entry of CACHES.
type Options struct {
	// MaxEntries bounds locmem and db. Default: 300.
	MaxEntries int

	// CullFrequency is the fraction dropped when MaxEntries is reached:
	// 1/CullFrequency of the entries. Default: 3. CullAll (Django's 0): all.
	CullFrequency int

	// Serializer is pickle, which Django shares, or json for caches that only
	// Go reads, or django-redis with its JSONSerializer. Default: pickle.
	Serializer string

	// Compressor is how django-redis compresses what is long enough: zlib, gzip,
	// lzma, zstd or lz4. Default: none.
	Compressor string

	// Database is the entry of DATABASES that db uses. Default: "default".
	Database string

	// Username, Password and DB go to redis when its URL has none. Default:
	// none, and database 0.
	Username, Password string
	DB                 int

	// PoolSize is the most connections kept per server. Default: 64.
	PoolSize int

	// MaxValue is memcached's item size limit (its -I option) in bytes.
	// Default: 1 MiB.
	MaxValue int

	// Distribution is how pylibmc chooses a key's server among several: ketama or
	// ketama_weighted, libmemcached's behaviors of these names. Default:
	// libmemcached's own, by modulo.
	Distribution string

	// CACert, ClientCert and ClientKey are PEM files for TLS connections, and
	// Insecure skips verification. Default: the system's roots.
	CACert, ClientCert, ClientKey string
	Insecure                      bool
}

// CullAll is the CullFrequency that drops every entry when the cache is full:
// Django's 0.
const CullAll = -1

// Database is one entry of Django's DATABASES.
type Database struct {
	// Engine is Django's dotted path or a short name: postgresql, mysql,
	// sqlite3 (sqlite). No default.
	Engine string

	// Name is the database, or SQLite's file. No default.
	Name string

	// User, Password, Host and Port are as in Django. A Host that begins with
	// a slash is a unix socket (its directory for PostgreSQL). Defaults: the
	// driver's.
	User, Password, Host, Port string

	// URL replaces all of the above: postgresql://, mysql://, sqlite:///path.
	URL string

	// Options are the connection's own parameters, such as sslmode.
	Options map[string]string
}
