// Command celery-results reads and writes the results of Celery tasks from a
// shell, in the stores that Python's Celery and Django use. Its --help says
// how, and what scripts may rely on.
package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/template"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // for DATABASES of PostgreSQL
	"github.com/redis/go-redis/v9/logging"
	"github.com/spf13/cobra"
	_ "modernc.org/sqlite" // for DATABASES of SQLite

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/internal/doctor"
	"github.com/celeryresults/celeryresults/settings"
)

// main leaves signals as they are: an interrupt ends the program at once, also
// while it waits for its input.
func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// init silences the clients that write to standard error by themselves: they
// return the same errors.
func init() {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // fails for nil only
	logging.Disable()
}

// run is the whole command: it returns the exit status. Nothing is read or
// written but what is passed in, the settings file and the stores.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr, environ: environ}
	root := c.root()
	root.SetArgs(append([]string{}, args...))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if _, known := errors.AsType[*exitError](err); err != nil && !known && !c.running {
		err = usage(cmd, "%v", err) // an error of cobra's
	}
	c.report("", err)
	return c.status
}

// cli is one invocation.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string

	settingsFile, backend, format, templateText string

	template *template.Template // of --format template
	colours  bool               // standard output is a terminal that shows colours

	running bool           // the arguments were understood
	status  int            // the worst so far
	python  *doctor.Python // of check --against; nil without
}

func (c *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:               "celery-results",
		Short:             "Read and write the results of Celery tasks",
		Long:              rootHelp,
		Args:              onlyCommands,
		RunE:              func(cmd *cobra.Command, _ []string) error { return usage(cmd, "a command is missing") },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return c.start(cmd) },
		SilenceErrors:     true,
		SilenceUsage:      true,
	}
	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&c.settingsFile, "settings", c.getenv("CELERY_RESULTS_SETTINGS"), "TOML, YAML or JSON `file` of settings (default: CELERY_RESULTS_SETTINGS)")
	flags.Lookup("settings").DefValue = ""
	flags.StringVar(&c.backend, "backend", "", "a `name` of CELERY_RESULT_BACKENDS, instead of the default backend")
	flags.StringVar(&c.format, "format", formatTable, "output `form`: json or kombu, one object a line, table, for people, or template")
	flags.StringVar(&c.templateText, "template", "", "a `template` of Go's text/template for --format template, such as '{{.task_id}} {{.status}}'")
	_ = root.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{formatJSON, formatKombu, formatTable, formatTemplate}, cobra.ShellCompDirectiveNoFileComp)) // it fails for unknown flags
	_ = root.RegisterFlagCompletionFunc("backend", c.completeBackends)
	root.AddCommand(c.getCommand(), c.waitCommand(), c.storeCommand(), c.forgetCommand(), c.groupCommand(), c.checkCommand(),
		c.listCommand(), c.watchCommand(), c.statsCommand(), c.exportCommand(), c.importCommand(), c.serveCommand(), c.cleanupCommand(), c.migrateCommand(), c.djceleryCommand(), c.createCacheTableCommand(), c.manCommand(), c.versionCommand())
	return root
}

// completeBackends offers the named backends of the settings.
func (c *cli) completeBackends(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := settings.Read(c.settingsFile, c.environ)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return slices.Sorted(maps.Keys(s.ResultBackends)), cobra.ShellCompDirectiveNoFileComp
}

// onlyCommands refuses arguments of a command that has but sub-commands.
func onlyCommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usage(cmd, "unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return usage(cmd, "unknown command %q", args[0])
}

func (c *cli) start(cmd *cobra.Command) error {
	c.running = true
	c.colours = c.coloured()
	if c.templateText != "" && !cmd.Flags().Changed("format") {
		c.format = formatTemplate
	}
	switch c.format {
	case formatJSON, formatKombu, formatTable:
		if c.templateText != "" {
			return usage(cmd, "--template goes with --format template")
		}
		return nil
	case formatTemplate:
	default:
		return usage(cmd, "unknown format %q; use json, kombu, table or template", c.format)
	}
	if c.templateText == "" {
		return usage(cmd, "--format template needs --template, such as '{{.task_id}} {{.status}}'")
	}
	var err error
	if c.template, err = parseTemplate(c.templateText); err != nil {
		return usage(cmd, "%w", err)
	}
	return nil
}

// getenv returns the last value of the variable, as os.Getenv does.
func (c *cli) getenv(name string) string {
	value := ""
	for _, entry := range c.environ {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}

// commandRetries is how often an operation is tried unless the settings say, so
// that a person waits seconds, not half a minute, for a server that is down.
const commandRetries = 8

func (c *cli) readSettings() (celeryresults.Settings, error) {
	s, err := settings.Read(c.settingsFile, c.environ)
	if s.ResultBackendMaxRetries == 0 {
		s.ResultBackendMaxRetries = commandRetries
	}
	return s, withStatus(statusUsage, err)
}

// open opens the backend that --backend names. The caller closes it.
func (c *cli) open() (*celeryresults.Backend, error) {
	s, err := c.readSettings()
	if err != nil {
		return nil, err
	}
	chosen, err := s.Named(c.backend)
	if err != nil {
		return nil, err
	}
	if isDisabled(chosen) {
		return nil, backends.ErrDisabled
	}
	b, err := backends.OpenBackend(s, c.backend)
	return b, withStatus(statusUsage, err)
}

// isDisabled reports whether results are not kept at all.
func isDisabled(s celeryresults.Settings) bool {
	return s.ResultBackend == "" || s.ResultBackend == "disabled"
}

// needIDs accepts one id or more, none of them empty.
func needIDs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage(cmd, "needs at least one id")
	}
	for _, id := range args {
		if id == "" {
			return usage(cmd, "an id is empty")
		}
	}
	return nil
}
