package redisbackend

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// target is what a URL and settings say of the servers.
type target struct {
	kind   kind
	config redisclient.Config // of the connections; with the address of a single server
	hosts  []string           // of sentinels, or of a cluster's nodes

	master   string // its name among the sentinels
	sentinel redisclient.Config
}

type kind int

const (
	single kind = iota
	sentinels
	cluster
)

// Celery's default of redis_socket_timeout, and go-redis' of connecting.
const (
	socketTimeout  = 120 * time.Second
	connectTimeout = 5 * time.Second
)

// forever stands for no limit where go-redis has none for that.
const forever = 24 * time.Hour

// parse reads Settings.ResultBackend as Store and SentinelBackend do, with
// Settings.Redis for what it leaves out. Its errors never quote a user, a password,
// or a piece of either.
func parse(s celeryresults.Settings) (target, error) {
	scheme, rest, ok := strings.Cut(s.ResultBackend, "://")
	if !ok && scheme != "redis" { // of whom Settings.Redis says the rest

		return target{}, errors.New("want a URL, such as redis://localhost:6379/0")
	}
	t := target{config: baseConfig(s.Redis)}
	if !ok { // a URL without a database means 0
		t.config.Options.DB = s.Redis.DB
	}
	var err error
	switch scheme {
	case "redis":
		err = t.tcp(rest, s.Redis)
	case "rediss":
		t.config.TLS.Secure = true
		err = t.tcp(rest, s.Redis)
	case "redis+socket", "socket":
		err = t.socket(rest, s.Redis)
	case "sentinel":
		err = t.sentinels(rest, s)
	case "redis+cluster", "rediss+cluster":
		t.config.TLS.Secure = scheme == "rediss+cluster"
		err = t.cluster(rest, s.Redis)
	default:
		err = fmt.Errorf("unknown scheme %q; known are %s", scheme, strings.Join(schemes, ", "))
	}
	if err != nil {
		return target{}, err
	}
	t.config.Options.TLSConfig, err = t.config.TLS.Config()
	return t, err
}

var schemes = []string{"redis", "rediss", "redis+socket", "sentinel", "redis+cluster", "rediss+cluster"}

// baseConfig has what settings say of every connection.
func baseConfig(r celeryresults.RedisSettings) redisclient.Config {
	o := redisclient.Base()
	o.Username, o.Password = r.Username, r.Password
	if r.MaxConnections > 0 {
		o.PoolSize = r.MaxConnections
	}
	o.ReadTimeout = max(cmp.Or(r.SocketTimeout, socketTimeout), -1)
	o.WriteTimeout = o.ReadTimeout
	o.DialTimeout = cmp.Or(r.ConnectTimeout, connectTimeout)
	if o.DialTimeout < 0 {
		o.DialTimeout = forever
	}
	return redisclient.Config{Options: o}
}

func (t *target) tcp(rest string, r celeryresults.RedisSettings) error {
	u, err := split(rest)
	if err != nil {
		return err
	}
	if t.config.Options.Addr, err = address(u.host, u.port, r); err != nil {
		return err
	}
	u.drop("virtual_host") // is for sockets
	return t.apply(u, r.UseSSL)
}

// apply sets what is alike for all schemes but sockets: redis_backend_use_ssl, the
// credentials, the database in the path, and the query over all of them.
func (t *target) apply(u parts, ssl map[string]any) error {
	if err := useSSL(&t.config, ssl); err != nil {
		return err
	}
	if err := t.database(u.path); err != nil {
		return err
	}
	t.login(u)
	return t.query(u)
}

func (t *target) database(path string) error {
	if path = strings.Trim(path, "/"); path != "" {
		return t.config.Database(path)
	}
	return nil
}

func (t *target) login(u parts) {
	if u.user != "" {
		t.config.Options.Username = u.user
	}
	if u.password != "" {
		t.config.Options.Password = u.password
	}
}

func (t *target) query(u parts) error {
	for _, p := range u.query {
		err := t.config.Set(p.name, p.value)
		if errors.Is(err, redisclient.ErrUnknown) {
			return fmt.Errorf("%w %q; known are %s", err, p.name, strings.Join(redisclient.Names(), ", "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *target) socket(rest string, r celeryresults.RedisSettings) error {
	u, err := split(rest)
	if err != nil {
		return err
	}
	if u.host != "" || u.path == "" {
		return errors.New("want the path of a socket behind three slashes")
	}
	t.config.Options.Network, t.config.Options.Addr = "unix", "/"+u.path
	t.config.Options.DB = r.DB
	u.path = ""
	return t.apply(u, nil)
}

// sentinels reads several URLs with a ; between them. As in Celery, the first has
// the database and the credentials of the master.
func (t *target) sentinels(rest string, s celeryresults.Settings) error {
	t.kind = sentinels
	t.config.TLS.Secure = len(s.Redis.UseSSL) > 0
	for i, text := range strings.Split(rest, ";") {
		u, err := split(strings.TrimPrefix(text, "sentinel://"))
		if err != nil {
			return err
		}
		host, err := address(u.host, u.port, s.Redis)
		if err != nil {
			return err
		}
		t.hosts = append(t.hosts, host)
		u.drop("virtual_host")
		if i > 0 { // the rest is said by the first
			continue
		}
		if u.anySSL() {
			return errors.New("TLS to the master of a sentinel is switched on by CELERY_REDIS_BACKEND_USE_SSL, and to the sentinels by sentinel_kwargs")
		}
		if err := t.apply(u, s.Redis.UseSSL); err != nil {
			return err
		}
	}
	return t.transport(s.ResultBackendTransportOptions.Other)
}

// transport reads the transport options of a sentinel.
func (t *target) transport(options map[string]any) error {
	t.master, _ = options["master_name"].(string)
	if t.master == "" {
		return errors.New("sentinel:// needs the master's name: master_name in CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS")
	}
	kwargs, given := options["sentinel_kwargs"]
	values, ok := kwargs.(map[string]any)
	if given && !ok {
		return errors.New("sentinel_kwargs in CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS is no mapping")
	}
	t.sentinel = redisclient.Config{Options: redisclient.Base()}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := textOf(values[name])
		if name == "ssl" {
			t.sentinel.TLS.Secure = value == "true" || value == "1"
			continue
		}
		if err := t.sentinel.Set(name, sslValue(name, value)); err != nil {
			return fmt.Errorf("sentinel_kwargs: %s: %w", name, err)
		}
	}
	config, err := t.sentinel.TLS.Config()
	t.sentinel.Options.TLSConfig = config
	if err != nil {
		return fmt.Errorf("sentinel_kwargs: %w", err)
	}
	return nil
}

// cluster reads user:password@host:port,host:port?query.
func (t *target) cluster(rest string, r celeryresults.RedisSettings) error {
	t.kind = cluster
	server := rest
	if i := strings.IndexAny(server, "/?#"); i >= 0 {
		server = server[:i]
	}
	start := strings.LastIndex(server, "@") + 1
	for i, host := range strings.Split(server[start:], ",") {
		text := strings.TrimSpace(host)
		if i == 0 {
			text = rest[:start] + text + rest[len(server):]
		}
		u, err := split(text)
		if err != nil {
			return err
		}
		if host, err = address(u.host, u.port, r); err != nil {
			return err
		}
		t.hosts = append(t.hosts, host)
		if i > 0 {
			continue
		}
		if err := t.apply(u, r.UseSSL); err != nil {
			return err
		}
	}
	if t.config.Options.DB != 0 {
		return errors.New("a cluster has database 0 alone")
	}
	return nil
}

// useSSL applies redis_backend_use_ssl.
func useSSL(c *redisclient.Config, options map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		if !strings.HasPrefix(name, "ssl_") {
			return fmt.Errorf("CELERY_REDIS_BACKEND_USE_SSL: unknown entry %q; known are ssl_cert_reqs, ssl_ca_certs, ssl_certfile, ssl_keyfile and ssl_check_hostname", name)
		}
		if err := c.Set(name, sslValue(name, textOf(options[name]))); err != nil {
			return fmt.Errorf("CELERY_REDIS_BACKEND_USE_SSL: %s: %w", name, err)
		}
	}
	return nil
}

// sslValue takes the numbers of Python's ssl.CERT_NONE, CERT_OPTIONAL and
// CERT_REQUIRED, too.
func sslValue(name, value string) string {
	if number, err := strconv.Atoi(value); err == nil && name == "ssl_cert_reqs" && number >= 0 && number <= 2 {
		return []string{"none", "optional", "required"}[number]
	}
	return value
}

func textOf(value any) string {
	if s, ok := value.(string); ok {
		return s
	}
	return fmt.Sprint(value)
}

// address joins host and port, with the settings for what is missing.
func address(host, port string, r celeryresults.RedisSettings) (string, error) {
	host = cmp.Or(host, r.Host, "localhost")
	if port == "" {
		port = strconv.Itoa(cmp.Or(r.Port, 6379))
	}
	if number, err := strconv.Atoi(port); err != nil || number < 0 || number > 65535 {
		return "", errPort
	}
	return net.JoinHostPort(host, port), nil
}

var (
	errURL  = errors.New("not a valid URL (percent-encode / ? # @ : and % in a user name or password)")
	errPort = errors.New("the port is no number up to 65535 (percent-encode / ? # @ : and % in a password)")
)

// parts are the pieces of a URL behind its scheme.
type parts struct {
	user, password, host, port, path string
	query                            []parameter
}

type parameter struct{ name, value string }

// split takes a URL apart as kombu.utils.url.url_to_parts does, which is Python's
// urlsplit: more lenient than Go's.
func split(rest string) (parts, error) {
	if strings.Contains(rest, "#") || strings.ContainsAny(rest, " \t\r\n\x00") {
		return parts{}, errURL
	}
	rest, query, _ := strings.Cut(rest, "?")
	server, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path+query, "@") && !strings.Contains(server, "@") && server != "" {
		return parts{}, errURL // a password with a / or a ? in it, most likely
	}
	u := parts{path: unquote(path), query: parameters(query)}
	if at := strings.LastIndex(server, "@"); at >= 0 {
		user, password, _ := strings.Cut(server[:at], ":")
		u.user, u.password = unquote(user), unquote(password)
		server = server[at+1:]
	}
	var host string
	if end := strings.LastIndex(server, "]"); strings.HasPrefix(server, "[") && end > 0 {
		host = server[1:end]
		u.port = strings.TrimPrefix(server[end+1:], ":")
	} else {
		host, u.port, _ = strings.Cut(server, ":")
	}
	u.host = strings.ToLower(unquote(host))
	return u, nil
}

// parameters reads a query as parse_qsl does: the last of a name counts, and
// empty ones do not.
func parameters(query string) []parameter {
	var list []parameter
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		p := parameter{unquote(strings.ReplaceAll(name, "+", " ")), unquote(strings.ReplaceAll(value, "+", " "))}
		if p.value == "" {
			continue
		}
		list = append(slices.DeleteFunc(list, func(q parameter) bool { return q.name == p.name }), p)
	}
	return list
}

func (u *parts) drop(name string) {
	u.query = slices.DeleteFunc(u.query, func(p parameter) bool { return p.name == name })
}

func (u *parts) anySSL() bool {
	return slices.ContainsFunc(u.query, func(p parameter) bool { return strings.HasPrefix(p.name, "ssl_") })
}

// unquote decodes percent escapes; what is none stays, as in Python.
func unquote(text string) string {
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
