package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// oauthShop is a shop that sends people to WeChat itself, and keeps who they are
// in a session of its own. Its customer 4711 is known by the openid alone. What
// was added for the gateway is the word at its login.
func oauthShop(t *testing.T, rg *rig, openid string) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /account", func(w http.ResponseWriter, r *http.Request) {
		own, err := r.Cookie("own")
		if err != nil && r.Header.Get("X-User-Kind") != "member" {
			http.Redirect(w, r, "/wechat/login", http.StatusFound)
			return
		}
		knows := "nobody"
		if err == nil {
			knows = own.Value
		}
		fmt.Fprintf(w, "the shop knows %s, the gateway says %s %s", knows, r.Header.Get("X-User-Kind"), r.Header.Get("X-User-ID"))
	})
	mux.HandleFunc("GET /wechat/login", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, rg.wechat.URL+"/connect/oauth2/authorize?appid="+testAppID+"&redirect_uri="+url.QueryEscape(rg.url("/wechat/callback"))+
			"&response_type=code&scope=snsapi_base&state=shops#wechat_redirect", http.StatusFound)
	})
	mux.HandleFunc("GET /wechat/callback", func(w http.ResponseWriter, r *http.Request) {
		var token struct{ OpenID string }
		query := url.Values{"appid": {testAppID}, "secret": {testSecret}, "code": {r.FormValue("code")}, "grant_type": {"authorization_code"}}
		resp, err := http.Get(rg.wechat.URL + "/sns/oauth2/access_token?" + query.Encode())
		if err == nil {
			defer resp.Body.Close()
			err = json.NewDecoder(resp.Body).Decode(&token)
		}
		if err != nil || token.OpenID != openid || r.FormValue("state") != "shops" {
			http.Error(w, fmt.Sprintf("the shop does not understand WeChat: %v, %+v", err, token), http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "own", Value: "4711", Path: "/"})
		w.Header().Set("X-Wxgate-Login", "4711")
		http.Redirect(w, r, "/account", http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// TestOldCallbackGoesOnUntilItIsTurnedOff takes a shop with a WeChat login of its
// own to the gateway's, as docs/adopting.md tells.
func TestOldCallbackGoesOnUntilItIsTurnedOff(t *testing.T) {
	rg := newRig(t)
	li := rg.inWeChat(wechattest.Person{Name: "li", Follower: true, Consent: wechattest.Accept})
	shop := oauthShop(t, rg, rg.wechat.OpenID("li", testAppID))
	backend := "reverse_proxy " + shop.Listener.Addr().String()
	said := func(got reply) string {
		return fmt.Sprint(got.StatusCode, " ", got.Request.URL.RequestURI(), ": ", got.body)
	}

	rg.run(setup{app: "guests off", site: "upstream_login on", backend: backend})
	if got := said(li.get("/account")); got != "200 /account: the shop knows 4711, the gateway says member 4711" {
		t.Errorf("by the old callback: %s, by %q", got, li.hops)
	}

	rg.run(setup{site: "upstream_login on\nupstream_challenge redirect_to /wechat/login", around: "redir /wechat/callback /account", backend: backend})
	li.clearCookies() // also those of the shop
	if got := said(li.get("/account")); got != "200 /account: the shop knows nobody, the gateway says member 4711" {
		t.Errorf("without it: %s, by %q", got, li.hops)
	}
	if got := said(li.get("/wechat/callback?code=of-an-old-menu&state=shops")); got != "200 /account: the shop knows nobody, the gateway says member 4711" {
		t.Errorf("from an old menu: %s, by %q", got, li.hops)
	}
	if got := rg.elsewhere().get("/account"); !strings.HasPrefix(got.Request.URL.Path, "/wxgate/") {
		t.Errorf("who is nobody: %s", said(got))
	}
}

// TestShopBeginsASessionForWhomTheGatewayKnows with the lines of
// docs/adopting.md, for somebody whose cookies are gone.
func TestShopBeginsASessionForWhomTheGatewayKnows(t *testing.T) {
	page, err := os.ReadFile("../docs/adopting.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ lines, want string }{
		"without the lines": {"", inShop("nobody", "member", "4711", "nobody")},
		"with them":         {strings.Join(blocks(string(page), "php"), ""), inShop("4711", "member", "4711", "nobody")},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			shop := strings.NewReplacer("session_start();", "session_start();\n"+tt.lines, "/*login*/", saysLogin, "/*logout*/", saysLogout).Replace(legacyShop)
			socket, root := phpFPM(t, shop)
			rg.run(setup{app: "guests off", site: "upstream_login on", backend: "root * " + root + "\nphp_fastcgi unix/" + socket + "\nfile_server"})
			wang := rg.inWeChat(wechattest.Person{Name: "wang", Follower: true})
			wang.password("wang@shop.test", "open sesame")
			wang.clearCookies()
			wang.get("/goods").wants(t, "after his cookies are gone", tt.want)
		})
	}
}
