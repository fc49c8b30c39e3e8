package gate

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
)

// appOf finds an app of this site.
func appOf(apps []wechat.App, appID string) (wechat.App, bool) {
	i := slices.IndexFunc(apps, func(a wechat.App) bool { return a.AppID == appID })
	if i < 0 {
		return wechat.App{}, false
	}
	return apps[i], true
}

// unknownApp tells a developer what is wrong.
func unknownApp() problem {
	p := newProblem(codeMalformed)
	p.text = "unknown_app"
	return p
}

// provedInApp says whether WeChat has told us, for this session, who its holder
// is in a mini program or a mobile app of this site.
func (s *Site) provedInApp(sess *session.Session) bool {
	_, mini := appOf(s.cfg.MiniPrograms, sess.AppID)
	_, mobile := appOf(s.cfg.MobileApps, sess.AppID)
	return sess.OpenID != "" && (mini || mobile)
}

// readJSON reads a body, which an endpoint for programs always has.
func readJSON(r *http.Request, into any) bool {
	body, err := io.ReadAll(r.Body)
	return err == nil && json.Unmarshal(body, into) == nil
}

// miniLogin logs in who has opened a mini program, with a code of wx.login.
func (s *Site) miniLogin(w http.ResponseWriter, r *http.Request, v *Visit) {
	var in struct {
		AppID, Code string
		Want        account.Want
	}
	if !readJSON(r, &in) || in.Code == "" {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	if in.Want == "" {
		in.Want = account.WantIdentify
	}
	app, known := appOf(s.cfg.MiniPrograms, in.AppID)
	switch {
	case in.Want != account.WantIdentify && in.Want != account.WantLogin:
		s.writeProblem(w, r, newProblem(codeMalformed))
	case !known:
		s.writeProblem(w, r, unknownApp())
	default:
		s.logInApp(w, r, v, appLogin{app: app, channel: channelMini, code: in.Code, want: in.Want, tell: s.tellMini})
	}
}

// tellMini asks WeChat whose code it is, and keeps the session_key.
func (s *Site) tellMini(ctx context.Context, app wechat.App, code string) told {
	m, err := s.WeChat.Code2Session(ctx, app, code)
	if err != nil {
		return s.refusedCode(ctx, "logging in to a mini program", err)
	}
	s.keepSessionKey(ctx, miniUser{app.AppID, m.OpenID}, m.Key)
	return told{OpenID: m.OpenID, UnionID: m.UnionID}
}

// miniPhoneRequest is a phone that WeChat has verified: a code, or, of older
// libraries, data that WeChat has encrypted on the phone.
type miniPhoneRequest struct {
	Code          string `json:"code"`
	EncryptedData string `json:"encrypted_data"`
	IV            string `json:"iv"`
}

// miniPhone links the phone number that a mini program's button has brought.
func (s *Site) miniPhone(w http.ResponseWriter, r *http.Request, v *Visit) {
	app, p := s.inMiniProgram(r.Context(), v)
	if p.Code != "" {
		s.writeProblem(w, r, p)
		return
	}
	var in miniPhoneRequest
	if !readJSON(r, &in) || in.Code == "" && (in.EncryptedData == "" || in.IV == "") {
		s.writeProblem(w, r, newProblem(codeMalformed))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), bearerTime+s.shopTime())
	defer cancel()
	act := func(g told) bearerAnswer { return s.miniPhoneProved(ctx, v, g) }
	if in.Code != "" {
		s.answerBearer(w, r, v, s.once(ctx, v, onceCode{
			name: "phone " + app.AppID + " " + in.Code,
			tell: func() told { return s.tellPhone(ctx, wechat.Owner{App: app, OpenID: v.session().OpenID}, in.Code) },
			act:  act,
		}))
		return
	}
	g := s.openPhone(ctx, v, in)
	done := refusedBearer(g.problem())
	if done.Problem == "" {
		done = act(g)
	}
	s.answerBearer(w, r, v, done)
}

// inMiniProgram returns the mini program that the visitor is in. Who is not, by
// his session, has to log in there first.
func (s *Site) inMiniProgram(ctx context.Context, v *Visit) (wechat.App, problem) {
	sess := v.session()
	if v.failed {
		return wechat.App{}, newProblem(codeUnavailable)
	}
	if sess == nil || sess.OpenID == "" || sess.HandedOver {
		return wechat.App{}, newProblem(codeSessionExpired)
	}
	app, ok := appOf(s.cfg.MiniPrograms, sess.AppID)
	switch {
	case !ok:
		return app, newProblem(codeSessionExpired)
	case !s.confirm(ctx, v):
		return app, newProblem(codeUnavailable)
	case v.session() == nil, sess.UserID == "" && v.grace:
		return app, newProblem(codeSessionExpired)
	}
	return app, problem{}
}

// tellPhone asks WeChat for the number of a code.
func (s *Site) tellPhone(ctx context.Context, o wechat.Owner, code string) told {
	number, err := s.WeChat.PhoneNumber(ctx, o, code)
	if err != nil {
		return s.refusedCode(ctx, "asking for a phone number", err)
	}
	return toldPhone(number)
}

// toldPhone is a number that WeChat has told.
func toldPhone(number string) told {
	phone, err := account.ParsePhone(number)
	if err != nil {
		return told{Failed: codePhoneInvalid}
	}
	return told{Phone: string(phone)}
}

// openPhone reads the number in data that WeChat has encrypted.
func (s *Site) openPhone(ctx context.Context, v *Visit, in miniPhoneRequest) told {
	g := told{Failed: codeSessionKeyLost}
	err := s.withSessionKeys(ctx, v, func(key wechat.SessionKey) bool {
		number, err := key.OpenPhone(s.miniData(v, in.EncryptedData, in.IV), v.now)
		if err == nil {
			g = toldPhone(number)
		}
		return err == nil
	})
	if err != nil {
		return told{Failed: codeUnavailable}
	}
	return g
}

func (s *Site) miniData(v *Visit, data, iv string) wechat.MiniData {
	sess := v.session()
	return wechat.MiniData{AppID: sess.AppID, OpenID: sess.OpenID, EncryptedData: data, IV: iv}
}

// miniPhoneProved links a phone that WeChat has verified.
func (s *Site) miniPhoneProved(ctx context.Context, v *Visit, g told) bearerAnswer {
	slot := codeSlot{line: v.session().Line(), purpose: purposeLogin, phone: account.Phone(g.Phone)}
	done := s.phoneProved(ctx, v, slot, amrWeChatPhone)
	return bearerAnswer{Token: done.Token, User: done.User, Problem: done.problem.Code, Wait: done.problem.retryAfter}
}

const amrWeChatPhone = "wechat_phone"
