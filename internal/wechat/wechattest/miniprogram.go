package wechattest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

const (
	scopeMiniLogin = "mini login" // a code of wx.login
	scopeMiniPhone = "mini phone" // a code of getPhoneNumber

	miniLoginsPerMinute = 100 // of one user
)

// miniUser is a person in a mini program.
type miniUser struct{ person, appID string }

// MiniLogin is wx.login in a mini program: it returns a code for jscode2session,
// 5 minutes, one use. It replaces the person's session_key, so that what was
// encrypted before needs the former one, and what is encrypted from now on the
// key that this code brings. It returns "" if there is no such person or mini
// program.
func (s *Server) MiniLogin(person, appID string) (code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.inMiniProgram(person, appID) {
		return ""
	}
	s.newSessionKey(miniUser{person, appID})
	return s.miniCode("0"+randomText(31), miniUser{person, appID}, scopeMiniLogin)
}

// AppCode is a login in a mobile app (SendAuth): it returns a code for
// sns/oauth2/access_token, 10 minutes, one use, or "" if there is no such
// person or mobile app.
func (s *Server) AppCode(person, appID string) (text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.apps[appID]
	if s.person(person) == nil || app == nil || !app.Mobile {
		return ""
	}
	return s.keepCode("0"+randomText(31), code{
		person: person, appID: appID, scope: scopeUserInfo, life: longLife,
		openID: s.OpenID(person, appID), unionID: s.unionID(person, appID),
	})
}

// inMiniProgram says whether both exist. The caller holds mu.
func (s *Server) inMiniProgram(person, appID string) bool {
	app := s.apps[appID]
	return s.person(person) != nil && app != nil && app.MiniProgram
}

// miniCode keeps a code of a mini program. The caller holds mu.
func (s *Server) miniCode(text string, u miniUser, scope string) string {
	return s.keepCode(text, code{
		person: u.person, appID: u.appID, scope: scope, life: codeLife,
		openID: s.OpenID(u.person, u.appID), unionID: s.unionID(u.person, u.appID),
	})
}

// newSessionKey replaces a session_key: base64 of 16 bytes. The caller holds mu.
func (s *Server) newSessionKey(u miniUser) string {
	key := make([]byte, 16)
	rand.Read(key)
	s.miniKeys[u] = base64.StdEncoding.EncodeToString(key)
	return s.miniKeys[u]
}

// sessionKey is the one that the person's WeChat encrypts with. The caller holds
// mu.
func (s *Server) sessionKey(u miniUser) string {
	if key := s.miniKeys[u]; key != "" {
		return key
	}
	return s.newSessionKey(u) // never logged in: nobody has this key
}

func (s *Server) code2Session(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	app, refused := s.checkTokenCaller(r, r.param("appid"), r.param("secret"))
	switch {
	case refused != nil:
		return refused
	case !app.MiniProgram:
		return fail(40013, "invalid appid")
	case r.param("grant_type") != "authorization_code":
		return fail(40002, "invalid grant_type")
	case r.param("js_code") == "":
		return fail(41008, "missing code")
	}
	c := s.findCode(r.param("js_code"), app.ID, scopeMiniLogin)
	if c == nil {
		return fail(40029, "invalid code")
	}
	r.person = c.person
	u := miniUser{c.person, app.ID}
	p := s.person(c.person)
	switch {
	case s.tooMany(u):
		return fail(45011, "api minute-quota reach limit, must slower")
	case c.spent:
		return fail(40163, "code been used")
	}
	c.spent = true
	if p == nil || p.Blocked {
		return fail(40226, "code blocked")
	}
	a := answer{"openid": c.openID, "session_key": s.sessionKey(u)} // no errcode, as live answers have none
	if c.unionID != "" {
		a["unionid"] = c.unionID
	}
	return a
}

// tooMany counts a login of a user and says whether it is one too many. The
// caller holds mu.
func (s *Server) tooMany(u miniUser) bool {
	now := s.now()
	recent := slices.DeleteFunc(s.miniLogins[u], func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	s.miniLogins[u] = append(recent, now)
	return len(recent) >= miniLoginsPerMinute
}

// checkSession says whether a session_key is the one of the last code. What is
// signed is no body, and the key is its text, not what that decodes to.
func (s *Server) checkSession(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	if refused != nil {
		return refused
	}
	p := s.personByOpenID(r.param("openid"), appID)
	switch {
	case r.param("sig_method") != "hmac_sha256":
		return fail(87008, "invalid sig_method")
	case p == nil:
		return fail(40003, "invalid openid")
	}
	r.person = p.Name
	mac := hmac.New(sha256.New, []byte(s.sessionKey(miniUser{p.Name, appID})))
	if r.param("signature") != hex.EncodeToString(mac.Sum(nil)) {
		return fail(87009, "invalid signature")
	}
	return answer{"errcode": 0, "errmsg": "ok"}
}

// phoneNumber tells the number of a code of getPhoneNumber, which is none of
// wx.login. Every second answer has the country as a number, as the platform's
// documents do by halves.
func (s *Server) phoneNumber(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodPost); refused != nil {
		return refused
	}
	appID, refused := s.checkServerToken(r)
	if refused != nil {
		return refused
	}
	var body struct{ Code, OpenID string }
	if refused := r.decode(&body); refused != nil {
		return refused
	}
	c := s.findCode(body.Code, appID, scopeMiniPhone)
	if c == nil || c.spent {
		return fail(40029, "invalid code")
	}
	r.person = c.person
	c.spent = true
	if body.OpenID != "" && body.OpenID != c.openID {
		return fail(40003, "invalid openid") // of somebody else; the real code is not documented
	}
	p := s.person(c.person)
	if p == nil || p.Phone == "" {
		return fail(40029, "invalid code")
	}
	s.phones++
	return answer{"errcode": 0, "errmsg": "ok", "phone_info": s.phoneInfo(*p, appID, s.phones%2 == 0)}
}
