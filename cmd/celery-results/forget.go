package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "forget ID…", Short: "Delete results", Long: forgetHelp, Example: forgetExample,
		Args: needIDs,
		RunE: func(cmd *cobra.Command, ids []string) error { return c.forget(cmd.Context(), ids) },
	}
}

func (c *cli) forget(ctx context.Context, ids []string) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	if err := backend.Forget(ctx, ids...); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	return nil
}
