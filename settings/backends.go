package settings

import (
	"errors"
	"time"

	"github.com/celeryresults/celeryresults"
)

type named = celeryresults.BackendSettings

var namedFields = fields[named]{
	"BACKEND":               to(func(b *named) *string { return &b.Backend }, backend),
	"CACHE_BACKEND":         to(func(b *named) *string { return &b.CacheBackend }, backend),
	"RESULT_EXPIRES":        toNullable(func(b *named) *time.Duration { return &b.ResultExpires }, expiry),
	"RESULT_TOMBSTONES":     to(func(b *named) *time.Duration { return &b.ResultTombstones }, span),
	"RESULT_EXTENDED":       to(func(b *named) **bool { return &b.ResultExtended }, pointer(boolean)),
	"RESULT_SERIALIZER":     to(func(b *named) *string { return &b.ResultSerializer }, word),
	"RESULT_ACCEPT_CONTENT": to(func(b *named) *[]string { return &b.ResultAcceptContent }, list),
	"RESULT_BACKEND_TRANSPORT_OPTIONS": to(func(b *named) **celeryresults.TransportOptions { return &b.ResultBackendTransportOptions },
		pointer(transportOptions)),
	"RESULT_DATABASE":           to(func(b *named) *string { return &b.DjangoDB.Database }, word),
	"RESULT_READ_DATABASE":      to(func(b *named) *string { return &b.DjangoDB.ReadDatabase }, word),
	"RESULT_READ_YOUR_WRITES":   to(func(b *named) *time.Duration { return &b.DjangoDB.ReadYourWrites }, span),
	"RESULT_EXPIRES_BY_STATE":   to(func(b *named) *map[celeryresults.State]time.Duration { return &b.DjangoDB.ExpiresByState }, expiryByState),
	"RESULT_UNFINISHED_EXPIRES": toNullable(func(b *named) *time.Duration { return &b.DjangoDB.UnfinishedExpires }, expiry),
	"RESULT_NOTIFY":             to(func(b *named) **bool { return &b.DjangoDB.Notify }, pointer(boolean)),
	"RESULT_ARGS_LIMIT":         to(func(b *named) *int { return &b.DjangoDB.ArgsLimit }, argsLimit),
	"FALLBACKS":                 to(func(b *named) *[]string { return &b.Fallbacks }, list),
}

// expiryByState reads a table from states to expiries.
func expiryByState(v any) (map[celeryresults.State]time.Duration, error) {
	byName, err := entries(expiry)(v)
	if err != nil {
		return nil, err
	}
	byState := make(map[celeryresults.State]time.Duration, len(byName))
	for name, expires := range byName {
		byState[celeryresults.State(name)] = expires
	}
	return byState, nil
}

// argsLimit reads a number of bytes, where 0 keeps nothing.
func argsLimit(v any) (int, error) {
	n, err := whole(v)
	switch {
	case err != nil:
		return 0, err
	case n < 0:
		return 0, errors.New("must not be negative; 0 keeps no args")
	case n == 0:
		return -1, nil
	}
	return n, nil
}

// namedBackend reads one entry of CELERY_RESULT_BACKENDS.
func namedBackend(v any) (named, error) {
	var b named
	if _, isText := v.(string); isText {
		v = map[string]any{"BACKEND": v}
	}
	err := namedFields.read(&b, v)
	return b, err
}

type transport = celeryresults.TransportOptions

var transportFields = fields[transport]{
	"global_keyprefix":     to(func(t *transport) *string { return &t.GlobalKeyPrefix }, text),
	"result_chord_ordered": to(func(t *transport) **bool { return &t.ResultChordOrdered }, pointer(boolean)),
}

// transportOptions keeps the options that it does not know, for stores have
// many, unless they look like a slip: a wrong prefix hides every result.
func transportOptions(v any) (transport, error) {
	var t transport
	all, err := options(v)
	if err != nil {
		return t, err
	}
	own := make(map[string]any)
	for name, value := range all {
		if isSlip(name, nearest(name, transportNames)) {
			own[name] = value
			delete(all, name)
		}
	}
	if len(all) > 0 {
		t.Other = all
	}
	return t, transportFields.read(&t, own)
}

var transportNames = []string{"global_keyprefix", "result_chord_ordered"}

var tableFields = fields[map[string]string]{
	"task":  tableName("task"),
	"group": tableName("group"),
}

// tableName makes the setter of one entry of a table of tables.
func tableName(role string) setter[map[string]string] {
	return func(into *map[string]string, v any) error {
		if v == nil {
			return nil
		}
		name, err := word(v)
		if err == nil {
			(*into)[role] = name
		}
		return err
	}
}

// tableNames reads database_table_names and database_table_schemas.
func tableNames(v any) (map[string]string, error) {
	names := make(map[string]string)
	err := tableFields.read(&names, v)
	return names, err
}

// tlsOptions reads redis_backend_use_ssl, a table or False.
func tlsOptions(v any) (map[string]any, error) {
	if on, ok := v.(bool); ok && !on {
		return nil, nil
	}
	return options(v)
}
