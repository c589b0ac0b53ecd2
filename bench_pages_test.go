package celeryresults_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/web"
)

// BenchmarkPages measures how long the results page and the overview take to be made over
// 1 000 000 rows: the first list and those behind 500 000 rows, or behind half of what meets
// the filters. late-ms is the aim of 50 ms at any depth. Of the overview, first-ms is without
// and then-ms with what is kept of counts that take long.
func BenchmarkPages(b *testing.B) {
	const rows = 1_000_000
	for _, e := range openTables(b) {
		e.fillHistory(b, rows, time.Now(), time.Second)
		keeper, err := dbbackend.New(e.db, celeryresults.Settings{ResultExpires: celeryresults.Never}, dbbackend.Options{Engine: e.dialect.Name()})
		require.NoError(b, err)
		app, err := celeryresults.NewApp(celeryresults.Settings{}, keeper, nil)
		require.NoError(b, err)
		h, err := web.New(web.Options{App: app, Authorize: web.Anybody})
		require.NoError(b, err)
		for name, page := range map[string]struct {
			query url.Values
			q     celeryresults.Query
			depth int
		}{
			"list":        {url.Values{}, celeryresults.Query{}, rows / 2},
			"failures":    {url.Values{"state": {"FAILURE"}}, celeryresults.Query{States: []celeryresults.State{"FAILURE"}}, rows / 200},
			"a task":      {url.Values{"task": {"shop.task7"}}, celeryresults.Query{Task: "shop.task7"}, rows / 100},
			"11 of tasks": {url.Values{"task": {"shop.task1*"}}, celeryresults.Query{Task: "shop.task1*"}, rows / 10},
			"a label":     {url.Values{"label.customer": {"acme"}}, celeryresults.Query{Labels: map[string]string{"customer": "acme"}}, 50},
		} {
			b.Run(e.name+"/"+name, func(b *testing.B) {
				cursor := ""
				for passed := 0; passed < page.depth; {
					page.q.Limit, page.q.Cursor = min(driver.MaxLimit, page.depth-passed), cursor
					p, err := keeper.List(context.Background(), page.q)
					require.NoError(b, err)
					require.NotEmpty(b, p.Results)
					passed, cursor = passed+len(p.Results), p.Next
				}
				deep := url.Values{"cursor": {cursor}}
				for key, values := range page.query {
					deep[key] = values
				}
				var first, late []float64
				for b.Loop() {
					first = append(first, makePage(b, h, "/?"+page.query.Encode()))
					late = append(late, makePage(b, h, "/?"+deep.Encode()))
				}
				b.ReportMetric(median(first), "first-ms")
				b.ReportMetric(median(late), "late-ms")
				b.ReportMetric(0, "ns/op")
			})
		}
		for _, path := range []string{"/tasks/h", "/overview?span=1h", "/overview?span=24h", "/overview?span=30d"} {
			b.Run(e.name+path, func(b *testing.B) {
				if path == "/tasks/h" {
					p, err := keeper.List(context.Background(), celeryresults.Query{Limit: 1})
					require.NoError(b, err)
					path = "/tasks/" + p.Results[0].TaskID
				}
				fresh, err := web.New(web.Options{App: app, Authorize: web.Anybody}) // keeps no counts
				require.NoError(b, err)
				uncounted := makePage(b, fresh, path)
				var took []float64
				for b.Loop() {
					took = append(took, makePage(b, fresh, path))
				}
				b.ReportMetric(uncounted, "first-ms")
				b.ReportMetric(median(took), "then-ms")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// makePage returns how many milliseconds a page takes, without the network.
func makePage(b *testing.B, h http.Handler, path string) float64 {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, path, nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	started := time.Now()
	h.ServeHTTP(w, r)
	took := time.Since(started)
	require.Equal(b, http.StatusOK, w.Code, fmt.Sprintf("%s: %.300s", path, w.Body))
	return took.Seconds() * 1000
}
