package dbbackend

import (
	"testing"
	"time"

	"github.com/celeryresults/celeryresults"
)

// typical is the result of a task as programs store it.
func typical() *celeryresults.TaskMeta {
	return &celeryresults.TaskMeta{
		TaskID: "3f1c8a52-9d7b-4a57-b7f0-6f5a1d2c9e10", State: celeryresults.Success,
		Result: celeryresults.NewValue(map[string]any{
			"order": 4711, "total": "1234.50", "currency": "EUR", "paid": true, "note": "delivered to the neighbour, second floor",
			"lines": []any{map[string]any{"sku": "A-100", "count": 2, "price": 99.5}, map[string]any{"sku": "B-200", "count": 1, "price": 1035.5}},
		}),
		Children: []celeryresults.ResultTuple{}, DateDone: time.Now(),
		Name: "shop.tasks.settle_order", Args: celeryresults.NewValue([]any{4711}),
		Kwargs: celeryresults.NewValue(map[string]any{"locale": "de_DE", "notify": true}),
		Worker: "celery@worker-7.example.org", Queue: "billing",
	}
}

func BenchmarkEncode(b *testing.B) {
	backend, l := newDecoder(b)
	meta := typical()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := backend.encode(l, meta); err != nil {
			b.Fatal(err)
		}
	}
}
