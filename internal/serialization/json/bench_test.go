package json_test

import (
	stdjson "encoding/json"
	"testing"

	"github.com/celeryresults/celeryresults/internal/serialization"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/python"
)

// usualResult and usualDocument are a record of about 600 bytes.
var (
	usualResult = map[string]any{
		"order_id": int64(982347), "customer": "ann@example.com", "total": 129.95, "currency": "EUR",
		"paid": true, "lines": []any{
			map[string]any{"sku": "A-1001", "quantity": int64(2), "price": 19.99},
			map[string]any{"sku": "B-2002", "quantity": int64(1), "price": 89.97},
		},
	}
	usualDocument = python.Dict{
		{Key: "status", Value: "SUCCESS"}, {Key: "result", Value: usualResult}, {Key: "traceback"},
		{Key: "children", Value: []any{}}, {Key: "date_done", Value: "2026-11-21T09:08:22.411931+00:00"},
		{Key: "group_id", Value: "0c5a3f5e-2c1b-4a58-9f5d-6f1f3e6f3a11"}, {Key: "name", Value: "shop.tasks.checkout"},
		{Key: "args", Value: []any{int64(982347), "EUR"}}, {Key: "kwargs", Value: map[string]any{"notify": true}},
		{Key: "worker", Value: "celery@worker-1"}, {Key: "retries", Value: int64(0)},
		{Key: "task_id", Value: "8ad7f3a2-77b1-4b4c-9d0e-3b8d2a1f6c55"},
	}
)

func usualText(tb testing.TB) []byte {
	text, err := json.Codec.Append(nil, usualDocument)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func BenchmarkAppend(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = json.Codec.Append(buf[:0], usualDocument)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkAppendStandardMap(b *testing.B) {
	doc := map[string]any{}
	for _, p := range usualDocument {
		doc[p.Key.(string)] = p.Value
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = stdjson.Marshal(doc)
	}
}

func BenchmarkAppendStandardStruct(b *testing.B) {
	doc := struct {
		Status    string         `json:"status"`
		Result    any            `json:"result"`
		Traceback *string        `json:"traceback"`
		Children  []any          `json:"children"`
		DateDone  string         `json:"date_done"`
		GroupID   string         `json:"group_id"`
		Name      string         `json:"name"`
		Args      []any          `json:"args"`
		Kwargs    map[string]any `json:"kwargs"`
		Worker    string         `json:"worker"`
		Retries   int            `json:"retries"`
		TaskID    string         `json:"task_id"`
	}{
		Status: "SUCCESS", Result: usualResult, Children: []any{}, DateDone: "2026-11-21T09:08:22.411931+00:00",
		GroupID: "0c5a3f5e-2c1b-4a58-9f5d-6f1f3e6f3a11", Name: "shop.tasks.checkout", Args: []any{int64(982347), "EUR"},
		Kwargs: map[string]any{"notify": true}, Worker: "celery@worker-1", TaskID: "8ad7f3a2-77b1-4b4c-9d0e-3b8d2a1f6c55",
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = stdjson.Marshal(doc)
	}
}

func BenchmarkAppendRawResult(b *testing.B) {
	fields, err := json.Codec.Fields(nil, usualText(b))
	if err != nil {
		b.Fatal(err)
	}
	var doc python.Dict
	for _, f := range fields {
		doc = append(doc, python.Pair{Key: f.Name, Value: f.Value})
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = json.Codec.Append(buf[:0], doc)
	}
}

func BenchmarkDecode(b *testing.B) {
	text := usualText(b)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = json.Codec.Decode(text)
	}
}

func BenchmarkDecodeStandard(b *testing.B) {
	text := usualText(b)
	b.ReportAllocs()
	for b.Loop() {
		var v map[string]any
		_ = stdjson.Unmarshal(text, &v)
	}
}

func BenchmarkFields(b *testing.B) {
	text := usualText(b)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = json.Codec.Fields(nil, text)
	}
}

func BenchmarkFieldsIntoKeptSlice(b *testing.B) {
	text := usualText(b)
	var fields []serialization.Field
	b.ReportAllocs()
	for b.Loop() {
		fields, _ = json.Codec.Fields(fields[:0], text)
	}
}
