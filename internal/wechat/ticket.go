package wechat

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// PageSignature is what wx.config takes on a page of an official account, next
// to the appid.
type PageSignature struct {
	Timestamp int64 // Unix seconds
	NonceStr  string
	Signature string // 40 lower-case hex digits
}

// ErrPageURL means that a URL is none that a page can have.
var ErrPageURL = errors.New("wechat: not the URL of a page")

// SignPage signs a page of an official account for the JS-SDK: page is its URL
// as the browser shows it, up to the '#', percent-encoding included.
func (c *Client) SignPage(ctx context.Context, app App, page string) (PageSignature, error) {
	page, _, _ = strings.Cut(page, "#")
	u, err := url.Parse(page)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return PageSignature{}, ErrPageURL
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ticket, err := c.credentials.get(ctx, c.ticketSource(app))
	if err != nil {
		return PageSignature{}, err
	}
	s := PageSignature{Timestamp: time.Now().Unix(), NonceStr: rand.Text()}
	s.Signature = s.sign(ticket.Value, page)
	return s, nil
}

// sign is the signature of the JS-SDK's guide (developers.weixin.qq.com/doc/
// offiaccount/OA_Web_Apps/JS-SDK.html, appendix 1): names in lower case and in
// their order, values as they are.
func (s PageSignature) sign(ticket, page string) string {
	sum := sha1.Sum([]byte("jsapi_ticket=" + ticket + "&noncestr=" + s.NonceStr +
		"&timestamp=" + strconv.FormatInt(s.Timestamp, 10) + "&url=" + page))
	return hex.EncodeToString(sum[:])
}

type ticketAnswer struct {
	Ticket    string `json:"ticket"`
	ExpiresIn number `json:"expires_in"`
}

func (a *ticketAnswer) problem() string {
	switch {
	case a.Ticket == "":
		return "ticket is missing"
	case a.ExpiresIn <= 0:
		return "expires_in is missing"
	}
	return ""
}

// ticketSource fetches the ticket of an official account's pages. WeChat counts
// these calls narrowly, so it is kept like a token.
func (c *Client) ticketSource(app App) source {
	return source{api: apiTicket, key: "ticket:" + app.AppID, fetch: func(ctx context.Context) (string, time.Duration, error) {
		var a ticketAnswer
		err := c.withToken(ctx, app, func(token string) error {
			return c.do(ctx, call{api: apiTicket, appID: app.AppID, query: url.Values{
				"access_token": {token},
				"type":         {"jsapi"},
			}}, busyRetries, &a)
		})
		return a.Ticket, time.Duration(a.ExpiresIn) * time.Second, err
	}}
}
