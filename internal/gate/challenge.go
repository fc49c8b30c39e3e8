package gate

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/wxgate/wxgate/internal/session"
)

// challenge asks for what the level needs: a navigation is sent to the page
// where it can be had; anything else gets a 401 that loses no body and ends at no
// other host.
func (s *Site) challenge(w http.ResponseWriter, r *http.Request, v *Visit) {
	navigation, prefetch := isNavigation(r), isPrefetch(r)
	if navigation && !prefetch && s.toExternal(w, r, v) {
		return
	}
	s.deliver(w, v)
	if navigation && !prefetch {
		s.redirect(w, s.stepURL(v, v.here()))
		return
	}
	from := s.refererPath(r)
	to := s.stepURL(v, from)
	if wantsPage(r) && !prefetch {
		pg := page{Status: http.StatusUnauthorized, Key: "form_needs_login", Actions: []action{
			{Key: "log_in", Href: to, Primary: true}, {Key: "back_to_form", Href: from},
		}}
		if v.who.member() {
			pg.Key, pg.Actions[0].Key = "form_needs_phone", "verify_phone"
		}
		s.writePage(w, r, pg)
		return
	}
	p := newProblem(codeLoginRequired)
	p.Need, p.LoginURL = s.need(v), to
	s.writeProblem(w, r, p)
}

// stepURL is the page where the visitor gets what he lacks.
func (s *Site) stepURL(v *Visit, returnTo string) string {
	if v.who.member() {
		return s.phoneURL(returnTo, "")
	}
	return s.loginURL(returnTo, "")
}

// need names what this visitor can do about a missing login.
func (s *Site) need(v *Visit) string {
	if !v.who.member() && (s.canConsent(v) || v.viaHeader && s.mayAskWeChat(v.session())) {
		return "wechat"
	}
	return "phone"
}

// mayAskWeChat says whether a login by WeChat can tell more of the holder of a
// session in a header: after a logout, and in a mobile app that has not asked yet.
func (s *Site) mayAskWeChat(sess *session.Session) bool {
	return sess != nil && (sess.SignedOut || sess.OpenID == "") && (sess.Channel != channelMobile || len(s.cfg.MobileApps) > 0)
}

// here is where the visitor wants to go, as he asked for it.
func (v *Visit) here() string {
	u := *v.Sent
	takeParam(&u)
	u.Scheme, u.Host, u.User, u.Opaque = "", "", nil, ""
	here := u.RequestURI()
	if strings.HasPrefix(here, "//") {
		// A path of two slashes would name a host.
		here = "/" + strings.TrimLeft(here, "/")
	}
	return headerSafe(here)
}

// refererPath is the page that a script or form runs on: one of this site, or of
// an origin that may be returned to, or "/".
func (s *Site) refererPath(r *http.Request) string {
	ref, err := url.Parse(r.Referer())
	if err != nil || ref.Scheme+"://"+strings.ToLower(ref.Host) != s.origin() {
		return s.returnTo(r.Referer())
	}
	return s.returnTo(ref.RequestURI())
}

func (s *Site) origin() string { return s.external.Scheme + "://" + s.external.Host }

func (s *Site) returnTo(raw string) string {
	return returnTo(raw, s.cfg.Prefix, s.cfg.ReturnOrigins)
}

// redirect answers 302. Whatever it says depends on who asked.
func (s *Site) redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	ours(h)
	h.Set("Location", to)
	w.WriteHeader(http.StatusFound)
}

// ours marks an answer of the gate that depends on who asked.
func ours(h http.Header) {
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Cookie, Authorization")
}

// toExternal sends a navigation that came in under another host or scheme to
// external_url, where cookies and callbacks work, before a login starts. It
// does so once: behind a proxy that changes the Host header it would go on for
// ever, so the second time a page names the two addresses.
func (s *Site) toExternal(w http.ResponseWriter, r *http.Request, v *Visit) (answered bool) {
	seen := s.seenOrigin(r, v.Trusted)
	if seen == s.origin() {
		return false
	}
	v.trace.because("he came to " + seen + ", and external_url is " + s.origin())
	if v.param == "host" {
		s.Log.ErrorContext(s.numbered(r).Context(), "visitors reach the gateway under another address than external_url",
			"seen", seen, "external_url", s.origin())
		s.writePage(w, r, page{Status: http.StatusBadRequest, Key: "wrong_host", Detail: seen + " ≠ " + s.origin()})
		return true
	}
	s.redirect(w, withParam(s.origin()+v.here(), "host"))
	return true
}

// seenOrigin is the address under which r came in. X-Forwarded-* count only
// from a trusted proxy, with one exception that can harm nobody but the sender:
// a plain connection is not taken for a visitor's own if it claims that TLS
// ended before us, since a redirect to https would then never end.
func (s *Site) seenOrigin(r *http.Request, trusted bool) string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	proto := r.Header.Get("X-Forwarded-Proto")
	switch {
	case trusted && (proto == "http" || proto == "https"):
		scheme = proto
	case s.external.Scheme == "https" && proto == "https":
		scheme = "https"
	}
	if fwd := r.Header.Get("X-Forwarded-Host"); trusted && fwd != "" {
		host = fwd
	}
	return scheme + "://" + stripDefaultPort(scheme, strings.ToLower(host))
}

func stripDefaultPort(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}
