package gate

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// age makes an authorization one that was started so long ago.
func (rg *rig) age(callback string, d time.Duration) {
	rg.t.Helper()
	u, err := url.Parse(callback)
	must(rg.t, err)
	key := stateKey(u.Query().Get("state"))
	raw, found, err := rg.store.Get(rg.t.Context(), key)
	must(rg.t, err)
	var p pending
	if !found || json.Unmarshal(raw, &p) != nil {
		rg.t.Fatalf("no state in %s", callback)
	}
	p.Late -= int64(d / time.Second)
	raw, err = json.Marshal(p)
	must(rg.t, err)
	must(rg.t, rg.store.Put(rg.t.Context(), key, raw, time.Hour))
}

// ageResult makes an authorization one that ended a minute earlier.
func (rg *rig) ageResult(callback string) {
	rg.t.Helper()
	u, err := url.Parse(callback)
	must(rg.t, err)
	key := resultKey(u.Query().Get("state"))
	sealed, found, err := rg.store.Get(rg.t.Context(), key)
	must(rg.t, err)
	res, ok := rg.site.openResult(sealed)
	if !found || !ok {
		rg.t.Fatalf("no result of %s", callback)
	}
	res.At -= int64(resultLife / time.Second)
	must(rg.t, rg.store.Put(rg.t.Context(), key, rg.site.sealRecord(session.TypeResult, res), time.Hour))
}

// A callback that comes again earns its session again: within a minute, and
// nobody who has logged out since.
func TestCallbackThatComesAgainEarnsNoMore(t *testing.T) {
	for name, c := range map[string]struct {
		between func(rg *rig, b *browser, callback string)
		again   bool
	}{
		"at once":        {func(_ *rig, b *browser, _ string) { b.holds("") }, true},
		"a minute later": {func(rg *rig, b *browser, callback string) { b.holds(""); rg.ageResult(callback) }, false},
		"after a logout": {func(_ *rig, b *browser, _ string) { b.fetch(http.MethodPost, "/wxgate/logout") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			b := rg.wechatBrowser(accepting("li"))
			callback := b.startConsent("/me/orders")
			b.get(callback)
			member := b.cookies()["wxgate"]
			c.between(rg, b, callback)
			before := b.cookies()["wxgate"]
			b.stay(callback)
			if after := b.cookies()["wxgate"]; (after == member) != c.again || !c.again && after != before {
				t.Errorf("he had %.9q and has %.9q; the login's was %.9q", before, after, member)
			}
		})
	}
}

// A QR code that was left on the screen for too long logs nobody in, and its
// page leads on to where he wanted to go all the same.
func TestScanThatComesTooLateLeadsBackToItsPage(t *testing.T) {
	for path, want := range map[string]string{"/me/orders?page=2": "/wxgate/login", bindMe: "/wxgate/bind"} {
		rg := newRig(t, withWebsite)
		pc := rg.browser(uaDesktop)
		if path == bindMe {
			pc.byPhone("13800138000")
		}
		callback := pc.scan(pc.get(path), accepting("li"))
		rg.age(callback, stateLife)
		got := pc.get(callback)
		if got.Request.URL.Path != want || !strings.Contains(got.body, "<code>code_invalid</code>") || rg.wechat.Count(wechattest.ExchangeCode) != 0 {
			t.Fatalf("at %s after %d exchanges:\n%s", got.Request.URL, rg.wechat.Count(wechattest.ExchangeCode), got.body)
		}
		done := pc.scanAt(got, accepting("li"))
		if to := done.Request.URL.RequestURI(); to != "/me/orders?page=2" && to != "/me?tab=wechat" {
			t.Errorf("the next scan leads to %s", to)
		}
	}
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	callback := pc.scan(pc.get("/me/orders"), accepting("li"))
	rg.age(callback, stateLife-time.Minute)
	if got := pc.get(callback); got.Request.URL.Path != "/me/orders" {
		t.Errorf("after nine minutes he is at %s", got.Request.URL)
	}
}

func TestRelayThatComesTooLateLeadsBackToTheShop(t *testing.T) {
	rg := newRelayRig(t)
	b := rg.at(rg.wechatBrowser(accepting("li")))
	planted := b.until(loginHost+"/wxgate/relay?state=", shopHost+"/goods?x=1")
	rg.age(planted, stateLife)
	if got := b.stay(planted); got.Header.Get("Location") != shopHost+"/goods?x=1" {
		t.Errorf("the callback host sends him to %q", got.Header.Get("Location"))
	}
	callback := b.until(loginHost+"/wxgate/callback/", shopHost+"/goods?x=1")
	rg.age(callback, stateLife)
	if got := b.stay(callback); got.Header.Get("Location") != shopHost+"/goods?x=1#" || rg.wechat.Count(wechattest.ExchangeCode) != 0 {
		t.Errorf("the callback host sends him to %q after %d exchanges", got.Header.Get("Location"), rg.wechat.Count(wechattest.ExchangeCode))
	}
}

// Two sites of one App, each with an official account of its own: one person is
// one member, and each site knows him by its own openid.
func TestSitesWithOfficialAccountsOfTheirOwnShareMembers(t *testing.T) {
	const otherID = "wx5555555555555555"
	rg := newRig(t, func(c *Config) { c.Headers.OpenID = "X-Shop-Openid" })
	rg.wechat.SetApp(wechattest.App{ID: otherID, Secret: "hush", Domains: []string{"localhost"}, OpenPlatform: "shop"})
	cfg := rg.site.cfg
	u, err := url.Parse(rg.srv.URL)
	must(t, err)
	other := "localhost:" + u.Port()
	cfg.ExternalURL, cfg.OfficialAccount.AppID, cfg.OfficialAccount.AppSecret = "http://"+other, otherID, "hush"
	site, err := New(cfg, rg.site.Deps)
	must(t, err)
	rg.more = map[string]*Site{other: site}

	b := rg.wechatBrowser(accepting("li"))
	b.tapLogin(b.get("/me/orders"))
	here := rg.last().Header
	page := b.get("http://" + other + "/me/orders")
	if page.Request.URL.Path == "/wxgate/login" {
		b.tapAt("http://"+other, page)
	}
	there := rg.last().Header
	if here.Get("X-User-ID") != there.Get("X-User-ID") || there.Get("X-User-Kind") != kindMember {
		t.Errorf("he is %s %s here, and %s %s there", here.Get("X-User-Kind"), here.Get("X-User-ID"), there.Get("X-User-Kind"), there.Get("X-User-ID"))
	}
	if a, o := here.Get("X-Shop-Openid"), there.Get("X-Shop-Openid"); a != rg.wechat.OpenID("li", testAppID) || o != rg.wechat.OpenID("li", otherID) {
		t.Errorf("openid %q here, %q there", a, o)
	}
	// A callback that is meant for the one does nothing at the other.
	victim := rg.wechatBrowser(accepting("wang"))
	callback := victim.until("http://"+other+"/wxgate/callback/", "http://"+other+"/goods")
	exchanges := rg.wechat.Count(wechattest.ExchangeCode)
	victim.stay(strings.Replace(callback, "http://"+other, rg.srv.URL, 1))
	victim.stay(strings.Replace(strings.Replace(callback, "http://"+other, rg.srv.URL, 1), otherID, testAppID, 1))
	if n := rg.wechat.Count(wechattest.ExchangeCode) - exchanges; n != 0 {
		t.Errorf("%d exchanges", n)
	}
	if got := victim.get(callback); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/goods" {
		t.Errorf("the state was burnt: %d at %s", got.StatusCode, got.Request.URL)
	}
}
