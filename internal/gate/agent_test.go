package gate

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

const (
	uaWeChat  = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.31(0x18001f2f) NetType/WIFI Language/zh_CN"
	uaChrome  = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36"
	uaDesktop = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)

func TestAgents(t *testing.T) {
	for ua, want := range map[string]agent{
		uaWeChat: {wechat: true},
		uaChrome: {mobile: true},
		"Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1": {},
		uaDesktop: {},
		"Mozilla/5.0 (Linux; Android 10; ONEPLUS A5000 Build/QKQ1.191014.012; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/111.0.5563.116 Mobile Safari/537.36 XWEB/1110005 MMWEBSDK/20230805 MMWEBID/4650 MicroMessenger/8.0.42.2460(0x28002A58) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN ABI/arm64": {wechat: true},
		uaWeChat + " miniProgram/wx2222222222222222": {wechat: true},
		uaWeChat + " miniProgram":                    {wechat: true},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) UnifiedPCWindowsWechat(0xf254162e) XWEB/18163 Flue":                                                                     {wechat: true},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 MicroMessenger/7.0.20.1781(0x6700143B) NetType/WIFI MiniProgramEnv/Windows WindowsWechat/WMPF WindowsWechat(0x63090a13) UnifiedPCWindowsWechat(0xf254162e) XWEB/19895 miniProgram/wx2222222222222222": {wechat: true},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) MicroMessenger/6.8.0(0x16080000) MacWechat/3.3(0x13030013) NetType/WIFI WindowsWechat":                                                                                                                                       {wechat: true},
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) MicroMessenger/6.8.0(0x16080000) NetType/WIFI MiniProgramEnv/Mac MacWechat/WMPF MacWechat/3.8.7(0x13080710) UnifiedPCMacWechat(0xf2640619) XWEB/13639":                                                                                                                {wechat: true},
		strings.ToLower(uaWeChat): {wechat: true},
		"Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 wxwork/3.1.16 MicroMessenger/7.0.1 Language/zh": {mobile: true},
		"Mozilla/5.0 WXWORK/3.1.16 micromessenger/7.0.1 Language/zh":                          {},
		"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)": {bot: true},
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":            {bot: true},
		"Mozilla/5.0 (Linux; Android 9; CUBOT_X18) Chrome/80":                                 {},
		"Mozilla/5.0 (Linux; Android 9; CUBOT NOTE) Chrome/80":                                {},
		"Yahoo! Slurp": {bot: true}, "": {},
	} {
		if got := classify(ua); got != want {
			t.Errorf("%s: %+v", ua, got)
		}
	}
}

// with builds a request from "Name: value" lines.
func with(method string, lines ...string) *http.Request {
	r := httptest.NewRequest(method, "http://shop.test/x", nil)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	return r
}

const (
	acceptPage = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	navigate   = "Sec-Fetch-Mode: navigate"
	document   = "Sec-Fetch-Dest: document"
)

func TestNavigations(t *testing.T) {
	for _, tc := range []struct {
		name       string
		r          *http.Request
		navigation bool
		page       bool
	}{
		{"a page", with("GET", navigate, document, acceptPage), true, true},
		{"a page without Sec-Fetch", with("GET", acceptPage), true, true},
		{"a page in an Android WebView", with("GET", acceptPage, "X-Requested-With: com.tencent.mm"), true, true},
		{"HEAD of a page", with("HEAD", acceptPage), true, true},
		{"a form", with("POST", navigate, document, acceptPage), false, true},
		{"a form without Sec-Fetch", with("POST", acceptPage), false, true},
		{"a frame", with("GET", navigate, "Sec-Fetch-Dest: iframe", acceptPage), false, true},
		{"a fetch", with("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Accept: */*"), false, false},
		{"a fetch that asks for HTML", with("GET", "Sec-Fetch-Mode: cors", "Accept: text/html"), false, false},
		{"an XMLHttpRequest", with("GET", acceptPage, "X-Requested-With: XMLHttpRequest"), false, false},
		{"jQuery for JSON", with("GET", "Accept: application/json, text/javascript, */*; q=0.01"), false, false},
		{"JSON preferred to HTML", with("GET", "Accept: application/json, text/html;q=0.5"), false, false},
		{"HTML not wanted", with("GET", "Accept: text/html;q=0, */*"), false, false},
		{"curl", with("GET", "Accept: */*"), false, false},
		{"an image", with("GET", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), false, false},
		{"a page in Chromium 78", with("GET", navigate, "Sec-Fetch-Site: none", acceptPage), true, true},
		{"a frame in Chromium 78", with("GET", "Sec-Fetch-Mode: nested-navigate", acceptPage), false, false},
		{"an image without a mode", with("GET", "Sec-Fetch-Dest: image", acceptPage), false, false},
		{"Safari of old", with("GET", "Accept: application/xml,application/xhtml+xml,text/html;q=0.9,text/plain;q=0.8,image/png,*/*;q=0.5"), true, true},
		{"Internet Explorer's page", with("GET", "Accept: text/html, application/xhtml+xml, */*"), true, true},
		{"anything before HTML", with("GET", "Accept: */*, text/html;q=0.5"), false, false},
		{"weights that are none", with("GET", "Accept: text/html;q=NaN, */*;q=-1"), false, false},
		{"upper case", with("GET", "Accept: TEXT/HTML;Q=1, application/json;Q=0.1"), true, true},
	} {
		if got := isNavigation(tc.r); got != tc.navigation {
			t.Errorf("%s: navigation %v", tc.name, got)
		}
		if got := wantsPage(tc.r); got != tc.page {
			t.Errorf("%s: page %v", tc.name, got)
		}
	}
}

func TestPrefetchesAndPreflights(t *testing.T) {
	for _, h := range []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch"} {
		if !isPrefetch(with("GET", h)) {
			t.Errorf("%s is no prefetch", h)
		}
	}
	if isPrefetch(with("GET", acceptPage)) {
		t.Error("a page is a prefetch")
	}
	if !isPreflight(with("OPTIONS", "Origin: https://a", "Access-Control-Request-Method: POST")) || isPreflight(with("OPTIONS", "Origin: https://a")) {
		t.Error("preflights are not told apart")
	}
}

// Whoever gets a new id loses the one he had: only requests that carry every
// cookie there is may be given one.
func TestWhoMayBeGivenAnID(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"typed address", with("GET", navigate, document, "Sec-Fetch-Site: none"), true},
		{"link of the shop", with("GET", navigate, document, "Sec-Fetch-Site: same-origin"), true},
		{"link of a search engine", with("GET", navigate, document, "Sec-Fetch-Site: cross-site", "Sec-Fetch-User: ?1"), true},
		{"another site's script opens a page", with("GET", navigate, document, "Sec-Fetch-Site: cross-site"), false},
		{"payment page posts back", with("POST", navigate, document, "Sec-Fetch-Site: cross-site", "Sec-Fetch-User: ?1"), false},
		{"old browser opens a page", with("GET", acceptPage), true},
		{"the shop's script", with("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-origin"), true},
		{"another site's script", with("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: cross-site"), false},
		{"an image", with("GET", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Sec-Fetch-Site: same-origin"), false},
		{"HEAD of a page", with("HEAD", navigate, document, "Sec-Fetch-Site: none"), false},
		{"another host of the shop's", with("GET", navigate, document, "Sec-Fetch-Site: same-site"), true},
		{"a frame on another site", with("GET", navigate, "Sec-Fetch-Dest: iframe", "Sec-Fetch-Site: cross-site"), false},
		{"a module script", with("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: script", "Sec-Fetch-Site: same-origin"), false},
		{"another host's script", with("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", "Sec-Fetch-Site: same-site"), false},
		{"a stylesheet", with("GET", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: style", "Sec-Fetch-Site: same-origin"), false},
		{"old browser's script", with("GET", "Accept: application/json", "Referer: http://shop.test/"), true},
		{"old browser's script elsewhere", with("GET", "Accept: application/json", "Referer: http://evil.test/"), false},
		{"old browser's image", with("GET", "Accept: image/webp,*/*", "Referer: http://shop.test/"), false},
	} {
		if got := mayMint(tc.r); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}

func FuzzNavigation(f *testing.F) {
	f.Add("GET", "text/html;q=0.5, application/json", "")
	f.Add("POST", "*/*", "navigate")
	f.Fuzz(func(t *testing.T, method, accept, mode string) {
		r := &http.Request{Method: method, Header: http.Header{"Accept": {accept}, "Sec-Fetch-Mode": {mode}}, URL: &url.URL{Path: "/"}}
		if isNavigation(r) && !wantsPage(r) {
			t.Errorf("%s %q %q is a navigation that wants no page", method, accept, mode)
		}
		if mayMint(r) && method != http.MethodGet {
			t.Errorf("%s may be given an id", method)
		}
	})
}

func BenchmarkClassify(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !classify(uaWeChat).wechat {
			b.Fatal("not WeChat")
		}
	}
}

func BenchmarkIsNavigation(b *testing.B) {
	r := with("GET", acceptPage)
	b.ReportAllocs()
	for b.Loop() {
		if !isNavigation(r) {
			b.Fatal("no navigation")
		}
	}
}
