// Package opentelemetry traces and measures what backends do, with OpenTelemetry:
//
//	o, err := opentelemetry.New(otel.GetTracerProvider(), otel.GetMeterProvider())
//	app = observe.App(app, o)
//
// Each operation is a span of kind client within the caller's, and what a client below it
// traces lies within that. Spans have task ids and names; metrics have neither, as there are
// too many.
package opentelemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/celeryresults/celeryresults/observe"
)

// scope names what the spans and metrics come from.
const scope = "github.com/celeryresults/celeryresults/adapters/opentelemetry"

// The attributes of spans; metrics have the backend, the operation and the outcome, and
// celery.results.stores the state.
const (
	backendKey     = attribute.Key("celery.results.backend")
	operationKey   = attribute.Key("celery.results.operation")
	outcomeKey     = attribute.Key("celery.results.outcome")
	countKey       = attribute.Key("celery.results.tasks")
	taskIDKey      = attribute.Key("celery.task_id")
	taskKey        = attribute.Key("celery.task_name")
	stateKey       = attribute.Key("celery.state")
	retriesKey     = attribute.Key("celery.results.retries")
	sentKey        = attribute.Key("celery.results.sent")
	receivedKey    = attribute.Key("celery.results.received")
	unknownKey     = attribute.Key("celery.results.unknown")
	expiredKey     = attribute.Key("celery.results.expired")
	undecodableKey = attribute.Key("celery.results.undecodable")
	lateKey        = attribute.Key("celery.results.wake_up_delay") // in seconds
)

// Observer is an observe.Observer. Make one with New. It is safe for concurrent use.
type Observer struct {
	tracer         trace.Tracer
	duration, late metric.Float64Histogram
	stores         metric.Int64Counter
	retries, sent, received, unknown, expired,
	undecodable metric.Int64Counter
}

// seconds are the boundaries of histograms.
var seconds = metric.WithExplicitBucketBoundaries(.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60)

// New returns an Observer. A nil provider leaves out spans, or metrics.
func New(tracers trace.TracerProvider, meters metric.MeterProvider) (*Observer, error) {
	o := new(Observer)
	if tracers != nil {
		o.tracer = tracers.Tracer(scope)
	}
	if meters == nil {
		return o, nil
	}
	m := meters.Meter(scope)
	var errs []error
	histogram := func(name, what string) metric.Float64Histogram {
		h, err := m.Float64Histogram("celery.results."+name, metric.WithUnit("s"), metric.WithDescription(what), seconds)
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter("celery.results."+name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	o.duration = histogram("operation.duration", "How long operations of result backends took, waits included.")
	o.late = histogram("wake_up.delay", "How long after a task was ready a wait for it ended.")
	o.stores = counter("stores", "{result}", "Results that were to be stored, by their state and what became of them.")
	o.retries = counter("retries", "{attempt}", "Operations that were tried again.")
	o.sent = counter("sent", "By", "Encoded records that were sent to be stored.")
	o.received = counter("received", "By", "Encoded values in records that were read.")
	o.unknown = counter("unknown", "{record}", "Records that were asked for and were not there.")
	o.expired = counter("expired", "{record}", "Records that were asked for, and known to have expired or been forgotten.")
	o.undecodable = counter("undecodable", "{record}", "Records and results that were read and could not be decoded.")
	return o, errors.Join(errs...)
}

// Begin implements observe.Observer.
func (o *Observer) Begin(ctx context.Context, e observe.Event) context.Context {
	if o.tracer == nil {
		return ctx
	}
	attributes := []attribute.KeyValue{backendKey.String(e.Backend), operationKey.String(string(e.Operation))}
	if len(e.TaskIDs) == 1 {
		attributes = append(attributes, taskIDKey.String(e.TaskIDs[0]))
	} else {
		attributes = append(attributes, countKey.Int(len(e.TaskIDs)))
	}
	ctx, _ = o.tracer.Start(ctx, "celery.results "+string(e.Operation), //nolint:spancheck // End ends it
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(e.Began), trace.WithAttributes(attributes...))
	return ctx
}

// End implements observe.Observer.
func (o *Observer) End(ctx context.Context, e observe.Event) {
	if o.tracer != nil {
		endSpan(trace.SpanFromContext(ctx), e)
	}
	if o.duration == nil {
		return
	}
	backend, operation := backendKey.String(e.Backend), operationKey.String(string(e.Operation))
	o.duration.Record(ctx, e.Duration.Seconds(), metric.WithAttributes(backend, operation, outcomeKey.String(string(e.Ended))))
	if e.Operation == observe.Store {
		o.stores.Add(ctx, 1, metric.WithAttributes(backend, stateKey.String(e.StateLabel()), outcomeKey.String(e.Outcome.String())))
	}
	if e.Waited {
		o.late.Record(ctx, max(e.Late, 0).Seconds(), metric.WithAttributes(backend))
	}
	both := metric.WithAttributeSet(attribute.NewSet(backend, operation))
	for _, c := range []struct {
		counter metric.Int64Counter
		n       int64
	}{
		{o.retries, int64(e.Retries)}, {o.sent, e.Sent}, {o.received, e.Received},
		{o.unknown, int64(e.Unknown)}, {o.expired, int64(e.Expired)}, {o.undecodable, int64(e.Undecodable)},
	} {
		if c.n > 0 {
			c.counter.Add(ctx, c.n, both)
		}
	}
}

func endSpan(span trace.Span, e observe.Event) {
	attributes := []attribute.KeyValue{outcomeKey.String(string(e.Ended))}
	if e.Task != "" {
		attributes = append(attributes, taskKey.String(e.Task))
	}
	if e.State != "" {
		attributes = append(attributes, stateKey.String(string(e.State)))
	}
	if e.Waited {
		attributes = append(attributes, lateKey.Float64(e.Late.Seconds()))
	}
	for _, a := range []struct {
		key attribute.Key
		n   int64
	}{
		{retriesKey, int64(e.Retries)}, {sentKey, e.Sent}, {receivedKey, e.Received},
		{unknownKey, int64(e.Unknown)}, {expiredKey, int64(e.Expired)}, {undecodableKey, int64(e.Undecodable)},
	} {
		if a.n > 0 {
			attributes = append(attributes, a.key.Int64(a.n))
		}
	}
	span.SetAttributes(attributes...)
	if e.Ended == observe.Failed || e.Ended == observe.Unreadable {
		span.RecordError(e.Err)
		span.SetStatus(codes.Error, e.Err.Error())
	}
	span.End(trace.WithTimestamp(e.Began.Add(e.Duration)))
}
