package gate

import (
	"net/http"

	"github.com/wxgate/wxgate/internal/session"
)

// trace collects why a visit goes as it does. Nil collects nothing, at no cost.
type trace struct {
	rewritten string // path, where it differs from the one that was sent
	lines     []LineReport
	sess      *session.Session // that the token holds; nil: it does not open
	session   string           // what became of it
	who       identity
	minted    bool
	verdict   string
	why       []string
}

// because notes a reason for what the gate does next.
func (t *trace) because(why string) {
	if t != nil && why != "" {
		t.why = append(t.why, why)
	}
}

// line notes what an access line had to say.
func (t *trace) line(r *rule, applies bool, by string) {
	if t != nil {
		t.lines = append(t.lines, LineReport{Line: r.text, Applies: applies, Reading: by})
	}
}

// opens notes what the token of a visit holds.
func (t *trace) opens(v *Visit) {
	if t != nil {
		t.sess = v.session()
	}
}

// knows notes what Identify has found out.
func (t *trace) knows(v *Visit) {
	if t == nil {
		return
	}
	t.who = v.who
	switch {
	case !v.carried:
		t.session = "none"
	case t.sess == nil:
		t.session = "unreadable"
	case v.failed:
		t.session = "unknown"
	case v.token == "":
		t.session = "ended"
	default:
		t.session = "live"
	}
}

// reads notes the path as the rules see it besides the one that was sent.
func (t *trace) reads(r *http.Request, v *Visit) {
	if t != nil && (r.URL.Path != v.Sent.Path || r.URL.RawPath != v.Sent.RawPath) {
		t.rewritten = r.URL.EscapedPath()
	}
}

// mints notes that the visitor is given an id.
func (t *trace) mints() {
	if t != nil {
		t.minted = true
	}
}

// ends notes what becomes of the visit.
func (t *trace) ends(verdict string) {
	if t != nil {
		t.verdict = verdict
	}
}

// standing says of a visitor who he is by now.
func (v *Visit) standing() string {
	switch {
	case v.trace == nil:
		return "" // not asked for
	case v.who.member() && v.who.phone:
		return "he is a member with a verified phone"
	case v.who.member():
		return "he is a member without a verified phone"
	case v.who.known():
		return "he is a guest"
	}
	return "he is nobody"
}
