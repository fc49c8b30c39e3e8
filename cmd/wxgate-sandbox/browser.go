package main

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const (
	platformPrefix = "/connect/"           // the platform's pages, which the browser would open at another host
	newPhonePath   = "/.sandbox/new-phone" // forgets all cookies
)

// browser makes any browser that opens its address look like WeChat's: it
// forwards to the gateway, and the platform's pages to the sandbox WeChat, with
// the User-Agent of WeChat, and rewrites what names either of them, so that
// the visitor never leaves its address.
//
// Each person has a phone of his own, so cookies are kept apart by putting the
// person's name before theirs.
//
// A web-view of a mini program is such a browser too, with cookies of its own.
// On a phone it fills the screen; here it is a frame, which neither the gateway
// nor the shop may notice, since both refuse to be framed.
type browser struct {
	holder  func() string // who uses the browser
	agent   string        // User-Agent
	webView bool
	self    *url.URL // what stands in the address bar
	gateway *url.URL
	wechat  *url.URL
	proxy   *httputil.ReverseProxy
}

// newBrowser returns WeChat's browser.
func newBrowser(o options, holder func() string) *browser {
	b := &browser{
		holder:  holder,
		agent:   wechattest.IPhoneUserAgent,
		self:    &url.URL{Scheme: "http", Host: o.browser},
		gateway: o.external,
		wechat:  &url.URL{Scheme: "http", Host: o.wechat},
	}
	b.proxy = &httputil.ReverseProxy{Rewrite: b.rewrite, ModifyResponse: b.keepHere, ErrorHandler: unreachable}
	return b
}

// newWebView returns the web-view of the mini program.
func newWebView(o options, holder func() string) *browser {
	b := newBrowser(o, holder)
	b.agent += " miniProgram/" + miniID
	b.webView = true
	b.self = o.webViewURL()
	return b
}

// ServeHTTP forwards one request.
func (b *browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == newPhonePath {
		b.forgetCookies(w, r)
		return
	}
	b.proxy.ServeHTTP(w, r)
}

// rewrite makes a request look as if it had been sent to its target directly.
// X-Forwarded-* and Forwarded are gone before it is called.
func (b *browser) rewrite(r *httputil.ProxyRequest) {
	target := b.gateway
	r.Out.Header.Del("Cookie")
	if strings.HasPrefix(r.In.URL.Path, platformPrefix) {
		target = b.wechat // which never sees the shop's cookies
	} else if cookies := b.cookies(r.In); len(cookies) > 0 {
		r.Out.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery // as sent, also where it cannot be parsed
	r.Out.Host = target.Host
	r.Out.Header.Set("User-Agent", b.agent)
	if b.webView && r.In.Header.Get("Sec-Fetch-Dest") == "iframe" {
		r.Out.Header.Set("Sec-Fetch-Dest", "document")
		if r.In.Header.Get("Sec-Fetch-Site") == "same-site" { // the mini program has opened it
			r.Out.Header.Set("Sec-Fetch-Site", "none")
		}
	}
	for _, name := range []string{"Origin", "Referer"} {
		if value, ok := moved(r.In.Header.Get(name), b.self, target); ok {
			r.Out.Header.Set(name, value)
		}
	}
}

// cookiePrefix stands before the names of the holder's cookies.
func (b *browser) cookiePrefix() string {
	if b.webView {
		return "web-view." + b.holder() + "."
	}
	return b.holder() + "."
}

// cookies returns the holder's cookies as the gateway gave them out.
func (b *browser) cookies(r *http.Request) []string {
	var own []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if pair, ok := strings.CutPrefix(strings.TrimSpace(pair), b.cookiePrefix()); ok {
				own = append(own, pair)
			}
		}
	}
	return own
}

// keepHere makes redirects to the gateway and to the platform's pages lead
// back to the browser's address, and cookies the holder's.
func (b *browser) keepHere(answer *http.Response) error {
	for i, cookie := range answer.Header["Set-Cookie"] {
		answer.Header["Set-Cookie"][i] = b.cookiePrefix() + cookie
	}
	if b.webView {
		answer.Header.Del("X-Frame-Options")
		for i, policy := range answer.Header["Content-Security-Policy"] {
			answer.Header["Content-Security-Policy"][i] = noFrames.ReplaceAllString(policy, "")
		}
	}
	location := answer.Header.Get("Location")
	if value, ok := moved(location, b.gateway, b.self); ok {
		answer.Header.Set("Location", value)
	} else if value, ok := moved(location, b.wechat, b.self); ok && strings.HasPrefix(location, b.wechat.String()+platformPrefix) {
		answer.Header.Set("Location", value)
	}
	return nil
}

// noFrames is what forbids a page to be framed.
var noFrames = regexp.MustCompile(`frame-ancestors [^;]*(; *)?`)

// moved puts another origin in place of from, if value is a URL of that
// origin, and leaves the rest byte for byte.
func moved(value string, from, to *url.URL) (string, bool) {
	rest, ok := strings.CutPrefix(value, from.String())
	if !ok || rest != "" && !strings.ContainsAny(rest[:1], "/?#") {
		return "", false
	}
	return to.String() + rest, true
}

// forgetCookies gives the holder a new phone and begins at the first page.
func (b *browser) forgetCookies(w http.ResponseWriter, r *http.Request) {
	for _, pair := range b.cookies(r) {
		name, _, _ := strings.Cut(pair, "=")
		http.SetCookie(w, &http.Cookie{Name: b.cookiePrefix() + name, Path: "/", MaxAge: -1})
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func unreachable(w http.ResponseWriter, r *http.Request, err error) {
	http.Error(w, "WeChat's browser cannot reach its target: "+err.Error(), http.StatusBadGateway)
}
