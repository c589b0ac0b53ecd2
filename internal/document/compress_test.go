package document_test

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/compression"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/registry"
)

const marker = "\x00celery-compressed\x00"

// testdata/compressed.jsonl is what Celery 5.7.0's compress_payload makes of one
// document, with every serializer and method.
func TestCompressedDocumentsOfCeleryAreRead(t *testing.T) {
	data, err := os.ReadFile("testdata/compressed.jsonl")
	require.NoError(t, err)
	read := 0
	for line := range bytes.Lines(data) {
		var r struct {
			Serializer, Method string
			Data               []byte
		}
		require.NoError(t, json.Unmarshal(line, &r))
		codec, ok := registry.ByName(r.Serializer)
		require.True(t, ok)
		d := document.Documents{Codec: codec}
		meta, err := d.Read("compressed", r.Data)
		require.NoError(t, err, "%s %s", r.Serializer, r.Method)
		printed, err := json.Marshal(meta)
		require.NoError(t, err)
		assert.JSONEq(t, `{"task_id":"compressed","status":"SUCCESS","result":{"text":"héllo","list":[1,2.5,null]},"traceback":null,"children":[],"date_done":"2026-11-26T10:00:00+00:00"}`,
			string(printed), "%s %s", r.Serializer, r.Method)
		assert.Equal(t, celeryresults.Success, d.StateOf(r.Data))
		read++
	}
	assert.Equal(t, 16, read)
}

func TestDocumentsAreCompressed(t *testing.T) {
	meta := &celeryresults.TaskMeta{TaskID: "a", State: celeryresults.Success, Result: celeryresults.NewValue(string(bytes.Repeat([]byte("abc"), 10_000)))}
	group := celeryresults.ResultTuple{ID: "g", Children: []celeryresults.ResultTuple{{ID: "a"}}}
	for _, name := range []string{"gzip", "zlib", "zstd", "lzma", "application/x-gzip"} {
		for _, serializer := range []string{"json", "pickle", "yaml", "msgpack"} {
			codec, _ := registry.ByName(serializer)
			method, err := document.NewCompression(name)
			require.NoError(t, err)
			d := document.Documents{Codec: codec, Compression: method}
			data, err := d.Append([]byte("before"), meta)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(data, []byte("before"+marker)))
			data = data[len("before"):]
			assert.Less(t, len(data), 1000)
			plain := document.Documents{Codec: codec} // with another setting
			got, err := plain.Read("a", data)
			require.NoError(t, err)
			text, err := got.Result.Any()
			require.NoError(t, err)
			assert.Len(t, text, 30_000)

			data, err = d.AppendGroup(nil, group)
			require.NoError(t, err)
			restored, err := plain.ReadGroup("g", data)
			require.NoError(t, err)
			assert.Equal(t, group, restored)
			data, err = d.AppendPart(nil, meta)
			require.NoError(t, err)
			part, err := plain.ReadPart(data)
			require.NoError(t, err)
			assert.Equal(t, "a", part.TaskID)
		}
	}
	for _, method := range []string{"bzip2", "brotli", "GZIP", "nonsense"} {
		_, err := document.NewCompression(method)
		require.ErrorContains(t, err, "use one of gzip, lzma, xz, zlib, zstandard, zstd", method)
	}
}

func TestBrokenCompressedDocuments(t *testing.T) {
	codec, _ := registry.ByName("json")
	d := document.Documents{Codec: codec}
	for _, data := range []string{
		marker, marker + "application/zstd", marker + "application/zstd\x00", marker + "application/x-brotli\x00abc", marker + "\x00\x00",
		marker + "application/x-gzip\x00abc", marker + "application/x-bz2\x00BZh9abc", marker + "application/x-lzma\x00\xfd7zXZ\x00",
		marker + "application/zstd\x00\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x00celery",
	} {
		var unreadable *celeryresults.UnreadableError
		_, err := d.Read("a", []byte(data))
		require.ErrorAs(t, err, &unreadable, "%q", data)
		_, err = d.Status("a", []byte(data))
		require.ErrorAs(t, err, &unreadable, "%q", data)
		_, err = d.ReadGroup("a", []byte(data))
		require.Error(t, err)
		assert.Empty(t, d.StateOf([]byte(data)))
	}
}

func TestBombsAreNotDecompressed(t *testing.T) {
	if testing.Short() {
		t.Skip("holds a quarter of a gigabyte")
	}
	var bomb bytes.Buffer
	bomb.WriteString(marker + "application/x-gzip\x00")
	w := zlib.NewWriter(&bomb)
	zeros := make([]byte, 1<<20)
	for range compression.Max>>20 + 1 {
		_, err := w.Write(zeros)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	codec, _ := registry.ByName("json")
	_, err := document.Documents{Codec: codec}.Read("a", bomb.Bytes())
	require.ErrorIs(t, err, serialization.ErrLimit)

	method, err := document.NewCompression("zstd")
	require.NoError(t, err)
	data, err := document.Documents{Codec: codec, Compression: method}.Append(nil, &celeryresults.TaskMeta{
		TaskID: "a", State: celeryresults.Success, Result: celeryresults.NewValue(string(make([]byte, compression.Max/6+1))), // \u0000 each
	})
	require.NoError(t, err)
	_, err = document.Documents{Codec: codec}.Read("a", data)
	require.ErrorIs(t, err, serialization.ErrLimit)
}

func FuzzCompressed(f *testing.F) {
	data, err := os.ReadFile("testdata/compressed.jsonl")
	require.NoError(f, err)
	for line := range bytes.Lines(data) {
		var r struct{ Data []byte }
		require.NoError(f, json.Unmarshal(line, &r))
		f.Add(r.Data)
	}
	codec, _ := registry.ByName("json")
	d := document.Documents{Codec: codec}
	f.Fuzz(func(t *testing.T, data []byte) {
		meta, err := d.Read("a", data)
		if err == nil && meta.State == "" {
			t.Fatal("no state and no error")
		}
	})
}
