package testserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/internal/testserver"
)

// pingTLS connects to a server under a name, trusting an authority.
func pingTLS(t *testing.T, addr, name, caFile string, certificates ...tls.Certificate) (string, error) {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	raw := dial(t, addr)
	conn := tls.Client(raw.Conn, &tls.Config{RootCAs: roots, ServerName: name, Certificates: certificates})
	defer conn.Close()
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return "", err
	}
	reply := make([]byte, 100)
	n, err := conn.Read(reply)
	return strings.TrimSpace(string(reply[:n])), err
}

// anyRefusal is for what the server refuses: its reason may be lost when it
// resets the connection.
const anyRefusal = ":"

func TestRedisTLS(t *testing.T) {
	redis, open := testserver.StartRedisTLS(t), testserver.StartRedisTLS(t, "--tls-auth-clients", "no")
	assert.Equal(t, "rediss://"+redis.Addr(), redis.URL())
	client, err := tls.LoadX509KeyPair(redis.CertFile, redis.KeyFile)
	require.NoError(t, err)
	for _, c := range []struct {
		name         string
		server       *testserver.RedisTLS
		host, ca     string
		certificates []tls.Certificate
		refusal      string
	}{
		{"client certificate", redis, "127.0.0.1", redis.CAFile, []tls.Certificate{client}, ""},
		{"by name", redis, "localhost", redis.CAFile, []tls.Certificate{client}, ""},
		{"by another name", redis, "example.org", redis.CAFile, []tls.Certificate{client}, "not example.org"},
		{"no client certificate", redis, "127.0.0.1", redis.CAFile, nil, anyRefusal},
		{"another authority", redis, "127.0.0.1", open.CAFile, []tls.Certificate{client}, "unknown authority"},
		{"none is asked for", open, "127.0.0.1", open.CAFile, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			reply, err := pingTLS(t, c.server.Addr(), c.host, c.ca, c.certificates...)
			if c.refusal != "" {
				require.ErrorContains(t, err, c.refusal)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "+PONG", reply)
		})
	}
	require.NoError(t, redis.Restart())
	reply, err := pingTLS(t, redis.Addr(), "localhost", redis.CAFile, client)
	require.NoError(t, err)
	assert.Equal(t, "+PONG", reply)
}
