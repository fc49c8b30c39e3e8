package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/session"
)

// Our session would open the visitor's account to whoever reads the shop's
// logs.
func TestOurCredentialsNeverReachTheShop(t *testing.T) {
	s := besiege(t, battlefield{})
	guest := s.guest()
	for name, lines := range map[string]string{
		"cookie":                "Cookie: a=1; wxgate=TOKEN; b=2\r\n",
		"cookie alone":          "Cookie: wxgate=TOKEN\r\n",
		"cookie lines":          "Cookie: a=1\r\nCookie: wxgate=TOKEN\r\nCookie: b=2\r\n",
		"cookie twice":          "Cookie: wxgate=TOKEN; wxgate=TOKEN\r\n",
		"other names of ours":   "Cookie: wxgate=TOKEN; __Host-wxgate=TOKEN; __Secure-wxgate=TOKEN; wxgate-flow=TOKEN; __Host-wxgate-flow=TOKEN\r\n",
		"Authorization":         "Authorization: Wxgate TOKEN\r\n",
		"in lower case":         "authorization: wxgate   TOKEN\r\n",
		"beside the shop's own": "X-Wxgate-Session: TOKEN\r\nAuthorization: Bearer of-the-shop\r\n",
	} {
		for _, path := range []string{"/goods", "/static/app.js", "/pay/notify"} {
			t.Run(name+" "+path, func(t *testing.T) {
				s.t = t
				s.send("GET "+path, strings.ReplaceAll(lines, "TOKEN", guest.token))
				heard := s.shop.take()
				if len(heard.requests) != 1 || strings.Contains(heard.wire, guest.token) {
					t.Fatalf("the shop heard\n%s", heard.wire)
				}
				h := heard.requests[0].Header
				if got := h.Get("X-User-Id"); path != "/pay/notify" && got != guest.id || path == "/pay/notify" && got != "" {
					t.Errorf("he is %q", got)
				}
				if strings.Contains(lines, "Bearer") && h.Get("Authorization") != "Bearer of-the-shop" {
					t.Errorf("the shop's own Authorization is %q", h.Get("Authorization"))
				}
				if strings.Contains(lines, "a=1") && !strings.Contains(strings.Join(h["Cookie"], "; "), "a=1; b=2") {
					t.Errorf("the shop's own cookies are %q", h["Cookie"])
				}
			})
		}
	}
}

func TestOurCredentialsNeverReachTheShopOverHTTP2(t *testing.T) {
	s := besiege(t, battlefield{})
	guest, c := s.guest(), s.h2()
	for _, name := range []string{"Cookie", "Authorization", "X-Wxgate-Session"} {
		r := s.request(http.MethodGet, "/goods", visitor{})
		value := map[string]string{"Cookie": "a=1; wxgate=" + guest.token, "Authorization": "Wxgate " + guest.token}[name]
		if value == "" {
			value = guest.token
		}
		r.Header.Set(name, value)
		s.ask(c, r)
		heard := s.shop.take()
		if len(heard.requests) != 1 || strings.Contains(heard.wire, guest.token) || heard.requests[0].Header.Get("X-User-Id") != guest.id {
			t.Errorf("%s: the shop heard\n%s", name, heard.wire)
		}
	}
}

// A second session header or an unusable one is no way to fall back to the
// cookie: where a header is sent, it alone counts.
func TestContradictingCredentialsAreNobody(t *testing.T) {
	s := besiege(t, battlefield{})
	guest, member := s.guest(), s.member()
	for name, lines := range map[string]string{
		"two headers":             "Authorization: Wxgate " + guest.token + "\r\nX-Wxgate-Session: " + member.token + "\r\n",
		"one header twice":        "X-Wxgate-Session: " + guest.token + "\r\nX-Wxgate-Session: " + member.token + "\r\n",
		"a broken one and cookie": member.cookie() + "Authorization: Wxgate broken\r\n",
		"an empty one and cookie": member.cookie() + "Authorization: Wxgate\r\n",
		"two cookies":             "Cookie: wxgate=" + guest.token + "; wxgate=" + member.token + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			if got := s.send("GET /me/orders", lines); got.status != http.StatusUnauthorized {
				t.Errorf("%d", got.status)
			}
			s.wantSilence()
			s.send("GET /static/app.js", lines)
			s.wantNobody()
		})
	}
}

// What is sealed for one purpose opens nothing else, and nobody can seal for
// himself.
func TestOnlyASessionTokenIsASession(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	s.send("GET /me/orders", member.cookie())
	heard := s.shop.take()
	if len(heard.requests) != 1 {
		t.Fatalf("the member himself does not pass:\n%s", heard.wire)
	}
	plain := fmt.Sprintf(`{"i":"x","u":%q,"k":"member","t":%d,"e":99999999999}`, member.id, member.sess.IssuedAt)
	candidates := map[string]string{
		"assertion":  heard.requests[0].Header.Get("X-User-Assertion"),
		"plain text": plain,
		"truncated":  member.token[:len(member.token)-1],
		"longer":     member.token + "A",
		"changed":    flip(member.token),
		"padded":     member.token + "=",
		"very long":  member.token + strings.Repeat("A", 8000),
		"a user id":  member.id,
	}
	for _, typ := range []session.Type{session.TypeFlow, session.TypeResult, session.TypeSigningKey, session.TypeDataKey} {
		candidates[fmt.Sprintf("sealed as type %d", typ)] = s.keys.Seal(typ, []byte(plain))
	}
	for name, token := range candidates {
		for _, lines := range []string{"Cookie: wxgate=" + token + "\r\n", "Authorization: Wxgate " + token + "\r\n", "X-Wxgate-Session: " + token + "\r\n"} {
			if got := s.send("GET /me/orders", lines); got.status != http.StatusUnauthorized {
				t.Errorf("%s: %d", name, got.status)
			}
			s.wantSilence()
		}
	}
}

// The other way round: a session is no login under way, and no state either.
func TestSessionTokenIsNoFlowAndNoState(t *testing.T) {
	s := besiege(t, battlefield{})
	member := s.member()
	got := s.send("GET /wxgate/callback/"+attackAppID+"?code=forged&state="+member.token,
		"Cookie: wxgate-flow="+member.token+"\r\nAccept: text/html\r\nUser-Agent: MicroMessenger\r\n")
	if slices.ContainsFunc(got.header["Set-Cookie"], func(c string) bool { return strings.HasPrefix(c, "wxgate=") }) {
		t.Errorf("%d with %q", got.status, got.header["Set-Cookie"])
	}
	s.wantSilence()
}

// flip changes one letter in the sealed part of a token.
func flip(token string) string {
	b := []byte(token)
	if b[40]++; b[40] == 'Z'+1 || b[40] == 'z'+1 || b[40] == '9'+1 {
		b[40] = 'A'
	}
	return string(b)
}
