package wechat_test

import (
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat"
)

func goodParams() wechat.AuthorizeParams {
	return wechat.AuthorizeParams{
		AppID: shopID, RedirectURI: "https://shop.example/wxgate/callback/" + shopID + "?a=1&b=小+2", Scope: wechat.ScopeUserInfo, State: "St4te",
	}
}

// The order of the parameters, their case and the fragment are all checked by
// WeChat.
func TestAuthorizeURLToTheLetter(t *testing.T) {
	c, err := wechat.New(wechat.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.AuthorizeURL(goodParams())
	want := "https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1111111111111111" +
		"&redirect_uri=https%3A%2F%2Fshop.example%2Fwxgate%2Fcallback%2Fwx1111111111111111%3Fa%3D1%26b%3D%E5%B0%8F%2B2" +
		"&response_type=code&scope=snsapi_userinfo&state=St4te#wechat_redirect"
	if err != nil || got != want {
		t.Errorf("error %v, URL\n%s, want\n%s", err, got, want)
	}
}

func TestAuthorizeURLOfAWebsiteShowsAQRCode(t *testing.T) {
	c, err := wechat.New(wechat.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := goodParams()
	p.Scope = wechat.ScopeLogin
	got, err := c.AuthorizeURL(p)
	if !strings.HasPrefix(got, "https://open.weixin.qq.com/connect/qrconnect?appid="+p.AppID+"&redirect_uri=") ||
		!strings.HasSuffix(got, "&response_type=code&scope=snsapi_login&state=St4te#wechat_redirect") || err != nil {
		t.Errorf("error %v, URL %s", err, got)
	}
}

func TestAuthorizeURLAtAnotherPlatform(t *testing.T) {
	c, err := wechat.New(wechat.Config{Open: "http://127.0.0.1:9001/"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.AuthorizeURL(goodParams())
	if err != nil || !strings.HasPrefix(got, "http://127.0.0.1:9001/connect/oauth2/authorize?appid=") {
		t.Errorf("error %v, URL %s", err, got)
	}
}

// What WeChat would answer with an error page inside WeChat, where nobody of
// us sees it, is refused here.
func TestAuthorizeURLRefusesWhatWeChatRefuses(t *testing.T) {
	tests := map[string]func(*wechat.AuthorizeParams){
		"no appid":                   func(p *wechat.AuthorizeParams) { p.AppID = "" },
		"an appid with a parameter":  func(p *wechat.AuthorizeParams) { p.AppID = "wx1&scope=x" },
		"a relative redirect URI":    func(p *wechat.AuthorizeParams) { p.RedirectURI = "/callback" },
		"a redirect URI of no page":  func(p *wechat.AuthorizeParams) { p.RedirectURI = "javascript:alert(1)" },
		"a redirect URI with a hash": func(p *wechat.AuthorizeParams) { p.RedirectURI += "#/orders" },
		"no scope":                   func(p *wechat.AuthorizeParams) { p.Scope = "" },
		"a scope nobody knows":       func(p *wechat.AuthorizeParams) { p.Scope = "snsapi_all" },
		"no state":                   func(p *wechat.AuthorizeParams) { p.State = "" },
		"129 characters of state":    func(p *wechat.AuthorizeParams) { p.State = strings.Repeat("a", 129) },
		"base64url state":            func(p *wechat.AuthorizeParams) { p.State = "ab-_" },
		"a URL as state":             func(p *wechat.AuthorizeParams) { p.State = "https://shop.example/" },
		"a line end in state":        func(p *wechat.AuthorizeParams) { p.State = "abc\n" },
	}
	c, err := wechat.New(wechat.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			p := goodParams()
			spoil(&p)
			if got, err := c.AuthorizeURL(p); err == nil {
				t.Errorf("it is accepted: %s", got)
			}
		})
	}
	longest := goodParams()
	longest.State = strings.Repeat("Z", 128)
	if _, err := c.AuthorizeURL(longest); err != nil {
		t.Errorf("128 characters of state: %v", err)
	}
}
