package gate

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Verdicts of an Explanation besides the outcomes of a request.
const (
	verdictBypass    = "bypass"
	verdictEndpoint  = "endpoint"
	verdictMalformed = "malformed"
	verdictUnmet     = "not_reached"
)

// Explanation is one request that somebody asks about. It goes through the
// steps of every other, in a site that changes nothing, and it ends where the
// shop would be.
type Explanation struct {
	of      *Site
	visit   *Visit
	sent    http.Header // what the client says
	path    string
	kind    string
	reached http.Header // what the shop would see; nil: nothing
}

// Of returns the site in which the request is explained.
func (x *Explanation) Of(s *Site) *Site {
	d := s.dry()
	d.Metrics, d.explains, x.of = silent{}, x, s
	return d
}

// begin notes the request as it came.
func (x *Explanation) begin(v *Visit, r *http.Request) {
	x.visit, x.sent, x.kind, x.path = v, r.Header.Clone(), kindOf(r), v.Sent.EscapedPath()
	v.trace = new(trace)
}

// Reach takes the shop's place.
func (x *Explanation) Reach(_ http.ResponseWriter, r *http.Request) error {
	x.reached = r.Header.Clone()
	return nil
}

// Explanation is the one that the visit is made for; nil: it is a visit.
func (v *Visit) Explanation() *Explanation { return v.site.explains }

// Report is what the gate would do about a request, and why.
type Report struct {
	Site     string         `json:"site,omitempty"`     // its external URL
	Shadow   bool           `json:"shadow,omitempty"`   // the site is in the shadow for this visitor, so nothing of it happens
	Request  *RequestReport `json:"request,omitempty"`  // as the gate reads it
	Endpoint string         `json:"endpoint,omitempty"` // of the gateway's own, which answers
	Level    string         `json:"level,omitempty"`
	Lines    []LineReport   `json:"lines,omitempty"`    // that were weighed, in their order
	Readings []string       `json:"readings,omitempty"` // of the path, the one that was sent first
	Session  *SessionReport `json:"session,omitempty"`
	Removed  []string       `json:"removed"` // names of headers, in whole or in part
	Added    []HeaderReport `json:"added"`   // what the shop is told
	Verdict  string         `json:"verdict"` // an outcome of wxgate_requests_total, or bypass, endpoint, malformed, not_reached
	Why      []string       `json:"why"`
	Answer   *AnswerReport  `json:"answer,omitempty"` // of the gateway's own; nil: the shop answers
}

// RequestReport is what the gate makes of a request's form.
type RequestReport struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Rewritten string `json:"rewritten,omitempty"` // what rewrites have made of the path
	Kind      string `json:"kind"`                // navigation, prefetch, preflight or fetch
	Browser   string `json:"browser"`             // wechat, phone, computer or bot
	ClientIP  string `json:"client_ip"`
	Trusted   bool   `json:"trusted"` // the peer is one of trusted_proxies
}

// LineReport is an access line and whether it is for the request.
type LineReport struct {
	Line    string `json:"line"`
	Applies bool   `json:"applies"`
	Reading string `json:"reading,omitempty"` // of the path, which decided
}

// HeaderReport is a header that the shop receives.
type HeaderReport struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// SessionReport is what a request's session is.
type SessionReport struct {
	State     string    `json:"state"`         // none, not_read, unreadable, ended, unknown or live
	Via       string    `json:"via,omitempty"` // cookie or header
	UserID    string    `json:"user_id,omitempty"`
	Kind      string    `json:"kind,omitempty"`
	Began     string    `json:"began_as,omitempty"` // the id in the token, where another answers to it now
	Phone     bool      `json:"phone_verified,omitempty"`
	Channel   string    `json:"channel,omitempty"`
	AMR       string    `json:"amr,omitempty"`
	AppID     string    `json:"appid,omitempty"` // where WeChat has proved who it is
	HasUnion  bool      `json:"unionid_known,omitempty"`
	SignedOut bool      `json:"signed_out,omitempty"`
	Snapshot  bool      `json:"snapshot,omitempty"`
	Issued    time.Time `json:"issued,omitzero"`
	Expires   time.Time `json:"expires,omitzero"`
}

// AnswerReport is what the client would get from the gateway.
type AnswerReport struct {
	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`
	Session  bool   `json:"session,omitempty"` // a new one comes along
}

// Report says what has become of the request. status and h are those of the
// answer, zero where nobody has answered.
func (x *Explanation) Report(status int, h http.Header) Report {
	rep := Report{Removed: []string{}, Added: []HeaderReport{}, Why: []string{}}
	if answered := (AnswerReport{Status: status, Location: withoutState(h.Get("Location")), Session: x.carries(h)}); answered != (AnswerReport{}) {
		rep.Answer = &answered
	}
	v := x.visit
	if v == nil {
		rep.Verdict = verdictUnmet
		rep.Why = append(rep.Why, "what stands before wxgate in the site's configuration has answered")
		return rep
	}
	rep.Site, rep.Shadow = v.site.origin(), x.of.shadows(v)
	rep.Verdict, rep.Why, rep.Lines = v.trace.verdict, append(rep.Why, v.trace.why...), v.trace.lines
	rep.Request = x.request()
	rep.Session = v.sessionReport()
	if rep.Verdict == verdictEndpoint {
		rep.Endpoint = v.Sent.Path
	} else if rep.Verdict != verdictMalformed {
		rep.Level, rep.Readings = v.level.String(), v.readings()
	}
	x.headers(&rep)
	return rep
}

// carries says whether an answer brings the client a session.
func (x *Explanation) carries(h http.Header) bool {
	return x.visit != nil && (x.visit.issue != nil && (x.visit.attached || h.Get(sessionHeader) != "" || len(h["Set-Cookie"]) > 0))
}

// withoutState hides what would let others end a login that was begun here.
func withoutState(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	var kept []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if strings.HasPrefix(part, "state=") {
			part = "state=REDACTED"
		}
		kept = append(kept, part)
	}
	u.RawQuery = strings.Join(kept, "&")
	return u.String()
}

func (x *Explanation) request() *RequestReport {
	v := x.visit
	rep := &RequestReport{
		Method: v.Method, Path: x.path, Rewritten: v.trace.rewritten, Kind: x.kind, Browser: "computer", ClientIP: v.ClientIP, Trusted: v.Trusted,
	}
	switch a := v.agent(); {
	case a.bot:
		rep.Browser = "bot"
	case a.wechat:
		rep.Browser = "wechat"
	case a.mobile:
		rep.Browser = "phone"
	}
	return rep
}

func kindOf(r *http.Request) string {
	switch {
	case isPreflight(r):
		return "preflight"
	case isPrefetch(r):
		return "prefetch"
	case isNavigation(r):
		return "navigation"
	}
	return "fetch"
}

// readings are the ways in which backends may read the path, as the rules have
// looked at them.
func (v *Visit) readings() []string {
	p, err := readURL(v.Sent)
	if err != nil {
		return nil
	}
	return append([]string{p.first}, p.more...)
}

func (v *Visit) sessionReport() *SessionReport {
	rep := &SessionReport{State: "none"}
	if !v.carried {
		return rep
	}
	rep.Via = "cookie"
	if v.viaHeader {
		rep.Via = "header"
	}
	sess, who := v.trace.sess, v.trace.who
	rep.State = cmp.Or(v.trace.session, "not_read")
	if sess == nil {
		return rep
	}
	rep.UserID, rep.Kind, rep.Phone = who.id, who.kind, who.phone
	if sess.UserID != who.id {
		rep.Began = sess.UserID
	}
	rep.Channel, rep.AMR, rep.AppID, rep.HasUnion = sess.Channel, sess.AMR, sess.AppID, sess.UnionID != ""
	rep.SignedOut, rep.Snapshot = sess.SignedOut, sess.Snapshot
	rep.Issued, rep.Expires = time.Unix(sess.IssuedAt, 0).UTC(), time.Unix(sess.ExpiresAt, 0).UTC()
	return rep
}

// headers compares what the client sent with what reaches the shop. Nothing
// that opens a session is shown.
func (x *Explanation) headers(rep *Report) {
	seen := x.reached
	if seen == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(x.sent)) {
		if !slices.Equal(x.sent[name], seen[name]) {
			rep.Removed = append(rep.Removed, name)
		}
	}
	for i, name := range x.visit.site.names {
		if name == "" || len(seen[name]) == 0 {
			continue
		}
		value := seen[name][0]
		if i == headerAssertion {
			value = "(signed)"
		}
		rep.Added = append(rep.Added, HeaderReport{name, value})
	}
}
