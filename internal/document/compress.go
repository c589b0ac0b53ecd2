// Package document has results and groups as documents in one of kombu's serializers, as
// celery.backends.base.KeyValueStoreBackend keeps them.
package document

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/celeryresults/celeryresults/internal/compression"
)

// compressed begins a document that is compressed
// (celery.backends.base.COMPRESSED_PAYLOAD_MAGIC of Celery 5.7). The content type of
// the method follows, a NUL, and the body.
const compressed = "\x00celery-compressed\x00"

// Compression is one of kombu's methods (kombu.compression). The zero value
// compresses nothing.
type Compression struct {
	contentType string
	method      compression.Method
}

// methods are kombu's, by content type. Its gzip is zlib's format.
var methods = map[string]compression.Method{
	"application/x-gzip": compression.Zlib,
	"application/x-bz2":  compression.Bz2,
	"application/x-lzma": compression.LZMA,
	"application/zstd":   compression.Zstd,
}

// aliases are kombu's names of its methods.
var aliases = map[string]string{
	"gzip": "application/x-gzip", "zlib": "application/x-gzip", "bzip2": "application/x-bz2", "bzip": "application/x-bz2",
	"lzma": "application/x-lzma", "xz": "application/x-lzma", "zstd": "application/zstd", "zstandard": "application/zstd",
}

// NewCompression returns the method of result_compression, none for the empty name. A
// name that can't be written is an error that says which can.
func NewCompression(name string) (Compression, error) {
	if name == "" {
		return Compression{}, nil
	}
	contentType := name
	if alias, ok := aliases[name]; ok {
		contentType = alias
	}
	if method := methods[contentType]; method.Append != nil {
		return Compression{contentType, method}, nil
	}
	var known []string
	for alias, contentType := range aliases {
		if methods[contentType].Append != nil {
			known = append(known, alias)
		}
	}
	slices.Sort(known)
	return Compression{}, fmt.Errorf("results can't be compressed by %.40q; use one of %s", name, strings.Join(known, ", "))
}

// encode appends the encoding of a document, compressed if it is to be
// (Backend.encode).
func (d Documents) encode(dst []byte, v any) ([]byte, error) {
	if d.Compression.contentType == "" {
		return d.Codec.Append(dst, v)
	}
	data, err := d.Codec.Append(nil, v)
	if err != nil {
		return dst, err
	}
	dst = append(append(append(dst, compressed...), d.Compression.contentType...), 0)
	return d.Compression.method.Append(dst, data)
}

// plainly returns a document as the codec wrote it. The marker tells, not the settings
// (celery.backends.base.decompress_payload).
func plainly(data []byte) ([]byte, error) {
	if len(data) == 0 || data[0] != 0 || !bytes.HasPrefix(data, []byte(compressed)) {
		return data, nil
	}
	contentType, body, ok := bytes.Cut(data[len(compressed):], []byte{0})
	method := methods[string(contentType)]
	if alias, known := aliases[string(contentType)]; known {
		method = methods[alias]
	}
	if !ok || method.Decompress == nil {
		return nil, fmt.Errorf("it is compressed by %.40q, which this library does not know", contentType)
	}
	plain, err := method.Decompress(body)
	if err != nil {
		return nil, fmt.Errorf("decompress %s: %w", contentType, err)
	}
	return plain, nil
}

// Serializer tells by their first bytes in which of kombu's serializers a document is,
// compressed or not; empty: in none.
func Serializer(data []byte) string {
	data, err := plainly(data)
	if err != nil {
		return ""
	}
	return serializer(data)
}

func serializer(data []byte) string {
	if len(data) == 0 {
		return ""
	}
	switch first := data[0]; {
	case first == '{':
		return "json"
	case first == 0x80 && len(data) > 1 && data[1] >= 2 && data[1] <= 5:
		return "pickle"
	case first >= 0x80 && first <= 0x8f, first == 0xde, first == 0xdf:
		return "msgpack"
	case bytes.HasPrefix(data, []byte("children:")), bytes.HasPrefix(data, []byte("status:")), bytes.Contains(data, []byte("\nstatus: ")):
		return "yaml"
	}
	return ""
}
