package opentelemetry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/adapters/opentelemetry"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/observe"
)

func open(t *testing.T, o observe.Observer) *celeryresults.App {
	t.Helper()
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-cache", ResultExtended: true,
		Caches: map[string]cache.Settings{"default": {Location: []string{t.Name()}}},
	})
	require.NoError(t, err)
	app = observe.App(app, o)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return app
}

func TestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracers := trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	o, err := opentelemetry.New(tracers, nil)
	require.NoError(t, err)
	app := open(t, o)
	ctx, outer := tracers.Tracer("test").Start(t.Context(), "request")
	req := &celeryresults.Request{ID: "one", Task: "shop.bill"}
	require.NoError(t, app.MarkAsDone(ctx, req, 1))
	require.ErrorIs(t, app.MarkAsFailure(ctx, req, errors.New("late")), celeryresults.ErrRefused)
	_, err = app.AsyncResult("one").Get(ctx)
	require.NoError(t, err)
	require.ErrorIs(t, app.MarkAsDone(ctx, &celeryresults.Request{}, 1), celeryresults.ErrNoTaskID)
	outer.End()

	type span struct {
		name, outcome, state string
		status               codes.Code
	}
	var got []span
	for _, s := range spans.Ended() {
		if s.Name() == "request" {
			continue
		}
		assert.Equal(t, outer.SpanContext().SpanID(), s.Parent().SpanID())
		assert.False(t, s.EndTime().Before(s.StartTime()))
		values := map[string]string{}
		for _, a := range s.Attributes() {
			values[string(a.Key)] = a.Value.Emit()
		}
		assert.Equal(t, "default", values["celery.results.backend"])
		got = append(got, span{s.Name(), values["celery.results.outcome"], values["celery.state"], s.Status().Code})
	}
	assert.Equal(t, []span{
		{"celery.results store", "ok", "SUCCESS", codes.Unset},
		{"celery.results store", "refused", "FAILURE", codes.Unset},
		{"celery.results wait", "ok", "SUCCESS", codes.Unset},
		{"celery.results store", "error", "SUCCESS", codes.Error},
	}, got)
}

func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	o, err := opentelemetry.New(nil, metric.NewMeterProvider(metric.WithReader(reader)))
	require.NoError(t, err)
	for _, e := range []observe.Event{
		{Backend: "main", Operation: observe.Store, State: celeryresults.Success, Outcome: celeryresults.OutcomeStored, Ended: observe.OK, Duration: time.Millisecond, Sent: 100, Retries: 2},
		{Backend: "main", Operation: observe.Store, State: "PROGRESS 17", Outcome: celeryresults.OutcomeRefused, Ended: observe.Refused, Sent: 50},
		{Backend: "main", Operation: observe.GetMany, Ended: observe.Unreadable, Received: 70, Unknown: 2, Expired: 1, Undecodable: 3},
		{Backend: "main", Operation: observe.Wait, Ended: observe.OK, Waited: true, Late: 3 * time.Millisecond},
	} {
		o.End(o.Begin(t.Context(), e), e)
	}
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &all))
	sums, counts := map[string]int64{}, map[string]uint64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					sums[m.Name] += p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					counts[m.Name] += p.Count
				}
			}
		}
	}
	assert.Equal(t, map[string]int64{
		"celery.results.stores": 2, "celery.results.retries": 2, "celery.results.sent": 150, "celery.results.received": 70,
		"celery.results.unknown": 2, "celery.results.expired": 1, "celery.results.undecodable": 3,
	}, sums)
	assert.Equal(t, map[string]uint64{"celery.results.operation.duration": 4, "celery.results.wake_up.delay": 1}, counts)
}
