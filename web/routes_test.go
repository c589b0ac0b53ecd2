package web

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryRouteForProgramsIsDescribed is the other half of TestTheDescriptionIsTrue.
func TestEveryRouteForProgramsIsDescribed(t *testing.T) {
	data, err := files.ReadFile("openapi.json")
	require.NoError(t, err)
	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(data, &description))
	pages := map[string]bool{"/": true, "/overview": true, "/tasks/{id}": true, "/groups/{id}": true, "/tasks/{id}/forget": true}
	described := 0
	for _, r := range new(Handler).table() {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.TrimSuffix(path, "{$}")
		if pages[path] || strings.HasPrefix(path, "/{id}/") { // for people, or named beside the newer form
			continue
		}
		assert.Contains(t, description.Paths[path], strings.ToLower(method), r.pattern)
		described++
	}
	total := 0
	for _, methods := range description.Paths {
		total += len(methods)
	}
	assert.Equal(t, total, described, "what is described is answered")
}
