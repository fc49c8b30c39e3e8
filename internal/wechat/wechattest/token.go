package wechattest

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"time"
)

const (
	serverLife     = 2 * time.Hour
	overlap        = 5 * time.Minute // an old and a new token both work
	forcedPerDay   = 20
	forcedInterval = 30 * time.Second
)

var tokenFormat = regexp.MustCompile(`^[0-9A-Za-z_-]{32,512}$`)

// serverToken is an access_token of an app. The two kinds know nothing of
// each other.
type serverToken struct {
	value   string
	stable  bool
	expires time.Time
}

// RevokeTokens ends all server tokens of an app at once, of both kinds: calls
// with them get 40001, as after a forced refresh by somebody else.
func (s *Server) RevokeTokens(appID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, appID)
}

func (s *Server) plainToken(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodGet); refused != nil {
		return refused
	}
	if r.param("grant_type") != "client_credential" {
		return fail(40002, "invalid grant_type")
	}
	app, refused := s.checkTokenCaller(r, r.param("appid"), r.param("secret"))
	if refused != nil {
		return refused
	}
	now := s.now()
	for i, t := range s.tokens[app.ID] {
		if !t.stable && t.expires.After(now.Add(overlap)) {
			s.tokens[app.ID][i].expires = now.Add(overlap)
		}
	}
	return s.tokenAnswer(s.newToken(app.ID, false))
}

func (s *Server) stableToken(r *apiRequest) answer {
	if refused := wrongMethod(r, http.MethodPost); refused != nil {
		return refused
	}
	var body struct {
		GrantType string `json:"grant_type"`
		AppID     string `json:"appid"`
		Secret    string `json:"secret"`
		Force     *bool  `json:"force_refresh"`
	}
	if refused := r.decode(&body); refused != nil {
		return refused
	}
	if body.GrantType != "client_credential" {
		return fail(40002, "invalid grant_type")
	}
	if body.Force == nil { // seen by developers, not documented
		return fail(41002, "appid missing")
	}
	r.forced = *body.Force
	app, refused := s.checkTokenCaller(r, body.AppID, body.Secret)
	if refused != nil {
		return refused
	}
	return s.tokenAnswer(s.currentStable(app.ID, *body.Force))
}

// currentStable returns the stable token: the same one until the last five
// minutes of its life, unless a forced refresh is due.
func (s *Server) currentStable(appID string, force bool) serverToken {
	now := s.now()
	if force && s.mayForce(appID) {
		s.forced[appID] = append(s.forced[appID], now)
		s.tokens[appID] = slices.DeleteFunc(s.tokens[appID], func(t serverToken) bool { return t.stable })
		return s.newToken(appID, true)
	}
	for _, t := range s.tokens[appID] {
		if t.stable && t.expires.Sub(now) > overlap {
			return t
		}
	}
	return s.newToken(appID, true)
}

// mayForce says whether a forced refresh is granted: 20 a day, 30 s apart.
func (s *Server) mayForce(appID string) bool {
	now := s.now()
	today := slices.DeleteFunc(s.forced[appID], func(t time.Time) bool { return now.Sub(t) > 24*time.Hour })
	s.forced[appID] = today
	if len(today) == 0 {
		return true
	}
	return len(today) < forcedPerDay && now.Sub(today[len(today)-1]) >= forcedInterval
}

func (s *Server) newToken(appID string, stable bool) serverToken {
	now := s.now()
	t := serverToken{value: "75_" + randomText(133), stable: stable, expires: now.Add(serverLife)}
	kept := slices.DeleteFunc(s.tokens[appID], func(t serverToken) bool { return now.Sub(t.expires) > forgetAfter })
	s.tokens[appID] = append(kept, t)
	return t
}

func (s *Server) tokenAnswer(t serverToken) answer {
	return answer{"access_token": t.value, "expires_in": int(t.expires.Sub(s.now()) / time.Second)}
}

// checkTokenCaller checks the secret and the IP whitelist.
func (s *Server) checkTokenCaller(r *apiRequest, appID, secret string) (*App, answer) {
	app, refused := s.checkSecret(appID, secret)
	if refused != nil {
		return nil, refused
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	if app.AllowedIPs != nil && !slices.Contains(app.AllowedIPs, ip) {
		return nil, fail(40164, fmt.Sprintf("invalid ip %s ipv6 ::ffff:%s, not in whitelist", ip, ip))
	}
	return app, nil
}

// checkServerToken finds the app of a call that carries a server token.
func (s *Server) checkServerToken(r *apiRequest) (appID string, refused answer) {
	text := r.param("access_token")
	if text == "" {
		return "", fail(41001, "access_token missing")
	}
	if !tokenFormat.MatchString(text) {
		return "", fail(40014, "invalid access_token")
	}
	for id, tokens := range s.tokens {
		for _, t := range tokens {
			if t.value != text {
				continue
			}
			if !s.now().Before(t.expires) {
				return "", fail(42001, "access_token expired")
			}
			return id, nil
		}
	}
	return "", fail(40001, "invalid credential, access_token is invalid or not latest")
}
