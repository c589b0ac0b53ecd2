package settings

import (
	"maps"
	"slices"
	"strings"

	"github.com/celeryresults/celeryresults"
)

// FromMap returns the settings in m, which has the names and values that the
// package comment describes. It does not change m and keeps no part of it. The
// first name or value that is wrong is the error, a
// [*celeryresults.SettingsError]. Whether the settings work together is for
// their Validate to say.
func FromMap(m map[string]any) (celeryresults.Settings, error) {
	return Overlay(m, nil)
}

// Overlay is [FromMap] with the environment over m. environ is what os.Environ
// returns. Every variable that begins with CELERY_ replaces the setting of its
// name, under whichever name m has it; so does
// DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH. An empty variable is no variable, as
// for Celery. Ignored are CELERY_RESULTS_SETTINGS, which names the file,
// CELERY_RESULTS_TEST_ variables, variables of Celery's own programs, such as
// CELERY_APP, and those that Kubernetes makes for a service named celery. Any
// other is an error that names the nearest setting.
func Overlay(m map[string]any, environ []string) (celeryresults.Settings, error) {
	values, err := recognise(m)
	if err != nil {
		return celeryresults.Settings{}, err
	}
	over, err := fromEnvironment(environ)
	if err != nil {
		return celeryresults.Settings{}, err
	}
	maps.Copy(values, over)
	return build(values)
}

// Read is the one call for programs: the file at path, the environment over
// it, and Validate. path may be empty: then the environment says everything.
// environ is what os.Environ returns. Errors are as for [Load], [Overlay] and
// Validate.
func Read(path string, environ []string) (celeryresults.Settings, error) {
	var m map[string]any
	if path != "" {
		var err error
		if m, err = Load(path); err != nil {
			return celeryresults.Settings{}, err
		}
	}
	s, err := Overlay(m, environ)
	if err != nil {
		return celeryresults.Settings{}, err
	}
	if err := s.Validate(); err != nil {
		return celeryresults.Settings{}, err
	}
	return s, nil
}

// Names returns the settings that this package reads, as Django spells them,
// sorted. Celery's older names are not among them.
func Names() []string {
	names := make([]string, len(table))
	for i, row := range table {
		names[i] = row.name
	}
	slices.Sort(names)
	return names
}

// given is a value and the name it came with.
type given struct {
	name   string
	value  any
	origin string // said after what is wrong with the value
}

// recognise finds the settings in m.
func recognise(m map[string]any) (map[*setting]given, error) {
	find := spelled(m)
	values := make(map[*setting]given)
	for _, name := range slices.Sorted(maps.Keys(m)) {
		row, err := find(name)
		if err != nil {
			return nil, err
		}
		if row == nil {
			continue
		}
		if twin, twice := values[row]; twice {
			return nil, wrong(name, "is the same setting as %s; keep one of them", twin.name)
		}
		values[row] = given{name: name, value: m[name]}
	}
	return values, nil
}

// spelled returns what finds a setting by the names that m uses.
func spelled(m map[string]any) func(string) (*setting, error) {
	for name := range m {
		if strings.HasPrefix(name, namespace) {
			return findUpper
		}
	}
	return findLower
}

// build reads the values into Settings.
func build(values map[*setting]given) (celeryresults.Settings, error) {
	var s celeryresults.Settings
	for i := range table {
		v, ok := values[&table[i]]
		if !ok {
			continue
		}
		if err := table[i].set(&s, v.value); err != nil {
			return celeryresults.Settings{}, under(v.name, err, v.origin)
		}
	}
	dropForeign(&s)
	return s, nil
}
