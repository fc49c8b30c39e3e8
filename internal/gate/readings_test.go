package gate

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// They cut strings and lines behind us.
func TestControlCharactersAreRefused(t *testing.T) {
	for _, p := range []string{"/a\x00b", "/a%00b", "/a%0ab", "/a%250ab", "/a%7f", "/a%2500", "/%c0%80", "/%e0%80%80", "/%25c0%2580"} {
		if _, err := readPath(p); !errors.Is(err, errPath) {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"/a%25", "/a%25zz", "/%e4%b8%ad", "/%d6%d0", "/%25%2x", "/100%25%2fa"} {
		if _, err := readPath(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// Whoever piles up spellings is asked to log in and gains nothing.
func TestTooManyReadingsRaiseAndNeverLower(t *testing.T) {
	rs := shopRules(t)
	path := "/pos/" + strings.Repeat("a;b/%252e./c%5c../", 12)
	if got := levelOf(t, rs, http.MethodGet, path); got != Login {
		t.Errorf("%s is %s", path, got)
	}
	path = "///./. //./%c0%af%255cy;ax.php///. /%20y. //%c0%afx.php/%3fx.php/%25c0%2580"
	if _, err := readPath(path); !errors.Is(err, errPath) {
		t.Errorf("NUL is hidden in %s: %v", path, err)
	}
}

// A path with more readings than one and of great length would cost a second.
func TestLongPathsAreNotExplored(t *testing.T) {
	long := "/pos/" + strings.Repeat("a;b/", maxExplored/4)
	p, err := readPath(long)
	if err != nil || !p.overflow || len(p.more) > 0 {
		t.Errorf("%d readings, overflow %v, %v", len(p.more)+1, p.overflow, err)
	}
	if _, err := readPath(long + "%250a"); !errors.Is(err, errPath) {
		t.Errorf("a control character at its end: %v", err)
	}
	if p, err := readPath("/goods/" + strings.Repeat("a", maxExplored)); err != nil || p.overflow {
		t.Errorf("a long ordinary path overflows: %v", err)
	}
}

// Shops that were made before UTF-8 have GBK in their paths. C1 BF is "量" and
// an overlong DEL, C0 8A is "缐" and an overlong line feed. F0 9F 80 80 is a
// mahjong tile in UTF-8 and nearly an overlong NUL.
func TestChinesePathsStayOrdinary(t *testing.T) {
	rs := shopRules(t)
	for _, p := range []string{"/%CA%FD%C1%BF", "/%C0%B4/%C0%ED", "/%C0%8A", "/%D5%5C", "/%F0%9F%80%80", "/goods/%C0%AF.html"} {
		if got := levelOf(t, rs, http.MethodGet, p); got != Guest {
			t.Errorf("%s is %s", p, got)
		}
	}
}

// RFC 9112, 3.2: a target may be a URL, an authority or an asterisk.
func TestTargetsThatAreNoPaths(t *testing.T) {
	rs := testRules(t, Rule{Level: Login, Paths: []string{"/*"}})
	for target, want := range map[string]error{
		"http:me/orders": errPath, "*": errPath, "http://evil.test/me": nil, "http://shop.test": nil, "//shop.test/me": nil, "/": nil,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: http.MethodGet, URL: u}
		sent := *u
		got, err := rs.level(r, &sent, circumstances{})
		if !errors.Is(err, want) || err == nil && got != Login {
			t.Errorf("%s: %s, %v", target, got, err)
		}
	}
}

// A backslash sent plain makes url.URL encode the whole path anew, and the
// encoded slash would get lost: this one leaves /pos%2fx by "..".
func TestPlainBytesDoNotHideWhatWasSent(t *testing.T) {
	rs := shopRules(t)
	if got := levelOf(t, rs, http.MethodGet, `/pos%2fx\..\me\orders`); got != Login {
		t.Errorf("a path that Windows resolves to /me/orders is %s", got)
	}
}

// backends read paths as real ones do. They share no code with the readers.
func backends() map[string]func(string) string {
	decode := func(s string) string {
		if d, err := url.PathUnescape(s); err == nil {
			return d
		}
		return s
	}
	segments := func(s string, f func(string) string) string {
		var out []string
		for seg := range strings.SplitSeq(s, "/") {
			out = append(out, f(seg))
		}
		return strings.Join(out, "/")
	}
	before := func(sep string) func(string) string {
		return func(s string) string { b, _, _ := strings.Cut(s, sep); return b }
	}
	nginx := func(s string) string { return path.Clean(decode(s)) }
	return map[string]func(string) string{
		"nginx":               nginx,
		"Tomcat":              func(s string) string { return path.Clean(decode(segments(s, before(";")))) },
		"Jetty":               func(s string) string { return path.Clean(segments(decode(s), before(";"))) },
		"Shiro":               func(s string) string { return path.Clean(before(";")(decode(s))) },
		"nginx, $uri":         func(s string) string { return path.Clean(decode(before("?")(before("#")(nginx(s))))) },
		"decodes twice":       func(s string) string { return path.Clean(decode(decode(s))) },
		"Windows":             func(s string) string { return windows(decode(s), segments) },
		"Windows, twice":      func(s string) string { return windows(decode(decode(s)), segments) },
		"PHP script":          func(s string) string { dir, script, _ := cutScript(nginx(s)); return dir + script },
		"PHP front":           func(s string) string { dir, _, info := cutScript(nginx(s)); return path.Clean(dir + info) },
		"does nothing at all": func(s string) string { return s },
	}
}

func windows(s string, segments func(string, func(string) string) string) string {
	s = segments(strings.ReplaceAll(s, "\\", "/"), func(seg string) string {
		if t := strings.TrimRight(seg, " "); t == "." || t == ".." {
			return t
		}
		return strings.TrimRight(seg, " .")
	})
	return strings.ToLower(path.Clean(s))
}

// cutScript cuts a path before and behind its first PHP script.
func cutScript(s string) (dir, script, info string) {
	segs := strings.SplitAfter(s, "/")
	for i, seg := range segs {
		if i < len(segs)-1 && strings.HasSuffix(seg, ".php/") {
			return strings.Join(segs[:i], ""), strings.TrimSuffix(seg, "/"), strings.Join(segs[i+1:], "")
		}
	}
	return s, "", ""
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func backendRules(t testing.TB) *rules {
	return testRules(t,
		Rule{Level: Login, Paths: []string{"/me/*"}},
		Rule{Level: Public, Paths: []string{"/static/*"}},
		Rule{Level: Bypass, Paths: []string{"/pos/*"}})
}

// checkBackends fails if a backend arrives below /me without a login, or serves
// something that is not below /static or /pos for it as public or bypassed.
func checkBackends(t *testing.T, rs *rules, p string) {
	t.Helper()
	u, err := url.ParseRequestURI(p)
	if err != nil || !strings.HasPrefix(p, "/") || strings.Contains(p, "?") || strings.ContainsFunc(p, unicode.IsControl) {
		return // the server refuses it, or it holds more than a path
	}
	sent := *u
	level, err := rs.level(&http.Request{Method: http.MethodGet, URL: u}, &sent, circumstances{})
	if err != nil {
		return
	}
	for name, read := range backends() {
		seen := read(p)
		lower := strings.ToLower(seen)
		if below(seen, "/me") && level != Login ||
			level == Public && !below(lower, "/static") || level == Bypass && !below(lower, "/pos") {
			t.Errorf("%q is %s, and %s sees %q", p, level, name, seen)
		}
	}
}

// Spellings put together at random, which a fuzzer seldom finds.
func TestNoMixtureOfSpellingsFindsAWayAround(t *testing.T) {
	rs := backendRules(t)
	starts := []string{"/", "/static/", "/pos/", "/me"}
	parts := []string{
		"/", "/", "/", "me", "static", "pos", "..", "..", ".", ";", "x", "%2f", "%2e", "%5c", `\`, "%25", "%252e", "%252f",
		"%3b", "%253b", ";a/", "%3f", "%23", "%20", "%2520", "a.php", "%6d", "e", "100%25",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		p := starts[random.IntN(len(starts))]
		for range random.IntN(9) {
			p += parts[random.IntN(len(parts))]
		}
		checkBackends(t, rs, p)
	}
}

func FuzzBackends(f *testing.F) {
	for _, p := range []string{
		"/me/orders", "/%6de/x", "/static/..;/me", "/x/..%2fme", "/index.php/me", "/me%252fx", "/static/x.css", "/pos/%2e%2e/me",
		"/me%20/x", "/static/..%20/me", "/static/..%2e%20/me", "/pos%5c..%5cme", "/pay.php/static/x", "/static/a%3f/../../me", "/x/..%3b/me;a",
	} {
		f.Add(p)
	}
	rs := backendRules(f)
	f.Fuzz(func(t *testing.T, p string) { checkBackends(t, rs, p) })
}

func FuzzReadPath(f *testing.F) {
	for _, p := range []string{"/me", "/%6de;x/..%2f", `/a\b`, "/%c0%af", "/index.php/x", "/%25252e", "/\xd5\x5c"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !strings.HasPrefix(p, "/") {
			return
		}
		r, err := readPath(p)
		if err != nil {
			return
		}
		if len(r.more) >= maxReadings {
			t.Fatalf("%d readings of %q", len(r.more)+1, p)
		}
		if s, found := r.find(func(s string) bool { return inspect(s).control }, true); found {
			t.Errorf("%q is a reading of %q", s, p)
		}
		again, err := readPath(p)
		if err != nil || !slices.Equal(again.more, r.more) {
			t.Errorf("two answers for %q", p)
		}
	})
}
