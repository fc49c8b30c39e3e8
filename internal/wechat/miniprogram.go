package wechat

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
)

// MiniSession is what a login of a mini program tells. Printing it shows
// nothing of it.
type MiniSession struct {
	OpenID  string
	UnionID string // empty when the mini program is bound to no Open Platform account
	Key     SessionKey
}

// Format implements fmt.Formatter.
func (m MiniSession) Format(f fmt.State, _ rune) { fmt.Fprint(f, "mini session") }

// LogValue implements slog.LogValuer.
func (m MiniSession) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

type miniSessionAnswer struct {
	identity
	Key SessionKey `json:"session_key"`
}

func (a *miniSessionAnswer) problem() string {
	if _, err := a.Key.bytes(); err != nil {
		return "session_key is missing or malformed"
	}
	return a.identity.problem()
}

// Code2Session spends a code of wx.login. After an error the code counts as
// spent, as with ExchangeCode; only after CodeMinuteLimit it may be sent again
// a minute later, a limit of each user.
func (c *Client) Code2Session(ctx context.Context, app App, code string) (MiniSession, error) {
	if !codeFormat.MatchString(code) {
		return MiniSession{}, noCode(apiCode2Session)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a miniSessionAnswer
	err := c.do(ctx, call{api: apiCode2Session, appID: app.AppID, query: url.Values{
		"appid":      {app.AppID},
		"secret":     {app.AppSecret},
		"js_code":    {code},
		"grant_type": {"authorization_code"},
	}}, 1, &a)
	if err != nil {
		return MiniSession{}, err
	}
	return MiniSession{OpenID: a.OpenID, UnionID: a.UnionID, Key: a.Key}, nil
}

type phoneAnswer struct {
	Info phoneInfo `json:"phone_info"`
}

func (a *phoneAnswer) problem() string { return a.Info.problem() }

// phoneInfo is a phone number as WeChat tells it. The whole number has the
// country's prefix for some countries only.
type phoneInfo struct {
	Number    text      `json:"purePhoneNumber"`
	Country   digits    `json:"countryCode"`
	Watermark watermark `json:"watermark"`
}

// watermark says for which mini program data was made, and when.
type watermark struct {
	AppID     text   `json:"appid"`
	Timestamp number `json:"timestamp"` // Unix seconds
}

var (
	phoneFormat   = regexp.MustCompile(`^[0-9]{4,20}$`)
	countryFormat = regexp.MustCompile(`^[0-9]{1,4}$`)
)

func (p *phoneInfo) problem() string {
	if !phoneFormat.MatchString(string(p.Number)) || !countryFormat.MatchString(string(p.Country)) {
		return "phone number is missing or malformed"
	}
	return ""
}

// e164 is the number with its country in front.
func (p *phoneInfo) e164() string { return "+" + string(p.Country) + string(p.Number) }

// Owner is a user of a mini program.
type Owner struct {
	App    App
	OpenID string
}

// PhoneNumber spends a code of getPhoneNumber, which is another than that of a
// login, and returns the number in the form of E.164. A code of somebody else
// than the owner is ErrCode. Each code has cost the shop money: after an error
// it counts as spent.
func (c *Client) PhoneNumber(ctx context.Context, o Owner, code string) (string, error) {
	if !codeFormat.MatchString(code) {
		return "", noCode(apiPhoneNumber)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var a phoneAnswer
	err := c.withToken(ctx, o.App, func(token string) error {
		return c.do(ctx, call{
			api: apiPhoneNumber, appID: o.App.AppID, query: url.Values{"access_token": {token}},
			body: map[string]string{"code": code, "openid": o.OpenID},
		}, 1, &a)
	})
	if err != nil {
		return "", err
	}
	if string(a.Info.Watermark.AppID) != o.App.AppID {
		return "", malformed(apiPhoneNumber, "watermark is of another app")
	}
	return a.Info.e164(), nil
}
