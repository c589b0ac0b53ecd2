// Package gophercelery lets workers of github.com/marselester/gopher-celery report what
// becomes of their tasks: STARTED (with task_track_started), and then SUCCESS or FAILURE,
// to any backend of celeryresults. gopher-celery itself stores nothing.
//
// Its middlewares are told neither the task's id nor its parents, so the broker is
// wrapped, too, and puts them where the middleware finds them:
//
//	app := celery.NewApp(
//		celery.WithBroker(gophercelery.NewBroker(redis.NewBroker())),
//		celery.WithMiddlewares(gophercelery.Middleware[celery.TaskF](results)),
//	)
//
// The package needs no module but celeryresults: it goes by the shapes of gopher-celery's
// types, not by their names, and so fits all of its releases and forks that have them.
package gophercelery

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"

	"github.com/celeryresults/celeryresults"
)

// Broker is gopher-celery's.
type Broker interface {
	Send(msg []byte, queue string) error
	Observe(queues []string) error
	Receive() ([]byte, error)
}

// MarkingBroker is a Broker that puts what identifies a task among its keyword arguments,
// for Middleware to take out again. Make one with NewBroker.
type MarkingBroker struct{ Broker }

// NewBroker wraps a broker of gopher-celery.
func NewBroker(next Broker) *MarkingBroker { return &MarkingBroker{next} }

// mark is the keyword argument that a task never sees.
const mark = "celeryresults.request"

// request is what a message says of a task beside its name and arguments, under the names
// of Celery's headers.
type request struct {
	ID       string `json:"id"`
	Task     string `json:"task"`
	ParentID string `json:"parent_id,omitempty"`
	RootID   string `json:"root_id,omitempty"`
	GroupID  string `json:"group,omitempty"`
	Retries  int    `json:"retries,omitempty"`
	Queue    string `json:"queue,omitempty"`
}

// Receive returns the next message, marked. One that it does not understand is returned as
// it is.
func (b *MarkingBroker) Receive() ([]byte, error) {
	message, err := b.Broker.Receive()
	if err != nil || message == nil {
		return message, err
	}
	if marked, err := marked(message); err == nil {
		message = marked
	}
	return message, nil
}

var errMessage = errors.New("gophercelery: no message of Celery's in JSON")

// marked adds the mark to a message of Celery's protocol 2 or 1.
func marked(message []byte) ([]byte, error) {
	var envelope map[string]json.RawMessage
	var encoded string
	if err := json.Unmarshal(message, &envelope); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(envelope["body"], &encoded); err != nil {
		return nil, err
	}
	body, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	var r request
	if headers := envelope["headers"]; headers != nil {
		if err := json.Unmarshal(headers, &r); err != nil {
			return nil, err
		}
	}
	var properties struct {
		Delivery struct {
			Queue string `json:"routing_key"`
		} `json:"delivery_info"`
	}
	if json.Unmarshal(envelope["properties"], &properties) == nil {
		r.Queue = properties.Delivery.Queue
	}
	if body, err = markBody(bytes.TrimSpace(body), r); err != nil {
		return nil, err
	}
	if envelope["body"], err = json.Marshal(base64.StdEncoding.EncodeToString(body)); err != nil {
		return nil, err
	}
	return json.Marshal(envelope)
}

// markBody adds the mark to a body: of protocol 2 a list of args, kwargs and more, of
// protocol 1 a mapping that has the id, too.
func markBody(body []byte, r request) ([]byte, error) {
	if bytes.HasPrefix(body, []byte("[")) {
		var parts []json.RawMessage
		if err := json.Unmarshal(body, &parts); err != nil || len(parts) < 2 || r.ID == "" {
			return nil, errors.Join(errMessage, err)
		}
		kwargs, err := markKwargs(parts[1], r)
		if err != nil {
			return nil, err
		}
		parts[1] = kwargs
		return json.Marshal(parts)
	}
	var task map[string]json.RawMessage
	if err := json.Unmarshal(body, &task); err != nil {
		return nil, err
	}
	if err := errors.Join(json.Unmarshal(task["id"], &r.ID), json.Unmarshal(task["task"], &r.Task)); err != nil || r.ID == "" {
		return nil, errors.Join(errMessage, err)
	}
	if retries := task["retries"]; retries != nil {
		_ = json.Unmarshal(retries, &r.Retries) // 0 where it is something else
	}
	kwargs, err := markKwargs(task["kwargs"], r)
	if err != nil {
		return nil, err
	}
	task["kwargs"] = kwargs
	return json.Marshal(task)
}

func markKwargs(kwargs json.RawMessage, r request) (json.RawMessage, error) {
	named := map[string]json.RawMessage{}
	if kwargs != nil {
		if err := json.Unmarshal(kwargs, &named); err != nil {
			return nil, err
		}
	}
	if named == nil { // it was null
		named = map[string]json.RawMessage{}
	}
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	named[mark] = data
	return json.Marshal(named)
}

// Param is gopher-celery's *TaskParam.
type Param interface {
	Args() []any
	Kwargs() map[string]any
}

// ErrNoBroker is returned for a task that came over a broker that NewBroker did not wrap:
// it has run, and nothing is known to report.
var ErrNoBroker = errors.New("gophercelery: the task has no id: wrap the broker with gophercelery.NewBroker")

// Middleware reports tasks to the backends that the App binds them to. F is gopher-celery's
// TaskF. A task that panics is reported as FAILURE, with its stack, and panics on. What
// SetResult gave is the task's result, None if it gave nothing. A report that the backend
// refuses, as another final result stands, or that fails, is joined to the task's error,
// which gopher-celery logs; the task runs all the same.
func Middleware[F ~func(context.Context, P) error, P Param](app *celeryresults.App) func(F) F {
	host, _ := os.Hostname()
	return func(next F) F {
		return func(ctx context.Context, p P) (err error) {
			r, ok := take(p)
			if !ok {
				return errors.Join(next(ctx, p), ErrNoBroker)
			}
			r.Worker, r.Args, r.Kwargs = "gopher-celery@"+host, p.Args(), p.Kwargs()
			// The result is reported also where the worker is told to end meanwhile.
			reporting := context.WithoutCancel(ctx)
			started := app.MarkAsStarted(ctx, r)
			given := &result{}
			defer func() {
				if fault := recover(); fault != nil {
					failure := &celeryresults.TaskError{
						Type: "RuntimeError", Module: "builtins", Args: []any{fmt.Sprint("panic: ", fault)}, Traceback: string(debug.Stack()),
					}
					_ = app.MarkAsFailure(reporting, r, failure) // the panic says more
					panic(fault)
				}
			}()
			if err = next(context.WithValue(ctx, resultKey{}, given), p); err != nil {
				return errors.Join(err, started, app.MarkAsFailure(reporting, r, err))
			}
			return errors.Join(started, app.MarkAsDone(reporting, r, given.get()))
		}
	}
}

// take takes the mark out of the keyword arguments.
func take(p Param) (*celeryresults.Request, bool) {
	kwargs := p.Kwargs()
	marked, ok := kwargs[mark].(map[string]any)
	if !ok {
		return nil, false
	}
	delete(kwargs, mark)
	data, err := json.Marshal(marked)
	var r request
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil || r.ID == "" {
		return nil, false
	}
	return &celeryresults.Request{ID: r.ID, Task: r.Task, ParentID: r.ParentID, RootID: r.RootID, GroupID: r.GroupID, Retries: r.Retries, Queue: r.Queue}, true
}

type resultKey struct{}

// result is what a task gives, from any of its goroutines.
type result struct {
	mu    sync.Mutex
	value any
}

func (r *result) get() any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value
}

// SetResult gives the result of the task that runs with the context, as gopher-celery's
// tasks return but an error. It reports whether Middleware is there to store it.
func SetResult(ctx context.Context, value any) bool {
	r, ok := ctx.Value(resultKey{}).(*result)
	if ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.value = value
	}
	return ok
}
