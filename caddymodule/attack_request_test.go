package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// smuggled is what an attacker hides in the body of a request. If anybody on
// the way disagrees about where that body ends, it becomes a request of its
// own: one that no gate has seen, or one that a later visitor's answer goes to.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.test\r\nX-User-ID: forged\r\n\r\n"

// Each of these frames its body in more than one way. Either it is refused and
// the connection ends, or the shop sees one framing, and the request behind it
// is the one that the client wrote behind it.
func TestAmbiguousFramingNeverSmugglesARequest(t *testing.T) {
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	n := fmt.Sprint(len(smuggled))
	for name, attack := range map[string]string{
		"length and chunks":              "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
		"chunks and length":              "Transfer-Encoding: chunked\r\nContent-Length: " + fmt.Sprint(5+len(smuggled)) + "\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":                    "Content-Length: 0\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"two lengths in a line":          "Content-Length: 0, " + n + "\r\n\r\n" + smuggled,
		"length with a sign":             "Content-Length: +" + n + "\r\n\r\n" + smuggled,
		"length in hex":                  "Content-Length: 0x0\r\n\r\n" + smuggled,
		"negative length":                "Content-Length: -1\r\n\r\n" + smuggled,
		"empty length":                   "Content-Length:\r\n\r\n" + smuggled,
		"huge length":                    "Content-Length: 18446744073709551616\r\n\r\n" + smuggled,
		"space before the colon":         "Transfer-Encoding : chunked\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"folded encoding":                "Transfer-Encoding:\r\n chunked\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"folded length":                  "X-Any: 1\r\n Content-Length: 0\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"xchunked":                       "Transfer-Encoding: xchunked\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"chunked twice":                  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
		"chunked, identity":              "Transfer-Encoding: chunked, identity\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"identity":                       "Transfer-Encoding: identity\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"quoted encoding":                "Transfer-Encoding: \"chunked\"\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"encoding behind a tab":          "Transfer-Encoding:\tchunked\r\nContent-Length: " + n + "\r\n\r\n" + chunk,
		"encoding behind a vertical tab": "Transfer-Encoding: \vchunked\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"encoding in another spelling":   "Transfer_Encoding: chunked\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"length in another spelling":     "Content_Length: 0\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"chunk size with a line feed":    "Transfer-Encoding: chunked\r\n\r\n0\n\r\n" + smuggled,
		"chunk size with a sign":         "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + smuggled,
		"chunk size that overflows":      "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n" + smuggled,
		"chunk that is longer":           "Transfer-Encoding: chunked\r\n\r\n1\r\n" + smuggled,
		"chunk extension":                "Transfer-Encoding: chunked\r\n\r\n0;a=\"\r\n\r\n" + smuggled,
		"header that ends in a CR":       "X-Any: 1\rContent-Length: 0\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"header with NUL":                "Transfer-Encoding: chunked\x00\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
		"expectation":                    "Expect: 100-continue, forged\r\nContent-Length: " + n + "\r\n\r\n" + smuggled,
	} {
		t.Run(name, func(t *testing.T) {
			s := besiege(t, battlefield{})
			s.raw("POST /goods HTTP/1.1\r\nHost: "+s.addr+"\r\n"+attack+
				"GET /next HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\n\r\n", 4)
			heard := s.shop.take()
			for i, r := range heard.requests {
				if r.URL.Path == "/smuggled" && !strings.Contains(attack, "\r\n\r\n0") || r.Header.Get("X-User-Id") != "" {
					t.Errorf("request %d is %s", i, r.RequestURI)
				}
				if r.ContentLength >= 0 && len(r.TransferEncoding) > 0 {
					t.Errorf("request %d has two framings", i)
				}
			}
			for head := range strings.SplitSeq(heard.wire, " HTTP/1.1\r\n") {
				head, _, _ = strings.Cut("\r\n"+strings.ToLower(head), "\r\n\r\n")
				if strings.Count(head, "\r\ncontent-length")+strings.Count(head, "\r\ntransfer-encoding") > 1 {
					t.Errorf("two framings on the wire:\n%s", head)
				}
			}
			if t.Failed() {
				t.Logf("the shop heard\n%s", heard.wire)
			}
		})
	}
}

// A well-framed body that looks like a request is a body, and the request
// behind it is parsed alone.
func TestRequestInABodyIsABody(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for name, body := range map[string]string{
		"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		"chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			all := s.raw("POST /goods HTTP/1.1\r\nHost: "+s.addr+"\r\n"+body+
				"GET /next HTTP/1.1\r\nHost: "+s.addr+"\r\n"+guest.cookie()+"Connection: close\r\n\r\n", 3)
			heard := s.shop.take()
			if len(all) != 2 || len(heard.requests) != 2 || heard.bodies[0] != smuggled {
				t.Fatalf("%d answers, the shop heard\n%s", len(all), heard.wire)
			}
			if r := heard.requests[0]; r.Header.Get("X-User-Id") != "" {
				t.Errorf("the first is of %s", r.Header.Get("X-User-Id"))
			}
			if r := heard.requests[1]; r.URL.Path != "/next" || r.Header.Get("X-User-Id") != guest.id {
				t.Errorf("the next is %s of %s", r.URL, r.Header.Get("X-User-Id"))
			}
		})
	}
}

// Of two visitors who share a connection to us, as behind a proxy in front,
// each is himself.
func TestVisitorsOnOneConnectionAreToldApart(t *testing.T) {
	s := besiege(t, battlefield{})
	a, b := s.guest(), s.guest()
	request := func(path, lines string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: " + s.addr + "\r\n" + lines + "\r\n"
	}
	s.raw(request("/1", a.cookie())+request("/2", b.cookie())+request("/3", "")+request("/4", a.cookie()+"Connection: close\r\n"), 4)
	heard := s.shop.take()
	if len(heard.requests) != 4 {
		t.Fatalf("the shop heard\n%s", heard.wire)
	}
	for i, want := range []string{a.id, b.id, "", a.id} {
		if got := heard.requests[i].Header.Get("X-User-Id"); got != want {
			t.Errorf("request %d is of %q, want %q", i+1, got, want)
		}
	}
}

// NUL and control characters end names for one program and not for the next.
func TestControlCharactersInPathsAreRefused(t *testing.T) {
	s := besiege(t, battlefield{})
	for _, path := range []string{
		"/goods%00", "/goods%00.css", "/goods%0a", "/goods%0D%0Ax", "/%1f", "/goods%7F", "/goods%09x", "/goods%2500", "/goods%250a",
		"/static/%00/../me", "/pay/notify%00", "/static/app%00.js", "/me/%00", "/wxgate/%00", "/wxgate/login%00", "/wxgate/callback/%0a",
		"/goods\x00", "/goods\x01", "/goods\x7f", "/goods\x1f/x", "/static/\x08", "/pay/notify\x00",
	} {
		t.Run(fmt.Sprintf("%q", path), func(t *testing.T) {
			s.t = t
			if got := s.send("GET "+path, s.member().cookie()); got.status != http.StatusBadRequest {
				t.Errorf("%d", got.status)
			}
			s.wantSilence()
		})
	}
}

func TestControlCharactersInPathsAreRefusedOverHTTP2(t *testing.T) {
	s := besiege(t, battlefield{})
	c, guest := s.h2(), s.guest()
	for _, path := range []string{"/goods%00", "/pay/notify%0a", "/static/%2500"} {
		if got := s.ask(c, s.request(http.MethodGet, path, guest)); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", path, got.status)
		}
		s.wantSilence()
	}
}

// The shop may treat a method that nobody knows as GET.
func TestUnknownMethodsAreProtected(t *testing.T) {
	s := besiege(t, battlefield{})
	c, guest := s.h2(), s.guest()
	for _, method := range []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "DEBUG", "get", "Get", "GETX", "FORGED", "QUERY", "M-SEARCH",
	} {
		for _, path := range []string{"/me/orders", "/me", "/ME/orders"} {
			if got := s.send(method+" "+path, guest.cookie()); got.status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d", method, path, got.status)
			}
			s.wantSilence()
			if got := s.ask(c, s.request(method, path, guest)); got.status != http.StatusUnauthorized {
				t.Errorf("%s %s over HTTP/2: %d", method, path, got.status)
			}
			s.wantSilence()
		}
	}
}

// HEAD must not tell what GET would not show, and takes the same redirect.
func TestHEADIsGET(t *testing.T) {
	s := besiege(t, battlefield{})
	guest, member := s.guest(), s.member()
	page := "Accept: text/html\r\n"
	get, head := s.send("GET /me/orders", guest.cookie()+page), s.send("HEAD /me/orders", guest.cookie()+page)
	if get.status != http.StatusFound || head.status != get.status || head.header.Get("Location") != get.header.Get("Location") || head.body != "" {
		t.Errorf("GET %d %v, HEAD %d %v", get.status, get.header, head.status, head.header)
	}
	s.wantSilence()
	s.send("HEAD /me/orders", member.cookie())
	s.wantOnlyTruth(member)
}

// A method matcher takes HEAD for what it is, and a header cannot change a
// method before it is judged.
func TestMethodOverrideDoesNotWalkAroundAMethodMatcher(t *testing.T) {
	s := besiege(t, battlefield{gate: "login @writes\n\t}\n\t@writes method POST DELETE\n\troute {"})
	guest := s.guest()
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X-Forwarded-Method", "x~http~method~override"} {
		s.send("GET /goods", guest.cookie()+name+": FORGED\r\n")
		s.wantOnlyTruth(guest)
	}
	if got := s.send("POST /goods", guest.cookie()+"Content-Length: 0\r\nX-HTTP-Method-Override: GET\r\n"); got.status != http.StatusUnauthorized {
		t.Errorf("POST that calls itself GET: %d", got.status)
	}
	s.wantSilence()
}

// A preflight never carries credentials (Fetch standard). It passes, and if
// somebody adds credentials to one, it passes as nobody.
func TestPreflightPassesAsNobody(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	preflight := "Origin: https://elsewhere.test\r\nAccess-Control-Request-Method: POST\r\n"
	for _, lines := range []string{"", member.cookie(), "X-User-ID: forged\r\n"} {
		if got := s.send("OPTIONS /me/orders", preflight+lines); got.status != http.StatusOK || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%d %q", got.status, got.header.Get("Set-Cookie"))
		}
		s.wantNobody()
	}
	r := s.request(http.MethodOptions, "/me/orders", member)
	r.Header.Set("Origin", "https://elsewhere.test")
	r.Header.Set("Access-Control-Request-Method", "POST")
	s.ask(s.h2(), r)
	s.wantNobody()
}

// A target can be written as a URL, and as things that are hardly one. The
// shop must not serve /me/orders to a guest for any of them.
func TestTargetFormsGetTheSameVerdictOrNone(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, target := range []string{
		"http://" + s.addr + "/me/orders", "http://shop.test/me/orders", "HTTP://SHOP.TEST/me/orders", "https://shop.test/me/orders",
		"http://user:pw@shop.test/me/orders", "http://shop.test:99999/me/orders", "http:///me/orders", "http:/me/orders", "http:me/orders",
		"http:%2fme/orders", "//me/orders", "//shop.test/me/orders", "///shop.test//me/orders", "me/orders", "./me/orders", "?/../me/orders",
		"foo://shop.test/me/orders", "file:///me/orders", "urn:me/orders", "/me/orders#x", "/me/orders?x", "/me/orders#?x", "/me;/orders", "/me%2forders",
		"\\me\\orders", "/\\me\\orders", "http://shop.test\\me/orders", "/index.php/me/orders", "/static/../me/orders", "/static/..;/me/orders",
		"/pay/notify/../../me/orders", "/pay/notify/%2e%2e/%2e%2e/me/orders", "/static/%252e%252e/me/orders", "/x/%2e%2e/me/orders",
		"/%c0%af../me/orders", "/ME/orders", "/me./orders", "/me%20/orders", "/me//orders", "//me//orders", "/./me/orders", "/me/orders/.",
	} {
		t.Run(target, func(t *testing.T) {
			s.t = t
			s.raw("GET "+target+" HTTP/1.1\r\nHost: "+s.addr+"\r\n"+guest.cookie()+"\r\n", 1)
			for _, r := range s.shop.take().requests {
				t.Errorf("the shop serves %q to a guest", r.RequestURI)
			}
		})
	}
}

// Whatever host a client names, the verdict is the same or the answer 400, and
// no answer of ours points to that host.
func TestOddAuthoritiesGetTheSameVerdictOrNone(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, host := range []string{
		"forged.test", "127.0.0.1", "localhost:1", "[::1]", "forged.test:80:80", "forged.test/me", "a@forged.test", "forged.test?", "forged.test#",
		"forged.test\\", " ", "", "...", "forged test", "%66orged.test", "forged.test\t", "[", "\xff", "forged.test,x",
	} {
		for _, lines := range []string{"", "Accept: text/html\r\n"} {
			all := s.raw("GET /me/orders HTTP/1.1\r\nHost: "+host+"\r\n"+guest.cookie()+lines+"\r\n", 1)
			if len(all) != 1 {
				t.Errorf("%q: no answer", host)
				continue
			}
			to := all[0].header.Get("Location")
			switch st := all[0].status; {
			case st == http.StatusFound && !strings.Contains(to, "orged"):
			case st == http.StatusUnauthorized, st == http.StatusBadRequest:
			default:
				t.Errorf("%q: %d to %q", host, st, to)
			}
			s.wantSilence()
		}
	}
	for name, heads := range map[string]string{
		"two hosts": "Host: " + s.addr + "\r\nHost: forged.test\r\n",
		"no host":   "",
		"folded":    "Host: " + s.addr + "\r\n forged.test\r\n",
	} {
		all := s.raw("GET /me/orders HTTP/1.1\r\n"+heads+guest.cookie()+"\r\n", 1)
		if len(all) != 1 || all[0].status != http.StatusBadRequest && all[0].status != http.StatusUnauthorized {
			t.Errorf("%s: %+v", name, all)
		}
		s.wantSilence()
	}
}

// Ordinary addresses stay ordinary: what a shop has always served to guests
// reaches it byte for byte.
func TestOrdinaryURLsReachTheShopAsTheyWereSent(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for _, target := range []string{
		"/", "/goods/42?from=home", "/%E5%95%86%E5%93%81/%E8%8C%B6", "/%C9%CC%C6%B7", "/goods;jsessionid=1A2B", "/goods/50%25%20off", "/a%2Fb", "/a%252Fb",
		"/index.php/goods", "/goods?q=a%00b", "/goods?next=/me/orders", "/goods//42", "/goods/.", "/menu", "/goods?a=1&a=2&&;", "/goods?",
	} {
		t.Run(target, func(t *testing.T) {
			s.t = t
			s.send("GET "+target, guest.cookie())
			heard := s.shop.take()
			if len(heard.requests) != 1 || heard.requests[0].RequestURI != target || heard.requests[0].Header.Get("X-User-Id") != guest.id {
				t.Errorf("the shop heard\n%s", heard.wire)
			}
		})
	}
}
