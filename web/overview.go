package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/python"
)

// spans are how far back an overview looks.
var spans = []struct {
	Name    string
	Long    time.Duration
	Buckets int
}{{"1h", time.Hour, 60}, {"24h", 24 * time.Hour, 48}, {"7d", 7 * 24 * time.Hour, 56}, {"30d", 30 * 24 * time.Hour, 60}}

// stats returns the counts of the span that a request names, a day if it names none.
func (h *Handler) stats(r *http.Request) (*driver.Stats, string, error) {
	name := r.URL.Query().Get("span")
	if name == "" {
		name = "24h"
	}
	for _, span := range spans {
		if span.Name != name {
			continue
		}
		b, err := h.backend(r)
		if err != nil {
			return nil, "", err
		}
		ctx, cancel := withPatience(r)
		defer cancel()
		stats, err := h.counts.get(ctx, countsKey{r.URL.Query().Get("backend"), name}, func(ctx context.Context) (*driver.Stats, error) {
			width := span.Long / time.Duration(span.Buckets)
			until := time.Now().UTC().Truncate(width).Add(width)
			return b.Stats(ctx, driver.StatsQuery{From: until.Add(-span.Long), Until: until, Buckets: span.Buckets})
		})
		if errors.Is(err, errors.ErrUnsupported) {
			err = refuse(http.StatusNotImplemented, "this store does not count its results; a database (django-db) does")
		}
		return stats, name, err
	}
	return nil, "", refuse(http.StatusBadRequest, "span is 1h, 24h, 7d or 30d")
}

// getStats is GET /api/stats.
func (h *Handler) getStats(w http.ResponseWriter, r *http.Request) error {
	stats, _, err := h.stats(r)
	if err != nil {
		return err
	}
	tasks, buckets := make([]any, len(stats.Tasks)), make([]any, len(stats.Buckets))
	for i, t := range stats.Tasks {
		states := map[string]any{}
		for state, n := range t.States {
			states[string(state)] = n
		}
		tasks[i] = python.Dict{{Key: "task", Value: t.Task}, {Key: "total", Value: t.Total}, {Key: "states", Value: states}}
	}
	for i, b := range stats.Buckets {
		buckets[i] = python.Dict{
			{Key: "from", Value: b.From}, {Key: "done", Value: b.Done}, {Key: "failed", Value: b.Failed},
			{Key: "median_seconds", Value: b.Median.Seconds()}, {Key: "p95_seconds", Value: b.P95.Seconds()},
		}
	}
	return writeTagged(w, r, http.StatusOK, python.Dict{{Key: "from", Value: stats.From}, {Key: "until", Value: stats.Until}, {Key: "tasks", Value: tasks}, {Key: "buckets", Value: buckets}})
}

// overviewData is what the overview has.
type overviewData struct {
	Span          string
	Spans         []string
	Total, Failed int64
	Rate          string // of failures
	Tasks         []overviewTask
	Bars          []bar
	Most          int64  // tasks in a bucket
	Median, P95   string // points of lines
	Slowest       time.Duration
	From, Until   time.Time
}

type overviewTask struct {
	Task                      string
	Total, Good, Bad, Revoked int64
	Rate                      string
}

// bar is one bucket of the plot, whose height is 100.
type bar struct {
	X, Width, Good, Bad float64
	Label               string
}

const plotWidth = 1000.0

func percent(part, whole int64) string {
	if whole == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// overviewPage is GET /overview.
func (h *Handler) overviewPage(w http.ResponseWriter, r *http.Request) error {
	stats, span, err := h.stats(r)
	if err != nil {
		return err
	}
	data := overviewData{Span: span, From: stats.From, Until: stats.Until}
	for _, s := range spans {
		data.Spans = append(data.Spans, s.Name)
	}
	for _, t := range stats.Tasks {
		bad := t.States[celeryresults.Failure]
		data.Total, data.Failed = data.Total+t.Total, data.Failed+bad
		data.Tasks = append(data.Tasks, overviewTask{t.Task, t.Total, t.States[celeryresults.Success], bad, t.States[celeryresults.Revoked], percent(bad, t.Total)})
	}
	data.Rate = percent(data.Failed, data.Total)
	for _, b := range stats.Buckets {
		data.Most, data.Slowest = max(data.Most, b.Done), max(data.Slowest, b.P95)
	}
	width := plotWidth / float64(max(1, len(stats.Buckets)))
	for i, b := range stats.Buckets {
		at := float64(i) * width
		if b.Done > 0 {
			scale := 100 / float64(data.Most)
			data.Bars = append(data.Bars, bar{at + 1, width - 2, float64(b.Done-b.Failed) * scale, float64(b.Failed) * scale,
				fmt.Sprintf("%s: %d done, %d failed", b.From.Format("2006-01-02 15:04"), b.Done, b.Failed)})
		}
		if b.P95 > 0 {
			y := func(d time.Duration) float64 { return 100 - 100*float64(d)/float64(data.Slowest) }
			data.Median += fmt.Sprintf("%.1f,%.1f ", at+width/2, y(b.Median))
			data.P95 += fmt.Sprintf("%.1f,%.1f ", at+width/2, y(b.P95))
		}
	}
	h.page.render(w, r, http.StatusOK, "overview", common{Title: "Overview", Root: ".", Poll: 15000, Data: data})
	return nil
}
