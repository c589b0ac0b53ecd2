// Command quickstart shows what this library is for: a generic result backend,
// and a persistent one in a database for the tasks whose results matter, side by
// side in one program. It needs no server.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -dir some/folder   (keeps the database there)
package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the program chooses its SQL drivers

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/cache"
)

func main() {
	dir := flag.String("dir", "", "keep the database in this `folder` (default a temporary one)")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := quickstart(ctx, *dir, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// configure says, as a Django project would, where results are kept: in a cache,
// but those of billing.* in the tables of django-celery-results, for good.
func configure(file string) celeryresults.Settings {
	return celeryresults.Settings{
		ResultBackend:  "django-cache", // in the cache named default
		ResultExtended: true,           // with the tasks' names and arguments
		ResultBackends: map[string]celeryresults.BackendSettings{
			"persistent": {Backend: "django-db", ResultExpires: celeryresults.Never},
		},
		TaskBackends:     map[string]string{"billing.*": "persistent"},
		TaskTrackStarted: true,
		Caches:           map[string]cache.Settings{"default": {Backend: "locmem", Location: []string{"quickstart"}}},
		Databases:        map[string]cache.Database{"default": {Engine: "sqlite3", Name: file}},
	}
}

// migrate does what celery-results migrate, or manage.py migrate, does.
func migrate(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	_, err = dbbackend.Migrate(ctx, db, dbbackend.MigrateOptions{})
	return errors.Join(err, db.Close())
}

// The tasks. Whoever sends one chooses its id; its name chooses the backend.
var (
	mail   = &celeryresults.Request{ID: rand.Text(), Task: "mail.newsletter"}
	bill   = &celeryresults.Request{ID: rand.Text(), Task: "billing.invoice", Args: []any{4711}, Meta: map[string]any{"customer": "acme"}}
	refund = &celeryresults.Request{ID: rand.Text(), Task: "billing.refund"}
)

// invoice is what billing.invoice returns: a dict for Python.
type invoice struct {
	Number string  `json:"number"`
	Total  float64 `json:"total"`
}

func quickstart(ctx context.Context, dir string, out io.Writer) error {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	file := filepath.Join(dir, "results.sqlite3")
	if err := migrate(ctx, file); err != nil {
		return err
	}
	for _, show := range []func(context.Context, *celeryresults.App, io.Writer) error{work, reopened} {
		app, err := backends.Open(configure(file))
		if err != nil {
			return err
		}
		if err := errors.Join(show(ctx, app, out), app.Close()); err != nil {
			return err
		}
	}
	return nil
}

// work lets a worker run the tasks and asks for their results meanwhile.
func work(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	halfway, looked, ended := make(chan bool, 1), make(chan bool, 1), make(chan error, 1)
	go func() { ended <- worker(ctx, app, halfway, looked) }()
	<-halfway
	err := progress(ctx, app, out)
	looked <- true
	return errors.Join(err, results(ctx, app, out), failure(ctx, app, out), late(ctx, app, out), <-ended)
}

// progress: a task may report where it is, in a state of its own with any value.
func progress(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	meta, err := app.AsyncResult(bill.ID, celeryresults.ForTask(bill.Task)).Meta(ctx)
	if err != nil {
		return err
	}
	at, err := celeryresults.As[map[string]int](meta.Result)
	fmt.Fprintf(out, "%s: %s, %d of %d\n", bill.Task, meta.State, at["current"], at["total"])
	return err
}

// results: Get waits, and returns a type of ours.
func results(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	sheet, err := celeryresults.Get[invoice](ctx, app.AsyncResult(bill.ID, celeryresults.ForTask(bill.Task)))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: SUCCESS, number %s over %.2f\n", bill.Task, sheet.Number, sheet.Total)
	sent, err := celeryresults.Get[int](ctx, app.AsyncResult(mail.ID))
	fmt.Fprintf(out, "%s: SUCCESS, %d sent\n", mail.Task, sent)
	return err
}

// failure: the exception of a task is an error value.
func failure(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	_, err := app.AsyncResult(refund.ID, celeryresults.ForTask(refund.Task)).Get(ctx)
	if exception, ok := errors.AsType[*celeryresults.TaskError](err); ok {
		fmt.Fprintf(out, "%s: FAILURE, a %s that says %q\n", refund.Task, exception.Type, exception.Message())
		return nil
	}
	return fmt.Errorf("%s should have failed: %w", refund.Task, err)
}

// late: what comes too late never overwrites a result.
func late(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	err := app.UpdateState(ctx, bill, "PROGRESS", map[string]int{"current": 99, "total": 100})
	if refused, ok := errors.AsType[*celeryresults.RefusedError](err); ok {
		fmt.Fprintf(out, "%s: a late %s was refused, %s stands\n", bill.Task, refused.Stored, refused.Stands)
		return nil
	}
	return fmt.Errorf("the late %s should have been refused: %w", bill.Task, err)
}

// worker runs the tasks, as a process of its own would.
func worker(ctx context.Context, app *celeryresults.App, halfway chan<- bool, looked <-chan bool) error {
	err := errors.Join(app.RecordPending(ctx, bill), app.MarkAsStarted(ctx, bill),
		app.UpdateState(ctx, bill, "PROGRESS", map[string]int{"current": 40, "total": 100}))
	halfway <- true
	<-looked
	return errors.Join(err,
		app.MarkAsDone(ctx, bill, invoice{Number: "2026-0042", Total: 99.5}),
		app.MarkAsDone(ctx, mail, 3),
		app.MarkAsFailure(ctx, refund, &celeryresults.TaskError{Type: "ValueError", Module: "builtins", Args: []any{"nothing was paid"}}),
	)
}

// reopened shows what a new start of the program would find.
func reopened(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	billed, err := app.AsyncResult(bill.ID, celeryresults.ForTask(bill.Task)).State(ctx)
	if err != nil {
		return err
	}
	mailed, err := app.AsyncResult(mail.ID, celeryresults.ForTask(mail.Task)).State(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "closed and opened again:")
	fmt.Fprintf(out, "%s: %s, kept in the database\n", bill.Task, billed)
	fmt.Fprintf(out, "%s: %s, gone with the memory that held it\n", mail.Task, mailed)
	return list(ctx, app, out)
}

// list: a database can be asked which results there are, newest first.
func list(ctx context.Context, app *celeryresults.App, out io.Writer) error {
	page, err := app.BackendFor(bill.Task).List(ctx, celeryresults.Query{Task: "billing.*", Labels: map[string]string{"customer": "acme"}})
	if err != nil {
		return err
	}
	for _, meta := range page.Results {
		args, err := celeryresults.As[[]int](meta.Args)
		if err != nil {
			return err
		}
		_, waited := meta.WaitingTime()
		_, ran := meta.ProcessingTime()
		fmt.Fprintf(out, "of acme: %s%v, %s, with times: %t\n", meta.Name, args, meta.State, waited && ran)
	}
	return nil
}
