package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/djcelerybackend"
	"github.com/celeryresults/celeryresults/python"
)

const djceleryHelp = `Copies the results and groups that django-celery left in its tables (celery_taskmeta
and celery_tasksetmeta, versions 2.5 to 3.3) to the backend that the settings name,
or to --backend. The old tables stay as they are.

--from names an entry of DATABASES, or a URL, where the old tables are; they are
looked for in DATABASES.default otherwise. What the backend has stays, so the command
can be repeated, and goes on where it was interrupted. What has expired by
CELERY_RESULT_EXPIRES is not copied: set that to never to keep everything. What
can't be read is named, and left out.

The exit status is 0 when all was copied, 1 when something could not be read, 2 when
the settings are wrong or a table is missing, and 6 when a database can't be reached.`

const djceleryExample = `  celery-results migrate-django-celery --settings settings.toml
  celery-results migrate-django-celery --from legacy --backend archive
  celery-results migrate-django-celery --from postgresql://shop@127.0.0.1/old --format json`

func (c *cli) djceleryCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "migrate-django-celery", Short: "Copy results from django-celery's tables", Long: djceleryHelp, Example: djceleryExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "takes no arguments; --from says where the old tables are")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return c.copyDjangoCelery(cmd.Context(), from) },
	}
	cmd.Flags().StringVar(&from, "from", celeryresults.DefaultDatabase, "an `alias` of DATABASES, or a URL")
	return cmd
}

func (c *cli) copyDjangoCelery(ctx context.Context, from string) error {
	s, err := c.readSettings()
	if err != nil {
		return err
	}
	chosen, err := s.Named(c.backend)
	if err != nil {
		return err
	}
	old, err := openDjangoCelery(chosen, from)
	if err != nil {
		return withStatus(statusUsage, err)
	}
	defer old.Close()
	to, err := backends.OpenBackend(s, c.backend)
	if err != nil {
		return withStatus(statusUsage, err)
	}
	defer to.Close()
	if _, same := to.Driver().(*djcelerybackend.Store); same {
		return withStatus(statusUsage, errors.New("migrate-django-celery: the backend is django-celery itself; --backend names another"))
	}
	bar := c.newProgress("copied")
	failed := func(id string, err error) { c.report("copy "+id, err) }
	report, err := djcelerybackend.Copy(ctx, old, to, failed, func(r djcelerybackend.CopyReport) {
		done := int64(r.Copied + r.Standing + r.Expired + r.Unreadable + r.Refused)
		bar.show(dbbackend.CleanupReport{Looked: done, Due: done})
	})
	bar.clear()
	return errors.Join(err, c.printCopied(report))
}

// openDjangoCelery opens the old tables, from whose rows nothing is lost but what has
// expired by the settings.
func openDjangoCelery(s celeryresults.Settings, from string) (*celeryresults.Backend, error) {
	s.ResultBackend = "django-celery"
	if strings.Contains(from, "://") {
		s.ResultBackend = "django-celery+" + from
	} else if _, err := databaseNamed(s, from); err != nil {
		return nil, err
	}
	s.DjangoDB.Database = from
	return djcelerybackend.Open(s)
}

func (c *cli) printCopied(r djcelerybackend.CopyReport) error {
	var object python.Dict
	var rows []row
	for _, count := range []struct {
		name string
		n    int
	}{
		{"copied", r.Copied}, {"groups", r.Groups}, {"standing", r.Standing}, {"expired", r.Expired}, {"unreadable", r.Unreadable}, {"refused", r.Refused},
	} {
		object = append(object, python.Pair{Key: count.name, Value: int64(count.n)})
		rows = append(rows, row{count.name, fmt.Sprint(count.n)})
	}
	return c.print(object, rows)
}
