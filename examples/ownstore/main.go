// Command ownstore keeps results in a store of its own, a file of bbolt's: store.go has all
// that such a store needs. It takes the folder of the file, by default a temporary one.
//
//	go run . [FOLDER]
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
)

func main() {
	dir, err := os.MkdirTemp("", "ownstore-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if len(os.Args) > 1 {
		dir = os.Args[1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, filepath.Join(dir, "results.bolt"), os.Stdout); err != nil {
		log.Print(err)
	}
}

// open returns an App over the file.
func open(file string) (*celeryresults.App, error) {
	settings := celeryresults.Settings{ResultExpires: 24 * time.Hour, ResultExtended: true}
	store, err := OpenStore(file)
	if err != nil {
		return nil, err
	}
	backend, err := backends.New(store, settings)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	app, err := celeryresults.NewApp(settings, backend, nil)
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return app, nil
}

func run(ctx context.Context, file string, out io.Writer) (err error) {
	app, err := open(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	task := &celeryresults.Request{ID: "d7f6", Task: "shop.add", Args: []any{2, 3}}
	stored := make(chan error, 1)
	go func() { stored <- app.MarkAsDone(ctx, task, 5) }()
	sum, err := celeryresults.Get[int](ctx, app.AsyncResult(task.ID)) // waits
	if err = errors.Join(err, <-stored); err != nil {
		return err
	}
	fmt.Fprintln(out, "sum:", sum)
	fmt.Fprintln(out, "late:", app.UpdateState(ctx, task, "PROGRESS", 50))
	for meta, err := range app.BackendFor(task.Task).Walk(ctx) {
		if err != nil {
			return err
		}
		fmt.Fprintln(out, "in the file:", meta.TaskID, meta.Name, meta.State)
	}
	return nil
}
