package caddymodule

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// settings looks for options that work and may not be meant so.
func (up checkup) settings(context.Context) []finding {
	var all []finding
	add := func(state, option, text, advice string) {
		all = append(all, finding{Check: "setting", Subject: option, State: state, Text: text, Advice: advice})
	}
	a := up.app
	if len(a.Secrets) == 0 {
		add(stateWarning, "secret", "it was made by the gateway and lies beside the database",
			"Back it up with the database: without it every visitor is signed out, and no phone number can be read.")
	}
	if a.Sandbox == "on" {
		add(stateWarning, "sandbox", "a pretend WeChat, or codes in the log, are allowed next to a public site", "Take `sandbox on` away in production.")
	}
	if !isWeChat(a.Endpoints.API) || !isWeChat(a.Endpoints.Open) {
		add(stateWarning, "endpoints", "another WeChat than the real one says who people are", "Take `endpoints` away in production.")
	}
	if _, logs := a.carrier.(*SMSLog); logs {
		add(stateWarning, "sms log", "whoever reads the log can log in as anybody", "Name a carrier in production.")
	}
	for _, h := range a.handlers {
		all = append(all, up.siteSettings(h)...)
	}
	all = append(all, up.adminSetting()...)
	all = append(all, up.logSettings()...)
	if len(all) == 0 {
		add(stateOK, "settings", "none is risky", "")
	}
	return all
}

// siteSettings looks at the options of a site and of its server.
func (up checkup) siteSettings(h *Handler) (all []finding) {
	add := func(state, text, advice string) {
		all = append(all, finding{Check: "setting", Subject: h.ExternalURL, State: state, Text: text, Advice: advice})
	}
	external, err := url.Parse(h.ExternalURL)
	if err != nil {
		return nil
	}
	if external.Scheme == "http" && !isLoopback(external.Hostname()) {
		add(stateWarning, "external_url is http: whoever is on the way reads and takes over sessions", "Write https, and let Caddy or what stands before it end TLS.")
	}
	if h.shadow > 0 {
		add(stateWarning, fmt.Sprintf("shadow: nothing happens to %d%% of the visitors", h.shadow), "Take the `shadow` line away when you have seen enough.")
	}
	w, srv := up.walkWith(h)
	if srv == nil {
		return all
	}
	switch trusted := up.raw.Apps.HTTP.Servers[w.server].TrustedProxies; {
	case trusted != nil && slices.ContainsFunc(trusted.Ranges, everyAddress):
		add(stateError, "trusted_proxies trusts everybody: a client names what address and URL it likes", "Name only the addresses of the proxies before Caddy.")
	case trusted == nil && external.Scheme == "https" && len(srv.TLSConnPolicies) == 0:
		add(stateWarning, "TLS ends before Caddy, and trusted_proxies names nobody: every visitor has the proxy's address, and limits count all as one",
			"Name the proxy's addresses in Caddy's global option servers, trusted_proxies static <ranges>.")
	}
	return all
}

// walkWith walks the site in which the gate is, and its server's. Nil: there is
// none.
func (up checkup) walkWith(h *Handler) (*walk, *caddyhttp.Server) {
	if up.web == nil {
		return nil, nil
	}
	for name, srv := range up.web.Servers {
		for _, host := range hostsOf(srv) {
			w := &walk{server: name, host: host, named: srv.NamedRoutes}
			if w.site(srv); slices.Contains(w.gates, h) {
				return w, srv
			}
		}
	}
	return nil, nil
}

func everyAddress(r string) bool {
	p, err := netip.ParsePrefix(r)
	return err == nil && p.Bits() == 0
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// adminSetting looks who can reach Caddy's admin endpoint.
func (up checkup) adminSetting() []finding {
	listen := up.raw.Admin.Listen
	addr, err := caddy.ParseNetworkAddress(listen)
	if listen == "" || err != nil || addr.IsUnixNetwork() || addr.IsFdNetwork() || isLoopback(addr.Host) {
		return nil
	}
	return []finding{{
		Check: "setting", Subject: "admin", State: stateError,
		Text:   "Caddy's admin endpoint listens at " + listen + ": whoever reaches it may do everything to every account",
		Advice: "Let it listen on this machine alone (admin localhost:2019) or on a unix socket.",
	}}
}

// logSettings looks for access logs that hold what opens sessions.
func (up checkup) logSettings() (all []finding) {
	if up.web == nil || !slices.ContainsFunc(slices.Collect(maps.Values(up.web.Servers)), func(s *caddyhttp.Server) bool { return s.Logs != nil }) {
		return nil
	}
	logs := maps.Clone(up.raw.Logging.Logs)
	if _, named := logs["default"]; !named {
		if logs == nil {
			logs = map[string]rawLog{}
		}
		logs["default"] = rawLog{}
	}
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		if shown := logs[name].shows(); len(shown) > 0 {
			all = append(all, finding{
				Check: "setting", Subject: "log " + name, State: stateWarning,
				Text:   "access logs are written with " + strings.Join(shown, ", ") + ", by which others can end a login or go on with a session",
				Advice: "Take the filter of docs/operations.md, Logs, into every log block.",
			})
		}
	}
	return all
}

// accessLogs is what the names of loggers of requests begin with.
const accessLogs = "http.log.access"

// shows lists what a log writes down of requests that should not be read.
func (l rawLog) shows() (all []string) {
	under := func(names []string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return n == "http" || n == "http.log" || n == accessLogs
		})
	}
	some := slices.ContainsFunc(l.Include, func(n string) bool { return strings.HasPrefix(n, accessLogs+".") })
	if len(l.Include) > 0 && !under(l.Include) && !some || under(l.Exclude) {
		return nil
	}
	if len(l.Include) == 0 && slices.ContainsFunc(l.Exclude, func(n string) bool { return strings.HasPrefix(n, accessLogs+".") }) {
		return nil // those of the sites have logs of their own
	}
	for _, field := range []string{"request>uri", "request>headers>Referer", "resp_headers>Location"} {
		for _, parameter := range []string{"code", "state", "ticket"} {
			if !l.hides(field, parameter) {
				all = append(all, parameter+" in "+field)
			}
		}
	}
	for _, field := range []string{"request>headers>X-Wxgate-Session", "resp_headers>X-Wxgate-Session"} {
		if !l.hides(field, "") {
			all = append(all, field)
		}
	}
	return all
}

// hides says whether a field, or a parameter of a query in it, is filtered.
func (l rawLog) hides(field, parameter string) bool {
	f, filtered := l.Encoder.Fields[field]
	if l.Encoder.Format != "filter" || !filtered {
		return false
	}
	return f.Filter != "query" || slices.Contains(f.Actions, rawAction{parameter})
}
