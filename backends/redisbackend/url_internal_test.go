package redisbackend

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
)

// celeryURL is a line of testdata/urls.jsonl: what Celery makes of a URL.
type celeryURL struct {
	Name, URL, Error string
	Settings         map[string]any
	Params           map[string]any
}

func celeryURLs(t *testing.T) []celeryURL {
	data, err := os.ReadFile("testdata/urls.jsonl")
	require.NoError(t, err)
	var list []celeryURL
	for line := range bytes.Lines(data) {
		var u celeryURL
		require.NoError(t, json.Unmarshal(line, &u))
		if u.Name != "" {
			list = append(list, u)
		}
	}
	return list
}

func (u celeryURL) settings() celeryresults.Settings {
	s := celeryresults.Settings{ResultBackend: u.URL}
	s.ResultBackendTransportOptions.Other = map[string]any{"master_name": "mymaster"}
	text := func(name string) string { v, _ := u.Settings[name].(string); return v }
	number := func(name string) float64 { v, _ := u.Settings[name].(float64); return v }
	seconds := func(name string) time.Duration { return time.Duration(number(name) * float64(time.Second)) }
	s.Redis = celeryresults.RedisSettings{
		Host: text("redis_host"), Port: int(number("redis_port")), DB: int(number("redis_db")),
		Username: text("redis_username"), Password: text("redis_password"), MaxConnections: int(number("redis_max_connections")),
		SocketTimeout: seconds("redis_socket_timeout"), ConnectTimeout: seconds("redis_socket_connect_timeout"),
	}
	s.Redis.UseSSL, _ = u.Settings["redis_backend_use_ssl"].(map[string]any)
	return s
}

// params shows a target in Celery's terms, as far as Celery says something.
func (t target) params(like map[string]any) map[string]any {
	o := t.config.Options
	all := map[string]any{
		"db": float64(o.DB), "username": o.Username, "password": o.Password, "max_connections": float64(o.PoolSize),
		"socket_timeout": o.ReadTimeout.Seconds(), "socket_connect_timeout": o.DialTimeout.Seconds(),
		"ssl_ca_certs": t.config.TLS.CA, "ssl_certfile": t.config.TLS.Cert, "ssl_keyfile": t.config.TLS.Key,
		"path": o.Addr, "hosts": t.hostPairs(),
		"retry_on_timeout": like["retry_on_timeout"], "health_check_interval": like["health_check_interval"], // have no effect
	}
	if host, port, err := net.SplitHostPort(o.Addr); err == nil {
		all["host"], all["port"] = host, number(port)
	}
	switch {
	case t.config.TLS.Secure:
		all["connection_class"] = "SSLConnection"
	case o.Network == "unix":
		all["connection_class"] = "UnixDomainSocketConnection"
	}
	all["ssl_cert_reqs"] = like["ssl_cert_reqs"]
	if reqs, ok := like["ssl_cert_reqs"].(string); ok && (reqs == "CERT_NONE") != t.config.TLS.Insecure {
		all["ssl_cert_reqs"] = "wrong"
	}
	for name := range all {
		if _, said := like[name]; !said {
			delete(all, name)
		}
	}
	if o.Username != "" && like["username"] == nil || o.Password != "" && like["password"] == nil {
		all["credentials"] = "that Celery does not have"
	}
	return all
}

func (t target) hostPairs() any {
	var pairs []any
	for _, address := range t.hosts {
		host, port, _ := net.SplitHostPort(address)
		pairs = append(pairs, []any{host, number(port)})
	}
	return pairs
}

func number(text string) float64 {
	var n float64
	_ = json.Unmarshal([]byte(text), &n)
	return n
}

func TestURLsAreReadAsCeleryReadsThem(t *testing.T) {
	urls := celeryURLs(t)
	require.GreaterOrEqual(t, len(urls), 25)
	for _, u := range urls {
		t.Run(u.Name, func(t *testing.T) {
			s := u.settings()
			got, err := parseOnly(s)
			if u.Error != "" {
				require.Error(t, err, u.URL)
				return
			}
			require.NoError(t, err, u.URL)
			assert.Equal(t, u.Params, got.params(u.Params), u.URL)
		})
	}
	t.Logf("%d URLs are read as Celery reads them", len(urls))
}

// parseOnly parses without reading the certificates, which are not there.
func parseOnly(s celeryresults.Settings) (target, error) {
	t, err := parse(s)
	if err != nil && strings.Contains(err.Error(), "/etc/") {
		err = nil
	}
	return t, err
}

func TestURLsBeyondCelery(t *testing.T) {
	for text, want := range map[string]struct {
		hosts  []string
		secure bool
	}{
		"redis+cluster://a:7000,b,[::1]:7002":                    {[]string{"a:7000", "b:6379", "[::1]:7002"}, false},
		"redis+cluster://u:p@a:7000,b:7001/0?socket_timeout=3":   {[]string{"a:7000", "b:7001"}, false},
		"rediss+cluster://a:7000,b:7001?ssl_cert_reqs=CERT_NONE": {[]string{"a:7000", "b:7001"}, true},
	} {
		got, err := parse(celeryresults.Settings{ResultBackend: text})
		require.NoError(t, err, text)
		assert.Equal(t, want.hosts, got.hosts, text)
		assert.Equal(t, want.secure, got.config.Options.TLSConfig != nil, text)
	}
	got, err := parse(celeryresults.Settings{ResultBackend: "rediss://h"})
	require.NoError(t, err)
	assert.False(t, got.config.TLS.Insecure, "without ssl_cert_reqs certificates are checked")
}

func TestSentinelsTakeTheTransportOptions(t *testing.T) {
	s := celeryresults.Settings{ResultBackend: "sentinel://:pw@a:26379/1;sentinel://b:26379"}
	s.Redis.UseSSL = map[string]any{"ssl_cert_reqs": 0}
	s.ResultBackendTransportOptions.Other = map[string]any{
		"master_name": "main", "sentinel_kwargs": map[string]any{"password": "other", "ssl": true, "ssl_cert_reqs": "none"},
	}
	got, err := parse(s)
	require.NoError(t, err)
	assert.Equal(t, "main", got.master)
	assert.Equal(t, "pw", got.config.Options.Password)
	assert.Equal(t, "other", got.sentinel.Options.Password)
	assert.NotNil(t, got.config.Options.TLSConfig)
	assert.NotNil(t, got.sentinel.Options.TLSConfig)
	assert.Equal(t, []string{"a:26379", "b:26379"}, got.options().Failover().SentinelAddrs)
}

func TestWrongURLsSayWhatIsWrongAndNoSecret(t *testing.T) {
	for text, want := range map[string]string{
		"redis://:hunter2@h?sockettimeout=1":            `unknown parameter "sockettimeout"; known are`,
		"redis://:hunter2@h?socket_timeout=0":           "socket_timeout",
		"redis://:hunter2@h:x/0":                        "port",
		"redis://:hun/hunter2@h/0":                      "percent-encode",
		"redis://:hun?hunter2@h/0":                      "percent-encode",
		"redis://:hun#hunter2@h/0":                      "percent-encode",
		"redis://:hunter2@h/zero":                       `bad database "zero"`,
		"redis://:hunter2@h/0?ssl_cert_reqs=required":   "rediss://",
		"rediss://:hunter2@h/0?ssl_cert_reqs=perhaps":   "ssl_cert_reqs",
		"rediss://:hunter2@h/0?ssl_ca_certs=/not/there": "CA certificates",
		"redis+socket://:hunter2@":                      "three slashes",
		"redis+socket://:hunter2@h/path":                "three slashes",
		"sentinel://:hunter2@h:26379":                   "master_name",
		"redis+cluster://:hunter2@a,b/3":                "database 0",
		"redis+tls://:hunter2@h":                        `unknown scheme "redis+tls"`,
		"redis:hunter2":                                 "want a URL",
		"redis://:hunter2@h?max_connections=many":       "max_connections",
	} {
		_, err := Open(celeryresults.Settings{ResultBackend: text})
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "hunter2", text)
	}
}

func FuzzURLs(f *testing.F) {
	for _, text := range []string{"redis://u:p@h:1/2?db=3", "sentinel://a;sentinel://b", "redis+cluster://a,b", "redis+socket:///s", "redis://[::1"} {
		f.Add(text, "pass/wo?rd")
	}
	f.Fuzz(func(t *testing.T, text, password string) {
		_, _ = parse(celeryresults.Settings{ResultBackend: text})
		if len(password) < 6 || strings.Contains("redis://u:**@h:6379/0 percent-encode # in a password name user", password) {
			return
		}
		got, err := parse(celeryresults.Settings{ResultBackend: "redis://user:" + password + "@h:port/0"})
		if err == nil {
			t.Skip(got.config.Options.Addr)
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password %q: %v", password, err)
		}
	})
}
