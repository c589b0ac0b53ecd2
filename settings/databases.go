package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
)

var databaseFields = fields[cache.Database]{
	"ENGINE":   to(func(d *cache.Database) *string { return &d.Engine }, word),
	"NAME":     to(func(d *cache.Database) *string { return &d.Name }, text),
	"USER":     to(func(d *cache.Database) *string { return &d.User }, text),
	"PASSWORD": to(func(d *cache.Database) *string { return &d.Password }, text),
	"HOST":     to(func(d *cache.Database) *string { return &d.Host }, text),
	"PORT":     to(func(d *cache.Database) *string { return &d.Port }, port),
	"URL":      to(func(d *cache.Database) *string { return &d.URL }, text),
	"OPTIONS":  to(func(d *cache.Database) *map[string]string { return &d.Options }, databaseOptions),
}.ignoring("ATOMIC_REQUESTS AUTOCOMMIT CONN_HEALTH_CHECKS CONN_MAX_AGE DISABLE_SERVER_SIDE_CURSORS TEST TIME_ZONE")

// noDatabase is the ENGINE that Django gives an entry without one.
const noDatabase = "django.db.backends.dummy"

// databases reads DATABASES without the entries that are none.
func databases(v any) (map[string]cache.Database, error) {
	all, err := entries(database)(v)
	maps.DeleteFunc(all, func(_ string, d cache.Database) bool { return d.Engine == noDatabase })
	return all, err
}

// database reads one entry of DATABASES.
func database(v any) (cache.Database, error) {
	var d cache.Database
	m, err := mapping(v)
	if err != nil {
		return d, err
	}
	if len(m) == 0 {
		return cache.Database{Engine: noDatabase}, nil
	}
	if engine, _ := m["ENGINE"].(string); isForeignDatabase(engine) {
		return cache.Database{Engine: engine}, nil
	}
	err = databaseFields.read(&d, m)
	return d, err
}

// port is text or a number.
func port(v any) (string, error) {
	s, ok := numeral(v)
	if !ok {
		return "", mismatch("a port", v)
	}
	if _, err := strconv.ParseUint(s, 10, 16); s != "" && err != nil {
		return "", fmt.Errorf("must be a port, not %s", quoted(s))
	}
	return s, nil
}

// databaseOptions reads OPTIONS, with tables in it flattened: {"ssl": {"ca":
// file}} becomes ssl.ca.
func databaseOptions(v any) (map[string]string, error) {
	m, err := options(v)
	if err != nil {
		return nil, err
	}
	flat := make(map[string]string)
	return flat, flatten(flat, "", m)
}

func flatten(into map[string]string, prefix string, m map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		var err error
		switch v := m[name].(type) {
		case nil:
		case map[string]any:
			err = flatten(into, prefix+name+".", v)
		case bool:
			into[prefix+name] = map[bool]string{true: "true", false: "false"}[v]
		default:
			into[prefix+name], err = option(v)
		}
		if err != nil {
			return under(name, err, "")
		}
	}
	return nil
}

// option is text or a number.
func option(v any) (string, error) {
	if s, ok := v.(string); ok {
		return s, nil
	}
	s, ok := numeral(v)
	if !ok {
		return "", mismatch("text, a number, true or false", v)
	}
	return s, nil
}

// djangoDatabases begins the paths of Django's own engines.
const djangoDatabases = "django.db.backends."

// isForeignDatabase is isForeignCache for an ENGINE.
func isForeignDatabase(path string) bool {
	if _, known := cache.DatabaseEngine(path); known {
		return false
	}
	if strings.HasPrefix(path, djangoDatabases) {
		return path == noDatabase || path == djangoDatabases+"oracle"
	}
	return isPath(path)
}
