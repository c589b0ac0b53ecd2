// Package registry finds kombu's serializers by the names that Celery's
// settings use, and decides which of them may be read.
package registry

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
	"github.com/celeryresults/celeryresults/internal/serialization/pickle"
	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
)

// codecs are the serializers that kombu registers by itself, sorted by name.
var codecs = []serialization.Codec{json.Codec, msgpack.Codec, pickle.Codec, yaml.Codec}

// ErrNotAccepted is wrapped by what [Accept.Check] returns for a serializer
// that the settings do not allow to be read, as kombu's ContentDisallowed is.
var ErrNotAccepted = errors.New("serializer not accepted")

// ByName returns the codec that kombu registers under a name: json, msgpack,
// pickle or yaml. Names are case-sensitive, as in kombu.
func ByName(name string) (serialization.Codec, bool) {
	return find(func(c serialization.Codec) bool { return c.Name() == name })
}

// ByContentType returns the codec of a content type, such as
// application/json or application/x-python-serialize.
func ByContentType(contentType string) (serialization.Codec, bool) {
	return find(func(c serialization.Codec) bool { return c.ContentType() == contentType })
}

func find(match func(serialization.Codec) bool) (serialization.Codec, bool) {
	at := slices.IndexFunc(codecs, match)
	if at < 0 {
		return nil, false
	}
	return codecs[at], true
}

// Names returns the names of all codecs, sorted.
func Names() []string {
	names := make([]string, len(codecs))
	for i, c := range codecs {
		names[i] = c.Name()
	}
	return names
}

// Accept is the set of serializers that may be read. The zero Accept allows
// none. It never changes, so it is safe for concurrent use.
type Accept struct {
	names []string
}

// NewAccept returns the set that the entries of result_accept_content or
// accept_content name, which are names or content types as in kombu's
// prepare_accept_content. An empty list allows nothing: a caller for whom an
// absent setting means a default passes that default. An entry that is neither
// is an error that lists the known names.
func NewAccept(entries []string) (Accept, error) {
	var accept Accept
	for _, entry := range entries {
		codec, ok := ByName(entry)
		if !ok {
			codec, ok = ByContentType(entry)
		}
		if !ok {
			return Accept{}, fmt.Errorf("serialization: accept content: unknown serializer %q, known are %s",
				entry, strings.Join(Names(), ", "))
		}
		accept.names = append(accept.names, codec.Name())
	}
	return accept, nil
}

// Allows reports whether documents of codec may be read. A nil codec is never
// allowed.
func (a Accept) Allows(codec serialization.Codec) bool {
	return codec != nil && slices.Contains(a.names, codec.Name())
}

// Check returns nil for an allowed codec, and otherwise an error that wraps
// ErrNotAccepted and says which setting to change.
func (a Accept) Check(codec serialization.Codec) error {
	switch {
	case a.Allows(codec):
		return nil
	case codec == nil:
		return fmt.Errorf("serialization: %w: unknown serializer", ErrNotAccepted)
	}
	return fmt.Errorf("serialization: %w: %s (%s); add %q to result_accept_content to read it",
		ErrNotAccepted, codec.Name(), codec.ContentType(), codec.Name())
}
