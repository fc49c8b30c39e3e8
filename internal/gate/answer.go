package gate

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
)

// Answer lets r pass or answers it: with a round of silent identification, a
// challenge, or a refusal. A visitor who has no id yet and may have one gets
// it here.
func (s *Site) Answer(w http.ResponseWriter, r *http.Request, v *Visit) (answered bool) {
	if s.shadowOf != nil {
		s.foresee(r, v)
		return false
	}
	outcome := s.answer(w, r, v)
	v.trace.ends(outcome)
	s.Metrics.Request(v.level, outcome)
	return outcome != outcomePass
}

// Outcomes of a request, for the metrics.
const (
	outcomePass      = "pass"
	outcomeSilent    = "silent"
	outcomeChallenge = "challenge"
	outcomeRefused   = "refused"
	outcomeFailed    = "unavailable"
)

// Outcomes lists every outcome that Metrics.Request is told.
func Outcomes() []string {
	return []string{outcomePass, outcomeSilent, outcomeChallenge, outcomeRefused, outcomeFailed}
}

func (s *Site) answer(w http.ResponseWriter, r *http.Request, v *Visit) string {
	if v.level <= Public {
		v.trace.because("the level asks for nobody")
		return outcomePass
	}
	if v.viaHeader && !v.failed && v.session() == nil && !v.who.known() {
		v.trace.because("a client that sends its session in a header has to know that it is of no use")
		s.writeProblem(w, s.numbered(r), newProblem(codeSessionExpired))
		return outcomeRefused
	}
	if isPreflight(r) && s.staysPreflight(r, v) {
		v.trace.because("a preflight never carries a session, and passes as nobody")
		v.who = identity{}
		return outcomePass
	}
	navigation, prefetch := isNavigation(r), isPrefetch(r)
	if navigation && !prefetch {
		if s.wantsSilent(v) && s.startSilent(w, s.numbered(r), v) {
			return outcomeSilent
		}
	}
	if navigation && !prefetch || v.viaHeader {
		s.refresh(r, v)
	}
	if !v.who.known() && !prefetch && s.mayMint(r, v, navigation) {
		s.mint(s.numbered(r).Context(), v)
	}
	if v.level > Guest && v.reaches(v.level) && navigation && !prefetch && s.wantsUnionID(v) {
		v.trace.because("he is a member without a unionid, and is asked for a consent once a day")
		if !s.toExternal(w, r, v) {
			s.deliver(w, v)
			s.redirect(w, s.loginURL(v.here(), ""))
		}
		return outcomeChallenge
	}
	if v.level == Guest || v.reaches(v.level) {
		v.trace.because(v.standing())
		return outcomePass
	}
	r = s.numbered(r)
	if !prefetch && s.promote(r.Context(), v) && v.reaches(v.level) {
		v.trace.because("he becomes a member without a page: WeChat has told his unionid, and first_login wechat asks for no more")
		return outcomePass
	}
	if v.failed {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return outcomeFailed
	}
	v.trace.because(v.standing() + ", and the level asks for more")
	s.challenge(w, r, v)
	return outcomeChallenge
}

// staysPreflight says whether a preflight is one to the backend too: a method
// override that is let through would make it something else.
func (s *Site) staysPreflight(r *http.Request, v *Visit) bool {
	o, err := s.strip.overridesOf(r.Header, v.Trusted)
	return err == nil && !slices.ContainsFunc(o.methods, func(m string) bool { return m != http.MethodOptions })
}

// reaches says whether the visitor has what level asks for.
func (v *Visit) reaches(level Level) bool {
	switch level {
	case Login:
		return v.who.member()
	case Phone:
		return v.who.member() && v.who.phone
	default:
		return true
	}
}

// refresh gives a visitor who is known a new token when the sliding expiry is
// due, or when his token still names a user id that was replaced.
func (s *Site) refresh(r *http.Request, v *Visit) {
	due := v.now.Unix() >= v.renew
	moved := v.who.marks&markMoved != 0
	if !v.who.known() || v.grace || !due && !moved {
		return
	}
	old := v.session()
	if old == nil {
		return
	}
	v.trace.because("his session is renewed")
	next := *old
	next.UserID, next.Kind = v.who.id, v.who.kind
	if v.who.member() && old.Kind != kindMember {
		next.Born, next.AMR = 0, amrWeChat
		ctx := s.numbered(r).Context()
		if !s.live(ctx, v) || !s.rotate(ctx, v, &next) {
			return
		}
	}
	s.give(v, &next)
}

// rotate gives next an id of its own and ends the old token after a grace for
// what is in flight. It is issued now, or when next says where that is to come:
// at a time before, all sessions of its user were ended, by a faster clock.
func (s *Site) rotate(ctx context.Context, v *Visit, next *session.Session) bool {
	old := v.session()
	next.ID, next.IssuedAt = session.NewID(), max(next.IssuedAt, v.now.Unix())
	if old == nil {
		return true
	}
	next.Root = old.Line()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := s.Accounts.RevokeSession(ctx, old.ID, v.now.Add(account.RotationGrace), s.lastExpiry(v, old))
	if err != nil {
		s.storeFailed(ctx, v, "database", "rotating a session", err)
		return false
	}
	return true
}

// lastExpiry is when every token of a session has expired. The one at hand may
// not be the last: the same session may have been renewed elsewhere since.
func (s *Site) lastExpiry(v *Visit, sess *session.Session) time.Time {
	last := time.Unix(sess.ExpiresAt, 0)
	if renewed := v.now.Add(s.cfg.CookieMaxAge + account.RotationGrace); renewed.After(last) {
		return renewed
	}
	return last
}

// give lets the answer carry next as the visitor's session.
func (s *Site) give(v *Visit, next *session.Session) {
	next.RenewedAt = v.now.Unix()
	life := s.cfg.CookieMaxAge
	if next.Snapshot {
		life = snapshotLife
	}
	next.ExpiresAt = v.now.Add(life).Unix()
	v.issue, v.sess = next, next
}

// snapshotLife bounds the token of a snapshot page, whose cookie already dies
// with the page.
const snapshotLife = time.Hour

// channel is the way in which the visitor comes now.
func (v *Visit) channel() string {
	sess := v.session()
	switch {
	case v.viaHeader && sess != nil:
		return sess.Channel // in which it was made is where it is kept
	case v.agent().wechat:
		return channelH5
	}
	return channelBrowser
}

// inBrowser says whether it is WeChat's browser, where a consent can be asked
// for. A mini program's requests have its User-Agent too.
func (v *Visit) inBrowser() bool { return v.agent().wechat && !v.viaHeader }

// become tells the shop, in this very request, who the visitor is by the
// session he is about to get.
func (s *Site) become(ctx context.Context, v *Visit, res account.Resolved) {
	v.who = identity{}
	if e, ok := s.tell(ctx, v, v.issue, res); ok {
		v.who = e.who
	}
}

// promote makes a guest whose unionid WeChat has proved a member, without a
// page, when knowing the unionid is all that a first login needs.
func (s *Site) promote(ctx context.Context, v *Visit) bool {
	sess := v.session()
	if s.cfg.Account.FirstLogin != account.FirstLoginWeChat || v.failed || v.grace ||
		sess == nil || sess.UnionID == "" || sess.Snapshot || sess.SignedOut || sess.HandedOver || !s.holdsWeChat(sess) && !s.provedInApp(sess) {
		return false
	}
	if !s.live(ctx, v) {
		return false
	}
	proved := account.Input{
		AppID: sess.AppID, OpenID: sess.OpenID, UnionID: sess.UnionID,
		Want: account.WantLogin, InBrowser: v.inBrowser(),
	}
	out, ok := s.link(ctx, v, proved)
	if ok && out.Code == account.CodeUnavailable {
		v.failed = true // he may try again, and a login page would not help him
	}
	if !ok || out.Kind != account.Member {
		return false
	}
	e := earned{Outcome: out, proved: proved, channel: sess.Channel, amr: amrWeChat}
	// Before the shop shows him his orders it has to learn which ids were merged
	// into him, so a visitor of whom that cannot be read does not get further.
	next := s.successor(sess, e)
	next.ID, next.IssuedAt = sess.ID, max(next.IssuedAt, v.now.Unix())
	res, err := s.current(ctx, next)
	if err != nil {
		s.storeFailed(ctx, v, "database", "resolving a session", err)
		return false
	}
	if s.succeed(ctx, v, e) == nil {
		return false
	}
	s.become(ctx, v, res)
	s.Metrics.Login(e.channel, "ok")
	return v.who.known()
}

const amrWeChat = "wechat"

// link runs Link with what the session says of its visitor filled in.
func (s *Site) link(ctx context.Context, v *Visit, in account.Input) (account.Outcome, bool) {
	if sess := v.session(); sess != nil {
		in = standIn(in, sess)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout+s.shopTime())
	defer cancel()
	out, err := s.Accounts.Link(ctx, s.cfg.Account, in)
	if errors.Is(err, account.ErrShopUserID) {
		s.complain(ctx, "the shop has logged in somebody who cannot be", "error", err)
		return out, false
	}
	if err == nil {
		err = s.fetchLeft(ctx, v, in, out)
	}
	if err != nil {
		s.storeFailed(ctx, v, "database", "linking", err)
		return out, false
	}
	s.Metrics.Link(out.Code)
	if out.Code == account.CodeUnavailable {
		s.Metrics.StoreError("new_members")
		s.shopLog.Do(func() {
			s.Log.ErrorContext(ctx, "new_members: the shop gave no user id, so that visitors stay guests; this is said once a minute",
				"error", out.Unavailable)
		})
	}
	return out, true
}

// shopTime is what a Link may take beyond the store's time, where the shop
// makes the ids of new members.
func (s *Site) shopTime() time.Duration {
	if s.cfg.Account.MakeUserID == nil {
		return 0
	}
	return shopTimeout
}
