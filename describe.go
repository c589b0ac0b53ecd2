package celeryresults

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
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

// Describe describes the default backend and then the named ones, in the
// order of their names. Settings that do not Validate are described as far as
// they go.
func (s *Settings) Describe() []Description {
	own, _ := s.Named("")
	list := []Description{own.describe("default")}
	for _, name := range sortedNames(s.ResultBackends) {
		merged, err := s.Named(name)
		if err != nil {
			continue
		}
		list = append(list, merged.describe(name))
	}
	return list
}

func (s *Settings) describe(name string) Description {
	d := Description{
		Name: name, Backend: MaskURL(s.ResultBackend), Extended: s.ResultExtended,
		Serializer: s.Serializer(), Expires: describeExpiry(s.Expires()),
	}
	kind, url := s.kind()
	switch kind {
	case schemes.Disabled:
		return Description{Name: name, Backend: "disabled", Store: "none: results are not kept"}
	case schemes.DjangoCache:
		if strings.Contains(s.CacheBackend, "://") {
			s.describeCeleryCache(&d, s.CacheBackend)
		} else {
			s.describeDjangoCache(&d)
		}
	case schemes.CeleryCache:
		s.describeCeleryCache(&d, cmp.Or(url, s.CacheBackend))
	case schemes.DjangoDB:
		s.describeDjangoDB(&d, url)
	case schemes.DjangoCelery:
		s.describeDjangoCelery(&d, url)
	case schemes.SQLAlchemy:
		s.describeDatabase(&d, cmp.Or(url, s.Database.URL))
	case schemes.Redis:
		s.describeRedis(&d)
	default:
		d.Store = d.Backend
	}
	return d
}

func (s *Settings) describeDjangoCache(d *Description) {
	alias := s.CacheBackend
	if alias == "" || alias == "django-cache" {
		alias = DefaultCache
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
		d.Store += fmt.Sprintf(" in DATABASES.%s (%s)", database, describeDatabase(s.Databases[database]))
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
func (s *Settings) describeDjangoDB(d *Description, url string) {
	database := cmp.Or(s.DjangoDB.Database, DefaultDatabase)
	d.Store = fmt.Sprintf("table django_celery_results_taskresult in DATABASES.%s (%s)", database, describeDatabase(s.Databases[database]))
	if url != "" {
		d.Store = "table django_celery_results_taskresult in " + MaskURL(url)
	}
	if read := s.DjangoDB.ReadDatabase; read != "" && read != database {
		d.Store += fmt.Sprintf(", read from DATABASES.%s (%s)", read, describeDatabase(s.Databases[read]))
	}
	d.Key = "task_id = <task_id>"
	d.Compatible = "django-celery-results' database backend, TaskResult.objects and Django's admin"
	for _, state := range slices.Sorted(maps.Keys(s.DjangoDB.ExpiresByState)) {
		d.Expires += fmt.Sprintf(", %s %s", state, describeExpiry(s.ExpiresIn(state)))
	}
	d.Expires += ", unfinished " + describeExpiry(s.ExpiresIn(""))
}

// describeDjangoCelery describes the tables of django-celery.
func (s *Settings) describeDjangoCelery(d *Description, url string) {
	database := cmp.Or(s.DjangoDB.Database, DefaultDatabase)
	d.Store = fmt.Sprintf("table celery_taskmeta in DATABASES.%s (%s), only read", database, describeDatabase(s.Databases[database]))
	if url != "" {
		d.Store = "table celery_taskmeta in " + MaskURL(url) + ", only read"
	}
	d.Key, d.Serializer = "task_id = <task_id>", "pickle"
	d.Compatible = "django-celery 2.5 to 3.3"
}

// describeDatabase describes Celery's own tables.
func (s *Settings) describeDatabase(d *Description, url string) {
	table := cmp.Or(s.Database.TableNames["task"], "celery_taskmeta")
	if schema := s.Database.TableSchemas["task"]; schema != "" {
		table = schema + "." + table
	}
	d.Store = "table " + table + " in " + MaskURL(strings.TrimPrefix(url, "db+"))
	d.Key = "task_id = <task_id>"
	d.Compatible = "Celery's own database backend (SQLAlchemy)"
}

func describeExpiry(d time.Duration) string {
	if d == Never {
		return "never"
	}
	return d.String()
}

func describeDatabase(d cache.Database) string {
	if d.URL != "" {
		return MaskURL(d.URL)
	}
	engine, _ := cache.DatabaseEngine(d.Engine)
	return strings.TrimSpace(engine + " " + d.Name + " " + d.Host)
}

func (s *Settings) describeCeleryCache(d *Description, url string) {
	d.Store = MaskURL(url)
	d.Key = s.ResultBackendTransportOptions.KeyPrefix() + "celery-task-meta-<task_id>"
	d.Compatible = "Celery's own cache backend (pylibmc)"
	if strings.HasPrefix(url, "memory://") {
		d.Compatible = "this process only"
		d.Holds = "5000 results, as Celery's; then it drops the least recently used"
	}
}

func (s *Settings) describeRedis(d *Description) {
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
		masked[i] = MaskURL(u)
	}
	return strings.Join(masked, ", ")
}

// urlStart finds where another URL begins in a list of them.
var urlStart = regexp.MustCompile(`[;,]\s*[A-Za-z][A-Za-z0-9+.-]*://`)

// MaskURL returns the URL with every password in it replaced by **, as Celery
// prints URLs: in the user information of each of several URLs divided by ; or
// a comma, and in every query parameter that is not known to be harmless.
func MaskURL(url string) string {
	var masked strings.Builder
	for {
		next := urlStart.FindStringIndex(url)
		if next == nil {
			break
		}
		masked.WriteString(maskOne(url[:next[0]]))
		masked.WriteByte(url[next[0]])
		url = url[next[0]+1:]
	}
	masked.WriteString(maskOne(url))
	return masked.String()
}

// maskOne masks a single URL, or text that has no scheme.
func maskOne(url string) string {
	start := 0
	if i := strings.Index(url, "://"); i >= 0 {
		start = i + len("://")
	}
	// A password may hold any of / ? ; , and @ when it was not escaped: the
	// last @ ends it.
	if at := strings.LastIndex(url, "@"); at >= start {
		if user, _, ok := strings.Cut(url[start:at], ":"); ok {
			return url[:start] + user + ":**" + maskQuery(url[at:])
		}
	}
	return maskQuery(url)
}

// harmless are the query parameters whose values are shown.
var harmless = []string{
	"application_name", "charset", "client_encoding", "db", "health_check_interval", "max_connections", "protocol",
	"socket_connect_timeout", "socket_keepalive", "socket_timeout", "ssl_cert_reqs", "ssl_check_hostname", "sslmode",
	"timeout", "virtual_host",
}

func maskQuery(url string) string {
	path, query, ok := strings.Cut(url, "?")
	if !ok {
		return url
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		if name, _, ok := strings.Cut(param, "="); ok && !slices.Contains(harmless, strings.ToLower(name)) {
			params[i] = name + "=**"
		}
	}
	return path + "?" + strings.Join(params, "&")
}
