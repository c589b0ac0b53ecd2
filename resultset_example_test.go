package celeryresults_test

import (
	"context"
	"fmt"

	"github.com/celeryresults/celeryresults"
)

// Members of a set may live in different backends. Questions are answered for all
// of them at once, and values come in the order of the members.
func ExampleResultSet() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	set := celeryresults.NewResultSet()
	for i, task := range []string{"shop.add", "shop.add", "billing.charge"} {
		req := &celeryresults.Request{ID: fmt.Sprint("set-", i), Task: task}
		set.Add(app.AsyncResult(req.ID, celeryresults.ForTask(task)))
		if i < 2 {
			_ = app.MarkAsDone(ctx, req, i)
		}
	}
	progress, _ := set.Progress(ctx)
	fmt.Println(progress.Successful, "of", progress.Total)

	_ = app.MarkAsDone(ctx, &celeryresults.Request{ID: "set-2", Task: "billing.charge"}, 2)
	fmt.Println(celeryresults.GetAll[int](ctx, set))
	// Output:
	// 2 of 3
	// [0 1 2] <nil>
}

// Results are taken as they come, each once, whatever became of the task.
func ExampleResultSet_AsCompleted() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	set := celeryresults.NewResultSet(app.AsyncResult("slow"), app.AsyncResult("quick"))
	_ = app.MarkAsDone(ctx, &celeryresults.Request{ID: "quick"}, "first")

	for meta, err := range set.AsCompleted(ctx) {
		if err != nil {
			panic(err)
		}
		fmt.Println(meta.TaskID, meta.State)
		_ = app.MarkAsRevoked(ctx, &celeryresults.Request{ID: "slow"}, "too late")
	}
	// Output:
	// quick SUCCESS
	// slow REVOKED
}

// A group is saved, and restored by whoever knows its id, in Go or in Python.
func ExampleGroupResult() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	group := app.GroupResult("report-7", app.AsyncResult("page-1"), app.AsyncResult("page-2"))
	_ = group.Save(ctx)
	_ = app.MarkAsDone(ctx, &celeryresults.Request{ID: "page-1"}, "…")

	restored, err := app.RestoreGroup(ctx, "report-7")
	if err != nil {
		panic(err)
	}
	n, _ := restored.CompletedCount(ctx)
	fmt.Println(n, "of", restored.Len())
	// Output: 1 of 2
}

// Celery's PENDING is two things: queued, or not known at all.
func ExampleAsyncResult_Lookup() {
	app := openExample()
	defer app.Close()
	ctx := context.Background()
	_ = app.RecordPending(ctx, &celeryresults.Request{ID: "sent"})

	for _, id := range []string{"sent", "never heard of"} {
		r := app.AsyncResult(id)
		state, _ := r.State(ctx)
		phase, _ := r.Lookup(ctx)
		fmt.Println(state, phase)
	}
	// Output:
	// PENDING queued
	// PENDING unknown
}
