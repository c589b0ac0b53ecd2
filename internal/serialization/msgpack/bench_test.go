package msgpack_test

import (
	"testing"

	"github.com/celeryresults/celeryresults/internal/serialization/msgpack"
)

func document(b *testing.B) []byte {
	b.Helper()
	for _, r := range readRecords(b, "testdata/redis-msgpack.jsonl") {
		if r.Case == "kwargs" {
			return r.Store.Value
		}
	}
	b.Fatal("no such record")
	return nil
}

func BenchmarkDecode(b *testing.B) {
	doc := document(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := msgpack.Codec.Decode(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFields(b *testing.B) {
	doc := document(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := msgpack.Codec.Fields(nil, doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	doc := document(b)
	v, err := msgpack.Codec.Decode(doc)
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if out, err = msgpack.Codec.Append(out[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}
