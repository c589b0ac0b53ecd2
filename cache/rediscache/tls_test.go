package rediscache_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/celeryresults/celeryresults/cache"
	"github.com/celeryresults/celeryresults/internal/testserver"
)

// authority signs certificates and writes them to files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	a.cert = template
	a.cert = a.sign("ca", template, a.key)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	return key
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a *authority) write(name, kind string, der []byte) {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	require.NoError(a.t, os.WriteFile(a.path(name), text, 0o600))
}

// sign writes name.pem and name-key.pem.
func (a *authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.t, err)
	a.write(name, "CERTIFICATE", der)
	a.write(name+"-key", "EC PRIVATE KEY", private)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert
}

// leaf signs a certificate for servers, with an address, or clients.
func (a *authority) leaf(name string, use x509.ExtKeyUsage, addresses ...net.IP) {
	a.sign(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: addresses,
	}, a.newKey())
}

func startTLS(t *testing.T, a *authority, certificate string) string {
	return testserver.StartRedis(t, "--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", a.path("ca"), "--tls-cert-file", a.path(certificate), "--tls-key-file", a.path(certificate+"-key")).Addr()
}

func TestTLS(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	a.leaf("here", x509.ExtKeyUsageServerAuth, net.IPv4(127, 0, 0, 1))
	a.leaf("elsewhere", x509.ExtKeyUsageServerAuth, net.IPv4(192, 0, 2, 1))
	a.leaf("client", x509.ExtKeyUsageClientAuth)
	here, elsewhere := startTLS(t, a, "here"), startTLS(t, a, "elsewhere")
	client := "ssl_certfile=" + a.path("client") + "&ssl_keyfile=" + a.path("client-key")
	trusting := func(o cache.Options) cache.Options {
		o.ClientCert, o.ClientKey = a.path("client"), a.path("client-key")
		return o
	}
	for _, c := range []struct {
		name, location string
		options        cache.Options
		refusal        string
	}{
		{"files in OPTIONS", "rediss://" + here, trusting(cache.Options{CACert: a.path("ca")}), ""},
		{"files in the query", "rediss://" + here + "?ssl_ca_certs=" + a.path("ca") + "&" + client, cache.Options{}, ""},
		{"no client certificate", "rediss://" + here, cache.Options{CACert: a.path("ca")}, "certificate"},
		{"the system's authorities do not know ours", "rediss://" + here, trusting(cache.Options{}), "unknown authority"},
		{"another authority", "rediss://" + here, trusting(cache.Options{CACert: other.path("ca")}), "certificate signed by unknown authority"},
		{"another authority, unverified", "rediss://" + here, trusting(cache.Options{CACert: other.path("ca"), Insecure: true}), ""},
		{"a server with another's name", "rediss://" + elsewhere, trusting(cache.Options{CACert: a.path("ca")}), "certificate is valid for 192.0.2.1"},
		{"names do not matter", "rediss://" + elsewhere + "?ssl_check_hostname=false", trusting(cache.Options{CACert: a.path("ca")}), ""},
		{"names do not matter, authorities do", "rediss://" + elsewhere + "?ssl_check_hostname=false", trusting(cache.Options{CACert: other.path("ca")}), "unknown authority"},
		{"nothing matters", "rediss://" + elsewhere + "?ssl_cert_reqs=none", trusting(cache.Options{}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := open(t, cache.Settings{Location: []string{c.location}, Options: c.options})
			err := store.Set(t.Context(), "k", item("1"), time.Hour)
			if c.refusal == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.refusal)
			}
		})
	}
}
