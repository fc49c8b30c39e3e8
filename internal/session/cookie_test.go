package session

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// ourNames is every name that a configuration gives our cookies.
func ourNames() []string {
	return []string{
		"__Host-wxgate", "__Host-wxgate-flow", "__Secure-wxgate", "__Secure-wxgate-flow", "wxgate", "wxgate-flow",
	}
}

func newCookies(t testing.TB, cfg CookieConfig) *Cookies {
	t.Helper()
	c, err := NewCookies(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCookiesAsTheBrowserGetsThem(t *testing.T) {
	for _, tc := range []struct {
		name string
		cfg  CookieConfig
		want []string
	}{
		{"https", CookieConfig{Secure: true}, []string{
			"__Host-wxgate=v; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax",
			"__Host-wxgate=v; Path=/; HttpOnly; Secure; SameSite=Lax",
			"__Host-wxgate-flow=v; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
		}},
		{"https with a domain", CookieConfig{Secure: true, Domain: "example.com"}, []string{
			"__Secure-wxgate=v; Path=/; Domain=example.com; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax",
			"__Secure-wxgate=v; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax",
			"__Secure-wxgate-flow=v; Path=/; Domain=example.com; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
		}},
		{"plain http, a week", CookieConfig{MaxAge: 7 * 24 * time.Hour}, []string{
			"wxgate=v; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax",
			"wxgate=v; Path=/; HttpOnly; SameSite=Lax",
			"wxgate-flow=v; Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCookies(t, tc.cfg)
			var got []string
			for _, cookie := range []*http.Cookie{
				c.Session("v", true), c.Session("v", false), c.Flow("v", 10*time.Minute),
			} {
				got = append(got, cookie.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCookieDomain(t *testing.T) {
	long := strings.Repeat("a", 63)
	for domain, ok := range map[string]bool{
		"":                        true,
		"example.com":             true,
		"shop.example.com.cn":     true,
		"xn--fiqs8s.cn":           true,
		"1.example.com":           true,
		long + ".com":             true,
		long + "a.com":            false,
		strings.Repeat("a.", 127): false,
		"com":                     false,
		"localhost":               false,
		".example.com":            false,
		"example.com.":            false,
		"example..com":            false,
		"-example.com":            false,
		"example-.com":            false,
		"Example.com":             false,
		"商城.cn":                   false,
		"example.com:8443":        false,
		"https://example.com":     false,
		"example.com/shop":        false,
		"example.com; Secure":     false,
		"*.example.com":           false,
		"192.0.2.1":               false,
		"2001:db8::1":             false,
		"[2001:db8::1]":           false,
	} {
		t.Run(domain, func(t *testing.T) {
			c, err := NewCookies(CookieConfig{Secure: true, Domain: domain})
			if (err == nil) != ok || (c != nil) != ok {
				t.Errorf("NewCookies = %v, %v; want accepted: %v", c, err, ok)
			}
		})
	}
}

func TestCookieMaxAge(t *testing.T) {
	for _, d := range []time.Duration{-time.Hour, time.Millisecond} {
		if _, err := NewCookies(CookieConfig{MaxAge: d}); err == nil {
			t.Errorf("max age %v is accepted", d)
		}
	}
}

func TestAppendSessions(t *testing.T) {
	const name = "__Host-wxgate"
	for _, tc := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"no header", nil, nil},
		{"alone", []string{"__Host-wxgate=v"}, []string{"v"}},
		{"among others", []string{"a=1; __Host-wxgate=v; b=2"}, []string{"v"}},
		{"several lines, as in HTTP/2", []string{"a=1", "__Host-wxgate=v", "b=2"}, []string{"v"}},
		{"no space after the semicolon", []string{"a=1;__Host-wxgate=v;b=2"}, []string{"v"}},
		{"white space", []string{"\t a=1 ;\t __Host-wxgate =v \t; b=2"}, []string{"v"}},
		{"quoted", []string{`__Host-wxgate="v"`}, []string{"v"}},
		{"half quoted", []string{`__Host-wxgate="v`}, []string{`"v`}},
		{"an equals sign in the value", []string{"__Host-wxgate=a=b"}, []string{"a=b"}},
		{"empty", []string{"__Host-wxgate=; __Host-wxgate"}, nil},
		{"two", []string{"__Host-wxgate=v; __Host-wxgate=w"}, []string{"v", "w"}},
		{"two lines", []string{"__Host-wxgate=v", "__Host-wxgate=w"}, []string{"v", "w"}},
		{"twice the same", []string{"__Host-wxgate=v; a=1; __Host-wxgate=v"}, []string{"v"}},
		{"too many", []string{manyCookies(name, maxTokens+1)}, []string{}},
		{"the other cookie", []string{"__Host-wxgate-flow=v"}, nil},
		{"of another configuration", []string{"__Secure-wxgate=v; wxgate=w"}, nil},
		{"another case", []string{"__host-wxgate=v; __Host-WXGATE=v"}, nil},
		{"part of a name", []string{"a__Host-wxgate=v; __Host-wxgate2=v"}, nil},
		{"in a value", []string{"a=__Host-wxgate=v; b=__Host-wxgate"}, nil},
		{"behind a comma", []string{"a=1, __Host-wxgate=v"}, nil},
		// Attack: a host of the same domain sets a cookie that browsers take
		// for unprefixed and that servers which trim all of Unicode's white
		// space take for ours.
		{"Unicode space", []string{"\u2000__Host-wxgate=v; \u00a0__Host-wxgate=v; \x85__Host-wxgate=v"}, nil},
		// Attack: the same, with a name that PHP and others rewrite to ours.
		{"rewritten characters", []string{"..Host-wxgate=v; __Host-wx%67ate=v; _.Host-wxgate=v; __Host-wxgate[]=v"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			if tc.lines != nil {
				h["Cookie"] = tc.lines
			}
			got := newCookies(t, CookieConfig{Secure: true}).AppendSessions(nil, h)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func manyCookies(name string, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(name + "=" + strings.Repeat("v", i+1) + ";")
	}
	return b.String()
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	c := newCookies(t, CookieConfig{})
	h := http.Header{"Cookie": {"wxgate=s; wxgate-flow=f"}}
	got := c.AppendFlows(c.AppendSessions([]string{"s"}, h), h)
	if diff := cmp.Diff([]string{"s", "s", "f"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestStripCookies(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"no header", nil, nil},
		{"nothing of ours", []string{"a=1; b=2", ""}, []string{"a=1; b=2", ""}},
		{"alone", []string{"__Host-wxgate=v"}, nil},
		{"alone in two lines", []string{"__Host-wxgate=v", "wxgate-flow=v"}, nil},
		{"first", []string{"wxgate=v; a=1; b=2"}, []string{"a=1; b=2"}},
		{"last", []string{"a=1; b=2; __Secure-wxgate=v"}, []string{"a=1; b=2"}},
		{"in the middle", []string{"a=1; wxgate=v; b=2; wxgate=w; c=3"}, []string{"a=1; b=2; c=3"}},
		{"everywhere", []string{"wxgate=v;wxgate=v; a=1;wxgate=v ; wxgate=v;b=2;  c=3;wxgate=v"}, []string{"a=1;b=2;  c=3"}},
		{"one line of three", []string{"a=1", "wxgate=v", "b=2"}, []string{"a=1", "b=2"}},
		{"all names", []string{strings.Join(ourNames(), "=v; ") + "=v"}, nil},
		{"quoted and spaced", []string{`wxgate ="v" ; a="1"`}, []string{`a="1"`}},
		{"no value", []string{"wxgate; a=1; wxgate-flow="}, []string{"a=1"}},
		{"semicolon at the end", []string{"wxgate=v;"}, nil},
		{"odd cookies of others", []string{"a; =b;; wxgate=v; c=\xff\"; d=1,2"}, []string{"a; =b;; c=\xff\"; d=1,2"}},
		{"names like ours", []string{"mywxgate=1; wxgate2=2; WXGATE=3; wx.gate=4; __Host-__Secure-wxgate=5; wxgate-flow-flow=6"},
			[]string{"mywxgate=1; wxgate2=2; WXGATE=3; wx.gate=4; __Host-__Secure-wxgate=5; wxgate-flow-flow=6"}},
		{"our name in a value", []string{"a=wxgate; b=wxgate=v"}, []string{"a=wxgate; b=wxgate=v"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := http.Header{"Accept": {"*/*"}}
			want := http.Header{"Accept": {"*/*"}}
			if tc.lines != nil {
				got["Cookie"] = tc.lines
			}
			if tc.want != nil {
				want["Cookie"] = tc.want
			}
			StripCookies(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever a browser sends: nothing that a parser of cookies takes for ours is
// left, everything else is, and in its order.
func TestStripCookiesLeavesWhatNetHTTPReads(t *testing.T) {
	part := rapid.OneOf(
		rapid.SampledFrom([]string{"wxgate=v", " wxgate=v", "__Host-wxgate=v ", "\t__Secure-wxgate-flow =\"v\"", "wxgate", "", " "}),
		rapid.SampledFrom([]string{"a=1", " b=\"2\"", " c=wxgate", "xwxgate=1", " wxgate.=2"}),
		rapid.StringMatching(`[ \t]?(__Host-|__Secure-)?(wxgate)?(-flow)?[ =]?[!-:<-~]{0,3}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SliceOf(part), 0, 3).Draw(t, "lines")
		h := http.Header{}
		for _, parts := range lines {
			h.Add("Cookie", strings.Join(parts, ";"))
		}
		var want []string
		for _, cookie := range (&http.Request{Header: h}).Cookies() {
			if !isOurs(cookie.Name) {
				want = append(want, cookie.Name+"="+cookie.Value)
			}
		}
		StripCookies(h)
		var got []string
		for _, cookie := range (&http.Request{Header: h}).Cookies() {
			got = append(got, cookie.Name+"="+cookie.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q: %s", h, diff)
		}
	})
}

// What we set is what we read and what we strip, under every configuration.
func TestCookiesMakeARoundTrip(t *testing.T) {
	for _, cfg := range []CookieConfig{{}, {Secure: true}, {Secure: true, Domain: "example.com"}, {Domain: "example.com"}} {
		c := newCookies(t, cfg)
		r := &http.Request{Header: http.Header{}}
		r.AddCookie(c.Session("s", true))
		r.AddCookie(c.Flow("f", time.Minute))
		got := c.AppendFlows(c.AppendSessions(nil, r.Header), r.Header)
		if diff := cmp.Diff([]string{"s", "f"}, got); diff != "" {
			t.Errorf("%+v: %s", cfg, diff)
		}
		if StripCookies(r.Header); len(r.Header) != 0 {
			t.Errorf("%+v: %q is left", cfg, r.Header)
		}
	}
}

func TestCookiesCostNoAllocation(t *testing.T) {
	c := newCookies(t, CookieConfig{Secure: true})
	for name, line := range map[string]string{
		"ours alone": "__Host-wxgate=v",
		"ours first": "__Host-wxgate=v; a=1; b=2",
		"not ours":   "a=1; b=2",
	} {
		lines := []string{""}
		h := http.Header{}
		allocs := testing.AllocsPerRun(100, func() {
			lines[0] = line
			h["Cookie"] = lines
			var buf [2]string
			if got := c.AppendSessions(buf[:0], h); len(got) > 1 {
				t.Fatal(len(got))
			}
			StripCookies(h)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations, want 0", name, allocs)
		}
	}
}

func BenchmarkCookies(b *testing.B) {
	c := newCookies(b, CookieConfig{Secure: true})
	token := strings.Repeat("x", 700)
	lines := []string{""}
	h := http.Header{}
	for _, bm := range []struct{ name, line string }{
		{"alone", "__Host-wxgate=" + token},
		{"among ten", strings.Repeat("name=value-of-a-cookie; ", 5) + "__Host-wxgate=" + token + strings.Repeat("; name=value-of-a-cookie", 5)},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				lines[0] = bm.line
				h["Cookie"] = lines
				var buf [2]string
				if got := c.AppendSessions(buf[:0], h); len(got) != 1 {
					b.Fatal(len(got))
				}
				StripCookies(h)
			}
		})
	}
}
