package gate

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// flow is the content of the flow cookie: it binds states to this browser and
// counts silent rounds, so that a browser is never sent around for ever.
type flow struct {
	Browser string  `json:"b"`
	Rounds  []int64 `json:"r,omitempty"` // starts of silent rounds, Unix seconds
}

const (
	stateLife   = 10 * time.Minute // an authorization has to come back within this
	lateLife    = time.Hour        // one that was tapped and comes back later leads to where it was tapped
	resultLife  = time.Minute      // a doubled callback gets the same answer within this
	roundWindow = 10 * time.Minute
	maxRounds   = 2
)

// readFlow returns the flow of this browser, a new one if it has none.
func (s *Site) readFlow(v *Visit) (f *flow, carried bool) {
	if f, ok := s.openFlow(v); ok && f.Browser != "" {
		f.Rounds = slices.DeleteFunc(f.Rounds, func(t int64) bool {
			return v.now.Unix()-t >= int64(roundWindow/time.Second)
		})
		return f, true
	}
	return &flow{Browser: rand.Text()}, false
}

// openFlow returns the content of the flow cookie. Of several, only one that
// opens alone counts.
func (s *Site) openFlow(v *Visit) (f *flow, ok bool) {
	for _, t := range v.flows {
		opened := new(flow)
		if !s.openRecord(session.TypeFlow, []byte(t), opened) {
			continue
		}
		if ok {
			return nil, false
		}
		f, ok = opened, true
	}
	return f, ok
}

// begins counts a silent round, if one is left.
func (f *flow) begins(now time.Time) bool {
	if len(f.Rounds) >= maxRounds {
		return false
	}
	f.Rounds = append(f.Rounds, now.Unix())
	return true
}

// exhaust uses up the silent rounds: WeChat does not answer, so asking at each
// page would only make every page slow.
func (f *flow) exhaust(now time.Time) {
	for len(f.Rounds) < maxRounds {
		f.Rounds = append(f.Rounds, now.Unix())
	}
}

func (s *Site) setFlow(w http.ResponseWriter, f *flow) {
	http.SetCookie(w, s.cookies.Flow(string(s.sealRecord(session.TypeFlow, f)), lateLife+roundWindow))
}

// wantsSilent says whether WeChat may be asked, unseen by the visitor, who he
// is: inside WeChat, while his session does not know.
func (s *Site) wantsSilent(v *Visit) bool {
	why := s.staysUnasked(v)
	v.trace.because(why)
	return why == ""
}

// staysUnasked says why WeChat is not asked who the visitor is, empty if it may
// be.
func (s *Site) staysUnasked(v *Visit) (why string) {
	switch {
	case !v.agent().wechat:
		return "this is not WeChat's browser, so WeChat is not asked who he is"
	case s.cfg.OfficialAccount.AppID == "":
		return "the site has no official account, so WeChat is not asked who he is"
	case v.who.marks&markWeChat != 0:
		return "WeChat has told who he is, or is not to be asked: he has logged out, looks at a snapshot page, or was handed over by a mini program"
	case v.failed:
		return "a store has failed, so WeChat is not asked who he is"
	case v.viaHeader:
		return "his session came in a header, so WeChat is not asked who he is"
	case v.param == "guest":
		return "the URL asks to go on as a guest (wxgate=guest), so WeChat is not asked who he is"
	case v.who.known():
		return ""
	}
	if sess := v.session(); sess != nil && (s.holdsWeChat(sess) || sess.SignedOut || sess.Snapshot || sess.HandedOver) {
		return "his session says that WeChat is not to be asked who he is"
	}
	return ""
}

// startSilent begins a round of silent identification, if one is left.
func (s *Site) startSilent(w http.ResponseWriter, r *http.Request, v *Visit) (answered bool) {
	f, _ := s.readFlow(v)
	if !f.begins(v.now) {
		v.trace.because("WeChat was asked who he is twice in 10 minutes, and nothing came of it")
		return false
	}
	v.trace.because("WeChat is asked who he is, which he does not see")
	if s.toExternal(w, r, v) {
		return true
	}
	if s.cfg.HashRoutes && s.returnTo(v.here()) == v.here() { // else it would be lost on that way
		s.askFragment(w, r, v)
		return true
	}
	return s.authorize(r.Context(), w, v, authorization{flow: f, scope: wechat.ScopeBase, returnTo: v.here()})
}

type authorization struct {
	flow     *flow
	scope    wechat.Scope
	returnTo string
	member   string // who binds a WeChat account, or proves it; empty: it is a login
	prove    string // what he proves himself for, proveChange or proveMerge, and nothing is linked; empty: he does not
	relay    *relay // for another site; nil: for this one
}

// What a member proves himself for.
const (
	proveChange = "change" // another phone
	proveMerge  = "merge"  // his other account
)

// pending is what the Store keeps of an authorization under its state.
type pending struct {
	Browser  string       `json:"b"`
	AppID    string       `json:"a"`
	Scope    wechat.Scope `json:"s"`
	ReturnTo string       `json:"r"`
	Member   string       `json:"m,omitempty"` // who binds a WeChat account, or proves it; empty: it is a login
	Prove    string       `json:"p,omitempty"` // what for; nothing is linked

	Site   string `json:"o"`           // the origin that the browser comes back to
	Prefix string `json:"x"`           // of our endpoints there
	Via    string `json:"v,omitempty"` // the callback host that gets the code; empty: Site does
	Relay  *relay `json:"l,omitempty"` // at a callback host: for which site it asks
	Late   int64  `json:"e"`           // after this Unix time it earns nothing any more
}

// tapped says that the visitor asked for it, and knows why.
func (p pending) tapped() bool { return p.Scope != wechat.ScopeBase }

func (p pending) channel() string {
	if p.Scope == wechat.ScopeLogin {
		return channelWebsite
	}
	return channelH5
}

// app is the app of this site that asks for a scope.
func (s *Site) app(scope wechat.Scope) wechat.App {
	if scope == wechat.ScopeLogin {
		return s.cfg.Website
	}
	return s.cfg.OfficialAccount
}

// authorize sends the browser to WeChat. The state is random, of one use, and
// bound to this browser, the appid and the target.
func (s *Site) authorize(ctx context.Context, w http.ResponseWriter, v *Visit, a authorization) (answered bool) {
	state := rand.Text() // base32: letters and digits, as WeChat demands
	app := s.app(a.scope).AppID
	p := pending{
		Browser: a.flow.Browser, AppID: app, Scope: a.scope, ReturnTo: a.returnTo, Member: a.member, Prove: a.prove,
		Site: s.origin(), Prefix: s.cfg.Prefix, Via: s.cfg.CallbackHost, Relay: a.relay, Late: v.now.Add(stateLife).Unix(),
	}
	life := stateLife
	if p.tapped() {
		life = lateLife
	}
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err) // a struct of strings
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.logins.Put(ctx, stateKey(state), raw, life); err != nil {
		s.Metrics.StoreError("session")
		s.Log.ErrorContext(ctx, "keeping an OAuth state", "store", "session", "error", err)
		return false
	}
	to := p.Via + p.Prefix + relayPath + "?state=" + state
	if p.Via == "" {
		to, err = s.WeChat.AuthorizeURL(wechat.AuthorizeParams{AppID: app, RedirectURI: p.callback(), Scope: a.scope, State: state})
	}
	if err != nil {
		s.Log.ErrorContext(ctx, "building the authorize URL", "error", err)
		return false
	}
	s.setFlow(w, a.flow)
	s.redirect(w, to)
	return true
}

// callback is where the browser comes back to.
func (p pending) callback() string { return p.Site + p.Prefix + "/callback/" + p.AppID }

func stateKey(state string) string  { return "state:" + state }
func resultKey(state string) string { return "result:" + state }
