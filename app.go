package celeryresults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/celeryresults/celeryresults/internal/pattern"
)

// App knows the backends of one application and which of them each task uses.
// Make one with NewApp or backends.Open. Its methods are safe for concurrent use.
type App struct {
	settings Settings
	fallback *Backend
	named    map[string]*Backend

	mu       sync.RWMutex
	bindings []binding // by precedence, best first; guarded by mu
}

type binding struct {
	pattern string
	backend *Backend
}

// NewApp returns an App over open backends: the default one, and the named
// ones to which settings.TaskBackends may bind tasks. Of the settings it uses
// only what concerns tasks. The App owns the backends: Close closes them.
//
// backends.Open makes an App from settings alone.
func NewApp(settings Settings, fallback *Backend, named map[string]*Backend) (*App, error) {
	if fallback == nil {
		return nil, errors.New("celeryresults: new app: no default backend")
	}
	for name, backend := range named {
		if backend == nil {
			return nil, fmt.Errorf("celeryresults: new app: backend %q is nil", name)
		}
	}
	a := &App{settings: settings, fallback: fallback, named: named}
	for task, name := range settings.TaskBackends {
		backend, err := a.Backend(name)
		if err != nil {
			return nil, fmt.Errorf("celeryresults: CELERY_TASK_BACKENDS.%s: %w", task, err)
		}
		if err := a.Bind(task, backend); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// AddHook lets every backend of the App be observed (package observe): hook is called once
// for each, with its name: DefaultBackend, a named one's, or the pattern of a binding to one
// without a name. Call it before the backends are used.
func (a *App) AddHook(hook func(backend string) Hook) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	seen := map[*Backend]bool{}
	add := func(name string, b *Backend) {
		if !seen[b] {
			seen[b] = true
			b.AddHook(hook(name))
		}
	}
	add(DefaultBackend, a.fallback)
	for _, name := range a.BackendNames() {
		add(name, a.named[name])
	}
	for _, b := range a.bindings {
		add(b.pattern, b.backend)
	}
}

// Settings returns what the App was made with.
func (a *App) Settings() Settings { return a.settings }

// Backend returns the named backend. The empty name is the default one. An
// unknown name is ErrUnknownBackend, with the known ones listed.
func (a *App) Backend(name string) (*Backend, error) {
	if name == "" {
		return a.fallback, nil
	}
	if b, ok := a.named[name]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%w %q; known are %s", ErrUnknownBackend, name, names(a.named))
}

// BackendNames returns the names of the named backends, sorted.
func (a *App) BackendNames() []string { return sortedNames(a.named) }

// Bind makes the tasks that a name or pattern means use the backend: an exact task
// name, or text in which * stands for any text and ? for one character. An
// exact name beats a pattern and a longer pattern a shorter one; binding the
// same pattern again replaces it.
func (a *App) Bind(tasks string, backend *Backend) error {
	if tasks == "" || backend == nil {
		return fmt.Errorf("celeryresults: bind %q: needs a task name and a backend", tasks)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(a.bindings), func(b binding) bool { return b.pattern == tasks })
	list = append(list, binding{tasks, backend})
	slices.SortFunc(list, func(x, y binding) int { return comparePatterns(x.pattern, y.pattern) })
	a.bindings = list
	return nil
}

// comparePatterns orders patterns by precedence.
func comparePatterns(x, y string) int {
	switch {
	case pattern.Is(x) != pattern.Is(y):
		if pattern.Is(x) {
			return 1
		}
		return -1
	case len(x) != len(y):
		return len(y) - len(x)
	}
	return strings.Compare(x, y)
}

// BackendFor returns the backend of the named task.
func (a *App) BackendFor(task string) *Backend {
	a.mu.RLock()
	bindings := a.bindings
	a.mu.RUnlock()
	for _, b := range bindings {
		if pattern.Matches(b.pattern, task) {
			return b.backend
		}
	}
	return a.fallback
}

// AsyncResult returns a handle on the task's result, which asks the default
// backend unless an option says otherwise. Nothing is read yet.
func (a *App) AsyncResult(taskID string, options ...ResultOption) *AsyncResult {
	r := NewAsyncResult(taskID, a.fallback)
	for _, option := range options {
		option(a, r)
	}
	return r
}

// ResultOption chooses the backend that an AsyncResult asks.
type ResultOption func(*App, *AsyncResult)

// ForTask asks the backend that the named task uses.
func ForTask(name string) ResultOption {
	return func(a *App, r *AsyncResult) { r.backend = a.BackendFor(name) }
}

// From asks the given backend.
func From(backend *Backend) ResultOption {
	return func(_ *App, r *AsyncResult) { r.backend = backend }
}

// FromNamed asks the named backend. An unknown name is reported by the
// handle's first read.
func FromNamed(name string) ResultOption {
	return func(a *App, r *AsyncResult) {
		backend, err := a.Backend(name)
		r.backend, r.err = backend, err
	}
}

// Close ends all waits, and closes every backend that the App knows, once each.
func (a *App) Close() error {
	var errs []error
	for _, b := range a.backends() {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// backends returns every backend that the App knows, once each.
func (a *App) backends() []*Backend {
	a.mu.RLock()
	defer a.mu.RUnlock()
	var list []*Backend
	add := func(b *Backend) {
		if !slices.Contains(list, b) {
			list = append(list, b)
		}
	}
	add(a.fallback)
	for _, name := range a.BackendNames() {
		add(a.named[name])
	}
	for _, b := range a.bindings {
		add(b.backend)
	}
	return list
}

// Cleanup removes expired results from every backend whose store does not do
// so by itself, and returns how many (Celery's backend_cleanup task).
func (a *App) Cleanup(ctx context.Context) (int64, error) {
	var total int64
	for _, b := range a.backends() {
		n, err := b.Cleanup(ctx)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
