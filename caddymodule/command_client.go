package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// unreachableError means that no gateway has answered.
type unreachableError struct {
	address string
	err     error
}

// errNoAnswer means that somebody may be there, who has not answered in time.
var errNoAnswer = errors.New("no answer")

// Error implements error. It says what to look at next.
func (e *unreachableError) Error() string {
	next := "Does it run on this machine, with an `admin` option that is not off? Name another address with --address or CADDY_ADMIN."
	if errors.Is(e.err, errNoAnswer) {
		next = "Wait longer with --timeout, or name another address with --address or CADDY_ADMIN.\n" +
			"What was to be changed may have been changed: look before you do it again."
	}
	return fmt.Sprintf("the gateway does not answer at %s: %v\n%s", e.address, e.err, next)
}

// Unwrap implements errors.Unwrap.
func (e *unreachableError) Unwrap() error { return e.err }

// get asks for out.
func (c *call) get(path string, out any) error { return c.exchange(http.MethodGet, path, nil, out) }

// post sends in and asks for out.
func (c *call) post(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	return c.exchange(http.MethodPost, path, body, out)
}

// exchange sends JSON and reads JSON. Without a timeout it waits.
func (c *call) exchange(method, path string, body []byte, out any) error {
	ctx := c.Context
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	r, err := c.request(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", typeJSON)
	}
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return &unreachableError{c.address, fmt.Errorf("reading the answer: %w", err)}
	}
	return nil
}

// request makes a request for the path behind /wxgate/. A stream sets its own
// content type.
func (c *call) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	addr, err := c.network()
	if err != nil {
		return nil, err
	}
	origin := "http://127.0.0.1" // of a unix socket, which has none
	if !addr.IsUnixNetwork() {
		origin = "http://" + addr.JoinHostPort(0)
	}
	r, err := http.NewRequestWithContext(ctx, method, origin+adminPrefix+path, body)
	if err != nil {
		return nil, usageError(fmt.Sprintf("--address %s: %v", c.address, err))
	}
	if !addr.IsUnixNetwork() {
		r.Header.Set("Origin", origin) // asked for by enforce_origin
	}
	return r, nil
}

// network parses the address of the admin endpoint.
func (c *call) network() (caddy.NetworkAddress, error) {
	addr, err := caddy.ParseNetworkAddress(c.address)
	noPort := !addr.IsUnixNetwork() && addr.StartPort == 0
	if err != nil || noPort || addr.PortRangeSize() > 1 || addr.IsFdNetwork() {
		return addr, usageError(fmt.Sprintf("--address %s is no address of an admin endpoint, like localhost:2019 or unix//run/caddy.sock", c.address))
	}
	addr.Host, _, _ = strings.Cut(addr.Host, "|") // a socket's permissions
	return addr, nil
}

// do sends a request. An answer that is an error of the gateway's is returned
// as a *problem.
func (c *call) do(r *http.Request) (*http.Response, error) {
	addr, err := c.network()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network, addr.JoinHostPort(0))
		},
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		if c.Err() != nil {
			return nil, errors.New("interrupted; what was to be changed may have been changed")
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, &unreachableError{c.address, fmt.Errorf("%w within %s", errNoAnswer, c.timeout)}
		}
		return nil, &unreachableError{c.address, errors.Unwrap(err)} // without the URL
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.problem(resp)
}

// problem reads an error of the gateway, or of a Caddy without it.
func (c *call) problem(resp *http.Response) error {
	p := new(problem)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && kind == "application/problem+json" {
		err = json.Unmarshal(raw, p)
	} else {
		err = errors.New("no problem document")
	}
	if err == nil {
		return p
	}
	if resp.StatusCode == http.StatusNotFound {
		return &unreachableError{c.address, errors.New("what answers there is no Caddy with wxgate, or one of another version")}
	}
	return &unreachableError{c.address, fmt.Errorf("HTTP %d: %s", resp.StatusCode, strings.TrimSpace(string(raw)))}
}
