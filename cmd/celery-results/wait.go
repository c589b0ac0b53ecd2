package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/settings"
)

func (c *cli) waitCommand() *cobra.Command {
	var timeout string
	cmd := &cobra.Command{
		Use: "wait ID…", Short: "Print results as they become ready", Long: waitHelp, Example: waitExample,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			limit, err := parseTimeout(timeout)
			if err != nil {
				return usage(cmd, "--timeout %q: %w", timeout, err)
			}
			return c.wait(cmd.Context(), ids, limit)
		},
	}
	cmd.Flags().StringVar(&timeout, "timeout", "", "how `long` to wait: 30s, 1h30m, or a number of seconds (default no limit)")
	return cmd
}

var errNoTimeout = errors.New("is no time to wait; use 30s, 1h30m or a number of seconds, and nothing for no limit")

// parseTimeout reads how long to wait. Empty is no limit, which is zero.
func parseTimeout(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, ok := parseSpan(s)
	if !ok {
		return 0, errNoTimeout
	}
	return d, nil
}

// parseSpan reads a duration that is more than nothing, as in a settings file.
func parseSpan(s string) (time.Duration, bool) {
	d, err := settings.ParseDuration(s)
	return d, err == nil && d > 0
}

// wait prints the results as they become ready. A limit of zero is none.
func (c *cli) wait(ctx context.Context, ids []string, limit time.Duration) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	ctx, cancel := context.WithCancel(ctx)
	if limit > 0 {
		ctx, cancel = context.WithTimeout(ctx, limit)
	}
	defer cancel()
	waiting, err := c.printReady(ctx, backend, ids)
	if err != nil {
		return err
	}
	late, err := c.printLater(ctx, backend, waiting)
	switch {
	case err != nil || len(late) == 0:
		return err
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("wait: %w", ctx.Err())
	}
	return withStatus(statusTimedOut, fmt.Errorf("wait: timed out after %s: not ready: %s", limit, quoted(late)))
}

// printReady prints those that are ready already, in the order in which they
// became so, and returns the other ids.
func (c *cli) printReady(ctx context.Context, backend *celeryresults.Backend, ids []string) (waiting []string, err error) {
	metas, err := backend.GetMany(ctx, ids)
	switch {
	case err != nil && ctx.Err() != nil:
		return ids, nil
	case err != nil && metas == nil:
		return nil, fmt.Errorf("wait: %w", err)
	}
	c.report("wait", err) // unreadable records
	var ready []*celeryresults.TaskMeta
	for i, meta := range metas {
		switch {
		case meta == nil: // reported
		case meta.State.Ready():
			ready = append(ready, meta)
		default:
			waiting = append(waiting, ids[i])
		}
	}
	slices.SortStableFunc(ready, func(a, b *celeryresults.TaskMeta) int { return a.DateDone.Compare(b.DateDone) })
	for _, meta := range ready {
		if err := c.printOutcome(meta); err != nil {
			return nil, err
		}
	}
	return waiting, nil
}

// outcome is how one wait ended.
type outcome struct {
	id   string
	meta *celeryresults.TaskMeta
	err  error
}

// printLater prints each result when its wait ends, and returns the ids that
// were not ready in time.
func (c *cli) printLater(ctx context.Context, backend *celeryresults.Backend, ids []string) (late []string, err error) {
	outcomes := make(chan outcome, len(ids))
	for _, id := range ids {
		go func() {
			meta, err := celeryresults.NewAsyncResult(id, backend).Wait(ctx)
			outcomes <- outcome{id, meta, err}
		}()
	}
	for range ids {
		o := <-outcomes
		switch {
		case o.err == nil:
			err = c.printOutcome(o.meta)
		case ctx.Err() != nil:
			late = append(late, o.id)
		case statusOf(o.err) == statusFailed:
			c.report("wait", o.err)
		default:
			err = fmt.Errorf("wait: %w", o.err)
		}
		if err != nil {
			return nil, err
		}
	}
	return late, nil
}

func (c *cli) printOutcome(meta *celeryresults.TaskMeta) error {
	if meta.State != celeryresults.Success {
		c.raise(statusFailed)
	}
	return c.printMeta(meta)
}

// quoted lists ids for a message, not too many of them.
func quoted(ids []string) string {
	const most = 10
	slices.Sort(ids)
	var b strings.Builder
	for _, id := range ids[:min(len(ids), most)] {
		fmt.Fprintf(&b, "%q ", id)
	}
	if more := len(ids) - most; more > 0 {
		fmt.Fprintf(&b, "and %d more", more)
	}
	return strings.TrimSpace(b.String())
}
