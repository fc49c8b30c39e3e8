package wechat_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat"
)

// The operator has mended what was wrong and asks whether it is right now: what
// was said before counts for nothing.
func TestCheckAsksWhileCallsArePaused(t *testing.T) {
	w := newWorld(t)
	app := wechat.App{AppID: shopID, AppSecret: "wrong"}
	if _, _, err := w.client.Follower(t.Context(), app, "o-nobody"); !errors.Is(err, wechat.ErrConfig) {
		t.Fatalf("the wrong secret: %v", err)
	}
	if said := w.client.CheckToken(t.Context(), app); said.Err == nil || !strings.Contains(said.Advice, "the AppSecret is wrong") {
		t.Errorf("%+v", said)
	}
	app.AppSecret = secret
	if said := w.client.CheckToken(t.Context(), app); said.Err != nil || said.Advice != "" || said.Date.IsZero() || said.Came.Before(said.Sent) {
		t.Errorf("%+v", said)
	}
}

func TestCheckOfAnAppWithoutTokens(t *testing.T) {
	w := newWorld(t)
	for given, right := range map[string]bool{secret: true, "wrong": false} {
		said := w.client.CheckCode(t.Context(), wechat.App{AppID: shopID, AppSecret: given})
		if (said.Err == nil) != right || strings.Contains(said.Advice, "AppSecret is wrong") == right {
			t.Errorf("%q: %+v", given, said)
		}
	}
}

func TestCheckOfWhatIsNotWeChat(t *testing.T) {
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(html.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for api, want := range map[string]string{html.URL: "is not WeChat", gone.URL: "cannot be reached"} {
		c, err := wechat.New(wechat.Config{API: api, Open: api})
		if err != nil {
			t.Fatal(err)
		}
		if said := c.CheckToken(t.Context(), wechat.App{AppID: shopID, AppSecret: "s"}); said.Err == nil || !strings.Contains(said.Advice, want) {
			t.Errorf("%s: %+v", want, said)
		}
		c.Close()
	}
}

func TestCheckOfACallback(t *testing.T) {
	var status int
	var body string
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.UserAgent(), "MicroMessenger") {
			t.Errorf("asked as %s", r.UserAgent())
		}
		w.Header().Set("Location", "https://shop.test/wxgate/callback/"+shopID)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(page.Close)
	c, err := wechat.New(wechat.Config{Open: page.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for _, tt := range []struct {
		scope  wechat.Scope
		status int
		body   string
		want   wechat.Callback
	}{
		{wechat.ScopeBase, 302, "", wechat.CallbackTaken},
		{wechat.ScopeBase, 200, "请在微信客户端打开链接", wechat.CallbackUnknown},
		{wechat.ScopeBase, 200, "redirect_uri域名与后台配置不一致，错误码:10003", wechat.CallbackRefused},
		{wechat.ScopeLogin, 200, "扫描二维码登录", wechat.CallbackTaken},
		{wechat.ScopeLogin, 200, "redirect_uri 参数错误", wechat.CallbackRefused},
		{wechat.ScopeLogin, 502, "", wechat.CallbackUnknown},
	} {
		status, body = tt.status, tt.body
		got, err := c.CheckCallback(t.Context(), wechat.AuthorizeParams{AppID: shopID, RedirectURI: "https://shop.test/cb", Scope: tt.scope, State: "x"})
		if err != nil || got != tt.want {
			t.Errorf("%d %s: %v, %v", tt.status, tt.body, got, err)
		}
	}
	page.Close()
	if _, err := c.CheckCallback(t.Context(), wechat.AuthorizeParams{AppID: shopID, RedirectURI: "https://shop.test/cb", Scope: wechat.ScopeBase, State: "x"}); err == nil {
		t.Error("nobody answers, and nothing is said")
	}
}
