// Package caches opens Django's named caches: it is the one table from an
// engine to its constructor.
package caches

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/dbcache"
	"github.com/celeryresults/celeryresults/cache/locmem"
	"github.com/celeryresults/celeryresults/cache/memcached"
	"github.com/celeryresults/celeryresults/cache/rediscache"
)

// ErrUnknown is returned for an alias that CACHES does not have.
var ErrUnknown = errors.New("caches: unknown cache")

// Caches are the named caches of one application, like django.core.cache.caches:
// each is opened when it is first asked for, and once. It is safe for
// concurrent use.
type Caches struct {
	settings  map[string]cache.Settings
	databases map[string]cache.Database

	mu     sync.Mutex
	opened map[string]*cache.Cache // guarded by mu; nil after Close
}

// New returns the caches of CACHES, with the DATABASES that the db engine
// uses. Without any settings there is one locmem cache named default, as in
// Django. Nothing is opened yet.
//
// The db engine needs its database/sql driver in the program: import
// github.com/jackc/pgx/v5/stdlib, github.com/go-sql-driver/mysql or
// modernc.org/sqlite for its side effect.
func New(settings map[string]cache.Settings, databases map[string]cache.Database) *Caches {
	if len(settings) == 0 {
		settings = map[string]cache.Settings{"default": {}}
	}
	return &Caches{settings: settings, databases: databases, opened: map[string]*cache.Cache{}}
}

// Cache returns the named cache. The empty alias is default. An alias that is
// not configured is ErrUnknown, with the known ones listed.
func (c *Caches) Cache(alias string) (*cache.Cache, error) {
	if alias == "" {
		alias = "default"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		return nil, cache.ErrClosed
	}
	if opened, ok := c.opened[alias]; ok {
		return opened, nil
	}
	s, ok := c.settings[alias]
	if !ok {
		return nil, fmt.Errorf("%w %q; CACHES has %s", ErrUnknown, alias, strings.Join(slices.Sorted(maps.Keys(c.settings)), ", "))
	}
	opened, err := Open(s, c.databases)
	if err != nil {
		return nil, fmt.Errorf("caches: open %q: %w", alias, err)
	}
	c.opened[alias] = opened
	return opened, nil
}

// Close closes every cache that was opened.
func (c *Caches) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, opened := range c.opened {
		errs = append(errs, opened.Close())
	}
	c.opened = nil
	return errors.Join(errs...)
}

// Open opens one cache from its entry of CACHES. It connects when it is first
// used, not here. The caller closes it.
func Open(s cache.Settings, databases map[string]cache.Database) (*cache.Cache, error) {
	store, err := openStore(s, databases)
	if err != nil {
		return nil, err
	}
	c, err := cache.New(store, s)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return c, nil
}

// openStore is the table from engine to constructor.
func openStore(s cache.Settings, databases map[string]cache.Database) (cache.Store, error) {
	engine, _ := cache.Engine(s.Backend)
	switch engine {
	case "locmem":
		return openLocmem(s)
	case "memcached", "pylibmc":
		return memcached.Open(s)
	case "redis":
		return rediscache.Open(s)
	case "django-redis":
		return rediscache.OpenDjangoRedis(s)
	case "db":
		database, err := databaseOf(s, databases)
		if err != nil {
			return nil, err
		}
		return dbcache.Open(s, database)
	}
	return nil, fmt.Errorf("caches: unknown engine %q; known are %s and Django's class paths of these",
		s.Backend, strings.Join(cache.EngineNames, ", "))
}

func openLocmem(s cache.Settings) (cache.Store, error) {
	if len(s.Location) > 1 {
		return nil, fmt.Errorf("caches: locmem takes one location, the name of its store; it has %d", len(s.Location))
	}
	return locmem.New(strings.Join(s.Location, ""), &locmem.Options{
		MaxEntries: s.Options.MaxEntries, CullFrequency: s.Options.CullFrequency,
	})
}

func databaseOf(s cache.Settings, databases map[string]cache.Database) (cache.Database, error) {
	alias := s.Options.Database
	if alias == "" {
		alias = "default"
	}
	if d, ok := databases[alias]; ok {
		return d, nil
	}
	return cache.Database{}, fmt.Errorf("caches: the db engine needs a database, and DATABASES has no %q (it has %s)",
		alias, strings.Join(slices.Sorted(maps.Keys(databases)), ", "))
}
