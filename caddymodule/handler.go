package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wxgate/wxgate/internal/gate"
)

// ServeHTTP takes a request through the gate in six steps.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v := h.visit(r)  // 1: read our input, strip what could pass for ours
	site := v.Site() // ours, its shadow, or that of a gate on the way to an error page
	if x := v.Explanation(); x != nil {
		next = caddyhttp.HandlerFunc(x.Reach) // somebody asks, and the shop does not hear of it
	}
	if site.Owns(v) { // 2: our own endpoints
		site.ServeHTTP(w, r, v)
		return nil
	}
	level, err := site.Level(r, v) // 3: what this request needs
	if err != nil {
		site.Malformed(w, r)
		return nil
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(placeholders(v))
	}
	if level == gate.Bypass {
		bw := site.Bypass(w)
		defer bw.Close()
		return next.ServeHTTP(bw, r)
	}
	site.Identify(r, v, level) // 4: who it is
	if site.Answer(w, r, v) {  // 5: a silent round, a challenge, a refusal
		return nil
	}
	aw, r, done := site.Attach(w, r, v) // 6: tell the shop
	defer done()
	defer aw.Close()
	return next.ServeHTTP(aw, r)
}

const (
	visitVar       = "wxgate.visit"       // keeps the visit of a request
	explanationVar = "wxgate.explanation" // marks a request that somebody only asks about
)

// visit begins a visit, or goes on with the one that the request began at the
// gate of its site before it met an error: only that gate has seen what the
// client sent.
func (h *Handler) visit(r *http.Request) *gate.Visit {
	h.tracer.Follow(r.Context())
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if v, ok := vars[visitVar].(*gate.Visit); ok {
		return v
	}
	site := h.site
	if x, ok := vars[explanationVar].(*gate.Explanation); ok {
		site = x.Of(site)
	}
	v := site.Receive(r, originOf(r, vars))
	if vars != nil {
		vars[visitVar] = v
	}
	return v
}

// originOf is what Caddy knows of a request better than the request itself.
func originOf(r *http.Request, vars map[string]any) gate.Origin {
	o := gate.Origin{Sent: r.URL, Method: r.Method}
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		o.Sent, o.Method = orig.URL, orig.Method
	}
	o.Trusted, _ = vars[caddyhttp.TrustedProxyVarKey].(bool)
	o.ClientIP, _ = vars[caddyhttp.ClientIPVarKey].(string)
	return o
}

// requestNumber is Caddy's {http.request.uuid}, which is in the access log from
// now on. What a client calls its request counts for nothing.
func requestNumber(r *http.Request) string {
	repl, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if _, logs := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); repl == nil || !logs {
		return ""
	}
	number, _ := repl.GetString("http.request.uuid")
	return number
}

// placeholders tells the rest of the configuration who the visitor is, nothing
// of nobody.
func placeholders(v *gate.Visit) caddy.ReplacerFunc {
	return func(key string) (any, bool) {
		name, ok := strings.CutPrefix(key, "http.auth.user.")
		if !ok {
			return nil, false
		}
		switch name {
		case "id":
			return v.UserID(), true
		case "kind":
			return v.UserKind(), true
		case "channel":
			return v.Channel(), true
		default:
			return nil, false
		}
	}
}
