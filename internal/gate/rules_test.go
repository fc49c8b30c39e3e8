package gate

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func testRules(t testing.TB, lines ...Rule) *rules {
	t.Helper()
	rs, err := compileRules(lines)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// sentRequest is a request whose path is, escaped, exactly as given.
func sentRequest(t testing.TB, method, escaped string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(method, "/", nil)
	u, err := url.ParseRequestURI(escaped)
	if err != nil {
		t.Fatal(err)
	}
	r.URL = u
	return r
}

func levelOf(t testing.TB, rs *rules, method, escaped string) Level {
	t.Helper()
	r := sentRequest(t, method, escaped)
	sent := *r.URL
	level, err := rs.level(r, &sent, circumstances{})
	if err != nil {
		t.Fatalf("%s: %v", escaped, err)
	}
	return level
}

func shopRules(t testing.TB) *rules {
	assets := func(r *http.Request) (bool, error) { return strings.HasPrefix(r.URL.Path, "/assets/"), nil }
	return testRules(t,
		Rule{Level: Public, Match: assets},
		Rule{Level: Public, Paths: []string{"/static/*", "*.css", "/healthz", "/图片/*"}},
		Rule{Level: Bypass, Paths: []string{"/pay/notify", "/pos/*"}},
		Rule{Level: Login, Paths: []string{"/me/*", "/cart/checkout", "/cart/checkout.php", "/订单/*"}},
	)
}

func TestLevelOfOrdinaryPaths(t *testing.T) {
	rs := shopRules(t)
	for path, want := range map[string]Level{
		"/": Guest, "/goods/42": Guest, "/menu": Guest, "/me": Login, "/me/": Login, "/me/orders": Login, "/ME/Orders": Login,
		"/cart/checkout": Login, "/cart/checkout/": Login, "/cart/checkout2": Guest, "/static/app.js": Public, "/static": Public,
		"/x/site.css": Public, "/me/site.css": Login, "/healthz": Public, "/healthz/": Guest, "/pay/notify": Bypass,
		"/pay/notify/x": Guest, "/pos/": Bypass, "/pos/a/b": Bypass, "/posters": Guest,
		// Ordinary URLs of shops stay ordinary.
		"/goods/%E5%95%86%E5%93%81": Guest, "/goods/%D6%D0%CE%C4": Guest, "/goods;jsessionid=1A2B": Guest,
		"/goods/a%2Fb": Guest, "/goods/100%25": Guest, "/%E8%AE%A2%E5%8D%95/7": Login, "/%E5%9B%BE%E7%89%87/7": Public,
		"/x/y.php": Guest, "/.well-known/security.txt": Guest,
	} {
		if got := levelOf(t, rs, http.MethodGet, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// Each spelling is how some backend arrives at /me/orders.
func TestNoSpellingWalksAroundALogin(t *testing.T) {
	rs := shopRules(t)
	for backend, paths := range map[string][]string{
		"every server decodes":            {"/%6de/orders", "/m%65/orders", "/me%2forders", "/me/%6frders"},
		"some decode twice":               {"/%256de/orders", "/me%252forders", "/static/%252e%252e/me/orders"},
		"Tomcat drops parameters":         {"/me;x=1/orders", "/me;/orders", "/static/..;/me/orders", "/static;a/..;b/me/orders", "/me%3bx/orders"},
		"IIS takes backslashes":           {`/me\orders`, "/me%5corders", "/%5cme%5corders", "/static/..%5cme/orders", "/x/%255c../me/orders"},
		"dot segments are resolved":       {"/x/../me/orders", "/./me/orders", "/x/..%2fme/orders", "/static/%2e%2e/me/orders", "/x/%2e%2e%2fme/orders"},
		"slashes are joined":              {"//me/orders", "/.//me/orders", "/me//orders", "///me/orders", "/%2fme/orders"},
		"Windows drops dots and spaces":   {"/me./orders", "/me%20/orders", "/me.%20./orders", "/me../orders", "/static/..%20/me/orders", "/static/..%20./me", "/cart/.../checkout"},
		"PHP routes what follows":         {"/index.php/me/orders", "/INDEX.PHP/me/orders", "/app.php//me/orders", "/index.php%2fme/orders", "/index.php;x/me/orders", "/me/index.php/orders", "/cart/checkout.php/x.css"},
		"case does not matter":            {"/ME/orders", "/Me/", "/%4dE/orders"},
		"careless decoders are overlong":  {"/%c1%ade/orders", "/x/..%c0%afme/orders", "/me%e0%80%aforders", "/me%f0%80%80%aforders", "/%e0%81%ade/orders", "/me%f8%80%80%80%aforders"},
		"PHP decodes what it can twice":   {"/%256de/orders/%25", "/static/%252e%252e/me/100%25"},
		"nginx emits $uri":                {"/cart/checkout%3fx", "/cart/checkout%23.css"},
		"Shiro ends at the semicolon":     {"/cart/checkout;/x", "/me/orders;/../../static/x.css"},
		"databases fold all of Unicode":   {"/cart/chec\u212aout", "/cart/chec%E2%84%AAout"},
		"Node resolves it as a reference": {"//evil.test/me/orders", "///evil.test/me", "/%2fevil.test/me/orders"},
		"all of it at once":               {`/static/..;x%5cindex.php/%256de./orders`},
	} {
		for _, p := range paths {
			if got := levelOf(t, rs, http.MethodGet, p); got != Login {
				t.Errorf("%s: %s is %s", backend, p, got)
			}
		}
	}
}

// A line that lowers the level must hold for every reading: another one may be
// what the backend serves.
func TestNoSpellingGainsBypassOrPublic(t *testing.T) {
	rs := shopRules(t)
	for _, p := range []string{
		"/pos/../goods", "/pos/%2e%2e/goods", "/pos/..;/goods", `/pos/..\goods`, "/pos;/../goods", "/static/..%2fgoods",
		"/goods;.css", "/goods%3b.css", "/goods/x.css/..", "/pos%252f../goods",
		"/goods.php/x.css", "/goods%3fx.css", "/goods%253f/x.css", "/pay/notify%3f", "/pay/notify;x", "/static/..%20/goods",
	} {
		if got := levelOf(t, rs, http.MethodGet, p); got != Guest {
			t.Errorf("%s is %s", p, got)
		}
	}
}

// A rewrite may lead to a protected path, and a public path may be rewritten to
// a front controller.
func TestRewritesRaiseAndDoNotLower(t *testing.T) {
	rs := shopRules(t)
	for _, tc := range []struct {
		sent, rewritten string
		want            Level
	}{
		{"/account", "/me/orders", Login},
		{"/me/orders", "/index.php", Login},
		{"/goods", "/static/goods.html", Guest},
		{"/static/a.js", "/index.php", Public},
		{"/pay/notify", "/index.php", Bypass},
		{"/assets/a.js", "/index.php", Public},
		{"/goods", "/assets/a.js", Guest},
	} {
		r := sentRequest(t, http.MethodGet, tc.sent)
		sent := *r.URL
		r.URL.Path = tc.rewritten
		if got, err := rs.level(r, &sent, circumstances{}); err != nil || got != tc.want {
			t.Errorf("%s -> %s: %s, %v, want %s", tc.sent, tc.rewritten, got, err, tc.want)
		}
	}
}

// writes matches like Caddy's method matcher, api like its path_regexp: with
// regard to case.
func writes(r *http.Request) (bool, error) {
	return slices.Contains([]string{"POST", "PUT", "PATCH", "DELETE"}, r.Method), nil
}

func underMe(r *http.Request) (bool, error) {
	return strings.HasPrefix(r.URL.Path, "/Me/") || strings.HasPrefix(r.URL.Path, "/orders/"), nil
}

func failing(*http.Request) (bool, error) { return false, errors.New("broken matcher") }

func TestMatchersSeeEveryReading(t *testing.T) {
	rs := testRules(t, Rule{Level: Login, Match: underMe})
	for path, want := range map[string]Level{
		"/Me/x": Login, "/ORDERS/x": Login, "/orders%2fx": Login, "/Me;a/x": Login, "//Me/x": Login, "/%4de/x": Login, "/a/..%2fMe/x": Login, "/You/x": Guest,
	} {
		if got := levelOf(t, rs, http.MethodGet, path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	r := sentRequest(t, http.MethodGet, "/Me;a/x")
	sent := *r.URL
	if _, err := rs.level(r, &sent, circumstances{}); err != nil || *r.URL != sent {
		t.Errorf("the request was changed: %v, %v", r.URL, err)
	}
}

func TestMethodsAreReadAsBackendsDo(t *testing.T) {
	isGet := func(r *http.Request) (bool, error) { return r.Method == "GET", nil }
	raising := testRules(t, Rule{Level: Login, Match: writes})
	heads := testRules(t, Rule{Level: Login, Match: isGet})
	lowering := testRules(t, Rule{Level: Public, Match: isGet})
	for _, tc := range []struct {
		rs     *rules
		method string
		want   Level
	}{
		{raising, "GET", Guest}, {raising, "POST", Login}, {raising, "FOO", Login}, {raising, "post", Login},
		{heads, "HEAD", Login}, {lowering, "GET", Public}, {lowering, "HEAD", Guest}, {lowering, "FOO", Guest},
	} {
		if got := levelOf(t, tc.rs, tc.method, "/x"); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.method, got, tc.want)
		}
	}
}

// What a pattern says in two ways stands for both.
func TestPatternsHoldForTheirOwnReadings(t *testing.T) {
	rs := testRules(t,
		Rule{Level: Public, Paths: []string{"/docs/", "/index.php/help/*"}},
		Rule{Level: Bypass, Paths: []string{"/index.php/pay/notify"}},
		Rule{Level: Login, Paths: []string{"/ſecret/*", "*.doc"}})
	for path, want := range map[string]Level{
		"/docs/": Public, "/docs": Public, "/docs/x": Guest, "/index.php/help/x": Public, "/help/x": Public,
		"/index.php/pay/notify": Bypass, "/index.php/pay/notify/x": Guest,
		"/Secret/x": Login, "/SECRETS": Guest, "/a/b.DOC": Login, "/a.doc/b": Guest,
	} {
		if got := levelOf(t, rs, http.MethodGet, path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestKeptOverridesAreJudged(t *testing.T) {
	rs := testRules(t, Rule{Level: Login, Paths: []string{"/me/*"}}, Rule{Level: Login, Match: writes})
	s := stripperFor(t, HeaderNames{})
	for header, want := range map[string]Level{
		"X-Http-Method-Override: delete": Login, "X-Original-Url: /me/orders?x=1": Login, "X_Rewrite_Url: /x/..%2fme": Login,
		"X-Original-Url: /goods": Guest, "X-Http-Method: GET": Guest, "X-Http-Method: foo": Login, "X-Http-Method: GET, PUT": Login,
		"X-Original-Url: https://shop/me": Login, "X-Original-Url: //me/orders": Login, "X-Original-Url: me": Login,
		"X-Rewrite-Url: /%zz/../me": Login, "X-Forwarded-Prefix: /me": Guest, "X-Forwarded-For: /me": Guest,
	} {
		r := sentRequest(t, http.MethodGet, "/goods")
		name, value, _ := strings.Cut(header, ": ")
		r.Header[name] = []string{value}
		sent := *r.URL
		o, err := s.overridesOf(r.Header, true)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rs.level(r, &sent, circumstances{overrides: o}); err != nil || got != want {
			t.Errorf("%s: %s, %v", header, got, err)
		}
	}
}

// The shop that asked for X-Original-URL serves that path, so a request to a
// bypassed path is no way to it. A trusted proxy only reports what it saw.
func TestKeptOverridesLowerNothingElse(t *testing.T) {
	rs := shopRules(t)
	for _, tc := range []struct {
		path, original string
		keep           []string
		want           Level
	}{
		{"/pos/x", "/goods", []string{"X-Original-URL"}, Guest},
		{"/pos/x", "/me/orders", []string{"X-Original-URL"}, Login},
		{"/pos/x", "/pos/y", []string{"X-Original-URL"}, Bypass},
		{"/pay/notify", "/pay/notify?id=1", []string{"X-Original-URL"}, Bypass},
		{"/goods", "/pos/y", []string{"X-Original-URL"}, Guest},
		{"/pos/x", "/shop/pos/x", nil, Bypass},
		{"/goods", "/me/orders", nil, Login},
	} {
		s := stripperFor(t, HeaderNames{}, tc.keep...)
		r := sentRequest(t, http.MethodGet, tc.path)
		r.Header.Set("X-Original-URL", tc.original)
		sent := *r.URL
		o, err := s.overridesOf(r.Header, true)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := rs.level(r, &sent, circumstances{overrides: o}); err != nil || got != tc.want {
			t.Errorf("%s for %s, kept %v: %s, %v, want %s", tc.path, tc.original, tc.keep, got, err, tc.want)
		}
	}
	s := stripperFor(t, HeaderNames{}, "X-Original-URL")
	if _, err := s.overridesOf(http.Header{"X-Original-Url": {"/a%00"}}, false); !errors.Is(err, errPath) {
		t.Errorf("a control character: %v", err)
	}
}

func TestBrokenMatcherFailsClosed(t *testing.T) {
	for level, want := range map[Level]Level{Login: Login, Public: Guest, Bypass: Guest} {
		rs := testRules(t, Rule{Level: level, Match: failing})
		if got := levelOf(t, rs, http.MethodGet, "/x"); got != want {
			t.Errorf("%s: %s, want %s", level, got, want)
		}
	}
}

func TestUnusableLinesAreRefused(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"me", "begin with a slash"}, {"*", "begin with a slash"}, {"", "begin with a slash"}, {"/a*", "asterisk"}, {"/*/b", "asterisk"},
		{"/a?b", "query"}, {"/%E4", "percent-encoding"}, {"/a;b", "semicolon"}, {"*.", "extension"}, {"*.a/b", "extension"},
		{"//a", "double slash"}, {"/a\tb", "write the path"}, {"/a/../b", "segment"}, {"/a./b", "segment"}, {"/a /*", "segment"},
	} {
		if _, err := compileRules([]Rule{{Level: Login, Paths: []string{tc.path}}}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v", tc.path, err)
		}
	}
	if _, err := compileRules([]Rule{{Level: Bypass, Paths: []string{"/*"}}}); err == nil {
		t.Error("bypass /* is accepted")
	}
	if _, err := compileRules([]Rule{{Level: Public, Paths: []string{"/api.php/*"}}}); err == nil || !strings.Contains(err.Error(), "/api.php/*") {
		t.Errorf("a line that never applies: %v", err)
	}
	if _, err := compileRules([]Rule{{Level: Login}}); err == nil {
		t.Error("a line without paths and matcher is accepted")
	}
}

func BenchmarkLevel(b *testing.B) {
	rs := testRules(b,
		Rule{Level: Bypass, Paths: []string{"/pay/notify", "/pos/*", "/admin/*"}},
		Rule{Level: Public, Paths: []string{"/static/*", "/healthz"}},
		Rule{Level: Login, Paths: []string{"/api/me/*", "/cart/checkout"}})
	r := sentRequest(b, http.MethodGet, "/goods/Category/42")
	sent := *r.URL
	b.ReportAllocs()
	for b.Loop() {
		if l, err := rs.level(r, &sent, circumstances{}); l != Guest || err != nil {
			b.Fatal(l, err)
		}
	}
}

// Caddy's method matcher stands for any matcher here.
func BenchmarkLevelWithMatcher(b *testing.B) {
	rs := testRules(b, Rule{Level: Login, Match: writes}, Rule{Level: Login, Paths: []string{"/api/me/*"}})
	r := sentRequest(b, http.MethodGet, "/goods/category/42")
	sent := *r.URL
	b.ReportAllocs()
	for b.Loop() {
		if l, err := rs.level(r, &sent, circumstances{}); l != Guest || err != nil {
			b.Fatal(l, err)
		}
	}
}

func BenchmarkLevelOfChinesePath(b *testing.B) {
	rs := shopRules(b)
	r := sentRequest(b, http.MethodGet, "/goods/%E5%95%86%E5%93%81/42")
	sent := *r.URL
	b.ReportAllocs()
	for b.Loop() {
		if l, err := rs.level(r, &sent, circumstances{}); l != Guest || err != nil {
			b.Fatal(l, err)
		}
	}
}
