package caddymodule

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy/fastcgi"
)

// checkGates refuses a configuration in which a request can walk around the
// gate: in every site that has one, each proxy must be preceded by it, whatever
// the request matches. It returns the gates that it found.
func checkGates(app *caddyhttp.App) (found []*Handler, err error) {
	var problems []string
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		srv := app.Servers[name]
		gated, api := false, false
		for _, host := range hostsOf(srv) {
			w := &walk{server: name, host: host, named: srv.NamedRoutes}
			w.site(srv)
			found = slices.Concat(found, w.gates, w.errorGates)
			gated, api = gated || len(w.gates) > 0, api || w.api
			if len(w.gates) > 0 {
				problems = append(problems, w.problems...)
			}
		}
		if gated && api {
			problems = append(problems, fmt.Sprintf("server %s: wxgate_api stands on a port that visitors of a site reach; "+
				"give it one of its own, which is not public", name))
		}
	}
	if len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "\n"))
	}
	return found, nil
}

// walk follows the requests for one host through the routes of a server.
type walk struct {
	server, host string
	named        map[string]*caddyhttp.Route

	api        bool     // there is a wxgate_api
	upstreams  []string // where the reverse proxies lead
	gates      []*Handler
	errorGates []*Handler // those among the routes that answer errors
	problems   []string
	inErrors   bool     // among the routes that answer errors
	invoking   []string // names of the routes that are being invoked
}

// place is how far the gate is ensured where a route begins.
type place struct {
	gated       bool // every request that comes here has passed the gate
	conditional bool // only some of the site's requests come here
}

// site walks the routes of a site, then those of its errors. An error may come
// up before the gate, so nothing of the former holds in the latter.
func (w *walk) site(srv *caddyhttp.Server) {
	w.topLevel(srv.Routes)
	if len(w.gates) > 1 {
		w.problem("%d wxgate blocks, but a site takes one", len(w.gates))
	}
	if srv.Errors != nil {
		w.inErrors = true
		w.topLevel(srv.Errors.Routes)
	}
}

// topLevel walks those routes of a server that requests for the host take. A
// condition on the host alone is none here.
func (w *walk) topLevel(list caddyhttp.RouteList) {
	at := place{}
	for _, route := range list {
		covered, onHostAlone := w.takes(route)
		if !covered {
			continue
		}
		at = w.route(route, at, !onHostAlone)
		if route.Terminal && onHostAlone {
			return
		}
	}
}

// takes says whether requests for the host may take a route, and whether they
// all do.
func (w *walk) takes(route caddyhttp.Route) (covered, onHostAlone bool) {
	if len(route.MatcherSets) == 0 {
		return true, true
	}
	for _, set := range route.MatcherSets {
		hosts, others := splitHosts(set)
		if hosts != nil && !slices.ContainsFunc(hosts, func(h string) bool { return hostCovers(h, w.host) }) {
			continue
		}
		covered = true
		onHostAlone = onHostAlone || !others
	}
	return covered, onHostAlone
}

func (w *walk) routes(list caddyhttp.RouteList, at place) place {
	for _, route := range list {
		at = w.route(route, at, len(route.MatcherSets) > 0)
	}
	return at
}

// route walks one route and returns what holds after it. Of the routes of a
// group only one is taken, so what happens in it ensures nothing after it.
func (w *walk) route(route caddyhttp.Route, at place, matched bool) place {
	inside := place{gated: at.gated, conditional: at.conditional || matched}
	for _, h := range route.Handlers {
		inside.gated = w.handler(h, inside)
	}
	if !matched && route.Group == "" {
		at.gated = inside.gated
	}
	return at
}

// handler walks one handler and says whether its successors are behind the
// gate.
func (w *walk) handler(handler caddyhttp.MiddlewareHandler, at place) (gated bool) {
	switch h := handler.(type) {
	case *Handler:
		w.gate(h, at)
		return true
	case *API:
		w.api = true
	case *caddyhttp.Subroute:
		gated = w.routes(h.Routes, at).gated
		if h.Errors != nil {
			// After an error of any of the routes these take over, and go on
			// with the same successors.
			gated = w.routes(h.Errors.Routes, at).gated && gated
		}
		return gated
	case *caddyhttp.Invoke:
		return w.invoke(h.Name, at)
	case *reverseproxy.Handler:
		w.proxy(proxyName(h), at)
		for _, u := range h.Upstreams {
			w.upstreams = append(w.upstreams, u.Dial)
		}
		w.responses(h.HandleResponse, at)
	case *intercept.Intercept:
		w.responses(h.HandleResponse, at)
	default:
		if name := moduleName(handler); isProxy(name) {
			w.proxy(name, at)
		}
	}
	return at.gated
}

func (w *walk) gate(h *Handler, at place) {
	if w.inErrors {
		// Routes for errors run for some requests only, by their nature. The
		// gate there goes on with the visit that the site's has begun, so it
		// has no say of its own.
		w.errorGates = append(w.errorGates, h)
		if len(w.gates) > 0 && !sameOptions(h, w.gates[0]) {
			w.problem("the wxgate block in handle_errors is another than that of the site; " +
				"put one into a snippet and import it in both")
		}
		return
	}
	if !slices.Contains(w.gates, h) {
		w.gates = append(w.gates, h)
	}
	if at.conditional {
		w.problem("wxgate stands behind a matcher, where some requests do not meet it; " +
			"put it at the top of the site, or of a route or handle block without a matcher")
	}
}

func (w *walk) proxy(name string, at place) {
	switch {
	case at.gated:
	case w.inErrors:
		w.problem("requests can reach '%s' in handle_errors without passing wxgate; "+
			"put the wxgate block into a snippet and import it in handle_errors too", name)
	default:
		w.problem("requests can reach '%s' without passing wxgate; put wxgate before it", name)
	}
}

// responses walks routes that a response leads into.
func (w *walk) responses(list []caddyhttp.ResponseHandler, at place) {
	at.conditional = true
	for _, r := range list {
		w.routes(r.Routes, at)
	}
}

func (w *walk) invoke(name string, at place) (gated bool) {
	route, ok := w.named[name]
	if !ok || slices.Contains(w.invoking, name) {
		return at.gated
	}
	w.invoking = append(w.invoking, name)
	defer func() { w.invoking = w.invoking[:len(w.invoking)-1] }()
	return w.routes(caddyhttp.RouteList{*route}, at).gated
}

func (w *walk) problem(format string, args ...any) {
	site := w.host
	if site == "" {
		site = "without a host"
	}
	p := fmt.Sprintf("server %s, site %s: %s", w.server, site, fmt.Sprintf(format, args...))
	if !slices.Contains(w.problems, p) {
		w.problems = append(w.problems, p)
	}
}

// sameOptions says whether two gates are configured alike.
func sameOptions(a, b *Handler) bool { return bytes.Equal(a.options, b.options) }

// hostsOf lists the hosts that a server's routes distinguish, and "" for what
// none of them matches.
func hostsOf(srv *caddyhttp.Server) []string {
	all := []string{""}
	lists := []caddyhttp.RouteList{srv.Routes}
	if srv.Errors != nil {
		lists = append(lists, srv.Errors.Routes)
	}
	for _, list := range lists {
		for _, route := range list {
			for _, set := range route.MatcherSets {
				hosts, _ := splitHosts(set)
				all = append(all, hosts...)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// splitHosts returns the hosts that a matcher set demands, nil if any will do,
// and whether it demands more than that.
func splitHosts(set caddyhttp.MatcherSet) (hosts []string, others bool) {
	for _, m := range set {
		if h, ok := m.(*caddyhttp.MatchHost); ok {
			hosts = append(hosts, *h...)
		} else {
			others = true
		}
	}
	return hosts, others
}

// hostCovers says whether a pattern, whose labels may be `*`, covers a host.
func hostCovers(pattern, host string) bool {
	p, h := strings.Split(pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(p, h, func(p, h string) bool { return p == "*" && h != "" || strings.EqualFold(p, h) })
}

func moduleName(handler any) string {
	if m, ok := handler.(caddy.Module); ok {
		return m.CaddyModule().ID.Name()
	}
	return ""
}

// isProxy recognises what hands requests to programs that believe our headers,
// modules of other authors too.
func isProxy(name string) bool {
	return strings.Contains(name, "proxy") || strings.Contains(name, "cgi") || name == "php"
}

// proxyName is what an operator wrote to get a reverse proxy.
func proxyName(h *reverseproxy.Handler) string {
	name := "reverse_proxy"
	if _, ok := h.Transport.(*fastcgi.Transport); ok {
		name = "php_fastcgi"
	}
	for _, u := range h.Upstreams {
		name += " " + u.Dial
	}
	return name
}
