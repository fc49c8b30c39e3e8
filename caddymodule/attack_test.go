package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// layouts are ways to put a proxy behind the gate, each with a path that guests
// may open and paths that need a login.
func layouts(t *testing.T) []layout {
	root := write(t, "index.php", "<?php")
	return []layout{
		{"plain", "GATE\nreverse_proxy SHOP", "/goods", []string{"/me/orders"}},
		{"handle", "GATE\nhandle /h/* {\nreverse_proxy SHOP\n}\nhandle /me/* {\nreverse_proxy SHOP\n}", "/h/goods", []string{"/me/orders"}},
		{"handle before the gate in the file", "handle {\nreverse_proxy SHOP\n}\nGATE", "/goods", []string{"/me/orders"}},
		{"handle_path", "handle_path /me/* {\nreverse_proxy SHOP\n}\nhandle_path /p/* {\nreverse_proxy SHOP\n}\nGATE", "/p/goods", []string{"/me/orders"}},
		{"route", "route /me/* {\nreverse_proxy SHOP\n}\nroute {\nreverse_proxy SHOP\n}\nGATE", "/goods", []string{"/me/orders"}},
		{"route with the gate in it", "route {\nGATE\nreverse_proxy SHOP\n}", "/goods", []string{"/me/orders"}},
		{"handle nested in route nested in handle", "handle {\nroute {\nhandle /me/* {\nreverse_proxy SHOP\n}\nhandle {\nreverse_proxy SHOP\n}\n}\n}\nGATE", "/goods", []string{"/me/orders"}},
		{"invoke", "invoke shop\nGATE", "/goods", []string{"/me/orders"}},
		{"rewrite", "rewrite /orders /me/orders\nrewrite /wares /goods\nGATE\nreverse_proxy SHOP", "/wares", []string{"/orders", "/me/orders"}},
		{"rewrite of everything", "rewrite * /app{uri}\nGATE\nreverse_proxy SHOP", "/goods", []string{"/me/orders"}},
		{"PHP front controller", "root * " + root + "\ntry_files {path} /index.php\nGATE\nreverse_proxy SHOP", "/goods",
			[]string{"/me/orders", "/index.php/me/orders", "/ME/orders", "/me;x/orders", "/a/../me/orders", "//me/orders", "/me%2forders", "/%6de/orders"}},
		{"error before the gate", "route {\nerror /early/* oops 500\nGATE\nreverse_proxy SHOP\n}\nhandle_errors {\nGATE\nreverse_proxy SHOP\n}",
			"/early/goods", []string{"/early/me/orders"}},
		{"error after the gate", "GATE\nreverse_proxy 127.0.0.1:1\nhandle_errors {\nGATE\nreverse_proxy SHOP\n}", "/goods", []string{"/me/orders"}},
		{"error of one status", "GATE\nerror /goods oops 418\nreverse_proxy SHOP\nhandle_errors 418 {\nGATE\nhandle {\nreverse_proxy SHOP\n}\n}", "/goods", []string{"/me/orders"}},
	}
}

type layout struct {
	name, site string
	guest      string
	login      []string
}

// forged are headers that claim to be ours, in the spellings that reach Caddy's
// handlers. Their values all say so.
const forged = "X-User-ID: forged\r\nx-user-id: forged\r\nX-USER-KIND: forged member\r\nX-User-Phone-Verified: forged 1\r\n" +
	"X-User-Previous-ID: forged\r\nX-User-Assertion: forged\r\nX_User_ID: forged\r\nX.User.ID: forged\r\nX_User-ID: forged\r\n" +
	"x~user~id: forged\r\nX-Wxgate-Login: forged\r\nX-WX-OpenID: forged\r\nConnection: X-User-ID, X-User-Kind\r\n"

// TestForgedIdentityNeverReachesTheShop sends forged headers through every
// layout. Caddy drops names with underscores and dots by itself, unless the
// operator says that his backend expects them.
func TestForgedIdentityNeverReachesTheShop(t *testing.T) {
	for _, expected := range []bool{false, true} {
		for _, l := range layouts(t) {
			t.Run(fmt.Sprintf("%s, odd names expected %t", l.name, expected), func(t *testing.T) {
				rg := newRig(t)
				cfg := rg.config("", "&(shop) {\nreverse_proxy SHOP\n}\nhttp://127.0.0.1:PORT {\n"+l.site+"\n}\n")
				if expected {
					cfg = strings.Replace(cfg, "{\n", "{\nservers {\nexpected_underscore_headers x_user_id x_user-id\nexpected_dot_headers x.user.id\n}\n", 1)
				}
				mustLoad(t, cfg)
				resp := rg.raw("GET " + l.guest + " HTTP/1.1\r\nHost: 127.0.0.1:" + rg.port +
					"\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n" + forged + "\r\n")
				if len(resp.Cookies()) != 1 || resp.Header.Get("Cache-Control") != "private, no-store" || len(resp.Header["Cache-Control"]) != 1 {
					t.Errorf("the answer has cookies %v, Cache-Control %q", resp.Cookies(), resp.Header["Cache-Control"])
				}
				checkGuest(t, rg.shop.only(t).header)
			})
		}
	}
}

// checkGuest checks that a header is what the gate tells of a guest.
func checkGuest(t *testing.T, h http.Header) {
	t.Helper()
	for name, values := range h {
		for _, v := range values {
			if strings.Contains(v, "forged") {
				t.Errorf("%s: %s", name, v)
			}
		}
	}
	if id := h["X-User-Id"]; len(id) != 1 || id[0] == "" {
		t.Errorf("X-User-ID is %q", id)
	}
	if kind := h["X-User-Kind"]; len(kind) != 1 || kind[0] != "guest" {
		t.Errorf("X-User-Kind is %q", kind)
	}
	if a := h["X-User-Assertion"]; len(a) != 1 || strings.Count(a[0], ".") != 2 {
		t.Errorf("X-User-Assertion is %q", a)
	}
}

// TestLoginPathNeverReachesTheShopWithoutALogin asks for members' pages with
// nothing but forged headers.
func TestLoginPathNeverReachesTheShopWithoutALogin(t *testing.T) {
	for _, l := range layouts(t) {
		t.Run(l.name, func(t *testing.T) {
			rg := newRig(t)
			mustLoad(t, rg.config("", "&(shop) {\nreverse_proxy SHOP\n}\nhttp://127.0.0.1:PORT {\n"+l.site+"\n}\n"))
			for _, path := range l.login {
				for method, want := range map[string]int{"GET": http.StatusFound, "POST": http.StatusUnauthorized, "PURGE": http.StatusUnauthorized} {
					resp := rg.raw(method + " " + path + " HTTP/1.1\r\nHost: 127.0.0.1:" + rg.port + "\r\nContent-Length: 0\r\n" +
						"Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n" + forged + "\r\n")
					if resp.StatusCode != want {
						t.Errorf("%s %s: %d, want %d", method, path, resp.StatusCode, want)
					}
					if seen := rg.shop.reached(); len(seen) > 0 {
						t.Errorf("%s %s reached the shop: %v", method, path, seen)
					}
				}
			}
		})
	}
}

// TestMemberKeepsHisSessionOnAnErrorPage: the gate in handle_errors sees a
// request without its cookie, and must not take the member for nobody.
func TestMemberKeepsHisSessionOnAnErrorPage(t *testing.T) {
	rg := newRig(t)
	rg.start("GATE\nerror /broken oops 500\nreverse_proxy SHOP\nhandle_errors {\nGATE\nreverse_proxy SHOP\n}")
	li := rg.browser("li")
	rg.logIn(li, "/me/orders")
	rg.shop.reached()
	rg.get(li, "/goods")
	member := rg.shop.only(t).header
	resp, _ := rg.get(li, "/broken")
	broken := rg.shop.only(t).header
	if got, want := broken["X-User-Id"], member["X-User-Id"]; len(got) != 1 || got[0] != want[0] || broken.Get("X-User-Kind") != "member" {
		t.Errorf("the error page's backend was told %q %q, want %q member", got, broken["X-User-Kind"], want)
	}
	if len(resp.Cookies()) != 0 {
		t.Errorf("the error page sets %v", resp.Cookies())
	}
}
