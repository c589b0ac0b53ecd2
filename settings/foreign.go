package settings

import (
	"cmp"
	"maps"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

// dropForeign takes out the caches and databases that need engines of other
// packages and that no result backend uses: a Django project may well have
// some. Those that are used stay, for Validate to name.
func dropForeign(s *celeryresults.Settings) {
	used := usedCaches(s)
	maps.DeleteFunc(s.Caches, func(alias string, c cache.Settings) bool {
		return isForeignCache(c.Backend) && !used[alias]
	})
	used = usedDatabases(s)
	maps.DeleteFunc(s.Databases, func(alias string, d cache.Database) bool {
		return isForeignDatabase(d.Engine) && !used[alias]
	})
}

// usedCaches returns the entries of CACHES that hold results.
func usedCaches(s *celeryresults.Settings) map[string]bool {
	used := make(map[string]bool)
	for _, b := range allBackends(s) {
		if kind, _ := schemes.Of(b.Backend); kind == schemes.DjangoCache {
			used[alias(b.CacheBackend)] = true
		}
	}
	return used
}

// usedDatabases returns the entries of DATABASES that hold results, or a cache.
func usedDatabases(s *celeryresults.Settings) map[string]bool {
	used := make(map[string]bool)
	for _, b := range allBackends(s) {
		if kind, _ := schemes.Of(b.Backend); kind == schemes.DjangoDB || kind == schemes.DjangoCelery {
			used[cmp.Or(b.DjangoDB.Database, s.DjangoDB.Database, celeryresults.DefaultDatabase)] = true
			used[cmp.Or(b.DjangoDB.ReadDatabase, s.DjangoDB.ReadDatabase)] = true
		}
	}
	for _, c := range s.Caches {
		if engine, _ := cache.Engine(c.Backend); engine == "db" {
			used[alias(c.Options.Database)] = true
		}
	}
	return used
}

// allBackends returns the default backend and the named ones.
func allBackends(s *celeryresults.Settings) []celeryresults.BackendSettings {
	all := []celeryresults.BackendSettings{{Backend: s.ResultBackend, CacheBackend: s.CacheBackend}}
	for _, b := range s.ResultBackends {
		if b.CacheBackend == "" {
			b.CacheBackend = s.CacheBackend
		}
		all = append(all, b)
	}
	return all
}

// alias returns the entry that a name stands for.
func alias(name string) string {
	if name == "" || name == "django-cache" {
		return celeryresults.DefaultCache
	}
	return name
}
