package wechattest

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// User-Agents as WeChat's clients send them.
const (
	AndroidUserAgent     = "Mozilla/5.0 (Linux; Android 10; ONEPLUS A5000 Build/QKQ1.191014.012; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/111.0.5563.116 Mobile Safari/537.36 XWEB/1110005 MMWEBSDK/20230805 MMWEBID/4650 MicroMessenger/8.0.42.2460(0x28002A58) WeChat/arm64 Weixin NetType/WIFI Language/zh_CN ABI/arm64"
	IPhoneUserAgent      = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.31(0x18001f2f) NetType/WIFI Language/zh_CN"
	WindowsUserAgent     = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36 NetType/WIFI MicroMessenger/7.0.20.1781(0x6700143B) WindowsWechat(0x63090a13) UnifiedPCWindowsWechat(0xf254162e) XWEB/18163 Flue"
	WeComUserAgent       = "Mozilla/5.0 (iPhone; CPU iPhone OS 15_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 wxwork/3.1.16 MicroMessenger/7.0.1 Language/zh"
	OrdinaryUserAgent    = "Mozilla/5.0 (X11; Linux x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/132.0.0.0 Safari/537.36"
	navigationAcceptText = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
)

// Transport makes an http.Client look like WeChat's browser: it sets
// User-Agent and the Accept of a navigation where the request has none, and
// names the person where the path is one of the platform's pages, whoever the
// host is.
type Transport struct {
	Person    string            // who uses the browser; empty means who holds the phone
	UserAgent string            // empty means AndroidUserAgent
	Base      http.RoundTripper // nil means http.DefaultTransport
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Header.Get("User-Agent") == "" {
		agent := t.UserAgent
		if agent == "" {
			agent = AndroidUserAgent
		}
		r.Header.Set("User-Agent", agent)
	}
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", navigationAcceptText)
	}
	if t.Person != "" && strings.HasPrefix(r.URL.Path, pagesPrefix) {
		r.Header.Set(PersonHeader, url.QueryEscape(t.Person))
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r)
}

// NewBrowser returns a WeChat browser that person uses, with no cookies yet.
// It follows redirects.
func NewBrowser(person string) *http.Client {
	jar, _ := cookiejar.New(nil) // never an error without options
	return &http.Client{Jar: jar, Transport: &Transport{Person: person}}
}

// inWeChat reports whether a User-Agent is WeChat's own browser; WeCom's has
// no official-account OAuth.
func inWeChat(userAgent string) bool {
	agent := strings.ToLower(userAgent)
	return strings.Contains(agent, "micromessenger") && !strings.Contains(agent, "wxwork")
}
