package observe_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/observe"
	"github.com/celeryresults/celeryresults/observe/prometheus"
)

// BenchmarkObserved measures what observing costs, over a store in memory, where it counts
// most: ratio is the time of an observed operation to that of another.
func BenchmarkObserved(b *testing.B) {
	for name, observers := range map[string][]observe.Observer{
		"a function": {observe.Func(func(context.Context, observe.Event) {})},
		"a log":      {observe.Log(slog.New(slog.DiscardHandler))},
		"Prometheus": {prometheus.New()},
	} {
		b.Run(name, func(b *testing.B) {
			open := func() *celeryresults.Backend {
				app, err := backends.Open(celeryresults.Settings{
					ResultBackend: "django-cache", Caches: map[string]cache.Settings{"default": {Location: []string{b.Name()}}},
				})
				require.NoError(b, err)
				b.Cleanup(func() { assert.NoError(b, app.Close()) })
				return app.BackendFor("")
			}
			bare, observed := open(), observe.Backend("main", open(), observers...)
			ctx := context.Background()
			run := func(b *celeryresults.Backend) time.Duration {
				started := time.Now()
				for range 1000 {
					_ = b.StoreResult(ctx, success("one", 1), celeryresults.Override)
					_, _ = b.GetTaskMeta(ctx, "one")
				}
				return time.Since(started)
			}
			var alone, watched time.Duration
			for b.Loop() {
				alone += run(bare)
				watched += run(observed)
			}
			b.ReportMetric(watched.Seconds()/alone.Seconds(), "ratio")
			b.ReportMetric(float64((watched-alone).Nanoseconds())/float64(b.N*2000), "added-ns/op")
			b.ReportMetric(0, "ns/op")
		})
	}
}
