package pickle_test

import (
	"bytes"
	"strings"
	"testing"

	ogorek "github.com/kisielk/og-rek"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/python/pickle"
)

// asMaps returns v with maps in place of dicts: what other libraries take.
func asMaps(v any) any {
	d, ok := v.(python.Dict)
	if !ok {
		return v
	}
	m := make(map[string]any)
	for _, p := range d {
		m[p.Key.(string)] = asMaps(p.Value)
	}
	return m
}

func BenchmarkEncodeMeta(b *testing.B) {
	ordered, unordered := meta(), asMaps(meta())
	b.Run("pickle", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := pickle.Append(nil, ordered); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pickle, maps and a kept buffer", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			var err error
			if buf, err = pickle.Append(buf[:0], unordered); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("og-rek", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var buf bytes.Buffer
			if err := ogorek.NewEncoderWithConfig(&buf, &ogorek.EncoderConfig{Protocol: 4}).Encode(unordered); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecodeMeta(b *testing.B) {
	benchmarkDecode(b, encode(b, meta()))
}

func BenchmarkDecodeJSONText(b *testing.B) {
	benchmarkDecode(b, encode(b, strings.Repeat(`{"status": "SUCCESS", "result": null}`, 16)))
}

func BenchmarkDecode2000Ints(b *testing.B) {
	benchmarkDecode(b, encode(b, repeat(int64(70000), 2000)))
}

func benchmarkDecode(b *testing.B, data []byte) {
	b.Run("pickle", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := pickle.Unmarshal(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("og-rek", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ogorek.NewDecoder(bytes.NewReader(data)).Decode(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFieldsOfMeta reads the entries and decodes only the status.
func BenchmarkFieldsOfMeta(b *testing.B) {
	data := encode(b, meta())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var fields []pickle.Field
	for b.Loop() {
		var err error
		fields, err = pickle.Fields(fields[:0], data)
		require.NoError(b, err)
		if state, _ := fields[0].Value.Decode(); state != "SUCCESS" {
			b.Fatal(state)
		}
	}
}
