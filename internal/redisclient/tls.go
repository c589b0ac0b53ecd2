package redisclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// TLS is what a URL and settings ask of TLS.
type TLS struct {
	Secure        bool   // TLS is spoken
	CA, Cert, Key string // PEM files
	Insecure      bool   // nothing is verified
	AnyName       bool   // the chain is verified, the host name is not
	Asked         bool   // a TLS parameter was given
}

func file(set func(*Config, string)) func(*Config, string) error {
	return func(c *Config, path string) error {
		c.TLS.Asked = true
		set(c, path)
		return nil
	}
}

// certReqs takes Python's names. A server always presents a certificate, so
// optional means required.
func (c *Config) certReqs(text string) error {
	c.TLS.Asked = true
	switch strings.TrimPrefix(strings.ToLower(text), "cert_") {
	case "none":
		c.TLS.Insecure = true
	case "optional", "required":
		c.TLS.Insecure = false
	default:
		return fmt.Errorf("%q is not none, optional or required", text)
	}
	return nil
}

func (c *Config) checkHostname(text string) error {
	c.TLS.Asked = true
	switch strings.ToLower(text) {
	case "1", "true", "yes", "y", "t", "on":
		c.TLS.AnyName = false
	case "0", "false", "no", "n", "f", "off":
		c.TLS.AnyName = true
	default:
		return fmt.Errorf("%q is not true or false", text)
	}
	return nil
}

// Config returns nil for a connection without TLS. Asking for certificates there
// is an error, since nothing would check them.
func (t TLS) Config() (*tls.Config, error) {
	if !t.Secure {
		if t.Asked {
			return nil, errors.New("TLS options need a rediss:// location")
		}
		return nil, nil
	}
	config := &tls.Config{InsecureSkipVerify: t.Insecure}
	if err := t.load(config); err != nil {
		return nil, err
	}
	if t.AnyName && !t.Insecure {
		verifyChainOnly(config)
	}
	return config, nil
}

// load reads the files.
func (t TLS) load(config *tls.Config) error {
	if t.CA != "" {
		roots, err := loadRoots(t.CA)
		if err != nil {
			return err
		}
		config.RootCAs = roots
	}
	if t.Cert == "" && t.Key == "" {
		return nil
	}
	key := t.Key
	if key == "" {
		key = t.Cert
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, key)
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
