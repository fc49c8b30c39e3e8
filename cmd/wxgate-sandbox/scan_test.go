package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestQRCodeIsScannedInWeChatsBrowser shows a QR code at the platform's address
// and follows its link, to where the phone is.
func TestQRCodeIsScannedInWeChatsBrowser(t *testing.T) {
	platform, phone := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	external := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}
	o := options{external: external, wechat: platform.Listener.Addr().String(), browser: phone.Listener.Addr().String()}
	wechat := newPlatform(o)
	platform.Config.Handler, phone.Config.Handler = wechat, newBrowser(o, wechat.Held)
	for _, s := range []*httptest.Server{platform, phone} {
		s.Start()
		t.Cleanup(s.Close)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(url string) (page, location string) {
		t.Helper()
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body), resp.Header.Get("Location")
	}
	find := func(page, pattern string) string {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(page)
		if found == nil {
			t.Fatalf("no %s in\n%s", pattern, page)
		}
		return strings.ReplaceAll(found[1], "&amp;", "&")
	}
	callback := external.String() + "/wxgate/callback/" + websiteID
	code, _ := get(platform.URL + "/connect/qrconnect?appid=" + websiteID + "&redirect_uri=" + url.QueryEscape(callback) +
		"&response_type=code&scope=snsapi_login&state=S")
	link := find(code, `href="([^"]+)"`)
	if !strings.HasPrefix(link, phone.URL+"/connect/confirm?uuid=") {
		t.Fatalf("the QR code leads to %s", link)
	}
	asked, _ := get(link)
	resp, err := client.PostForm(phone.URL+"/connect/confirm", url.Values{"ticket": {find(asked, `name="ticket" value="([^"]+)"`)}, "decision": {"accept"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, to := get(platform.URL + find(code, `content="1;url=([^"]+)"`)); !strings.HasPrefix(to, callback+"?code=") {
		t.Errorf("after the scan the computer is sent to %q", to)
	}
}
