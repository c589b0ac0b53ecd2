package testserver

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
)

// RedisTLS is a Redis server that speaks TLS only, and the files that a client
// needs for it, in PEM.
type RedisTLS struct {
	*Server

	Authority *Authority // signed all certificates
	CAFile    string     // its certificate
	CertFile  string     // the client's certificate
	KeyFile   string     // and its key
}

// StartRedisTLS starts a Redis server for this test alone that speaks TLS
// only, and stops it when the test ends. Its certificate is for 127.0.0.1 and
// localhost, and it asks clients for theirs. The arguments follow ours and win
// over them; with
//
//	StartRedisTLS(t, "--tls-auth-clients", "no")
//
// clients need none. Without the program, or when it was built without TLS,
// the test is skipped as with Redis.
func StartRedisTLS(t testing.TB, args ...string) *RedisTLS {
	t.Helper()
	a := NewAuthority(t)
	cert, key := a.Issue("server", x509.ExtKeyUsageServerAuth, net.IPv4(127, 0, 0, 1))
	s := &RedisTLS{Authority: a, CAFile: a.CAFile()}
	s.CertFile, s.KeyFile = a.Issue("client", x509.ExtKeyUsageClientAuth)
	s.Server = StartRedis(t, append([]string{"--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", s.CAFile, "--tls-cert-file", cert, "--tls-key-file", key}, args...)...)
	s.url = "rediss://" + s.addr
	return s
}

// Authority is a certificate authority for one test. Its files go away with
// the test. It is for the test's own goroutine.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that nobody but this test knows.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), key: newKey(t)}
	template := certificate("test authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.cert = template // signs itself
	der := a.sign(template, a.key)
	a.write("ca", "CERTIFICATE", der)
	cert, err := x509.ParseCertificate(der)
	a.check(err)
	a.cert = cert
	return a
}

// CAFile returns the path of the authority's certificate.
func (a *Authority) CAFile() string { return a.path("ca") }

// Issue signs a certificate, for a server or a client as use says, and returns
// the paths of it and of its key. Servers have addresses; those of the loopback
// interface come with the name localhost. The name tells the files apart.
func (a *Authority) Issue(name string, use x509.ExtKeyUsage, addresses ...net.IP) (certFile, keyFile string) {
	a.t.Helper()
	template := certificate(name)
	template.KeyUsage, template.ExtKeyUsage, template.IPAddresses = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{use}, addresses
	for _, address := range addresses {
		if address.IsLoopback() {
			template.DNSNames = []string{"localhost"}
		}
	}
	key := newKey(a.t)
	a.write(name, "CERTIFICATE", a.sign(template, key))
	der, err := x509.MarshalECPrivateKey(key)
	a.check(err)
	a.write(name+"-key", "EC PRIVATE KEY", der)
	return a.path(name), a.path(name + "-key")
}

// certificate returns a template that is valid around now.
func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text())), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("testserver: %v", err)
	}
	return key
}

func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	a.check(err)
	return der
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

func (a *Authority) write(name, kind string, der []byte) {
	a.t.Helper()
	a.check(os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *Authority) check(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatalf("testserver: %v", err)
	}
}
