package settings_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/settings"
)

// FuzzFromMap reads any JSON object: twice the same settings, or an error that
// is about settings.
func FuzzFromMap(f *testing.F) {
	for _, file := range []string{"testdata/shop.json", "testdata/django.json"} {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	for _, test := range wrongs {
		if data, err := json.Marshal(test.in); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"result_expires": "P1DT", "cache_backend_options": {"a": [1e400]}, "redis_port": 1e19}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, number := range []bool{false, true} {
			var in map[string]any
			d := json.NewDecoder(bytes.NewReader(data))
			if number {
				d.UseNumber()
			}
			if d.Decode(&in) != nil {
				return
			}
			got, err := settings.FromMap(in)
			if err == nil {
				err = got.Validate()
			}
			if err != nil {
				requireLine(t, err)
				continue
			}
			again, err := settings.FromMap(in)
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
	})
}

// FuzzOverlay reads any two variables.
func FuzzOverlay(f *testing.F) {
	for name, given := range samples {
		f.Add("CELERY_"+name, given.variable, "CELERY_RESULT_EXPIRES", "1 day, 0:00:00")
	}
	f.Add("CELERY_RESULT_EXPIRES", "P1DT0S", "CELERY_ACCEPT_CONTENT", ",json ,")
	f.Add("CELERY_REDIS_PORT", "tcp://a:1", "CACHES", "{}")
	f.Fuzz(func(t *testing.T, name, value, name2, value2 string) {
		if _, err := settings.Overlay(nil, []string{name + "=" + value, name2 + "=" + value2}); err != nil {
			requireLine(t, err)
		}
	})
}

// FuzzLoad reads any file of each notation.
func FuzzLoad(f *testing.F) {
	for _, file := range []string{"shop.toml", "shop.yaml", "shop.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", file))
		require.NoError(f, err)
		f.Add(filepath.Ext(file), data)
	}
	for _, test := range wrongFiles {
		f.Add(filepath.Ext(test.file), []byte(test.content))
	}
	f.Add(".yaml", []byte("a: &a [*a]\nCELERY_RESULT_BACKENDS: {<<: *a}\n"))
	f.Add(".yaml", []byte("CACHES: {? [1]: 2, 3: 4}\nCELERY_RESULT_EXPIRES: 2026-01-01\n"))
	f.Add(".toml", []byte("CELERY_RESULT_EXPIRES = 07:32:00\nCELERY_REDIS_DB = 1979-05-27\n"))
	folder := f.TempDir()
	f.Fuzz(func(t *testing.T, extension string, data []byte) {
		switch extension {
		case ".toml", ".yaml", ".json":
		default:
			return
		}
		path := filepath.Join(folder, "settings"+extension)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		if _, err := settings.Read(path, nil); err != nil {
			requireLine(t, err)
		}
	})
}
