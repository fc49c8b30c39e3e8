package wechattest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
)

// App is a service account of the platform, or another kind of app.
type App struct {
	ID     string // appid, like wx1111111111111111
	Secret string // AppSecret

	// Domains are the account's web authorization domains (网页授权域名), or the
	// website app's callback domain (授权回调域):
	// bare hosts, compared exactly with the host of redirect_uri, ports apart.
	Domains []string

	// Website makes it a website app, whose one scope is snsapi_login: people
	// log in at its pages by scanning a QR code.
	Website bool

	// MiniProgram makes it a mini program, whose codes come from MiniLogin and
	// MiniPhone.
	MiniProgram bool

	// Mobile makes it a mobile app, whose codes come from AppCode.
	Mobile bool

	// NoPhoneQuota says that the mini program's quota of phone numbers is used
	// up: people are told so, and no code comes.
	NoPhoneQuota bool

	// Scopes the account may ask for; nil means snsapi_base and
	// snsapi_userinfo.
	Scopes []string

	// OpenPlatform names the Open Platform account the app is bound to. Apps
	// of one account see the same unionid of a person; empty means bound to
	// none, and no unionid ever.
	OpenPlatform string

	// BaseUnionID tells the unionid with snsapi_base too, for people who
	// granted snsapi_userinfo to the app before. The real platform may.
	BaseUnionID bool

	// AllowedIPs is the IP whitelist of the token endpoints, and of
	// jscode2session; nil allows all.
	AllowedIPs []string

	// SecretFrozen is the admin's switch that freezes the AppSecret.
	SecretFrozen bool
}

func (a *App) mayAsk(scope string) bool {
	if a.MiniProgram || a.Mobile {
		return false // they have no pages
	}
	if a.Website {
		return scope == scopeLogin
	}
	if scope != scopeBase && scope != scopeUserInfo {
		return false
	}
	return a.Scopes == nil || slices.Contains(a.Scopes, scope)
}

// SetApp adds a, or replaces the app of the same ID; codes and tokens stay.
func (s *Server) SetApp(a App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps[a.ID] = &a
}

// OpenID returns the openid of a person in an app, whether or not either
// exists: 28 characters, the same in every run.
func (s *Server) OpenID(person, appID string) string {
	return "o" + digest("app", appID)[:5] + digest("openid", appID, person)[:22]
}

// UnionID returns the unionid of a person in an app, and "" if the app is
// unknown or bound to no Open Platform account.
func (s *Server) UnionID(person, appID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unionID(person, appID)
}

func (s *Server) unionID(person, appID string) string {
	a := s.apps[appID]
	if a == nil || a.OpenPlatform == "" {
		return ""
	}
	return "o" + digest("platform", a.OpenPlatform)[:5] + digest("unionid", a.OpenPlatform, person)[:22]
}

// virtualID makes the openid or unionid of a snapshot page: like a real one,
// and another on every page. The caller holds mu.
func (s *Server) virtualID(kind, appID string) string {
	s.virtualIDs++
	return "o" + digest("app", appID)[:5] + digest(kind, appID, strconv.Itoa(s.virtualIDs))[:22]
}

// digest is base64url text that depends on all parts, 43 characters.
func digest(parts ...string) string {
	mac := hmac.New(sha256.New, []byte("wechattest"))
	for _, p := range parts {
		mac.Write([]byte(strconv.Quote(p)))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// randomText returns n random characters of [0-9A-Za-z].
func randomText(n int) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}
