package gate

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Attack: somebody else's ids, in every place where a careless gateway would
// read them.
func TestIDsInParametersAreIgnored(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, withMini)
	victim := rg.wechatBrowser(wechattest.Person{Name: "victim", Consent: wechattest.Accept})
	victim.tapLogin(victim.get("/me/orders"))
	rg.verify(victim, wangPhone)
	victim.get("/goods")
	member, _, _ := rg.identityOf()
	openID, unionID := rg.wechat.OpenID("victim", testAppID), rg.wechat.UnionID("victim", testAppID)
	ids := map[string]string{
		"openid": openID, "open_id": openID, "OpenID": openID, "unionid": unionID, "UnionID": unionID, "user_id": member, "userid": member,
		"UserID": member, "sub": member, "kind": "member", "phone_number": wangPhone, "session_openid": openID,
	}
	query := ""
	for name, value := range ids {
		query += "&" + name + "=" + value
	}

	mallory := rg.wechatBrowser(wechattest.Person{Name: "mallory", Consent: wechattest.Accept})
	for _, path := range []string{"/goods?x=1", "/wxgate/me?x=1", "/wxgate/login?return_to=/", "/wxgate/phone?return_to=/", "/wxgate/bind?return_to=/", "/wxgate/handoff?return_to=/"} {
		mallory.get(path + query)
	}
	mallory.get(mallory.startConsent("/me/orders") + query)
	for path, fields := range map[string]map[string]string{
		"/wxgate/phone/code":  {"phone": liPhone},
		"/wxgate/phone":       {"phone": liPhone, "code": "000000"},
		"/wxgate/unbind":      {"appid": testMiniID},
		"/wxgate/logout":      {},
		"/wxgate/app/session": {},
	} {
		for name, value := range ids {
			fields[name] = value
		}
		mallory.post(path+"?x=1"+query, fields)
	}
	mallory.tapLogin(mallory.get("/me/orders" + "?x=1" + query))
	if id, kind, _ := rg.identityOf(); id == member || kind != "member" {
		t.Errorf("in the browser mallory is the %s %s, the victim %s", kind, id, member)
	}

	app := rg.miniOf(wechattest.Person{Name: "mallory"})
	fields := map[string]string{"appid": testMiniID, "code": app.code(), "want": "login"}
	for name, value := range ids {
		fields[name] = value
	}
	if _, said := app.post("/wxgate/mini/login?x=1"+query, fields); said.User.ID == member || said.User.ID == "" {
		t.Errorf("in the mini program mallory is %s, the victim %s", said.User.ID, member)
	}
	if me := victim.me(); me.ID != member || me.Phone != account.Phone(wangPhone).String() {
		t.Errorf("the victim is %+v", me)
	}
}

// Whatever changes something is asked for by this site's pages and in JSON, at
// each endpoint that there is. Those that know no cookies have nothing that
// another site could use, and its browsers ask first whether they may send JSON.
func TestEveryEndpointThatChangesSomethingRefusesOtherSites(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, withMini)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	member := b.me().ID
	posts := 0
	for _, path := range []string{
		"/account", "/account/cancel", "/app/login", "/app/session", "/bind", "/handoff", "/healthz", "/jwks.json", "/login", "/logout", "/me", "/merge",
		"/mini/login", "/mini/phone", "/mini/profile", "/mini/ticket", "/phone", "/phone/code", "/readyz", "/unbind", "/callback/" + testAppID,
	} {
		e, ok := endpointOf(path)
		if !ok {
			t.Fatalf("there is no %s", path)
		}
		if e.post == nil {
			if got := b.post("/wxgate"+path, map[string]string{}); got.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("POST %s: %d", path, got.StatusCode)
			}
			continue
		}
		posts++
		edits := notJSON()
		if !forBearers(path) {
			maps.Copy(edits, ofOtherSites())
		}
		for name, edit := range edits {
			got := b.post("/wxgate"+path, map[string]string{"appid": testAppID, "phone": liPhone}, edit)
			if got.StatusCode != http.StatusForbidden && got.StatusCode != http.StatusBadRequest {
				t.Errorf("%s to %s: %d %s", name, path, got.StatusCode, got.body)
			}
		}
		asked := b.fetch(http.MethodOptions, "/wxgate"+path, func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.test")
			r.Header.Set("Access-Control-Request-Method", http.MethodPost)
		})
		if asked.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s lets another site in", path)
		}
	}
	if me := b.me(); posts < 11 || me.ID != member || rg.inbox.count() != 0 {
		t.Errorf("after %d endpoints he is %+v, %d codes were sent", posts, me, rg.inbox.count())
	}
}

// What visitors type decides, whatever a client says of the connection.
func TestCookiesAreAsSecureAsTheExternalURL(t *testing.T) {
	for external, want := range map[string]string{"https://shop.test": "__Host-wxgate", "http://shop.test": "wxgate"} {
		rg := newRig(t, func(c *Config) { c.ExternalURL = external })
		for _, forwarded := range []string{"", "http", "https"} {
			for _, scheme := range []string{"http", "https"} {
				r := httptest.NewRequest(http.MethodGet, scheme+"://shop.test/goods", nil)
				r.Header.Set("User-Agent", uaChrome)
				r.Header.Set("Sec-Fetch-Mode", "cors")
				r.Header.Set("Sec-Fetch-Dest", "empty")
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				r.Header.Set("X-Forwarded-Proto", forwarded)
				r.Header.Set("X-Forwarded-Host", "evil.test")
				w := httptest.NewRecorder()
				rg.serve(w, r)
				set := w.Result().Cookies()
				if len(set) != 1 || set[0].Name != want || set[0].Secure != (want != "wxgate") || set[0].Domain != "" {
					t.Errorf("%s, called by %s and forwarded %q: %v", external, scheme, forwarded, set)
				}
			}
		}
	}
}

// A browser that never brings back what WeChat answered is asked for twice.
func TestThirdRoundWithinTenMinutesIsNone(t *testing.T) {
	rg := newRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li"})
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for i := range 4 {
		got := b.get("/goods")
		if sent := got.StatusCode == http.StatusFound; sent != (i < 2) {
			t.Errorf("visit %d: %d to %s", i+1, got.StatusCode, got.Header.Get("Location"))
		}
	}
	if _, kind, _ := rg.identityOf(); kind != "guest" {
		t.Errorf("he goes on as a %s", kind)
	}
	f, _ := rg.site.readFlow(&Visit{flows: []string{b.cookies()["wxgate-flow"]}, now: time.Now().Add(10*time.Minute - 20*time.Second)})
	later, _ := rg.site.readFlow(&Visit{flows: []string{b.cookies()["wxgate-flow"]}, now: time.Now().Add(10 * time.Minute)})
	if len(f.Rounds) != 2 || len(later.Rounds) != 0 {
		t.Errorf("%d rounds count just before ten minutes are over, %d then", len(f.Rounds), len(later.Rounds))
	}
}

// The mini program logs in while its page is opened: the ticket was bound to
// the session before.
func TestTicketSurvivesTheLoginOfItsSession(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("").User.ID
	u := li.ticket("/cart")
	member := li.login("login").User.ID
	view := rg.webViewOf("li", testMiniID)
	view.get(u)
	if id, kind, previous := rg.identityOf(); member == guest || id != member || kind != "member" || previous != guest {
		t.Errorf("the web-view is the %s %s, previously %s; the mini program %s, previously %s", kind, id, previous, member, guest)
	}
}

// WeChat's session_key signs for the person: whoever reads the store, or our
// answers, events and logs, does not get it.
func TestSessionKeyLeavesTheProcessSealedOnly(t *testing.T) {
	rg := newRig(t, withMini)
	seen := &everything{Store: rg.site.Store, Limiter: rg.site.Limiter}
	rg.site.Store, rg.site.Limiter = seen, seen
	li := rg.miniOf(wechattest.Person{Name: "li"})
	got, said := li.loginWith(li.code(), "login")
	if said.User.Kind != "member" {
		t.Fatalf("no login: %d %s", got.StatusCode, got.body)
	}
	keys, err := rg.site.sessionKeys(t.Context(), miniUser{testMiniID, rg.wechat.OpenID("li", testMiniID)})
	must(t, err)
	told, err := rg.db.Events(t.Context(), 0, 100)
	must(t, err)
	if len(keys) != 1 || len(keys[0]) != 24 || len(told.Events) == 0 {
		t.Fatalf("keys %q, %d events", keys, len(told.Events))
	}
	kept := seen.keys.String() + seen.values.String()
	if !strings.Contains(kept, "sessionkey:") {
		t.Fatalf("it is not kept:\n%s", kept)
	}
	for where, text := range map[string]string{"the store": kept, "the answer": got.body, "the log": rg.log.String(), "an event": fmt.Sprint(told.Events)} {
		if strings.Contains(text, strings.TrimRight(keys[0], "=")) {
			t.Errorf("%s tells the session_key:\n%s", where, text)
		}
	}
}

// The durations that the documentation promises, in its own words.
func TestShortLivedThingsLiveAsLongAsPromised(t *testing.T) {
	rg := newPhoneRig(t, weChatMode, withMini)
	seen := &everything{Store: rg.store.Store}
	rg.store.Store = seen
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.get("/goods")
	silent := seen.lives["state"]
	old, ok := rg.keys.OpenSession(b.cookies()["wxgate"], time.Now())
	if !ok {
		t.Fatal("no session")
	}
	before := time.Now()
	b.tapLogin(b.get("/me/orders"))
	b.askCode(liPhone)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.login("")
	li.ticket("/goods")
	got := map[string]time.Duration{"silent state": silent, "result": resultLife} // kept for longer, to lead a late one on
	for _, kind := range []string{"code", "handoff"} {
		got[kind] = seen.lives[kind].Round(2 * time.Second)
	}
	want := map[string]time.Duration{
		"silent state": 10 * time.Minute, // and a tapped one logs in for as long, see late_test.go
		"code":         5 * time.Minute,
		"handoff":      time.Minute, // a ticket for a web-view
		"result":       time.Minute, // of a callback that may come twice
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s\nkept were %v", diff, seen.lives)
	}
	res, err := rg.db.Resolve(t.Context(), account.SessionRef{ID: old.ID, UserID: old.UserID, Kind: account.Guest, IssuedAt: time.Unix(old.IssuedAt, 0)})
	must(t, err)
	if grace := res.DiesAt.Sub(before); grace > time.Minute+time.Since(before) || grace < 58*time.Second {
		t.Errorf("the token before a login is served for %v", grace)
	}
}

// A ticket is for a web-view with cookies whose visitor is a free guest or
// nobody: not for a client with a session in a header, nor on a snapshot page,
// nor for a token in its last minute.
func TestTicketIsBurntForWhoeverIsNoPlainGuest(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	owner := li.login("").User.ID
	now := time.Now()
	sealed := func(s session.Session) string {
		s.ID, s.Kind, s.Channel, s.UserID = session.NewID(), kindGuest, channelBrowser, "1000000099"
		s.Born, s.IssuedAt, s.RenewedAt, s.ExpiresAt = now.Unix(), now.Unix(), now.Unix(), now.Add(time.Hour).Unix()
		token, err := rg.keys.SealSession(&s)
		must(t, err)
		return token
	}
	rotated := sealed(session.Session{})
	opened, _ := rg.keys.OpenSession(rotated, now)
	must(t, rg.db.RevokeSession(t.Context(), opened.ID, now.Add(time.Minute), now.Add(time.Hour)))
	for name, header := range map[string][2]string{
		"in a header":        {"Authorization", "Wxgate " + sealed(session.Session{})},
		"a snapshot page":    {"Cookie", "wxgate=" + sealed(session.Session{Snapshot: true})},
		"in its last minute": {"Cookie", "wxgate=" + rotated},
	} {
		ticket := li.ticket("/goods")
		bearing := func(r *http.Request) { r.Header.Set(header[0], header[1]) }
		view := rg.webViewOf("li", testMiniID)
		view.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		got := view.get(ticket, bearing)
		if got.Header.Get("Set-Cookie") != "" || got.Header.Get("X-Wxgate-Session") != "" {
			t.Errorf("%s: %d %v", name, got.StatusCode, got.Header)
		}
		again := rg.webViewOf("li", testMiniID)
		again.get(ticket)
		if id, _, _ := rg.identityOf(); id == owner {
			t.Errorf("%s: the ticket was not burnt", name)
		}
	}
}

// Where WeChat tells no unionid, only the openid says who is the same person:
// two people of whom nothing more is known are two.
func TestTicketWithoutUnionIDsIsForTheSameOpenID(t *testing.T) {
	rg := newRig(t, withMini)
	rg.wechat.SetApp(wechattest.App{ID: testMiniID, Secret: testMiniSecret, MiniProgram: true})
	li, mallory := rg.miniOf(wechattest.Person{Name: "li"}), rg.miniOf(wechattest.Person{Name: "mallory"})
	own, foreign := li.login("").User.ID, mallory.login("").User.ID
	view := rg.webViewOf("li", testMiniID)
	view.get(li.ticket("/goods"))
	before := view.cookies()["wxgate"]
	view.get(mallory.ticket("/goods"))
	if id, _, _ := rg.identityOf(); id != own || own == foreign || view.cookies()["wxgate"] != before {
		t.Errorf("with mallory's ticket li is %s, and not %s", id, own)
	}
	view.get(li.ticket("/goods"))
	if id, _, _ := rg.identityOf(); id != own || view.cookies()["wxgate"] == before {
		t.Errorf("with his own next ticket he is %s, and not %s, with a new session: %v", id, own, view.cookies()["wxgate"] != before)
	}
}

// Two sites of one gateway share its store: a ticket opens the site that it was
// made for.
func TestTicketIsForTheSiteThatMadeIt(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.login("")
	cfg := rg.site.cfg
	cfg.ExternalURL = "http://other.test"
	other, err := New(cfg, rg.site.Deps)
	must(t, err)
	ticket := mustParse(t, li.ticket("/goods"))
	r := httptest.NewRequest(http.MethodGet, "http://other.test"+ticket.RequestURI(), nil)
	rg.webViewOf("li", testMiniID).navigate(r)
	w := httptest.NewRecorder()
	steps(w, r, other, rg.backend)
	if w.Code != http.StatusFound || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
