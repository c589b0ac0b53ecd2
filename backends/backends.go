// Package backends opens result backends from settings. Which names and URLs there are is in
// internal/schemes, Celery's BACKEND_ALIASES; here is the constructor of each kind.
package backends

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/cachebackend"
	"github.com/celeryresults/celeryresults/backends/dbbackend"
	"github.com/celeryresults/celeryresults/backends/djcelerybackend"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/backends/sqlalchemybackend"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/caches"
	"github.com/celeryresults/celeryresults/cache/locmem"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/internal/document"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

// ErrUnsupported is returned for a result backend of Celery's that this
// library does not have.
var ErrUnsupported = errors.New("backends: unsupported result backend")

// Open validates the settings and opens the application's default backend and
// its named ones (CELERY_RESULT_BACKENDS), with tasks bound to them as
// CELERY_TASK_BACKENDS says. Stores are connected to when they are first used,
// not here. Close the App to release them.
//
// SQL databases need their database/sql driver in the program; see package
// caches and package dbbackend.
func Open(s celeryresults.Settings) (*celeryresults.App, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	o := &opened{settings: s, byName: map[string]*celeryresults.Backend{}}
	fallback, named, err := o.all()
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	app, err := celeryresults.NewApp(s, fallback, named)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return app, nil
}

// opened are backends that were opened, each once.
type opened struct {
	settings celeryresults.Settings
	byName   map[string]*celeryresults.Backend // "" is the default one
}

// all opens the default backend and the named ones, with their fallbacks.
func (o *opened) all() (fallback *celeryresults.Backend, named map[string]*celeryresults.Backend, err error) {
	named = map[string]*celeryresults.Backend{}
	for name := range o.settings.ResultBackends {
		if named[name], err = o.withFallbacks(name); err != nil {
			return nil, nil, err
		}
	}
	if fallback, ok := named[o.settings.ResultBackend]; ok {
		return fallback, named, nil
	}
	fallback, err = o.withFallbacks("")
	return fallback, named, err
}

// withFallbacks opens a backend and those that it reads from, too.
func (o *opened) withFallbacks(name string) (*celeryresults.Backend, error) {
	b, err := o.one(name)
	if err != nil || len(b.Fallbacks()) > 0 {
		return b, err
	}
	for _, other := range o.settings.ResultBackends[cmp.Or(name, o.settings.ResultBackend)].Fallbacks {
		f, err := o.one(other)
		if err != nil {
			return nil, err
		}
		b.AddFallbacks(f)
	}
	return b, nil
}

// one opens a backend, if it is not open.
func (o *opened) one(name string) (*celeryresults.Backend, error) {
	if name == celeryresults.DefaultBackend {
		name = ""
	}
	if _, named := o.settings.ResultBackends[o.settings.ResultBackend]; named {
		name = cmp.Or(name, o.settings.ResultBackend)
	}
	if b, ok := o.byName[name]; ok {
		return b, nil
	}
	b, err := open(o.settings, name)
	if err == nil {
		o.byName[name] = b
	}
	return b, err
}

func (o *opened) close() error {
	var errs []error
	for _, b := range o.byName {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// OpenBackend opens one backend: the named entry of CELERY_RESULT_BACKENDS with
// its fallbacks, or the default backend for the empty name. The caller closes it, and
// with it its fallbacks.
func OpenBackend(s celeryresults.Settings, name string) (*celeryresults.Backend, error) {
	o := &opened{settings: s, byName: map[string]*celeryresults.Backend{}}
	b, err := o.withFallbacks(name)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	for _, f := range b.Fallbacks() {
		b.OnClose(f.Close)
	}
	return b, nil
}

// New returns a Backend over a store of the program's own. A store that is no
// celeryresults.Encoding keeps documents, in the serializer of its Traits or
// result_serializer. Closing the Backend closes the store.
func New(store driver.Store, s celeryresults.Settings) (*celeryresults.Backend, error) {
	if store == nil {
		return nil, errors.New("backends: new: no store")
	}
	encoding, ok := store.(celeryresults.Encoding)
	if !ok {
		documents, err := document.NewEncoding(s, store.Traits())
		if err != nil {
			return nil, err
		}
		encoding = documents
	}
	return celeryresults.NewBackend(store, encoding, s, nil)
}

// open opens one backend by itself.
func open(s celeryresults.Settings, name string) (*celeryresults.Backend, error) {
	s, err := s.Named(name)
	if err != nil {
		return nil, err
	}
	kind, _ := schemes.Of(s.ResultBackend)
	open, ok := openers[kind]
	if !ok {
		return nil, fmt.Errorf("%w %q; supported are %s", ErrUnsupported, mask.URL(s.ResultBackend), schemes.Supported())
	}
	b, err := open(s)
	if err != nil {
		return nil, fmt.Errorf("backends: open %q: %w", mask.URL(s.ResultBackend), err)
	}
	return b, nil
}

// openers has the constructor of each kind.
var openers = map[schemes.Kind]func(celeryresults.Settings) (*celeryresults.Backend, error){
	schemes.Disabled:     openDisabled,
	schemes.DjangoCache:  openDjangoCache,
	schemes.CeleryCache:  openCeleryCache,
	schemes.Redis:        redisbackend.Open,
	schemes.DjangoDB:     dbbackend.Open,
	schemes.SQLAlchemy:   sqlalchemybackend.Open,
	schemes.DjangoCelery: djcelerybackend.Open,
}

func openDjangoCache(s celeryresults.Settings) (*celeryresults.Backend, error) {
	if strings.Contains(s.CacheBackend, "://") {
		return openCeleryCache(s)
	}
	entry, err := s.Cache(s.CacheBackend)
	if err != nil {
		return nil, err
	}
	c, err := caches.Open(entry, s.Databases)
	if err != nil {
		return nil, err
	}
	b, err := cachebackend.New(c, s)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	b.OnClose(c.Close)
	return b, nil
}

// openCeleryCache opens Celery's own cache backend: cache+memcached://a;b/,
// cache+memory://, or the same without cache+ in CELERY_CACHE_BACKEND.
func openCeleryCache(s celeryresults.Settings) (*celeryresults.Backend, error) {
	url := strings.TrimPrefix(s.ResultBackend, "cache+")
	if !strings.Contains(url, "://") || strings.HasPrefix(url, "cache://") {
		url = s.CacheBackend
	}
	store, err := openCeleryStore(url)
	if err != nil {
		return nil, err
	}
	b, err := cachebackend.NewCelery(store, s)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	b.OnClose(store.Close)
	return b, nil
}

// The in-process store of cache+memory:// is one for the process, and bounded,
// as celery.backends.cache.DummyClient.
const (
	celeryMemory      = "celery.backends.cache"
	celeryMemoryLimit = 5000
)

func openCeleryStore(url string) (cache.Store, error) {
	scheme, servers, _ := strings.Cut(url, "://")
	servers = strings.TrimRight(servers, "/")
	switch scheme {
	case "memory":
		if servers != "" {
			return nil, errors.New("backends: memory:// takes no servers and no parameters")
		}
		return locmem.New(celeryMemory, &locmem.Options{MaxEntries: celeryMemoryLimit})
	case "memcached", "memcache", "pylibmc":
		if servers == "" || strings.Contains(servers, "?") {
			return nil, fmt.Errorf("backends: %s:// needs servers, such as memcached://127.0.0.1:11211/, and takes no parameters", scheme)
		}
		return memcached.Open(cache.Settings{Backend: "pylibmc", Location: strings.Split(servers, ";")})
	}
	return nil, fmt.Errorf("backends: unknown cache %q; use memcached://host:port/ or memory://", scheme)
}
