package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// phone is WeChat's browser in front of a gateway and a platform that record
// what reaches them.
type phone struct {
	*httptest.Server
	gateway, wechat *httptest.Server
	holder          string
	last            *http.Request    // what reached the gateway or the platform
	answer          http.HandlerFunc // of both; nil answers 200
}

func newPhone(t *testing.T) *phone {
	t.Helper()
	p := &phone{holder: "li"}
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.last = r
		if p.answer != nil {
			p.answer(w, r)
		}
	})
	p.gateway, p.wechat = httptest.NewServer(record), httptest.NewServer(record)
	t.Cleanup(p.gateway.Close)
	t.Cleanup(p.wechat.Close)
	p.Server = httptest.NewUnstartedServer(nil)
	external, err := url.Parse(p.gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.Config.Handler = newBrowser(options{
		external: external,
		wechat:   p.wechat.Listener.Addr().String(),
		browser:  p.Listener.Addr().String(),
	}, func() string { return p.holder })
	p.Start()
	t.Cleanup(p.Close)
	return p
}

// get sends a request and follows no redirect.
func (p *phone) get(t *testing.T, path string, header http.Header) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func TestGatewaySeesWeChatsBrowserAtItsOwnAddress(t *testing.T) {
	p := newPhone(t)
	p.get(t, "/a%2Fb;x?q=%zz;1&%E8%8C%B6", http.Header{
		"User-Agent":        {"Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"},
		"Origin":            {p.URL},
		"Referer":           {p.URL + "/cart?n=1"},
		"X-Forwarded-For":   {"203.0.113.9"},
		"X-Forwarded-Host":  {"shop.example.com"},
		"X-Forwarded-Proto": {"https"},
		"Forwarded":         {"for=203.0.113.9"},
		"Sec-Fetch-Site":    {"same-origin"},
	})
	want := map[string]string{
		"target":            "/a%2Fb;x?q=%zz;1&%E8%8C%B6",
		"Host":              p.gateway.Listener.Addr().String(),
		"User-Agent":        wechattest.IPhoneUserAgent,
		"Origin":            p.gateway.URL,
		"Referer":           p.gateway.URL + "/cart?n=1",
		"X-Forwarded-For":   "",
		"X-Forwarded-Host":  "",
		"X-Forwarded-Proto": "",
		"Forwarded":         "",
		"Sec-Fetch-Site":    "same-origin",
	}
	got := map[string]string{"target": p.last.RequestURI, "Host": p.last.Host}
	for name := range want {
		if name != "target" && name != "Host" {
			got[name] = p.last.Header.Get(name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request at the gateway (-want +got):\n%s", diff)
	}
}

func TestForeignOriginStaysForeign(t *testing.T) {
	p := newPhone(t)
	for _, origin := range []string{"https://evil.example", p.URL + "0", p.URL + ".evil.example", "null"} {
		p.get(t, "/", http.Header{"Origin": {origin}})
		if got := p.last.Header.Get("Origin"); got != origin {
			t.Errorf("Origin %q became %q", origin, got)
		}
	}
}

func TestRedirectsStayAtTheBrowsersAddress(t *testing.T) {
	p := newPhone(t)
	for name, c := range map[string]struct{ from, want string }{
		"gateway":                {p.gateway.URL + "/cart?a=1#b", p.URL + "/cart?a=1#b"},
		"gateway without a path": {p.gateway.URL, p.URL},
		"platform page":          {p.wechat.URL + "/connect/oauth2/authorize?x=1#wechat_redirect", p.URL + "/connect/oauth2/authorize?x=1#wechat_redirect"},
		"platform, other page":   {p.wechat.URL + "/", p.wechat.URL + "/"},
		"relative":               {"/me/orders?x=%20", "/me/orders?x=%20"},
		"elsewhere":              {"https://pay.example.com/?back=" + p.gateway.URL, "https://pay.example.com/?back=" + p.gateway.URL},
		"longer port":            {p.gateway.URL + "0/", p.gateway.URL + "0/"},
	} {
		t.Run(name, func(t *testing.T) {
			p.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", c.from)
				w.WriteHeader(http.StatusFound)
			}
			if got := p.get(t, "/", nil).Header.Get("Location"); got != c.want {
				t.Errorf("Location = %q, want %q", got, c.want)
			}
		})
	}
}

func TestPlatformPagesComeFromTheSandboxWithoutTheShopsCookies(t *testing.T) {
	p := newPhone(t)
	p.get(t, "/connect/oauth2/authorize?appid=x", http.Header{"Cookie": {"li.wxgate=secret; other=1"}})
	if p.last.Host != p.wechat.Listener.Addr().String() {
		t.Errorf("answered by %s, want the platform", p.last.Host)
	}
	if got := p.last.Header.Get("Cookie"); got != "" {
		t.Errorf("the platform got the cookies %q", got)
	}
	if got := p.last.Header.Get("User-Agent"); got != wechattest.IPhoneUserAgent {
		t.Errorf("User-Agent = %q", got)
	}
}

func TestEachPersonHasCookiesOfHisOwn(t *testing.T) {
	p := newPhone(t)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "wxgate=abc=; Path=/; HttpOnly")
		w.Header().Add("Set-Cookie", "lang=zh")
	}
	set := p.get(t, "/", nil).Header["Set-Cookie"]
	if diff := cmp.Diff([]string{"li.wxgate=abc=; Path=/; HttpOnly", "li.lang=zh"}, set); diff != "" {
		t.Errorf("Set-Cookie (-want +got):\n%s", diff)
	}

	both := http.Header{"Cookie": {"li.wxgate=abc=; han.wxgate=xyz; li.lang=zh; stray=1"}}
	for holder, want := range map[string]string{"li": "wxgate=abc=; lang=zh", "han": "wxgate=xyz", "wang": ""} {
		p.holder = holder
		p.get(t, "/", both)
		if got := p.last.Header.Get("Cookie"); got != want {
			t.Errorf("cookies of %s at the gateway = %q, want %q", holder, got, want)
		}
	}
}

func TestNewPhoneForgetsTheHoldersCookiesOnly(t *testing.T) {
	p := newPhone(t)
	resp := p.get(t, newPhonePath, http.Header{"Cookie": {"li.wxgate=abc; han.wxgate=xyz"}})
	if diff := cmp.Diff([]string{"li.wxgate=; Path=/; Max-Age=0"}, resp.Header["Set-Cookie"]); diff != "" {
		t.Errorf("Set-Cookie (-want +got):\n%s", diff)
	}
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" {
		t.Errorf("answer %d to %q, want 303 to /", resp.StatusCode, resp.Header.Get("Location"))
	}
	if p.last != nil {
		t.Error("the gateway was asked")
	}
}

func TestUploadReachesTheGatewayBeforeItsEnd(t *testing.T) {
	p := newPhone(t)
	arrived := make(chan string)
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		buffer := make([]byte, len("first"))
		io.ReadFull(r.Body, buffer)
		arrived <- string(buffer)
		io.Copy(io.Discard, r.Body)
	}
	body, send := io.Pipe()
	go func() {
		defer send.Close()
		io.WriteString(send, "first")
		if got := <-arrived; got != "first" {
			t.Errorf("the gateway got %q", got)
		}
		io.WriteString(send, "second")
	}()
	resp, err := http.Post(p.URL+"/upload", "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAnswerReachesTheVisitorBeforeItsEnd(t *testing.T) {
	p := newPhone(t)
	seen := make(chan struct{})
	p.answer = func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first")
		http.NewResponseController(w).Flush()
		<-seen
		io.WriteString(w, "second")
	}
	resp, err := http.Get(p.URL + "/download")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("first"))
	io.ReadFull(resp.Body, first)
	close(seen)
	rest, _ := io.ReadAll(resp.Body)
	if got := string(first) + "|" + string(rest); got != "first|second" {
		t.Errorf("got %q", got)
	}
}

func TestUnreachableGatewayIsSaid(t *testing.T) {
	p := newPhone(t)
	p.gateway.Close()
	resp, err := http.Get(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), "cannot reach") {
		t.Errorf("answer %d %q", resp.StatusCode, text)
	}
}

// newWebViewPhone is the web-view of a mini program in place of the browser.
func newWebViewPhone(t *testing.T) *phone {
	p := newPhone(t)
	browser := p.Config.Handler.(*browser)
	p.Config.Handler = newWebView(options{
		external: browser.gateway, wechat: browser.wechat.Host, webView: browser.self.Host,
	}, browser.holder)
	return p
}

func TestWebViewLooksLikeTheOneOfAMiniProgram(t *testing.T) {
	p := newWebViewPhone(t)
	for name, c := range map[string]struct{ dest, site, wantDest, wantSite string }{
		"opened by the mini program": {"iframe", "same-site", "document", "none"},
		"a link of a page":           {"iframe", "same-origin", "document", "same-origin"},
		"a way back from elsewhere":  {"iframe", "cross-site", "document", "cross-site"},
		"an image":                   {"image", "same-origin", "image", "same-origin"},
		"a script of another origin": {"empty", "same-site", "empty", "same-site"},
		"a browser that says it not": {"", "", "", ""},
	} {
		header := http.Header{}
		if c.dest != "" {
			header = http.Header{"Sec-Fetch-Dest": {c.dest}, "Sec-Fetch-Site": {c.site}}
		}
		p.get(t, "/", header)
		got := []string{p.last.Header.Get("Sec-Fetch-Dest"), p.last.Header.Get("Sec-Fetch-Site"), p.last.UserAgent()}
		want := []string{c.wantDest, c.wantSite, wechattest.IPhoneUserAgent + " miniProgram/" + miniID}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWebViewIsAFrameWithCookiesOfItsOwn(t *testing.T) {
	p := newWebViewPhone(t)
	p.answer = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "DENY")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; form-action 'self'")
		w.Header().Set("Set-Cookie", "wxgate=w; Path=/")
	}
	answer := p.get(t, "/", http.Header{"Cookie": {"li.wxgate=browser; web-view.li.wxgate=own; web-view.han.wxgate=other"}})
	if got := p.last.Header.Get("Cookie"); got != "wxgate=own" {
		t.Errorf("cookies %q, want those of the web-view of who holds the phone", got)
	}
	if got := answer.Header.Get("Set-Cookie"); got != "web-view.li.wxgate=w; Path=/" {
		t.Errorf("Set-Cookie %q", got)
	}
	csp := answer.Header.Get("Content-Security-Policy")
	if answer.Header.Get("X-Frame-Options") != "" || csp != "default-src 'self'; form-action 'self'" {
		t.Errorf("the frame is refused: %v", answer.Header)
	}
}
