package gate

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// press sends the form of a button on one of our pages, as a browser does that
// has no script.
func (b *browser) press(page answer, label string) answer {
	b.rg.t.Helper()
	before, _, found := strings.Cut(page.body, ">"+label+"</button>")
	i := strings.LastIndex(before, `<form method="post" action="`)
	if !found || i < 0 {
		b.rg.t.Fatalf("no button %q at %s:\n%s", label, page.Request.URL, page.body)
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self'") {
		b.rg.t.Fatalf("the browser would not send it: %s", csp)
	}
	action, _, _ := strings.Cut(before[i+len(`<form method="post" action="`):], `"`)
	r, err := http.NewRequest(http.MethodPost, b.rg.abs(strings.ReplaceAll(action, "&amp;", "&")), http.NoBody)
	must(b.rg.t, err)
	b.navigate(r)
	english(r)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// Over plain http there is no Sec-Fetch-Site, and the Origin follows the
	// page's referrer policy.
	for _, name := range []string{"Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		r.Header.Del(name)
	}
	origin := b.rg.srv.URL
	if page.Header.Get("Referrer-Policy") == "no-referrer" {
		origin = "null"
	}
	r.Header.Set("Origin", origin)
	return b.do(r)
}

// me is what GET /me says.
func (b *browser) me() (me meAnswer) {
	b.rg.t.Helper()
	got := b.fetch(http.MethodGet, "/wxgate/me")
	if err := json.Unmarshal([]byte(got.body), &me); err != nil {
		b.rg.t.Fatalf("%d %s: %v", got.StatusCode, got.body, err)
	}
	return me
}

// memberWithBoth is a member with a WeChat account and a phone, in WeChat.
func (rg *phoneRig) memberWithBoth() *browser {
	rg.t.Helper()
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true, Consent: wechattest.Accept})
	b.get("/goods")
	if got := rg.verify(b, liPhone); got.StatusCode != http.StatusOK {
		rg.t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	return b
}

func TestMeTellsAMemberWhatHeHas(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	me := b.me()
	if me.Kind != "member" || !me.PhoneVerified || me.Phone != account.Phone(liPhone).String() || len(me.Identities) != 1 ||
		me.Identities[0].AppID != testAppID || me.CanBind {
		t.Errorf("%+v", me)
	}
	chrome := rg.browser(uaChrome)
	chrome.get("/goods")
	if me := chrome.me(); me.Kind != "guest" || me.Phone != "" || me.CanBind {
		t.Errorf("a guest: %+v", me)
	}
	rg.verify(chrome, wangPhone)
	if me := chrome.me(); me.CanBind || len(me.Identities) != 0 { // there is no website app to scan with
		t.Errorf("a member elsewhere: %+v", me)
	}
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang"})
	wang.get("/goods")
	rg.verify(wang, wangPhone)
	if me := wang.me(); !me.CanBind {
		t.Errorf("a member whose WeChat is not linked: %+v", me)
	}
	rg.cache.Flush()
	b.get("/me/orders")
	rg.db.down.Store(true)
	if me := b.me(); me.Kind != "member" || me.Phone != "" || len(me.Identities) != 1 {
		t.Errorf("without a database: %+v", me)
	}
}

func TestAccountPageLeadsToEverything(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	page := b.get("/wxgate/account?return_to=/cart%3Fx%3D1", english)
	for _, want := range []string{
		account.Phone(liPhone).String(), "/wxgate/phone?return_to=%2Fcart%3Fx%3D1&amp;change=1", "/wxgate/unbind?return_to=%2Fcart%3Fx%3D1&amp;appid=" + testAppID,
		"/wxgate/account/cancel?return_to=%2Fcart%3Fx%3D1", "/wxgate/merge?", `href="/cart?x=1"`, "••••",
	} {
		if !strings.Contains(strings.ReplaceAll(page.body, "&#43;", "+"), want) {
			t.Errorf("no %q on the page:\n%s", want, page.body)
		}
	}
	if id, _, _ := rg.identityOf(); strings.Contains(page.body, id) || strings.Contains(page.body, liPhone[3:]) {
		t.Error("the page tells the whole id or phone")
	}
	if got := b.press(page, "Log out"); got.Request.URL.RequestURI() != "/cart?x=1" || b.me().Kind != "guest" {
		t.Errorf("logged out: %d at %s as a %s", got.StatusCode, got.Request.URL, b.me().Kind)
	}
	if got := b.get("/wxgate/account?return_to=/cart"); got.Request.URL.Path == "/wxgate/account" {
		t.Errorf("a guest is at %s", got.Request.URL)
	}
}

func TestUnbindingSaysWhatHappensAndEndsEverySession(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	b.get("/goods")
	member, _, _ := rg.identityOf()
	other := rg.browser(uaChrome)
	other.get("/goods")
	rg.verify(other, liPhone)
	page := b.follow(b.get("/wxgate/account?return_to=/cart", english), "Unbind WeChat")
	if !strings.Contains(page.body, "logged out on every device") || b.me().ID != member {
		t.Fatalf("nothing is asked:\n%s", page.body)
	}
	done := b.press(page, "Unbind WeChat")
	if done.StatusCode != http.StatusOK || !strings.Contains(done.body, "WeChat is unbound") {
		t.Errorf("%d at %s:\n%s", done.StatusCode, done.Request.URL, done.body)
	}
	for name, who := range map[string]*browser{"here": b, "elsewhere": other} {
		if me := who.me(); me.ID == member {
			t.Errorf("%s he is logged in: %+v", name, me)
		}
	}
	b.clearCookies()
	b.get("/goods")
	if id, kind, _ := rg.identityOf(); kind != "guest" || id == member {
		t.Errorf("his WeChat is %s %s", kind, id)
	}
	if self, err := rg.db.Self(t.Context(), member); err != nil || self.Phone == "" || len(self.Identities) != 0 {
		t.Errorf("his account is %+v, %v", self, err)
	}
}

func TestLastWayIntoAnAccountStays(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Follower: true})
	b.get("/me/orders")
	member, _, _ := rg.identityOf()
	page := b.get("/wxgate/unbind?return_to=/cart&appid="+testAppID, english)
	if got := b.press(page, "Unbind WeChat"); got.StatusCode != http.StatusConflict || !strings.Contains(got.body, "only way into") ||
		hrefOf(t, got, "Verify your phone") != "/wxgate/phone?return_to=%2Fcart" {
		t.Errorf("%d:\n%s", got.StatusCode, got.body)
	}
	if got := b.post("/wxgate/unbind", map[string]string{"appid": testAppID}); !is(got, http.StatusConflict, "last_credential") {
		t.Errorf("a script: %d %s", got.StatusCode, got.body)
	}
	if b.me().ID != member {
		t.Error("he was logged out")
	}
	rg.verify(b, liPhone)
	if got := b.post("/wxgate/unbind", map[string]string{"appid": testAppID}); got.StatusCode != http.StatusNoContent || b.me().Kind != "guest" {
		t.Errorf("with a phone: %d %s, he is a %s", got.StatusCode, got.body, b.me().Kind)
	}
}

func TestCancellingSaysWhatHappensAndFreesWeChatAndPhone(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	b.get("/goods")
	member, _, _ := rg.identityOf()
	page := b.follow(b.get("/wxgate/account?return_to=/cart", english), "Cancel my account")
	if !strings.Contains(page.body, "cannot be undone") || b.me().ID != member {
		t.Fatalf("nothing is asked:\n%s", page.body)
	}
	if got := b.press(page, "Cancel my account"); got.StatusCode != http.StatusOK || !strings.Contains(got.body, "is cancelled") {
		t.Errorf("%d at %s:\n%s", got.StatusCode, got.Request.URL, got.body)
	}
	if me := b.me(); me.Kind != "guest" || me.ID == member {
		t.Errorf("he is %+v", me)
	}
	b.clearCookies()
	b.get("/goods")
	rg.verify(b, liPhone)
	if me := b.me(); me.Kind != "member" || me.ID == member {
		t.Errorf("who comes back is %+v", me)
	}
}

// What ends an account is asked of a member, by this site, and of nobody else.
func TestOwnAccountIsNobodyElses(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	b.get("/goods")
	member, _, _ := rg.identityOf()
	for _, path := range []string{"/wxgate/unbind?appid=" + testAppID, "/wxgate/account/cancel", "/wxgate/merge"} {
		edits := notJSON()
		maps.Copy(edits, ofOtherSites())
		for name, edit := range edits {
			if got := b.post(path, map[string]string{"appid": testAppID}, edit); got.StatusCode != http.StatusForbidden && got.StatusCode != http.StatusBadRequest {
				t.Errorf("%s, %s: %d %s", path, name, got.StatusCode, got.body)
			}
		}
		if got := b.get(path); got.StatusCode != http.StatusOK && got.StatusCode != http.StatusConflict {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
		guest := rg.browser(uaChrome)
		guest.get("/goods")
		if got := guest.post(path, map[string]string{"appid": testAppID}); !is(got, http.StatusUnauthorized, "login_required") {
			t.Errorf("%s of a guest: %d %s", path, got.StatusCode, got.body)
		}
	}
	// Parameters name nobody: user ids in them are ignored.
	if got := b.post("/wxgate/unbind", map[string]string{"appid": "wx9999999999999999", "user_id": "7"}); !is(got, http.StatusNotFound, "not_found") {
		t.Errorf("an app he has nothing in: %d %s", got.StatusCode, got.body)
	}
	if b.me().ID != member {
		t.Error("he was logged out")
	}
}

func TestOwnAccountWhileTheStoreIsDown(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.memberWithBoth()
	b.get("/goods")
	rg.db.broken = errors.New("the disk is full")
	for _, path := range []string{"/wxgate/unbind?appid=" + testAppID, "/wxgate/account/cancel"} {
		if got := b.post(path, map[string]string{"appid": testAppID}); !is(got, http.StatusServiceUnavailable, "unavailable") {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	rg.db.broken = nil
	if b.me().Kind != "member" {
		t.Error("he was logged out")
	}
}

// Whoever has to log in first comes back to the page of his account that he
// left, and not only to where that page would have led him.
func TestLoginLeadsBackToTheOwnAccount(t *testing.T) {
	rg := newPhoneRig(t, weChatMode)
	for _, left := range []string{
		"/wxgate/account?return_to=%2Fcart%3Fx%3D1", "/wxgate/unbind?return_to=%2Fcart&appid=" + testAppID,
		"/wxgate/account/cancel?return_to=%2Fcart", "/wxgate/merge?return_to=%2Fcart",
	} {
		b := rg.wechatBrowser(wechattest.Person{Name: "li " + left, Consent: wechattest.Accept})
		page := b.get(left, english)
		if page.Request.URL.Path != "/wxgate/login" {
			t.Fatalf("%s: a guest is at %s", left, page.Request.URL)
		}
		if page = b.follow(page, "Log in with WeChat"); page.Request.URL.RequestURI() != left {
			t.Errorf("%s: he is back at %s", left, page.Request.URL)
		}
	}
	// Who wants another phone logs in with the one he has, outside WeChat.
	const change = "/wxgate/phone?return_to=%2Fcart&change=1"
	page := rg.visitor().get(change)
	if want := `data-next="` + strings.ReplaceAll(change, "&", "&amp;") + `"`; !strings.Contains(page.body, want) {
		t.Errorf("no %s:\n%s", want, page.body)
	}
}

// Before eight in the morning of China the UTC has yesterday's date.
func TestDaysAreThoseOfChina(t *testing.T) {
	if got := day(time.Date(2026, 11, 20, 16, 30, 0, 0, time.UTC)); got != "2026-11-21" {
		t.Errorf("half past midnight is %s", got)
	}
}
