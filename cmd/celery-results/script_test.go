package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/celeryresults/celeryresults/internal/testserver"
	"github.com/celeryresults/celeryresults/settings"
)

// commands are what the scripts have beside testscript's own: both run the
// command in this process and compare its exit status.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// exits STATUS ARG…
	"exits": func(ts *testscript.TestScript, _ bool, args []string) {
		runScripted(ts, args[0], "", args[1:])
	},
	// fed FILE STATUS ARG… reads its standard input from the file.
	"fed": func(ts *testscript.TestScript, _ bool, args []string) {
		runScripted(ts, args[1], ts.ReadFile(args[0]), args[2:])
	},
}

func runScripted(ts *testscript.TestScript, want, stdin string, args []string) {
	status := run(context.Background(), args, strings.NewReader(stdin), ts.Stdout(), ts.Stderr(), scriptEnvironment(ts))
	if got := strconv.Itoa(status); got != want {
		ts.Fatalf("exit status is %s, want %s: celery-results %q", got, want, args)
	}
}

// scriptEnvironment returns the variables of the script that the command reads.
func scriptEnvironment(ts *testscript.TestScript) []string {
	var environ []string
	for _, name := range append(settings.Names(), "CELERY_RESULTS_SETTINGS", "CELERY_RESULT_EXPIRE") {
		if value := ts.Getenv(name); value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// expandSettings replaces the variables in the script's settings files.
func expandSettings(env *testscript.Env, variables map[string]string) error {
	files, err := filepath.Glob(filepath.Join(env.WorkDir, "settings*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		expanded := os.Expand(string(content), func(name string) string { return variables[name] })
		if err := os.WriteFile(file, []byte(expanded), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func TestCommand(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/hermetic", Cmds: commands,
		Setup: func(env *testscript.Env) error {
			file := createTables(t, env.WorkDir, "cache_table", "archive_table")
			env.Setenv("CELERY_RESULTS_SETTINGS", filepath.Join(env.WorkDir, "settings.toml"))
			return expandSettings(env, map[string]string{"DATABASE": file, "WORK": env.WorkDir})
		},
	})
}

// The same scripts hold over every store.
func TestCommandOverEveryStore(t *testing.T) {
	prefix := "cmd" + rand.Text()
	stores := map[string]func(t *testing.T, dir string) string{
		"SQLite": func(t *testing.T, dir string) string {
			return fmt.Sprintf(`{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": {"BACKEND": "db", "LOCATION": "cache_table"}},
				"DATABASES": {"default": {"URL": "sqlite:///%s"}}}`, createTables(t, dir, "cache_table"))
		},
		"Redis": func(t *testing.T, _ string) string {
			return fmt.Sprintf(`{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": {"BACKEND": "redis",
				"KEY_PREFIX": "%s", "LOCATION": "redis://%s/0"}}}`, prefix, testserver.Redis(t))
		},
		"memcached with pymemcache's layout": func(t *testing.T, _ string) string {
			return fmt.Sprintf(`{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": {"default": {"BACKEND": "memcached",
				"KEY_PREFIX": "%s", "LOCATION": "%s"}}}`, prefix, testserver.Memcached(t))
		},
		"memcached in Celery's own layout": func(t *testing.T, _ string) string {
			return fmt.Sprintf(`{"CELERY_RESULT_BACKEND": "cache+memcached://%s/",
				"CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": {"global_keyprefix": "%s"}}`, testserver.Memcached(t), prefix)
		},
	}
	for name, settingsOf := range stores {
		t.Run(name, func(t *testing.T) {
			settings := settingsOf(t, t.TempDir())
			testscript.Run(t, testscript.Params{
				Dir: "testdata/stores", Cmds: commands,
				Setup: func(env *testscript.Env) error {
					file := filepath.Join(env.WorkDir, "settings.json")
					env.Setenv("CELERY_RESULTS_SETTINGS", file)
					return os.WriteFile(file, []byte(settings), 0o600)
				},
			})
		})
	}
}

// The same scripts hold over the tables of every database, each in a fresh one.
func TestCommandOverTables(t *testing.T) {
	for name, fresh := range databases {
		t.Run(name, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir: "testdata/tables", Cmds: commands,
				Condition: func(cond string) (bool, error) { return cond == strings.ToLower(name), nil },
				Setup: func(env *testscript.Env) error {
					env.Setenv("CELERY_RESULTS_SETTINGS", filepath.Join(env.WorkDir, "settings.json"))
					env.Setenv("LONG", strings.Repeat("x", 300))
					return expandSettings(env, map[string]string{"URL": fresh(env.T().(testing.TB)), "WORK": env.WorkDir})
				},
			})
		})
	}
}

// databases make a fresh database and return its URL.
var databases = map[string]func(testing.TB) string{
	"SQLite": newSQLite, "PostgreSQL": testserver.Postgres, "MySQL": testserver.MySQL,
}
