package gate

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// withMobile gives the site a mobile app.
func withMobile(c *Config) {
	c.MobileApps = []wechat.App{{AppID: testMobileID, AppSecret: testMobileSecret}}
}

// appOf opens a mobile app on the phone of a person. Like a mini program it keeps
// its session itself.
func (rg *rig) appOf(p wechattest.Person) *mini {
	rg.wechat.AddPerson(p)
	b := rg.browser("ShopApp/3.2 (iPhone; iOS 18.1) CFNetwork/1568")
	b.person = p.Name
	return &mini{browser: b, appID: testMobileID}
}

// session is what an app asks for at its first start.
func (m *mini) session() bearer {
	m.rg.t.Helper()
	got, said := m.post("/wxgate/app/session", map[string]string{})
	if got.StatusCode != http.StatusOK {
		m.rg.t.Fatalf("session: %d %s", got.StatusCode, got.body)
	}
	return said
}

// logIn is SendAuth and what follows.
func (m *mini) logIn() (answer, bearer) {
	m.rg.t.Helper()
	return m.post("/wxgate/app/login", map[string]string{"appid": m.appID, "code": m.rg.wechat.AppCode(m.person, m.appID)})
}

func (m *mini) mustLogIn() bearer {
	m.rg.t.Helper()
	got, said := m.logIn()
	if got.StatusCode != http.StatusOK || said.User.Kind != "member" {
		m.rg.t.Fatalf("login: %d %s", got.StatusCode, got.body)
	}
	return said
}

// me is GET /me.
func (m *mini) me() (said struct {
	ID, Kind, Channel string
	CanBind           bool `json:"can_bind"`
	Identities        []struct{ AppID string }
}) {
	m.rg.t.Helper()
	got := m.request(http.MethodGet, "/wxgate/me", nil)
	must(m.rg.t, json.Unmarshal([]byte(got.body), &said))
	return said
}

func TestAppGetsAGuest(t *testing.T) {
	rg := newRig(t, withMobile)
	app := rg.appOf(wechattest.Person{Name: "li"})
	first := app.session()
	if u := first.User; first.Session == "" || u.Kind != "guest" || u.ID == "" || u.Channel != "mobile_app" {
		t.Errorf("first start: %+v", first)
	}
	if id, kind := app.shop("/goods"); id != first.User.ID || kind != "guest" {
		t.Errorf("the shop was told of the %s %s", kind, id)
	}
	// At the next start it has a session, and keeps it.
	if again := app.session(); again.Session != "" || again.User != first.User {
		t.Errorf("next start: %+v", again)
	}
	other := rg.appOf(wechattest.Person{Name: "wang"})
	other.token = "unreadable"
	if o := other.session(); o.Session == "" || o.User.ID == first.User.ID {
		t.Errorf("with a session that does not open: %+v", o)
	}
	if me := app.me(); me.ID != first.User.ID || me.Channel != "mobile_app" || me.CanBind {
		t.Errorf("me: %+v", me)
	}
}

func TestAppSessionsAreLimited(t *testing.T) {
	rg := newRig(t, withMobile, func(c *Config) { c.MintLimit = limit.Limit{Events: 2, Window: time.Hour} })
	for range 2 {
		rg.appOf(wechattest.Person{Name: "li"}).session()
	}
	got, _ := rg.appOf(wechattest.Person{Name: "li"}).post("/wxgate/app/session", map[string]string{})
	if !is(got, http.StatusTooManyRequests, "rate_limited") || got.Header.Get("Retry-After") == "" {
		t.Errorf("beyond the limit: %d %s", got.StatusCode, got.body)
	}
}

// Attack: invented codes, each of which would cost a call of WeChat.
func TestCodesOfWeChatAreLimited(t *testing.T) {
	for name, c := range map[string]struct {
		api  wechattest.API
		send func(rg *rig) answer
	}{
		"login to a mini program": {wechattest.Code2Session, func(rg *rig) answer {
			got, _ := rg.miniOf(wechattest.Person{Name: "li"}).loginWith(rand.Text(), "login")
			return got
		}},
		"login to an app": {wechattest.ExchangeCode, func(rg *rig) answer {
			got, _ := rg.appOf(wechattest.Person{Name: "li"}).post("/wxgate/app/login", map[string]string{"appid": testMobileID, "code": rand.Text()})
			return got
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini, withMobile, func(c *Config) { c.MintLimit = limit.Limit{Events: 2, Window: time.Hour} })
			for range 2 {
				if got := c.send(rg); !is(got, http.StatusUnprocessableEntity, "code_invalid") {
					t.Errorf("an invented code: %d %s", got.StatusCode, got.body)
				}
			}
			got := c.send(rg)
			if !is(got, http.StatusTooManyRequests, "rate_limited") || retryAfter(got) == 0 {
				t.Errorf("one too many: %d %s", got.StatusCode, got.body)
			}
			if n := rg.wechat.Count(c.api); n != 2 {
				t.Errorf("WeChat was asked %d times", n)
			}
		})
	}
}

func TestAppSessionWithGuestsOff(t *testing.T) {
	rg := newPhoneRig(t, withMobile, func(c *Config) { c.Account.GuestsOff = true })
	app := rg.appOf(wechattest.Person{Name: "li"})
	if s := app.session(); s.Session == "" || s.User.Kind != "nobody" || s.User.ID != "" {
		t.Errorf("session %+v", s)
	}
	if s := app.session(); s.Session != "" || s.User.Kind != "nobody" {
		t.Errorf("next start: %+v", s)
	}
	if got, _ := app.post("/wxgate/phone/code", map[string]string{"phone": liPhone}); got.StatusCode != http.StatusAccepted {
		t.Fatalf("a code: %d %s", got.StatusCode, got.body)
	}
	got, said := app.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": rg.inbox.last(t).Code})
	if got.StatusCode != http.StatusOK || said.User.Kind != "member" || said.Session == "" || said.User.Channel != "mobile_app" {
		t.Errorf("by phone: %d %s", got.StatusCode, got.body)
	}
}

// A first login in the app is a login like any other: the guest comes along.
func TestAppLogsIn(t *testing.T) {
	rg := newRig(t, withMobile, withMini)
	app := rg.appOf(wechattest.Person{Name: "li"})
	guest := app.session().User.ID
	said := app.mustLogIn()
	if said.Session == "" || said.User.Channel != "mobile_app" || said.Code != "" {
		t.Errorf("login: %+v", said)
	}
	if id, kind := app.shop("/me/orders"); id != said.User.ID || kind != "member" || rg.last().Header.Get("X-User-Previous-ID") != guest {
		t.Errorf("the shop was told of the %s %s, who was %q", kind, id, rg.last().Header.Get("X-User-Previous-ID"))
	}
	if m := rg.miniOf(wechattest.Person{Name: "li"}).login("login"); m.User.ID != said.User.ID {
		t.Errorf("in the mini program he is %s, in the app %s", m.User.ID, said.User.ID)
	}
	if fresh := rg.appOf(wechattest.Person{Name: "li"}).mustLogIn(); fresh.User.ID != said.User.ID {
		t.Errorf("without a session he is %s, with one %s", fresh.User.ID, said.User.ID)
	}
}

func TestAppLoginWhereAPhoneIsNeeded(t *testing.T) {
	rg := newPhoneRig(t, withMobile)
	app := rg.appOf(wechattest.Person{Name: "li"})
	app.session()
	got := app.request(http.MethodGet, "/api/me/orders", nil)
	if !is(got, http.StatusUnauthorized, "login_required") || !strings.Contains(got.body, `"need":"wechat"`) {
		t.Errorf("a guest of the app: %d %s", got.StatusCode, got.body)
	}
	if got, said := app.logIn(); got.StatusCode != http.StatusOK || said.User.Kind != "guest" || said.Code != "phone_required" {
		t.Fatalf("login: %d %s", got.StatusCode, got.body)
	}
	// WeChat has said all it can.
	got = app.request(http.MethodGet, "/api/me/orders", nil)
	if !is(got, http.StatusUnauthorized, "login_required") || !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("after WeChat: %d %s", got.StatusCode, got.body)
	}
	app.post("/wxgate/phone/code", map[string]string{"phone": liPhone})
	_, said := app.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": rg.inbox.last(t).Code})
	if id, kind := app.shop("/me/orders"); kind != "member" || id != said.User.ID {
		t.Errorf("by phone: the %s %s, %+v", kind, id, said)
	}
	if me := app.me(); len(me.Identities) != 1 || me.Identities[0].AppID != testMobileID || me.CanBind {
		t.Errorf("me: %+v", me)
	}
}

// In an app without WeChat only a phone helps.
func TestAppWithoutWeChatNeedsAPhone(t *testing.T) {
	rg := newPhoneRig(t)
	app := rg.appOf(wechattest.Person{Name: "li"})
	app.session()
	got := app.request(http.MethodGet, "/api/me/orders", nil)
	if !is(got, http.StatusUnauthorized, "login_required") || !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if got, _ := app.logIn(); !is(got, http.StatusBadRequest, "malformed") {
		t.Errorf("a login: %d %s", got.StatusCode, got.body)
	}
}

// He is a member of the app by phone, and binds the WeChat account under which
// he has ordered before.
func TestAppBindsWeChatToSeeItsOrders(t *testing.T) {
	rg := newPhoneRig(t, withMobile, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	ordered := li.login("").User.ID
	app := rg.appOf(wechattest.Person{Name: "li"})
	app.session()
	app.post("/wxgate/phone/code", map[string]string{"phone": liPhone})
	_, said := app.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": rg.inbox.last(t).Code})
	if me := app.me(); !me.CanBind {
		t.Errorf("before: %+v", me)
	}
	bound := app.mustLogIn()
	if bound.User.ID != said.User.ID {
		t.Errorf("binding made %s of %s", bound.User.ID, said.User.ID)
	}
	app.shop("/me/orders")
	if previous := rg.last().Header.Get("X-User-Previous-ID"); !strings.Contains(previous, ordered) {
		t.Errorf("previous %q, want %s", previous, ordered)
	}
	if me := app.me(); me.CanBind || len(me.Identities) == 0 {
		t.Errorf("after: %+v", me)
	}
}

// The WeChat account on the phone is another member's: whoever binds it stays
// himself, and his session tells nothing of it.
func TestAppDoesNotBindSomebodyElsesWeChat(t *testing.T) {
	for name, first := range map[string]struct {
		own  bool // he has a WeChat account of his own
		code string
	}{
		"bound to another": {false, "wechat_bound_to_other_user"}, "he has one himself": {true, "wechat_bound_to_other_user"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMobile, withMini, func(c *Config) {
				c.Account.FirstLogin = account.FirstLoginWeChat
				c.Headers.OpenID = "X-Openid"
			})
			wang := rg.miniOf(wechattest.Person{Name: "wang"})
			wangs := wang.login("login").User.ID
			app := rg.appOf(wechattest.Person{Name: "li"})
			app.session()
			var own string
			if first.own {
				own = app.mustLogIn().User.ID
			} else {
				app.post("/wxgate/phone/code", map[string]string{"phone": liPhone})
				_, said := app.post("/wxgate/phone", map[string]string{"phone": liPhone, "code": rg.inbox.last(t).Code})
				own = said.User.ID
			}
			token := app.token
			app.person = "wang"
			if got, _ := app.logIn(); !is(got, http.StatusConflict, first.code) || got.Header.Get("X-Wxgate-Session") != "" {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if id, _ := app.shop("/me/orders"); id != own || id == wangs || app.token != token {
				t.Errorf("he is %s, was %s; wang is %s", id, own, wangs)
			}
			if rg.last().Header.Get("X-Openid") == rg.wechat.OpenID("wang", testMobileID) {
				t.Error("the shop was told of wang's openid")
			}
		})
	}
}

func TestAppLoginProblems(t *testing.T) {
	for name, c := range map[string]struct {
		fault  *wechattest.Fault
		fields map[string]string
		status int
		code   string
	}{
		"spent":                  {fault: fault(40163), status: 422, code: "code_used"},
		"invalid":                {fault: fault(40029), status: 422, code: "code_invalid"},
		"blocked":                {fault: fault(50002), status: 403, code: "wechat_blocked"},
		"busy":                   {fault: fault(-1), status: 503, code: "wechat_busy"},
		"too often":              {fault: fault(45011), status: 429, code: "rate_limited"},
		"no code":                {fields: map[string]string{"code": ""}, status: 400, code: "malformed"},
		"denied":                 {fields: map[string]string{"code": "authdeny"}, status: 422, code: "code_invalid"},
		"unknown app":            {fields: map[string]string{"appid": "wx0"}, status: 400, code: "malformed"},
		"a mini program's appid": {fields: map[string]string{"appid": testMiniID}, status: 400, code: "malformed"},
		"a mini program's code":  {fields: map[string]string{"code": "mini"}, status: 422, code: "code_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMobile, withMini)
			app := rg.appOf(wechattest.Person{Name: "li"})
			if c.fault != nil {
				rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, *c.fault)
			}
			fields := map[string]string{"appid": testMobileID, "code": rg.wechat.AppCode("li", testMobileID)}
			for k, v := range c.fields {
				fields[k] = v
			}
			if fields["code"] == "mini" {
				fields["code"] = rg.wechat.MiniLogin("li", testMiniID)
			}
			if got, _ := app.post("/wxgate/app/login", fields); !is(got, c.status, c.code) {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, c.status, c.code)
			}
		})
	}
}

// An app's codes are good for ten minutes, twice as long as a page's. Whoever
// sends one again within a minute gets the same answer, and WeChat is asked once.
func TestAppCodeIsSpentOnce(t *testing.T) {
	rg := newRig(t, withMobile)
	app := rg.appOf(wechattest.Person{Name: "li"})
	fields := map[string]string{"appid": testMobileID, "code": rg.wechat.AppCode("li", testMobileID)}
	_, first := app.post("/wxgate/app/login", fields)
	app.token = ""
	if _, again := app.post("/wxgate/app/login", fields); again.Session != first.Session || again.User != first.User {
		t.Errorf("first %+v, then %+v", first, again)
	}
	if n := rg.wechat.Count(wechattest.ExchangeCode); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	thief := rg.appOf(wechattest.Person{Name: "mallory"})
	thief.session()
	if got, _ := thief.post("/wxgate/app/login", fields); !is(got, http.StatusUnprocessableEntity, "code_used") {
		t.Errorf("in another session: %d %s", got.StatusCode, got.body)
	}
}

// The token answer lacks the unionid: it is asked for once more, and the login
// does not fail when there is none.
func TestAppLoginAsksForTheUnionID(t *testing.T) {
	rg := newRig(t, withMobile)
	rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.Fault{Set: map[string]any{"unionid": nil}})
	rg.appOf(wechattest.Person{Name: "li"}).mustLogIn()
	rg.wechat.Fail(wechattest.UserInfo, wechattest.Forever, wechattest.ErrCode(-1))
	if got, said := rg.appOf(wechattest.Person{Name: "wang"}).logIn(); got.StatusCode != http.StatusOK || said.User.Kind != "guest" || said.Code == "" {
		t.Errorf("without a unionid: %d %s", got.StatusCode, got.body)
	}
}

func TestAppSessionCanBeRevoked(t *testing.T) {
	rg := newRig(t, withMobile)
	app := rg.appOf(wechattest.Person{Name: "li"})
	member := app.mustLogIn().User.ID
	app.shop("/me/orders")
	must(t, rg.db.RevokeUser(t.Context(), member, account.By{Reason: "a stolen phone"}))
	if got := app.request(http.MethodGet, "/me/orders", nil); !is(got, http.StatusUnauthorized, "session_expired") {
		t.Errorf("after it was revoked: %d %s", got.StatusCode, got.body)
	}
	if s := app.session(); s.User.Kind != "guest" || s.Session == "" {
		t.Errorf("a new start: %+v", s)
	}
	app = rg.appOf(wechattest.Person{Name: "wang"})
	app.mustLogIn()
	if got := app.request(http.MethodPost, "/wxgate/logout", nil); got.StatusCode != http.StatusNoContent {
		t.Errorf("logout: %d %s", got.StatusCode, got.body)
	}
	if _, kind := app.shop("/goods"); kind != "guest" {
		t.Errorf("after the logout: %s", kind)
	}
}

// A page of the site cannot use a browser's cookie here, nor get one.
func TestAppEndpointsKnowNoCookies(t *testing.T) {
	rg := newRig(t, withMobile)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	got := b.post("/wxgate/app/session", map[string]string{})
	if got.StatusCode != http.StatusOK || len(got.Cookies()) > 0 || !strings.Contains(got.body, `"kind":"guest"`) {
		t.Errorf("%d %s %v", got.StatusCode, got.body, got.Cookies())
	}
}

func TestAppSessionWhileAStoreFails(t *testing.T) {
	rg := newRig(t, withMobile)
	app := rg.appOf(wechattest.Person{Name: "li"})
	app.session()
	rg.db.down.Store(true)
	rg.cache.Flush()
	if got, _ := app.post("/wxgate/app/session", map[string]string{}); !is(got, http.StatusServiceUnavailable, "unavailable") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}
