package celeryresults

import (
	"fmt"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
)

// Description says what one backend of the Settings is, for people.
type Description struct {
	Name       string // as in CELERY_RESULT_BACKENDS; default for the default one
	Backend    string // the setting's value, without passwords
	Store      string // what holds the results, without passwords
	Key        string // of a task's result
	Expires    string
	Serializer string
	Extended   bool
	Compatible string // who else reads and writes these records
}

// String returns the description in aligned lines.
func (d Description) String() string {
	extended := "no"
	if d.Extended {
		extended = "yes"
	}
	rows := [][2]string{
		{"backend", d.Name + " (" + d.Backend + ")"}, {"store", d.Store}, {"key", d.Key}, {"expires", d.Expires},
		{"serializer", d.Serializer}, {"extended", extended}, {"compatible", d.Compatible},
	}
	var b strings.Builder
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(&b, "%-11s %s\n", row[0]+":", row[1])
		}
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
		Serializer: s.Serializer(), Expires: "never",
	}
	if e := s.Expires(); e != Never {
		d.Expires = e.String()
	}
	backend, rest, _ := strings.Cut(s.ResultBackend, "+")
	switch {
	case s.ResultBackend == "" || s.ResultBackend == "disabled":
		return Description{Name: name, Backend: "disabled", Store: "none: results are not kept"}
	case s.ResultBackend == "django-cache" && !strings.Contains(s.CacheBackend, "://"):
		s.describeDjangoCache(&d)
	case s.ResultBackend == "django-cache" || s.ResultBackend == "cache":
		s.describeCeleryCache(&d, s.CacheBackend)
	case backend == "cache":
		s.describeCeleryCache(&d, rest)
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
	d.Key = fmt.Sprintf("%s:%d:%scelery-task-meta-<task_id>", c.KeyPrefix, version, s.ResultBackendTransportOptions.GlobalKeyPrefix)
	d.Serializer, d.Compatible = "pickle, as Django's caches hold values", "django-celery-results' cache backend on Django's "+engine+" cache"
	switch {
	case c.Options.Serializer == "json":
		d.Serializer, d.Compatible = "json", "Go programs with this library only"
	case engine == "locmem":
		d.Serializer, d.Compatible = "pickle", "this process only"
	}
}

func (s *Settings) describeCeleryCache(d *Description, url string) {
	d.Store = MaskURL(url)
	d.Key = s.ResultBackendTransportOptions.GlobalKeyPrefix + "celery-task-meta-<task_id>"
	d.Compatible = "Celery's own cache backend (pylibmc)"
	if strings.HasPrefix(url, "memory://") {
		d.Compatible = "this process only"
	}
}

func maskAll(urls []string) string {
	masked := make([]string, len(urls))
	for i, u := range urls {
		masked[i] = MaskURL(u)
	}
	return strings.Join(masked, ", ")
}

// MaskURL returns the URL with every password in it replaced by **, as Celery
// prints URLs: in the user information of each of several URLs divided by ;
// and in query parameters named password.
func MaskURL(url string) string {
	parts := strings.Split(url, ";")
	for i, part := range parts {
		parts[i] = maskQuery(maskUserinfo(part))
	}
	return strings.Join(parts, ";")
}

func maskUserinfo(url string) string {
	start := 0
	if i := strings.Index(url, "://"); i >= 0 {
		start = i + len("://")
	}
	// A password may hold any of / ? and @ when it was not escaped: the last @
	// ends it.
	at := strings.LastIndex(url, "@")
	if at < start {
		return url
	}
	user, _, hasPassword := strings.Cut(url[start:at], ":")
	if !hasPassword {
		return url
	}
	return url[:start] + user + ":**" + url[at:]
}

func maskQuery(url string) string {
	path, query, ok := strings.Cut(url, "?")
	if !ok {
		return url
	}
	params := strings.Split(query, "&")
	for i, param := range params {
		if name, _, ok := strings.Cut(param, "="); ok && strings.Contains(strings.ToLower(name), "password") {
			params[i] = name + "=**"
		}
	}
	return path + "?" + strings.Join(params, "&")
}
