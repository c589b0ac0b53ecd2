package web

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"

	"github.com/celeryresults/celeryresults/python"
)

// The counterparts of django-celery's views that send tasks: apply, registered_tasks,
// task_view and task_webhook of djcelery.views.

// Sender sends tasks: the caller's own, over whatever broker there is. Its methods are called by
// many requests at a time.
type Sender interface {
	// Send sends a task with keyword arguments, which are texts as they came in a form, and
	// returns the task's id. ErrUnknownTask is a task that can't be sent.
	Send(ctx context.Context, task string, kwargs map[string]any) (taskID string, err error)

	// Tasks returns the names of the tasks that can be sent, and of those that are sent by
	// themselves from time to time.
	Tasks(ctx context.Context) (regular, periodic []string, err error)
}

// ErrUnknownTask is returned by a Sender for a task that it does not know.
var ErrUnknownTask = errors.New("web: unknown task")

// apply is POST /apply/{task}/.
func (h *Handler) apply(w http.ResponseWriter, r *http.Request) error {
	return h.send(w, r, r.PathValue("task"), nil)
}

// send sends a task with what is in the request and, above that, with kwargs.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, task string, kwargs map[string]any) error {
	if h.options.Sender == nil {
		return refuse(http.StatusNotImplemented, "tasks can't be sent from here")
	}
	if err := parseForm(w, r); err != nil {
		return err
	}
	all := make(map[string]any, len(r.Form)+len(kwargs))
	for name, values := range r.Form {
		if name != "backend" {
			all[name] = values[0]
		}
	}
	for name, value := range kwargs {
		all[name] = value
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	id, err := h.options.Sender.Send(ctx, task, all)
	switch {
	case errors.Is(err, ErrUnknownTask):
		return refuse(http.StatusNotFound, "there is no such task")
	case err != nil:
		return &senderError{err}
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "ok", Value: "true"}, {Key: "task_id", Value: id}})
	return nil
}

// senderError is what a Sender could not do.
type senderError struct{ err error }

func (e *senderError) Error() string { return "send: " + e.err.Error() }
func (e *senderError) Unwrap() error { return e.err }

// mostForm is how large a form may be, in bytes, and mostFields how many fields it may have.
const (
	mostForm   = 64 << 10
	mostFields = 1000
)

// parseForm reads the parameters of the address and the fields of the body, where that is
// a form; fields come first.
func parseForm(w http.ResponseWriter, r *http.Request) error {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // none: there is no body
	if kind != "" && kind != "application/x-www-form-urlencoded" {
		return refuse(http.StatusUnsupportedMediaType, "the body is a form: application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	err := r.ParseForm()
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return refuse(http.StatusRequestEntityTooLarge, "the form has more than %d bytes", mostForm)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "the form can't be read")
	}
	if len(r.Form) > mostFields {
		return refuse(http.StatusBadRequest, "the form has more than %d fields", mostFields)
	}
	return nil
}

// registeredTasks is GET /tasks/.
func (h *Handler) registeredTasks(w http.ResponseWriter, r *http.Request) error {
	if h.options.Sender == nil {
		return refuse(http.StatusNotImplemented, "tasks can't be sent from here")
	}
	ctx, cancel := withPatience(r)
	defer cancel()
	regular, periodic, err := h.options.Sender.Tasks(ctx)
	if err != nil {
		return &senderError{err}
	}
	writeJSON(w, http.StatusOK, python.Dict{{Key: "regular", Value: texts(regular)}, {Key: "periodic", Value: texts(periodic)}})
	return nil
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, text := range slices.Sorted(slices.Values(list)) {
		out[i] = text
	}
	return out
}

// TaskView returns a handler that sends one task, with the fields of the request's form and the
// parameters of its address as keyword arguments, all of them texts, and with kwargs above
// them (django-celery's task_view). It answers {"ok": "true", "task_id": "…"} to POST, asks the
// Handler's authorizer and needs its Sender. Django-celery's answers to GET, too: here nothing is
// sent by following a link.
func (h *Handler) TaskView(task string, kwargs map[string]any) http.Handler {
	sends := h.may(Send, func(w http.ResponseWriter, r *http.Request) error { return h.send(w, r, task, kwargs) })
	mux := http.NewServeMux()
	mux.Handle("POST /", sends)
	return http.NewCrossOriginProtection().Handler(mux)
}

// Webhook returns a handler that answers with what f returns, as {"status": "success", "retval": …}, and
// with its error as {"status": "failure", "reason": "…"} (django-celery's task_webhook; both are
// 200 OK). A panic of f is a failure, too, of which the caller is told nothing more. It
// asks no authorizer: whoever calls it is f's matter. Bodies are limited to 64 KiB.
func Webhook(f func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, mostForm)
		value, err := guarded(f, r)
		if err == nil {
			value, err = python.Plain(value)
		}
		if err != nil {
			writeJSON(w, http.StatusOK, python.Dict{{Key: "status", Value: "failure"}, {Key: "reason", Value: err.Error()}})
			return
		}
		writeJSON(w, http.StatusOK, python.Dict{{Key: "status", Value: "success"}, {Key: "retval", Value: encoded(value, 0)}})
	})
}

var errPanic = errors.New("the function did not end")

func guarded(f func(*http.Request) (any, error), r *http.Request) (value any, err error) {
	defer func() {
		if recover() != nil {
			value, err = nil, errPanic
		}
	}()
	return f(r)
}
