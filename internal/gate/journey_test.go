package gate

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// identityOf returns what the shop was told in the last request.
func (rg *rig) identityOf() (id, kind, previous string) {
	h := rg.last().Header
	return h.Get("X-User-ID"), h.Get("X-User-Kind"), h.Get("X-User-Previous-ID")
}

func TestFirstVisitInWeChatIsIdentifiedSilently(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	got := b.get("/goods/42?from=home&x=%20y")
	if got.StatusCode != http.StatusOK || got.Request.URL.RequestURI() != "/goods/42?from=home&x=%20y" {
		t.Fatalf("%d at %s", got.StatusCode, got.Request.URL)
	}
	id, kind, previous := rg.identityOf()
	if id == "" || kind != "guest" || previous != "" {
		t.Errorf("the shop was told %q, %q, %q", id, kind, previous)
	}
	if want := []string{"/connect/oauth2/authorize", "/wxgate/callback/" + testAppID, "/goods/42"}; !slices.Equal(b.hops, want) {
		t.Errorf("sent through %v", b.hops)
	}
	b.get("/cart")
	if again, _, _ := rg.identityOf(); again != id || len(b.hops) != 0 {
		t.Errorf("the second page: %s after %s, through %v", again, id, b.hops)
	}
	b.clearCookies()
	b.get("/cart")
	if again, _, _ := rg.identityOf(); again != id {
		t.Errorf("cookies cleared: %s after %s", again, id)
	}
	if rg.wechat.Count(wechattest.ExchangeCode) != 2 {
		t.Errorf("%d exchanges", rg.wechat.Count(wechattest.ExchangeCode))
	}
}

func TestGuestLogsInWithOneTapAndKeepsHisOrder(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	page := b.get("/me/orders?page=2")
	if page.Request.URL.Path != "/wxgate/login" || page.StatusCode != http.StatusOK {
		t.Fatalf("not at the login page: %d at %s", page.StatusCode, page.Request.URL)
	}
	done := b.tapLogin(page)
	if done.Request.URL.RequestURI() != "/me/orders?page=2" {
		t.Fatalf("came back to %s", done.Request.URL)
	}
	member, kind, previous := rg.identityOf()
	if kind != "member" || member == guest || previous != guest {
		t.Errorf("the shop was told %q, %q, previously %q; the guest was %q", member, kind, previous, guest)
	}
	b.clearCookies()
	b.get("/me/orders")
	if again, kind, _ := rg.identityOf(); again != member || kind != "member" || rg.wechat.Count(wechattest.Authorize) != 3 {
		t.Errorf("cookies cleared: %s %s", again, kind)
	}
}

func TestGuestWithKnownUnionIDMeetsNoPage(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	guest, _, _ := rg.identityOf()
	got := b.get("/me/orders")
	member, kind, previous := rg.identityOf()
	if got.Request.URL.Path != "/me/orders" || kind != "member" || previous != guest || member == guest {
		t.Errorf("at %s as %s %s, previously %s", got.Request.URL, kind, member, previous)
	}
	if got.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("the answer that carries a session has Cache-Control %q", got.Header.Get("Cache-Control"))
	}
	b.get("/goods")
	if again, _, _ := rg.identityOf(); again != member {
		t.Errorf("the next page is %s's", again)
	}
}

func TestOrdinaryBrowserGetsAGuestWithoutRedirect(t *testing.T) {
	rg := newRig(t)
	b := rg.browser(uaChrome)
	got := b.get("/goods")
	id, kind, _ := rg.identityOf()
	if len(b.hops) != 0 || id == "" || kind != "guest" {
		t.Errorf("%v, %q %q", b.hops, id, kind)
	}
	if got.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("Cache-Control %q", got.Header.Get("Cache-Control"))
	}
	got = b.get("/goods")
	if again, _, _ := rg.identityOf(); again != id || got.Header.Get("Set-Cookie") != "" {
		t.Errorf("%s, then %s, with %q", id, again, got.Header.Get("Set-Cookie"))
	}
	if page := b.get("/me/orders"); page.Request.URL.Path != "/wxgate/login" || strings.Contains(page.body, "go=wechat") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}

func TestLoggedOutStaysLoggedOutUntilHeTaps(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	member, _, _ := rg.identityOf()
	old := b.cookies()["wxgate"]
	if got := b.fetch(http.MethodPost, "/wxgate/logout"); got.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d %s", got.StatusCode, got.body)
	}
	b.get("/goods")
	guest, kind, _ := rg.identityOf()
	if kind != "guest" || guest == member || len(b.hops) != 0 {
		t.Errorf("after logout: %s %s through %v", kind, guest, b.hops)
	}
	page := b.get("/me/orders")
	if page.Request.URL.Path != "/wxgate/login" {
		t.Fatalf("at %s", page.Request.URL)
	}
	stolen := rg.browser(uaChrome)
	stolen.get("/goods", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+old) })
	if id, _, _ := rg.identityOf(); id == member {
		t.Error("the session lives on after logout")
	}
	b.tapLogin(page)
	if id, kind, previous := rg.identityOf(); id != member || kind != "member" || !strings.Contains(previous, guest) {
		t.Errorf("logged in again as %s %s, previously %s", kind, id, previous)
	}
}

func TestScriptsGetAProblemDocument(t *testing.T) {
	rg := newRig(t)
	for _, tc := range []struct {
		b    *browser
		need string
	}{{rg.wechatBrowser(wechattest.Person{Name: "li"}), "wechat"}, {rg.browser(uaChrome), "phone"}} {
		tc.b.get("/goods")
		before := rg.reached()
		got := tc.b.fetch(http.MethodPost, "/api/me/summary")
		var p problem
		if err := json.Unmarshal([]byte(got.body), &p); err != nil {
			t.Fatal(err, got.body)
		}
		if got.StatusCode != http.StatusUnauthorized || got.Header.Get("Content-Type") != "application/problem+json" ||
			p.Code != codeLoginRequired || p.Need != tc.need || p.Type != "urn:wxgate:problem:login_required" ||
			p.LoginURL != "/wxgate/login?return_to="+url.QueryEscape("/cart?x=1") {
			t.Errorf("%d %+v", got.StatusCode, p)
		}
		if got.Header.Get("Cache-Control") != "private, no-store" || !strings.Contains(strings.Join(got.Header["Vary"], ","), "Cookie") {
			t.Errorf("%v", got.Header)
		}
		if rg.reached() != before {
			t.Error("the shop was reached")
		}
	}
}

// A proxy that passes Early Hints on clears the header afterwards (RFC 8297).
func TestSessionSurvivesEarlyHints(t *testing.T) {
	rg := newRig(t)
	rg.shop = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</shop.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
		w.Header().Set("Set-Cookie", "PHPSESSID=1")
		w.WriteHeader(http.StatusOK)
	}
	b := rg.browser(uaChrome)
	got := b.get("/goods")
	first, _, _ := rg.identityOf()
	b.get("/goods")
	if again, _, _ := rg.identityOf(); again != first || len(got.Header["Set-Cookie"]) != 2 {
		t.Errorf("%s became %s; set were %q", first, again, got.Header["Set-Cookie"])
	}
}

func TestBypassIsUntouched(t *testing.T) {
	rg := newRig(t)
	rg.shop = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Wxgate-Login", "7")
		w.Header().Set("Cache-Control", "public")
	}
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	got := b.get("/pay/notify", func(r *http.Request) { r.Header.Set("X-User-ID", "1") })
	if got.Header.Get("Set-Cookie") != "" || got.Header.Get("Cache-Control") != "public" || got.Header.Get("X-Wxgate-Login") != "" {
		t.Errorf("%v", got.Header)
	}
	if id, _, _ := rg.identityOf(); id != "" {
		t.Errorf("the shop was told %s", id)
	}
}

func TestPublicIsIdentifiedAndNeverGivenACookie(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	if got := b.get("/static/app.js"); got.Header.Get("Set-Cookie") != "" || len(b.hops) != 0 {
		t.Errorf("%v %v", got.Header, b.hops)
	}
	b.get("/goods")
	want, _, _ := rg.identityOf()
	b.get("/static/app.js")
	if id, _, _ := rg.identityOf(); id != want {
		t.Errorf("a known visitor is %q at public level", id)
	}
}

func TestRefusalEndsAtTheLoginPage(t *testing.T) {
	for name, refusal := range map[string]wechattest.Refusal{"state only": wechattest.StateOnly, "authdeny": wechattest.Authdeny} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t)
			b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: refusal})
			b.get("/goods")
			guest, _, _ := rg.identityOf()
			got := b.tapLogin(b.get("/me/orders"))
			if got.Request.URL.Path != "/wxgate/login" || !strings.Contains(got.body, "go=wechat") || !strings.Contains(got.body, "refused") {
				t.Errorf("at %s:\n%s", got.Request.URL, got.body)
			}
			b.get("/goods")
			if id, kind, _ := rg.identityOf(); id != guest || kind != "guest" {
				t.Errorf("after the refusal: %s %s", kind, id)
			}
		})
	}
}

// No callback ever comes: the page that starts the consent works again.
func TestLoginPageWorksAfterAConsentThatNeverCameBack(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Refuse, Refusal: wechattest.NoRedirect})
	page := b.get("/me/orders")
	b.tapLogin(page)
	rg.wechat.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	if got := b.tapLogin(page); got.Request.URL.Path != "/me/orders" {
		t.Errorf("at %s", got.Request.URL)
	}
}

func TestConsentWithoutUnionIDIsNotAskedForTwice(t *testing.T) {
	rg := newRig(t)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}})
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	got := b.tapLogin(b.get("/me/orders"))
	if got.Request.URL.Path != "/wxgate/login" || strings.Contains(got.body, "go=wechat") || !strings.Contains(got.body, "phone_required") {
		t.Errorf("at %s:\n%s", got.Request.URL, got.body)
	}
	// He is told to name a code to the shop, so there is one, however he comes.
	if got := b.get("/me/orders", english); !strings.Contains(got.body, "the code below") || !strings.Contains(got.body, "<code>phone_required</code>") {
		t.Errorf("later, at %s:\n%s", got.Request.URL, got.body)
	}
	if got := b.fetch(http.MethodGet, "/api/me/summary"); !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("scripts are told %s", got.body)
	}
}

func TestSnapshotVisitorIsStoredNowhere(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Snapshot: wechattest.SnapshotOn})
	got := b.get("/goods")
	id, kind, _ := rg.identityOf()
	if id == "" || kind != "guest" || got.Request.URL.Path != "/goods" {
		t.Fatalf("%s %s at %s", kind, id, got.Request.URL)
	}
	told, err := rg.db.Events(t.Context(), 0, 10)
	must(t, err)
	if len(told.Events) != 0 {
		t.Errorf("events: %v", told.Events)
	}
	page := b.get("/me/orders")
	if strings.Contains(page.body, "go=wechat") || !strings.Contains(page.body, "使用完整服务") {
		t.Errorf("the login page says\n%s", page.body)
	}
	r, err := http.NewRequest(http.MethodGet, rg.abs("/goods"), nil)
	must(t, err)
	b.clearCookies()
	b.navigate(r)
	for _, c := range cookiesSet(b, r) {
		if c.Name == "wxgate" && (c.MaxAge != 0 || !c.Expires.IsZero()) {
			t.Errorf("a lasting cookie: %v", c)
		}
	}
}

// cookiesSet returns every cookie that was set on the way.
func cookiesSet(b *browser, r *http.Request) []*http.Cookie {
	var all []*http.Cookie
	client := *b.client
	client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			all = append(all, resp.Cookies()...)
		}
		return resp, err
	})
	resp, err := client.Do(r)
	must(b.rg.t, err)
	resp.Body.Close()
	return all
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestMeTellsTheVisitorWhoHeIs(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	if got := b.fetch(http.MethodGet, "/wxgate/me"); strings.TrimSpace(got.body) != `{"kind":"nobody"}` {
		t.Errorf("of nobody: %s", got.body)
	}
	b.get("/goods")
	id, _, _ := rg.identityOf()
	got := b.fetch(http.MethodGet, "/wxgate/me")
	var me meAnswer
	must(t, json.Unmarshal([]byte(got.body), &me))
	if me.ID != id || me.Kind != "guest" || me.Channel != "h5" || len(me.Identities) != 1 || me.Identities[0].AppID != testAppID {
		t.Errorf("%s", got.body)
	}
}

func TestGuestsOffTellsTheShopOfMembersOnly(t *testing.T) {
	rg := newRig(t, func(c *Config) { c.Account.GuestsOff = true })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	if id, _, _ := rg.identityOf(); id != "" {
		t.Errorf("the shop was told %s", id)
	}
	b.get("/goods")
	if len(b.hops) != 0 {
		t.Errorf("identified again through %v", b.hops)
	}
	b.get("/me/orders")
	if id, kind, previous := rg.identityOf(); id == "" || kind != "member" || previous != "" {
		t.Errorf("%q %q %q", id, kind, previous)
	}
	plain := rg.browser(uaChrome)
	plain.get("/goods")
	if id, _, _ := rg.identityOf(); id != "" || len(plain.cookies()) != 0 {
		t.Errorf("an ordinary browser got %q and %v", id, plain.cookies())
	}
}

func TestHeaderClientsAreTold(t *testing.T) {
	rg := newRig(t)
	now := time.Now()
	token, err := rg.keys.SealSession(&session.Session{
		ID: session.NewID(), UserID: "1000000007", Kind: "guest", Born: now.Unix(),
		IssuedAt: now.Unix(), RenewedAt: now.Unix(), ExpiresAt: now.Add(time.Hour).Unix(), Channel: "mini_program",
	})
	must(t, err)
	b := rg.browser(uaChrome)
	for name, value := range map[string]string{"Authorization": "Wxgate " + token, "X-Wxgate-Session": token} {
		b.clearCookies()
		b.fetch(http.MethodGet, "/goods", func(r *http.Request) { r.Header.Set(name, value) })
		h := rg.last().Header
		if h.Get("X-User-ID") != "1000000007" || h.Get("Authorization") != "" || h.Get("X-Wxgate-Session") != "" {
			t.Errorf("%s: the shop got %v", name, h)
		}
		for _, wrong := range []string{"Wxgate nonsense", "Wxgate"} {
			got := b.fetch(http.MethodGet, "/goods", func(r *http.Request) { r.Header.Set("Authorization", wrong) })
			if got.StatusCode != http.StatusUnauthorized || !strings.Contains(got.body, `"session_expired"`) {
				t.Errorf("%q: %d %s", wrong, got.StatusCode, got.body)
			}
			if got := b.fetch(http.MethodGet, "/static/x", func(r *http.Request) { r.Header.Set("Authorization", wrong) }); got.StatusCode != http.StatusOK {
				t.Errorf("%q at public level: %d", wrong, got.StatusCode)
			}
		}
	}
}

func TestCookieDomainHasToCoverTheSite(t *testing.T) {
	for domain, want := range map[string]string{"shop.test": "", "test.example": "does not cover", "op.test": "does not cover"} {
		_, err := New(Config{ExternalURL: "https://www.shop.test", CookieDomain: domain}, Deps{Signer: testSigner(t)})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", domain, err)
		}
	}
}
