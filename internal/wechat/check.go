package wechat

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Checkup is what WeChat says of an app.
type Checkup struct {
	// Err is nil where appid and AppSecret are right, and, of a token, this
	// server's address is on the list.
	Err error
	// Advice says what to do about Err, to somebody who runs a shop.
	Advice string
	// CallerIP is the address WeChat has seen, where it refuses that.
	CallerIP string
	// Date is WeChat's clock, zero where it did not tell; Sent and Came are
	// ours, before and after.
	Date, Sent, Came time.Time
}

// CheckToken asks for an access token, which official accounts and mini
// programs have. It asks also while such calls are paused, and nothing comes of
// it: the token is the one that is in use.
func (c *Client) CheckToken(ctx context.Context, app App) Checkup {
	return c.check(ctx, call{api: apiStableToken, appID: app.AppID, body: map[string]any{
		"grant_type": "client_credential", "appid": app.AppID, "secret": app.AppSecret, "force_refresh": false,
	}}, &tokenAnswer{})
}

// unknownCode is a code that nobody was given: WeChat looks at the AppSecret first.
const unknownCode = "wxgate0checks0the0secret"

// CheckCode sends a code that cannot be right, for apps that have no access
// token: websites and mobile apps.
func (c *Client) CheckCode(ctx context.Context, app App) Checkup {
	k := c.check(ctx, call{api: apiExchange, appID: app.AppID, query: url.Values{
		"appid": {app.AppID}, "secret": {app.AppSecret}, "code": {unknownCode}, "grant_type": {"authorization_code"},
	}}, &grantAnswer{})
	if e, ok := k.Err.(*Error); ok && e.kind == ErrCode {
		k.Err, k.Advice = nil, ""
	}
	return k
}

func (c *Client) check(ctx context.Context, k call, out result) (up Checkup) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	k.date, up.Sent = &up.Date, time.Now()
	err := c.send(ctx, k, out)
	up.Came = time.Now()
	if err == nil {
		return up
	}
	up.Err, up.CallerIP = err, err.callerIP
	switch {
	case err.Code != 0:
		up.Advice = advice(err.Code)
	case err.reason == reasonMalformed:
		up.Advice = "what answers is not WeChat: a proxy, or a wrong address in endpoints."
	default:
		up.Advice = "WeChat cannot be reached from this server. Look at its way out: name servers, firewall, endpoints proxy."
	}
	return up
}

// Callback is what WeChat makes of a callback URL.
type Callback int

// What WeChat may make of a callback URL.
const (
	CallbackUnknown Callback = iota // it tells only in WeChat's browser
	CallbackTaken
	CallbackRefused // the host is not the one that the account's console names
)

// CheckCallback opens an authorize page as a visitor would, and looks whether it
// refuses the callback's host.
func (c *Client) CheckCallback(ctx context.Context, p AuthorizeParams) (Callback, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := c.AuthorizeURL(p)
	if err != nil {
		return CallbackUnknown, err
	}
	page, _, _ = strings.Cut(page, "#")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return CallbackUnknown, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 MicroMessenger/8.0.50")
	resp, err := c.reads.Do(req)
	if err != nil {
		return CallbackUnknown, transportError(ctx, "authorize", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return CallbackUnknown, transportError(ctx, "authorize", err)
	}
	return readCallback(p, resp.StatusCode, string(body)), nil
}

func readCallback(p AuthorizeParams, status int, body string) Callback {
	for _, refusal := range []string{"10003", "redirect_uri 参数错误", "redirect_uri参数错误", "redirect_uri 域名与后台配置不一致", "redirect_uri域名与后台配置不一致"} {
		if strings.Contains(body, refusal) {
			return CallbackRefused
		}
	}
	if status/100 == 3 || status == http.StatusOK && p.Scope == ScopeLogin {
		return CallbackTaken
	}
	return CallbackUnknown
}
