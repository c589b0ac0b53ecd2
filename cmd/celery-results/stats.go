package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/python"
)

const statsHelp = `Counts the tasks that became ready, by task and state, in a backend that counts its
results: django-db. --since and --until are an age such as 2h or 30d, a date, or
2026-11-26T12:00:00Z; a day is counted if nothing is said.

With --format json there is one object: the counts by task, and --buckets equal parts
of the time with how many tasks ended and failed, and their processing times.`

const statsExample = `  celery-results stats --since 7d
  celery-results stats --since 1h --buckets 60 --format json`

func (c *cli) statsCommand() *cobra.Command {
	var since, until string
	var buckets int
	cmd := &cobra.Command{
		Use: "stats", Short: "Count what has become of tasks", Long: statsHelp, Example: statsExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "takes no arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			from, err := moment(since, now)
			if err != nil {
				return usage(cmd, "--since %q: %w", since, err)
			}
			to, err := moment(until, now)
			if err != nil {
				return usage(cmd, "--until %q: %w", until, err)
			}
			if buckets < 1 || buckets > driver.MaxBuckets {
				return usage(cmd, "--buckets %d: must be between 1 and %d", buckets, driver.MaxBuckets)
			}
			return c.stats(cmd.Context(), driver.StatsQuery{From: from, Until: to, Buckets: buckets})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&since, "since", "24h", "ready at this `time` or after, or within this age")
	flags.StringVar(&until, "until", "", "ready before this `time` (default now)")
	flags.IntVar(&buckets, "buckets", driver.DefaultBuckets, "into how `many` parts JSON divides the time")
	return cmd
}

func (c *cli) stats(ctx context.Context, q driver.StatsQuery) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	stats, err := backend.Stats(ctx, q)
	if errors.Is(err, errors.ErrUnsupported) {
		return withStatus(statusUsage, errors.New("stats: this backend does not count its results; django-db does"))
	}
	if err != nil {
		return fmt.Errorf("stats: %w", err)
	}
	if c.format != formatTable {
		return c.print(statsObject(stats), nil)
	}
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "done\tsucceeded\tfailed\trevoked\tfailure rate\t  task\n")
	for _, t := range stats.Tasks {
		name := t.Task
		if name == "" {
			name = "(without a name)"
		}
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%.1f %%\t  %s\n", t.Total, t.States[celeryresults.Success], t.States[celeryresults.Failure], t.States[celeryresults.Revoked], 100*t.Failed(), escape(name))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return c.write(text.Bytes())
}

func statsObject(stats *driver.Stats) python.Dict {
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
	return python.Dict{{Key: "from", Value: stats.From}, {Key: "until", Value: stats.Until}, {Key: "tasks", Value: tasks}, {Key: "buckets", Value: buckets}}
}
