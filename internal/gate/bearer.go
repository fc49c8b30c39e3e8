package gate

import (
	"context"
	"net/http"
	"strings"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// A mini program or a mobile app keeps no cookies: it keeps the session that an
// answer of ours brings and sends it in a header. This file is where such a
// client gets one.

// forBearers says whether a path below the prefix is for such clients alone.
func forBearers(path string) bool {
	return strings.HasPrefix(path, "/mini/") || strings.HasPrefix(path, "/app/")
}

// headerOnly ignores a cookie, so that a page which can make a browser send one
// cannot log it in or out here.
func (v *Visit) headerOnly() {
	if !v.viaHeader {
		v.viaHeader, v.token, v.sess = true, "", nil
	}
}

// appLogin is a login with a code of WeChat, in an app that the client has
// named.
type appLogin struct {
	app     wechat.App
	channel string
	code    string
	tell    func(context.Context, wechat.App, string) told // spends the code
	want    account.Want
	outside bool // a bind action outside WeChat
}

// bearerAnswer is what a client without cookies is answered.
type bearerAnswer struct {
	Token   string     `json:"t,omitempty"` // of the session from now on; empty: it stays as it is
	User    userAnswer `json:"u"`
	Code    code       `json:"c,omitempty"` // why it is not more
	Problem code       `json:"p,omitempty"` // answered in place of a success
	Wait    int        `json:"w,omitempty"` // seconds, of a Problem
}

// refusedBearer is the answer of a problem.
func refusedBearer(p problem) bearerAnswer {
	return bearerAnswer{Problem: p.Code, Wait: p.retryAfter}
}

// logInApp answers a login with a code of WeChat.
func (s *Site) logInApp(w http.ResponseWriter, r *http.Request, v *Visit, l appLogin) {
	if v.failed {
		s.writeProblem(w, r, newProblem(codeUnavailable))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), bearerTime+s.shopTime())
	defer cancel()
	done := s.once(ctx, v, onceCode{
		name: "login " + l.app.AppID + " " + l.code,
		tell: func() told { return l.tell(ctx, l.app, l.code) },
		act:  func(g told) bearerAnswer { return s.loggedInApp(ctx, v, l, g) },
	})
	if done.Problem != "" {
		s.Metrics.Login(l.channel, string(done.Problem))
	}
	s.answerBearer(w, r, v, done)
}

// bearerTime bounds a login: one call of WeChat and three of stores.
const bearerTime = wechatTimeout + 3*storeTimeout

// loggedInApp makes the session that a login has earned. A refusal throws nobody
// out: he has a session, and the code says why it is not more.
func (s *Site) loggedInApp(ctx context.Context, v *Visit, l appLogin, g told) bearerAnswer {
	if !s.confirm(ctx, v) { // else he would go on under an id that is dead
		return refusedBearer(newProblem(codeUnavailable))
	}
	sess := v.session()
	if sess != nil && sess.SignedOut && l.want == account.WantIdentify {
		return s.staysOut(ctx, v, l, g)
	}
	in := account.Input{AppID: l.app.AppID, OpenID: g.OpenID, UnionID: g.UnionID, Want: l.want, Outside: l.outside}
	out, ok := s.link(ctx, v, in)
	if !ok {
		return refusedBearer(newProblem(codeUnavailable))
	}
	if l.outside && refusalCode(string(out.Code)) != "" {
		// What belongs to somebody else must not stand in his session either.
		return refusedBearer(newProblem(code(out.Code)))
	}
	next := s.succeed(ctx, v, earned{Outcome: out, proved: in, channel: l.channel, amr: amrWeChat})
	if next == nil {
		return refusedBearer(newProblem(codeUnavailable))
	}
	done := s.bearerOf(ctx, v, next)
	switch {
	case done.Problem != "":
	case out.Code != account.CodeOK && out.Code != account.CodeGuest:
		done.Code = code(out.Code)
		s.Metrics.Login(l.channel, string(out.Code))
	case l.want == account.WantIdentify:
		s.Metrics.Login(l.channel, "silent")
	default:
		s.Metrics.Login(l.channel, "ok")
	}
	return done
}

// staysOut answers a login without a tap of somebody who has logged out: he
// stays the guest he is. What WeChat has told is kept for the tap that may
// follow.
func (s *Site) staysOut(ctx context.Context, v *Visit, l appLogin, g told) bearerAnswer {
	next := *v.session()
	next.AppID, next.OpenID, next.UnionID, next.Channel = l.app.AppID, g.OpenID, g.UnionID, l.channel
	s.give(v, &next)
	return s.bearerOf(ctx, v, &next)
}

// bearerOf is the answer that brings a session.
func (s *Site) bearerOf(ctx context.Context, v *Visit, sess *session.Session) bearerAnswer {
	done := bearerAnswer{Token: s.tokenOf(sess), User: userAnswer{Kind: kindNobody, Channel: sess.Channel}}
	if sess.UserID == "" {
		return done
	}
	res, err := s.current(ctx, sess)
	if err != nil {
		s.storeFailed(ctx, v, "database", "resolving a session", err)
		return refusedBearer(newProblem(codeUnavailable))
	}
	done.User = userOf(identity{id: res.UserID, kind: string(res.Kind), phone: res.PhoneVerified, channel: sess.Channel})
	return done
}

// answerBearer writes what a client without cookies gets. With a problem comes
// the session all the same, in a header, where there is a new one.
func (s *Site) answerBearer(w http.ResponseWriter, r *http.Request, v *Visit, done bearerAnswer) {
	if done.Problem != "" {
		if done.Token != "" {
			s.deliverToken(w, v, done.Token, true)
		}
		p := newProblem(done.Problem)
		if done.Wait > 0 {
			p.retryAfter = done.Wait
		}
		s.writeProblem(w, r, p)
		return
	}
	s.beginJSON(w, r)
	writeJSON(w, struct {
		Session string     `json:"session,omitempty"`
		User    userAnswer `json:"user"`
		Code    code       `json:"code,omitempty"`
	}{done.Token, done.User, done.Code})
}
