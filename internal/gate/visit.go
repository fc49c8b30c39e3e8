package gate

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/session"
)

// Origin is what the server around the gate knows of a request and the request
// itself does not tell reliably.
type Origin struct {
	Sent     *url.URL // as the client sent it, before any rewrite
	Method   string   // as the client sent it
	Trusted  bool     // the peer is a proxy whose X-Forwarded-* are believed
	ClientIP string   // for limits
}

// Visit is one request on its way through the gate.
type Visit struct {
	site *Site
	Origin
	now time.Time

	userAgent string
	token     string   // of the session; empty: none
	viaHeader bool     // the token came in a header, as apps and mini programs send it
	carried   bool     // something of ours came along, readable or not
	flows     []string // values of the flow cookie
	param     string   // the value of our query parameter
	level     Level

	who    identity         // whom the shop will be told
	sess   *session.Session // the opened token; nil on a cache hit until needed
	failed bool             // a store failed: nothing is known and nothing new may be given out
	renew  int64            // when the sliding expiry of the token is due
	grace  bool             // the token was rotated away and is served as what it was

	issue *session.Session // to be set on the answer; nil: nothing
	trace *trace           // of why; nil: nobody asks

	identified, attached, foretold bool // a request may pass the gate again on its way to an error page
}

// identity is what the shop is told of a visitor. The zero value is nobody.
type identity struct {
	id, kind  string
	phone     bool
	previous  string // comma separated
	openid    string // in this site's app
	channel   string
	assertion string
	marks     marks
}

func (i identity) known() bool  { return i.id != "" }
func (i identity) member() bool { return i.kind == kindMember }

const (
	kindNobody = "nobody"
	kindGuest  = "guest"
	kindMember = "member"

	channelH5      = "h5"
	channelWebsite = "website"
	channelBrowser = "browser"
	channelMini    = "mini_program"
	channelMobile  = "mobile_app"
)

// Site is the site that received the request.
func (v *Visit) Site() *Site { return v.site }

// String keeps tokens and ids out of logs.
func (v *Visit) String() string { return "visit" }

// UserID is the id the shop is told, empty for nobody.
func (v *Visit) UserID() string { return v.who.id }

// UserKind is guest, member or empty.
func (v *Visit) UserKind() string { return v.who.kind }

// Channel is the way the session came to be: h5, browser, ...
func (v *Visit) Channel() string { return v.who.channel }

// Receive reads our own input from r and then removes from r everything that
// could pass for ours or must not reach the shop. It is called for every
// request on every route.
func (s *Site) Receive(r *http.Request, o Origin) *Visit {
	v := &Visit{site: s, Origin: o, now: time.Now(), userAgent: header(r, "User-Agent")}
	if s.explains != nil {
		s.explains.begin(v, r)
	}
	v.readHeaders(r.Header)
	if !v.viaHeader {
		v.readCookie(r)
	}
	v.flows = s.cookies.AppendFlows(nil, r.Header)
	if sent := *v.Sent; strings.Contains(sent.RawQuery, wxgateParam+"=") {
		v.param = takeParam(&sent)
		takeParam(r.URL)
	}
	session.StripCookies(r.Header)
	if n := s.strip.strip(r, o.Trusted); n > 0 {
		s.Metrics.Stripped(n)
	}
	if s.shadows(v) {
		v.site, v.trace = s.shadow, new(trace)
	}
	return v
}

// sessionHeader carries a session where the shop uses Authorization itself.
const sessionHeader = "X-Wxgate-Session"

// readHeaders finds the session of a client without cookies. A header counts
// alone, also when it is unusable.
func (v *Visit) readHeaders(h http.Header) {
	token, n := "", 0
	for _, a := range h["Authorization"] {
		if isOurCredential(a) {
			token = strings.TrimSpace(strings.TrimLeft(a, " \t")[len(authScheme):])
			n++
		}
	}
	for _, x := range h[sessionHeader] {
		token = x
		n++
	}
	if n == 0 {
		return
	}
	v.viaHeader, v.carried = true, true
	if n == 1 {
		v.token = token
	}
}

// readCookie takes the one session cookie. Of several, those that do not open
// are ignored, and two different valid ones cancel each other: one of them was
// planted.
func (v *Visit) readCookie(r *http.Request) {
	var buf [2]string
	tokens := v.site.cookies.AppendSessions(buf[:0], r.Header)
	v.carried = len(tokens) > 0
	if len(tokens) == 1 {
		v.token = tokens[0]
		return
	}
	for _, t := range tokens {
		if _, ok := v.site.Keys.OpenSession(t, v.now); !ok {
			continue
		}
		if v.token != "" {
			v.token = ""
			return
		}
		v.token = t
	}
}

// session returns the opened token, or nil if it does not open.
func (v *Visit) session() *session.Session {
	if v.sess == nil && v.token != "" {
		if sess, ok := v.site.Keys.OpenSession(v.token, v.now); ok {
			v.sess = sess
		}
	}
	return v.sess
}

// Level says which access level the request needs: that of the URL as sent
// and, where a line raises it, of the URL as rewritten. An error means that
// the URL cannot be meant well; Malformed answers it.
func (s *Site) Level(r *http.Request, v *Visit) (Level, error) {
	v.trace.reads(r, v)
	o, err := s.strip.overridesOf(r.Header, v.Trusted)
	level := Guest
	if err == nil {
		level, err = s.rules.level(r, v.Sent, circumstances{o, v.trace})
	}
	if err == nil {
		if level == Bypass {
			v.trace.ends(verdictBypass)
		}
		return level, nil
	}
	v.trace.because(err.Error())
	v.trace.ends(verdictMalformed)
	if s.shadowOf != nil {
		v.level = level
		s.foretell(r, v, outcomeRefused)
		return Public, nil
	}
	return Guest, err
}

// Malformed answers a request for a URL that Level does not accept.
func (s *Site) Malformed(w http.ResponseWriter, r *http.Request) {
	s.writeProblem(w, s.numbered(r), newProblem(codeMalformed))
}

// agent reads the User-Agent, which most requests never need.
func (v *Visit) agent() agent { return classify(v.userAgent) }

// wxgateParam is the one query parameter that is ours on every page.
const wxgateParam = "wxgate"

// takeParam removes our parameter from the query of u, leaving every other
// byte alone, and returns its value.
func takeParam(u *url.URL) (value string) {
	if !strings.Contains(u.RawQuery, wxgateParam+"=") {
		return ""
	}
	var keep []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if val, ok := strings.CutPrefix(part, wxgateParam+"="); ok && (val == "guest" || val == "host") {
			value = val
			continue
		}
		keep = append(keep, part)
	}
	u.RawQuery = strings.Join(keep, "&")
	return value
}

// withParam adds our parameter to a URL that lacks it.
func withParam(to, value string) string {
	to, fragment, hasFragment := strings.Cut(to, "#")
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	to += sep + wxgateParam + "=" + value
	if hasFragment {
		to += "#" + fragment
	}
	return to
}
