package settings

import (
	"regexp"
	"slices"
	"strings"
)

// fromEnvironment finds the settings among the variables of the environment.
func fromEnvironment(environ []string) (map[*setting]given, error) {
	values := make(map[*setting]given)
	for _, name := range variables(environ) {
		row, err := findVariable(name.key, name.value)
		if err != nil {
			return nil, err
		}
		if row == nil {
			continue
		}
		if twin, twice := values[row]; twice && twin.name != name.key {
			return nil, wrong(name.key, "is the same setting as %s%s; keep one of them", twin.name, fromVariable)
		}
		values[row] = given{name: name.key, value: name.value, origin: fromVariable}
	}
	return values, nil
}

const fromVariable = " (in the environment)"

type variable struct{ key, value string }

// variables returns what isn't empty, sorted by name. Of two with one name the
// later counts.
func variables(environ []string) []variable {
	var all []variable
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		if value != "" {
			all = append(all, variable{key, value})
		}
	}
	slices.SortStableFunc(all, func(a, b variable) int { return strings.Compare(a.key, b.key) })
	return all
}

// findVariable returns the setting that a variable is, nil for none of ours.
func findVariable(name, value string) (*setting, error) {
	row := byName[name]
	switch {
	case !strings.HasPrefix(name, namespace):
		if row != nil && strings.HasPrefix(name, "DJANGO_CELERY_RESULTS_") {
			return row, nil
		}
		return nil, nil
	case isService(name, value), row == nil && isProgram(name):
		return nil, nil
	}
	return findUpper(name)
}

// programs are variables of Celery's command line, which makes CELERY_WORKER_
// and so on from the options of its commands, of its worker and of init
// scripts, and two of this library.
var programs = regexp.MustCompile(`^CELERY_(` +
	`(WORKER|BEAT|EVENTS|STATUS|PURGE|LIST|MIGRATE|CALL|INSPECT|CONTROL|GRAPH|REPORT|SHELL|UPGRADE|LOGTOOL|AMQP|MULTI|FLOWER|RDB|LOG|CREATE|RESULTS_TEST)_.*` +
	`|RESULTS_SETTINGS|APP|BROKER|LOADER|CONFIG|CONFIG_MODULE|WORKDIR|NO_COLOR|QUIET|VERSION|SKIP_CHECKS` +
	`|RESULT_TASK|RESULT_TRACEBACK|BENCH|BENCH_EVERY|DB_REUSE_MAX|TRACE_APP|CUSTOM_WORKER_POOL|RDBSIG|BIN|USER|GROUP|CHDIR)$`)

func isProgram(name string) bool { return programs.MatchString(name) }

// services are the variables that Kubernetes and Docker links make for a
// service whose name begins with celery.
var services = regexp.MustCompile(`^CELERY_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isService knows CELERY_REDIS_PORT=tcp://… from the port of a redis server.
func isService(name, value string) bool {
	return services.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && (strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://"))
}
