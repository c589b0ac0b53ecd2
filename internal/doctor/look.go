package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/document"
)

// sampled is how many records Look looks at, and resultKey what the keys of results have.
const (
	sampled   = 200
	resultKey = "celery-task-meta-"
)

// Look compares the settings of a backend with what lies in its store, if the store shows
// it: keys, serializers, lifetimes and databases. Records of ours that are called ignore,
// such as a probe, do not count.
func Look(ctx context.Context, s celeryresults.Settings, b *celeryresults.Backend, ignore string) ([]Mismatch, error) {
	store, ok := b.Driver().(cache.Sampler)
	if !ok {
		return nil, nil
	}
	samples, err := store.Sample(ctx, resultKey, sampled)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at what is stored: %w", err)
	}
	l := looking{settings: s, prefixes: map[string]int{}, serializers: map[string]int{}, elsewhere: map[string]int{}}
	l.prefix, l.version, l.global = l.keys()
	for _, sample := range samples {
		if ignore == "" || !strings.Contains(sample.Key, ignore) {
			l.add(sample)
		}
	}
	return l.found(), nil
}

type looking struct {
	settings celeryresults.Settings
	prefix   string // Django's in front of the version; with - where there is none
	version  string
	global   string

	records     int
	own         int            // under our keys
	prefixes    map[string]int // of keys that are not ours: of other programs, if there are some of ours
	elsewhere   map[string]int
	serializers map[string]int // of records under our keys that are not ours
	forever     int            // such records without a lifetime
	longest     time.Duration
}

// keys returns what a whole key begins with, in parts.
func (l *looking) keys() (prefix, version, global string) {
	global = l.settings.ResultBackendTransportOptions.KeyPrefix()
	if kindOf(l.settings.ResultBackend, l.settings.CacheBackend) != kindDjangoCache {
		return "", "", global
	}
	name := cmp.Or(l.settings.CacheBackend, celeryresults.DefaultCache)
	if name == "django-cache" {
		name = celeryresults.DefaultCache
	}
	entry, err := l.settings.Cache(name)
	if err != nil {
		return "", "1", global
	}
	return entry.KeyPrefix, strconv.Itoa(max(entry.Version, 1)), global
}

// begins is what our keys begin with.
func (l *looking) begins() string {
	if l.version == "" {
		return l.global
	}
	return l.prefix + ":" + l.version + ":" + l.global
}

func (l *looking) add(sample cache.Sample) {
	l.records++
	begin, _, _ := strings.Cut(sample.Key, resultKey)
	switch {
	case sample.Elsewhere != "":
		l.elsewhere[sample.Elsewhere]++
		return
	case begin != l.begins():
		l.prefixes[begin]++
		return
	}
	l.own++
	if is, ours := document.Serializer(sample.Item.Value), l.serializer(); is != "" && is != ours {
		l.serializers[is]++
	}
	if sample.TTL == cache.Never {
		l.forever++
	}
	l.longest = max(l.longest, sample.TTL)
}

func (l *looking) serializer() string {
	if l.version == "" {
		return l.settings.Serializer()
	}
	name := cmp.Or(l.settings.CacheBackend, celeryresults.DefaultCache)
	entry, _ := l.settings.Cache(name)
	return cmp.Or(entry.Options.Serializer, "pickle")
}

func (l *looking) found() []Mismatch {
	var found []Mismatch
	for _, place := range slices.Sorted(maps.Keys(l.elsewhere)) {
		n := l.elsewhere[place]
		found = append(found, Mismatch{
			Setting: "the database number", Ours: "without results", Theirs: fmt.Sprintf("%d results in %s", n, place),
			Effect: "nothing of it is seen here", Remedy: "name " + place + " at the end of the URL: redis://host:6379/" + strings.TrimPrefix(place, "database "),
		})
	}
	for _, begin := range slices.Sorted(maps.Keys(l.prefixes)) {
		if l.own > 0 {
			break
		}
		found = append(found, l.prefixMismatch(begin, l.prefixes[begin]))
	}
	for _, serializer := range slices.Sorted(maps.Keys(l.serializers)) {
		n := l.serializers[serializer]
		found = append(found, Mismatch{
			Setting: "CELERY_RESULT_SERIALIZER", Ours: l.serializer(), Theirs: fmt.Sprintf("%d of %d results are %s", n, l.records, serializer),
			Effect: "they can't be read here", Remedy: fmt.Sprintf("set CELERY_RESULT_SERIALIZER to %q here, or to %q where they are written", serializer, l.serializer()),
		})
	}
	expires := l.settings.Expires()
	switch {
	case l.forever > 0 && expires != celeryresults.Never:
		found = append(found, Mismatch{
			Setting: "CELERY_RESULT_EXPIRES", Ours: spanOf(expires), Theirs: fmt.Sprintf("%d of %d results never expire", l.forever, l.records),
			Effect: "the store fills up", Remedy: "set CELERY_RESULT_EXPIRES where they are written, and remove the old ones",
		})
	case expires != celeryresults.Never && l.longest > expires+time.Minute:
		found = append(found, Mismatch{
			Setting: "CELERY_RESULT_EXPIRES", Ours: spanOf(expires), Theirs: fmt.Sprintf("a result stays for another %s", l.longest.Round(time.Second)),
			Effect: "results of this program are gone earlier than others'", Remedy: "set CELERY_RESULT_EXPIRES to the same everywhere",
		})
	}
	return found
}

// prefixMismatch tells which part of a key is not ours.
func (l *looking) prefixMismatch(begin string, n int) Mismatch {
	m := Mismatch{
		Setting: "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS.global_keyprefix", Ours: l.begins(), Theirs: fmt.Sprintf("%d of %d results lie under %q", n, l.records, begin),
		Effect: "they are not seen here", Remedy: fmt.Sprintf("set global_keyprefix to %q here, or to %q where they are written", begin, l.global),
	}
	if l.version == "" {
		return m
	}
	name := "CACHES." + cmp.Or(l.settings.CacheBackend, celeryresults.DefaultCache)
	prefix, rest, ok := strings.Cut(begin, ":")
	version, global, ok2 := strings.Cut(rest, ":")
	switch {
	case !ok || !ok2:
		m.Setting, m.Remedy = "CELERY_RESULT_BACKEND", "the keys are not those of a Django cache: Celery's own backends write such; use redis:// or cache+memcached:// to read them"
	case prefix != l.prefix:
		m.Setting, m.Remedy = name+".KEY_PREFIX", fmt.Sprintf("set KEY_PREFIX to %q here, or to %q where they are written", prefix, l.prefix)
	case version != l.version:
		m.Setting, m.Remedy = name+".VERSION", fmt.Sprintf("set VERSION to %s here, or to %s where they are written", version, l.version)
	default:
		m.Remedy = fmt.Sprintf("set global_keyprefix to %q here, or to %q where they are written", global, l.global)
	}
	return m
}
