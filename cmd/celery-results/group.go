package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

func (c *cli) groupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Read, save and delete groups", Long: groupHelp, Example: groupExample,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "a command is missing: get, save or forget")
		},
	}
	cmd.AddCommand(
		c.groupSubCommand("get ID", "Print a group's members", oneID, c.groupGet),
		c.groupSubCommand("save ID MEMBER…", "Save a group of tasks", idAndMembers, c.groupSave),
		c.groupSubCommand("forget ID", "Delete a group, not its members' results", oneID, c.groupForget),
	)
	return cmd
}

type groupRun func(ctx context.Context, backend *celeryresults.Backend, args []string) error

func (c *cli) groupSubCommand(use, short string, args cobra.PositionalArgs, run groupRun) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: short + ".", Example: groupExample, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.withGroups(cmd.Context(), args, run); err != nil {
				return fmt.Errorf("group %s: %w", cmd.Name(), err)
			}
			return nil
		},
	}
}

func (c *cli) withGroups(ctx context.Context, args []string, run groupRun) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	return run(ctx, backend, args)
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usage(cmd, "needs one id")
	}
	return needIDs(cmd, args)
}

func idAndMembers(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return usage(cmd, "needs the group's id and its members' ids")
	}
	return needIDs(cmd, args)
}

func (c *cli) groupGet(ctx context.Context, backend *celeryresults.Backend, args []string) error {
	group, err := backend.RestoreGroup(ctx, args[0])
	if err != nil {
		return err
	}
	object := python.Dict{{Key: "group_id", Value: group.ID}, {Key: "result", Value: group.Plain()}}
	rows := []row{{"group_id", group.ID}, {"members", idsOf(group.Children)}}
	if group.Parent != nil {
		rows = append(rows, row{"parent", group.Parent.ID})
	}
	return c.print(object, rows)
}

func (c *cli) groupSave(ctx context.Context, backend *celeryresults.Backend, args []string) error {
	group := celeryresults.ResultTuple{ID: args[0]}
	for _, member := range args[1:] {
		group.Children = append(group.Children, celeryresults.ResultTuple{ID: member})
	}
	return backend.SaveGroup(ctx, group)
}

func (c *cli) groupForget(ctx context.Context, backend *celeryresults.Backend, args []string) error {
	return backend.DeleteGroup(ctx, args[0])
}
