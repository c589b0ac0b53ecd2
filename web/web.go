// Package web serves results over HTTP: the URLs and JSON of django-celery-results, an
// API for programs with long polls and server-sent events, and a page for people, which
// works without JavaScript.
//
//	results, err := web.New(web.Options{App: app, Authorize: web.Token(secret)})
//	http.Handle("/results/", http.StripPrefix("/results", results))
//
// Nothing is answered without an authorizer. What results contain is hostile: it is
// escaped wherever it is shown, and no payload is an error of the server.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/python"
)

// Action is what a request wants.
type Action int

// The actions.
const (
	Read   Action = iota // results, lists and groups
	Forget               // delete a result
	Send                 // send a task
)

// Authorizer decides whether a request may do something. It returns nil, ErrUnauthorized
// for somebody who must say who they are, or ErrForbidden; any other error is the server's.
type Authorizer func(r *http.Request, action Action) error

// The errors of an Authorizer.
var (
	ErrUnauthorized = errors.New("web: unauthorized")
	ErrForbidden    = errors.New("web: forbidden")
)

// Options are what New takes.
type Options struct {
	// App has the backends. A request names one of its named ones by the parameter
	// backend; otherwise it is the default one.
	App *celeryresults.App

	// Authorize decides about every request. Nil refuses all of them.
	Authorize Authorizer

	// AllowForget lets requests delete results. Default: false.
	AllowForget bool

	// ShowTracebacks shows tracebacks, which tell of a program's insides. Default:
	// false.
	ShowTracebacks bool

	// UnknownIs404 answers django-celery-results' URLs with 404 for tasks and groups
	// that nobody knows, instead of with PENDING and an empty group. Default: false.
	UnknownIs404 bool

	// Redact are names of keyword arguments, and of entries of the caller's own metadata, whose
	// values are shown as ***, in any depth and case. Positional arguments are then shown as ***, too, as they have
	// no names. Default: none.
	Redact []string

	// Sender sends tasks, for the URLs of django-celery: POST apply/<task>/ and GET tasks/. Nil:
	// these are answered with 501.
	Sender Sender

	// MaxWait is the longest ?wait= and event stream. Default: a minute; 30 minutes
	// for streams.
	MaxWait time.Duration

	// Log is where errors of stores are told. Default: slog.Default().
	Log *slog.Logger
}

// defaultWait and streamWait are the defaults of Options.MaxWait.
const (
	defaultWait = time.Minute
	streamWait  = 30 * time.Minute
)

// Handler serves results. Make one with New. It is safe for concurrent use.
type Handler struct {
	options Options
	mux     *http.ServeMux
	guarded http.Handler // mux, behind what keeps other sites away
	page    *page
	counts  *counts
	closing context.Context // ends with Close
	close   context.CancelFunc
}

//go:embed static templates openapi.json
var files embed.FS

// New returns a handler, or an error without an App. Mount it under a prefix with
// http.StripPrefix; links are relative.
func New(o Options) (*Handler, error) {
	if o.App == nil {
		return nil, errors.New("web: no App")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	pages, err := newPage()
	if err != nil {
		return nil, fmt.Errorf("web: %w", err)
	}
	h := &Handler{options: o, mux: http.NewServeMux(), page: pages}
	h.closing, h.close = context.WithCancel(context.Background())
	h.counts = newCounts(h.closing)
	h.routes()
	h.guarded = http.NewCrossOriginProtection().Handler(h.mux)
	return h, nil
}

// Close ends event streams and long polls, whose clients ask again, and lets all other
// requests end by themselves: for http.Server.RegisterOnShutdown. It returns nil.
func (h *Handler) Close() error {
	h.close()
	return nil
}

// upTo returns a context that ends with the request, after that time, or with Close.
func (h *Handler) upTo(r *http.Request, longest time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), longest)
	stop := context.AfterFunc(h.closing, cancel)
	return ctx, func() { stop(); cancel() }
}

// route is what is answered to whom the authorizer lets.
type route struct {
	pattern string
	action  Action
	answer  func(http.ResponseWriter, *http.Request) error
}

func (h *Handler) table() []route {
	return []route{
		// django_celery_results.urls, and the older forms with the id first.
		{"GET /task/done/{id}/{$}", Read, h.taskDone},
		{"GET /task/status/{id}/{$}", Read, h.taskStatus},
		{"GET /group/done/{id}/{$}", Read, h.groupDone},
		{"GET /group/status/{id}/{$}", Read, h.groupStatus},
		{"GET /{id}/done/{$}", Read, h.taskDone},
		{"GET /{id}/status/{$}", Read, h.taskStatus},
		{"GET /{id}/group/done/{$}", Read, h.groupDone},
		{"GET /{id}/group/status/{$}", Read, h.groupStatus},
		// djcelery.urls and djcelery.views.
		{"POST /apply/{task}/{$}", Send, h.apply},
		{"GET /tasks/{$}", Read, h.registeredTasks},

		{"GET /api/tasks", Read, h.listTasks},
		{"GET /api/tasks/{id}", Read, h.getTask},
		{"GET /api/tasks/{id}/events", Read, h.taskEvents},
		{"DELETE /api/tasks/{id}", Forget, h.forgetTask},
		{"GET /api/groups/{id}", Read, h.getGroup},
		{"GET /api/groups/{id}/events", Read, h.groupEvents},
		{"GET /api/stats", Read, h.getStats},

		{"GET /{$}", Read, h.listPage},
		{"GET /overview", Read, h.overviewPage},
		{"GET /tasks/{id}", Read, h.taskPage},
		{"GET /groups/{id}", Read, h.groupPage},
		{"POST /tasks/{id}/forget", Forget, h.forgetForm},
	}
}

func (h *Handler) routes() {
	for _, r := range h.table() {
		h.mux.Handle(r.pattern, h.may(r.action, r.answer))
	}
	h.mux.HandleFunc("GET /api/openapi.json", serveFile("openapi.json", "application/json"))
	h.mux.HandleFunc("GET /static/page.css", serveFile("static/page.css", "text/css; charset=utf-8"))
	h.mux.HandleFunc("GET /static/page.js", serveFile("static/page.js", "text/javascript; charset=utf-8"))
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.guarded.ServeHTTP(w, r)
}

func serveFile(name, contentType string) http.HandlerFunc {
	data, err := files.ReadFile(name)
	sum := sha256.Sum256(data)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		if matches(r, etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("ETag", etag)
		_, _ = w.Write(data) // the client may have gone
	}
}

// statusError is an error whose status and text the client is told.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func refuse(status int, format string, args ...any) error {
	return &statusError{status, fmt.Sprintf(format, args...)}
}

// may answers a request that the authorizer allows, and all errors.
func (h *Handler) may(action Action, f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		err := h.authorize(r, action)
		if err == nil {
			err = f(w, r)
		}
		if err != nil {
			h.fail(w, r, err)
		}
	})
}

func (h *Handler) authorize(r *http.Request, action Action) error {
	if h.options.Authorize == nil {
		return fmt.Errorf("%w: there is no authorizer", ErrForbidden)
	}
	if err := h.options.Authorize(r, action); err != nil {
		return err
	}
	if action == Forget && !h.options.AllowForget {
		return fmt.Errorf("%w: results are only read here", ErrForbidden)
	}
	return nil
}

// fail answers with an error, to programs in JSON. What a store says is told to the log
// alone.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusBadGateway, "the store of results did not answer"
	told, isTold := errors.AsType[*statusError](err)
	switch {
	case isTold:
		status, text = told.status, told.text
	case errors.Is(err, ErrUnauthorized):
		status, text = http.StatusUnauthorized, "who are you?"
		w.Header().Set("WWW-Authenticate", `Basic realm="celery results", charset="UTF-8"`)
	case errors.Is(err, ErrForbidden):
		status, text = http.StatusForbidden, "you may not do this"
	case r.Context().Err() != nil:
		return // nobody listens
	case isBadID(err), errors.Is(err, celeryresults.ErrCursor):
		status, text = http.StatusBadRequest, "the store can't have such an id or cursor"
	case errors.Is(err, celeryresults.ErrUnknownBackend):
		status, text = http.StatusNotFound, "there is no such backend"
	case errors.Is(err, celeryresults.ErrUnknownGroup):
		status, text = http.StatusNotFound, "nobody knows this group"
	case errors.Is(err, errors.ErrUnsupported):
		status, text = http.StatusNotImplemented, "this store can't do that"
	case isSender(err):
		text = "the task could not be sent"
		fallthrough
	default:
		h.options.Log.ErrorContext(r.Context(), "celery results", "path", r.URL.Path, "error", err)
	}
	if strings.HasPrefix(r.URL.Path, "/api/") || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		writeJSON(w, status, python.Dict{{Key: "error", Value: text}})
		return
	}
	h.page.error(w, r, status, text)
}

func isSender(err error) bool {
	_, ok := errors.AsType[*senderError](err)
	return ok
}

func isBadID(err error) bool {
	return errors.Is(err, celeryresults.ErrBadID) || errors.Is(err, celeryresults.ErrNoTaskID) || errors.Is(err, cache.ErrBadKey)
}

// writeJSON answers with a value of package python.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(python.JSON(nil, value), '\n')) // the client may have gone
}

// backend returns the backend that a request asks.
func (h *Handler) backend(r *http.Request) (*celeryresults.Backend, error) {
	return h.options.App.Backend(r.URL.Query().Get("backend"))
}

// matches reports whether the client has what the tag stands for.
func matches(r *http.Request, etag string) bool {
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			return true
		}
	}
	return false
}

// tagOf returns the entity tag of a body.
func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:12]) + `"`
}

// shown returns the fields of a result as they may be seen.
func (h *Handler) shown(meta *celeryresults.TaskMeta) python.Dict {
	fields, err := meta.Plain()
	shown := make(python.Dict, 0, len(fields)+2)
	for _, f := range fields {
		switch f.Key {
		case "traceback":
			if !h.options.ShowTracebacks {
				f.Value = nil
			}
		case "args", "task_args", "task_kwargs":
			if len(h.options.Redact) > 0 && f.Value != nil {
				f.Value = python.Redacted
			}
		case "kwargs", "meta":
			f.Value = h.redacted(f.Value)
		}
		shown = append(shown, f)
	}
	shown = append(shown, python.Pair{Key: "phase", Value: meta.Phase().String()})
	if err != nil {
		shown = append(shown, python.Pair{Key: "error", Value: "something of this record can't be decoded"})
	}
	return shown
}

// redacted hides the values of names that are not to be seen, and the text of arguments that
// were not kept.
func (h *Handler) redacted(v any) any {
	if _, text := v.(string); text && len(h.options.Redact) > 0 {
		return python.Redacted
	}
	return python.Redact(v, h.options.Redact)
}

// Token returns an Authorizer that takes requests with the secret as a bearer token, or as
// the password of any user in basic authentication, which browsers ask for. An empty secret
// takes nothing.
func Token(secret string) Authorizer {
	want := sha256.Sum256([]byte(secret))
	return func(r *http.Request, _ Action) error {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			_, given, _ = r.BasicAuth()
		}
		got := sha256.Sum256([]byte(given))
		if secret == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return ErrUnauthorized
		}
		return nil
	}
}

// Anybody is an Authorizer that takes every request, for servers that nobody else reaches.
func Anybody(*http.Request, Action) error { return nil }

// patience bounds what a request asks a store.
const patience = 30 * time.Second

func withPatience(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience)
}
