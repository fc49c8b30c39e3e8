package gate

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// startConsent goes up to the moment where WeChat sends the browser back, and
// returns that URL unvisited.
func (b *browser) startConsent(path string) string {
	b.rg.t.Helper()
	page := b.get(path)
	_, rest, _ := strings.Cut(page.body, `<a href="`)
	href, _, _ := strings.Cut(rest, `"`)
	callback := ""
	follow := b.client.CheckRedirect
	b.client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, "/wxgate/callback/") {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return follow(r, via)
	}
	defer func() { b.client.CheckRedirect = follow }()
	b.get(strings.ReplaceAll(href, "&amp;", "&"))
	if callback == "" {
		b.rg.t.Fatalf("WeChat did not send the browser back from %s", href)
	}
	return callback
}

// The attacker logs in at WeChat, keeps the callback, and has the victim's
// browser open it: the victim would shop on the attacker's account.
func TestCallbackOfAnotherBrowserMakesNoSession(t *testing.T) {
	rg := newRig(t)
	attacker := rg.wechatBrowser(wechattest.Person{Name: "mallory", Consent: wechattest.Accept})
	callback := attacker.startConsent("/me/orders")
	victim := rg.wechatBrowser(wechattest.Person{Name: "victim"})
	victim.get("/goods")
	own, _, _ := rg.identityOf()
	exchanges := rg.wechat.Count(wechattest.ExchangeCode)
	victim.get(callback)
	if rg.wechat.Count(wechattest.ExchangeCode) != exchanges {
		t.Error("the code was exchanged")
	}
	victim.get("/goods")
	if id, kind, _ := rg.identityOf(); id != own || kind != "guest" {
		t.Errorf("the victim is %s %s now", kind, id)
	}
	if got := attacker.get(callback); got.Request.URL.Path != "/me/orders" {
		t.Errorf("the state was burnt for whom it belongs to: at %s", got.Request.URL)
	}
}

// A callback URL that a visitor shares carries a spent code; whoever opens it
// goes to the page as himself.
func TestSharedCallbackIsNoErrorForAnyone(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders")
	b.get(callback)
	owner, _, _ := rg.identityOf()
	friend := rg.wechatBrowser(wechattest.Person{Name: "friend"})
	friend.get("/goods")
	if got := friend.get(callback); got.StatusCode != http.StatusOK || strings.Contains(got.Request.URL.Path, "callback") {
		t.Errorf("%d at %s", got.StatusCode, got.Request.URL)
	}
	friend.get("/goods")
	if id, _, _ := rg.identityOf(); id == owner {
		t.Error("the friend is the owner")
	}
	stranger := rg.browser(uaChrome)
	if got := stranger.get(callback); got.StatusCode != http.StatusOK {
		t.Errorf("a stranger's browser: %d at %s", got.StatusCode, got.Request.URL)
	}
}

// WeChat's clients send the same callback twice within a second, sometimes from
// elsewhere.
func TestTwentyCallbacksAtOnceExchangeOnce(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders")
	before := rg.wechat.Count(wechattest.ExchangeCode)
	jar := b.cookies()
	var wg sync.WaitGroup
	ids := make([]string, 20)
	for i := range ids {
		wg.Go(func() {
			one := rg.browser(uaWeChat)
			u, _ := url.Parse(rg.srv.URL)
			for name, value := range jar {
				one.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
			}
			if got := one.get(callback); got.Request.URL.Path != "/me/orders" {
				t.Errorf("one ends at %s", got.Request.URL)
			}
			ids[i] = one.fetch(http.MethodGet, "/wxgate/me").body
		})
	}
	wg.Wait()
	if n := rg.wechat.Count(wechattest.ExchangeCode) - before; n != 1 {
		t.Errorf("%d exchanges", n)
	}
	for _, id := range ids {
		if id != ids[0] || !strings.Contains(id, `"member"`) {
			t.Errorf("%s beside %s", id, ids[0])
		}
	}
}

func TestBackButtonOntoASpentCallbackGoesOn(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders?page=2")
	b.get(callback)
	member, _, _ := rg.identityOf()
	before := rg.wechat.Count(wechattest.ExchangeCode)
	got := b.get(callback)
	if id, _, _ := rg.identityOf(); got.Request.URL.RequestURI() != "/me/orders?page=2" || id != member || rg.wechat.Count(wechattest.ExchangeCode) != before {
		t.Errorf("at %s as %s", got.Request.URL, id)
	}
}

// A browser hands the fragment of the authorize URL on over every redirect that
// has none.
func TestWayBackDropsTheFragmentOfTheAuthorizeURL(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	callback := b.startConsent("/me/orders?page=2")
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if to := b.get(callback).Header.Get("Location"); to != "/me/orders?page=2#" {
		t.Errorf("sent on to %q", to)
	}
}

func TestForgedCallbacksDoNothing(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.get("/goods")
	id, _, _ := rg.identityOf()
	exchanges := rg.wechat.Count(wechattest.ExchangeCode)
	for _, path := range []string{
		"/wxgate/callback/" + testAppID, "/wxgate/callback/" + testAppID + "?code=a&state=b", "/wxgate/callback/wx9?code=a&state=b",
		"/wxgate/callback/" + testAppID + "?code=a&state=" + strings.Repeat("x", 200), "/wxgate/callback/" + testAppID + "?state=%00",
	} {
		if got := b.get(path); got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	b.get("/goods")
	if again, _, _ := rg.identityOf(); again != id || rg.wechat.Count(wechattest.ExchangeCode) != exchanges {
		t.Errorf("%s became %s", id, again)
	}
}

// A browser that keeps no cookies would be sent around for ever.
func TestBrowserWithoutCookiesIsToldAndNotSentAround(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.client.Jar = nil
	got := b.get("/goods?x=1", func(r *http.Request) { r.Header.Set("Accept-Language", "en") })
	if !strings.Contains(got.body, "did not keep the login") || !strings.Contains(got.body, `href="/goods?x=1&amp;wxgate=guest"`) {
		t.Fatalf("at %s:\n%s", got.Request.URL, got.body)
	}
	before := rg.reached()
	got = b.get("/goods?x=1&wxgate=guest")
	if got.Request.URL.Path != "/goods" || rg.reached() != before+1 {
		t.Errorf("at %s", got.Request.URL)
	}
	if q := rg.last().URL.RawQuery; q != "x=1" {
		t.Errorf("the shop sees the query %q", q)
	}
}

// Two parallel first requests, a thousand times: nobody shares an id.
func TestThousandFirstVisitsAreThousandGuests(t *testing.T) {
	rg := newRig(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]int{}
	slots := make(chan struct{}, 100)
	for range 1000 {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			b := rg.browser(uaChrome)
			b.get("/goods")
			sess, ok := rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
			if !ok {
				t.Error("a visitor without a session")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ids[sess.UserID]++
		})
	}
	wg.Wait()
	if len(ids) != 1000 {
		t.Errorf("%d different guests", len(ids))
	}
}

// A payment page posts the visitor back without his cookie; an image of the
// shop is embedded elsewhere. Neither may replace what he has.
func TestOnlyPagesAndOwnScriptsGiveOutIDs(t *testing.T) {
	rg := newRig(t)
	for name, edit := range map[string]func(*http.Request){
		"payment return": func(r *http.Request) { r.Method = http.MethodPost; r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"image": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Mode", "no-cors")
			r.Header.Set("Sec-Fetch-Dest", "image")
		},
		"prefetch": func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") },
		"crawler":  func(r *http.Request) { r.Header.Set("User-Agent", "Mozilla/5.0 (compatible; Baiduspider/2.0)") },
		"preflight": func(r *http.Request) {
			r.Method = http.MethodOptions
			r.Header.Set("Origin", "https://a.test")
			r.Header.Set("Access-Control-Request-Method", "GET")
		},
	} {
		b := rg.browser(uaChrome)
		got := b.get("/goods", edit)
		if id, _, _ := rg.identityOf(); id != "" || got.Header.Get("Set-Cookie") != "" || got.StatusCode != http.StatusOK {
			t.Errorf("%s: %d, %q, %q", name, got.StatusCode, id, got.Header.Get("Set-Cookie"))
		}
	}
}

func TestMintLimitEndsIDs(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.MintLimit.Events, c.MintLimit.Window = 3, time.Hour })
	for i := range 5 {
		rg.browser(uaChrome).get("/goods")
		if id, _, _ := rg.identityOf(); (id != "") != (i < 3) {
			t.Errorf("visitor %d: %q", i+1, id)
		}
	}
}

// The old token of a guest who has logged in is served as the guest for a
// minute, for what is in flight, and never opens the member.
func TestRotatedTokenStaysWhatItWasAndDies(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	old := b.cookies()["wxgate"]
	b.tapLogin(b.get("/me/orders"))
	member, _, _ := rg.identityOf()
	inFlight := rg.browser(uaChrome)
	set := func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+old) }
	got := inFlight.get("/goods", set)
	if id, kind, _ := rg.identityOf(); id != guest || kind != "guest" || got.Header.Get("Set-Cookie") != "" {
		t.Errorf("in flight he is %s %s, %q", kind, id, got.Header.Get("Set-Cookie"))
	}
	sess, ok := rg.keys.OpenSession(old, time.Now())
	if !ok {
		t.Fatal("the old token does not open")
	}
	must(t, rg.db.RevokeSession(t.Context(), sess.ID, time.Now(), time.Now().Add(time.Hour)))
	got = inFlight.get("/goods", set)
	if id, kind, _ := rg.identityOf(); id == guest || id == member || kind != "guest" {
		t.Errorf("after the grace he is %s %s", kind, id)
	}
	if got.StatusCode != http.StatusOK {
		t.Errorf("%d", got.StatusCode)
	}
}

func TestTwoDifferentSessionCookiesCancelEachOther(t *testing.T) {
	rg := newRig(t)
	var tokens [2]string
	for i := range tokens {
		b := rg.browser(uaChrome)
		b.get("/goods")
		tokens[i] = b.cookies()["wxgate"]
	}
	b := rg.browser(uaChrome)
	fetch := func(cookie string) string {
		b.fetch(http.MethodGet, "/goods", func(r *http.Request) { r.Header.Set("Cookie", cookie) })
		id, _, _ := rg.identityOf()
		return id
	}
	if id := fetch(fmt.Sprintf("wxgate=%s; wxgate=%s", tokens[0], tokens[1])); id != "" {
		t.Errorf("two valid cookies are %s", id)
	}
	if id := fetch(fmt.Sprintf("wxgate=planted; wxgate=%s", tokens[1])); id == "" {
		t.Error("a planted value silences the visitor's own")
	}
	if c := rg.last().Header.Get("Cookie"); c != "" {
		t.Errorf("the shop sees %q", c)
	}
}

func TestTokensOfOneTypeAreNoOther(t *testing.T) {
	rg := newRig(t)
	for _, typ := range []session.Type{session.TypeFlow, session.TypeResult, session.TypeSigningKey, session.TypeDataKey} {
		token := rg.keys.Seal(typ, []byte(`{"i":"x","u":"1","k":"member","t":1,"e":99999999999}`))
		rg.browser(uaChrome).fetch(http.MethodGet, "/goods", func(r *http.Request) {
			r.Method = http.MethodPost
			r.Header.Set("Cookie", "wxgate="+token)
		})
		if id, _, _ := rg.identityOf(); id != "" {
			t.Errorf("type %d is the session of %s", typ, id)
		}
	}
}

func TestLogoutRefusesOtherSites(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	edits := ofOtherSites()
	edits["a form"] = func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("a=b")), 3
		notJSON()["a form"](r)
	}
	edits["GET"] = func(r *http.Request) { r.Method = http.MethodGet }
	for name, edit := range edits {
		got := b.fetch(http.MethodPost, "/wxgate/logout", edit)
		if got.StatusCode < 400 {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
	}
	b.get("/me/orders")
	if _, kind, _ := rg.identityOf(); kind != "member" {
		t.Error("he was logged out")
	}
}

func TestOurPagesAreLocked(t *testing.T) {
	rg := newRig(t)
	got := rg.browser(uaChrome).get("/wxgate/login?return_to=/%22%3E%3Cscript%3Ealert(1)%3C/script%3E&code=%3Cb%3E")
	if strings.Count(got.body, "<script") != 1 || strings.Contains(got.body, "<b>") {
		t.Errorf("not escaped:\n%s", got.body)
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-store",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("%s: %q", name, got.Header.Get(name))
		}
	}
	if csp := got.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") {
		t.Errorf("CSP %q", csp)
	}
}

func TestLogsHoldNoSecretsAndNoIDs(t *testing.T) {
	rg := newRig(t)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	rg.wechat.Fail(wechattest.Follower, 1, wechattest.BadGateway())
	b.tapLogin(b.get("/me/orders"))
	rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.Fault{Drop: true})
	b.clearCookies()
	b.get("/goods")
	log := rg.log.String()
	if log == "" {
		t.Fatal("nothing was logged")
	}
	secrets := []string{testSecret, rg.wechat.OpenID("li", testAppID), "code=", "state=", "access_token=", "wxgate="}
	for _, r := range rg.wechat.Requests() {
		for _, name := range []string{"code", "state", "access_token", "secret"} {
			if v := r.Query.Get(name); v != "" {
				secrets = append(secrets, v)
			}
		}
	}
	for _, s := range secrets {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q:\n%s", s, log)
		}
	}
}
