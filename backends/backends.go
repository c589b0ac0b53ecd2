// Package backends opens result backends from settings: it is the one table
// from a URL scheme or alias to a constructor, Celery's BACKEND_ALIASES.
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
	o := &opened{settings: s, byName: map[string]celeryresults.Backend{}}
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
	byName   map[string]celeryresults.Backend // without their fallbacks; "" is the default one
}

// all opens the default backend and the named ones, with their fallbacks.
func (o *opened) all() (fallback celeryresults.Backend, named map[string]celeryresults.Backend, err error) {
	named = map[string]celeryresults.Backend{}
	for name := range o.settings.ResultBackends {
		if named[name], err = o.chain(name); err != nil {
			return nil, nil, err
		}
	}
	if fallback, ok := named[o.settings.ResultBackend]; ok {
		return fallback, named, nil
	}
	fallback, err = o.chain("")
	return fallback, named, err
}

// chain returns a backend that reads from its fallbacks, too.
func (o *opened) chain(name string) (celeryresults.Backend, error) {
	primary, err := o.one(name)
	if err != nil {
		return nil, err
	}
	var fallbacks []celeryresults.Backend
	for _, other := range o.settings.ResultBackends[cmp.Or(name, o.settings.ResultBackend)].Fallbacks {
		b, err := o.one(other)
		if err != nil {
			return nil, err
		}
		fallbacks = append(fallbacks, b)
	}
	if fallbacks == nil {
		return primary, nil
	}
	return celeryresults.NewChain(primary, fallbacks...), nil
}

// one opens a backend, if it is not open.
func (o *opened) one(name string) (celeryresults.Backend, error) {
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
// its fallbacks, or the default backend for the empty name. The caller closes it.
func OpenBackend(s celeryresults.Settings, name string) (celeryresults.Backend, error) {
	o := &opened{settings: s, byName: map[string]celeryresults.Backend{}}
	b, err := o.chain(name)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	if chain, ok := b.(*celeryresults.Chain); ok {
		return ownedChain{chain, o}, nil
	}
	return b, nil
}

// ownedChain is a chain that closes its fallbacks.
type ownedChain struct {
	*celeryresults.Chain
	opened *opened
}

// Close ends the waits and closes all backends of the chain.
func (c ownedChain) Close() error { return errors.Join(c.Chain.Close(), c.opened.close()) }

// open opens one backend by itself.
func open(s celeryresults.Settings, name string) (celeryresults.Backend, error) {
	s, err := s.Named(name)
	if err != nil {
		return nil, err
	}
	scheme := s.ResultBackend
	if scheme == "" {
		scheme = "disabled"
	}
	if before, _, ok := strings.Cut(scheme, "://"); ok {
		scheme, _, _ = strings.Cut(before, "+")
	}
	open, ok := openers[scheme]
	if !ok {
		return nil, fmt.Errorf("%w %q; supported are redis://, rediss://, redis+socket://, sentinel://, redis+cluster://, db+postgresql://, db+mysql://, db+sqlite://, django-db, django-cache, django-celery (to read), cache+memcached://, cache+memory:// and disabled",
			ErrUnsupported, celeryresults.MaskURL(s.ResultBackend))
	}
	b, err := open(s)
	if err != nil {
		return nil, fmt.Errorf("backends: open %q: %w", celeryresults.MaskURL(s.ResultBackend), err)
	}
	return b, nil
}

// openers is the table.
var openers = map[string]func(celeryresults.Settings) (celeryresults.Backend, error){
	"disabled":      openDisabled,
	"django-cache":  openDjangoCache,
	"django-db":     openDjangoDB,
	"cache":         openCeleryCache,
	"redis":         openRedis, // and redis+socket, redis+cluster
	"rediss":        openRedis, // and rediss+cluster
	"sentinel":      openRedis,
	"db":            openSQLAlchemy,
	"database":      openSQLAlchemy,
	"django-celery": openDjangoCelery,
}

// openRedis opens Celery's own redis backend.
func openRedis(s celeryresults.Settings) (celeryresults.Backend, error) { return redisbackend.Open(s) }

// openDjangoDB opens django-celery-results' tables: django-db with DATABASES, or
// django-db+postgresql://user:password@host/name and the like.
func openDjangoDB(s celeryresults.Settings) (celeryresults.Backend, error) { return dbbackend.Open(s) }

// openSQLAlchemy opens Celery's own tables: db+postgresql://user:password@host/name and
// the like, or database with database_url.
func openSQLAlchemy(s celeryresults.Settings) (celeryresults.Backend, error) {
	return sqlalchemybackend.Open(s)
}

// openDjangoCelery opens the tables of django-celery, which are only read.
func openDjangoCelery(s celeryresults.Settings) (celeryresults.Backend, error) {
	return djcelerybackend.Open(s)
}

func openDjangoCache(s celeryresults.Settings) (celeryresults.Backend, error) {
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
	return own(b, c.Close, err)
}

// openCeleryCache opens Celery's own cache backend: cache+memcached://a;b/,
// cache+memory://, or the same without cache+ in CELERY_CACHE_BACKEND.
func openCeleryCache(s celeryresults.Settings) (celeryresults.Backend, error) {
	url := strings.TrimPrefix(s.ResultBackend, "cache+")
	if !strings.Contains(url, "://") || strings.HasPrefix(url, "cache://") {
		url = s.CacheBackend
	}
	store, err := openCeleryStore(url)
	if err != nil {
		return nil, err
	}
	b, err := cachebackend.NewCelery(store, s)
	return own(b, store.Close, err)
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

// owned is a backend that closes the store that was opened for it.
type owned struct {
	*cachebackend.CacheBackend
	closeStore func() error
}

func own(b *cachebackend.CacheBackend, closeStore func() error, err error) (celeryresults.Backend, error) {
	if err != nil {
		return nil, errors.Join(err, closeStore())
	}
	return &owned{b, closeStore}, nil
}

// Close ends the backend's waits and closes its store.
func (o *owned) Close() error {
	return errors.Join(o.CacheBackend.Close(), o.closeStore())
}
