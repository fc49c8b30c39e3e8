package gate

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func stripperFor(t testing.TB, names HeaderNames, keep ...string) *stripper {
	t.Helper()
	s, err := newStripper(names, keep)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parse reads a request as a server would, header spellings included.
func parse(t testing.TB, raw string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(raw, "\n", "\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// PHP, CGI and WSGI make one variable of all of these.
func TestSpellingsOfOneHeaderAreOneHeader(t *testing.T) {
	s := stripperFor(t, HeaderNames{UserID: "Shop-User"})
	for _, name := range []string{
		"X-User-ID", "x-user-id", "X_User_ID", "X.User.ID", "x~user~id", "X-User_ID", "X-USER-KIND", "X!User!Kind",
		"X-User-Phone-Verified", "X_User_Previous_ID", "X-User-Assertion", "Shop-User", "shop_user", "SHOP.USER",
		"X-Wxgate-Login", "X_Wxgate_Anything", "X-WX-OPENID", "x_wx_unionid", "X-Wx-Source",
	} {
		r := parse(t, "GET / HTTP/1.1\nHost: shop\n"+name+": 1\n"+name+": 2\nX-User-Agent-Id: stays\n\n")
		if n := s.strip(r, true); n != 1 {
			t.Errorf("%s: removed %d headers", name, n)
		}
		if diff := cmp.Diff(http.Header{"X-User-Agent-Id": {"stays"}}, r.Header); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A proxy deletes every header that Connection names: ours, which it would
// never see.
func TestConnectionCannotDeleteOurHeaders(t *testing.T) {
	s := stripperFor(t, HeaderNames{})
	r := parse(t, "GET / HTTP/1.1\nHost: shop\nConnection: Upgrade, X-User-ID\nConnection: x_user_assertion\nUpgrade: websocket\n\n")
	s.strip(r, false)
	if diff := cmp.Diff([]string{"Upgrade"}, r.Header["Connection"]); diff != "" {
		t.Error(diff)
	}
	r = parse(t, "GET / HTTP/1.1\nHost: shop\nConnection: keep-alive, X-Shop\n\n")
	s.strip(r, false)
	if got := r.Header.Get("Connection"); got != "keep-alive, X-Shop" {
		t.Errorf("an innocent Connection became %q", got)
	}
}

func TestOverridesOfUntrustedPeersAreRemoved(t *testing.T) {
	raw := "GET / HTTP/1.1\nHost: shop\n"
	for _, name := range overrideNames() {
		raw += textproto.CanonicalMIMEHeaderKey(name) + ": /admin\n"
	}
	raw += "X_Original_URL: /admin\n\n"
	s := stripperFor(t, HeaderNames{}, "X-HTTP-Method-Override")
	r := parse(t, raw)
	s.strip(r, false)
	if diff := cmp.Diff(http.Header{"X-Http-Method-Override": {"/admin"}}, r.Header); diff != "" {
		t.Errorf("from an untrusted peer (-want +got):\n%s", diff)
	}
	r = parse(t, raw)
	if s.strip(r, true); len(r.Header) != len(overrideNames())+1 {
		t.Errorf("from a trusted proxy %d headers are left: %v", len(r.Header), r.Header)
	}
}

func TestOnlyOurCredentialsAreRemoved(t *testing.T) {
	s := stripperFor(t, HeaderNames{})
	r := parse(t, "GET / HTTP/1.1\nHost: shop\nAuthorization: wxgate abc\nAuthorization: Bearer shop\n\n")
	s.strip(r, false)
	if diff := cmp.Diff([]string{"Bearer shop"}, r.Header["Authorization"]); diff != "" {
		t.Error(diff)
	}
}

func TestWordsToTheGateStayInTheHouse(t *testing.T) {
	h := http.Header{"X-Login-Required": {"login"}, "X-Wxgate-Login": {"7"}, "X_wxgate_logout": {"1"}, "X-Shop": {"stays"}, "Etag": {"e"}}
	stripResponse(h)
	if diff := cmp.Diff(http.Header{"X-Shop": {"stays"}, "Etag": {"e"}}, h); diff != "" {
		t.Error(diff)
	}
}

func TestUnusableHeaderNamesAreRefused(t *testing.T) {
	for _, tc := range []struct {
		names HeaderNames
		keep  []string
		want  string
	}{
		{HeaderNames{UserID: "X-User-Kind"}, nil, "same name"},
		{HeaderNames{UserID: "A_B", Kind: "a-b"}, nil, "same name"},
		{HeaderNames{UserID: "Cookie"}, nil, "something else"},
		{HeaderNames{Kind: "X-Forwarded-For"}, nil, "something else"},
		{HeaderNames{Kind: "X-Wxgate-Kind"}, nil, "never reach"},
		{HeaderNames{Kind: "two words"}, nil, "not a header name"},
		{HeaderNames{Kind: "-x"}, nil, "begin with"},
		{HeaderNames{}, []string{"X-Forwarded-For"}, "keep_headers"},
		{HeaderNames{OpenID: "x_user_id"}, nil, "same name"},
	} {
		if _, err := newStripper(tc.names, tc.keep); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v %v: %v", tc.names, tc.keep, err)
		}
	}
}

func ordinaryRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/goods/42?from=home", nil)
	for _, h := range []string{
		"User-Agent: " + uaChrome, "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language: zh-CN,zh;q=0.9", "Accept-Encoding: gzip, deflate, br", "Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: navigate", "Sec-Fetch-User: ?1", "Sec-Fetch-Dest: document", "Upgrade-Insecure-Requests: 1",
		"Referer: http://shop/", "Cache-Control: max-age=0", "Cookie: PHPSESSID=1", "X-Forwarded-For: 10.0.0.1",
		"X-Forwarded-Proto: https", "If-None-Match: \"1\"",
	} {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	return r
}

func BenchmarkStrip(b *testing.B) {
	s := stripperFor(b, HeaderNames{})
	r := ordinaryRequest()
	b.ReportAllocs()
	for b.Loop() {
		s.strip(r, false)
	}
}

func FuzzStrip(f *testing.F) {
	f.Add("X_User_ID", "Upgrade, X-User-ID")
	f.Add("X-WX-OPENID", "")
	f.Add("x~user~kind", ",,")
	f.Add("X-Forwarded.Uri", "close,\tx_wxgate_login")
	f.Add("X-User-ID-", " , X-HTTP-Method")
	f.Add("X User ID ", "0")
	// CGI's way (RFC 3875, 4.1.18) with what PHP and others do to the rest.
	variable := func(name string) string {
		return strings.Map(func(c rune) rune {
			if c < 0x80 && isAlnum(byte(c)) {
				return c
			}
			return '_'
		}, strings.ToUpper(name))
	}
	ours := append([]string{"x-user-id", "x-user-kind", "x-user-phone-verified", "x-user-previous-id", "x-user-assertion"}, overrideNames()...)
	f.Fuzz(func(t *testing.T, name, connection string) {
		s := stripperFor(t, HeaderNames{})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header[name] = []string{"1"}
		r.Header["Connection"] = []string{connection}
		s.strip(r, false)
		for left, values := range r.Header {
			names := []string{left} // as it is: no server takes a space in one
			if left == "Connection" {
				names = strings.Split(strings.ReplaceAll(strings.Join(values, ","), "\t", " "), ",")
				for i := range names {
					names[i] = strings.Trim(names[i], " ")
				}
			}
			for _, n := range names {
				v := variable(n)
				if strings.HasPrefix(v, "X_WXGATE_") || strings.HasPrefix(v, "X_WX_") ||
					slices.ContainsFunc(ours, func(our string) bool { return variable(our) == v }) {
					t.Errorf("%q is left of %q, %q", n, name, connection)
				}
			}
		}
	})
}
