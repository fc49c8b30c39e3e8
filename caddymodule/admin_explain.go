package caddymodule

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/gate"
)

// someClient is the address of whoever is asked about without one: it is
// nobody's (RFC 5737), so no proxy's that is trusted.
const someClient = "192.0.2.1"

// explainRequest is a request that somebody asks about.
type explainRequest struct {
	Method string `json:"method"`
	// URL is what a visitor types, or a path of the only site.
	URL      string      `json:"url"`
	Header   http.Header `json:"header,omitempty"`
	ClientIP string      `json:"client_ip,omitempty"` // of the peer; default 192.0.2.1
}

// explainRoutes are the routes that say what would become of a request.
func explainRoutes() []adminRoute { return []adminRoute{post("explain", serveExplain)} }

func serveExplain(c *adminCall) error {
	var in explainRequest
	if err := c.decode(&in); err != nil {
		return err
	}
	r, external, err := c.app.asked(in)
	if err != nil {
		return err
	}
	httpApp, err := c.app.ctx.AppIfConfigured("http")
	if err != nil {
		return newProblem(http.StatusNotFound, "unknown_site", "no site is configured")
	}
	srv := serverOf(httpApp.(*caddyhttp.App), external)
	if srv == nil {
		return newProblem(http.StatusNotFound, "unknown_site",
			fmt.Sprintf("no site for %s has a wxgate block; those that have: %s", external.Host, strings.Join(c.app.siteURLs(), ", ")))
	}
	return c.answer(explain(srv, r.WithContext(c), external.Scheme))
}

// siteURLs are what visitors type.
func (a *App) siteURLs() (all []string) {
	for _, h := range a.handlers {
		all = append(all, h.ExternalURL)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// asked makes the request of a question, and the origin it is for.
func (a *App) asked(in explainRequest) (r *http.Request, external *url.URL, err error) {
	if strings.HasPrefix(in.URL, "/") {
		sites := a.siteURLs()
		if len(sites) != 1 {
			return nil, nil, malformed("a path alone is enough where there is one site; write the whole URL of one of: " + strings.Join(sites, ", "))
		}
		in.URL = strings.TrimSuffix(sites[0], "/") + in.URL
	}
	scheme, rest, _ := strings.Cut(in.URL, "://")
	slash := strings.IndexAny(rest, "/?")
	if slash < 0 {
		slash, rest = len(rest), rest+"/"
	}
	external, err = url.Parse(scheme + "://" + rest[:slash])
	if err != nil || scheme != "http" && scheme != "https" || external.Host == "" || external.User != nil {
		return nil, nil, malformed("url is neither one of a site, like https://shop.example.com/cart, nor a path")
	}
	target := rest[slash:]
	if target[0] == '?' {
		target = "/" + target
	}
	if r, err = http.NewRequest(cmp.Or(in.Method, http.MethodGet), "/", nil); err != nil {
		return nil, nil, malformed("method is none")
	}
	if r.URL, err = url.ParseRequestURI(target); err != nil {
		return nil, nil, malformed("a server does not take that URL: it answers 400 before the gateway sees it")
	}
	addr, err := netip.ParseAddr(cmp.Or(in.ClientIP, someClient))
	if err != nil {
		return nil, nil, malformed("client_ip is no address")
	}
	r.RequestURI, r.Host, r.RemoteAddr = target, external.Host, net.JoinHostPort(addr.String(), "50000")
	for name, values := range in.Header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return r, external, nil
}

// serverOf finds the server whose site for a host has a gate: of several the
// one that is meant by the external URL.
func serverOf(app *caddyhttp.App, external *url.URL) (found *caddyhttp.Server) {
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		srv := app.Servers[name]
		w := &walk{server: name, host: external.Hostname(), named: srv.NamedRoutes}
		if w.site(srv); len(w.gates) == 0 {
			continue
		}
		if found == nil || strings.TrimSuffix(w.gates[0].ExternalURL, "/") == external.String() {
			found = srv
		}
	}
	return found
}

// explain takes a request through the routes of a server as far as the gate,
// and further as far as the gate lets it. The gate precedes every proxy of the
// site, or the configuration would have been refused.
func explain(srv *caddyhttp.Server, r *http.Request, scheme string) gate.Report {
	switch {
	case len(srv.TLSConnPolicies) > 0 && scheme == "https":
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.Host}
	case scheme == "https" && r.Header.Get("X-Forwarded-Proto") == "":
		r.Header.Set("X-Forwarded-Proto", scheme) // as what ends TLS before us says it
	}
	x, w := new(gate.Explanation), &unsent{header: http.Header{}}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, srv)
	caddyhttp.SetVar(r.Context(), explanationVar, x)
	nothing := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	err := srv.Routes.Compile(nothing).ServeHTTP(w, r)
	if failed := (caddyhttp.HandlerError{}); errors.As(err, &failed) {
		w.status = failed.StatusCode
	}
	return x.Report(w.status, w.header)
}

// unsent is an answer that nobody gets.
type unsent struct {
	header http.Header
	status int
}

func (u *unsent) Header() http.Header { return u.header }

func (u *unsent) Write(b []byte) (int, error) {
	u.WriteHeader(http.StatusOK)
	return len(b), nil
}

func (u *unsent) WriteHeader(status int) {
	if u.status == 0 && status >= 200 {
		u.status = status
	}
}
