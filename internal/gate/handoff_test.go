package gate

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// webViewOf is the web-view of a mini program on the phone of a person, with
// cookies of its own.
func (rg *rig) webViewOf(person, appID string) *browser {
	b := rg.browser(wechattest.AndroidUserAgent + " miniProgram/" + appID)
	b.person = person
	return b
}

// ticket is webviewUrl of the client: the URL that the mini program opens.
func (m *mini) ticket(returnTo string) string {
	m.rg.t.Helper()
	got := m.request(http.MethodPost, "/wxgate/mini/ticket", map[string]string{"return_to": returnTo})
	var said struct{ URL string }
	if got.StatusCode != http.StatusOK || json.Unmarshal([]byte(got.body), &said) != nil || !strings.HasPrefix(said.URL, m.rg.srv.URL) {
		m.rg.t.Fatalf("no ticket: %d %s", got.StatusCode, got.body)
	}
	return said.URL
}

// shownTo opens a page and says whom the shop was told of.
func (b *browser) shownTo(path string) (id, kind string) {
	b.rg.t.Helper()
	if got := b.get(path); got.StatusCode != http.StatusOK {
		b.rg.t.Fatalf("%s: %d %s", path, got.StatusCode, got.body)
	}
	id, kind, _ = b.rg.identityOf()
	return id, kind
}

func TestWebViewGoesOnAsTheMiniProgram(t *testing.T) {
	for name, openPlatform := range map[string]string{"unionid known": "shop", "unionid unknown": ""} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			rg.wechat.SetApp(wechattest.App{ID: testMiniID, Secret: testMiniSecret, OpenPlatform: openPlatform, MiniProgram: true})
			li := rg.miniOf(wechattest.Person{Name: "li"})
			guest := li.login("").User.ID
			view := rg.webViewOf("li", testMiniID)
			got := view.get(li.ticket("/goods?id=1#reviews"))
			if got.Request.URL.Path != "/goods" || got.Request.URL.RawQuery != "id=1" || got.StatusCode != http.StatusOK {
				t.Errorf("led to %s, %d", got.Request.URL, got.StatusCode)
			}
			if id, kind, _ := rg.identityOf(); id != guest || kind != "guest" {
				t.Errorf("in the web-view %s is the %s %s", guest, kind, id)
			}
			// Nothing was asked of WeChat, on this page or on the next.
			if id, _ := view.shownTo("/cart"); id != guest || rg.wechat.Count(wechattest.Authorize) != 0 {
				t.Errorf("%s became %s, in %d rounds", guest, id, rg.wechat.Count(wechattest.Authorize))
			}
			if token := view.cookies()["wxgate"]; token == "" || token == li.token {
				t.Error("the web-view has the session of the mini program, or none")
			}
		})
	}
}

// The page in the web-view needs a login: the consent there proves the same
// WeChat account, and both sides are one member.
func TestBothSidesOfAHandOffAreOne(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	guest := li.login("").User.ID
	view := rg.webViewOf("li", testMiniID)
	page := view.get(li.ticket("/me/orders"))
	if !strings.HasPrefix(page.Request.URL.Path, "/wxgate/login") {
		t.Fatalf("a handed-over guest got to %s", page.Request.URL)
	}
	view.tapLogin(page)
	member, kind := view.shownTo("/goods")
	if kind != "member" {
		t.Fatalf("the web-view is a %s", kind)
	}
	if id, kind := li.shop("/goods"); id != member || kind != "member" {
		t.Errorf("the mini program's %s is %s, the web-view's %s", kind, id, member)
	}
	if previous := rg.last().Header.Get("X-User-Previous-ID"); previous != guest {
		t.Errorf("previous %q, want %s", previous, guest)
	}
}

// The other way round: the page knew him first, by its own openid and unionid.
func TestMiniProgramGoesOnAsThePage(t *testing.T) {
	rg := newRig(t, withMini)
	rg.wechat.SetApp(wechattest.App{ID: testAppID, Secret: testSecret, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop", BaseUnionID: true})
	li := rg.miniOf(wechattest.Person{Name: "li"})
	rg.wechat.SetConsented("li", testAppID, true)
	view := rg.webViewOf("li", testMiniID)
	before, _ := view.shownTo("/goods") // a silent round, in the web-view
	if after := li.login("").User.ID; after != before {
		t.Errorf("the page's %s is %s in the mini program", before, after)
	}
	view.get(li.ticket("/cart"))
	if id, _ := view.shownTo("/goods"); id != before {
		t.Errorf("after the hand-off %s is %s", before, id)
	}
}

func TestMemberIsHandedOver(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	member := li.login("login").User
	view := rg.webViewOf("li", testMiniID)
	got := view.get(li.ticket("/me/orders"))
	if id, kind, _ := rg.identityOf(); got.Request.URL.Path != "/me/orders" || id != member.ID || kind != "member" {
		t.Errorf("at %s as the %s %s, want %+v", got.Request.URL, kind, id, member)
	}
	// What is revoked in one place is not revoked in the other, except all at once.
	must(t, rg.db.RevokeUser(t.Context(), member.ID, account.By{Reason: "a test"}))
	if got := view.fetch(http.MethodGet, "/me/orders"); got.StatusCode != http.StatusUnauthorized {
		t.Errorf("after all sessions were revoked: %d", got.StatusCode)
	}
}

// His page has made him a member, and the mini program has not asked for anything
// since: what its ticket makes is a member's session, who was proved by WeChat.
func TestGuestWhoIsAMemberByNowIsHandedOverAsOne(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	li.login("")
	view := rg.webViewOf("li", testMiniID)
	view.tapLogin(view.get(li.ticket("/me/orders")))
	member, _ := view.shownTo("/goods")
	second := rg.webViewOf("li", testMiniID)
	second.get(li.ticket("/goods"))
	sess, ok := rg.keys.OpenSession(second.cookies()["wxgate"], time.Now())
	if !ok || sess.UserID != member || sess.Kind != kindMember || sess.AMR != amrWeChat {
		t.Errorf("the session is %+v, of %s", sess, member)
	}
}

// What was bound to the session of the browser before, such as a code under way,
// is not his who was handed over.
func TestHandOffBeginsALineOfItsOwn(t *testing.T) {
	rg := newRig(t, withMini)
	view := rg.webViewOf("li", testMiniID)
	view.fetch(http.MethodGet, "/goods")
	before := view.cookies()["wxgate"]
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.login("")
	view.get(li.ticket("/cart"))
	lines := map[string]bool{}
	for _, token := range []string{before, view.cookies()["wxgate"], li.token} {
		sess, ok := rg.keys.OpenSession(token, time.Now())
		if !ok {
			t.Fatalf("no session in %q", token)
		}
		lines[sess.Line()] = true
	}
	if len(lines) != 3 {
		t.Errorf("%d lines of three sessions", len(lines))
	}
}

func TestTicketWorksOnce(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("").User.ID
	u := li.ticket("/goods")
	rg.webViewOf("li", testMiniID).get(u)
	second := rg.webViewOf("li", testMiniID)
	if got := second.get(u); got.Request.URL.Path != "/goods" {
		t.Errorf("the second led to %s", got.Request.URL)
	}
	if id, _, _ := rg.identityOf(); id == guest {
		t.Error("a ticket worked twice")
	}
}

func TestTicketsThatAreNone(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("").User.ID
	expired := li.ticket("/goods")
	_, found, err := rg.store.Take(t.Context(), rg.site.handoffKey(mustParse(t, expired).Query().Get("ticket")))
	if err != nil || !found {
		t.Fatalf("the ticket: found %v, error %v", found, err)
	}
	for name, ticket := range map[string]string{
		"expired": expired, "none": "/wxgate/handoff?return_to=/goods", "invented": "/wxgate/handoff?ticket=ABCDEFGHIJKLMNOPQRSTUVWXYZ&return_to=/goods",
		"a session": "/wxgate/handoff?ticket=" + li.token + "&return_to=/goods",
	} {
		got := rg.webViewOf("li", testMiniID).get(ticket)
		if id, _, _ := rg.identityOf(); got.Request.URL.Path != "/goods" || id == guest {
			t.Errorf("%s: at %s as %s", name, got.Request.URL, id)
		}
	}
	view := rg.webViewOf("li", testMiniID)
	for to, want := range map[string]string{"https://evil.example/x": "/", "//evil.example": "/", "/wxgate/logout": "/", "/goods": "/goods"} {
		if got := view.get(li.ticket(to)); got.Request.URL.Path != want || got.Request.URL.Host != mustParse(t, rg.srv.URL).Host {
			t.Errorf("%s: led to %s", to, got.Request.URL)
		}
	}
	// A ticket's own target wins over what was added to its URL.
	u := mustParse(t, li.ticket("/goods"))
	q := u.Query()
	q.Set("return_to", "/cart")
	u.RawQuery = q.Encode()
	if got := view.get(u.String()); got.Request.URL.Path != "/goods" {
		t.Errorf("led to %s", got.Request.URL)
	}
}

// A preview of the page, or a look at its header, leaves the ticket. So does a
// picture on another page, which nobody has opened.
func TestTicketOutlivesAPreview(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("").User.ID
	u := li.ticket("/goods")
	view := rg.webViewOf("li", testMiniID)
	view.get(u, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") })
	view.get(u, func(r *http.Request) { r.Method = http.MethodHead })
	view.get(u, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Mode", "no-cors")
		r.Header.Set("Sec-Fetch-Dest", "image")
	})
	view.get(u, func(r *http.Request) {
		for _, name := range []string{"Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-Site"} {
			r.Header.Del(name)
		}
		r.Header.Set("Accept", "image/webp,image/*,*/*;q=0.8")
	})
	if view.cookies()["wxgate"] != "" {
		t.Error("a picture took the session")
	}
	view.get(u)
	if id, _, _ := rg.identityOf(); id != guest {
		t.Errorf("%s became %s", guest, id)
	}
}

func TestWhoGetsATicket(t *testing.T) {
	rg := newRig(t, withMini, withMobile)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	if got, _ := li.post("/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusUnauthorized, "session_expired") {
		t.Errorf("nobody: %d %s", got.StatusCode, got.body)
	}
	app := rg.appOf(wechattest.Person{Name: "li"})
	app.session()
	if got, _ := app.post("/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusUnauthorized, "session_expired") {
		t.Errorf("in a mobile app: %d %s", got.StatusCode, got.body)
	}
	li.login("")
	view := rg.webViewOf("li", testMiniID)
	view.get(li.ticket("/goods"))
	li.token = view.cookies()["wxgate"]
	if got, _ := li.post("/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusUnauthorized, "session_expired") {
		t.Errorf("with what a web-view has: %d %s", got.StatusCode, got.body)
	}
	li.token = ""
	li.login("")
	if got := li.request(http.MethodPost, "/wxgate/mini/ticket", nil); !is(got, http.StatusBadRequest, "malformed") {
		t.Errorf("without a body: %d %s", got.StatusCode, got.body)
	}
	for range 29 { // the malformed one is not counted
		li.ticket("/goods")
	}
	li.ticket("/goods")
	if got, _ := li.post("/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusTooManyRequests, "rate_limited") ||
		got.Header.Get("Retry-After") == "" {
		t.Errorf("the 31st: %d %s", got.StatusCode, got.body)
	}
}

func TestHandOffWhileAStoreFails(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("").User.ID
	u := li.ticket("/goods")
	view := rg.webViewOf("li", testMiniID)
	for name, fail := range map[string]func(bool){
		"the store":    rg.store.down.Store,
		"the database": rg.db.down.Store,
	} {
		fail(true)
		got := view.get(u)
		fail(false)
		if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") == "" {
			t.Errorf("without %s: %d %s", name, got.StatusCode, got.body)
		}
	}
	rg.store.down.Store(true)
	if got, _ := li.post("/wxgate/mini/ticket", map[string]string{"return_to": "/"}); !is(got, http.StatusServiceUnavailable, "unavailable") {
		t.Errorf("a ticket without the store: %d %s", got.StatusCode, got.body)
	}
	rg.store.down.Store(false)
	view.get(u)
	if id, _ := view.shownTo("/goods"); id != guest {
		t.Errorf("the ticket was lost: %s became %s", guest, id)
	}
}

func TestTicketOfAnEndedSession(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	member := li.login("login").User.ID
	u := li.ticket("/goods")
	li.request(http.MethodPost, "/wxgate/logout", nil)
	view := rg.webViewOf("li", testMiniID)
	if got := view.get(u); got.StatusCode != http.StatusOK || got.Request.URL.Path != "/goods" {
		t.Errorf("it led to %s, %d", got.Request.URL, got.StatusCode)
	}
	if id, _ := view.shownTo("/goods"); id == member {
		t.Error("a ticket outlived the logout")
	}
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	must(t, err)
	return u
}
