package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/survey"
)

const listHelp = `Lists results, newest first. Conditions are combined; --state may be repeated, and then any of them counts. --task is a
name, or a pattern such as 'billing.*'. --since and --until are times of creation: an
age such as 2h or 30d, a date, or 2026-11-26T12:00:00Z.

--limit says how many, and --all prints all of them. The cursor of the page that
follows is printed to standard error, for --cursor.

Databases of django-db keep lists. Of redis and caches, up to --look-at results are looked
at, in no order; standard error says whether these were all. memcached does not show
what lies in it.

With --format json each result is one JSON object in a line. The exit status is 2
when the store shows no results.`

const listExample = `  celery-results list --state FAILURE --since 2h
  celery-results list --task 'billing.*' --label customer=acme --all --format json`

// listFlags are the flags of list.
type listFlags struct {
	states, labels                                   []string
	task, worker, group, since, until, order, cursor string
	limit, lookAt                                    int
	all                                              bool
}

func (c *cli) listCommand() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List results, newest first", Long: listHelp, Example: listExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "takes no arguments; get ID prints a result")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := f.query(time.Now())
			if err != nil {
				return usage(cmd, "%w", err)
			}
			return c.list(cmd.Context(), q, f)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringArrayVar(&f.states, "state", nil, "a `state`, such as FAILURE; may be repeated")
	flags.StringVar(&f.task, "task", "", "a task `name`, or a pattern with * and ?")
	flags.StringVar(&f.worker, "worker", "", "a worker's `name`")
	flags.StringVar(&f.group, "group", "", "a group's `id`")
	flags.StringArrayVar(&f.labels, "label", nil, "a label, such as `customer=acme`; may be repeated")
	flags.StringVar(&f.since, "since", "", "created at this `time` or after, or within this age")
	flags.StringVar(&f.until, "until", "", "created before this `time`, or longer ago than this age")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"SUCCESS", "FAILURE", "REVOKED", "STARTED", "RETRY", "PENDING"}, cobra.ShellCompDirectiveNoFileComp)) // it fails for unknown flags
	flags.StringVar(&f.order, "order", "created", "newest first by `created` or done")
	flags.IntVar(&f.limit, "limit", driver.DefaultLimit, "how `many`, at most 1000")
	flags.StringVar(&f.cursor, "cursor", "", "go on at this `cursor`")
	flags.IntVar(&f.lookAt, "look-at", survey.DefaultMost, "how `many` results to look at, of a store without lists")
	flags.BoolVar(&f.all, "all", false, "print all pages")
	return cmd
}

func (f listFlags) query(now time.Time) (q celeryresults.Query, err error) {
	q = celeryresults.Query{Task: f.task, Worker: f.worker, GroupID: f.group, Cursor: f.cursor, Limit: f.limit}
	if f.limit < 1 || f.limit > driver.MaxLimit {
		return q, fmt.Errorf("--limit %d: must be between 1 and %d", f.limit, driver.MaxLimit)
	}
	for _, text := range f.states {
		var state celeryresults.State
		if err := setState(&state, text); err != nil {
			return q, fmt.Errorf("--state %q: %w", text, err)
		}
		q.States = append(q.States, state)
	}
	for _, text := range f.labels {
		name, value, found := strings.Cut(text, "=")
		if !found || name == "" {
			return q, fmt.Errorf("--label %q: must be a name and its value, such as customer=acme", text)
		}
		if q.Labels == nil {
			q.Labels = map[string]string{}
		}
		q.Labels[name] = value
	}
	switch f.order {
	case "created":
	case "done":
		q.Order = celeryresults.ByDone
	default:
		return q, fmt.Errorf("--order %q: must be created or done", f.order)
	}
	if q.CreatedFrom, err = moment(f.since, now); err != nil {
		return q, fmt.Errorf("--since %q: %w", f.since, err)
	}
	if q.CreatedBefore, err = moment(f.until, now); err != nil {
		return q, fmt.Errorf("--until %q: %w", f.until, err)
	}
	return q, nil
}

var errNoMoment = errors.New("is no time; use an age such as 2h or 30d, a date, or 2026-11-26T12:00:00Z")

// moment reads a time, or an age before now. Empty is none.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if age, ok := parseSpan(text); ok {
		return now.Add(-age), nil
	}
	return time.Time{}, errNoMoment
}

func (c *cli) list(ctx context.Context, q celeryresults.Query, f listFlags) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	for {
		page, err := backend.List(ctx, q)
		if errors.Is(err, errors.ErrUnsupported) {
			return c.survey(ctx, backend, q, f)
		}
		if errors.Is(err, celeryresults.ErrCursor) {
			err = withStatus(statusUsage, err)
		}
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		if err := c.printPage(page.Results); err != nil {
			return err
		}
		q.Cursor = page.Next
		if q.Cursor == "" {
			return nil
		}
		if !f.all {
			fmt.Fprintf(c.stderr, "celery-results: list: there are more: --cursor %s\n", q.Cursor)
			return nil
		}
	}
}

// survey prints what a look at the results of a store without lists finds.
func (c *cli) survey(ctx context.Context, backend *celeryresults.Backend, q celeryresults.Query, f listFlags) error {
	if f.all {
		q.Limit = driver.MaxLimit
	}
	s, err := survey.Look(ctx, backend, q, f.lookAt)
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, celeryresults.ErrCursor):
		return withStatus(statusUsage, fmt.Errorf("list: %w", err))
	case err != nil:
		return fmt.Errorf("list: %w", err)
	}
	if err := c.printPage(s.Results); err != nil {
		return err
	}
	looked := fmt.Sprintf("%d results were looked at, which is all", s.Looked)
	if !s.Whole {
		looked = fmt.Sprintf("only %d results were looked at, and newer ones may be among the others: --look-at", s.Looked)
	}
	if s.More > 0 {
		looked += fmt.Sprintf("; %d more meet the conditions: --limit", s.More)
	}
	if s.Unreadable > 0 {
		looked += fmt.Sprintf("; %d can't be read", s.Unreadable)
	}
	fmt.Fprintf(c.stderr, "celery-results: list: this store keeps no lists: %s\n", looked)
	return nil
}

// briefly is how much of a result the table shows.
const briefly = 60

// printPage prints results, for people as a table.
func (c *cli) printPage(metas []*celeryresults.TaskMeta) error {
	if c.format != formatTable {
		for _, meta := range metas {
			if err := c.printMeta(meta); err != nil {
				return err
			}
		}
		return nil
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, meta := range metas {
		created, took, result := "", "", ""
		if !meta.DateCreated.IsZero() {
			created = meta.DateCreated.UTC().Format("2006-01-02 15:04:05")
		}
		if d, ok := meta.ProcessingTime(); ok {
			took = d.Round(time.Millisecond).String()
		}
		result = brief(meta)
		if runes := []rune(result); len(runes) > briefly {
			result = string(runes[:briefly]) + "…"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", created, c.state(meta.State), escape(meta.TaskID), escape(meta.Name), took, result)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return c.write(text.Bytes())
}
