// Package schemes is the one table of what a result backend's name or URL means: Celery's
// BACKEND_ALIASES, the class paths of its backends, and the URL schemes of each. What reads,
// checks, describes or opens settings asks here.
package schemes

import "strings"

// Kind is a kind of result backend.
type Kind int

// The kinds.
const (
	Unknown Kind = iota
	Disabled
	Redis        // Celery's own redis backend
	DjangoCache  // django-celery-results' cache backend, over an entry of CACHES
	CeleryCache  // Celery's own cache backend
	DjangoDB     // django-celery-results' tables
	SQLAlchemy   // Celery's own tables
	DjangoCelery // django-celery's tables, which are only read
)

// Scheme is one spelling of a kind.
type Scheme struct {
	Name     string // as written alone, or in front of :// or +
	Kind     Kind
	Alone    bool   // may be written without a URL
	Plus     bool   // may be followed by + and the URL of a database or cache
	URL      bool   // is a URL scheme
	Variants string // that may follow a + in the scheme, divided by spaces
	Example  string // of a URL
}

// table has every spelling. The order is that of error messages.
var table = []Scheme{
	{Name: "redis", Kind: Redis, Alone: true, URL: true, Variants: "socket cluster", Example: "redis://127.0.0.1:6379/0"},
	{Name: "rediss", Kind: Redis, URL: true, Variants: "cluster", Example: "rediss://127.0.0.1:6380/0"},
	{Name: "sentinel", Kind: Redis, URL: true, Example: "sentinel://127.0.0.1:26379"},
	{Name: "db", Kind: SQLAlchemy, Plus: true, URL: true, Example: "db+postgresql://user:password@host/name"},
	{Name: "database", Kind: SQLAlchemy, Alone: true, URL: true},
	{Name: "django-db", Kind: DjangoDB, Alone: true, Plus: true, Example: "django-db+postgresql://user:password@host/name"},
	{Name: "django-cache", Kind: DjangoCache, Alone: true},
	{Name: "django-celery", Kind: DjangoCelery, Alone: true, Plus: true, Example: "django-celery+postgresql://user:password@host/name"},
	{Name: "cache", Kind: CeleryCache, Alone: true, Plus: true, URL: true, Example: "cache+memcached://127.0.0.1:11211/"},
	{Name: "disabled", Kind: Disabled, Alone: true},
}

// paths are the class paths that Celery takes for backends, by the alias of the same one.
var paths = map[string]string{
	"django_celery_results.backends:CacheBackend":             "django-cache",
	"django_celery_results.backends.cache:CacheBackend":       "django-cache",
	"django_celery_results.backends.CacheBackend":             "django-cache",
	"django_celery_results.backends.cache.CacheBackend":       "django-cache",
	"django_celery_results.backends.DatabaseBackend":          "django-db",
	"django_celery_results.backends.database.DatabaseBackend": "django-db",
	"django_celery_results.backends:DatabaseBackend":          "django-db",
	"django_celery_results.backends.database:DatabaseBackend": "django-db",
	"celery.backends.database:DatabaseBackend":                "database",
	"celery.backends.database.DatabaseBackend":                "database",
}

// Alias returns the alias of a class path, and every other name as it is.
func Alias(backend string) string {
	if alias, ok := paths[backend]; ok {
		return alias
	}
	return backend
}

// Of returns which kind of backend a name or URL means, and the URL behind the + of one that
// has a URL of its own. The empty name is Disabled.
func Of(backend string) (kind Kind, url string) {
	backend = Alias(backend)
	if backend == "" {
		return Disabled, ""
	}
	scheme, _, isURL := strings.Cut(backend, "://")
	name, variant, plus := strings.Cut(scheme, "+")
	for _, s := range table {
		if s.Name != name {
			continue
		}
		switch {
		case !isURL:
			if s.Alone && !plus {
				return s.Kind, ""
			}
		case plus && s.Plus:
			return s.Kind, backend[len(name)+1:]
		case !plus && s.URL, plus && variant != "" && strings.Contains(" "+s.Variants+" ", " "+variant+" "):
			return s.Kind, ""
		}
	}
	return Unknown, ""
}

// Aliases returns the names that are no URLs.
func Aliases() []string {
	var names []string
	for _, s := range table {
		if s.Alone {
			names = append(names, s.Name)
		}
	}
	return names
}

// Supported lists what can be written, for error messages.
func Supported() string {
	var list []string
	for _, s := range table {
		if s.Alone {
			list = append(list, s.Name)
		}
		if s.URL && s.Kind == Redis {
			list = append(list, s.Name+"://")
		}
		for _, variant := range strings.Fields(s.Variants) {
			list = append(list, s.Name+"+"+variant+"://")
		}
		if s.Plus {
			scheme, _, _ := strings.Cut(s.Example, "://")
			list = append(list, scheme+"://")
		}
	}
	return strings.Join(list, ", ")
}
