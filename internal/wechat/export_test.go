package wechat

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
)

// DialWith makes c connect through dial.
func (c *Client) DialWith(dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	c.reads.Transport.(*http.Transport).DialContext = dial
	c.exchanges.Transport.(*http.Transport).DialContext = dial
}

// Trust makes c accept the certificate of a test's server.
func (c *Client) Trust(certificate *x509.Certificate) {
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	c.reads.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	c.exchanges.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
}

// Sign is sign.
func (s PageSignature) Sign(ticket, page string) string { return s.sign(ticket, page) }
