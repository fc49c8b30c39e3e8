package simulator_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/cmd/wxgate-sandbox/simulator"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// world is a phone with a gateway that records what reaches it.
type world struct {
	*httptest.Server
	last   *http.Request
	body   string
	holder wechattest.Person
}

func newWorld(t *testing.T, program fstest.MapFS) *world {
	t.Helper()
	w := &world{holder: wechattest.Person{Name: "li", Nickname: "李雷", Phone: "13800138001"}}
	gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.last, w.body = r, string(body)
		rw.Header().Set("Set-Cookie", "a=b")
		rw.Header().Set("X-Wxgate-Session", "token")
		rw.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(gateway.Close)
	taps := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, "tapped "+r.URL.Path) })
	phone, err := simulator.New(simulator.Config{
		AppID: "wx2", Program: program, Client: []byte("exports.client = 1"),
		Gateway: mustParse(t, gateway.URL), WebView: mustParse(t, "http://localhost:8083"),
		Taps: taps, Holder: func() wechattest.Person { return w.holder },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = httptest.NewServer(phone)
	t.Cleanup(w.Close)
	return w
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func smallProgram() fstest.MapFS {
	return fstest.MapFS{
		"app.json":          {Data: []byte(`{"pages":["pages/a/a"]}`)},
		"app.js":            {Data: []byte("App({})")},
		"app.wxss":          {Data: []byte("page { color: red }")},
		"pages/a/a.js":      {Data: []byte(`Page({ text: "</script>" })`)},
		"pages/a/a.wxml":    {Data: []byte("<view>\"你好\"</view>")},
		"pages/a/a.wxss":    {Data: []byte(".a { color: green }")},
		"pages/a/README.md": {Data: []byte("not code")},
	}
}

func (w *world) do(t *testing.T, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func TestRequestLeavesThePhoneAsWeChatSendsIt(t *testing.T) {
	w := newWorld(t, smallProgram())
	answer, _ := w.do(t, http.MethodPost, "/network/a%2Fb;x?q=%zz;1&%E8%8C%B6", `{"n":1}`, http.Header{
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"},
		"Authorization":   {"Wxgate token"},
		"Content-Type":    {"application/json"},
		"Cookie":          {"wxgate=another"},
		"Origin":          {w.URL},
		"Sec-Fetch-Site":  {"same-origin"},
		"Sec-Fetch-Mode":  {"cors"},
		"Sec-Fetch-Dest":  {"empty"},
		"Referer":         {w.URL + "/"},
		"X-Forwarded-For": {"203.0.113.9"},
	})
	got := map[string]string{"target": w.last.RequestURI, "Host": w.last.Host, "body": w.body}
	want := map[string]string{
		"target": "/a%2Fb;x?q=%zz;1&%E8%8C%B6", "Host": w.last.Host, "body": `{"n":1}`,
		"Authorization": "Wxgate token", "Content-Type": "application/json",
		"User-Agent": wechattest.IPhoneUserAgent,
		"Referer":    "https://servicewechat.com/wx2/0/page-frame.html",
		"Cookie":     "", "Origin": "", "Sec-Fetch-Site": "", "Sec-Fetch-Mode": "", "Sec-Fetch-Dest": "", "X-Forwarded-For": "",
	}
	for name := range want {
		if name != "target" && name != "Host" && name != "body" {
			got[name] = w.last.Header.Get(name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request at the gateway (-want +got):\n%s", diff)
	}
	if w.last.Host == strings.TrimPrefix(w.URL, "http://") {
		t.Error("the gateway is asked for under the phone's address")
	}
	if answer.StatusCode != http.StatusTeapot || answer.Header.Get("X-Wxgate-Session") != "token" {
		t.Errorf("answer %s %v", answer.Status, answer.Header)
	}
	if cookie := answer.Header.Get("Set-Cookie"); cookie != "" {
		t.Errorf("the phone kept the cookie %q", cookie)
	}
}

func TestOtherSitesCannotUseThePhone(t *testing.T) {
	w := newWorld(t, smallProgram())
	for _, path := range []string{"/network/cart", "/mini/wx/login"} {
		answer, _ := w.do(t, http.MethodPost, path, "{}", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}})
		if answer.StatusCode != http.StatusForbidden || w.last != nil {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	if _, text := w.do(t, http.MethodPost, "/mini/wx/login", "{}", nil); text != "tapped /mini/wx/login" {
		t.Errorf("the phone's own tap was answered %q", text)
	}
}

func TestPageIsOfWhoHoldsThePhone(t *testing.T) {
	w := newWorld(t, smallProgram())
	w.holder = wechattest.Person{Name: "zhao", Nickname: `<b>"赵"`}
	answer, text := w.do(t, http.MethodGet, "/", "", nil)
	for _, part := range []string{
		`data-appid="wx2"`, `data-domain="` + simulator.Domain + `"`, `data-webview="http://localhost:8083"`, `data-person="zhao"`,
		"&lt;b&gt;&#34;赵&#34;", "没有绑定手机号",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page has no %s", part)
		}
	}
	if csp := answer.Header.Get("Content-Security-Policy"); csp != "default-src 'self'; frame-src http://localhost:8083; frame-ancestors 'none'" {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	if _, holder := w.do(t, http.MethodGet, "/holder", "", nil); holder != "zhao" {
		t.Errorf("holder %q", holder)
	}
	for _, file := range []string{"phone.css", "phone.js", "wx.js", "library.js"} {
		if answer, _ := w.do(t, http.MethodGet, "/"+file, "", nil); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", file, answer.Status)
		}
	}
}

func TestMiniProgramIsOneScriptThatStartsLast(t *testing.T) {
	w := newWorld(t, smallProgram())
	_, script := w.do(t, http.MethodGet, "/program.js", "", nil)
	at := -1
	for _, part := range []string{
		`define("@wxgate/miniprogram", function (require, module, exports) {` + "\n\"use strict\";\nexports.client = 1\n});",
		`define("app", function`, `define("pages/a/a", function`,
		`template("pages/a/a", "\u003cview\u003e\"你好\"\u003c/view\u003e");`, `launch({"pages":["pages/a/a"]});`,
	} {
		i := strings.Index(script, part)
		if i <= at {
			t.Errorf("%s is not in its place in:\n%s", part, script)
		}
		at = i
	}
	if _, style := w.do(t, http.MethodGet, "/program.css", "", nil); style != "page { color: red }.a { color: green }" {
		t.Errorf("style %q", style)
	}
}

func TestWhatIsNoMiniProgramIsRefused(t *testing.T) {
	for name, program := range map[string]fstest.MapFS{
		"without app.json": {"app.js": {Data: []byte("App({})")}},
		"broken app.json":  {"app.json": {Data: []byte("{")}},
	} {
		_, err := simulator.New(simulator.Config{Program: program})
		if err == nil || !strings.Contains(err.Error(), "app.json") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
