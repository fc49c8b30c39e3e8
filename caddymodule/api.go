package caddymodule

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/time/rate"
)

func init() { caddy.RegisterModule(new(API)) }

// API answers the shop's own programs: who a user is, what has happened to
// accounts, the access token of an app, the signature of a page. It belongs on
// a port of its own that the public cannot reach, and asks for a key besides.
type API struct {
	// At least 32 bytes, which programs show as `Authorization: Bearer <key>`. Of
	// several any will do: to change the key, add the new one, give it to the
	// programs, and remove the old one. Required.
	//
	// Caddyfile: `key {env.WXGATE_API_KEY}`
	Keys []Secret `json:"keys"`

	// Where programs call from. Whatever a proxy in between names in
	// `X-Forwarded-For` has to be allowed too. Default: private and local
	// addresses.
	//
	// Caddyfile: `allow 127.0.0.1 10.0.0.0/8`
	Allow []string `json:"allow,omitempty"`

	app    *App
	log    *slog.Logger
	keys   [][sha256.Size]byte
	allow  []netip.Prefix
	mux    *http.ServeMux
	refuse *rate.Sometimes // whoever may not call is said of once a minute
}

// CaddyModule returns the Caddy module information.
func (*API) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.wxgate_api", New: func() caddy.Module { return new(API) }}
}

const apiKeySize = 32 // bytes at least

// Provision reads the options.
func (a *API) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("wxgate")
	if err != nil {
		return err
	}
	a.app, a.log = loaded.(*App), ctx.Slogger()
	a.refuse = &rate.Sometimes{First: 1, Interval: time.Minute}
	e := expander{repl: caddy.NewReplacer(), where: "wxgate_api"}
	for i := range a.Keys {
		e.secret("key", &a.Keys[i])
		if n := len(a.Keys[i]); n < apiKeySize && len(e.errs) == 0 {
			e.refuse("key", "number %d has %d bytes, at least %d are needed; make it with: openssl rand -base64 32", i+1, n, apiKeySize)
		}
		a.keys = append(a.keys, sha256.Sum256([]byte(a.Keys[i])))
	}
	if len(a.Keys) == 0 {
		e.refuse("key", "is missing; make it with: openssl rand -base64 32")
	}
	if len(a.Allow) == 0 {
		a.Allow = insideRanges()
	}
	e.texts("allow", a.Allow)
	for _, text := range a.Allow {
		prefix, ok := parseRange(text)
		if !ok {
			e.refuse("allow", "%q is no address and no range like 10.0.0.0/8", text)
		}
		a.allow = append(a.allow, prefix)
	}
	a.mux = a.routes()
	return errors.Join(e.errs...)
}

// insideRanges are the addresses that nobody has on the Internet: local and
// private ones, and those between a provider and its customers (RFC 6598),
// which clouds use for their own balancers.
func insideRanges() []string {
	return []string{
		"127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
		"169.254.0.0/16", "fe80::/10", "100.64.0.0/10",
	}
}

// parseRange reads an address or a range of them.
func parseRange(text string) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	prefix, err := netip.ParsePrefix(text)
	return prefix, err == nil
}

// ServeHTTP answers a program that may call; nobody else learns anything.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	switch {
	case !a.allows(r):
		a.complain(r, "a call of wxgate_api from outside; `allow` names who may call")
		w.Header().Set("Cache-Control", "no-store")
		newProblem(http.StatusForbidden, "forbidden", "this address may not call here").write(w)
	case !a.authorized(r):
		a.complain(r, "a call of wxgate_api with a wrong key, or none")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("WWW-Authenticate", "Bearer")
		newProblem(http.StatusUnauthorized, "unauthorized", "the key is missing or wrong").write(w)
	default:
		a.mux.ServeHTTP(w, r)
	}
	return nil
}

func (a *API) complain(r *http.Request, what string) {
	a.refuse.Do(func() { a.log.Warn(what+"; this is said once a minute", "remote_addr", r.RemoteAddr) })
}

// allows says whether a request comes from an address that may call: its peer's,
// and each that a proxy on the way has named. A name that is no address is not
// allowed.
func (a *API) allows(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ Network() string }); !ok || local.Network() != "unix" {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !a.allowsAddress(peer.Addr()) {
			return false
		}
	}
	for _, line := range r.Header["X-Forwarded-For"] {
		for text := range strings.SplitSeq(line, ",") {
			ip, err := netip.ParseAddr(strings.TrimSpace(text))
			if err != nil || !a.allowsAddress(ip) {
				return false
			}
		}
	}
	return true
}

func (a *API) allowsAddress(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(a.allow, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// authorized compares digests, so that the time it takes says nothing of a key,
// not even its length.
func (a *API) authorized(r *http.Request) bool {
	if len(r.Header["Authorization"]) != 1 {
		return false
	}
	scheme, key, _ := strings.Cut(r.Header["Authorization"][0], " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	match := 0
	for _, k := range a.keys {
		match |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return strings.EqualFold(scheme, "Bearer") && match == 1
}

var (
	_ caddy.Provisioner           = (*API)(nil)
	_ caddyhttp.MiddlewareHandler = (*API)(nil)
)
