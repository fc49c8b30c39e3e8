package wechattest

import (
	"net/http"
	"slices"
	"time"
)

const (
	codeLife    = 5 * time.Minute
	longLife    = 10 * time.Minute // of a code that a scan or a mobile app has brought
	userLife    = 2 * time.Hour
	refreshLife = 30 * 24 * time.Hour
	mobileLife  = 180 * 24 * time.Hour // of a mobile app's refresh_token

	// forgetAfter is how long spent codes are remembered, to answer 40163.
	forgetAfter = time.Hour
)

// code is an authorization code. It is bound to an app, a scope and the ids
// that its page showed.
type code struct {
	person   string
	appID    string
	scope    string
	openID   string
	unionID  string // what this code tells, may be empty
	snapshot bool   // a snapshot page, flagged or not
	flagged  bool   // is_snapshotuser=1 is told
	issued   time.Time
	life     time.Duration
	spent    bool
}

// userGrant is what a user's tokens stand for.
type userGrant struct {
	code
	accessToken    string
	accessExpires  time.Time
	refreshExpires time.Time
}

// issueCode makes a code for an authorization. The caller holds mu.
func (s *Server) issueCode(auth authorization, p Person) string {
	life := codeLife
	if auth.scope == scopeLogin { // scanned in WeChat itself, not on a page
		p.Snapshot, life = SnapshotOff, longLife
	}
	c := code{
		person: p.Name, appID: auth.appID, scope: auth.scope, life: life,
		openID: s.OpenID(p.Name, auth.appID), unionID: s.toldUnionID(auth, p),
		snapshot: p.Snapshot != SnapshotOff,
		flagged:  p.Snapshot == SnapshotOn || p.Snapshot == SnapshotRealID,
	}
	if p.Snapshot == SnapshotOn || p.Snapshot == SnapshotUnflagged {
		c.openID = s.virtualID("openid", auth.appID)
		if c.unionID != "" {
			c.unionID = s.virtualID("unionid", auth.appID)
		}
	}
	return s.keepCode("0"+randomText(31), c)
}

// keepCode makes text a code. The caller holds mu.
func (s *Server) keepCode(text string, c code) string {
	c.issued = s.now()
	for old, other := range s.codes {
		if c.issued.Sub(other.issued) > forgetAfter {
			delete(s.codes, old)
		}
	}
	s.codes[text] = &c
	return text
}

// findCode returns a code of an app for one of the scopes, unless it is over.
// The caller holds mu.
func (s *Server) findCode(text, appID string, scopes ...string) *code {
	c := s.codes[text]
	if c == nil || c.appID != appID || !slices.Contains(scopes, c.scope) || s.now().Sub(c.issued) > c.life {
		return nil
	}
	return c
}

// toldUnionID is the unionid that a code of this scope tells. The caller
// holds mu.
func (s *Server) toldUnionID(auth authorization, p Person) string {
	told := auth.scope != scopeBase ||
		s.apps[auth.appID].BaseUnionID && s.consents[consentKey{p.Name, auth.appID}]
	if !told {
		return ""
	}
	return s.unionID(p.Name, auth.appID)
}

func (s *Server) exchangeCode(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	app, refused := s.checkSecret(r.param("appid"), r.param("secret"))
	if refused != nil {
		return refused
	}
	if r.param("grant_type") != "authorization_code" {
		return fail(40002, "invalid grant_type")
	}
	if r.param("code") == "" {
		return fail(41008, "missing code")
	}
	c := s.findCode(r.param("code"), app.ID, scopeBase, scopeUserInfo, scopeLogin)
	if c == nil {
		return fail(40029, "invalid code")
	}
	r.person = c.person
	if c.spent {
		return fail(40163, "code been used")
	}
	c.spent = true
	return s.grantAnswer(s.newGrant(*c))
}

// newGrant makes a user's tokens. The caller holds mu.
func (s *Server) newGrant(c code) (*userGrant, string) {
	now := s.now()
	for token, g := range s.refreshes {
		if now.After(g.refreshExpires) {
			delete(s.grants, g.accessToken)
			delete(s.refreshes, token)
		}
	}
	life := refreshLife
	if a := s.apps[c.appID]; a != nil && a.Mobile {
		life = mobileLife
	}
	g := &userGrant{
		code: c, accessToken: "75_" + randomText(86),
		accessExpires: now.Add(userLife), refreshExpires: now.Add(life),
	}
	refresh := "75_" + randomText(86)
	s.grants[g.accessToken] = g
	s.refreshes[refresh] = g
	return g, refresh
}

func (s *Server) grantAnswer(g *userGrant, refresh string) answer {
	a := answer{
		"access_token": g.accessToken, "expires_in": int(userLife / time.Second),
		"refresh_token": refresh, "openid": g.openID, "scope": g.scope,
	}
	if g.flagged {
		a["is_snapshotuser"] = 1
	}
	if g.unionID != "" {
		a["unionid"] = g.unionID
	}
	return a
}

func (s *Server) refreshToken(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	text := r.param("refresh_token")
	g := s.refreshes[text]
	now := s.now()
	switch {
	case r.param("appid") == "":
		return fail(41002, "appid missing")
	case r.param("grant_type") != "refresh_token":
		return fail(40002, "invalid grant_type")
	case text == "":
		return fail(41003, "missing refresh_token")
	case g == nil, g.appID != r.param("appid"):
		return fail(40030, "invalid refresh_token")
	case now.After(g.refreshExpires):
		return fail(42002, "refresh_token expired")
	}
	r.person = g.person
	if now.After(g.accessExpires) {
		delete(s.grants, g.accessToken)
		g.accessToken = "75_" + randomText(86)
		s.grants[g.accessToken] = g
	}
	g.accessExpires = now.Add(userLife)
	a := s.grantAnswer(g, text)
	delete(a, "unionid")
	delete(a, "is_snapshotuser")
	return a
}

// checkUserToken finds the grant of a user's token.
func (s *Server) checkUserToken(r *apiRequest) (*userGrant, answer) {
	g := s.grants[r.param("access_token")]
	switch {
	case r.param("access_token") == "":
		return nil, fail(41001, "access_token missing")
	case r.param("openid") == "":
		return nil, fail(41009, "missing openid")
	case g == nil:
		return nil, fail(40001, "invalid credential, access_token is invalid or not latest")
	case s.now().After(g.accessExpires):
		return nil, fail(42001, "access_token expired")
	case r.param("openid") != g.openID:
		return nil, fail(40003, "invalid openid")
	}
	r.person = g.person
	return g, nil
}

func (s *Server) userInfo(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	g, refused := s.checkUserToken(r)
	if refused != nil {
		return refused
	}
	if g.scope == scopeBase || g.snapshot {
		return fail(48001, "api unauthorized")
	}
	a := answer{
		"openid": g.openID, "nickname": g.person, "sex": 0, "language": "",
		"city": "", "province": "", "country": "", "headimgurl": "", "privilege": []string{},
	}
	if p := s.person(g.person); p != nil {
		a["headimgurl"] = p.AvatarURL
		if p.Nickname != "" {
			a["nickname"] = p.Nickname
		}
	}
	if g.unionID != "" {
		a["unionid"] = g.unionID
	}
	return a
}

func (s *Server) checkToken(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	if _, refused := s.checkUserToken(r); refused != nil {
		return refused
	}
	return answer{"errcode": 0, "errmsg": "ok"}
}
