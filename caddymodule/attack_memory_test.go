package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
)

// Nothing that we read is longer than 64 KB, so whoever announces more is
// refused before he sends it.
func TestLongBodyToOurEndpointsIsRefused(t *testing.T) {
	s := besiege(t, battlefield{})
	for _, path := range []string{"/wxgate/logout", "/wxgate/me", "/wxgate/login", "/wxgate/callback/" + attackAppID} {
		got := s.send("POST "+path, "Content-Type: application/json\r\nContent-Length: 1073741824\r\n")
		if got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	s.wantSilence()
}

// A body of unknown length is not read to its end.
func TestEndlessBodyToOurEndpointsIsCutOff(t *testing.T) {
	s := besiege(t, battlefield{})
	for _, path := range []string{"/wxgate/logout", "/wxgate/login", "/wxgate/unknown"} {
		conn := s.dial()
		_, _ = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: "+s.addr+"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := "10000\r\n" + strings.Repeat(" ", 0x10000) + "\r\n"
		sent, limit := 0, 64<<20
		for sent < limit {
			n, err := io.WriteString(conn, chunk)
			sent += n
			if err != nil {
				break
			}
		}
		if sent >= limit {
			t.Errorf("%s: took %d bytes", path, sent)
		}
	}
	s.wantSilence()
}

// Thousands of session cookies, or one that is very long, are as none.
func TestOverlongCookieIsNobody(t *testing.T) {
	s := besiege(t, battlefield{servers: "\t\tmax_header_size 1MB"})
	guest := s.guest()
	for name, cookie := range map[string]string{
		"long value":  "wxgate=" + strings.Repeat("A", 200_000),
		"many values": strings.Repeat("wxgate=A; ", 20_000) + "wxgate=B",
		"many tokens": manyCookies(20_000) + "wxgate=" + guest.token,
		"many flows":  strings.Repeat("wxgate-flow=A; ", 20_000) + "a=1",
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			if got := s.send("GET /me/orders", "Cookie: "+cookie+"\r\n"); got.status != http.StatusUnauthorized {
				t.Errorf("%d", got.status)
			}
			s.wantSilence()
			s.send("GET /static/app.js", "Cookie: "+cookie+"\r\n")
			if r := s.wantNobody(); len(r.Header.Get("Cookie")) > 10 {
				t.Errorf("the shop reads %d bytes of cookies", len(r.Header.Get("Cookie")))
			}
		})
	}
}

func manyCookies(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "wxgate=%d; ", i)
	}
	return b.String()
}

// A flood of logins that nobody finishes takes a bounded place, and the visitor
// who began his before it can still end it.
func TestFloodOfLoginsTakesABoundedPlace(t *testing.T) {
	s := besiege(t, battlefield{})
	state := func(a answer) string {
		to, err := url.Parse(a.header.Get("Location"))
		if err != nil || to.Query().Get("state") == "" {
			t.Fatalf("%d to %q", a.status, a.header.Get("Location"))
		}
		return to.Query().Get("state")
	}
	const request = "Accept: text/html\r\nUser-Agent: MicroMessenger/8.0\r\n"
	first := state(s.send("GET /goods", request))
	before := heap()
	const rounds, perRound = 20, 500
	for range rounds {
		one := "GET /goods?" + strings.Repeat("x", 1000) + " HTTP/1.1\r\nHost: " + s.addr + "\r\n" + request + "\r\n"
		all := s.raw(strings.Repeat(one, perRound), perRound)
		if len(all) != perRound {
			t.Fatalf("%d answers", len(all))
		}
		state(all[perRound-1])
	}
	if grown := heap() - before; grown > rounds*perRound*8<<10 {
		t.Errorf("%d MB for %d logins", grown>>20, rounds*perRound)
	}
	if _, found, err := s.app.shared.store.Get(t.Context(), "state:"+first); err != nil || !found {
		t.Errorf("the visitor's login is gone: %v", err)
	}
	s.wantSilence()
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
