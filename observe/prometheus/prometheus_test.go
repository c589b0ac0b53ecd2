package prometheus_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/observe"
	"github.com/celeryresults/celeryresults/observe/prometheus"
)

// everything makes each metric count.
var everything = []observe.Event{
	{Backend: "main", Operation: observe.Store, State: celeryresults.Success, Outcome: celeryresults.OutcomeStored, Ended: observe.OK, Duration: 2 * time.Millisecond, Sent: 100, Retries: 1},
	{Backend: "main", Operation: observe.Store, State: "PROGRESS 17", Outcome: celeryresults.OutcomeRefused, Sent: 50, Ended: observe.Refused},
	{Backend: "main", Operation: observe.GetMany, Received: 70, Unknown: 2, Expired: 1, Undecodable: 3, Ended: observe.Unreadable},
	{Backend: "main", Operation: observe.Wait, Waited: true, Late: 3 * time.Millisecond, Ended: observe.OK, Duration: time.Second},
	{Backend: "main", Operation: observe.Wait, Waited: true, Late: -time.Hour, Duration: time.Second, Ended: observe.Failed},
}

func TestMetrics(t *testing.T) {
	m := prometheus.New()
	registry := client.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	for _, e := range everything {
		m.End(m.Begin(t.Context(), e), e)
	}
	problems, err := testutil.CollectAndLint(m)
	require.NoError(t, err)
	assert.Empty(t, problems)
	served := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(served, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`celery_results_stores_total{backend="main",outcome="refused",state="custom"} 1`,
		`celery_results_stores_total{backend="main",outcome="stored",state="SUCCESS"} 1`,
		`celery_results_retries_total{backend="main",operation="store"} 1`,
		`celery_results_sent_bytes_total{backend="main",operation="store"} 150`,
		`celery_results_received_bytes_total{backend="main",operation="get_many"} 70`,
		`celery_results_unknown_total{backend="main",operation="get_many"} 2`,
		`celery_results_expired_total{backend="main",operation="get_many"} 1`,
		`celery_results_undecodable_total{backend="main",operation="get_many"} 3`,
		`celery_results_operation_duration_seconds_bucket{backend="main",operation="store",outcome="ok",le="0.0025"} 1`,
		`celery_results_operation_duration_seconds_count{backend="main",operation="store",outcome="refused"} 1`,
		`celery_results_operation_duration_seconds_count{backend="main",operation="get_many",outcome="unreadable"} 1`,
		`celery_results_operation_duration_seconds_count{backend="main",operation="wait",outcome="error"} 1`,
		`celery_results_wake_up_delay_seconds_bucket{backend="main",le="0.005"} 2`,
		`celery_results_wake_up_delay_seconds_sum{backend="main"} 0.003`,
	} {
		assert.Contains(t, served.Body.String(), want+"\n")
	}
}

var metricName = regexp.MustCompile(`celery_results_\w+`)

// TestTheDashboardShowsWhatThereIs compares the names of metrics and labels in the dashboard
// with those that are served, in both directions.
func TestTheDashboardShowsWhatThereIs(t *testing.T) {
	m := prometheus.New()
	for _, e := range everything {
		m.End(t.Context(), e)
	}
	registry := client.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	families, err := registry.Gather()
	require.NoError(t, err)
	served := map[string]map[string]bool{} // labels by name
	shown := map[string]bool{}
	for _, family := range families {
		labels := map[string]bool{"le": true}
		for _, pair := range family.GetMetric()[0].GetLabel() {
			labels[pair.GetName()] = true
		}
		served[family.GetName()] = labels
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct{ Query json.RawMessage }
		}
	}
	require.NoError(t, json.Unmarshal(prometheus.Dashboard, &dashboard))
	base := func(name string) string {
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if short, ok := strings.CutSuffix(name, suffix); ok {
				return short
			}
		}
		return name
	}
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!=|=)\s*"|by \(([\w, ]+)\)`)
	for _, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			names := metricName.FindAllString(target.Expr, -1)
			require.NotEmpty(t, names, target.Expr)
			for _, name := range names {
				labels, known := served[base(name)]
				require.True(t, known, "%s shows %s, which is no metric", panel.Title, name)
				shown[base(name)] = true
				for _, match := range label.FindAllStringSubmatch(target.Expr, -1) {
					for used := range strings.SplitSeq(match[1]+match[2], ",") {
						assert.True(t, labels[strings.TrimSpace(used)], "%s: %s has no label %q", panel.Title, name, used)
					}
				}
				for _, match := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
					assert.True(t, labels[match[1]], "%s: the legend names %q", panel.Title, match[1])
				}
			}
		}
	}
	for name := range served {
		assert.True(t, shown[name], "no panel shows %s", name)
	}
	for _, variable := range dashboard.Templating.List {
		for _, name := range metricName.FindAllString(string(variable.Query), -1) {
			assert.Contains(t, served, base(name))
		}
	}
}
