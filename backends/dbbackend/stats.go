package dbbackend

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// Stats implements driver.Lister. The database counts, by the index of
// date_done, and finds the percentiles by window functions. Expired rows that nobody
// has removed count, too. Tables of django-celery-results before 2.6 have no
// date_started, and so no processing times.
func (b *DatabaseBackend) Stats(ctx context.Context, q driver.StatsQuery) (*driver.Stats, error) {
	l, err := b.tables(ctx)
	if err != nil {
		return nil, err
	}
	s, err := b.span(q)
	if err != nil {
		return nil, err
	}
	if err = s.count(ctx); err == nil && l.has("date_started") {
		err = s.percentiles(ctx)
	}
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	slices.SortStableFunc(s.stats.Tasks, func(x, y driver.TaskStats) int {
		if x.Total != y.Total {
			return int(min(1, max(-1, y.Total-x.Total)))
		}
		return strings.Compare(x.Task, y.Task)
	})
	return s.stats, nil
}

// spanStats are statistics under way.
type spanStats struct {
	b     *DatabaseBackend
	stats *driver.Stats
	tasks map[string]int // by name, where in stats
	width time.Duration  // of a bucket
	args  []any          // from, until, and the width in microseconds
}

func (b *DatabaseBackend) span(q driver.StatsQuery) (*spanStats, error) {
	if q.Until.IsZero() {
		q.Until = b.now()
	}
	if q.From.IsZero() {
		q.From = q.Until.Add(-24 * time.Hour)
	}
	if q.Buckets == 0 {
		q.Buckets = driver.DefaultBuckets
	}
	q.From, q.Until = q.From.UTC().Truncate(sqldialect.Precision), q.Until.UTC().Truncate(sqldialect.Precision)
	whole := q.Until.Sub(q.From)
	if q.Buckets < 0 || q.Buckets > driver.MaxBuckets || whole < time.Duration(q.Buckets)*time.Millisecond {
		return nil, fmt.Errorf("%d parts of %s: there can be up to %d, of a millisecond or more", q.Buckets, whole, driver.MaxBuckets)
	}
	width := (whole + time.Duration(q.Buckets) - 1) / time.Duration(q.Buckets)
	s := &spanStats{b: b, tasks: map[string]int{}, stats: &driver.Stats{From: q.From, Until: q.Until}, width: width, args: []any{b.dialect.Time(q.From), b.dialect.Time(q.Until)}}
	for i := range q.Buckets {
		s.stats.Buckets = append(s.stats.Buckets, driver.Bucket{From: q.From.Add(time.Duration(i) * width)})
	}
	return s, nil
}

// countsInSpan is the condition that a row counts.
const countsInSpan = `date_done >= $1 AND date_done < $2 AND status IN ('SUCCESS', 'FAILURE', 'REVOKED')`

// count counts tasks and buckets with one look at the rows.
func (s *spanStats) count(ctx context.Context) error {
	q := s.b.dialect.Rebind(`SELECT task_name, status, bucket, COUNT(*) FROM (SELECT task_name, status, ` + s.bucket() + ` AS bucket FROM ` +
		taskTable + ` WHERE ` + countsInSpan + `) s GROUP BY task_name, status, bucket`)
	return s.b.reads.Rows(ctx, q, s.args, func(scan func(...any) error) error {
		var name sql.NullString
		var state driver.State
		var bucket, n int64
		if err := scan(&name, &state, &bucket, &n); err != nil {
			return err
		}
		i, there := s.tasks[name.String]
		if !there {
			i = len(s.stats.Tasks)
			s.tasks[name.String] = i
			s.stats.Tasks = append(s.stats.Tasks, driver.TaskStats{Task: name.String, States: map[driver.State]int64{}})
		}
		s.stats.Tasks[i].States[state] += n
		s.stats.Tasks[i].Total += n
		s.at(bucket).Done += n
		if state == driver.Failure {
			s.at(bucket).Failed += n
		}
		return nil
	})
}

// microseconds is how long it is from one time to another.
func (s *spanStats) microseconds(from, until string) string {
	switch s.b.dialect {
	case sqldialect.PostgreSQL:
		return `CAST(EXTRACT(EPOCH FROM (` + until + ` - ` + from + `)) * 1000000 AS BIGINT)`
	case sqldialect.MySQL:
		return `TIMESTAMPDIFF(MICROSECOND, ` + from + `, ` + until + `)`
	}
	return `CAST(ROUND((julianday(` + until + `) - julianday(` + from + `)) * 86400000000.0) AS INTEGER)`
}

// bucket is the number of a row's bucket.
func (s *spanStats) bucket() string {
	from := "$1"
	if s.b.dialect == sqldialect.PostgreSQL {
		from = "$1::timestamptz"
	}
	divide := " / "
	if s.b.dialect == sqldialect.MySQL {
		divide = " DIV "
	}
	return s.microseconds(from, "date_done") + divide + fmt.Sprint(s.width.Microseconds())
}

// at returns the bucket of a number: rounding may be off by one at the edges.
func (s *spanStats) at(n int64) *driver.Bucket {
	return &s.stats.Buckets[min(max(n, 0), int64(len(s.stats.Buckets)-1))]
}

func (s *spanStats) percentiles(ctx context.Context) error {
	took := s.microseconds("date_started", "date_done")
	middle := s.part("of_all + 1", 2)
	q := s.b.dialect.Rebind(`SELECT bucket, took, CASE WHEN place = ` + middle + ` THEN 1 ELSE 0 END FROM (
		SELECT bucket, took, ROW_NUMBER() OVER (PARTITION BY bucket ORDER BY took) AS place, COUNT(*) OVER (PARTITION BY bucket) AS of_all FROM (
			SELECT ` + s.bucket() + ` AS bucket, ` + took + ` AS took FROM ` + taskTable + ` WHERE ` + countsInSpan + ` AND date_started IS NOT NULL) r) p
		WHERE place = ` + middle + ` OR place = ` + s.part("of_all * 95 + 99", 100))
	return s.b.reads.Rows(ctx, q, s.args, func(scan func(...any) error) error {
		var n, took int64
		var median bool
		if err := scan(&n, &took, &median); err != nil {
			return err
		}
		d := time.Duration(max(took, 0)) * time.Microsecond
		bucket := s.at(n)
		if median {
			bucket.Median = d
		}
		bucket.P95 = max(bucket.P95, d)
		return nil
	})
}

// part divides whole numbers.
func (s *spanStats) part(of string, by int) string {
	if s.b.dialect == sqldialect.MySQL { // whose / gives fractions
		return fmt.Sprintf("(%s) DIV %d", of, by)
	}
	return fmt.Sprintf("(%s) / %d", of, by)
}
