package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/cache/caches"
	"github.com/celeryresults/celeryresults/python"
)

// checkCaches tries the caches of CACHES that keep no results.
func (c *cli) checkCaches(ctx context.Context, s celeryresults.Settings) error {
	used := resultCaches(s)
	for _, alias := range slices.Sorted(maps.Keys(s.Caches)) {
		if used[alias] {
			continue
		}
		err := tryCache(ctx, s, alias)
		c.report("check cache "+alias, err)
		if err := c.printCache(alias, s.Caches[alias], err); err != nil {
			return err
		}
	}
	return nil
}

// resultCaches returns the aliases that result backends use.
func resultCaches(s celeryresults.Settings) map[string]bool {
	used := map[string]bool{}
	for _, name := range append([]string{""}, slices.Collect(maps.Keys(s.ResultBackends))...) {
		b, err := s.Named(name)
		if err != nil || b.ResultBackend != "django-cache" {
			continue
		}
		alias := b.CacheBackend
		if alias == "" || alias == "django-cache" {
			alias = celeryresults.DefaultCache
		}
		used[alias] = true
	}
	return used
}

// tryCache opens a cache, and sets, gets and deletes a probe.
func tryCache(ctx context.Context, s celeryresults.Settings, alias string) error {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	opened, err := caches.Open(s.Caches[alias], s.Databases)
	if err != nil {
		return withStatus(statusUsage, err)
	}
	defer opened.Close()
	key := "celery-results-check-" + rand.Text()
	if err := opened.Set(ctx, key, key, probeExpires); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	var got string
	if err := opened.GetInto(ctx, key, &got); err != nil {
		return fmt.Errorf("get: %w", err)
	}
	if got != key {
		return fmt.Errorf("%w: read back %q, not %q", errProbe, got, key)
	}
	if _, err := opened.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := opened.Get(ctx, key); !errors.Is(err, cache.ErrMiss) {
		return fmt.Errorf("%w: the deleted probe is still there", errProbe)
	}
	return nil
}

func (c *cli) printCache(alias string, s cache.Settings, err error) error {
	engine, _ := cache.Engine(s.Backend)
	text := "set, read back equal, deleted"
	if err != nil {
		text = "failed: " + reason(err)
	}
	object := python.Dict{
		{Key: "cache", Value: alias}, {Key: "engine", Value: engine}, {Key: "ok", Value: err == nil}, {Key: "probe", Value: text},
	}
	return c.print(object, []row{{"cache", alias + " (" + engine + "), without results"}, {"probe", text}})
}
