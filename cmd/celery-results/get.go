package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) getCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID…", Short: "Print what is stored of tasks", Long: getHelp, Example: getExample,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error { return c.get(cmd.Context(), ids) },
	}
}

func (c *cli) get(ctx context.Context, ids []string) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	metas, err := backend.GetMany(ctx, ids)
	c.report("get", err)
	for _, meta := range metas {
		if meta == nil {
			continue // reported
		}
		if meta.Unknown {
			c.raise(statusUnknown)
		}
		if err := c.printMeta(meta); err != nil {
			return err
		}
	}
	return nil
}
