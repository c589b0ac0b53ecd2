package gophercelery_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/adapters/gophercelery"
	"github.com/celeryresults/celeryresults/backends"
)

// What follows has the shapes of gopher-celery's types of these names, by which the
// package goes.

type (
	TaskF      func(ctx context.Context, p *TaskParam) error
	Middleware func(next TaskF) TaskF
)

type TaskParam struct {
	args   []any
	kwargs map[string]any
}

func (p *TaskParam) Args() []any            { return p.args }
func (p *TaskParam) Kwargs() map[string]any { return p.kwargs }

// queue is a broker in memory.
type queue [][]byte

func (q *queue) Send(msg []byte, _ string) error { *q = append(*q, msg); return nil }
func (q *queue) Observe([]string) error          { return nil }
func (q *queue) Receive() ([]byte, error) {
	if len(*q) == 0 {
		return nil, nil
	}
	msg := (*q)[0]
	*q = (*q)[1:]
	return msg, nil
}

// message is one of Celery's protocol 2, as kombu writes it.
func message(id, task, body string) []byte {
	return fmt.Appendf(nil, `{"body": %q, "content-encoding": "utf-8", "content-type": "application/json",
		"headers": {"lang": "py", "task": %q, "id": %q, "root_id": "root", "parent_id": "parent", "group": "group", "retries": 2, "argsrepr": "(2, 3)"},
		"properties": {"correlation_id": %q, "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "body_encoding": "base64"}}`,
		base64.StdEncoding.EncodeToString([]byte(body)), task, id, id)
}

// work runs the next message as gopher-celery's worker does.
func work(t *testing.T, broker gophercelery.Broker, middleware Middleware, tasks map[string]TaskF) (err error) {
	t.Helper()
	raw, err := broker.Receive()
	if err != nil || raw == nil {
		t.Fatal("no message", err)
	}
	var envelope struct {
		Headers struct{ Task string }
		Body    []byte
	}
	if err := json.Unmarshal(raw, &envelope); err != nil {
		t.Fatal(err)
	}
	p, name := &TaskParam{}, envelope.Headers.Task
	if envelope.Body[0] == '[' {
		parts := []any{&p.args, &p.kwargs}
		if err := json.Unmarshal(envelope.Body, &parts); err != nil {
			t.Fatal(err)
		}
	} else {
		var v1 struct {
			Task   string
			Args   []any
			Kwargs map[string]any
		}
		if err := json.Unmarshal(envelope.Body, &v1); err != nil {
			t.Fatal(err)
		}
		name, p.args, p.kwargs = v1.Task, v1.Args, v1.Kwargs
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("unexpected task error: %v", r)
		}
	}()
	return middleware(tasks[name])(t.Context(), p)
}

func open(t *testing.T) *celeryresults.App {
	t.Helper()
	app, err := backends.Open(celeryresults.Settings{ResultBackend: "cache+memory://", ResultExtended: true, TaskTrackStarted: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { app.Close() })
	return app
}

func TestTasksAreReported(t *testing.T) {
	app, q := open(t), &queue{}
	broker := gophercelery.NewBroker(q)
	var middleware Middleware = gophercelery.Middleware[TaskF](app)
	var seen map[string]any
	tasks := map[string]TaskF{
		"add": func(ctx context.Context, p *TaskParam) error {
			meta, err := app.AsyncResult("task-1").Meta(ctx)
			if err != nil || meta.State != celeryresults.Started {
				t.Errorf("%+v, %v", meta, err)
			}
			seen = p.Kwargs()
			gophercelery.SetResult(ctx, p.Args()[0].(float64)+p.Args()[1].(float64))
			return nil
		},
		"fail":  func(context.Context, *TaskParam) error { return errors.New("no") },
		"panic": func(context.Context, *TaskParam) error { panic("oh") },
	}
	q.Send(message("task-1", "add", `[[2, 3], {"precise": 9007199254740993}, {"callbacks": null}]`), "celery")
	if err := work(t, broker, middleware, tasks); err != nil {
		t.Fatal(err)
	}
	meta, err := app.AsyncResult("task-1").Meta(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := meta.Result.Any()
	if err != nil || sum != 5.0 || meta.State != celeryresults.Success || meta.Name != "add" || meta.ParentID != "parent" || meta.GroupID != "group" ||
		meta.Retries != 2 || meta.Queue != "celery" || !strings.HasPrefix(meta.Worker, "gopher-celery@") {
		t.Fatalf("%v, %v: %+v", sum, err, meta)
	}
	if len(seen) != 1 || seen["precise"] == nil {
		t.Fatalf("the task sees its own arguments alone: %v", seen)
	}

	q.Send(message("task-2", "fail", `[[], {}, {}]`), "celery")
	if err := work(t, broker, middleware, tasks); err == nil || err.Error() != "no" {
		t.Fatal(err)
	}
	if _, err := app.AsyncResult("task-2").Get(t.Context()); err == nil || !strings.Contains(err.Error(), "no") {
		t.Fatal(err)
	}

	q.Send(message("task-3", "panic", `[[], null, {}]`), "celery")
	if err := work(t, broker, middleware, tasks); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Fatal(err)
	}
	meta, err = app.AsyncResult("task-3").Meta(t.Context())
	if err != nil || meta.State != celeryresults.Failure || !strings.Contains(meta.Traceback, "gophercelery_test.go") {
		t.Fatalf("%+v, %v", meta, err)
	}

	// The same task delivered again: what stands counts, and the worker is told.
	q.Send(message("task-1", "fail", `[[], {}, {}]`), "celery")
	if err := work(t, broker, middleware, tasks); !errors.Is(err, celeryresults.ErrRefused) {
		t.Fatal(err)
	}
}

func TestProtocol1(t *testing.T) {
	app, q := open(t), &queue{}
	body := base64.StdEncoding.EncodeToString([]byte(`{"task": "add", "id": "old", "args": [], "kwargs": {}, "retries": 1}`))
	q.Send(fmt.Appendf(nil, `{"body": %q, "headers": {}, "properties": {"body_encoding": "base64"}}`, body), "celery")
	err := work(t, gophercelery.NewBroker(q), Middleware(gophercelery.Middleware[TaskF](app)), map[string]TaskF{
		"add": func(context.Context, *TaskParam) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := app.AsyncResult("old").Meta(t.Context())
	if err != nil || meta.State != celeryresults.Success || meta.Retries != 1 || meta.Name != "add" {
		t.Fatalf("%+v, %v", meta, err)
	}
}

func TestABrokerThatIsNotWrapped(t *testing.T) {
	app, q, ran := open(t), &queue{}, false
	q.Send(message("task", "add", `[[], {}, {}]`), "celery")
	err := work(t, q, Middleware(gophercelery.Middleware[TaskF](app)), map[string]TaskF{
		"add": func(ctx context.Context, _ *TaskParam) error {
			ran = true
			if gophercelery.SetResult(ctx, 1) {
				t.Error("nobody takes the result")
			}
			return nil
		},
	})
	if !errors.Is(err, gophercelery.ErrNoBroker) || !ran {
		t.Fatal(err, ran)
	}
}

func TestMessagesThatAreNoneStayAsTheyAre(t *testing.T) {
	for _, raw := range []string{
		``, `{`, `[]`, `{}`, `{"body": 5}`, `{"body": "!"}`, `{"body": "W10="}`, `{"body": "e30=", "headers": []}`, `{"body": "W1tdLCA1XQ==", "headers": {"id": "a"}}`,
		`{"body": "W1tdLCB7fV0=", "headers": {}}`, `{"body": "eyJpZCI6IDV9"}`,
	} {
		q := &queue{[]byte(raw)}
		got, err := gophercelery.NewBroker(q).Receive()
		if err != nil || string(got) != raw {
			t.Errorf("%q became %q, %v", raw, got, err)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(message("task-1", "add", `[[2, 3], {}, {}]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := &queue{raw}
		if _, err := gophercelery.NewBroker(q).Receive(); err != nil {
			t.Fatal(err)
		}
	})
}
