package caddymodule

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func TestLoginGoesByTheCallbackHostOfTheSite(t *testing.T) {
	rg := newRig(t)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"localhost"}, OpenPlatform: "shop"})
	host := "http://localhost:" + rg.port
	login := func(lines string) string {
		return host + " {\nwxgate {\nexternal_url " + host + "\n" + lines + "\n}\n}\n"
	}
	rg.run(setup{site: "login /me/*\ncallback_host " + host, more: login("return_origins " + rg.url(""))})
	d := rg.inWeChat(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	done := d.tapLogin(d.get("/me/orders?page=2"))
	if _, kind := rg.told(); done.Request.URL.String() != rg.url("/me/orders?page=2") || kind != "member" {
		t.Errorf("at %s as %s", done.Request.URL, kind)
	}
	rg.run(setup{site: "login /me/*", more: login("return_origins " + rg.url(""))})
	if got := rg.inWeChat(wechattest.Person{Name: "wang"}).get("/goods"); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "10003") {
		t.Errorf("without the option: %d at %s\n%s", got.StatusCode, got.Request.URL, got.body)
	}
	for _, tt := range []struct{ site, more, want string }{
		{"callback_host " + host, "", "callback_host " + host + ": no site of this configuration has that external_url"},
		{"callback_host " + host, login(""), "does not list " + rg.url("") + " in return_origins"},
		{"callback_host localhost", login(""), `callback_host: "localhost" is not an origin`},
	} {
		if err := load(t, rg.caddyfile(setup{site: tt.site, more: tt.more})); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v", tt.site, tt.more, err)
		}
	}
}
