package wechat

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// codeFormat is generous: WeChat's codes have 32 letters and digits today.
var codeFormat = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,512}$`)

type grantAnswer struct {
	identity
	AccessToken string `json:"access_token"`
	Scope       text   `json:"scope"`
	Snapshot    flag   `json:"is_snapshotuser"`
}

func (a *grantAnswer) problem() string {
	if a.AccessToken == "" {
		return "access_token is missing"
	}
	return a.identity.problem()
}

// ExchangeCode spends a code of a callback. After an error the code counts as
// spent, whatever the error is: start a new round and never send it again.
//
// The request is sent once; only an answer of -1 (system busy) is followed by
// a second try, and if the first had spent the code after all, that ends in
// ErrCode.
func (c *Client) ExchangeCode(ctx context.Context, app App, code string) (Grant, error) {
	if Refused(code) || !codeFormat.MatchString(code) {
		return Grant{}, noCode(apiExchange)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a grantAnswer
	err := c.do(ctx, call{api: apiExchange, appID: app.AppID, query: url.Values{
		"appid":      {app.AppID},
		"secret":     {app.AppSecret},
		"code":       {code},
		"grant_type": {"authorization_code"},
	}}, 1, &a)
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		OpenID: a.OpenID, UnionID: a.UnionID, Scope: string(a.Scope),
		AccessToken: a.AccessToken, Snapshot: bool(a.Snapshot),
	}, nil
}

type profileAnswer struct {
	identity
	Nickname  text `json:"nickname"`
	AvatarURL text `json:"headimgurl"`
}

// UserInfo returns the profile that belongs to a grant of app. A grant that
// cannot have one (snsapi_base, or a snapshot user) is ErrScope without a
// call. Its data is for display; who the user is the grant itself says.
func (c *Client) UserInfo(ctx context.Context, app App, g Grant) (Profile, error) {
	scopes := strings.Split(g.Scope, ",")
	if g.Snapshot || !slices.Contains(scopes, string(ScopeUserInfo)) && !slices.Contains(scopes, string(ScopeLogin)) {
		return Profile{}, platformError(apiUserInfo, 48001, "")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a profileAnswer
	err := c.do(ctx, call{api: apiUserInfo, appID: app.AppID, query: url.Values{
		"access_token": {g.AccessToken},
		"openid":       {g.OpenID},
		"lang":         {"zh_CN"},
	}}, busyRetries, &a)
	if err != nil {
		return Profile{}, err
	}
	if a.OpenID != g.OpenID {
		return Profile{}, malformed(apiUserInfo, "openid is another one")
	}
	return Profile{OpenID: a.OpenID, UnionID: a.UnionID, Nickname: string(a.Nickname), AvatarURL: string(a.AvatarURL)}, nil
}
