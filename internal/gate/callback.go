package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

var stateSyntax = regexp.MustCompile(`^[A-Za-z0-9]{1,128}$`)

// result is how an authorization ended. The Store keeps it, sealed, for the
// callbacks that come twice and for the back button.
type result struct {
	Browser  string `json:"b"`
	ReturnTo string `json:"r"` // where the visitor goes now
	Token    string `json:"t,omitempty"`
	Snapshot bool   `json:"p,omitempty"`
	At       int64  `json:"d"`           // when it ended; 0: somebody is about to end it
	Exhaust  bool   `json:"x,omitempty"` // no further silent round for a while
	Ticket   string `json:"k,omitempty"` // the URL, ticket and all, at the site that a callback host works for
	page     *page  // shown instead of going on; not kept
}

// callback is where WeChat sends the browser back to, with a code and a state.
// It never ends in an error for an innocent visitor: a state that is unknown,
// spent or foreign means no session from this code, and he goes on.
func (s *Site) callback(w http.ResponseWriter, r *http.Request, v *Visit) {
	q := v.Sent.Query()
	in := callbackInput{appid: v.Sent.Path[strings.LastIndexByte(v.Sent.Path, '/')+1:], state: q.Get("state"), code: q.Get("code"), ticket: q.Get("ticket")}
	in.flow, in.hasFlow = s.readFlow(v)
	if !stateSyntax.MatchString(in.state) || in.appid != s.cfg.OfficialAccount.AppID && in.appid != s.cfg.Website.AppID {
		s.redirect(w, "/")
		return
	}
	// WeChat's clients send the same callback twice within a second. One of
	// them exchanges the code, also when the first has hung up.
	done, _, _ := s.flights.Do(in.flow.Browser+" "+in.appid+" "+in.state, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), wechatTimeout+s.shopTime())
		defer cancel()
		return s.finish(ctx, v, in), nil
	})
	s.goOn(w, r, v, in, done.(result))
}

type callbackInput struct {
	appid, state string
	code         string // of WeChat
	ticket       string // of the callback host, which keeps the code
	flow         *flow
	hasFlow      bool
}

// goOn answers one callback with the result that it may share with others.
func (s *Site) goOn(w http.ResponseWriter, r *http.Request, v *Visit, in callbackInput, res result) {
	if res.Exhaust {
		in.flow.exhaust(v.now)
		s.setFlow(w, in.flow)
	}
	if res.Token != "" {
		http.SetCookie(w, s.cookies.Session(res.Token, !res.Snapshot))
	}
	if res.page != nil {
		s.writePage(w, r, *res.page)
		return
	}
	to := cmp.Or(res.Ticket, res.ReturnTo)
	if !strings.Contains(to, "#") {
		// A redirect without a fragment hands on the one that led here: the
		// page would have #wechat_redirect in its address, and a hash router
		// an unknown route (RFC 9110, 10.2.2).
		to += "#"
	}
	s.redirect(w, to)
}

// finish ends the authorization that in.state names.
func (s *Site) finish(ctx context.Context, v *Visit, in callbackInput) result {
	if res, found := s.finished(ctx, v, in); found {
		return res
	}
	p, found, err := s.pendingOf(ctx, in.state)
	switch {
	case err != nil:
		s.storeFailed(ctx, v, "session", "reading an OAuth state", err)
		return result{ReturnTo: "/", Exhaust: true}
	case !found: // nobody knows it, or another instance has just taken it
		res, _ := s.finished(ctx, v, in)
		res.ReturnTo = cmp.Or(res.ReturnTo, "/")
		return res
	case p.Site != s.origin():
		return result{ReturnTo: "/"}
	case p.Browser != in.flow.Browser && !in.hasFlow:
		s.burnTicket(ctx, in)
		return result{page: &page{Status: http.StatusOK, Key: "cookies_missing",
			Actions: []action{{Key: "go_on_as_guest", Href: withParam(p.ReturnTo, "guest")}}}}
	case p.Browser != in.flow.Browser, p.AppID != in.appid:
		// A shared or planted link. The state stays for whom it belongs to.
		s.burnTicket(ctx, in)
		return result{ReturnTo: p.ReturnTo}
	case v.now.Unix() >= p.Late:
		return result{ReturnTo: s.tooLate(p)}
	case (p.Via != "") != (in.ticket != ""):
		return result{ReturnTo: p.ReturnTo} // a code at a site that takes tickets, or a ticket at one that takes codes
	}
	mine, err := s.claim(ctx, in.state, p)
	if err != nil {
		s.storeFailed(ctx, v, "session", "claiming an OAuth state", err)
		return s.unfinished(ctx, v, p, codeUnavailable)
	}
	if !mine { // another instance has got the same callback
		res, _ := s.finished(ctx, v, in)
		res.ReturnTo = cmp.Or(res.ReturnTo, p.ReturnTo)
		return res
	}
	res := s.conclude(ctx, v, in, p)
	res.Browser, res.At = p.Browser, v.now.Unix()
	s.keepResult(ctx, in.state, res)
	return res
}

func (s *Site) pendingOf(ctx context.Context, state string) (p pending, found bool, err error) {
	raw, found, err := s.logins.Get(ctx, stateKey(state))
	if err != nil || !found {
		return p, false, err
	}
	return p, json.Unmarshal(raw, &p) == nil, nil
}

// claim lets one of several callbacks with the same state end the
// authorization, whichever instances they have got to. The others learn from
// what it leaves in the place of a result that there will be one; it is taken
// back where there will be none.
func (s *Site) claim(ctx context.Context, state string, p pending) (mine bool, err error) {
	underWay := s.sealRecord(session.TypeResult, result{Browser: p.Browser, ReturnTo: p.ReturnTo})
	first, err := s.logins.Add(ctx, resultKey(state), underWay, wechatTimeout+shopTimeout)
	if err != nil || !first {
		return false, err
	}
	if _, mine, err = s.logins.Take(ctx, stateKey(state)); err != nil || !mine {
		_, _, _ = s.logins.Take(ctx, resultKey(state)) // else it expires
	}
	return mine, err
}

// finished looks for the result of an earlier callback with the same state, and
// waits for one that is under way.
func (s *Site) finished(ctx context.Context, v *Visit, in callbackInput) (res result, found bool) {
	sealed, found, err := s.settled(ctx, resultKey(in.state), func(sealed []byte) bool {
		res, ok := s.openResult(sealed)
		return !ok || res.At != 0 || res.Browser != in.flow.Browser
	})
	if err != nil || !found {
		return res, false
	}
	res, found = s.openResult(sealed)
	if !found || res.At == 0 {
		return result{ReturnTo: res.ReturnTo}, found
	}
	sess := v.session()
	signedOutSince := sess != nil && sess.SignedOut && !v.grace && sess.IssuedAt >= res.At
	if res.Browser != in.flow.Browser || signedOutSince || v.now.Unix()-res.At >= int64(resultLife/time.Second) {
		res.Token, res.Ticket, res.Exhaust = "", "", false
	}
	return res, true
}

func (s *Site) openResult(sealed []byte) (res result, ok bool) {
	ok = s.openRecord(session.TypeResult, sealed, &res)
	return res, ok
}

func (s *Site) keepResult(ctx context.Context, state string, res result) {
	if err := s.logins.Put(ctx, resultKey(state), s.sealRecord(session.TypeResult, res), stateLife); err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "keeping the result of a login", "store", "session", "error", err)
	}
}

// conclude turns what WeChat says of the visitor into a session.
func (s *Site) conclude(ctx context.Context, v *Visit, in callbackInput, p pending) result {
	switch {
	case p.Relay != nil:
		return s.relayBack(ctx, in, p)
	case v.failed: // whose session this is, and whether it was ended, cannot be said
		return s.unfinished(ctx, v, p, codeUnavailable)
	case p.Member != "" && (v.who.id != p.Member || v.grace):
		return result{ReturnTo: s.again(p, "")} // another one has logged in since
	}
	g := s.told(ctx, in, p)
	switch {
	case g.Failed == codeRefused && p.tapped(), g.Failed == codeInvalid && p.tapped():
		return result{ReturnTo: s.again(p, string(g.Failed))}
	case g.Failed == codeInvalid && len(in.flow.Rounds) < maxRounds:
		return result{ReturnTo: p.ReturnTo}
	case g.Failed == codeWeChatBlocked:
		return s.unfinished(ctx, v, p, codeWeChatBlocked)
	case g.Failed != "":
		return s.unfinished(ctx, v, p, codeWeChatBusy)
	case g.Snapshot:
		return s.snapshot(ctx, v, p)
	case !s.confirm(ctx, v):
		return s.unfinished(ctx, v, p, codeUnavailable)
	case p.Member != "" && (v.who.id != p.Member || v.grace):
		return result{ReturnTo: s.again(p, "")} // he has logged out since
	case p.Prove == proveChange:
		return s.weChatProved(ctx, v, p, g)
	case p.Prove == proveMerge:
		return s.weChatForMerge(ctx, v, p, g)
	}
	link := account.Input{
		AppID: p.AppID, OpenID: g.OpenID, UnionID: g.UnionID,
		Want: account.WantIdentify, InBrowser: p.Scope != wechat.ScopeLogin, Outside: p.Member != "",
	}
	if p.tapped() {
		link.Want, link.Consented = account.WantLogin, true
	}
	out, ok := s.link(ctx, v, link)
	if !ok {
		return s.unfinished(ctx, v, p, codeUnavailable)
	}
	return s.loggedIn(ctx, v, p, loginOutcome{earned{Outcome: out, proved: link, channel: p.channel(), amr: amrWeChat}, g.Unheard})
}

// tooLate is where a visitor goes whose authorization took too long, such as a
// QR code that was left on the screen.
func (s *Site) tooLate(p pending) string {
	if p.tapped() && p.Relay == nil {
		return s.again(p, string(codeInvalid))
	}
	return p.ReturnTo
}

// again is the page of ours from which the authorization was started.
func (s *Site) again(p pending, code string) string {
	switch {
	case p.Prove == proveChange:
		return s.changeURL(p.ReturnTo, code)
	case p.Prove == proveMerge:
		return s.mergeURL(p.ReturnTo, code)
	case p.Member != "":
		return s.bindURL(p.ReturnTo, code)
	}
	return s.loginURL(p.ReturnTo, code)
}

// codeRefused tells the login page that the visitor said no at WeChat.
const codeRefused code = "refused"

// unfinished is the end of an authorization that WeChat or a store let down.
// Unseen by the visitor it makes him a guest; after a tap it is said.
func (s *Site) unfinished(ctx context.Context, v *Visit, p pending, why code) result {
	if p.tapped() {
		s.Metrics.Login(p.channel(), string(why))
		return result{ReturnTo: s.again(p, ""), page: s.tryAgain(p, why)}
	}
	res := result{ReturnTo: p.ReturnTo, Exhaust: true}
	if v.session() == nil && !v.failed && !s.cfg.Account.GuestsOff && s.mintAllowed(ctx, v) {
		if guest := s.newGuest(ctx, v); guest != nil {
			res.Token = s.seal(v, guest)
		}
	}
	return res
}

// tryAgain is the page after a tap that led nowhere.
func (s *Site) tryAgain(p pending, why code) *page {
	return newProblem(why).page(action{Key: "try_again", Href: s.again(p, ""), Primary: true},
		action{Key: "keep_browsing", Href: "/"})
}

// snapshot serves WeChat's snapshot page: everything in the answer is virtual,
// so its visitor is a guest who is stored nowhere.
func (s *Site) snapshot(ctx context.Context, v *Visit, p pending) result {
	res := result{ReturnTo: p.ReturnTo, Exhaust: true}
	if p.tapped() {
		res.ReturnTo = s.again(p, string(account.CodeSnapshot))
	}
	if v.who.known() {
		return res
	}
	guest := &session.Session{ID: session.NewID(), IssuedAt: v.now.Unix(), Channel: channelH5}
	if !s.cfg.Account.GuestsOff {
		if guest = s.newGuest(ctx, v); guest == nil {
			return res
		}
	}
	guest.Snapshot, res.Snapshot = true, true
	res.Token = s.seal(v, guest)
	return res
}

type loginOutcome struct {
	earned
	// unheard: WeChat was asked for the unionid and gave no answer, so that he
	// has none is not known.
	unheard bool
}

// loggedIn makes the session that an authorization has earned.
func (s *Site) loggedIn(ctx context.Context, v *Visit, p pending, out loginOutcome) result {
	missing := p.tapped() && out.proved.UnionID == "" && out.UnionID == ""
	refused := refusalCode(string(out.Code)) != ""
	switch {
	case missing && out.unheard:
		return s.unfinished(ctx, v, p, codeWeChatBusy)
	case refused && p.Member != "" && out.UserID == p.Member:
		// What belongs to somebody else must not stand in his session either.
		s.Metrics.Login(p.channel(), string(out.Code))
		return result{ReturnTo: s.again(p, string(out.Code))}
	}
	next := s.succeed(ctx, v, out.earned)
	if next == nil {
		return s.unfinished(ctx, v, p, codeUnavailable)
	}
	if missing {
		next.ConsentedAt = v.now.Unix()
		s.Log.WarnContext(ctx, "a consent brought no unionid; is the app bound to the Open Platform account?", "appid", p.AppID)
	}
	res := result{ReturnTo: p.ReturnTo, Token: s.tokenOf(next)}
	switch {
	case !p.tapped():
		s.Metrics.Login(p.channel(), "silent")
	case out.Code == account.CodeUnavailable:
		s.Metrics.Login(p.channel(), string(codeUnavailable))
		res.page = s.tryAgain(p, codeUnavailable)
	case out.Kind == account.Member && !refused && (p.Member == "" || !missing):
		s.Metrics.Login(p.channel(), "ok")
	default:
		s.Metrics.Login(p.channel(), string(out.Code))
		res.ReturnTo = s.again(p, string(out.Code))
	}
	return res
}

// seal gives next its times and returns its token.
func (s *Site) seal(v *Visit, next *session.Session) string {
	s.give(v, next)
	return s.tokenOf(next)
}

// tokenOf seals sess. It fails only for values that WeChat never sends, and
// then there is no session.
func (s *Site) tokenOf(sess *session.Session) string {
	token, err := s.Keys.SealSession(sess)
	if err != nil {
		s.Log.Error("sealing a session", "error", err)
	}
	return token
}
