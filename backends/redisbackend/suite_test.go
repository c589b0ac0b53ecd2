package redisbackend_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults"
	"github.com/celeryresults/celeryresults/backends/redisbackend"
	"github.com/celeryresults/celeryresults/driver"
	"github.com/celeryresults/celeryresults/driver/drivertest"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// harness returns that of the server at a URL.
func harness(address, name string) drivertest.Harness {
	base := celeryresults.Settings{ResultBackend: address, ResultSerializer: name, ResultAcceptContent: []string{name}}
	base.ResultBackendTransportOptions.GlobalKeyPrefix = name
	return harnessOf(base)
}

func harnessOf(base celeryresults.Settings) drivertest.Harness {
	return drivertest.Harness{
		Open: func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
			t.Helper()
			b, err := redisbackend.Open(over(base, s))
			require.NoError(t, err)
			return b
		},
		Raw: func(t *testing.T, b *celeryresults.Backend, id string) []byte {
			t.Helper()
			records := []driver.Record{{ID: id}}
			require.NoError(t, b.Driver().Get(t.Context(), driver.Task, records, 0))
			return records[0].Document
		},
		Break: func(t *testing.T, b *celeryresults.Backend, id string) {
			t.Helper()
			w := &driver.Write{Kind: driver.Task, ID: id, Power: driver.Anything, Document: []byte("no document"), TTL: time.Hour}
			b.Driver().Put(t.Context(), []*driver.Write{w})
			require.Equal(t, driver.Stored, w.Answer.Outcome)
		},
		ShortestExpiry: time.Second,
		PlainValues:    base.ResultSerializer == "yaml" || base.ResultSerializer == "msgpack",
	}
}

// over lays the suite's settings over those of a server.
func over(base, s celeryresults.Settings) celeryresults.Settings {
	base.ResultExpires, base.ResultExtended = s.ResultExpires, s.ResultExtended
	base.ResultTombstones, base.ResultTally = s.ResultTombstones, s.ResultTally
	return base
}

func TestSuite(t *testing.T) {
	for _, name := range serializers {
		t.Run(name, func(t *testing.T) {
			h := harness("redis://"+testserver.Redis(t)+"/3", name)
			h.ValuesOnly = name != "json"
			h.Dead = func(t *testing.T) *celeryresults.Backend {
				t.Helper()
				b, err := redisbackend.Open(celeryresults.Settings{ResultBackend: "redis://127.0.0.1:1"})
				require.NoError(t, err)
				return b
			}
			drivertest.Run(t, h)
		})
	}
}

// Records that are compressed, whose states the server can't tell.
func TestSuiteWithCompressedRecords(t *testing.T) {
	for name, method := range map[string]string{"json": "zstd", "pickle": "gzip"} {
		t.Run(name+" by "+method, func(t *testing.T) {
			s := serializer(testserver.Redis(t)+"/4", name)
			s.ResultBackendTransportOptions.GlobalKeyPrefix = name
			s.ResultCompression = method
			h := harnessOf(s)
			h.ValuesOnly = true
			drivertest.Run(t, h)
		})
	}
	_, err := redisbackend.Open(celeryresults.Settings{ResultBackend: "redis://127.0.0.1", ResultCompression: "brotli"})
	require.ErrorContains(t, err, "CELERY_RESULT_COMPRESSION")
}

func TestSuiteOverASocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	testserver.StartRedis(t, "--unixsocket", path)
	drivertest.Run(t, harness("redis+socket://"+path+"?virtual_host=2", "json"))
}

func TestSuiteOfMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	h := harness("redis://"+server.Addr(), "json")
	h.Advance = server.FastForward
	drivertest.Run(t, h)
}

func TestSuiteOverTLS(t *testing.T) {
	server := testserver.StartRedisTLS(t)
	query := url.Values{
		"ssl_cert_reqs": {"CERT_REQUIRED"}, "ssl_ca_certs": {server.CAFile}, "ssl_certfile": {server.CertFile}, "ssl_keyfile": {server.KeyFile},
	}
	drivertest.Run(t, harness(server.URL()+"/0?"+query.Encode(), "json"))
}

func TestSuiteOfASentinelsMaster(t *testing.T) {
	servers := testserver.StartSentinel(t, 1, 3)
	s := celeryresults.Settings{ResultBackend: "sentinel://" + strings.Join(servers.SentinelAddrs(), "/0;sentinel://") + "/0"}
	s.ResultBackendTransportOptions.Other = map[string]any{"master_name": servers.MasterName()}
	drivertest.Run(t, harnessOf(s))
}

func TestSuiteOfACluster(t *testing.T) {
	nodes := testserver.StartCluster(t, 3)
	h := harness("redis+cluster://"+strings.Join(nodes.Addrs(), ","), "json")
	h.Hidden = true
	drivertest.Run(t, h)
}

func TestSuiteOfACallersClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: testserver.Redis(t), DB: 4, ContextTimeoutEnabled: true})
	defer client.Close()
	h := harness("", "json")
	h.Open = func(t *testing.T, s celeryresults.Settings) *celeryresults.Backend {
		t.Helper()
		b, err := redisbackend.New(client, s, redisbackend.Options{})
		require.NoError(t, err)
		return b
	}
	drivertest.Run(t, h)
}
