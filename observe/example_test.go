package observe_test

import (
	"context"
	"fmt"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/observe"
)

func Example() {
	ctx := context.Background()
	app, err := backends.Open(celeryresults.Settings{
		ResultBackend: "django-cache", Caches: map[string]cache.Settings{"default": {Backend: "locmem"}},
	})
	if err != nil {
		panic(err)
	}
	app = observe.App(app, observe.Func(func(_ context.Context, e observe.Event) {
		fmt.Println(e.Backend, e.Operation, e.TaskIDs, e.State, e.Ended)
	}))
	defer app.Close()

	task := &celeryresults.Request{ID: "7d3c", Task: "billing.charge"}
	fmt.Println(app.MarkAsDone(ctx, task, 12))
	fmt.Println(app.UpdateState(ctx, task, "PROGRESS", nil))
	fmt.Println(celeryresults.Get[int](ctx, app.AsyncResult("7d3c")))
	// Output:
	// default store [7d3c] SUCCESS ok
	// <nil>
	// default store [7d3c] PROGRESS refused
	// celeryresults: store PROGRESS of task "7d3c" refused: SUCCESS stands
	// default wait [7d3c] SUCCESS ok
	// 12 <nil>
}
