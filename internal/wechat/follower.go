package wechat

import (
	"context"
	"errors"
	"net/url"
)

type followerAnswer struct {
	identity
	Subscribe number `json:"subscribe"`
}

// Follower returns what an official account may know of a user without asking
// him: whether he follows it, and if so his unionid, which is empty when the
// account is bound to no Open Platform account. Of others WeChat seldom tells
// the unionid. A user who does not exist any more is subscribed=false.
func (c *Client) Follower(ctx context.Context, app App, openID string) (unionID string, subscribed bool, err error) {
	if !identifier.MatchString(openID) {
		return "", false, malformed(apiFollower, "openid is no openid")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a followerAnswer
	err = c.withToken(ctx, app, func(token string) error {
		return c.do(ctx, call{api: apiFollower, appID: app.AppID, query: url.Values{
			"access_token": {token},
			"openid":       {openID},
			"lang":         {"zh_CN"},
		}}, busyRetries, &a)
	})
	var answer *Error
	switch {
	case errors.As(err, &answer) && answer.API == apiFollower && answer.Code == codeUnknownUser:
		return "", false, nil
	case err != nil:
		return "", false, err
	case a.OpenID != openID:
		return "", false, malformed(apiFollower, "openid is another one")
	}
	return a.UnionID, a.Subscribe == 1, nil
}
