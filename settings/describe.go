package settings

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

// Description says what one backend of the Settings is, for people.
type Description struct {
	Name       string // as in CELERY_RESULT_BACKENDS; default for the default one
	Backend    string // the setting's value, without passwords
	Store      string // what holds the results, without passwords
	Key        string // of a task's result
	Expires    string // a duration, or never
	Holds      string // how many results, where that is bounded by number
	Serializer string
	Extended   bool   // result_extended
	Compatible string // who else reads and writes these records
}

// Rows returns what there is to say, each with its name.
func (d Description) Rows() [][2]string {
	extended := "no"
	if d.Extended {
		extended = "yes"
	}
	rows := [][2]string{
		{"backend", d.Name + " (" + d.Backend + ")"}, {"store", d.Store}, {"key", d.Key}, {"expires", d.Expires}, {"holds", d.Holds},
		{"serializer", d.Serializer}, {"extended", extended}, {"compatible", d.Compatible},
	}
	return slices.DeleteFunc(rows, func(row [2]string) bool { return row[1] == "" })
}

// String returns the description in aligned lines.
func (d Description) String() string {
	var b strings.Builder
	for _, row := range d.Rows() {
		fmt.Fprintf(&b, "%-11s %s\n", row[0]+":", row[1])
	}
	return b.String()
}

// Describe describes the default backend of the settings and then the named ones, in the
// order of their names. Settings that do not Validate are described as far as
// they go.
func Describe(s celeryresults.Settings) []Description {
	own, _ := s.Named("")
	list := []Description{describe(&own, "default")}
	for _, name := range slices.Sorted(maps.Keys(s.ResultBackends)) {
		merged, err := s.Named(name)
		if err != nil {
			continue
		}
		list = append(list, describe(&merged, name))
	}
	return list
}

func describe(s *celeryresults.Settings, name string) Description {
	d := Description{
		Name: name, Backend: mask.URL(s.ResultBackend), Extended: s.ResultExtended,
		Serializer: s.Serializer(), Expires: describeExpiry(s.Expires()),
	}
	kind, url := schemes.Of(s.ResultBackend)
	switch kind {
	case schemes.Disabled:
		return Description{Name: name, Backend: "disabled", Store: "none: results are not kept"}
	case schemes.DjangoCache:
		if strings.Contains(s.CacheBackend, "://") {
			describeCeleryCache(s, &d, s.CacheBackend)
		} else {
			describeDjangoCache(s, &d)
		}
	case schemes.CeleryCache:
		describeCeleryCache(s, &d, cmp.Or(url, s.CacheBackend))
	case schemes.DjangoDB:
		describeDjangoDB(s, &d, url)
	case schemes.DjangoCelery:
		describeDjangoCelery(s, &d, url)
	case schemes.SQLAlchemy:
		describeDatabase(s, &d, cmp.Or(url, s.Database.URL))
	case schemes.Redis:
		describeRedis(s, &d)
	default:
		d.Store = d.Backend
	}
	return d
}

func describeDjangoCache(s *celeryresults.Settings, d *Description) {
	alias := s.CacheBackend
	if alias == "" || alias == "django-cache" {
		alias = celeryresults.DefaultCache
	}
	c, err := s.Cache(alias)
	if err != nil {
		d.Store = err.Error()
		return
	}
	engine, _ := cache.Engine(c.Backend)
	version := max(c.Version, 1)
	d.Store = strings.TrimSpace(fmt.Sprintf("%s cache %q %s", engine, alias, maskAll(c.Location)))
	switch engine {
	case "db":
		database := cmp.Or(c.Options.Database, "default")
		d.Store += fmt.Sprintf(" in DATABASES.%s (%s)", database, databaseText(s.Databases[database]))
		fallthrough
	case "locmem":
		d.Holds = fmt.Sprintf("%d entries (MAX_ENTRIES); then it drops some", cmp.Or(c.Options.MaxEntries, 300))
	}
	key := s.ResultBackendTransportOptions.KeyPrefix() + "celery-task-meta-<task_id>"
	d.Key = cache.DefaultKey(key, c.KeyPrefix, version)
	if c.KeyFunction != nil {
		d.Key = c.KeyFunction(key, c.KeyPrefix, version)
	}
	d.Serializer, d.Compatible = "pickle, as Django's caches hold values", "django-celery-results' cache backend on Django's "+engine+" cache"
	switch {
	case c.Options.Serializer == "json":
		d.Serializer, d.Compatible = "json", "Go programs with this library only"
	case engine == "locmem":
		d.Serializer, d.Compatible = "pickle", "this process only"
	}
}

// describeDjangoDB describes django-celery-results' tables, in DATABASES or at a
// URL.
func describeDjangoDB(s *celeryresults.Settings, d *Description, url string) {
	database := cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)
	d.Store = fmt.Sprintf("table django_celery_results_taskresult in DATABASES.%s (%s)", database, databaseText(s.Databases[database]))
	if url != "" {
		d.Store = "table django_celery_results_taskresult in " + mask.URL(url)
	}
	if read := s.DjangoDB.ReadDatabase; read != "" && read != database {
		d.Store += fmt.Sprintf(", read from DATABASES.%s (%s)", read, databaseText(s.Databases[read]))
	}
	d.Key = "task_id = <task_id>"
	d.Compatible = "django-celery-results' database backend, TaskResult.objects and Django's admin"
	for _, state := range slices.Sorted(maps.Keys(s.DjangoDB.ExpiresByState)) {
		d.Expires += fmt.Sprintf(", %s %s", state, describeExpiry(s.ExpiresIn(state)))
	}
	d.Expires += ", unfinished " + describeExpiry(s.ExpiresIn(""))
}

// describeDjangoCelery describes the tables of django-celery.
func describeDjangoCelery(s *celeryresults.Settings, d *Description, url string) {
	database := cmp.Or(s.DjangoDB.Database, celeryresults.DefaultDatabase)
	d.Store = fmt.Sprintf("table celery_taskmeta in DATABASES.%s (%s), only read", database, databaseText(s.Databases[database]))
	if url != "" {
		d.Store = "table celery_taskmeta in " + mask.URL(url) + ", only read"
	}
	d.Key, d.Serializer = "task_id = <task_id>", "pickle"
	d.Compatible = "django-celery 2.5 to 3.3"
}

// describeDatabase describes Celery's own tables.
func describeDatabase(s *celeryresults.Settings, d *Description, url string) {
	table := cmp.Or(s.Database.TableNames["task"], "celery_taskmeta")
	if schema := s.Database.TableSchemas["task"]; schema != "" {
		table = schema + "." + table
	}
	d.Store = "table " + table + " in " + mask.URL(strings.TrimPrefix(url, "db+"))
	d.Key = "task_id = <task_id>"
	d.Compatible = "Celery's own database backend (SQLAlchemy)"
}

func describeExpiry(d time.Duration) string {
	if d == celeryresults.Never {
		return "never"
	}
	return d.String()
}

func databaseText(d cache.Database) string {
	if d.URL != "" {
		return mask.URL(d.URL)
	}
	engine, _ := cache.DatabaseEngine(d.Engine)
	return strings.TrimSpace(engine + " " + d.Name + " " + d.Host)
}

func describeCeleryCache(s *celeryresults.Settings, d *Description, url string) {
	d.Store = mask.URL(url)
	d.Key = s.ResultBackendTransportOptions.KeyPrefix() + "celery-task-meta-<task_id>"
	d.Compatible = "Celery's own cache backend (pylibmc)"
	if strings.HasPrefix(url, "memory://") {
		d.Compatible = "this process only"
		d.Holds = "5000 results, as Celery's; then it drops the least recently used"
	}
}

func describeRedis(s *celeryresults.Settings, d *Description) {
	d.Store = d.Backend
	if master, ok := s.ResultBackendTransportOptions.Other["master_name"].(string); ok && strings.HasPrefix(d.Backend, "sentinel:") {
		d.Store += " (master " + master + ")"
	}
	d.Key = s.ResultBackendTransportOptions.KeyPrefix() + "celery-task-meta-<task_id>"
	d.Compatible = "Celery's own redis backend"
	if s.ResultCompression != "" {
		d.Serializer += ", compressed by " + s.ResultCompression
		d.Compatible += " from Celery 5.7 on"
	}
	if strings.Contains(d.Backend, "+cluster://") {
		d.Compatible += " by its records; Celery itself has no cluster"
	}
}

func maskAll(urls []string) string {
	masked := make([]string, len(urls))
	for i, u := range urls {
		masked[i] = mask.URL(u)
	}
	return strings.Join(masked, ", ")
}
