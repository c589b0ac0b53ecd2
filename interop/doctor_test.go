package interop_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

// TestSettingsOfRealProjectsAreCompared has a project export its settings as the
// command tells people to, and has the command compare its own with them.
func TestSettingsOfRealProjectsAreCompared(t *testing.T) {
	command := filepath.Join(t.TempDir(), "celery-results")
	built, err := exec.Command("go", "build", "-o", command, "../cmd/celery-results").CombinedOutput()
	require.NoError(t, err, "%s", built)
	redis, sqlite := testserver.StartRedis(t).Addr(), filepath.Join(t.TempDir(), "shop.db")
	cached := map[string]any{"default": map[string]any{"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://" + redis + "/1", "KEY_PREFIX": "shop"}}
	for _, set := range sets {
		python := needPython(t, set.requirements)
		for name, c := range map[string]struct{ python, ours, wrong map[string]any }{
			"redis": {
				map[string]any{"CELERY_RESULT_BACKEND": "redis://:hunter2@" + redis + "/2", "CELERY_RESULT_EXPIRES": 7200},
				map[string]any{"CELERY_RESULT_BACKEND": "redis://" + redis + "/2", "CELERY_RESULT_EXPIRES": "2h"},
				map[string]any{"CELERY_RESULT_BACKEND": "redis://" + redis + "/3"},
			},
			"django-cache": {
				map[string]any{"CELERY_RESULT_BACKEND": "django-cache", "CELERY_CACHE_BACKEND": "default", "CACHES": cached},
				map[string]any{"CELERY_RESULT_BACKEND": "django-cache", "CACHES": cached},
				map[string]any{"CACHES": map[string]any{"default": map[string]any{"BACKEND": "redis", "LOCATION": "redis://" + redis + "/1", "VERSION": 2}}},
			},
			"django-db": {
				map[string]any{"CELERY_RESULT_BACKEND": "django-db"},
				map[string]any{"CELERY_RESULT_BACKEND": "django-db", "DATABASES": map[string]any{"default": map[string]any{"ENGINE": "sqlite3", "NAME": sqlite}}},
				map[string]any{"CELERY_RESULT_EXTENDED": false},
			},
		} {
			t.Run(set.name+"/"+name, func(t *testing.T) {
				theirs, err := json.Marshal(c.python)
				require.NoError(t, err)
				export := exec.Command(python, "../../cmd/celery-results/export_settings.py", "--app", "shop.celery:app")
				if name == "django-db" { // the other way
					export = exec.Command(python, "-m", "django", "shell", "-v", "0")
					script, err := os.Open("../cmd/celery-results/export_settings.py")
					require.NoError(t, err)
					defer script.Close()
					export.Stdin = script
				}
				export.Dir = "django"
				export.Env = append(os.Environ(), "DATABASE_URL=sqlite:///"+sqlite, "SETTINGS="+string(theirs), "PYTHONPATH=.", "DJANGO_SETTINGS_MODULE=shop.settings", "PYTHONDONTWRITEBYTECODE=1")
				exported, err := export.Output()
				if e, ok := errors.AsType[*exec.ExitError](err); ok {
					t.Log(string(e.Stderr))
				}
				require.NoError(t, err)
				assert.NotContains(t, string(exported), "hunter2")
				file := filepath.Join(t.TempDir(), "exported.json")
				require.NoError(t, os.WriteFile(file, exported, 0o600))

				ours := map[string]any{"CELERY_RESULT_EXTENDED": true}
				for name, value := range c.ours {
					ours[name] = value
				}
				if name == "django-db" {
					migrated, err := exec.Command(command, "migrate", "--settings", written(t, ours)).CombinedOutput()
					require.NoError(t, err, "%s", migrated)
				}
				said, err := exec.Command(command, "check", "--settings", written(t, ours), "--against", file).CombinedOutput()
				require.NoError(t, err, "%s\n%s", said, exported)
				assert.NotContains(t, string(said), "mismatch")

				for name, value := range c.wrong {
					ours[name] = value
				}
				said, err = exec.Command(command, "check", "--settings", written(t, ours), "--against", file).CombinedOutput()
				require.Error(t, err)
				assert.Contains(t, string(said), "mismatch:")
			})
		}
	}
}

func written(t *testing.T, settings map[string]any) string {
	t.Helper()
	data, err := json.Marshal(settings)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}
