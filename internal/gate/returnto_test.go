package gate

import (
	"strings"
	"testing"
)

func TestReturnTo(t *testing.T) {
	allowed := []string{"https://www.shop.test", "http://127.0.0.1:8081"}
	for raw, want := range map[string]string{
		"/me/orders?a=1&b=%20#top":       "/me/orders?a=1&b=%20#top",
		"/订单":                            "/%E8%AE%A2%E5%8D%95",
		"/wxgates":                       "/wxgates",
		"https://www.shop.test/x?y":      "https://www.shop.test/x?y",
		"https://www.shop.test":          "https://www.shop.test",
		"HTTPS://WWW.SHOP.TEST/x":        "https://www.shop.test/x",
		"http://127.0.0.1:8081/":         "http://127.0.0.1:8081/",
		"":                               "/",
		"x":                              "/",
		"//evil.test":                    "/",
		"///evil.test":                   "/",
		`/\evil.test`:                    "/",
		`\\evil.test`:                    "/",
		"/\tevil":                        "/",
		"\t//evil.test":                  "/",
		" //evil.test":                   "/",
		"/\n/evil.test":                  "/",
		"https:/evil.test":               "/",
		"https:evil.test":                "/",
		"javascript:alert(1)":            "/",
		"data:text/html,x":               "/",
		"https://www.shop.test.evil":     "/",
		"https://www.shop.test@evil":     "/",
		"https://www.shop.test:444/":     "/",
		"http://www.shop.test/":          "/",
		"https://user@www.shop.test/":    "/",
		"/wxgate/logout":                 "/",
		"/wxgate/account?return_to=%2F":  "/wxgate/account?return_to=%2F",
		"/wxgate/account/cancel":         "/wxgate/account/cancel",
		"/wxgate/account/../login":       "/",
		"/wxgate/accounts":               "/",
		"/wxgate/login?return_to=/x":     "/",
		"/%77xgate/login":                "/",
		"/x/../wxgate/callback/wx1":      "/",
		"/" + strings.Repeat("a", 2_000): "/",
		"/x\r\nSet-Cookie: a=b":          "/",
		"/search?q=a b&r=C:\\x":          "/search?q=a%20b&r=C:\\x",
		"/x?a\nb":                        "/",
		"https://www.shop.test/?a\rb":    "/",
		`/x\..\y`:                        "/",
		`https://www.shop.test\@evil`:    "/",
		"/.//evil.test":                  "/",
		"/x/..//evil.test":               "/",
		"/%2f%2fevil.test":               "/%2f%2fevil.test",
		"/" + strings.Repeat("订", 600):   "/",
		"/%2e%2e;/wxgate/login":          "/",
		"/index.php/wxgate/login":        "/",
	} {
		if got := returnTo(raw, "/wxgate", allowed); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// browserHost says which host a browser on shop.test opens for a Location. It
// follows the WHATWG URL standard, 4.4, for what concerns the host.
func browserHost(location string) string {
	s := strings.TrimFunc(location, func(c rune) bool { return c <= ' ' })
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	slash := func(s string) bool { return s != "" && (s[0] == '/' || s[0] == '\\') }
	if scheme, rest, ok := strings.Cut(s, ":"); ok && scheme != "" && isAlnum(scheme[0]) && scheme[0] > '9' &&
		strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") == "" {
		switch strings.ToLower(scheme) {
		case "http", "ws", "wss", "ftp", "file":
		case "https":
			if !slash(rest) || !slash(rest[1:]) {
				return "shop.test" // relative, being the page's own scheme
			}
		default:
			return "scheme " + scheme
		}
		s = "//" + strings.TrimLeft(rest, `/\`)
	}
	if !slash(s) || !slash(s[1:]) {
		return "shop.test"
	}
	host := strings.TrimLeft(s, `/\`)
	if i := strings.IndexAny(host, `/\?#`); i >= 0 {
		host = host[:i]
	}
	return strings.ToLower(host[strings.LastIndex(host, "@")+1:])
}

func FuzzReturnTo(f *testing.F) {
	for _, s := range []string{
		"/a", "//b", `/\c`, "https://www.shop.test/x", "https://www.shop.test.evil", "/\x00", "/%09/x", "https:/evil", "https:evil",
		"/.//evil", "javascript:x", "https://www.shop.test@evil", "/a?b\\c d#e", "\u017f", "/\t/evil",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := returnTo(raw, "/wxgate", []string{"https://www.shop.test"})
		if len(got) == 0 || len(got) > maxReturnTo || strings.ContainsFunc(got, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			t.Fatalf("%q cannot stand in a header", got)
		}
		if host := browserHost(got); host != "shop.test" && host != "www.shop.test" {
			t.Fatalf("%q: %q leads to %s", raw, got, host)
		}
		if got[0] == '/' && len(got) > 1 && (got[1] == '/' || got[1] == '\\') {
			t.Fatalf("%q names a host", got)
		}
	})
}

// The fuzz test is worth what this is worth.
func TestBrowsersLeaveTheSiteFor(t *testing.T) {
	for _, location := range []string{
		"//evil.test", `/\evil.test`, `\\evil.test`, "/\t/evil.test", " //evil.test", "http:evil.test", "https://evil.test", "https:///evil.test",
		"https://shop.test@evil.test", `http:\\evil.test`, "//evil.test\\@shop.test",
	} {
		if got := browserHost(location); got != "evil.test" {
			t.Errorf("%q: %s", location, got)
		}
	}
	for _, location := range []string{"/x", "x", "https:x", "https:/evil.test", "?//evil", "/%2f/evil"} {
		if got := browserHost(location); got != "shop.test" {
			t.Errorf("%q: %s", location, got)
		}
	}
}
