package yaml_test

import (
	"testing"

	"github.com/celeryresults/celeryresults/internal/serialization/yaml"
)

func document(b *testing.B) []byte {
	b.Helper()
	for _, r := range readRecords(b, "testdata/redis-yaml.jsonl") {
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
		if _, err := yaml.Codec.Decode(doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFields(b *testing.B) {
	doc := document(b)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := yaml.Codec.Fields(nil, doc); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	doc := document(b)
	v, err := yaml.Codec.Decode(doc)
	if err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if out, err = yaml.Codec.Append(out[:0], v); err != nil {
			b.Fatal(err)
		}
	}
}
