package celeryresults_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// fillHistory inserts rows, with a step between them back from a moment: of 50 task names
// and 10 workers, every hundredth a FAILURE, and one in 10 000 with a label.
func (e tablesEngine) fillHistory(b *testing.B, rows int, newest time.Time, step time.Duration) {
	started := time.Now()
	ctx := context.Background()
	statement := strings.NewReplacer(
		"{rows}", fmt.Sprint(rows), "{newest}", newest.UTC().Format(time.DateTime), "{result}", strings.ReplaceAll(rawResult, "'", "''"),
		"{run}", fmt.Sprint(newest.Unix()), "{step}", fmt.Sprint(step.Seconds()),
	).Replace(history[e.dialect.Name()])
	for s := range strings.SplitSeq(statement, ";\n") {
		_, err := e.db.ExecContext(ctx, s)
		require.NoError(b, err, "%.200s", s)
	}
	b.Logf("%s: %d rows in %s", e.name, rows, time.Since(started).Round(time.Second))
}

// history fills the tables in each dialect, and lets the database count.
var history = map[string]string{
	"postgresql": `INSERT INTO django_celery_results_taskresult
	(task_id, status, content_type, content_encoding, result, date_done, meta, task_args, task_kwargs, task_name, worker, date_created)
SELECT 'h{run}-' || i, CASE WHEN i % 100 = 0 THEN 'FAILURE' ELSE 'SUCCESS' END, 'application/json', 'utf-8', '{result}',
	timestamptz '{newest}+00' - i * interval '{step} second', '{"children": []}', '"(1,)"', '"{}"', 'shop.task' || (i % 50), 'worker' || (i % 10),
	timestamptz '{newest}+00' - (i + 1) * interval '{step} second'
FROM generate_series({rows}, 1, -1) i;
INSERT INTO celeryresults_label SELECT 'customer', 'acme', date_created, id FROM django_celery_results_taskresult WHERE id % 10000 = 0 ON CONFLICT DO NOTHING;
UPDATE django_celery_results_taskresult SET meta = '{"children": [], "customer": "acme"}' WHERE id % 10000 = 0;
VACUUM ANALYZE django_celery_results_taskresult`,
	"mysql": `INSERT INTO django_celery_results_taskresult
	(task_id, status, content_type, content_encoding, result, date_done, meta, task_args, task_kwargs, task_name, worker, date_created)
SELECT CONCAT('h{run}-', seq), IF(seq % 100 = 0, 'FAILURE', 'SUCCESS'), 'application/json', 'utf-8', '{result}',
	DATE_SUB('{newest}', INTERVAL seq * {step} SECOND), '{"children": []}', '"(1,)"', '"{}"', CONCAT('shop.task', seq % 50), CONCAT('worker', seq % 10),
	DATE_SUB('{newest}', INTERVAL (seq + 1) * {step} SECOND)
FROM seq_{rows}_to_1;
INSERT IGNORE INTO celeryresults_label SELECT 'customer', 'acme', date_created, id FROM django_celery_results_taskresult WHERE id % 10000 = 0;
UPDATE django_celery_results_taskresult SET meta = '{"children": [], "customer": "acme"}' WHERE id % 10000 = 0;
ANALYZE TABLE django_celery_results_taskresult`,
	"sqlite": `INSERT INTO django_celery_results_taskresult
	(task_id, status, content_type, content_encoding, result, date_done, meta, task_args, task_kwargs, task_name, worker, date_created)
WITH RECURSIVE n (i) AS (SELECT {rows} UNION ALL SELECT i - 1 FROM n WHERE i > 1)
SELECT 'h{run}-' || i, iif(i % 100 = 0, 'FAILURE', 'SUCCESS'), 'application/json', 'utf-8', '{result}',
	datetime('{newest}', '-' || (i * {step}) || ' seconds'), '{"children": []}', '"(1,)"', '"{}"', 'shop.task' || (i % 50), 'worker' || (i % 10),
	datetime('{newest}', '-' || ((i + 1) * {step}) || ' seconds') FROM n;
INSERT OR IGNORE INTO celeryresults_label SELECT 'customer', 'acme', date_created, id FROM django_celery_results_taskresult WHERE id % 10000 = 0;
UPDATE django_celery_results_taskresult SET meta = '{"children": [], "customer": "acme"}' WHERE id % 10000 = 0;
ANALYZE`,
}

// BenchmarkList measures pages of 50 among 1 000 000 rows: the first one, and one
// behind 500 000 rows or, where fewer rows meet the conditions, behind half of
// them.
func BenchmarkList(b *testing.B) {
	const rows = 1_000_000
	for _, e := range openTables(b) {
		e.fillHistory(b, rows, time.Now(), time.Second)
		keeper, err := dbbackend.New(e.db, celeryresults.Settings{ResultExpires: celeryresults.Never}, dbbackend.Options{Engine: e.dialect.Name()})
		require.NoError(b, err)
		for name, list := range map[string]struct {
			query celeryresults.Query
			depth int
		}{
			"all":                {celeryresults.Query{}, rows / 2},
			"by done":            {celeryresults.Query{Order: celeryresults.ByDone}, rows / 2},
			"status":             {celeryresults.Query{States: []celeryresults.State{"FAILURE"}}, rows / 200},
			"two states":         {celeryresults.Query{States: []celeryresults.State{"FAILURE", "SUCCESS"}}, rows / 2},
			"task":               {celeryresults.Query{Task: "shop.task7"}, rows / 100},
			"pattern of 11":      {celeryresults.Query{Task: "shop.task1*"}, rows / 10},
			"worker":             {celeryresults.Query{Worker: "worker3"}, rows / 20},
			"label":              {celeryresults.Query{Labels: map[string]string{"customer": "acme"}}, 50},
			"created in a range": {celeryresults.Query{CreatedBefore: time.Now().Add(-rows / 2 * time.Second)}, rows / 4},
		} {
			b.Run(e.name+"/"+name, func(b *testing.B) { benchList(b, keeper, list.query, list.depth) })
		}
	}
}

func benchList(b *testing.B, lister *celeryresults.Backend, q celeryresults.Query, depth int) {
	ctx := context.Background()
	page := func(q celeryresults.Query) (*celeryresults.Page, time.Duration) {
		started := time.Now()
		p, err := lister.List(ctx, q)
		require.NoError(b, err)
		return p, time.Since(started)
	}
	deep := q
	for passed := 0; passed < depth; {
		deep.Limit = min(driver.MaxLimit, depth-passed)
		p, _ := page(deep)
		require.NotEmpty(b, p.Results)
		passed += len(p.Results)
		deep.Cursor = p.Next
	}
	q.Limit, deep.Limit = 50, 50
	var first, late []float64
	for b.Loop() {
		_, took := page(q)
		first = append(first, took.Seconds()*1000)
		p, took := page(deep)
		require.NotEmpty(b, p.Results)
		late = append(late, took.Seconds()*1000)
	}
	b.ReportMetric(median(first), "first-ms")
	b.ReportMetric(median(late), "late-ms")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkCleanup removes 1 000 000 expired rows beside 200 000 live ones, once
// alone and once beside 200 stores a second, whose latencies it compares with
// those before. longest-ms is the longest batch, of two statements.
func BenchmarkCleanup(b *testing.B) {
	for _, e := range openTables(b) {
		for _, loaded := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/beside stores=%t", e.name, loaded), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					e.fillHistory(b, 1_000_000, time.Now().Add(-48*time.Hour), time.Second)
					e.fillHistory(b, 200_000, time.Now().Add(-time.Minute), 100*time.Millisecond)
					b.StartTimer()
					e.cleanUp(b, loaded)
				}
			})
		}
	}
}

func (e tablesEngine) cleanUp(b *testing.B, loaded bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	var idle, busy []float64
	cleaning := make(chan bool)
	if loaded {
		load.Go(func() { idle, busy = e.storeSteadily(ctx, b, cleaning) })
		time.Sleep(3 * time.Second) // stores alone
		close(cleaning)
	}
	var longest time.Duration
	started := time.Now()
	last := started
	table, ok := dbbackend.StoreOf(e.backend)
	require.True(b, ok)
	report, err := table.CleanupWith(ctx, dbbackend.CleanupOptions{Progress: func(dbbackend.CleanupReport) {
		longest = max(longest, time.Since(last))
		last = time.Now()
	}})
	took := time.Since(started)
	require.NoError(b, err)
	require.EqualValues(b, 1_000_000, report.Results)
	cancel()
	load.Wait()
	b.ReportMetric(float64(report.Results)/took.Seconds(), "rows/s")
	b.ReportMetric(longest.Seconds()*1000, "longest-ms")
	if loaded {
		b.ReportMetric(percentile(idle, 99), "idle-p99-ms")
		b.ReportMetric(percentile(busy, 99), "busy-p99-ms")
	}
	_, err = e.db.ExecContext(context.Background(), `DELETE FROM django_celery_results_taskresult`)
	require.NoError(b, err)
	if e.dialect == sqldialect.PostgreSQL {
		_, err = e.db.ExecContext(context.Background(), `VACUUM django_celery_results_taskresult`)
		require.NoError(b, err)
	}
}

// storeSteadily stores 200 results a second and returns how many milliseconds
// each took before and after the channel closes.
func (e tablesEngine) storeSteadily(ctx context.Context, b *testing.B, cleaning <-chan bool) (idle, busy []float64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return idle, busy
		case <-tick.C:
		}
		started := time.Now()
		if err := e.backend.StoreResult(context.Background(), benchMeta(fmt.Sprintf("steady-%d-%d", started.UnixNano(), n))); err != nil {
			b.Error(err)
		}
		took := time.Since(started).Seconds() * 1000
		select {
		case <-cleaning:
			busy = append(busy, took)
		default:
			idle = append(idle, took)
		}
	}
}

func percentile(list []float64, p int) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)*p/100, len(list)-1)]
}
