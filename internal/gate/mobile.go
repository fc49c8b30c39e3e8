package gate

import (
	"context"
	"net/http"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// appSession makes the client of a mobile app a guest, if it is nobody yet.
func (s *Site) appSession(w http.ResponseWriter, r *http.Request, v *Visit) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*storeTimeout)
	defer cancel()
	sess := v.session()
	if !v.failed && sess != nil && (v.who.known() || s.live(ctx, v)) {
		s.answerBearer(w, r, v, bearerAnswer{User: userAnswerOf(v.who, sess)})
		return
	}
	if v.failed {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	ok, wait, err := s.mintLimit(ctx, v)
	switch {
	case err != nil:
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	case !ok:
		s.writeProblem(w, r, newProblem(codeRateLimited).after(wait))
		return
	}
	next := &session.Session{ID: session.NewID(), IssuedAt: v.now.Unix()}
	if !s.cfg.Account.GuestsOff {
		if next = s.newGuest(ctx, v); next == nil {
			s.writeProblem(w, r, newProblem(codeUnavailable))
			return
		}
	}
	next.Channel = channelMobile
	s.give(v, next)
	s.answerBearer(w, r, v, s.bearerOf(ctx, v, next))
}

// userAnswerOf is who holds a session.
func userAnswerOf(who identity, sess *session.Session) userAnswer {
	if !who.known() {
		return userAnswer{Kind: kindNobody, Channel: sess.Channel}
	}
	return userOf(who)
}

// mobileLogin logs in with a code that WeChat has given a mobile app, or adds the
// WeChat account to the member who is logged in already.
func (s *Site) mobileLogin(w http.ResponseWriter, r *http.Request, v *Visit) {
	var in struct{ AppID, Code string }
	if !readJSON(r, &in) || in.Code == "" {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	app, known := appOf(s.cfg.MobileApps, in.AppID)
	if !known {
		s.writeProblem(w, r, unknownApp())
		return
	}
	s.logInApp(w, r, v, appLogin{
		app: app, channel: channelMobile, code: in.Code, tell: s.tellMobile, want: account.WantLogin, outside: v.who.member(),
	})
}

// tellMobile asks WeChat whose code it is.
func (s *Site) tellMobile(ctx context.Context, app wechat.App, code string) told {
	grant, err := s.WeChat.ExchangeCode(ctx, app, code)
	if err != nil {
		return s.refusedCode(ctx, "logging in to a mobile app", err)
	}
	g := told{OpenID: grant.OpenID, UnionID: grant.UnionID}
	if g.UnionID == "" && !s.cfg.Account.StandIns[app.AppID] {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		g.UnionID, g.Unheard = s.profileUnionID(ctx, app, grant)
	}
	return g
}
