package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
)

const watchHelp = `Follows tasks: prints a line for every state that they get, and for every progress that
they report, until all are ready. On a terminal there is a table instead, which changes
in place, with a bar for {"current": 40, "total": 100}. With --format json each line is
the whole record.

The exit status is 0 when all tasks ended with SUCCESS, 1 when one failed or was
revoked, 5 when --timeout ended it, and 6 when the store can't be reached.`

const watchExample = `  celery-results watch 7d3c
  celery-results watch 7d3c 81fa --timeout 10m --format json`

func (c *cli) watchCommand() *cobra.Command {
	var timeout string
	cmd := &cobra.Command{
		Use: "watch ID…", Short: "Follow tasks until they are ready", Long: watchHelp, Example: watchExample,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			limit, err := parseTimeout(timeout)
			if err != nil {
				return usage(cmd, "--timeout %q: %w", timeout, err)
			}
			return c.watch(cmd.Context(), ids, limit)
		},
	}
	cmd.Flags().StringVar(&timeout, "timeout", "", "how `long` to follow: 30s, 1h30m, or a number of seconds (default no limit)")
	return cmd
}

// watch follows all tasks at once.
func (c *cli) watch(ctx context.Context, ids []string, limit time.Duration) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	type change struct {
		meta *celeryresults.TaskMeta
		err  error
	}
	changes := make(chan change)
	var watching sync.WaitGroup
	for _, id := range ids {
		watching.Go(func() {
			for meta, err := range celeryresults.NewAsyncResult(id, backend).Watch(ctx) {
				changes <- change{meta, err}
			}
		})
	}
	go func() { watching.Wait(); close(changes) }()
	table := c.newLiveTable(ids)
	if table != nil {
		if err := table.draw(time.Now()); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var failed error
	for {
		select {
		case <-tick.C:
			if table != nil {
				if err := table.draw(time.Now()); err != nil {
					return err
				}
			}
		case got, more := <-changes:
			if !more {
				return failed
			}
			switch {
			case got.err == nil && table != nil:
				table.current[got.meta.TaskID] = got.meta
				failed = errors.Join(failed, table.draw(time.Now()))
			case got.err == nil:
				failed = errors.Join(failed, c.printChange(got.meta))
			case limit > 0 && errors.Is(got.err, context.DeadlineExceeded):
				failed = withStatus(statusTimedOut, fmt.Errorf("watch: timed out after %s", limit))
			default:
				failed = errors.Join(failed, got.err)
			}
			if got.err == nil && got.meta.State.Ready() && got.meta.State != celeryresults.Success {
				c.raise(statusFailed)
			}
		}
	}
}

// printChange prints a record, for people as a line.
func (c *cli) printChange(meta *celeryresults.TaskMeta) error {
	if c.format != formatTable {
		return c.printMeta(meta)
	}
	pad := strings.Repeat(" ", max(0, len("PROGRESS")-len(meta.State)))
	return c.write(fmt.Appendf(nil, "%s  %s%s  %s  %s\n", time.Now().Format(time.TimeOnly), c.state(meta.State), pad, escape(meta.TaskID), brief(meta)))
}
