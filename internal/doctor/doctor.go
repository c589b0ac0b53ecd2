// Package doctor finds out why Go and Python do not see each other's results: it
// compares their settings, and looks at what lies in the store.
package doctor

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

// Mismatch is something that keeps the two from seeing the same, or makes them treat it
// differently.
type Mismatch struct {
	Setting string // as Django spells it
	Ours    string // without passwords
	Theirs  string // what Python's settings say, or what lies in the store
	Effect  string // what comes of it
	Remedy  string // what to do
}

// Python are the settings of a Python project.
type Python struct {
	Settings celeryresults.Settings
	Celery   string // its version, such as 5.7.0; empty: not known
}

// Compare compares the settings of one backend with those of a project. Both are what
// Settings.Named returns.
func Compare(ours celeryresults.Settings, theirs Python) []Mismatch {
	c := comparison{}
	mine, their := kindOf(ours.ResultBackend, ours.CacheBackend), kindOf(theirs.Settings.ResultBackend, theirs.Settings.CacheBackend)
	if mine != their {
		c.differ("CELERY_RESULT_BACKEND", mask.URL(ours.ResultBackend), mask.URL(theirs.Settings.ResultBackend), "results are kept in different kinds of stores")
		return c.found
	}
	c.compare(mine, &ours, &theirs.Settings)
	c.meaning(mine, &ours, &theirs)
	return c.found
}

type comparison struct{ found []Mismatch }

// differ notes values that are not the same.
func (c *comparison) differ(setting, ours, theirs, effect string) {
	if ours == theirs {
		return
	}
	c.found = append(c.found, Mismatch{
		Setting: setting, Ours: ours, Theirs: theirs, Effect: effect,
		Remedy: fmt.Sprintf("set %s to %s here, or to %s in Python", setting, shown(theirs), shown(ours)),
	})
}

func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	return strconv.Quote(value)
}

// The kinds of backends.
const (
	kindRedis       = "redis"
	kindDjangoCache = "django-cache"
	kindCache       = "cache"
	kindDjangoDB    = "django-db"
	kindDatabase    = "database"
	kindOther       = "another"
)

func kindOf(backend, cacheBackend string) string {
	switch kind, _ := schemes.Of(backend); kind {
	case schemes.DjangoCache, schemes.CeleryCache:
		if kind == schemes.CeleryCache && strings.Contains(backend, "://") || strings.Contains(cacheBackend, "://") {
			return kindCache
		}
		return kindDjangoCache
	case schemes.Redis:
		return kindRedis
	case schemes.DjangoDB:
		return kindDjangoDB
	case schemes.SQLAlchemy:
		return kindDatabase
	}
	scheme, _, _ := strings.Cut(backend, "://")
	first, _, _ := strings.Cut(scheme, "+")
	return kindOther + " " + first
}

// compare compares where results lie.
func (c *comparison) compare(kind string, ours, theirs *celeryresults.Settings) {
	const unseen = "neither sees the other's results"
	switch kind {
	case kindRedis:
		mine, their := redisOf(ours), redisOf(theirs)
		c.differ("CELERY_RESULT_BACKEND", mine.server, their.server, unseen)
		c.differ("the database number of CELERY_RESULT_BACKEND", mine.database, their.database, unseen)
	case kindCache:
		c.differ("CELERY_RESULT_BACKEND", serversOf(ours), serversOf(theirs), unseen)
	case kindDjangoCache:
		c.compareCaches(ours, theirs)
	case kindDjangoDB:
		c.differ("DATABASES", databaseOf(ours), databaseOf(theirs), unseen)
		if ours.TaskIDMaxLength != 0 && theirs.TaskIDMaxLength != 0 {
			c.differ("DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH", strconv.Itoa(ours.TaskIDMaxLength), strconv.Itoa(theirs.TaskIDMaxLength), "one refuses task ids that the other stores")
		}
	case kindDatabase:
		c.differ("CELERY_RESULT_BACKEND", databaseURL(ours), databaseURL(theirs), unseen)
		for _, key := range []string{"task", "group"} {
			c.differ("CELERY_DATABASE_TABLE_NAMES."+key, ours.Database.TableNames[key], theirs.Database.TableNames[key], unseen)
			c.differ("CELERY_DATABASE_TABLE_SCHEMAS."+key, ours.Database.TableSchemas[key], theirs.Database.TableSchemas[key], unseen)
		}
	}
	if kind == kindRedis || kind == kindCache || kind == kindDjangoCache {
		c.differ("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.global_keyprefix", ours.ResultBackendTransportOptions.KeyPrefix(), theirs.ResultBackendTransportOptions.KeyPrefix(), unseen)
	}
}

// compareCaches compares the entries of CACHES that hold the results.
func (c *comparison) compareCaches(ours, theirs *celeryresults.Settings) {
	const unseen = "neither sees the other's results"
	name := func(s *celeryresults.Settings) string {
		if s.CacheBackend == "" || s.CacheBackend == "django-cache" {
			return celeryresults.DefaultCache
		}
		return s.CacheBackend
	}
	mine, err := ours.Cache(name(ours))
	their, err2 := theirs.Cache(name(theirs))
	if err != nil || err2 != nil {
		c.differ("CELERY_CACHE_BACKEND", name(ours), name(theirs), fmt.Sprint("an entry of CACHES is missing: ", cmp.Or(err, err2)))
		return
	}
	entry := "CACHES." + name(theirs)
	engine := func(s cache.Settings) string {
		e, known := cache.Engine(s.Backend)
		if !known {
			return s.Backend
		}
		return e
	}
	c.differ(entry+".BACKEND", engine(mine), engine(their), unseen)
	c.differ(entry+".LOCATION", locationsOf(mine), locationsOf(their), unseen)
	c.differ(entry+".KEY_PREFIX", mine.KeyPrefix, their.KeyPrefix, unseen)
	c.differ(entry+".VERSION", strconv.Itoa(max(mine.Version, 1)), strconv.Itoa(max(their.Version, 1)), unseen)
	c.differ(entry+".OPTIONS.SERIALIZER", cmp.Or(mine.Options.Serializer, "pickle"), cmp.Or(their.Options.Serializer, "pickle"), "neither reads the other's results")
	c.differ(entry+".OPTIONS.COMPRESSOR", mine.Options.Compressor, their.Options.Compressor, "who has no compressor, or another, can't read compressed results")
	if len(mine.Location) > 1 {
		c.differ(entry+".OPTIONS.behaviors", mine.Options.Distribution, their.Options.Distribution, "most keys are looked for on another server")
	}
	switch engine(mine) {
	case "db":
		c.differ("DATABASES", describe(ours.Databases[cmp.Or(mine.Options.Database, "default")]), describe(theirs.Databases[cmp.Or(their.Options.Database, "default")]), unseen)
	case "locmem":
		c.found = append(c.found, Mismatch{
			Setting: entry + ".BACKEND", Ours: "locmem", Theirs: "locmem", Effect: "each process keeps its own results in its memory: " + unseen,
			Remedy: "use a cache that is shared, such as redis, on both sides",
		})
	}
}

// meaning compares what results are and how long they stay.
func (c *comparison) meaning(kind string, ours *celeryresults.Settings, theirs *Python) {
	their := &theirs.Settings
	if kind != kindDjangoCache {
		c.differ("CELERY_RESULT_SERIALIZER", ours.Serializer(), their.Serializer(), "neither reads the other's results")
		if ours.Serializer() == their.Serializer() && !slices.Contains(their.Accept(), ours.Serializer()) {
			c.differ("CELERY_RESULT_ACCEPT_CONTENT", ours.Serializer(), strings.Join(their.Accept(), ", "), "Python refuses what Go stores")
		}
	}
	c.differ("CELERY_RESULT_EXPIRES", spanOf(ours.Expires()), spanOf(their.Expires()), "results are gone earlier than one of them expects")
	c.differ("CELERY_RESULT_EXTENDED", strconv.FormatBool(ours.ResultExtended), strconv.FormatBool(their.ResultExtended), "results of one have no task names and arguments")
	if kind == kindRedis && ours.ResultCompression != "" && theirs.Celery != "" && before57(theirs.Celery) {
		c.found = append(c.found, Mismatch{
			Setting: "CELERY_RESULT_COMPRESSION", Ours: ours.ResultCompression, Theirs: "Celery " + theirs.Celery,
			Effect: "Celery before 5.7 can't read compressed results", Remedy: "unset CELERY_RESULT_COMPRESSION, or update Celery to 5.7",
		})
	}
	if kind == kindDjangoDB || kind == kindDatabase {
		return
	}
	ordered := func(s *celeryresults.Settings) string {
		o := s.ResultBackendTransportOptions.ResultChordOrdered
		return strconv.FormatBool(o == nil || *o)
	}
	if kind == kindRedis {
		c.differ("CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.result_chord_ordered", ordered(ours), ordered(their), "chords with members in both languages never complete")
	}
}

// before57 reports whether a version of Celery is older than 5.7.
func before57(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	major, err := strconv.Atoi(parts[0])
	if err != nil || len(parts) < 2 {
		return false
	}
	minor, err := strconv.Atoi(parts[1])
	return err == nil && (major < 5 || major == 5 && minor < 7)
}

func spanOf(d time.Duration) string {
	if d == celeryresults.Never {
		return "never"
	}
	return d.String()
}

type redisPlace struct{ server, database string }

// redisOf returns where a redis backend keeps results, without users and passwords.
func redisOf(s *celeryresults.Settings) redisPlace {
	if s.ResultBackend == "redis" {
		return redisPlace{hostOf(cmp.Or(s.Redis.Host, "localhost"), strconv.Itoa(cmp.Or(s.Redis.Port, 6379))), strconv.Itoa(s.Redis.DB)}
	}
	var servers []string
	database := "0"
	for part := range strings.SplitSeq(s.ResultBackend, ";") {
		u, err := url.Parse(part)
		if err != nil {
			return redisPlace{"a URL that can't be read", ""}
		}
		if strings.HasSuffix(u.Scheme, "+socket") {
			servers = append(servers, u.Path)
			database = cmp.Or(u.Query().Get("virtual_host"), u.Query().Get("db"), database)
			continue
		}
		port := "6379"
		if u.Scheme == "sentinel" {
			port = "26379"
		}
		servers = append(servers, hostOf(cmp.Or(u.Hostname(), "localhost"), cmp.Or(u.Port(), port)))
		database = cmp.Or(strings.Trim(u.Path, "/"), u.Query().Get("db"), database)
	}
	return redisPlace{strings.Join(servers, ", "), database}
}

// hostOf returns a server's name; that of the machine itself is one.
func hostOf(host, port string) string {
	if host == "localhost" || host == "::1" {
		host = "127.0.0.1"
	}
	return host + ":" + port
}

// serversOf returns the servers of Celery's own cache backend.
func serversOf(s *celeryresults.Settings) string {
	text := strings.TrimPrefix(s.ResultBackend, "cache+")
	if !strings.Contains(text, "://") {
		text = s.CacheBackend
	}
	scheme, servers, _ := strings.Cut(text, "://")
	if scheme == "memory" {
		return "memory"
	}
	return normal(strings.Split(strings.TrimRight(servers, "/"), ";"), "11211")
}

// locationsOf returns the locations of a cache, without users and passwords.
func locationsOf(s cache.Settings) string {
	engine, _ := cache.Engine(s.Backend)
	switch engine {
	case "memcached", "pylibmc":
		return normal(s.Location, "11211")
	case "redis", "django-redis":
		list := make([]string, len(s.Location))
		for i, location := range s.Location {
			place := redisOf(&celeryresults.Settings{ResultBackend: location})
			if place.database == "0" && s.Options.DB != 0 {
				place.database = strconv.Itoa(s.Options.DB)
			}
			list[i] = place.server + "/" + place.database
		}
		return strings.Join(list, ", ")
	}
	return strings.Join(s.Location, ", ")
}

func normal(servers []string, port string) string {
	list := make([]string, len(servers))
	for i, server := range servers {
		host, p, found := strings.Cut(server, ":")
		if !found || strings.Contains(p, ":") || strings.HasPrefix(server, "unix:") || strings.HasPrefix(server, "/") {
			list[i] = server
			if !strings.ContainsAny(server, ":/") {
				list[i] = hostOf(server, port)
			}
			continue
		}
		list[i] = hostOf(host, p)
	}
	return strings.Join(list, ", ")
}

// databaseOf returns where django-db keeps results, without users and passwords.
func databaseOf(s *celeryresults.Settings) string {
	if u, ok := strings.CutPrefix(s.ResultBackend, "django-db+"); ok {
		return describe(cache.Database{URL: u})
	}
	return describe(s.Databases[cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)])
}

func databaseURL(s *celeryresults.Settings) string {
	u, ok := strings.CutPrefix(s.ResultBackend, "db+")
	if !ok {
		u = strings.TrimPrefix(s.Database.URL, "db+")
	}
	return describe(cache.Database{URL: u})
}

// ports are those of the databases that a server listens on if nothing is said.
var ports = map[string]string{"postgresql": "5432", "mysql": "3306"}

func describe(d cache.Database) string {
	if d.URL != "" {
		u, err := url.Parse(d.URL)
		if err != nil {
			return "a URL that can't be read"
		}
		scheme, _, _ := strings.Cut(u.Scheme, "+")
		d = cache.Database{Engine: scheme, Name: strings.TrimPrefix(u.Path, "/"), Host: u.Hostname(), Port: u.Port()}
	}
	engine, known := cache.DatabaseEngine(d.Engine)
	if !known {
		engine = d.Engine
	}
	if engine == "sqlite" {
		return "sqlite " + d.Name
	}
	return strings.TrimSpace(engine + " " + d.Name + " at " + hostOf(cmp.Or(d.Host, "localhost"), cmp.Or(d.Port, ports[engine])))
}
