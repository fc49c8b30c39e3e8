package gate

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Whatever is wrong at WeChat, visitors become guests: nobody is logged in
// wrongly, nobody is sent around.
func TestWeChatOutOfOrderMakesGuests(t *testing.T) {
	for name, fault := range map[string]wechattest.Fault{
		"HTML": wechattest.HTMLPage(), "502": wechattest.BadGateway(), "wrong JSON": wechattest.WrongJSON(), "empty": wechattest.EmptyBody(),
		"huge": wechattest.HugeBody(), "no openid": wechattest.EmptyOpenID(), "busy": wechattest.ErrCode(-1), "code spent": wechattest.ErrCode(40163),
		"code invalid": wechattest.ErrCode(40029), "secret wrong": wechattest.ErrCode(40125), "IP not listed": wechattest.ErrCode(40164),
		"dropped": {Drop: true}, "quota": wechattest.ErrCode(45009),
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, fault)
			b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			got := b.get("/goods")
			id, kind, _ := rg.identityOf()
			if got.StatusCode != http.StatusOK || got.Request.URL.Path != "/goods" || kind != "guest" {
				t.Fatalf("%d at %s as %q", got.StatusCode, got.Request.URL, kind)
			}
			before := rg.wechat.Count(wechattest.Authorize)
			b.get("/goods")
			if again, _, _ := rg.identityOf(); again != id || rg.wechat.Count(wechattest.Authorize) > before {
				t.Errorf("the next page: %s after %s, %d more rounds", again, id, rg.wechat.Count(wechattest.Authorize)-before)
			}
			page := b.tapLogin(b.get("/me/orders"))
			if !strings.Contains(page.body, "login?return_to=%2Fme%2Forders") && !strings.Contains(page.body, "go=wechat") {
				t.Errorf("after a tap, %d at %s", page.StatusCode, page.Request.URL)
			}
			rg.wechat.Heal(wechattest.ExchangeCode)
		})
	}
}

func TestWeChatThatHangsEndsWithinItsTime(t *testing.T) {
	rg := newRig(t)
	rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.HangAfterEffect())
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.client.Timeout = 4 * wechatTimeout // a hang would end here
	if got := b.get("/goods"); got.StatusCode != http.StatusOK {
		t.Fatalf("%d at %s", got.StatusCode, got.Request.URL)
	}
	if _, kind, _ := rg.identityOf(); kind != "guest" || rg.wechat.Count(wechattest.ExchangeCode) != 1 {
		t.Errorf("%q after %d exchanges", kind, rg.wechat.Count(wechattest.ExchangeCode))
	}
}

// The store fails when a callback has just said that it ends the login: nobody
// waits for what will never come, and the next tap is a login like any other.
func TestStoreThatFailsInACallbackIsNotWaitedFor(t *testing.T) {
	for name, err := range map[string]error{"fails": errDown, "forgets": nil} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			b := rg.wechatBrowser(accepting("li"))
			page := b.get("/me/orders")
			store := &takesNothing{Store: rg.site.Store, err: err}
			rg.site.Store = store
			page = b.tapLogin(page)
			if n := store.reads.Load(); n > 10 || rg.wechat.Count(wechattest.UserInfo) != 0 {
				t.Errorf("the store was read %d times, WeChat asked %d times", n, rg.wechat.Count(wechattest.UserInfo))
			}
			rg.site.Store = rg.store
			for page.Request.URL.Path != "/me/orders" && page.Request.URL.Path != "/wxgate/login" { // told to try again
				page = b.tap(page, "login")
			}
			if page.Request.URL.Path == "/wxgate/login" {
				page = b.tapLogin(page)
			}
			if _, kind, _ := rg.identityOf(); page.Request.URL.Path != "/me/orders" || kind != "member" {
				t.Errorf("the next tap leads to %s, as a %s", page.Request.URL, kind)
			}
		})
	}
}

// takesNothing is a store that loses what is to be taken.
type takesNothing struct {
	session.Store
	err   error
	reads atomic.Int64
}

func (s *takesNothing) Get(ctx context.Context, key string) ([]byte, bool, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *takesNothing) Take(ctx context.Context, key string) ([]byte, bool, error) {
	_, _, _ = s.Store.Take(ctx, key)
	return nil, false, s.err
}

// An outage must not turn a member's cookie into a guest's.
func TestOutageReplacesNobodysCookie(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/me/orders")
	member, _, _ := rg.identityOf()
	for name, cookie := range map[string]string{"his own": b.cookies()["wxgate"], "unreadable": "AAAA"} {
		rg.cache.Invalidate(member) // as after a restart
		rg.db.down.Store(true)
		rg.site.Watcher.lastOK.Store(0)
		one := rg.browser(uaChrome)
		set := func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+cookie) }
		if got := one.get("/goods", set); got.StatusCode != http.StatusOK || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %q", name, got.StatusCode, got.Header.Get("Set-Cookie"))
		}
		if id, _, _ := rg.identityOf(); id != "" {
			t.Errorf("%s: the shop was told %s", name, id)
		}
		rg.db.down.Store(false)
		must(t, rg.site.Watcher.poll(t.Context()))
	}
	rg.db.down.Store(true)
	got := rg.browser(uaChrome).get("/me/orders", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+b.cookies()["wxgate"]) })
	if got.StatusCode != http.StatusServiceUnavailable && got.Request.URL.Path != "/me/orders" {
		t.Errorf("a login path without a database: %d at %s", got.StatusCode, got.Request.URL)
	}
	rg.db.down.Store(false)
	b.get("/me/orders")
	if id, _, _ := rg.identityOf(); id != member {
		t.Errorf("after the outage he is %s", id)
	}
}

func TestStateStoreOutageMakesGuests(t *testing.T) {
	rg := newRig(t)
	rg.store.down.Store(true)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	if got := b.get("/goods"); got.StatusCode != http.StatusOK || len(b.hops) != 0 {
		t.Errorf("%d through %v", got.StatusCode, b.hops)
	}
	if _, kind, _ := rg.identityOf(); kind != "guest" {
		t.Errorf("he is %q", kind)
	}
	page := b.get("/me/orders")
	if got := b.tapLogin(page); got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
		t.Errorf("a tap: %d %v", got.StatusCode, got.Header)
	}
}

// A consent whose unionid WeChat could not tell in time says nothing of the
// account: he may try again at once, not after a day.
func TestConsentIsNotUsedUpWhileWeChatIsBusy(t *testing.T) {
	rg := newRig(t)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
	rg.wechat.Fail(wechattest.UserInfo, wechattest.Forever, wechattest.ErrCode(-1))
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	if got := b.tapLogin(b.get("/me/orders")); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "wechat_busy") {
		t.Errorf("%d at %s", got.StatusCode, got.Request.URL)
	}
	rg.wechat.Heal(wechattest.UserInfo)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop"})
	if got := b.tapLogin(b.get("/me/orders")); got.Request.URL.Path != "/me/orders" {
		t.Errorf("tried again, he is at %s", got.Request.URL)
	}
}
