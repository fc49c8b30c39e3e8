package caddymodule

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// spellings are the ways to write an identity header that some backend reads
// as the same variable: CGI, PHP and WSGI make HTTP_X_USER_ID of all of them.
func spellings() []string {
	return []string{
		"X-User-ID", "x-user-id", "X-USER-ID", "X~User~ID", "x~user-id", "X!User!ID", "X'User'ID", "X*User*ID", "X+User+ID",
		"X^User^ID", "X`User`ID", "X|User|ID", "X$User#ID", "X%User&ID", "X-User~Kind", "X~User~Phone~Verified",
		"X-User|Previous|ID", "X-User-Previous-ID", "X-User~Assertion", "X-WX-OPENID", "X-WX-UNIONID", "x~wx~appid",
		"X-WX-FROM-OPENID", "X-Wxgate-Login", "X~Wxgate~Logout", "x-wxgate-anything",
	}
}

// A visitor adds headers that the shop would take for ours, in any spelling.
func TestHeadersThatPassForOursNeverReachTheShop(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, name := range spellings() {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.send("GET /goods", guest.cookie()+name+": forged\r\n")
			s.wantOnlyTruth(guest)
		})
	}
}

// Whoever sends a header twice hopes that we look at the first and the shop at
// the last.
func TestHeaderSentManyTimesNeverReachesTheShop(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	s.send("GET /goods", "X-User-ID: forged\r\n"+guest.cookie()+"x-user-id: forged\r\nX-User-ID:\r\nX-USER-ID: forged, forged\r\nX~User~Id: forged\r\n")
	s.wantOnlyTruth(guest)
}

func TestHeadersThatPassForOursNeverReachTheShopOverHTTP2(t *testing.T) {
	s := besiege(t, battlefield{})
	guest, c := s.guest(), s.h2()
	r := s.request(http.MethodGet, "/goods", guest)
	for _, name := range spellings() {
		r.Header[name] = []string{"forged", "forged again"}
	}
	s.ask(c, r)
	s.wantOnlyTruth(guest)
}

// Caddy drops most names with an underscore or a dot. A shop that needs some
// makes it let them through; then we are the only ones who look.
func TestUnderscoresAndDotsAreFoldedByUsToo(t *testing.T) {
	s := besiege(t, battlefield{servers: `
		expected_underscore_headers x_user_id x_user_kind x-user_assertion x_wx_openid x_wxgate_login shop_token
		expected_dot_headers x.user.id x.user_kind x.wx.openid x.shop`})
	guest := s.guest()
	s.send("GET /goods", guest.cookie()+
		"X_User_ID: forged\r\nX_USER_KIND: forged\r\nX-User_Assertion: forged\r\nX_WX_OPENID: forged\r\nX_Wxgate_Login: forged\r\n"+
		"X.User.ID: forged\r\nX.User_Kind: forged\r\nx.wx.openid: forged\r\nShop_Token: kept\r\nX.Shop: kept\r\n")
	heard := s.shop.take()
	if len(heard.requests) != 1 || strings.Contains(heard.wire, lie) {
		t.Fatalf("the shop heard\n%s", heard.wire)
	}
	h := heard.requests[0].Header
	if h.Get("X-User-Id") != guest.id || h.Get("Shop_token") != "kept" || h.Get("X.shop") != "kept" {
		t.Errorf("the shop heard\n%s", heard.wire)
	}
}

// A guest has no phone and no former ids: no header of ours overwrites a lie.
func TestHeaderWithoutAValueOfOursIsStillRemoved(t *testing.T) {
	s := besiege(t, battlefield{gate: "header openid X-Openid"})
	guest := s.guest()
	s.send("GET /goods", guest.cookie()+"X-User-Previous-ID: forged\r\nX-Openid: forged\r\n")
	s.wantOnlyTruth(guest)
}

// Where the shop reads other names, both those and the default ones are ours.
func TestConfiguredAndDefaultNamesAreProtected(t *testing.T) {
	s := besiege(t, battlefield{gate: "header user_id Remote-User\n\t\theader kind Remote-Kind"})
	guest := s.guest()
	s.send("GET /goods", guest.cookie()+"Remote-User: forged\r\nremote~user: forged\r\nX-User-ID: forged\r\nRemote|Kind: forged\r\nX-User-Kind: forged\r\n")
	heard := s.shop.take()
	if strings.Contains(heard.wire, lie) || len(heard.requests) != 1 || heard.requests[0].Header.Get("Remote-User") != guest.id {
		t.Errorf("the shop heard\n%s", heard.wire)
	}
}

// Lies are removed where nobody is identified: on bypass and public lines, and
// for visitors without a session.
func TestLiesAreRemovedWhereNobodyIsKnown(t *testing.T) {
	s := besiege(t, battlefield{})
	for _, path := range []string{"/pay/notify", "/static/app.js", "/goods"} {
		for _, name := range spellings() {
			t.Run(path+" "+name, func(t *testing.T) {
				s.t = t
				s.send("POST "+path, "Content-Length: 0\r\n"+name+": forged\r\n")
				s.wantNobody()
			})
		}
	}
}

// A proxy deletes what Connection names (RFC 9110, 7.6.1): the client would
// have our own header removed after we set it, and the shop see nobody.
func TestConnectionCannotRemoveOurHeaders(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, line := range []string{
		"Connection: X-User-ID\r\n",
		"Connection: close, X-User-ID, x-user-kind,X-User-Assertion\r\n",
		"Connection: keep-alive\r\nConnection: x-user-assertion ,X-USER-ID\r\n",
		"Connection: ,\tX-User-ID\t,,X-User-Kind\r\nX-User-ID: forged\r\n",
		"Connection: Upgrade, X-User-ID, X-User-Kind\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
		"Connection: X-User-ID, Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
		"Proxy-Connection: X-User-ID\r\nKeep-Alive: X-User-ID\r\nTE: X-User-ID, trailers\r\n",
	} {
		t.Run(line, func(t *testing.T) {
			s.t = t
			s.send("GET /goods", guest.cookie()+line)
			heard := s.shop.take()
			if len(heard.requests) != 1 {
				t.Fatalf("the shop heard %d requests", len(heard.requests))
			}
			h := heard.requests[0].Header
			if h.Get("X-User-Id") != guest.id || h.Get("X-User-Kind") != "guest" || h.Get("X-User-Assertion") == "" || strings.Contains(heard.wire, lie) {
				t.Errorf("the shop heard\n%s", heard.wire)
			}
		})
	}
}

// trailers builds a request whose body is followed by trailers.
func trailers(declared, sent string) string {
	if declared != "" {
		declared = "Trailer: " + declared + "\r\n"
	}
	return declared + "TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n" + sent
}

// Some servers merge trailers into the headers (RFC 9110, 6.5.1 warns of it).
func TestTrailersNeverCarryAProtectedName(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for name, rest := range map[string]string{
		"declared":               trailers("X-User-ID", "X-User-ID: forged\r\n"),
		"undeclared":             trailers("", "X-User-ID: forged\r\nX-WX-OPENID: forged\r\n"),
		"beside a declared one":  trailers("X-Checksum", "X-Checksum: 1\r\nX-User-ID: forged\r\nx~user~kind: forged\r\n"),
		"declared in many lines": trailers("X-Checksum\r\nTrailer: x~user~id, X-Wxgate-Login", "X-Checksum: 1\r\nx~user~id: forged\r\nX-Wxgate-Login: forged\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.send("POST /goods", guest.cookie()+rest)
			heard := s.shop.take()
			if len(heard.requests) != 1 || heard.bodies[0] != "body" || heard.requests[0].Header.Get("X-User-Id") != guest.id {
				t.Fatalf("the shop heard\n%s", heard.wire)
			}
			if strings.Contains(heard.wire, lie) || len(heard.requests[0].Trailer) > 1 {
				t.Errorf("trailers %v in\n%s", heard.requests[0].Trailer, heard.wire)
			}
			if strings.Contains(rest, "X-Checksum: 1") && heard.requests[0].Trailer.Get("X-Checksum") != "1" {
				t.Errorf("the shop lost its own trailer:\n%s", heard.wire)
			}
		})
	}
}

func TestTrailersNeverCarryAProtectedNameOverHTTP2(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	r := s.request(http.MethodPost, "/goods", guest)
	r.Body = io.NopCloser(strings.NewReader("body"))
	r.Trailer = http.Header{"X-User-Id": {"forged"}, "X~user~kind": {"forged"}, "X-Checksum": {"1"}}
	s.ask(s.h2(), r)
	heard := s.shop.take()
	if len(heard.requests) != 1 || strings.Contains(heard.wire, lie) || heard.requests[0].Header.Get("X-User-Id") != guest.id {
		t.Fatalf("the shop heard\n%s", heard.wire)
	}
	if got := heard.requests[0].Trailer; len(got) != 1 || got.Get("X-Checksum") != "1" {
		t.Errorf("trailers %v", got)
	}
}

func urlHeaders() []string {
	return []string{
		"X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
		"X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Prefix", "x~original~url", "X-HTTP~Method-Override",
	}
}

// IIS and several frameworks serve X-Original-URL instead of the URL that our
// rules have judged.
func TestHeadersThatReplaceTheURLNeverPassFromAStranger(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, name := range urlHeaders() {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.send("GET /goods", guest.cookie()+name+": /me/forged\r\n")
			s.wantOnlyTruth(guest)
		})
	}
}

const trustLoopback = "\t\ttrusted_proxies static 127.0.0.1/32"

// What a trusted proxy says reaches the shop, so the rules look at it too: the
// shop would serve /me/orders to nobody.
func TestHeadersThatReplaceTheURLRaiseTheLevelFromATrustedProxy(t *testing.T) {
	s := besiege(t, battlefield{servers: trustLoopback})
	guest := s.guest()
	for _, name := range []string{"X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri"} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			if got := s.send("GET /goods", guest.cookie()+name+": /me/orders?x=1\r\n"); got.status != http.StatusUnauthorized {
				t.Errorf("%d", got.status)
			}
			s.wantSilence()
			s.send("GET /goods", guest.cookie()+name+": /other\r\n")
			if heard := s.shop.take(); len(heard.requests) != 1 || heard.requests[0].Header.Get(name) != "/other" {
				t.Errorf("the shop heard\n%s", heard.wire)
			}
		})
	}
}

// A trusted proxy forwards what its visitors send: it may name the URL, but
// never the visitor.
func TestTrustedProxyMayNotNameTheVisitor(t *testing.T) {
	s := besiege(t, battlefield{servers: trustLoopback})
	guest := s.guest()
	for _, name := range spellings() {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.send("GET /goods", guest.cookie()+"X-Forwarded-For: 203.0.113.9\r\n"+name+": forged\r\n")
			s.wantOnlyTruth(guest)
		})
	}
}

// keep_headers lets one of them through from anybody; the rules see what the
// shop will see.
func TestKeptHeaderReachesTheShopAndIsJudged(t *testing.T) {
	s := besiege(t, battlefield{gate: "keep_headers X-Original-URL"})
	guest := s.guest()
	s.send("GET /goods", guest.cookie()+"X-Original-URL: /other\r\nX-Rewrite-URL: /forged\r\n")
	heard := s.shop.take()
	if len(heard.requests) != 1 || heard.requests[0].Header.Get("X-Original-Url") != "/other" || strings.Contains(heard.wire, lie) {
		t.Errorf("the shop heard\n%s", heard.wire)
	}
	for _, target := range []string{"/me/orders", "/%6de/orders", "//me/orders", "http://shop.test/me/orders", "/x/../me/orders",
		"//shop.test/me/orders", "me/orders", "/me/%zz", "/me/orders?a=//b"} {
		if got := s.send("GET /goods", guest.cookie()+"X-Original-URL: "+target+"\r\n"); got.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", target, got.status)
		}
		s.wantSilence()
	}
}

// Redirects to a login are built from external_url: with the client's word for
// host or scheme an attacker would send the visitor's code to a host of his.
func TestHostAndForwardedHeadersDoNotChooseWhereLoginsGo(t *testing.T) {
	s := besiege(t, battlefield{})
	for name, lines := range map[string]string{
		"X-Forwarded-*": "Host: " + s.addr + "\r\nX-Forwarded-Host: forged.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n",
		"Forwarded":     "Host: " + s.addr + "\r\nForwarded: host=forged.test;proto=https\r\n",
		"Host":          "Host: forged.test\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			got := s.raw("GET /goods HTTP/1.1\r\n"+lines+"Accept: text/html\r\nUser-Agent: MicroMessenger/8.0\r\n\r\n", 1)
			if len(got) != 1 || got[0].status != http.StatusFound {
				t.Fatalf("%+v", got)
			}
			if to := got[0].header.Get("Location"); strings.Contains(to, lie) || !strings.Contains(to, s.addr) && !strings.Contains(to, strings.Replace(s.addr, ":", "%3A", 1)) {
				t.Errorf("sent to %s", to)
			}
		})
	}
}

// A User-Agent chooses between pages and opens nothing.
func TestUserAgentGrantsNothing(t *testing.T) {
	s := besiege(t, battlefield{})
	for _, agent := range []string{
		"MicroMessenger/8.0.50 miniProgram/wx1111111111111111", "WeChat Pay", "Mozilla/5.0 wxgate", "Baiduspider", "Caddy health check", "",
	} {
		if got := s.send("GET /me/orders", "User-Agent: "+agent+"\r\n"); got.status != http.StatusUnauthorized {
			t.Errorf("%q: %d", agent, got.status)
		}
		s.wantSilence()
	}
}
