// Package prometheus counts what backends do, for Prometheus:
//
//	metrics := prometheus.New()
//	registry.MustRegister(metrics)
//	app = observe.App(app, metrics)
//
// Dashboard is one for Grafana that shows these metrics.
package prometheus

import (
	"context"
	_ "embed" // for Dashboard
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/celeryresults/celeryresults/observe"
)

// Dashboard is a dashboard of these metrics, as Grafana imports it: JSON.
//
//go:embed grafana.json
var Dashboard []byte

// Metrics is an observe.Observer and a prometheus.Collector. Make one with New. All of its
// metrics have the label backend, and none has a label of ids or task names, of which there
// are too many. It is safe for concurrent use.
type Metrics struct {
	duration, late *prometheus.HistogramVec
	stored         *prometheus.CounterVec
	counters       [counters]*prometheus.CounterVec
}

// The plain counters.
const (
	tries = iota
	sent
	received
	unknown
	expired
	undecodable
	counters
)

// buckets are of seconds: from what a store in memory needs to what people wait.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New returns metrics at zero, whose names begin with celery_results_.
func New() *Metrics {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "celery", Subsystem: "results", Name: name, Help: help, Buckets: buckets}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "celery", Subsystem: "results", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		duration: histogram("operation_duration_seconds", "How long operations of result backends took, waits included.", "backend", "operation", "outcome"),
		late:     histogram("wake_up_delay_seconds", "How long after a task was ready a wait for it ended.", "backend"),
		stored:   counter("stores_total", "Results that were to be stored, by their state and what became of them.", "backend", "state", "outcome"),
	}
	for i, c := range [counters]struct{ name, help string }{
		tries:       {"retries_total", "How often results were tried again to be stored."},
		sent:        {"sent_bytes_total", "Bytes of encoded records that were sent to be stored."},
		received:    {"received_bytes_total", "Bytes of encoded values in records that were read."},
		unknown:     {"unknown_total", "Records that were asked for and were not there."},
		expired:     {"expired_total", "Records that were asked for, and known to have expired or been forgotten."},
		undecodable: {"undecodable_total", "Records, and with observe.Decoding results, that were read and could not be decoded."},
	} {
		m.counters[i] = counter(c.name, c.help, "backend", "operation")
	}
	return m
}

func (m *Metrics) collectors() []prometheus.Collector {
	list := []prometheus.Collector{m.duration, m.late, m.stored}
	for _, c := range m.counters {
		list = append(list, c)
	}
	return list
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(to)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.collectors() {
		c.Collect(to)
	}
}

// Begin implements observe.Observer.
func (m *Metrics) Begin(ctx context.Context, _ observe.Event) context.Context { return ctx }

// End implements observe.Observer.
func (m *Metrics) End(_ context.Context, e observe.Event) {
	m.duration.WithLabelValues(e.Backend, string(e.Operation), string(e.Ended)).Observe(e.Duration.Seconds())
	if e.Operation == observe.Store {
		m.stored.WithLabelValues(e.Backend, e.StateLabel(), e.Outcome.String()).Inc()
	}
	if e.Waited {
		m.late.WithLabelValues(e.Backend).Observe(max(e.Late, time.Duration(0)).Seconds())
	}
	for i, n := range [counters]int64{
		tries: int64(e.Retries), sent: e.Sent, received: e.Received,
		unknown: int64(e.Unknown), expired: int64(e.Expired), undecodable: int64(e.Undecodable),
	} {
		if n > 0 {
			m.counters[i].WithLabelValues(e.Backend, string(e.Operation)).Add(float64(n))
		}
	}
}
