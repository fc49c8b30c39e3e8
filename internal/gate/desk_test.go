package gate

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

func withWebsite(c *Config) {
	c.Website = wechat.App{AppID: testWebsiteID, AppSecret: testWebsiteSecret}
}

// scan taps the button for the QR code, which the phone of a person scans, and
// returns the callback that the computer is sent to, unvisited.
func (b *browser) scan(page answer, p wechattest.Person) (callback string) {
	b.rg.t.Helper()
	code := b.tap(page, "go=scan")
	said := wechattest.ReadQR(code.body)
	if said == "" {
		b.rg.t.Fatalf("no QR code at %s:\n%s", code.Request.URL, code.body)
	}
	b.rg.wechatBrowser(p).get(b.rg.wechat.URL + said)
	_, rest, _ := strings.Cut(code.body, `content="1;url=`)
	wait, _, _ := strings.Cut(rest, `"`)
	return b.stay(b.rg.wechat.URL + wait).Header.Get("Location")
}

// stay opens a page and stays there, wherever it is sent.
func (b *browser) stay(path string, edit ...func(*http.Request)) answer {
	b.rg.t.Helper()
	follow := b.client.CheckRedirect
	defer func() { b.client.CheckRedirect = follow }()
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return b.get(path, edit...)
}

// scanAt is scan, and the visit of the callback.
func (b *browser) scanAt(page answer, p wechattest.Person) answer {
	b.rg.t.Helper()
	return b.get(b.scan(page, p))
}

func accepting(name string) wechattest.Person {
	return wechattest.Person{Name: name, Consent: wechattest.Accept}
}

func TestComputerLogsInByAScanAndKeepsItsOrder(t *testing.T) {
	rg := newRig(t, withWebsite)
	phone := rg.wechatBrowser(accepting("li"))
	phone.tapLogin(phone.get("/me/orders"))
	member, _, _ := rg.identityOf()
	pc := rg.browser(uaDesktop)
	pc.get("/goods")
	guest, _, _ := rg.identityOf()
	page := pc.get("/me/orders?page=2&q=%E8%8C%B6")
	if page.Request.URL.Path != "/wxgate/login" || strings.Contains(page.body, "go=wechat") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	done := pc.scanAt(page, accepting("li"))
	id, kind, previous := rg.identityOf()
	if done.Request.URL.RequestURI() != "/me/orders?page=2&q=%E8%8C%B6" || id != member || kind != "member" || !strings.Contains(previous, guest) {
		t.Errorf("at %s as %s %s, previously %s; he is %s in WeChat, and was %s", done.Request.URL, kind, id, previous, member, guest)
	}
	me := pc.fetch(http.MethodGet, "/wxgate/me")
	if !strings.Contains(me.body, `"channel":"website"`) || !strings.Contains(me.body, testWebsiteID) {
		t.Errorf("he is told %s", me.body)
	}
}

// Whoever scans at a login page is logged in as himself, whosever session it
// was.
func TestScanAtTheLoginPageFollowsTheWeChatAccount(t *testing.T) {
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	pc.scanAt(pc.get("/me/orders"), accepting("li"))
	li, _, _ := rg.identityOf()
	pc.fetch(http.MethodPost, "/wxgate/logout")
	pc.scanAt(pc.get("/me/orders"), accepting("wang"))
	wang, kind, _ := rg.identityOf()
	if wang == li || kind != "member" {
		t.Errorf("li is %s, wang is %s %s", li, kind, wang)
	}
}

func TestLoginPageOffersWhatWorks(t *testing.T) {
	none := func(c *Config) { c.OfficialAccount = wechat.App{} }
	for name, tt := range map[string]struct {
		opts []option
		ua   string
		want []string
		not  []string
	}{
		"computer":                       {[]option{withWebsite}, uaDesktop, []string{"go=scan"}, []string{"go=wechat"}},
		"computer, no website":           {nil, uaDesktop, []string{"Please open this page in WeChat", "/me/orders?x=1"}, []string{"go="}},
		"telephone":                      {[]option{withWebsite}, uaChrome, []string{"Please open this page in WeChat", "/me/orders?x=1"}, []string{"go="}},
		"telephone, no official account": {[]option{withWebsite, none}, uaChrome, []string{"on a computer", "/me/orders?x=1"}, []string{"go="}},
		"WeChat":                         {[]option{withWebsite}, uaWeChat, []string{"go=wechat"}, []string{"go=scan"}},
		"WeChat, no official account":    {[]option{withWebsite, none}, uaWeChat, []string{"on a computer"}, []string{"go="}},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, tt.opts...)
			rg.wechat.AddPerson(wechattest.Person{Name: "li"})
			page := rg.browser(tt.ua).get("/me/orders?x=1", func(r *http.Request) { r.Header.Set("Accept-Language", "en") })
			for _, w := range tt.want {
				if !strings.Contains(page.body, w) {
					t.Errorf("%q is missing:\n%s", w, page.body)
				}
			}
			for _, w := range tt.not {
				if strings.Contains(page.body, w) {
					t.Errorf("%q is offered:\n%s", w, page.body)
				}
			}
		})
	}
}

func TestScanThatIsRefusedEndsAtTheLoginPage(t *testing.T) {
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	got := pc.scanAt(pc.get("/me/orders"), wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: wechattest.StateOnly})
	if got.Request.URL.Path != "/wxgate/login" || !strings.Contains(got.body, "refused") {
		t.Fatalf("at %s:\n%s", got.Request.URL, got.body)
	}
	if got := pc.scanAt(got, accepting("li")); got.Request.URL.Path != "/me/orders" {
		t.Errorf("the second try ends at %s", got.Request.URL)
	}
}

// C2 for scans: the attacker scans his own code and has the victim's browser
// open the callback.
func TestScannedCallbackOfAnotherBrowserMakesNoSession(t *testing.T) {
	rg := newRig(t, withWebsite)
	attacker := rg.browser(uaDesktop)
	callback := attacker.scan(attacker.get("/me/orders"), accepting("mallory"))
	victim := rg.browser(uaDesktop)
	victim.get("/goods")
	own, _, _ := rg.identityOf()
	victim.get(callback)
	for _, forged := range []string{
		strings.Replace(callback, testWebsiteID, testAppID, 1), // another appid
		callback + "x", "/wxgate/callback/" + testWebsiteID + "?code=a", "/wxgate/callback/" + testWebsiteID + "?code=a&state=b",
	} {
		attacker.stay(forged)
	}
	if n := rg.wechat.Count(wechattest.ExchangeCode); n != 0 {
		t.Errorf("%d exchanges", n)
	}
	victim.get("/goods")
	if id, kind, _ := rg.identityOf(); id != own || kind != "guest" {
		t.Errorf("the victim is %s %s now", kind, id)
	}
	if got := attacker.get(callback); got.Request.URL.Path != "/me/orders" {
		t.Errorf("the state was burnt for whom it belongs to: at %s", got.Request.URL)
	}
}

// C3 for scans: doubled callbacks, and the back button.
func TestScannedCallbackWorksOnceAndEndsWellEachTime(t *testing.T) {
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	callback := pc.scan(pc.get("/me/orders"), accepting("li"))
	u, _ := url.Parse(rg.srv.URL)
	jar := pc.client.Jar.Cookies(u)
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			one := rg.browser(uaDesktop)
			one.client.Jar.SetCookies(u, jar)
			one.get(callback)
			if me := one.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(me.body, `"member"`) {
				t.Errorf("one of them is %s", me.body)
			}
		})
	}
	all.Wait()
	pc.get(callback)
	if got := pc.get(callback); got.Request.URL.Path != "/me/orders" || rg.wechat.Count(wechattest.ExchangeCode) != 1 {
		t.Errorf("the back button leads to %s after %d exchanges", got.Request.URL, rg.wechat.Count(wechattest.ExchangeCode))
	}
}
