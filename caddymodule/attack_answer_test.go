package caddymodule

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// words are what a shop says to the gateway. They name users, so a visitor who
// read one, or a cache that kept one, would know more than it should.
func words() []string {
	return []string{"X-Wxgate-Login", "X-Wxgate-Logout", "X-Wxgate-Session", "X-Login-Required", "x~wxgate~login", "X_Wxgate_Login", "X_Login.Required"}
}

// paths of the levels that a member passes.
func everyLevel() []string {
	return []string{"/pay/notify", "/static/app.js", "/goods", "/me/orders"}
}

// wantNoWords reads an answer to its end and looks for words in it.
func wantNoWords(t *testing.T, h http.Header) {
	t.Helper()
	for name := range h {
		low := strings.ToLower(name)
		if strings.Contains(low, "wxgate") || strings.Contains(low, "login") {
			t.Errorf("the visitor reads %s: %q", name, h[name])
		}
	}
}

func TestWordsOfTheShopNeverReachAVisitor(t *testing.T) {
	s := besiege(t, battlefield{})
	member, c := s.member(), s.h2()
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusFound, http.StatusInternalServerError} {
		s.shop.says(func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range words() {
				w.Header()[name] = []string{"1000000000", "phone"}
			}
			w.Header().Set("X-Of-The-Shop", "kept")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "body")
		})
		for _, path := range everyLevel() {
			got := s.send("GET "+path, member.cookie())
			if got.status != status || got.header.Get("X-Of-The-Shop") != "kept" || got.body != "body" {
				t.Errorf("%s: %+v", path, got)
			}
			wantNoWords(t, got.header)
			wantNoWords(t, s.ask(c, s.request(http.MethodGet, path, member)).header)
		}
	}
}

// An answer without a body is finished by the server, past our writer.
func TestWordsInAnEmptyAnswerNeverReachAVisitor(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	s.shop.says(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Wxgate-Login", "1000000000") })
	for _, path := range everyLevel() {
		wantNoWords(t, s.send("HEAD "+path, member.cookie()).header)
		wantNoWords(t, s.send("GET "+path, member.cookie()).header)
	}
}

// Trailers come when the header is long gone.
func TestWordsInTrailersNeverReachAVisitor(t *testing.T) {
	s := besiege(t, battlefield{})
	member, c := s.member(), s.h2()
	s.shop.says(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Wxgate-Login, X-Checksum")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Wxgate-Login", "1000000000")
		w.Header().Set("X-Checksum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Login-Required", "phone")
	})
	for _, path := range everyLevel() {
		conn := s.dial()
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: "+s.addr+"\r\nConnection: close\r\nTE: trailers\r\n"+member.cookie()+"\r\n")
		wire, err := io.ReadAll(conn)
		if low := strings.ToLower(string(wire)); err != nil || strings.Contains(low, "wxgate") || strings.Contains(low, "login") || !strings.Contains(low, "x-checksum: 1") {
			t.Errorf("%s: %v, the visitor reads\n%s", path, err, wire)
		}
		resp, err := c.Do(s.request(http.MethodGet, path, member))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		wantNoWords(t, resp.Header)
		wantNoWords(t, resp.Trailer)
		if err != nil || resp.Trailer.Get("X-Checksum") != "1" {
			t.Errorf("%s over HTTP/2: %v, trailers %v", path, err, resp.Trailer)
		}
	}
}

// Early hints (RFC 8297) are headers too.
func TestWordsInEarlyHintsNeverReachAVisitor(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	s.shop.says(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</app.css>; rel=preload")
		w.Header().Set("X-Wxgate-Login", "1000000000")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "body")
	})
	for _, path := range everyLevel() {
		all := s.raw("GET "+path+" HTTP/1.1\r\nHost: "+s.addr+"\r\n"+member.cookie()+"\r\n", 2)
		if len(all) != 2 || all[0].status != http.StatusEarlyHints || all[0].header.Get("Link") == "" || all[1].status != http.StatusOK {
			t.Fatalf("%s: %+v", path, all)
		}
		wantNoWords(t, all[0].header)
		wantNoWords(t, all[1].header)
	}
}

// A cache that keeps an answer with a session hands that session to everybody.
func TestAnswerWithASessionIsNeverCached(t *testing.T) {
	s := besiege(t, battlefield{})
	c := s.h2()
	s.shop.says(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Cache-Control"] = []string{"public, max-age=86400", "s-maxage=86400"}
		h.Set("Expires", "Fri, 31 Dec 2100 23:59:59 GMT")
		h.Set("CDN-Cache-Control", "max-age=86400")
		h.Set("Cloudflare-CDN-Cache-Control", "max-age=86400")
		h.Set("Surrogate-Control", "max-age=86400")
		h.Set("X-Accel-Expires", "86400")
		h.Set("Set-Cookie", "shop=1")
	})
	r := s.request(http.MethodGet, "/goods", visitor{})
	r.Header.Set("Accept", "text/html")
	for name, got := range map[string]answer{
		"HTTP/1.1": s.send("GET /goods", "Accept: text/html\r\n"),
		"HTTP/2":   s.ask(c, r),
	} {
		if cookies := got.header["Set-Cookie"]; !slices.ContainsFunc(cookies, func(c string) bool { return strings.HasPrefix(c, "wxgate=") }) || !slices.Contains(cookies, "shop=1") {
			t.Fatalf("%s: cookies %q", name, cookies)
		}
		if cc := got.header["Cache-Control"]; len(cc) != 1 || cc[0] != "private, no-store" {
			t.Errorf("%s: Cache-Control %q", name, cc)
		}
		for _, h := range []string{"Expires", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires"} {
			if v := got.header.Get(h); v != "" {
				t.Errorf("%s: %s: %s", name, h, v)
			}
		}
	}
}

// What needs no session stays as cacheable as the shop made it.
func TestAnswerWithoutASessionKeepsItsCacheHeaders(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	s.shop.says(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public, max-age=60") })
	for _, path := range []string{"/pay/notify", "/static/app.js", "/goods"} {
		got := s.send("GET "+path, "Accept: text/html\r\n"+guest.cookie())
		if got.header.Get("Cache-Control") != "public, max-age=60" || got.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", path, got.header)
		}
	}
}
