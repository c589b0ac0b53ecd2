package rediscache

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/celeryresults/celeryresults/cache"
)

const defaultPoolSize = 64

// location is a parsed URL on its way to the options of a client.
type location struct {
	options *redis.Options
	tls     tlsFiles
	secure  bool // TLS is spoken
}

// separator is what stands between two locations in one text. A comma or a
// semicolon that no scheme follows belongs to the location.
var separator = regexp.MustCompile(`[;,]\s*([a-z+]+://)`)

// splitLocations splits each text of LOCATION as Django's RedisCache does, but
// leaves commas in passwords alone. Empty texts are dropped.
func splitLocations(texts []string) []string {
	var locations []string
	for _, text := range texts {
		for part := range strings.SplitSeq(separator.ReplaceAllString(text, "\n$1"), "\n") {
			if part = strings.TrimSpace(part); part != "" {
				locations = append(locations, part)
			}
		}
	}
	return locations
}

// clientOptions turns one location and the entry's OPTIONS into go-redis
// options. Its errors never quote the user, the password, or a piece of either.
func clientOptions(text string, o cache.Options) (*redis.Options, error) {
	l := location{options: baseOptions(o), tls: filesOf(o)}
	u, err := parseURL(text)
	if err != nil {
		return nil, err
	}
	if err := l.address(u); err != nil {
		return nil, fmt.Errorf("%s: %w", masked(u), err)
	}
	l.login(u)
	if err := l.query(u); err != nil {
		return nil, fmt.Errorf("%s: %w", masked(u), err)
	}
	if l.options.TLSConfig, err = l.tlsConfig(); err != nil {
		return nil, fmt.Errorf("%s: %w", masked(u), err)
	}
	return l.options, nil
}

// baseOptions are the options that no location changes, and the defaults.
//
// Commands are repeated by the store, which knows which may be, and not by the
// client. The client's second pool, for pipelines, is not wanted.
func baseOptions(o cache.Options) *redis.Options {
	size := o.PoolSize
	if size <= 0 {
		size = defaultPoolSize
	}
	return &redis.Options{
		Username:              o.Username,
		Password:              o.Password,
		DB:                    o.DB,
		PoolSize:              size,
		PipelinePoolSize:      -1,
		MaxRetries:            -1,
		DialerRetries:         1,
		ContextTimeoutEnabled: true,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

// errURL stands for what package url says of a bad URL, since that quotes it.
var errURL = errors.New("not a valid URL (percent-encode / ? # @ : and % in a user name or password)")

// parseURL refuses an @ behind the server, too: a password that should have
// been encoded begins before it and would be taken for a server.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Fragment != "" || strings.Contains(u.Opaque+u.Path+u.RawQuery, "@") {
		return nil, errURL
	}
	return u, nil
}

// masked shows where a URL leads, and not who goes there.
func masked(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	if u.User != nil {
		shown.User = url.User("***")
	}
	text, err := url.PathUnescape(shown.String())
	if err != nil {
		return shown.String()
	}
	return text
}

// address sets the server, and the database in the path.
func (l *location) address(u *url.URL) error {
	switch u.Scheme {
	case "redis":
		return l.tcp(u)
	case "rediss":
		l.secure = true
		return l.tcp(u)
	case "unix", "redis+socket":
		return l.socket(u)
	}
	return errors.New("the scheme must be redis, rediss, unix or redis+socket")
}

func (l *location) tcp(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "localhost"
	}
	if port == "" {
		port = "6379"
	}
	if number, err := strconv.Atoi(port); err != nil || number > 65535 {
		return fmt.Errorf("bad port %q", port)
	}
	l.options.Addr = net.JoinHostPort(host, port)
	if path := strings.Trim(u.Path, "/"); path != "" {
		return l.database(path)
	}
	return nil
}

func (l *location) socket(u *url.URL) error {
	if u.Host != "" || u.Path == "" {
		return errors.New("want the path of a socket behind three slashes")
	}
	l.options.Network = "unix"
	l.options.Addr = u.Path
	return nil
}

func (l *location) database(text string) error {
	number, err := strconv.Atoi(text)
	if err != nil || number < 0 {
		return fmt.Errorf("bad database %q: want a number", text)
	}
	l.options.DB = number
	return nil
}

// login takes the URL's user and password in place of the entry's.
func (l *location) login(u *url.URL) {
	if name := u.User.Username(); name != "" {
		l.options.Username = name
	}
	if password, ok := u.User.Password(); ok {
		l.options.Password = password
	}
}

// query applies the parameters.
func (l *location) query(u *url.URL) error {
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the query cannot be parsed")
	}
	for name, values := range given {
		apply, known := parameters[name]
		if !known {
			return fmt.Errorf("unknown parameter %q; did you mean %q?", name, nearest(name, parameters))
		}
		if err := apply(l, values[len(values)-1]); err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
	}
	return nil
}

// parameters are those of redis-py's from_url. Errors of a parameter must not
// quote its value where that is a secret.
var parameters = map[string]func(*location, string) error{
	"db":           (*location).database,
	"virtual_host": (*location).database, // Celery's name for it, in redis+socket
	"username":     func(l *location, v string) error { l.options.Username = v; return nil },
	"password":     func(l *location, v string) error { l.options.Password = v; return nil },
	"client_name":  func(l *location, v string) error { l.options.ClientName = v; return nil },

	"socket_timeout":         (*location).socketTimeout,
	"socket_connect_timeout": seconds(func(l *location, d time.Duration) { l.options.DialTimeout = d }),
	"max_connections":        number(1, 1<<20, func(l *location, n int) { l.options.PoolSize = n }),
	"protocol":               number(2, 3, func(l *location, n int) { l.options.Protocol = n }),

	"ssl_cert_reqs":      (*location).certReqs,
	"ssl_check_hostname": (*location).checkHostname,
	"ssl_ca_certs":       file(func(l *location, v string) { l.tls.ca = v }),
	"ssl_certfile":       file(func(l *location, v string) { l.tls.cert = v }),
	"ssl_keyfile":        file(func(l *location, v string) { l.tls.key = v }),

	// What these are for does not arise here: values are bytes, go-redis
	// checks idle connections by itself, the store repeats what may be
	// repeated, a wait for a connection ends with its context, and Go keeps
	// sockets alive.
	"decode_responses":         ignore,
	"encoding":                 ignore,
	"encoding_errors":          ignore,
	"health_check_interval":    ignore,
	"retry_on_timeout":         ignore,
	"retry_on_error":           ignore,
	"socket_keepalive":         ignore,
	"socket_read_size":         ignore,
	"socket_type":              ignore,
	"timeout":                  ignore,
	"single_connection_client": ignore,
	"lib_name":                 ignore,
	"lib_version":              ignore,
}

func ignore(*location, string) error { return nil }

func (l *location) socketTimeout(text string) error {
	return seconds(func(l *location, d time.Duration) {
		l.options.ReadTimeout, l.options.WriteTimeout = d, d
	})(l, text)
}

// maxSeconds keeps a timeout within what a time.Duration holds.
const maxSeconds = 1e9

// seconds is a parameter in seconds, with a fraction or not.
func seconds(set func(*location, time.Duration)) func(*location, string) error {
	return func(l *location, text string) error {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n > 0 && n <= maxSeconds) {
			return fmt.Errorf("%q is not a number of seconds above 0", text)
		}
		set(l, max(time.Duration(n*float64(time.Second)), 1))
		return nil
	}
}

// number is a parameter between least and most.
func number(least, most int, set func(*location, int)) func(*location, string) error {
	return func(l *location, text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("%q is not a number from %d to %d", text, least, most)
		}
		set(l, n)
		return nil
	}
}
