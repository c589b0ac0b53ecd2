package dbbackend

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// CleanupOptions say what CleanUp removes. The zero value removes what has
// expired by the settings.
type CleanupOptions struct {
	// OlderThan removes ready results, and groups, that were written longer ago
	// than this, whatever the settings say. Default: 0, the settings.
	OlderThan time.Duration

	// ByState are such ages of single states, ready or not; Never keeps all of
	// that state. They go before OlderThan. Default: nil, the settings.
	ByState map[celeryresults.State]time.Duration

	// DryRun counts what would be removed, and removes nothing.
	DryRun bool

	// Batch is how many rows a statement looks at, at most 10 000. Default: 2000.
	Batch int

	// Progress is called after every batch with what was done until then. It must
	// not keep the report's map.
	Progress func(CleanupReport)
}

// CleanupReport is what a clean-up removed, or with DryRun would have removed.
type CleanupReport struct {
	Results int64
	ByState map[celeryresults.State]int64 // the results by their states
	Groups  int64
	Chords  int64 // abandoned ones
	Labels  int64 // of results that others removed

	// Looked is how many rows were looked at. Due is about how many there were to
	// look at, 0 if the database does not know.
	Looked, Due int64
}

// Total returns how many results and groups there are in the report.
func (r *CleanupReport) Total() int64 { return r.Results + r.Groups }

// Cleanup implements celeryresults.Cleaner: it removes what has expired by the
// settings, and returns how many results and groups that were.
func (b *DatabaseBackend) Cleanup(ctx context.Context) (int64, error) {
	report, err := b.CleanUp(ctx, CleanupOptions{})
	return report.Total(), err
}

// CleanUp removes results and groups that have expired (TaskResultManager.delete_expired),
// in small batches in the order in which rows were written: each is a transaction
// by itself that takes milliseconds, nothing is locked in between, and one that
// was interrupted goes on where it ended. Records that are not ready have their
// own, longer limit (DjangoDBSettings.UnfinishedExpires). Rows that somebody
// writes meanwhile stay. Several processes may clean up at once.
//
// It returns what was done also when it fails. When statements take longer than
// they did at first, because others use the database, it pauses between them.
func (b *DatabaseBackend) CleanUp(ctx context.Context, o CleanupOptions) (CleanupReport, error) {
	c := &cleaner{b: b, o: o, report: CleanupReport{ByState: map[celeryresults.State]int64{}}}
	err := c.run(ctx)
	if err != nil {
		err = fmt.Errorf("dbbackend: clean up: %w", err)
	}
	return c.report, err
}

const (
	defaultBatch = 2000
	largestBatch = 10_000
)

// cleaner is one clean-up.
type cleaner struct {
	b      *DatabaseBackend
	o      CleanupOptions
	expiry expiry
	layout *layout
	report CleanupReport

	labels bool          // some results have labels
	best   time.Duration // the least that a row took in a batch
}

func (c *cleaner) run(ctx context.Context) error {
	if err := c.b.ready(ctx); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	var err error
	if c.layout, err = c.b.tables(ctx); err != nil {
		return err
	}
	if c.layout.labels {
		if c.labels, err = c.any(ctx, labelTable); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{c.results, c.groups, c.orphans, c.chords} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// check refuses options that can't be meant, and decides what expires when.
func (c *cleaner) check() error {
	if c.o.Batch < 0 || c.o.Batch > largestBatch || c.o.OlderThan < 0 {
		return fmt.Errorf("a batch of %d or an age of %s can't be", c.o.Batch, c.o.OlderThan)
	}
	if c.o.Batch == 0 {
		c.o.Batch = defaultBatch
	}
	s := c.b.settings
	if c.o.OlderThan > 0 {
		s.ResultExpires = c.o.OlderThan
		s.DjangoDB.UnfinishedExpires = c.b.settings.ExpiresIn("")
		s.DjangoDB.ExpiresByState = nil
	}
	if c.o.ByState != nil {
		s.DjangoDB.ExpiresByState = maps.Clone(s.DjangoDB.ExpiresByState)
		if s.DjangoDB.ExpiresByState == nil {
			s.DjangoDB.ExpiresByState = map[celeryresults.State]time.Duration{}
		}
		for state, age := range c.o.ByState {
			if age <= 0 && age != celeryresults.Never {
				return fmt.Errorf("an age of %s for %s can't be", age, state)
			}
			s.DjangoDB.ExpiresByState[state] = age
		}
	}
	c.expiry = newExpiry(&s)
	return nil
}

func (c *cleaner) any(ctx context.Context, table string) (some bool, err error) {
	q := c.b.dialect.Rebind(`SELECT EXISTS (SELECT 1 FROM ` + table + `)`)
	err = c.b.retry(ctx, func() error { return c.b.db.Row(ctx, q, nil, &some) })
	return some, err
}

// key is a row's place in the order of writing.
type key struct {
	id    int64
	done  time.Time
	state celeryresults.State
}

// results walks over the rows that are old enough for any state, and removes
// those that are old enough for their own.
func (c *cleaner) results(ctx context.Context) error {
	shortest, some := c.expiry.shortest()
	if !some {
		return nil
	}
	now := c.b.now()
	c.report.Due = c.due(ctx, now.Add(-shortest))
	return c.walk(ctx, taskTable, "status", now.Add(-shortest), func(keys []key) error {
		var expired []key
		for _, k := range keys {
			if c.expiry.expired(k.state, k.done, now) {
				expired = append(expired, k)
			}
		}
		return c.remove(ctx, expired, now)
	})
}

// due asks PostgreSQL how many rows its statistics make it expect. The others
// would have to count.
func (c *cleaner) due(ctx context.Context, before time.Time) int64 {
	if c.b.dialect != sqldialect.PostgreSQL || c.o.Progress == nil {
		return 0
	}
	var plan string
	q := sqldialect.Query{Text: `EXPLAIN (FORMAT TEXT) SELECT id FROM ` + taskTable + ` WHERE date_done < '` + clock{c.b.dialect}.text(before) + `'`}
	if err := c.b.db.Row(ctx, q, nil, &plan); err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(plan, " rows=")
	digits, _, _ := strings.Cut(rest, " ")
	n, _ := strconv.ParseInt(digits, 10, 64)
	return n
}

// walk calls each with the keys of the rows that were written before a moment, a
// batch at a time, in the order of writing.
func (c *cleaner) walk(ctx context.Context, table, state string, before time.Time, each func([]key) error) error {
	last := key{done: time.UnixMicro(earliest)} // ids begin at 1
	condition := `(date_done, id) > ($2, ` + bigint(c.b.dialect, "$3") + `)`
	if c.b.dialect == sqldialect.MySQL {
		condition = `date_done >= $2 AND (date_done > $2 OR id > $3)`
	}
	q := c.b.dialect.Rebind(`SELECT id, date_done, ` + state + ` FROM ` + table + ` WHERE date_done < $1 AND ` + condition +
		` ORDER BY date_done, id LIMIT ` + strconv.Itoa(c.o.Batch))
	for {
		started := time.Now()
		keys, err := c.keys(ctx, q, c.b.dialect.Time(before), c.b.dialect.Time(last.done), last.id)
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := each(keys); err != nil {
			return err
		}
		last = keys[len(keys)-1]
		c.report.Looked += int64(len(keys))
		if c.o.Progress != nil {
			c.o.Progress(c.report)
		}
		if err := c.yield(ctx, time.Since(started), len(keys)); err != nil || len(keys) < c.o.Batch {
			return err
		}
	}
}

func (c *cleaner) keys(ctx context.Context, q sqldialect.Query, args ...any) (keys []key, err error) {
	err = c.b.retry(ctx, func() error {
		keys = make([]key, 0, c.o.Batch)
		return c.b.db.Rows(ctx, q, args, func(scan func(...any) error) error {
			var k key
			err := scan(&k.id, c.b.dialect.ScanTime(&k.done), &k.state)
			keys = append(keys, k)
			return err
		})
	})
	return keys, err
}

// yield pauses after a batch that took much longer than the quickest one: others
// want the database, too.
func (c *cleaner) yield(ctx context.Context, took time.Duration, rows int) error {
	perRow := took / time.Duration(max(rows, 1))
	if c.best == 0 || perRow < c.best {
		c.best = perRow
	}
	if perRow < 2*c.best {
		return ctx.Err()
	}
	timer := time.NewTimer(min(took, longestYield))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const longestYield = 100 * time.Millisecond

// remove deletes the rows unless they were written since.
func (c *cleaner) remove(ctx context.Context, keys []key, now time.Time) error {
	if len(keys) == 0 {
		return nil
	}
	n := int64(len(keys))
	if !c.o.DryRun {
		ids := idsOf(keys)
		if err := c.removeLabels(ctx, ids); err != nil {
			return err
		}
		condition := c.inIDs("id", ids)
		q := c.b.dialect.Rebind(`DELETE FROM ` + taskTable + ` WHERE ` + condition + ` AND ` + c.expiry.condition("", 1))
		err := c.b.retry(ctx, func() (err error) {
			n, err = c.b.db.Affect(ctx, q, c.expiry.args(now, c.b.dialect.Time)...)
			return err
		})
		if err != nil {
			return err
		}
	}
	c.report.Results += n
	for _, k := range keys {
		c.report.ByState[k.state]++
	}
	return nil
}

func idsOf(keys []key) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = strconv.FormatInt(k.id, 10)
	}
	return ids
}

// inIDs is the condition that a column is one of the numbers.
func (c *cleaner) inIDs(column string, ids []string) string {
	if c.b.dialect == sqldialect.PostgreSQL {
		return column + ` = ANY('{` + strings.Join(ids, ",") + `}'::bigint[])`
	}
	return column + ` IN (` + strings.Join(ids, ",") + `)`
}

func (c *cleaner) removeLabels(ctx context.Context, ids []string) error {
	if !c.labels {
		return nil
	}
	return c.b.change(ctx, sqldialect.Query{Text: `DELETE FROM ` + labelTable + ` WHERE ` + c.inIDs("result_id", ids)})
}

// groups removes groups, which expire as a SUCCESS does.
func (c *cleaner) groups(ctx context.Context) error {
	expires := c.expiry.of(celeryresults.Success)
	if expires == celeryresults.Never || c.layout.groupID == 0 && c.b.dialect != sqldialect.SQLite {
		return nil
	}
	before := c.b.now().Add(-expires)
	return c.walk(ctx, groupTable, "''", before, func(keys []key) error {
		n := int64(len(keys))
		if !c.o.DryRun {
			q := c.b.dialect.Rebind(`DELETE FROM ` + groupTable + ` WHERE ` + c.inIDs("id", idsOf(keys)) + ` AND date_done < $1`)
			err := c.b.retry(ctx, func() (err error) {
				n, err = c.b.db.Affect(ctx, q, c.b.dialect.Time(before))
				return err
			})
			if err != nil {
				return err
			}
		}
		c.report.Groups += n
		return nil
	})
}

// orphans removes the labels of results that others, such as Django, removed.
func (c *cleaner) orphans(ctx context.Context) error {
	if !c.labels || c.o.DryRun {
		return nil
	}
	next := c.b.dialect.Rebind(`SELECT DISTINCT result_id FROM ` + labelTable + ` WHERE result_id > $1 ORDER BY result_id LIMIT ` + strconv.Itoa(c.o.Batch))
	for last := int64(0); ; {
		var ids []string
		err := c.b.retry(ctx, func() error {
			ids = nil
			return c.b.db.Rows(ctx, next, []any{last}, func(scan func(...any) error) error {
				err := scan(&last)
				ids = append(ids, strconv.FormatInt(last, 10))
				return err
			})
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		q := sqldialect.Query{Text: `DELETE FROM ` + labelTable + ` WHERE ` + c.inIDs("result_id", ids) +
			` AND NOT EXISTS (SELECT 1 FROM ` + taskTable + ` t WHERE t.id = ` + labelTable + `.result_id)`}
		var n int64
		err = c.b.retry(ctx, func() (err error) {
			n, err = c.b.db.Affect(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		c.report.Labels += n
	}
}

// chords removes chords that were never completed, after the time that other
// unfinished records stay.
func (c *cleaner) chords(ctx context.Context) error {
	if !c.layout.chords || c.expiry.others == celeryresults.Never || c.o.DryRun {
		return nil
	}
	before := c.b.dialect.Time(c.b.now().Add(-c.expiry.others))
	q := c.b.dialect.Rebind(`SELECT group_id FROM ` + chordTable + ` WHERE date_created < $1 ORDER BY group_id LIMIT 100`)
	for {
		var ids []string
		err := c.b.retry(ctx, func() error {
			ids = nil
			return c.b.db.Rows(ctx, q, []any{before}, func(scan func(...any) error) error {
				var id string
				err := scan(&id)
				ids = append(ids, id)
				return err
			})
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		for _, id := range ids {
			if err := c.b.dropChord(ctx, id, ""); err != nil {
				return err
			}
			c.report.Chords++
		}
	}
}
