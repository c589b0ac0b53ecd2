package celeryresults_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
)

// openExample returns an App that keeps results in this process.
func openExample() *celeryresults.App {
	app, err := backends.Open(celeryresults.Settings{ResultBackend: "cache+memory://", TaskTrackStarted: true, ResultExtended: true})
	if err != nil {
		panic(err)
	}
	return app
}

// A caller waits for a result and gets it in a type of its own.
func ExampleGet() {
	app := openExample()
	defer app.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	go app.MarkAsDone(ctx, &celeryresults.Request{ID: "get"}, map[string]any{"name": "ann", "age": 33})

	type person struct {
		Name string `json:"name"`
		Age  int    `json:"age"`
	}
	ann, err := celeryresults.Get[person](ctx, app.AsyncResult("get"))
	fmt.Println(ann, err)
	// Output: {ann 33} <nil>
}

// A task's failure is an error value.
func ExampleTaskError() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	_ = app.MarkAsFailure(ctx, &celeryresults.Request{ID: "failed"}, &celeryresults.TaskError{
		Type: "ZeroDivisionError", Module: "builtins", Args: []any{"division by zero"},
	})

	_, err := app.AsyncResult("failed").Get(ctx)
	var failure *celeryresults.TaskError
	fmt.Println(err, errors.As(err, &failure), errors.Is(err, &celeryresults.TaskError{Type: "ZeroDivisionError"}))
	fmt.Println(failure.Module, failure.Args)
	// Output:
	// ZeroDivisionError: division by zero true true
	// builtins [division by zero]
}

// A result that stands is not overwritten, and the late writer learns of it.
func ExampleRefusedError() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	req := &celeryresults.Request{ID: "delivered twice"}
	_ = app.MarkAsDone(ctx, req, "first")

	err := app.MarkAsFailure(ctx, req, errors.New("the second run failed"))
	fmt.Println(errors.Is(err, celeryresults.ErrRefused))
	fmt.Println(err)
	// Output:
	// true
	// celeryresults: store FAILURE of task "delivered twice" refused: SUCCESS stands
}

// Custom states carry progress.
func ExampleApp_UpdateState() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	_ = app.UpdateState(ctx, &celeryresults.Request{ID: "import"}, "PROGRESS", map[string]int{"current": 40, "total": 100})

	meta, _ := app.AsyncResult("import").Meta(ctx)
	progress, _ := celeryresults.As[map[string]int](meta.Result)
	fmt.Println(meta.State, progress["current"], "of", progress["total"])
	// Output: PROGRESS 40 of 100
}

// The example that the library exists for: a generic backend for most tasks,
// and a separate, persistent one for those whose results matter.
func ExampleApp() {
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-cache",
		Caches: map[string]cache.Settings{
			"default": {Location: []string{"generic"}},
			"durable": {Location: []string{"stands for a database here"}},
		},
		ResultBackends: map[string]celeryresults.BackendSettings{
			"persistent": {Backend: "django-cache", CacheBackend: "durable", ResultExpires: celeryresults.Never},
		},
		TaskBackends: map[string]string{"billing.*": "persistent"},
	})
	if err != nil {
		panic(err)
	}
	defer app.Close()
	ctx := context.Background()
	_ = app.MarkAsDone(ctx, &celeryresults.Request{ID: "1", Task: "mail.send"}, "sent")
	_ = app.MarkAsDone(ctx, &celeryresults.Request{ID: "2", Task: "billing.charge"}, "paid")

	for _, task := range []struct{ id, name string }{{"1", "mail.send"}, {"2", "billing.charge"}} {
		got, err := celeryresults.Get[string](ctx, app.AsyncResult(task.id, celeryresults.ForTask(task.name)))
		fmt.Println(task.name, got, err)
	}
	state, _ := app.AsyncResult("2").State(ctx) // the generic backend does not know it
	fmt.Println(state)
	// Output:
	// mail.send sent <nil>
	// billing.charge paid <nil>
	// PENDING
}

// AsyncResult answers by Celery's names; Meta reads everything at once.
func ExampleAsyncResult_Meta() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	_ = app.MarkAsDone(ctx, &celeryresults.Request{
		ID: "meta", Task: "shop.add", Args: []int{2, 3}, Worker: "w1@host", Queue: "celery",
	}, 5)

	meta, err := app.AsyncResult("meta").Meta(ctx)
	if err != nil {
		panic(err)
	}
	args, _ := celeryresults.As[[]int](meta.Args)
	fmt.Println(meta.State, meta.Name, args, meta.Worker, meta.Queue, meta.DateDone.IsZero())
	// Output: SUCCESS shop.add [2 3] w1@host celery false
}
