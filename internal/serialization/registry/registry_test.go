package registry_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

// kombu is what kombu.serialization.registry holds.
var kombu = []struct{ name, contentType, encoding string }{
	{"json", "application/json", "utf-8"},
	{"msgpack", "application/x-msgpack", "binary"},
	{"pickle", "application/x-python-serialize", "binary"},
	{"yaml", "application/x-yaml", "utf-8"},
}

func TestEveryKombuSerializerIsFoundByNameAndContentType(t *testing.T) {
	var names []string
	for _, want := range kombu {
		byName, ok := registry.ByName(want.name)
		require.True(t, ok, want.name)
		byType, ok := registry.ByContentType(want.contentType)
		require.True(t, ok, want.contentType)
		assert.Equal(t, byName, byType)
		assert.Equal(t, want.name, byName.Name())
		assert.Equal(t, want.contentType, byName.ContentType())
		assert.Equal(t, want.encoding, byName.ContentEncoding())
		names = append(names, want.name)
	}
	assert.Equal(t, names, registry.Names())
}

func TestUnknownNamesAreNotFound(t *testing.T) {
	for _, name := range []string{"", "JSON", "application/json", "xml"} {
		_, ok := registry.ByName(name)
		assert.False(t, ok, name)
	}
	for _, contentType := range []string{"", "json", "application/data", "text/yaml"} {
		_, ok := registry.ByContentType(contentType)
		assert.False(t, ok, contentType)
	}
}

func TestAccept(t *testing.T) {
	tests := []struct {
		name    string
		entries []string
		allowed []string
	}{
		{"nil allows nothing", nil, nil},
		{"an empty list allows nothing", []string{}, nil},
		{"a name", []string{"json"}, []string{"json"}},
		{"a content type", []string{"application/json"}, []string{"json"}},
		{"names and content types mixed", []string{"yaml", "application/x-msgpack"}, []string{"msgpack", "yaml"}},
		{"one twice", []string{"pickle", "application/x-python-serialize"}, []string{"pickle"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accept, err := registry.NewAccept(tt.entries)
			require.NoError(t, err)
			for _, name := range registry.Names() {
				codec, _ := registry.ByName(name)
				want := slices.Contains(tt.allowed, name)
				assert.Equal(t, want, accept.Allows(codec), name)
				assert.Equal(t, want, accept.Check(codec) == nil, name)
			}
		})
	}
}

func TestAnUnknownEntryIsAnErrorThatListsTheKnownOnes(t *testing.T) {
	for _, entry := range []string{"xml", "JSON", "application/xml", ""} {
		_, err := registry.NewAccept([]string{"json", entry})
		require.Error(t, err, entry)
		assert.Contains(t, err.Error(), "json, msgpack, pickle, yaml")
	}
}

func TestARefusedSerializerNamesTheSettingToChange(t *testing.T) {
	accept, err := registry.NewAccept([]string{"json"})
	require.NoError(t, err)
	pickle, _ := registry.ByName("pickle")
	err = accept.Check(pickle)
	require.ErrorIs(t, err, registry.ErrNotAccepted)
	assert.Contains(t, err.Error(), `add "pickle" to result_accept_content`)
}

func TestNoCodecIsNeverAccepted(t *testing.T) {
	var none serialization.Codec
	var accept registry.Accept
	assert.False(t, accept.Allows(none))
	assert.ErrorIs(t, accept.Check(none), registry.ErrNotAccepted)
}
