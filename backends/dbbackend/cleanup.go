package dbbackend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/sqldialect"
)

// CleanupOptions say what CleanupWith removes. The zero value removes what has
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

// Cleanup implements driver.Lister: it removes what has expired by the
// settings, and returns how many results and groups that were.
func (b *DatabaseBackend) Cleanup(ctx context.Context) (int64, error) {
	report, err := b.CleanupWith(ctx, CleanupOptions{})
	return report.Total(), err
}

// CleanupWith removes results and groups that have expired (TaskResultManager.delete_expired),
// in small batches in the order in which rows were written: each is a transaction
// by itself that takes milliseconds, nothing is locked in between, and one that
// was interrupted goes on where it ended. Records that are not ready have their
// own, longer limit (DjangoDBSettings.UnfinishedExpires). Rows that somebody
// writes meanwhile stay. Several processes may clean up at once.
//
// It returns what was done also when it fails. When statements take longer than
// they did at first, because others use the database, it pauses between them.
func (b *DatabaseBackend) CleanupWith(ctx context.Context, o CleanupOptions) (CleanupReport, error) {
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
	stored int64         // results that the backend had stored when the last batch ended
	busy   bool          // others were at work during the last batch
}

func (c *cleaner) run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	c.stored = c.b.stored.Load()
	err := c.b.retry(ctx, func() (err error) {
		c.layout, err = c.b.tables(ctx)
		return err
	})
	if err != nil {
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
	s := withTombstones(c.b.settings)
	byState := map[celeryresults.State]time.Duration{}
	maps.Copy(byState, s.DjangoDB.ExpiresByState)
	if c.o.OlderThan > 0 {
		s.DjangoDB.UnfinishedExpires = s.ExpiresIn("")
		s.ResultExpires = c.o.OlderThan
		maps.DeleteFunc(byState, func(state celeryresults.State, _ time.Duration) bool { return state.Ready() })
	}
	for state, age := range c.o.ByState {
		if age <= 0 && age != celeryresults.Never {
			return fmt.Errorf("an age of %s for %s can't be", age, state)
		}
		byState[state] = age
	}
	s.DjangoDB.ExpiresByState = byState
	c.expiry = newExpiry(&s)
	return nil
}

// withTombstones returns the settings with every expiry later by as long as rows
// stay that have expired, or that stand for what was forgotten.
func withTombstones(s celeryresults.Settings) celeryresults.Settings {
	if s.ResultTombstones == 0 {
		return s
	}
	later := func(d time.Duration) time.Duration {
		if d > 0 {
			d += s.ResultTombstones
		}
		return d
	}
	byState := map[celeryresults.State]time.Duration{}
	for state, expires := range s.DjangoDB.ExpiresByState {
		byState[state] = later(expires)
	}
	s.DjangoDB.UnfinishedExpires, s.ResultExpires = later(s.ExpiresIn("")), later(s.Expires())
	s.DjangoDB.ExpiresByState = byState
	return s
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
		expired := map[celeryresults.State][]key{}
		for _, k := range keys {
			if c.expiry.expired(k.state, k.done, now) {
				expired[k.state] = append(expired[k.state], k)
			}
		}
		for _, state := range slices.Sorted(maps.Keys(expired)) {
			if err := c.remove(ctx, state, idsOf(expired[state]), now); err != nil {
				return err
			}
		}
		return nil
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
		` ORDER BY date_done, id LIMIT $4`)
	for {
		started, size := time.Now(), c.size()
		keys, err := c.keys(ctx, q, c.b.dialect.Time(before), c.b.dialect.Time(last.done), last.id, size)
		if err != nil || len(keys) == 0 {
			return err
		}
		if err := each(keys); err != nil {
			return err
		}
		next := keys[len(keys)-1]
		if !next.after(last) {
			return fmt.Errorf("row %d of %s has a date_done that is no time, as the database compares times: correct or delete it", next.id, table)
		}
		last = next
		c.report.Looked += int64(len(keys))
		if c.o.Progress != nil {
			c.o.Progress(c.report)
		}
		if err := c.yield(ctx, time.Since(started), len(keys)); err != nil || len(keys) < size {
			return err
		}
	}
}

// after reports whether a row comes later in the order of writing.
func (k key) after(other key) bool {
	return k.done.After(other.done) || k.done.Equal(other.done) && k.id > other.id
}

func (c *cleaner) keys(ctx context.Context, q sqldialect.Query, args ...any) (keys []key, err error) {
	err = c.b.retry(ctx, func() error {
		keys = make([]key, 0, c.o.Batch)
		return c.b.db.Rows(ctx, q, args, func(scan func(...any) error) error {
			var k key
			err := scan(&k.id, c.b.scanTime(&k.done), &k.state)
			keys = append(keys, k)
			return err
		})
	})
	return keys, err
}

// size is how many rows the next batch looks at: fewer while others are at work.
func (c *cleaner) size() int {
	if c.busy {
		return max(c.o.Batch/busyShare, 1)
	}
	return c.o.Batch
}

// yield pauses after a batch while others want the database, too: when this
// backend stored something meanwhile, or when the batch took much longer than the
// quickest one.
func (c *cleaner) yield(ctx context.Context, took time.Duration, rows int) error {
	perRow := took / time.Duration(max(rows, 1))
	if c.best == 0 || perRow < c.best {
		c.best = perRow
	}
	stored := c.b.stored.Load()
	c.busy = stored != c.stored || perRow >= 5*c.best
	c.stored = stored
	if !c.busy {
		return ctx.Err()
	}
	timer := time.NewTimer(min(busyShare*took, longestYield))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// busyShare is into how many parts the database's time is divided while others are
// at work: one is for the clean-up.
const busyShare = 4

const longestYield = 100 * time.Millisecond

// remove deletes the rows of one state unless they were written since. Their
// labels go last: those of a row that stays are needed.
func (c *cleaner) remove(ctx context.Context, state celeryresults.State, ids []string, now time.Time) error {
	n := int64(len(ids))
	if !c.o.DryRun {
		q := c.b.dialect.Rebind(`DELETE FROM ` + taskTable + ` WHERE ` + c.inIDs("id", ids) + ` AND status = $1 AND date_done < $2`)
		var err error
		if n, err = c.affect(ctx, q, string(state), c.b.dialect.Time(now.Add(-c.expiry.of(state)))); err != nil {
			return err
		}
	}
	c.report.Results += n
	c.report.ByState[state] += n
	if !c.labels || c.o.DryRun {
		return nil
	}
	_, err := c.affect(ctx, c.b.dialect.Rebind(`DELETE FROM `+c.orphaned(ids)))
	return err
}

// affect runs a statement that can be applied twice and returns how many rows it
// changed.
func (c *cleaner) affect(ctx context.Context, q sqldialect.Query, args ...any) (n int64, err error) {
	err = c.b.retry(ctx, func() error {
		n, err = c.b.db.Affect(ctx, q, args...)
		return err
	})
	return n, err
}

// orphaned is the label table with the condition that labels belong to one of the
// results, but that is gone, or was replaced after it had expired.
func (c *cleaner) orphaned(ids []string) string {
	return labelTable + ` WHERE ` + c.inIDs("result_id", ids) +
		` AND NOT EXISTS (SELECT 1 FROM ` + taskTable + ` t WHERE t.id = ` + labelTable + `.result_id AND t.date_created = ` + labelTable + `.date_created)`
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

// groups removes groups, which expire as a SUCCESS does.
func (c *cleaner) groups(ctx context.Context) error {
	expires := c.expiry.of(celeryresults.Success)
	if expires == celeryresults.Never || !c.layout.groups {
		return nil
	}
	before := c.b.now().Add(-expires)
	return c.walk(ctx, groupTable, "''", before, func(keys []key) error {
		n := int64(len(keys))
		if !c.o.DryRun {
			q := c.b.dialect.Rebind(`DELETE FROM ` + groupTable + ` WHERE ` + c.inIDs("id", idsOf(keys)) + ` AND date_done < $1`)
			var err error
			if n, err = c.affect(ctx, q, c.b.dialect.Time(before)); err != nil {
				return err
			}
		}
		c.report.Groups += n
		return nil
	})
}

// orphans removes the labels of results that others, such as Django, removed.
func (c *cleaner) orphans(ctx context.Context) error {
	if !c.labels {
		return nil
	}
	next := `SELECT DISTINCT result_id FROM ` + labelTable + ` WHERE result_id > $1 ORDER BY result_id LIMIT ` + strconv.Itoa(c.o.Batch)
	for last := "0"; ; {
		ids, err := c.texts(ctx, next, last)
		if err != nil || len(ids) == 0 {
			return err
		}
		started := time.Now()
		for _, last = range ids {
			if _, err := strconv.ParseInt(last, 10, 64); err != nil { // SQLite takes anything for a number
				return fmt.Errorf("%s has the result_id %.40q, which is no number", labelTable, last)
			}
		}
		n := int64(0)
		if c.o.DryRun {
			err = c.b.db.Row(ctx, c.b.dialect.Rebind(`SELECT COUNT(*) FROM `+c.orphaned(ids)), nil, &n)
		} else {
			n, err = c.affect(ctx, c.b.dialect.Rebind(`DELETE FROM `+c.orphaned(ids)))
		}
		if err != nil {
			return err
		}
		c.report.Labels += n
		if err := c.yield(ctx, time.Since(started), len(ids)); err != nil {
			return err
		}
	}
}

func (c *cleaner) texts(ctx context.Context, statement string, args ...any) (texts []string, err error) {
	err = c.b.retry(ctx, func() error {
		texts, err = c.b.texts(ctx, c.b.db, statement, args...)
		return err
	})
	return texts, err
}

// chordsPerStatement is how many abandoned chords are looked up at once.
const chordsPerStatement = 100

// chords removes chords that were never completed, after the time that other
// unfinished records stay, and the marks of those that were handed over, after the time
// that results do.
func (c *cleaner) chords(ctx context.Context) error {
	if !c.layout.chords {
		return nil
	}
	n, err := c.chordsOf(ctx, ">= 0", c.expiry.others)
	c.report.Chords = n
	if err == nil {
		_, err = c.chordsOf(ctx, "< 0", c.expiry.of(celeryresults.Success))
	}
	return err
}

// chordsOf removes the chords whose missing members are so many.
func (c *cleaner) chordsOf(ctx context.Context, missing string, expires time.Duration) (n int64, err error) {
	if expires == celeryresults.Never {
		return 0, nil
	}
	q := `SELECT group_id FROM ` + chordTable + ` WHERE missing ` + missing + ` AND date_created < $1 AND group_id > $2
		ORDER BY group_id LIMIT ` + strconv.Itoa(chordsPerStatement)
	before := c.b.dialect.Time(c.b.now().Add(-expires))
	for last := ""; ; {
		ids, err := c.texts(ctx, q, before, last)
		if err != nil || len(ids) == 0 {
			return n, err
		}
		if !c.o.DryRun {
			err = c.b.retry(ctx, func() error { return c.b.deleteChords(ctx, c.layout, ids) })
		}
		if err != nil {
			return n, err
		}
		n += int64(len(ids))
		last = ids[len(ids)-1]
	}
}
