package gate

import (
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func hashed(c *Config) { c.HashRoutes = true }

// firstPage is the first visit of a browser, and where the script of its page
// leads from there.
func firstPage(b *browser, path, fragment string) (to string) {
	b.rg.t.Helper()
	got := b.get(path)
	_, rest, found := strings.Cut(got.body, `data-to="`)
	to, _, _ = strings.Cut(rest, `"`)
	if !found || got.StatusCode != http.StatusOK || got.Header.Get("Cache-Control") != "private, no-store" || b.rg.reached() != 0 {
		b.rg.t.Fatalf("%d %v\n%s", got.StatusCode, got.Header, got.body)
	}
	return html.UnescapeString(to) + url.QueryEscape(fragment)
}

func TestSilentRoundKeepsTheRouteBehindTheHash(t *testing.T) {
	rg := newRig(t, hashed, func(c *Config) { c.Headers.OpenID = "X-Openid" })
	b := rg.wechatBrowser(accepting("li"))
	got := b.get(firstPage(b, "/shop?from=a%26b", "#/goods/5?tab=$1&all"))
	if at := got.Request.URL; at.RequestURI() != "/shop?from=a%26b" || at.Fragment != "/goods/5?tab=$1&all" {
		t.Errorf("he ends at %s", at)
	}
	if openid := rg.last().Header.Get("X-Openid"); openid != rg.wechat.OpenID("li", testAppID) {
		t.Errorf("the shop was told %q", openid)
	}
	if got := b.get("/shop"); strings.Contains(got.body, "data-to") {
		t.Error("he is asked again")
	}
}

// What is too long for the way is left behind, and the page is not.
func TestSilentRoundWithALongURLKeepsThePage(t *testing.T) {
	long := "from=" + strings.Repeat("a", maxReturnTo)
	rg := newRig(t, hashed)
	b := rg.wechatBrowser(accepting("li"))
	if at := b.get(firstPage(b, "/shop?from=a", "#/"+long)).Request.URL; at.RequestURI() != "/shop?from=a" || at.Fragment != "" && at.Fragment != "wechat_redirect" {
		t.Errorf("with a long fragment he ends at %s", at)
	}
	wang := rg.wechatBrowser(accepting("wang"))
	got := wang.get("/shop?" + long)
	if at := got.Request.URL; at.RequestURI() != "/shop?"+long || strings.Contains(got.body, "data-to") {
		t.Errorf("with a long URL he ends at %s\n%s", at, got.body)
	}
}

// Whatever is wrong, the visitor gets to his page, and is not led around.
func TestSilentRoundThatCannotBeginLeadsOn(t *testing.T) {
	for name, c := range map[string]struct {
		before func(rg *rig)
		to     func(b *browser) string
		at     string
	}{
		"the store is down": {func(rg *rig) { rg.store.down.Store(true) }, func(b *browser) string { return firstPage(b, "/shop", "#/goods/5") }, "/shop#/goods/5"},
		"another site":      {nil, func(*browser) string { return "/wxgate/silent?return_to=https://evil.example/" }, "/"},
		"not in WeChat": {nil, func(b *browser) string {
			b.ua = wechattest.OrdinaryUserAgent
			return "/wxgate/silent?return_to=%2Fshop%23%2Fgoods"
		}, "/shop#/goods"},
		"asked too often": {func(rg *rig) { rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(-1)) }, func(b *browser) string {
			to := firstPage(b, "/shop", "")
			b.get(to)
			return to
		}, "/shop"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, hashed)
			b := rg.wechatBrowser(accepting("li"))
			if c.before != nil {
				c.before(rg)
			}
			got := b.get(c.to(b))
			at := got.Request.URL.Path
			if f := got.Request.URL.Fragment; f != "" {
				at += "#" + f
			}
			if got.StatusCode != http.StatusOK || at != c.at {
				t.Errorf("%d at %s, want %s", got.StatusCode, at, c.at)
			}
		})
	}
}
