package rediscache

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/redisclient"
)

// shown is what the tests look at in a client's options.
type shown struct {
	network, addr, user, password string
	db                            int
	tls                           bool
}

func show(o *redis.Options) shown {
	return shown{o.Network, o.Addr, o.Username, o.Password, o.DB, o.TLSConfig != nil}
}

func TestLocationsAreReadAsRedisPyReadsThem(t *testing.T) {
	entry := cache.Options{Username: "entry", Password: "entry's", DB: 7}
	for _, c := range []struct {
		name, text string
		options    cache.Options
		want       shown
	}{
		{"a host", "redis://cache.example", cache.Options{}, shown{addr: "cache.example:6379"}},
		{"no host", "redis://", cache.Options{}, shown{addr: "localhost:6379"}},
		{"host, port and database", "redis://h:1234/3", cache.Options{}, shown{addr: "h:1234", db: 3}},
		{"the database with a slash behind", "redis://h/3/", cache.Options{}, shown{addr: "h:6379", db: 3}},
		{"the query's database wins", "redis://h/3?db=4", cache.Options{}, shown{addr: "h:6379", db: 4}},
		{"IPv6", "redis://[::1]:1234", cache.Options{}, shown{addr: "[::1]:1234"}},
		{"TLS", "rediss://h/1", cache.Options{}, shown{addr: "h:6379", db: 1, tls: true}},
		{"a password alone", "redis://:pw@h", cache.Options{}, shown{addr: "h:6379", password: "pw"}},
		{"user and password, percent-encoded", "redis://us%40er:p%2Fw%3F@h", cache.Options{}, shown{addr: "h:6379", user: "us@er", password: "p/w?"}},
		{"user and password in the query", "redis://h?username=u&password=p", cache.Options{}, shown{addr: "h:6379", user: "u", password: "p"}},
		{"a unix socket", "unix:///run/redis.sock?db=2", cache.Options{}, shown{network: "unix", addr: "/run/redis.sock", db: 2}},
		{"a unix socket with a password", "unix://u:p@/run/redis.sock", cache.Options{}, shown{network: "unix", addr: "/run/redis.sock", user: "u", password: "p"}},
		{"Celery's unix socket", "redis+socket:///run/redis.sock?virtual_host=5", cache.Options{}, shown{network: "unix", addr: "/run/redis.sock", db: 5}},
		{"OPTIONS fill what is missing", "redis://h", entry, shown{addr: "h:6379", user: "entry", password: "entry's", db: 7}},
		{"the URL goes before OPTIONS", "redis://u:p@h/0", entry, shown{addr: "h:6379", user: "u", password: "p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := clientOptions(c.text, c.options)
			require.NoError(t, err, c.text)
			assert.Equal(t, c.want, show(got), c.text)
		})
	}
}

func TestParametersSetTheClient(t *testing.T) {
	got, err := clientOptions("rediss://h?socket_timeout=1.5&socket_connect_timeout=2&timeout=3&max_connections=9&protocol=2"+
		"&client_name=web&ssl_check_hostname=False&decode_responses=True&health_check_interval=30&retry_on_timeout=1", cache.Options{PoolSize: 5})
	require.NoError(t, err)
	assert.Equal(t, 1500*time.Millisecond, got.ReadTimeout)
	assert.Equal(t, 1500*time.Millisecond, got.WriteTimeout)
	assert.Equal(t, 2*time.Second, got.DialTimeout)
	assert.Equal(t, 9, got.PoolSize)
	assert.Equal(t, 2, got.Protocol)
	assert.Equal(t, "web", got.ClientName)
	assert.NotNil(t, got.TLSConfig.VerifyConnection, "the chain is still verified")

	got, err = clientOptions("rediss://h?ssl_cert_reqs=CERT_NONE", cache.Options{})
	require.NoError(t, err)
	assert.True(t, got.TLSConfig.InsecureSkipVerify)
	assert.Nil(t, got.TLSConfig.VerifyConnection)

	got, err = clientOptions("rediss://h?ssl_cert_reqs=required", cache.Options{Insecure: true})
	require.NoError(t, err)
	assert.False(t, got.TLSConfig.InsecureSkipVerify, "the URL goes before OPTIONS")

	got, err = clientOptions("redis://h", cache.Options{})
	require.NoError(t, err)
	assert.Equal(t, redisclient.DefaultPoolSize, got.PoolSize)
}

func TestBadLocationsAreErrorsThatSayWhy(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"cache.example:6379", "the scheme must be"},
		{"cache.example", "the scheme must be"},
		{"http://h", "the scheme must be"},
		{"redis://h/abc", `bad database "abc"`},
		{"redis://h/-1", `bad database "-1"`},
		{"redis://h/1/2", `bad database "1/2"`},
		{"redis://h?db=x", `bad database "x"`},
		{"redis://h:99999", `bad port "99999"`},
		{"redis://h:port", "not a valid URL"},
		{"unix://", "path of a socket"},
		{"unix://run/redis.sock", "path of a socket"},
		{"redis://h?socket_timout=5", `unknown parameter "socket_timout"; did you mean "socket_timeout"?`},
		{"rediss://h?ssl_cert_req=none", `did you mean "ssl_cert_reqs"?`},
		{"redis://h?socket_timeout=soon", `"soon" is not a number of seconds`},
		{"redis://h?socket_timeout=0", `"0" is not a number of seconds`},
		{"redis://h?socket_timeout=NaN", `"NaN" is not a number of seconds`},
		{"redis://h?max_connections=0", `parameter max_connections: "0" is not a number from 1`},
		{"redis://h?protocol=4", `"4" is not a number from 2 to 3`},
		{"rediss://h?ssl_cert_reqs=maybe", `"maybe" is not none, optional or required`},
		{"rediss://h?ssl_check_hostname=maybe", `"maybe" is not true or false`},
		{"redis://h?ssl_ca_certs=ca.pem", "TLS options need a rediss:// location"},
		{"rediss://h?ssl_ca_certs=/absent.pem", "CA certificates: open /absent.pem"},
		{"rediss://h?ssl_certfile=/absent.pem", "client certificate: open /absent.pem"},
		{"redis://h?db=%zz", "the query cannot be parsed"},
	} {
		_, err := clientOptions(c.text, cache.Options{})
		assert.ErrorContains(t, err, c.want, c.text)
	}
}

func TestOneTextHoldsSeveralLocations(t *testing.T) {
	for _, c := range []struct{ texts, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"redis://a"}, []string{"redis://a"}},
		{[]string{"redis://a;redis://b"}, []string{"redis://a", "redis://b"}},
		{[]string{"redis://a,unix:///b , rediss://c"}, []string{"redis://a", "unix:///b", "rediss://c"}},
		{[]string{"redis://a", "redis://b"}, []string{"redis://a", "redis://b"}},
		{[]string{"redis://:p,w;x@a,redis://b"}, []string{"redis://:p,w;x@a", "redis://b"}},
	} {
		assert.Equal(t, c.want, splitLocations(c.texts), "%q", c.texts)
	}
}

// secret is hidden in every credential of the tests below.
const secret = "Xq7Zk9"

func TestErrorsNeverShowAPassword(t *testing.T) {
	for _, text := range []string{
		"redis://:" + secret + "@h/abc",
		"redis://" + secret + "@h/abc",
		"redis://user:" + secret + "@h:99999",
		"redis://user:a/" + secret + "@h",
		"redis://user:a?" + secret + "@h",
		"redis://user:a#" + secret + "@h",
		"redis://user:a%" + secret + "@h",
		"redis://user:a[" + secret + "@h",
		"redis://user:12/" + secret + "@h:1/0",
		"redis://user:12?" + secret + "@h:1/0",
		"redis://user:12#" + secret + "@h:1/0",
		"redis:/:" + secret + "@h",
		"redis::" + secret + "@h",
		"user:" + secret + "@h",
		"redis://:" + secret + "\n@h",
		"http://user:" + secret + "@h",
		"redis://h?password=" + secret + "&db=x",
		"redis://h?password=" + secret + "&nope=1",
		"redis://h?password=" + secret + "%zz",
	} {
		for _, location := range [][]string{{text}, {"redis://ok", text}} {
			_, err := Open(cache.Settings{Location: location})
			if assert.Error(t, err, text) {
				assert.NotContains(t, err.Error(), secret, text)
			}
		}
	}
}

func FuzzLocations(f *testing.F) {
	for _, c := range []struct{ before, after string }{
		{"redis://:", "@h/0"}, {"redis://u:", "/x@h"}, {"unix://:", "@/s?db=x"}, {"rediss://[::1]:", "@"}, {"redis://h?password=", "&x=1"},
		{"", ""}, {"%", "@"}, {"redis+socket://", "@/p?virtual_host=1"}, {"a;b,redis://", "@"},
	} {
		f.Add(c.before, c.after)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		location := before + ":" + secret + "@" + after
		for _, text := range splitLocations([]string{location}) {
			options, err := clientOptions(text, cache.Options{})
			if err == nil && (options == nil || options.Addr == "" || options.DB < 0) {
				t.Errorf("clientOptions(%q) = %+v", text, options)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("clientOptions(%q): the error shows the secret: %v", text, err)
			}
		}
	})
}
