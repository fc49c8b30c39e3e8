package wechat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Token is an access token of an app, with which its owner's programs may call
// WeChat's API too. Printing a Token shows nothing of it.
type Token struct {
	Value   string
	Expires time.Time
}

// Format implements fmt.Formatter.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, "access token") }

// LogValue implements slog.LogValuer.
func (t Token) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// Token returns the access token of an app, the one that every instance uses.
func (c *Client) Token(ctx context.Context, app App) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := c.credentials.get(ctx, c.tokenSource(app))
	return Token{got.Value, got.Expires}, err
}

// RenewToken returns the token to use after WeChat has refused one with 40001,
// 40014 or 42001. It is the refused one if that was fetched less than ten
// seconds ago: asking once more would not help.
func (c *Client) RenewToken(ctx context.Context, app App, refused string) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := c.credentials.renew(ctx, c.tokenSource(app), refused)
	return Token{got.Value, got.Expires}, err
}

// withToken makes a business call and repeats it once if WeChat refuses the
// token: another system may have renewed it.
func (c *Client) withToken(ctx context.Context, app App, use func(token string) error) error {
	src := c.tokenSource(app)
	token, err := c.credentials.get(ctx, src)
	if err != nil {
		return err
	}
	err = use(token.Value)
	if !errors.Is(err, ErrToken) {
		return err
	}
	renewed, renewErr := c.credentials.renew(ctx, src, token.Value)
	if renewErr != nil {
		return renewErr
	}
	if renewed.Value == token.Value {
		return err
	}
	return use(renewed.Value)
}

type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   number `json:"expires_in"`
}

func (a *tokenAnswer) problem() string {
	switch {
	case a.AccessToken == "":
		return "access_token is missing"
	case a.ExpiresIn <= 0:
		return "expires_in is missing"
	}
	return ""
}

// tokenSource fetches an app's token. force_refresh is for leaks and allowed
// 20 times a day: it is never used, but it is sent, since calls without it have
// been refused.
func (c *Client) tokenSource(app App) source {
	return source{api: apiStableToken, key: "token:" + app.AppID, fetch: func(ctx context.Context) (string, time.Duration, error) {
		var a tokenAnswer
		err := c.do(ctx, call{api: apiStableToken, appID: app.AppID, body: map[string]any{
			"grant_type":    "client_credential",
			"appid":         app.AppID,
			"secret":        app.AppSecret,
			"force_refresh": false,
		}}, busyRetries, &a)
		return a.AccessToken, time.Duration(a.ExpiresIn) * time.Second, err
	}}
}
