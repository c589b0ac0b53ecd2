package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/internal/schemes"
	"github.com/celeryresults/celeryresults/python"
	"github.com/celeryresults/celeryresults/settings"
)

const cleanupHelp = `Removes what has expired by the settings, from the default backend and every
named one, or from one (--backend), and prints how much that was. Run it from
time to time where results are kept in tables, as Celery's beat runs
celery.backend_cleanup; other stores drop by themselves what has expired.

--older-than and --state give ages of their own instead of the settings': results
of a state, or all that are ready, go when they were written longer ago. An age is
36h, 30d, 2w, 1d12h or a number of seconds, and never keeps a state. They are for
django-db, and so is --dry-run, which counts what would be removed and removes
nothing.

Backends that share their tables are cleaned up once.

Rows are removed in small batches, so that others can work meanwhile. A clean-up
that is interrupted has removed what it has removed, and the next one goes on.
Several may run at once. Progress is shown on a terminal.

The exit status is 0 when all is done, 6 when a store can't be reached, and 2 when
the settings are wrong, or tables are missing.`

const cleanupExample = `  celery-results cleanup --settings settings.toml
  celery-results cleanup --dry-run --older-than 30d --state FAILURE=90d
  celery-results cleanup --backend archive --format json`

// cleanupFlags are the flags of cleanup.
type cleanupFlags struct {
	dryRun    bool
	olderThan string
	states    []string
	batch     int
}

func (c *cli) cleanupCommand() *cobra.Command {
	var f cleanupFlags
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Remove expired results", Long: cleanupHelp, Example: cleanupExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "takes no arguments; --backend NAME limits it to one backend")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return usage(cmd, "%w", err)
			}
			return c.cleanup(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.BoolVar(&f.dryRun, "dry-run", false, "count what would be removed, and remove nothing")
	flags.StringVar(&f.olderThan, "older-than", "", "an `age` of ready results, such as 30d (default: the settings)")
	flags.StringArrayVar(&f.states, "state", nil, "an age of one state, such as `FAILURE=90d` or FAILURE=never; may be repeated")
	flags.IntVar(&f.batch, "batch", 0, "how `many` rows go at a time, at most 10000 (default 2000)")
	return cmd
}

var errNoAge = errors.New("is no age; use 36h, 30d, 2w or a number of seconds")

// largestBatch is dbbackend's.
const largestBatch = 10_000

func (f cleanupFlags) options() (o dbbackend.CleanupOptions, err error) {
	if f.batch < 0 || f.batch > largestBatch {
		return o, fmt.Errorf("--batch %d: must be between 1 and %d", f.batch, largestBatch)
	}
	o.DryRun, o.Batch = f.dryRun, f.batch
	if f.olderThan != "" {
		age, ok := parseSpan(f.olderThan)
		if !ok {
			return o, fmt.Errorf("--older-than %q: %w", f.olderThan, errNoAge)
		}
		o.OlderThan = age
	}
	for _, text := range f.states {
		state, age, err := stateAge(text)
		if err != nil {
			return o, fmt.Errorf("--state %q: %w", text, err)
		}
		if o.ByState == nil {
			o.ByState = map[celeryresults.State]time.Duration{}
		}
		o.ByState[state] = age
	}
	return o, nil
}

// stateAge reads STATE=AGE.
func stateAge(text string) (celeryresults.State, time.Duration, error) {
	name, age, found := strings.Cut(text, "=")
	var state celeryresults.State
	if !found || name == "" {
		return "", 0, errors.New("must be a state and its age, such as FAILURE=90d")
	}
	if err := setState(&state, name); err != nil {
		return "", 0, err
	}
	if age == "never" {
		return state, celeryresults.Never, nil
	}
	d, ok := parseSpan(age)
	if !ok {
		return "", 0, errNoAge
	}
	return state, d, nil
}

// cleanup goes on after a backend that fails.
func (c *cli) cleanup(ctx context.Context, o dbbackend.CleanupOptions) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	stores, err := resultStores(s, c.backend)
	switch {
	case err != nil:
		return err
	case len(stores) == 0:
		return backends.ErrDisabled
	case special(o) && !slices.ContainsFunc(stores, (*resultStore).inTables):
		return withStatus(statusUsage, errors.New("cleanup: --older-than, --state and --dry-run are for django-db, which no backend is"))
	}
	for _, store := range stores {
		cleaned := c.cleanStore(ctx, store, o)
		c.report("cleanup "+store.names[0], cleaned.err)
		if err := c.printCleaned(store, cleaned, o.DryRun); err != nil {
			return err
		}
	}
	return nil
}

// special reports whether the options ask for more than removing what has
// expired by the settings.
func special(o dbbackend.CleanupOptions) bool {
	return o.DryRun || o.OlderThan > 0 || o.ByState != nil
}

// resultStore is where one backend or several keep their results.
type resultStore struct {
	names    []string               // of the backends, the one that is asked for first
	key      string                 // of its tables; empty for other stores
	backend  string                 // the setting's value, without passwords
	settings celeryresults.Settings // to clean up by
}

func (r *resultStore) inTables() bool { return r.key != "" }

// resultStores returns the store of the named backend, or for the empty name
// those of all. Backends that keep nothing have none.
func resultStores(s celeryresults.Settings, name string) ([]*resultStore, error) {
	if _, err := s.Named(name); err != nil {
		return nil, err
	}
	all, err := describe(s, "")
	if err != nil {
		return nil, err
	}
	var stores []*resultStore
	for _, d := range all {
		if stores, err = addStore(stores, s, d); err != nil {
			return nil, err
		}
	}
	return storesOf(stores, name), nil
}

// addStore adds the store of a backend, or the backend to its store.
func addStore(stores []*resultStore, s celeryresults.Settings, d settings.Description) ([]*resultStore, error) {
	chosen, err := s.Named(settingsName(s, d))
	if err != nil || isDisabled(chosen) {
		return stores, err
	}
	t, key, err := targetOf(chosen)
	if err != nil {
		return nil, err
	}
	if t.celerys != nil { // whose tables have no ages of their own
		key = ""
	}
	i := slices.IndexFunc(stores, func(r *resultStore) bool { return key != "" && r.key == key })
	if i < 0 {
		i = len(stores)
		stores = append(stores, &resultStore{key: key, backend: d.Backend, settings: chosen})
	}
	stores[i].names = append(stores[i].names, d.Name)
	return stores, nil
}

// storesOf returns the store of the named backend, with that name first.
func storesOf(stores []*resultStore, name string) []*resultStore {
	if name == "" {
		return stores
	}
	for _, r := range stores {
		if i := slices.Index(r.names, name); i >= 0 {
			r.names[0], r.names[i] = r.names[i], r.names[0]
			return []*resultStore{r}
		}
	}
	return nil
}

// cleaned is what a clean-up did.
type cleaned struct {
	report dbbackend.CleanupReport
	note   string
	took   time.Duration
	err    error
}

// tableCleaner is a store whose tables CleanupWith cleans up.
type tableCleaner interface {
	CleanupWith(ctx context.Context, o dbbackend.CleanupOptions) (dbbackend.CleanupReport, error)
}

func (c *cli) cleanStore(ctx context.Context, store *resultStore, o dbbackend.CleanupOptions) cleaned {
	switch {
	case !store.inTables() && !keepsExpired(store.settings):
		return cleaned{note: "nothing to do: the store drops by itself what has expired"}
	case !store.inTables() && special(o):
		return cleaned{note: "left alone: --older-than, --state and --dry-run are for django-db"}
	}
	opened := store.settings
	opened.ResultBackends, opened.TaskBackends = nil, nil
	backend, err := backends.OpenBackend(opened, "")
	if err != nil {
		return cleaned{err: withStatus(statusUsage, err), note: "failed: " + reason(err)}
	}
	defer backend.Close()
	var done cleaned
	start := time.Now()
	if tables, ok := backend.Driver().(tableCleaner); ok {
		bar := c.newProgress(store.names[0])
		o.Progress = bar.show
		done.report, done.err = tables.CleanupWith(ctx, o)
		bar.clear()
	} else {
		done.report.Results, done.err = backend.Cleanup(ctx)
	}
	done.took = time.Since(start)
	if done.err != nil {
		done.note = "failed: " + reason(done.err)
	}
	return done
}

// keepsExpired reports whether the store of a backend in a cache keeps what has
// expired until it is removed.
func keepsExpired(s celeryresults.Settings) bool {
	if sqlalchemybackend.URL(s) != "" {
		return true
	}
	if kind, _ := schemes.Of(s.ResultBackend); kind != schemes.DjangoCache || strings.Contains(s.CacheBackend, "://") {
		return false
	}
	entry, err := s.Cache(s.CacheBackend)
	return err == nil && isDatabaseCache(entry)
}

// printCleaned prints what was removed. For people, what is empty is left out.
func (c *cli) printCleaned(store *resultStore, done cleaned, dryRun bool) error {
	others := make([]any, len(store.names)-1)
	for i, name := range store.names[1:] {
		others[i] = name
	}
	r := done.report
	object := python.Dict{
		{Key: "name", Value: store.names[0]}, {Key: "shared_with", Value: others}, {Key: "backend", Value: store.backend},
		{Key: "ok", Value: done.err == nil}, {Key: "dry_run", Value: dryRun},
		{Key: "results", Value: r.Results}, {Key: "by_state", Value: byState(r)}, {Key: "groups", Value: r.Groups},
		{Key: "chords", Value: r.Chords}, {Key: "labels", Value: r.Labels},
		{Key: "seconds", Value: done.took.Seconds()}, {Key: "note", Value: textOrNone(done.note)},
	}
	return c.print(object, cleanedRows(store, done, dryRun))
}

func cleanedRows(store *resultStore, done cleaned, dryRun bool) []row {
	r := done.report
	rows := []row{{"backend", strings.Join(store.names, ", ") + " (" + store.backend + ")"}}
	if done.took > 0 {
		rows = append(rows, row{"results", resultsText(r, dryRun)})
	}
	for _, count := range []struct {
		name string
		n    int64
	}{{"groups", r.Groups}, {"chords", r.Chords}, {"labels", r.Labels}} {
		if count.n > 0 {
			rows = append(rows, row{count.name, strconv.FormatInt(count.n, 10)})
		}
	}
	if done.took > 0 {
		rows = append(rows, row{"took", done.took.Round(time.Millisecond).String()})
	}
	if done.note != "" {
		rows = append(rows, row{"note", done.note})
	}
	return rows
}

// resultsText says how many results were removed, by state if that is known.
func resultsText(r dbbackend.CleanupReport, dryRun bool) string {
	text := "%d removed"
	if dryRun {
		text = "%d would be removed"
	}
	var states []string
	for _, pair := range byState(r) {
		states = append(states, fmt.Sprintf("%s %d", pair.Key, pair.Value))
	}
	if len(states) > 0 {
		text += ": " + strings.Join(states, ", ")
	}
	return fmt.Sprintf(text, r.Results)
}

func byState(r dbbackend.CleanupReport) python.Dict {
	pairs := python.Dict{}
	for _, state := range slices.Sorted(maps.Keys(r.ByState)) {
		pairs = append(pairs, python.Pair{Key: string(state), Value: r.ByState[state]})
	}
	return pairs
}
