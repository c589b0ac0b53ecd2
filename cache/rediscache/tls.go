package rediscache

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/celeryresults/celeryresults/cache"
)

// tlsFiles is what a location and OPTIONS ask of TLS.
type tlsFiles struct {
	ca, cert, key string // PEM files
	insecure      bool   // nothing is verified
	anyName       bool   // the chain is verified, the host name is not
	asked         bool   // the URL names a TLS parameter
}

func filesOf(o cache.Options) tlsFiles {
	return tlsFiles{
		ca: o.CACert, cert: o.ClientCert, key: o.ClientKey, insecure: o.Insecure,
		asked: o.CACert != "" || o.ClientCert != "" || o.ClientKey != "" || o.Insecure,
	}
}

func file(set func(*location, string)) func(*location, string) error {
	return func(l *location, path string) error {
		l.tls.asked = true
		set(l, path)
		return nil
	}
}

// certReqs takes Python's names. A server always presents a certificate, so
// optional means required.
func (l *location) certReqs(text string) error {
	l.tls.asked = true
	switch strings.TrimPrefix(strings.ToLower(text), "cert_") {
	case "none":
		l.tls.insecure = true
	case "optional", "required":
		l.tls.insecure = false
	default:
		return fmt.Errorf("%q is not none, optional or required", text)
	}
	return nil
}

func (l *location) checkHostname(text string) error {
	l.tls.asked = true
	switch strings.ToLower(text) {
	case "1", "true", "yes", "y", "t", "on":
		l.tls.anyName = false
	case "0", "false", "no", "n", "f", "off":
		l.tls.anyName = true
	default:
		return fmt.Errorf("%q is not true or false", text)
	}
	return nil
}

// tlsConfig returns nil for a connection without TLS. Asking for certificates
// there is an error, since nothing would check them.
func (l *location) tlsConfig() (*tls.Config, error) {
	if !l.secure {
		if l.tls.asked {
			return nil, errors.New("TLS options need a rediss:// location")
		}
		return nil, nil
	}
	config := &tls.Config{InsecureSkipVerify: l.tls.insecure}
	if err := l.tls.load(config); err != nil {
		return nil, err
	}
	if l.tls.anyName && !l.tls.insecure {
		verifyChainOnly(config)
	}
	return config, nil
}

// load reads the files.
func (f tlsFiles) load(config *tls.Config) error {
	if f.ca != "" {
		roots, err := loadRoots(f.ca)
		if err != nil {
			return err
		}
		config.RootCAs = roots
	}
	if f.cert == "" && f.key == "" {
		return nil
	}
	key := f.key
	if key == "" {
		key = f.cert
	}
	pair, err := tls.LoadX509KeyPair(f.cert, key)
	if err != nil {
		return fmt.Errorf("client certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return nil
}

func loadRoots(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA certificates: none in %s", path)
	}
	return roots, nil
}

// verifyChainOnly accepts any host name that a trusted authority signed.
func verifyChainOnly(config *tls.Config) {
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: config.RootCAs, Intermediates: x509.NewCertPool()}
		for _, certificate := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(certificate)
		}
		_, err := state.PeerCertificates[0].Verify(options)
		return err
	}
}
