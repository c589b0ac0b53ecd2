package celeryresults

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/mask"
	"github.com/celeryresults/celeryresults/internal/schemes"
)

// Never is the expiry of results that stay for ever: Celery's None and 0.
const Never = cache.Never

// Defaults of Celery 5.6.
const (
	DefaultExpires    = 24 * time.Hour // result_expires
	DefaultSerializer = "json"         // result_serializer, and all of accept_content
	DefaultCache      = "default"      // cache_backend
	DefaultDatabase   = "default"      // the entry of DATABASES that django-db uses
	DefaultBackend    = "default"      // the default backend's name, in Fallbacks
)

// Settings are Celery's result settings, under Celery's own names, with
// Django's CACHES and DATABASES. The zero value means Celery's and Django's
// defaults. It is data: build it as a literal, or let package settings make it
// from a Django-like map, a file or the environment.
//
// Durations: zero is the default, Never is for ever. Numbers: zero is the
// default, which each field's comment ends with.
type Settings struct {
	// ResultBackend (result_backend) is the default backend: a URL as Celery
	// takes it, redis (of which Redis says where it is), django-cache, django-db, a
	// name of ResultBackends, or disabled. Default: none, which is disabled, as in
	// Celery.
	ResultBackend string

	// CacheBackend (cache_backend) is the entry of Caches that django-cache
	// uses, or the memcached:// or memory:// URL of Celery's own cache
	// backend. Default: "default"; django-cache means that, too.
	CacheBackend string

	// CacheBackendOptions (cache_backend_options) are Python client options of
	// Celery's own cache backend. They are kept and have no effect here.
	CacheBackendOptions map[string]any

	// ResultExpires (result_expires) is how long a result stays. Default: a
	// day. Never: for ever. Other negative durations are refused.
	ResultExpires time.Duration

	// ResultTombstones (CELERY_RESULT_TOMBSTONES; Celery has no such setting) is how
	// long a backend remembers that it had a record which has expired or was
	// forgotten: TaskMeta.Expired and Lookup tell then, and Python reads PENDING. A
	// redis or cache backend needs a second write for each store, and a second read
	// for an unknown task. Default: 0, not at all.
	ResultTombstones time.Duration

	// ResultTally (CELERY_RESULT_TALLY; Celery has no such setting) lets a redis
	// backend keep the states of a group's members together, so that
	// GroupResult.Tally takes one round trip, for a second command with each store
	// of a member. A database needs none of that. Default: false.
	ResultTally bool

	// ResultRedact (CELERY_RESULT_REDACT; Celery has no such setting) are names of arguments
	// whose values an App does not store: keyword arguments, and entries of mappings in
	// them, at any depth and in any case, become python.Redacted, and so do all positional
	// arguments, which have no names. Texts of the caller's own (Request.ArgsRepr and
	// KwargsRepr) stay. Default: none.
	ResultRedact []string

	// ResultExtended (result_extended) stores the task's name, args, kwargs,
	// worker, retries and queue, too. Default: false.
	ResultExtended bool

	// ResultSerializer (result_serializer) is json, pickle, yaml or msgpack.
	// Django's caches pickle whatever it says. Default: json.
	ResultSerializer string

	// ResultAcceptContent (result_accept_content) are the serializers that are
	// read. Default: AcceptContent.
	ResultAcceptContent []string

	// AcceptContent (accept_content) are the serializers that are read.
	// Default: json alone.
	AcceptContent []string

	// ResultCacheMax (result_cache_max) is Celery's client-side cache. Kept,
	// with no effect: a handle caches its own ready result. Default: -1, none.
	ResultCacheMax int

	// ResultCompression (result_compression) is how results, groups and chord parts are
	// compressed in redis, as Celery 5.7 does: gzip or zlib, zstd, or lzma. Other
	// backends ignore it, as Celery's do. Whether a record is compressed, it says
	// itself, so that all are read, bzip2 too. Celery before 5.7 can't read them.
	// Default: none.
	ResultCompression string

	// ResultPersistent (result_persistent) concerns Celery's rpc backend only.
	// Kept, with no effect. Default: nil.
	ResultPersistent *bool

	// ResultChordRetryInterval (result_chord_retry_interval). Kept for chords,
	// which the cache backends do not have. Default: 1 s.
	ResultChordRetryInterval time.Duration

	// ResultChordJoinTimeout (result_chord_join_timeout). Kept as the former.
	// Default: 3 s. Never: no limit.
	ResultChordJoinTimeout time.Duration

	// ResultBackendTransportOptions (result_backend_transport_options).
	ResultBackendTransportOptions TransportOptions

	// ResultBackendAlwaysRetry (result_backend_always_retry) and its three
	// companions. The redis and django-db backends retry in any case, with
	// these pauses and as often as this. The cache backends do not retry by them,
	// here as in Celery: their drivers repeat what is safe to repeat. Defaults: false; 10 s;
	// 10 ms; no limit (negative: none at all).
	ResultBackendAlwaysRetry           bool
	ResultBackendMaxSleepBetweenRetry  time.Duration
	ResultBackendBaseSleepBetweenRetry time.Duration
	ResultBackendMaxRetries            int

	// TaskTrackStarted (task_track_started) stores STARTED. Default: false.
	TaskTrackStarted bool

	// TaskIgnoreResult (task_ignore_result) stores nothing. Default: false.
	TaskIgnoreResult bool

	// TaskStoreErrorsEvenIfIgnored (task_store_errors_even_if_ignored) stores
	// failures nevertheless. Default: false.
	TaskStoreErrorsEvenIfIgnored bool

	// TaskStoreEagerResult (task_store_eager_result) stores the results of
	// eager calls, too. Default: false.
	TaskStoreEagerResult bool

	// Redis is redis_*, which fills what a redis URL leaves out.
	Redis RedisSettings

	// Database is database_*, of Celery's SQLAlchemy backend.
	Database DatabaseSettings

	// TaskIDMaxLength (DJANGO_CELERY_RESULTS_TASK_ID_MAX_LENGTH) is the width
	// of django-celery-results' id columns, for the tables that are made. Tables
	// that are there say it themselves. Default: 255.
	TaskIDMaxLength int

	// DjangoDB is what the django-db backend can do beyond Celery's.
	DjangoDB DjangoDBSettings

	// Caches is Django's CACHES. Default: one locmem cache named default.
	Caches map[string]cache.Settings

	// Databases is Django's DATABASES. Default: none.
	Databases map[string]cache.Database

	// ResultBackends (CELERY_RESULT_BACKENDS) are further backends by name.
	ResultBackends map[string]BackendSettings

	// TaskBackends (CELERY_TASK_BACKENDS) binds tasks to names of
	// ResultBackends: an exact task name, or a pattern in which * stands for
	// any text and ? for one character. An exact name beats a pattern, a
	// longer pattern a shorter one.
	TaskBackends map[string]string
}

// BackendSettings is one entry of CELERY_RESULT_BACKENDS. Fields that are zero
// follow the application's own settings.
type BackendSettings struct {
	// Backend is what ResultBackend may be, except a name. Required.
	Backend string

	CacheBackend                  string            // zero: the application's
	ResultExpires                 time.Duration     // zero: the application's. Never: for ever
	ResultTombstones              time.Duration     // zero: the application's
	ResultExtended                *bool             // nil: the application's
	ResultSerializer              string            // zero: the application's
	ResultAcceptContent           []string          // nil: the application's
	ResultBackendTransportOptions *TransportOptions // nil: the application's

	// DjangoDB lays its fields that are not zero over the application's.
	DjangoDB DjangoDBSettings

	// Fallbacks are names of other backends, or "default", that are read, in
	// this order, for ids that this one does not know: after tasks moved here,
	// their old results stay readable. Stores go here alone. Default: none.
	Fallbacks []string
}

// DjangoDBSettings are the settings of the django-db backend that Celery does
// not have.
type DjangoDBSettings struct {
	// Database (CELERY_RESULT_DATABASE) is the entry of Databases that holds the
	// tables. Default: "default".
	Database string

	// ReadDatabase (CELERY_RESULT_READ_DATABASE) is the entry of Databases that
	// results are read from, such as a replica. Default: Database.
	ReadDatabase string

	// ReadYourWrites (CELERY_RESULT_READ_YOUR_WRITES) is how long a task that this
	// process stored or forgot is read from Database rather than ReadDatabase:
	// as long as a replica may lag. Default: 0, not at all.
	ReadYourWrites time.Duration

	// ExpiresByState (CELERY_RESULT_EXPIRES_BY_STATE) are expiries of single
	// states instead of ResultExpires, such as of failures that are to stay
	// longer. Zero is the default of the state, Never for ever.
	ExpiresByState map[State]time.Duration

	// UnfinishedExpires (CELERY_RESULT_UNFINISHED_EXPIRES) is how long a record
	// that is not ready stays after it was last written. Default: 30 days, or
	// ResultExpires if that is longer. Never: for ever.
	UnfinishedExpires time.Duration

	// ArgsLimit (CELERY_RESULT_ARGS_LIMIT) is how many bytes of encoded args, and
	// of kwargs, are kept for programs to read; longer ones leave their size and
	// hash. What people read is short in any case. Default: 1 MiB. Negative:
	// nothing is kept.
	ArgsLimit int

	// Notify (CELERY_RESULT_NOTIFY) lets stores in PostgreSQL wake those who wait,
	// by NOTIFY and LISTEN. It costs a few percent of a store; those who wait take
	// a connection together. Default: nil, which is true.
	Notify *bool
}

// Defaults of DjangoDBSettings.
const (
	DefaultUnfinishedExpires = 30 * 24 * time.Hour
	DefaultArgsLimit         = 1 << 20
)

// over lays the fields that are not zero over s.
func (d *DjangoDBSettings) over(s *DjangoDBSettings) {
	s.Database = cmp.Or(d.Database, s.Database)
	s.ReadDatabase = cmp.Or(d.ReadDatabase, s.ReadDatabase)
	s.ReadYourWrites = cmp.Or(d.ReadYourWrites, s.ReadYourWrites)
	s.UnfinishedExpires = cmp.Or(d.UnfinishedExpires, s.UnfinishedExpires)
	s.ArgsLimit = cmp.Or(d.ArgsLimit, s.ArgsLimit)
	if d.ExpiresByState != nil {
		s.ExpiresByState = d.ExpiresByState
	}
	if d.Notify != nil {
		s.Notify = d.Notify
	}
}

// TransportOptions are the result_backend_transport_options that concern more
// than one Python client.
type TransportOptions struct {
	// GlobalKeyPrefix (global_keyprefix) goes in front of every key, with a _
	// between unless it ends in one of : _ - and a dot. Default: empty.
	GlobalKeyPrefix string

	// ResultChordOrdered (result_chord_ordered). Default: nil, which is true.
	ResultChordOrdered *bool

	// Other options are kept for the stores that know them.
	Other map[string]any
}

// KeyPrefix returns what goes in front of every key: GlobalKeyPrefix, with a _
// unless it is empty or ends in a separator
// (KeyValueStoreBackend._add_global_keyprefix).
func (o TransportOptions) KeyPrefix() string {
	p := o.GlobalKeyPrefix
	if p != "" && !strings.ContainsAny(p[len(p)-1:], ":_-.") {
		p += "_"
	}
	return p
}

// RedisSettings are redis_*: what a redis URL leaves out. They are for the
// redis backend.
type RedisSettings struct {
	Host               string         // Default: localhost
	Port               int            // Default: 6379
	DB                 int            // Default: 0
	Username, Password string         // Default: none
	MaxConnections     int            // Default: 64
	SocketTimeout      time.Duration  // Default: 120 s. Never: no limit
	ConnectTimeout     time.Duration  // redis_socket_connect_timeout. Default: 5 s. Never: no limit
	RetryOnTimeout     bool           // Default: false
	SocketKeepalive    bool           // Default: false
	UseSSL             map[string]any // redis_backend_use_ssl. Default: none
}

// DatabaseSettings are database_*: Celery's SQLAlchemy backend.
type DatabaseSettings struct {
	URL                 string            // of the backend named database. Default: none
	EngineOptions       map[string]any    // kept, with no effect
	ShortLivedSessions  bool              // kept, with no effect
	TableNames          map[string]string // keys task and group. Default: Celery's
	TableSchemas        map[string]string // keys task and group. Default: none
	CreateTablesAtSetup *bool             // make missing tables when they are first used. Default: nil, which is true
}

// ErrSettings is what every error about settings is.
var ErrSettings = errors.New("celeryresults: settings")

// SettingsError is a setting that can't work.
type SettingsError struct {
	Name   string // as Django spells it, such as CELERY_RESULT_EXPIRES
	Reason string // what is wrong and what to do
}

// Error returns the name and the reason.
func (e *SettingsError) Error() string {
	return "celeryresults: settings: " + e.Name + ": " + e.Reason
}

// Is reports whether target is ErrSettings.
func (e *SettingsError) Is(target error) bool { return target == ErrSettings }

// wrong returns a SettingsError. Text among args may be a URL that was put in
// the wrong place, so its password is masked.
func wrong(name, reason string, args ...any) error {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = mask.URL(text)
		}
	}
	return &SettingsError{Name: name, Reason: fmt.Sprintf(reason, args...)}
}

// Expires returns the expiry in force: a duration, or Never.
func (s *Settings) Expires() time.Duration {
	switch {
	case s.ResultExpires == 0:
		return DefaultExpires
	case s.ResultExpires < 0:
		return Never
	}
	return s.ResultExpires
}

// ExpiresIn returns the expiry of results of a state in the django-db backend: a
// duration, or Never.
func (s *Settings) ExpiresIn(state State) time.Duration {
	if d := s.DjangoDB.ExpiresByState[state]; d != 0 {
		return max(d, Never)
	}
	general := s.Expires()
	switch own := s.DjangoDB.UnfinishedExpires; {
	case state.Ready() || general == Never && own == 0:
		return general
	case own != 0:
		return max(own, Never)
	}
	return max(general, DefaultUnfinishedExpires)
}

// Serializer returns the result serializer in force.
func (s *Settings) Serializer() string {
	if s.ResultSerializer == "" {
		return DefaultSerializer
	}
	return s.ResultSerializer
}

// Accept returns the serializers that are read: result_accept_content, else
// accept_content, else json.
func (s *Settings) Accept() []string {
	switch {
	case s.ResultAcceptContent != nil:
		return s.ResultAcceptContent
	case s.AcceptContent != nil:
		return s.AcceptContent
	}
	return []string{DefaultSerializer}
}

// Cache returns the entry of Caches named alias. Without any Caches, default
// is a locmem cache, as in Django. An unknown alias is an error that lists the
// known ones.
func (s *Settings) Cache(alias string) (cache.Settings, error) {
	if alias == "" || alias == "django-cache" {
		alias = DefaultCache
	}
	if c, ok := s.Caches[alias]; ok {
		return c, nil
	}
	if alias == DefaultCache && len(s.Caches) == 0 {
		return cache.Settings{}, nil
	}
	return cache.Settings{}, wrong("CELERY_CACHE_BACKEND", "unknown cache %q; CACHES has %s", alias, names(s.Caches))
}

// Named returns the settings of the named backend: the application's own,
// with the entry of ResultBackends over them. The empty name is the default
// backend. An unknown name is ErrUnknownBackend and lists the known ones.
func (s *Settings) Named(name string) (Settings, error) {
	merged := *s
	if name == "" {
		name = s.ResultBackend
	}
	b, ok := s.ResultBackends[name]
	if !ok {
		if name == s.ResultBackend {
			merged.resolve()
			return merged, nil
		}
		return merged, fmt.Errorf("%w %q; CELERY_RESULT_BACKENDS has %s", ErrUnknownBackend, name, names(s.ResultBackends))
	}
	b.over(&merged)
	merged.resolve()
	return merged, nil
}

// resolve turns a class path into the alias of the same backend.
func (s *Settings) resolve() { s.ResultBackend = schemes.Alias(s.ResultBackend) }

// kind returns which kind of backend is meant, and the URL that is part of its name.
func (s *Settings) kind() (kind schemes.Kind, url string) { return schemes.Of(s.ResultBackend) }

// over lays the entry over the application's settings.
func (b *BackendSettings) over(s *Settings) {
	s.ResultBackend = b.Backend
	if b.CacheBackend != "" {
		s.CacheBackend = b.CacheBackend
	}
	if b.ResultExpires != 0 {
		s.ResultExpires = b.ResultExpires
	}
	if b.ResultTombstones != 0 {
		s.ResultTombstones = b.ResultTombstones
	}
	if b.ResultExtended != nil {
		s.ResultExtended = *b.ResultExtended
	}
	if b.ResultSerializer != "" {
		s.ResultSerializer = b.ResultSerializer
	}
	if b.ResultAcceptContent != nil {
		s.ResultAcceptContent = b.ResultAcceptContent
	}
	if b.ResultBackendTransportOptions != nil {
		s.ResultBackendTransportOptions = *b.ResultBackendTransportOptions
	}
	b.DjangoDB.over(&s.DjangoDB)
}

// names lists the keys of m for an error message.
func names[V any](m map[string]V) string {
	if len(m) == 0 {
		return "none"
	}
	return strings.Join(sortedNames(m), ", ")
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
