package rediscache

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// location is a parsed URL on its way to the options of a client.
type location struct{ redisclient.Config }

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
	l := location{redisclient.Config{Options: baseOptions(o), TLS: filesOf(o)}}
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
	if l.Options.TLSConfig, err = l.TLS.Config(); err != nil {
		return nil, fmt.Errorf("%s: %w", masked(u), err)
	}
	return l.Options, nil
}

// baseOptions are those that no location changes, and the entry's.
func baseOptions(o cache.Options) *redis.Options {
	base := redisclient.Base()
	base.Username, base.Password, base.DB = o.Username, o.Password, o.DB
	if o.PoolSize > 0 {
		base.PoolSize = o.PoolSize
	}
	return base
}

func filesOf(o cache.Options) redisclient.TLS {
	return redisclient.TLS{
		CA: o.CACert, Cert: o.ClientCert, Key: o.ClientKey, Insecure: o.Insecure,
		Asked: o.CACert != "" || o.ClientCert != "" || o.ClientKey != "" || o.Insecure,
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
		l.TLS.Secure = true
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
	l.Options.Addr = net.JoinHostPort(host, port)
	if path := strings.Trim(u.Path, "/"); path != "" {
		return l.Database(path)
	}
	return nil
}

func (l *location) socket(u *url.URL) error {
	if u.Host != "" || u.Path == "" {
		return errors.New("want the path of a socket behind three slashes")
	}
	l.Options.Network = "unix"
	l.Options.Addr = u.Path
	return nil
}

// login takes the URL's user and password in place of the entry's.
func (l *location) login(u *url.URL) {
	if name := u.User.Username(); name != "" {
		l.Options.Username = name
	}
	if password, ok := u.User.Password(); ok {
		l.Options.Password = password
	}
}

// query applies the parameters.
func (l *location) query(u *url.URL) error {
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("the query cannot be parsed")
	}
	for name, values := range given {
		err := l.Set(name, values[len(values)-1])
		if errors.Is(err, redisclient.ErrUnknown) {
			return fmt.Errorf("%w %q; did you mean %q?", err, name, redisclient.Nearest(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
