package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/python"
)

const exportHelp = `Prints all results of a backend, one JSON object a line, with the types of their values as
kombu's JSON has them, for import into any other. Databases, redis and most caches
can be gone through; memcached and clusters can't.

Results that are stored meanwhile may be left out or come twice. What can't be read or
has no form in JSON is named, and left out; the exit status is 1 then.`

const exportExample = `  celery-results export --backend old > results.ndjson
  celery-results export --backend old | celery-results import --backend new`

const importHelp = `Stores the results that export printed, from standard input, in a backend. A result that
stands there stays, so an import that was interrupted is repeated, and goes on where it
was. The counts are printed when it is done.

A line that is no record is named, and the next one follows; a store that does not work
ends it. The exit status is 2 when a line is no record or can't be stored, and 6 when the
store can't be reached.`

const importExample = `  celery-results import --backend new < results.ndjson`

func (c *cli) exportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Short: "Print all results, for import", Long: exportHelp, Example: exportExample,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.export(cmd.Context()) },
	}
}

func (c *cli) importCommand() *cobra.Command {
	return &cobra.Command{
		Use: "import", Short: "Store what export printed", Long: importHelp, Example: importExample,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.importLines(cmd.Context()) },
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "takes no arguments; --backend NAME names the backend")
	}
	return nil
}

func (c *cli) export(ctx context.Context) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	c.format = formatKombu
	bar := c.newProgress("exported")
	defer bar.clear()
	done := int64(0)
	for meta, err := range backend.Walk(ctx) {
		if _, unreadable := errors.AsType[*celeryresults.UnreadableError](err); unreadable {
			c.report("export", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		if err := c.printMeta(meta); err != nil {
			return err
		}
		done++
		bar.count(done)
	}
	return nil
}

// importers is how many results are stored at once.
const importers = 16

// imported is what became of lines.
type imported struct{ stored, standing, failed int }

func (c *cli) importLines(ctx context.Context) error {
	backend, err := c.open()
	if err != nil {
		return err
	}
	defer backend.Close()
	ctx, stop := context.WithCancelCause(ctx) // a store that does not work ends it
	defer stop(nil)
	bar, size := c.newProgress("imported"), c.inputSize()
	var mu sync.Mutex // of what is counted, reported and drawn
	var count imported
	report := func(what string, err error) {
		mu.Lock()
		defer mu.Unlock()
		count.failed++
		c.report(what, err)
	}
	metas := make(chan *celeryresults.TaskMeta)
	var storing sync.WaitGroup
	for range importers {
		storing.Go(func() {
			for meta := range metas {
				err := storeMissing(ctx, backend, meta)
				outcome := celeryresults.OutcomeOf(err)
				switch {
				case outcome == celeryresults.OutcomeStored || outcome == celeryresults.OutcomeRefused:
				case ctx.Err() != nil:
					continue
				case statusOf(err) == statusUnreachable || errors.Is(err, celeryresults.ErrNoTable):
					stop(err)
					continue
				default:
					report(fmt.Sprintf("import %q", meta.TaskID), err)
					continue
				}
				mu.Lock()
				if outcome == celeryresults.OutcomeStored {
					count.stored++
				} else {
					count.standing++
				}
				if size == 0 {
					bar.count(int64(count.stored + count.standing + count.failed))
				}
				mu.Unlock()
			}
		})
	}
	err = c.eachLine(ctx, report, func(meta *celeryresults.TaskMeta, read int64) bool {
		if size > 0 {
			mu.Lock()
			bar.bytes(read, size)
			mu.Unlock()
		}
		select {
		case metas <- meta:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(metas)
	storing.Wait()
	bar.clear()
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("import: %w: stopped here", cause)
	}
	object := python.Dict{{Key: "stored", Value: int64(count.stored)}, {Key: "standing", Value: int64(count.standing)}, {Key: "failed", Value: int64(count.failed)}}
	rows := []row{{"stored", fmt.Sprint(count.stored)}, {"standing", fmt.Sprint(count.standing)}, {"failed", fmt.Sprint(count.failed)}}
	return errors.Join(err, c.print(object, rows))
}

// storeMissing stores a result unless any stands, which a store by itself would let some
// replace.
func storeMissing(ctx context.Context, backend *celeryresults.Backend, meta *celeryresults.TaskMeta) error {
	stands, err := backend.GetTaskMeta(ctx, meta.TaskID)
	switch {
	case err != nil:
		return err
	case !stands.Unknown:
		return &celeryresults.RefusedError{TaskID: meta.TaskID, Stands: stands.State, Stored: meta.State}
	}
	return backend.StoreResult(ctx, meta)
}

// inputSize is the size of standard input in bytes, or 0 if that is no file.
func (c *cli) inputSize() int64 {
	f, ok := c.stdin.(*os.File)
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

// eachLine calls f with the records in lines, and how many bytes were read by then. A line that is none is reported, and the
// next one follows.
func (c *cli) eachLine(ctx context.Context, report func(what string, err error), f func(meta *celeryresults.TaskMeta, read int64) bool) error {
	lines := newLineReader(c.stdin)
	for ctx.Err() == nil {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, errLongLine) {
			return err
		}
		var meta *celeryresults.TaskMeta
		if err == nil {
			meta, err = parseLine(line)
		}
		if err != nil {
			report(fmt.Sprintf("import: line %d", lines.number), withStatus(statusUsage, err))
		} else if !f(meta, lines.bytes) {
			break
		}
	}
	return ctx.Err()
}
