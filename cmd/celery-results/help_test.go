package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/settings"
)

// The settings in the help are settings that work.
func TestTheHelpShowsSettingsThatCanBeRead(t *testing.T) {
	var file strings.Builder
	example, _, found := strings.Cut(rootHelp, "Without a file")
	require.True(t, found)
	for line := range strings.Lines(example) {
		if indented, ok := strings.CutPrefix(line, "  "); ok {
			file.WriteString(indented)
		}
	}
	name := filepath.Join(t.TempDir(), "settings.toml")
	require.NoError(t, os.WriteFile(name, []byte(file.String()), 0o600))
	s, err := settings.Read(name, nil)
	require.NoError(t, err)
	require.NoError(t, s.Validate())
	assert.Equal(t, "django-db", s.ResultBackends["archive"].Backend)
	assert.Equal(t, map[string]string{"billing.*": "archive"}, s.TaskBackends)
	assert.Contains(t, s.Databases, "default")
}

// A line that is longer than a terminal is wide breaks in the middle of words.
func TestHelpFitsTheTerminal(t *testing.T) {
	for name, text := range map[string]string{
		"celery-results": rootHelp, "get": getHelp, "wait": waitHelp, "store": storeHelp, "forget": forgetHelp, "group": groupHelp,
		"check": checkHelp, "migrate": migrateHelp, "createcachetable": createCacheTableHelp, "cleanup": cleanupHelp,
	} {
		for line := range strings.Lines(text) {
			assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 88, "%s: %s", name, line)
		}
	}
}
