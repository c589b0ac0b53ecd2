package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/serialization/json"
	"github.com/celeryresults/celeryresults/python"
)

// storeFlags are the flags that set a field of the record.
var storeFlags = []struct {
	name  string
	parse func(string) (any, error)
	usage string
}{
	{"status", plainText, "`state` of the task: one of Celery's, such as SUCCESS, or one of your own"},
	{"result", nil, "`JSON` of the return value, of a custom state's meta, or an exception (default null)"},
	{"traceback", plainText, "Python's `text` of the stack"},
	{"name", plainText, "`name` of the task"},
	{"args", jsonList, "`JSON` list of the positional arguments"},
	{"kwargs", jsonObject, "`JSON` object of the named arguments"},
	{"worker", plainText, "`name` of the worker"},
	{"retries", wholeNumber, "`number` of times that the task was run again"},
	{"queue", plainText, "`name` of the queue"},
	{"group-id", plainText, "`id` of the group that the task belongs to"},
	{"parent-id", plainText, "`id` of the task that sent it"},
	{"children", jsonList, "`JSON` list of result tuples, [[[id, parent], null], …] (default [])"},
	{"date-done", plainText, "ISO 8601 `time` when it became ready (default now, for final states)"},
}

func (c *cli) storeCommand() *cobra.Command {
	var override, lines bool
	cmd := &cobra.Command{
		Use: "store ID --status STATE [flags]\n  celery-results store --stdin [--override]", DisableFlagsInUseLine: true,
		Short: "Store results", Long: storeHelp, Example: storeExample,
		Args: func(cmd *cobra.Command, args []string) error { return storeArgs(cmd, args, lines) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	for _, f := range storeFlags {
		flags.String(f.name, "", f.usage)
	}
	flags.BoolVar(&override, "override", false, "store whatever stands")
	flags.BoolVar(&lines, "stdin", false, "store one JSON object a line, as get --format json prints them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var options []celeryresults.StoreOption
		if override {
			options = append(options, celeryresults.Override)
		}
		if lines {
			return c.storeLines(cmd.Context(), options)
		}
		return c.storeOne(cmd, args[0], options)
	}
	return cmd
}

func storeArgs(cmd *cobra.Command, args []string, lines bool) error {
	if !lines {
		if len(args) != 1 {
			return usage(cmd, "needs one id, or --stdin")
		}
		return needIDs(cmd, args)
	}
	if len(args) > 0 {
		return usage(cmd, "takes no id with --stdin: each line names its own task_id")
	}
	for _, f := range storeFlags {
		if cmd.Flags().Changed(f.name) {
			return usage(cmd, "takes no --%s with --stdin: each line has its own fields", f.name)
		}
	}
	return nil
}

func (c *cli) storeOne(cmd *cobra.Command, id string, options []celeryresults.StoreOption) error {
	fields, err := flagFields(cmd.Flags())
	if err != nil {
		return usage(cmd, "%w", err)
	}
	fields["task_id"] = id
	meta, err := parseFields(fields)
	if err != nil {
		return usage(cmd, "%w", err)
	}
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	return backend.StoreResult(cmd.Context(), meta, options...)
}

// flagFields returns the flags that were given as the fields of a line.
func flagFields(flags *pflag.FlagSet) (map[string]any, error) {
	if !flags.Changed("status") {
		return nil, errors.New("needs --status")
	}
	fields := map[string]any{}
	for _, f := range storeFlags {
		if !flags.Changed(f.name) {
			continue
		}
		text, _ := flags.GetString(f.name)
		parse := f.parse
		if parse == nil {
			parse = resultParser(celeryresults.State(fields["status"].(string)))
		}
		value, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", f.name, err)
		}
		fields[strings.ReplaceAll(f.name, "-", "_")] = value
	}
	return fields, nil
}

func plainText(s string) (any, error) { return s, nil }

func wholeNumber(s string) (any, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return nil, errNotCount
	}
	return n, nil
}

// resultParser returns what reads --result: JSON, but for an exception state
// any text that is neither an object nor a JSON string stands for itself.
func resultParser(state celeryresults.State) func(string) (any, error) {
	if !state.Exception() {
		return jsonValue
	}
	return func(s string) (any, error) {
		if text := strings.TrimLeft(s, " \t\r\n"); text == "" || text[0] != '{' && text[0] != '"' {
			return s, nil
		}
		return jsonValue(s)
	}
}

func jsonValue(s string) (any, error) {
	value, err := json.Codec.Decode([]byte(s))
	if err != nil {
		return nil, fmt.Errorf("%w (a text needs quotes of its own: '\"text\"')", err)
	}
	return value, nil
}

func jsonList(s string) (any, error) {
	value, err := jsonValue(s)
	if _, ok := value.([]any); err == nil && !ok {
		return nil, errors.New("must be a JSON list")
	}
	return value, err
}

func jsonObject(s string) (any, error) {
	value, err := jsonValue(s)
	if _, ok := value.(map[string]any); err == nil && !ok {
		return nil, errors.New("must be a JSON object")
	}
	return value, err
}

// storeLines stores one record a line. A line that is bad or refused is
// reported and the next one follows; a store that does not work ends it.
func (c *cli) storeLines(ctx context.Context, options []celeryresults.StoreOption) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	lines := newLineReader(c.stdin)
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err == nil:
			err = storeLine(ctx, backend, line, options)
		case !errors.Is(err, errLongLine):
			return err
		}
		if err != nil && (statusOf(err) == statusUnreachable || errors.Is(err, celeryresults.ErrNoTable)) {
			return fmt.Errorf("line %d: %w: stopped here", lines.number, err)
		}
		c.report(fmt.Sprintf("line %d", lines.number), err)
	}
}

func storeLine(ctx context.Context, backend *celeryresults.Backend, line []byte, options []celeryresults.StoreOption) error {
	meta, err := parseLine(line)
	if err != nil {
		return withStatus(statusUsage, err)
	}
	return backend.StoreResult(ctx, meta, options...)
}

// parseLine reads one record as get --format json prints it.
func parseLine(line []byte) (*celeryresults.TaskMeta, error) {
	value, err := json.Codec.Decode(line)
	if err != nil {
		return nil, err
	}
	switch fields := value.(type) {
	case map[string]any:
		return parseFields(fields)
	case python.Envelope:
		return nil, errors.New("is a kombu envelope, not a record")
	}
	return nil, errors.New("is no JSON object")
}
