package gate

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// problem is an error of ours as a client sees it: a problem document
// (RFC 9457) with a stable code for scripts, a page for people.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail,omitempty"`   // what it means and what to do, in the visitor's language
	Instance string `json:"instance,omitempty"` // the number of the request, as a URN (RFC 9562)
	Code     code   `json:"code"`
	Need     string `json:"need,omitempty"`
	LoginURL string `json:"login_url,omitempty"`

	retryAfter int    // seconds; 0: no Retry-After
	text       string // the key of a text that says more than the code's
}

// code is stable: scripts and support people go by it.
type code string

const (
	codeLoginRequired    code = "login_required"
	codeSessionExpired   code = "session_expired"
	codeInvalid          code = "code_invalid"
	codeUsed             code = "code_used"
	codeSessionKeyLost   code = "session_key_lost"
	codeWeChatBusy       code = "wechat_busy"
	codeWeChatBlocked    code = "wechat_blocked"
	codeRateLimited      code = "rate_limited"
	codePhoneInvalid     code = "phone_invalid"
	codeWrong            code = "code_wrong"
	codeExpired          code = "code_expired"
	codeUnavailable      code = "unavailable"
	codeMalformed        code = "malformed"
	codeCrossSite        code = "cross_site"
	codeNotFound         code = "not_found"
	codeMethodNotAllowed code = "method_not_allowed"
	codeOneAccount       code = "one_account" // there are no two accounts to merge
	codeTwoWeChats       code = "two_wechats" // one member could not have both
	codeHandedOver       code = "handed_over" // to be done in the mini program that has handed him over
)

// newProblem is the one place that maps what went wrong to HTTP.
func newProblem(c code) problem {
	p := problem{Code: c, Type: "urn:wxgate:problem:" + string(c)}
	switch c {
	case codeLoginRequired, codeSessionExpired:
		p.Status = http.StatusUnauthorized
	case codeMalformed:
		p.Status = http.StatusBadRequest
	case codeWeChatBlocked, codeCrossSite:
		p.Status = http.StatusForbidden
	case codeNotFound:
		p.Status = http.StatusNotFound
	case codeMethodNotAllowed:
		p.Status = http.StatusMethodNotAllowed
	case codeInvalid, codeUsed, codeSessionKeyLost, codePhoneInvalid, codeWrong, codeExpired:
		p.Status = http.StatusUnprocessableEntity
	case codeRateLimited:
		p.Status = http.StatusTooManyRequests
	case codeWeChatBusy, codeUnavailable:
		p.Status, p.retryAfter = http.StatusServiceUnavailable, 5
	default: // a refusal of the linking rules
		p.Status = http.StatusConflict
	}
	return p
}

// page shows the problem to a person.
func (p problem) page(actions ...action) *page {
	return &page{Status: p.Status, Key: string(p.Code), Code: p.Code, Actions: actions, retryAfter: p.retryAfter}
}

// writeProblem answers with p, as a page where a person looks at it.
func (s *Site) writeProblem(w http.ResponseWriter, r *http.Request, p problem) {
	if wantsPage(r) && !isPrefetch(r) {
		s.writePage(w, r, *p.page(action{Key: "to_the_shop", Href: "/"}))
		return
	}
	h := w.Header()
	ours(h)
	s.allowOrigin(h, r)
	setRetryAfter(h, p.retryAfter)
	h.Set("Content-Type", "application/problem+json")
	lang := s.pages.language(r)
	p.Title = s.pages.text(lang, "title."+string(p.Code))
	p.Detail = strings.ReplaceAll(s.pages.text(lang, "text."+cmp.Or(p.text, string(p.Code))), "\n", " ")
	if p.Code != codeLoginRequired { // which is an ordinary answer, and nothing to look for in a log
		if number := s.refused(r, p.Code, p.Status); number != "" {
			p.Instance = "urn:uuid:" + number
		}
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		writeJSON(w, p)
	}
}

func setRetryAfter(h http.Header, seconds int) {
	if seconds > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
}

// allowOrigin lets a listed origin's scripts read the answer, and nobody else's.
func (s *Site) allowOrigin(h http.Header, r *http.Request) {
	h.Add("Vary", "Origin")
	if o := r.Header.Get("Origin"); o != "" && slices.Contains(s.cfg.ReturnOrigins, o) {
		h.Set("Access-Control-Allow-Origin", o)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// beginJSON sets the header of an answer for a script or a program.
func (s *Site) beginJSON(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	ours(h)
	s.allowOrigin(h, r)
	h.Set("Content-Type", "application/json")
}

// writeJSON sends v. An error is the client's connection, which nobody can be
// told about.
func writeJSON(w http.ResponseWriter, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

// after asks the client to wait, whole seconds and at least one.
func (p problem) after(wait time.Duration) problem {
	p.retryAfter = max(1, int((wait+time.Second-1)/time.Second))
	return p
}
