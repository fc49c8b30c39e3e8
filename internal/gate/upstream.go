package gate

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// Upstream says to which words of the shop a site listens. They are removed
// from every answer, heard or not.
type Upstream struct {
	// Challenge lets a 401 with X-Login-Required become the gate's challenge,
	// so that the shop itself decides which action needs a login.
	Challenge bool
	// LoginURL is the path of the shop's own login page, with those query
	// parameters that tell it from other pages: a redirect there becomes the
	// gate's challenge too. Empty: none does. It needs Challenge.
	LoginURL string
	// Login lets X-Wxgate-Login and X-Wxgate-Logout of an answer say that the
	// shop has just logged somebody in, or out.
	Login bool
}

func (u Upstream) on() bool { return u.Challenge || u.Login }

// The words of the shop, as keys of a http.Header.
const (
	wordRequired = "X-Login-Required" // login or phone
	wordLogin    = "X-Wxgate-Login"   // a user id
	wordLogout   = "X-Wxgate-Logout"  // 1
)

// countWord counts what becomes of a word.
func (s *Site) countWord(word, outcome string) {
	names := map[string]string{wordRequired: "login_required", wordLogin: "login", wordLogout: "logout"}
	s.Metrics.Upstream(names[word], outcome)
}

const (
	wordHeeded      = "heeded"
	wordMet         = "met"         // it is so already, and the shop's answer goes as it is
	wordRefused     = "refused"     // it cannot be so
	wordUnavailable = "unavailable" // a store failed
	wordUnheard     = "unheard"     // said where nobody listens
)

// listener hears what the shop says to the gate in the header of an answer.
// Nil hears nothing.
type listener struct {
	site  *Site
	r     *http.Request // nil: nothing may be done about it, public and bypass are left alone
	v     *Visit
	outer http.Header // what stood in the header before the shop wrote to it
}

// ctx is of the request whose answer says something.
func (l *listener) ctx() context.Context { return l.site.numbered(l.r).Context() }

// listen returns who hears the shop's answer to r.
func (s *Site) listen(w http.ResponseWriter, r *http.Request, v *Visit) *listener {
	switch {
	case !s.cfg.Upstream.on():
		return nil
	case v.level <= Public:
		return s.deaf
	}
	return &listener{site: s, r: r, v: v, outer: w.Header().Clone()}
}

// heed does what the shop says with a final header, and says whether the gate
// answers in its place.
func (l *listener) heed(w *Writer, status int) (answers bool) {
	if l == nil {
		return false
	}
	s, h := l.site, w.Header()
	if l.r == nil {
		s.sayUnheard(h)
		return false
	}
	if s.shadowOf != nil {
		s.overhear(l, h, status)
		return false
	}
	_, login := h[wordLogin]
	_, logout := h[wordLogout]
	if s.cfg.Upstream.Login && (login || logout) {
		heard := s.hearLogin
		if logout { // beside a login too: to be logged out wrongly harms nobody
			heard = s.hearLogout
		}
		if heard(l, h) {
			l.v.attached = false
			s.carry(w, l.v)
		}
		return false
	}
	return s.cfg.Upstream.Challenge && l.heedDemand(w, status)
}

// sayUnheard tells the operator of words that cannot be obeyed.
func (s *Site) sayUnheard(h http.Header) {
	for _, word := range []string{wordRequired, wordLogin, wordLogout} {
		if _, said := h[word]; said {
			s.countWord(word, wordUnheard)
			s.complain(context.Background(), "the shop speaks to the gate on a public or bypass path, where it is not heard", "word", word)
		}
	}
}

// complain says what is wrong with the shop's words, once a minute.
func (s *Site) complain(ctx context.Context, what string, args ...any) {
	s.wordLog.Do(func() { s.Log.ErrorContext(ctx, what+"; this is said once a minute", args...) })
}

// heedDemand asks for the login that the shop's answer demands.
func (l *listener) heedDemand(w *Writer, status int) (answers bool) {
	s, v := l.site, l.v
	need := l.demand(w.Header(), status)
	if need == Phone && s.SMS == nil {
		need = Login // all that can be asked for
	}
	switch {
	case need == Guest:
		return false
	case v.reaches(need):
		// Asking again would send him around for ever.
		s.countWord(wordRequired, wordMet)
		return false
	case v.failed && status != http.StatusUnauthorized:
		// The shop's own login page works without us.
		s.countWord(wordRequired, wordUnavailable)
		return false
	}
	w.supersede(l.outer)
	if v.failed {
		s.countWord(wordRequired, wordUnavailable)
		s.deliver(w.ResponseWriter, v)
		s.writeProblem(w.ResponseWriter, s.numbered(l.r), newProblem(codeUnavailable))
		return true
	}
	s.countWord(wordRequired, wordHeeded)
	v.level = need
	s.challenge(w.ResponseWriter, s.numbered(l.r), v)
	return true
}

// demand is the level that an answer asks for; Guest if it asks for none.
func (l *listener) demand(h http.Header, status int) Level {
	switch status {
	case http.StatusUnauthorized:
		if said := h[wordRequired]; len(said) == 1 {
			switch {
			case strings.EqualFold(said[0], "login"):
				return Login
			case strings.EqualFold(said[0], "phone"):
				return Phone
			}
			l.site.complain(l.ctx(), "the shop's X-Login-Required is neither login nor phone")
		}
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if l.leadsToLogin(h.Get("Location")) {
			return Login
		}
	}
	return Guest
}

// leadsToLogin says whether a Location is the shop's own login page. That page
// itself, and what its form sends, may lead back to it: with the message that
// the password was wrong.
func (l *listener) leadsToLogin(location string) bool {
	login := l.site.shopLogin
	if login == nil || location == "" {
		return false
	}
	to, err := l.v.Sent.Parse(location)
	if err != nil || !isPageOf(to, login) {
		return false
	}
	if host := stripDefaultPort(to.Scheme, strings.ToLower(to.Host)); host != "" && host != l.site.external.Host && host != strings.ToLower(l.r.Host) {
		return false
	}
	from, err := url.Parse(l.r.Referer())
	return !isPageOf(l.v.Sent, login) && (err != nil || isNavigation(l.r) || !isPageOf(from, login))
}

// isPageOf says whether u is a page: its path, and at least its parameters.
func isPageOf(u, page *url.URL) bool {
	if u.Path != page.Path {
		return false
	}
	has := u.Query()
	for name, values := range page.Query() {
		if !slices.Equal(has[name], values) {
			return false
		}
	}
	return true
}

func parseLoginPage(raw string) (*url.URL, error) {
	if raw == "" {
		return nil, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(u.Path, "/") || u.Fragment != "" {
		return nil, fmt.Errorf("upstream_challenge: %q is not a path like /login.php", raw)
	}
	return u, nil
}

// amrUpstream says that the shop's own login has proved who it is.
const amrUpstream = "upstream"

// hearLogin makes the visitor the member whom the shop has logged in. The
// shop's answer goes out whatever comes of it.
func (s *Site) hearLogin(l *listener, h http.Header) (issued bool) {
	v, said, sess := l.v, h[wordLogin], l.v.session()
	switch {
	case len(said) != 1:
		s.refuseLogin(l.ctx(), "the shop has logged in several users with one answer")
		return false
	case v.who.member() && v.who.id == said[0]: // some shops say it with every answer
		s.countWord(wordLogin, wordMet)
		return false
	case s.crossSite(l.r, v):
		// The visitor would shop on the account of whoever made him send it.
		s.refuseLogin(l.ctx(), "the shop has logged somebody in at the request of another site")
		return false
	case sess != nil && sess.Snapshot:
		s.refuseLogin(l.ctx(), "the shop has logged somebody in on a snapshot page of WeChat")
		return false
	}
	if !s.confirm(context.WithoutCancel(l.ctx()), v) {
		s.countWord(wordLogin, wordUnavailable)
		return false
	}
	sess = v.session()
	e := earned{proved: account.Input{ShopUserID: said[0], Outside: true}, channel: v.channel(), amr: amrUpstream}
	if sess != nil && sess.Channel != "" {
		e.channel = sess.Channel
	}
	if sess != nil && s.provedHere(sess) {
		e.proved.AppID, e.proved.OpenID, e.proved.UnionID = sess.AppID, sess.OpenID, sess.UnionID
	}
	return s.enter(l, e)
}

// enter links who the shop has logged in, also when the visitor has hung up,
// and makes his session.
func (s *Site) enter(l *listener, e earned) (issued bool) {
	ctx, v := context.WithoutCancel(l.ctx()), l.v
	var ok bool
	v.failed = false
	switch e.Outcome, ok = s.link(ctx, v, e.proved); {
	case !ok && v.failed:
		s.countWord(wordLogin, wordUnavailable)
		return false
	case !ok: // it is said
		s.countWord(wordLogin, wordRefused)
		return false
	case e.Kind != account.Member:
		s.refuseLogin(l.ctx(), "the shop has logged in a user whose account is cancelled")
		return false
	case v.who.member() && v.who.id == e.UserID: // by an id that was merged into his
		s.countWord(wordLogin, wordMet)
		return false
	case s.succeed(ctx, v, e) == nil:
		s.countWord(wordLogin, wordUnavailable)
		return false
	}
	s.countWord(wordLogin, wordHeeded)
	s.Metrics.Login(e.channel, "ok")
	return true
}

func (s *Site) refuseLogin(ctx context.Context, why string) {
	s.countWord(wordLogin, wordRefused)
	s.complain(ctx, why)
}

// hearLogout ends the session of a member. Of a guest there is nothing to end,
// and a shop may say it to everybody who is not logged in.
func (s *Site) hearLogout(l *listener, h http.Header) (issued bool) {
	v, old := l.v, l.v.session()
	if said := h[wordLogout]; !slices.Equal(said, []string{"1"}) {
		s.countWord(wordLogout, wordRefused)
		s.complain(l.ctx(), "the shop's X-Wxgate-Logout is not 1")
		return false
	}
	if old == nil || !v.who.member() && !(v.failed && old.Kind == kindMember) {
		s.countWord(wordLogout, wordMet)
		return false
	}
	outcome := wordHeeded
	ctx := context.WithoutCancel(l.ctx())
	if !s.confirm(ctx, v) || !s.endSession(ctx, v, old) {
		outcome = wordUnavailable // but this browser forgets it all the same
	}
	s.give(v, s.signedOut(ctx, v))
	s.countWord(wordLogout, outcome)
	return true
}

// endSession ends every token of a session at once.
func (s *Site) endSession(ctx context.Context, v *Visit, sess *session.Session) bool {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := s.Accounts.RevokeSession(ctx, sess.ID, v.now, s.lastExpiry(v, sess)); err != nil {
		s.storeFailed(ctx, v, "database", "revoking a session", err)
		return false
	}
	return true
}

// signedOut is the session of a visitor who has logged out, a guest whom
// nothing recognises until he taps 'log in'.
func (s *Site) signedOut(ctx context.Context, v *Visit) *session.Session {
	next := &session.Session{ID: session.NewID(), IssuedAt: v.now.Unix(), Channel: v.channel()}
	if !s.cfg.Account.GuestsOff {
		if guest := s.newGuest(ctx, v); guest != nil {
			next = guest
		}
	}
	next.SignedOut = true
	// A mini program has no page to be known anew on: the next tap brings a phone.
	if old := v.session(); v.viaHeader && old != nil && !v.failed {
		if _, mini := appOf(s.cfg.MiniPrograms, old.AppID); mini {
			next.AppID, next.OpenID, next.UnionID = old.AppID, old.OpenID, old.UnionID
		}
	}
	return next
}
