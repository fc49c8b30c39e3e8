package gate

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// withMini gives the site two mini programs, and pages that need a phone.
func withMini(c *Config) {
	c.MiniPrograms = []wechat.App{{AppID: testMiniID, AppSecret: testMiniSecret}, {AppID: testOtherMiniID, AppSecret: testMiniSecret}}
	c.Rules = append(c.Rules, Rule{Level: Phone, Paths: []string{"/pay", "/api/pay"}})
}

// mini is a mini program on the phone of a person, with what it keeps.
type mini struct {
	*browser
	appID string
	token string
	adds  http.Header // what its WeChat adds to every request
}

// miniOf opens a mini program on the phone of a person.
func (rg *rig) miniOf(p wechattest.Person) *mini {
	rg.wechat.AddPerson(p)
	b := rg.browser(wechattest.IPhoneUserAgent) // which wx.request sends too
	b.person = p.Name
	return &mini{browser: b, appID: testMiniID}
}

// bearer is what an endpoint answers a client without cookies.
type bearer struct {
	Session string
	User    struct {
		ID, Kind, Channel string
		PhoneVerified     bool `json:"phone_verified"`
	}
	Code    string
	Profile *struct{ Nickname, Avatar string }
}

// request is wx.request: the session is sent in a header, and a new one kept.
func (m *mini) request(method, path string, fields map[string]string) answer {
	m.rg.t.Helper()
	body := ""
	if fields != nil {
		raw, err := json.Marshal(fields)
		must(m.rg.t, err)
		body = string(raw)
	}
	r, err := http.NewRequest(method, m.rg.abs(path), strings.NewReader(body))
	must(m.rg.t, err)
	r.Header.Set("User-Agent", m.ua)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Referer", "https://servicewechat.com/"+m.appID+"/12/page-frame.html")
	if m.token != "" {
		r.Header.Set("Authorization", "Wxgate "+m.token)
	}
	maps.Copy(r.Header, m.adds)
	got := m.do(r)
	if t := got.Header.Get("X-Wxgate-Session"); t != "" {
		m.token = t
	}
	if len(got.Cookies()) > 0 {
		m.rg.t.Errorf("%s set a cookie", path)
	}
	return got
}

// post calls an endpoint of the gateway and keeps the session it brings.
func (m *mini) post(path string, fields map[string]string) (answer, bearer) {
	m.rg.t.Helper()
	got := m.request(http.MethodPost, path, fields)
	var said bearer
	if got.StatusCode == http.StatusOK {
		must(m.rg.t, json.Unmarshal([]byte(got.body), &said))
	}
	if said.Session != "" {
		m.token = said.Session
	}
	return got, said
}

func (m *mini) code() string { return m.rg.wechat.MiniLogin(m.person, m.appID) }

func (m *mini) loginWith(code, want string) (answer, bearer) {
	m.rg.t.Helper()
	fields := map[string]string{"appid": m.appID, "code": code}
	if want != "" {
		fields["want"] = want
	}
	return m.post("/wxgate/mini/login", fields)
}

// login is wx.login and what follows; it must succeed.
func (m *mini) login(want string) bearer {
	m.rg.t.Helper()
	got, said := m.loginWith(m.code(), want)
	if got.StatusCode != http.StatusOK || said.Session == "" {
		m.rg.t.Fatalf("login: %d %s", got.StatusCode, got.body)
	}
	return said
}

// tapPhone is the button that brings a code of a phone.
func (m *mini) tapPhone() (answer, bearer) {
	m.rg.t.Helper()
	return m.post("/wxgate/mini/phone", map[string]string{"code": m.rg.wechat.MiniPhone(m.person, m.appID).Code})
}

// shops says whom the shop was told of in a request.
func (m *mini) shop(path string) (id, kind string) {
	m.rg.t.Helper()
	if got := m.request(http.MethodGet, path, nil); got.StatusCode != http.StatusOK {
		m.rg.t.Fatalf("%s: %d %s", path, got.StatusCode, got.body)
	}
	id, kind, _ = m.rg.identityOf()
	return id, kind
}

func TestMiniProgramLogsInUnseen(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	first := li.login("")
	if u := first.User; u.Kind != "guest" || u.ID == "" || u.Channel != "mini_program" || first.Code != "" {
		t.Errorf("first login: %+v", first)
	}
	if id, kind := li.shop("/goods"); id != first.User.ID || kind != "guest" {
		t.Errorf("the shop was told of %s %s", kind, id)
	}
	again := rg.miniOf(wechattest.Person{Name: "li"}).login("")
	if again.User.ID != first.User.ID || again.Session == first.Session {
		t.Errorf("a new phone: %+v", again)
	}
	if id, _ := li.shop("/goods"); id != first.User.ID {
		t.Error("the second login ended the first")
	}
	if other := rg.miniOf(wechattest.Person{Name: "wang"}).login(""); other.User.ID == first.User.ID {
		t.Error("two people are one")
	}
}

// What WeChat says of a login, and what the mini program is told.
func TestMiniLoginProblems(t *testing.T) {
	for name, c := range map[string]struct {
		person wechattest.Person
		fault  *wechattest.Fault
		fields map[string]string
		status int
		code   string
	}{
		"blocked":         {person: wechattest.Person{Blocked: true}, status: 403, code: "wechat_blocked"},
		"spent":           {fault: fault(40163), status: 422, code: "code_used"},
		"invalid":         {fault: fault(40029), status: 422, code: "code_invalid"},
		"too often":       {fault: fault(45011), status: 429, code: "rate_limited"},
		"busy":            {fault: fault(-1), status: 503, code: "wechat_busy"},
		"wrong secret":    {fault: fault(40125), status: 503, code: "wechat_busy"},
		"invented code":   {fields: map[string]string{"code": "invented"}, status: 422, code: "code_invalid"},
		"no code":         {fields: map[string]string{"code": ""}, status: 400, code: "malformed"},
		"unknown app":     {fields: map[string]string{"appid": "wx0"}, status: 400, code: "malformed"},
		"official app":    {fields: map[string]string{"appid": testAppID}, status: 400, code: "malformed"},
		"unknown want":    {fields: map[string]string{"want": "all"}, status: 400, code: "malformed"},
		"of another app":  {fields: map[string]string{"appid": testOtherMiniID}, status: 422, code: "code_invalid"},
		"code of a phone": {person: wechattest.Person{Phone: "13800138001"}, fields: map[string]string{"code": "phone"}, status: 422, code: "code_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			c.person.Name = "li"
			li := rg.miniOf(c.person)
			if c.fault != nil {
				rg.wechat.Fail(wechattest.Code2Session, wechattest.Forever, *c.fault)
			}
			fields := map[string]string{"appid": testMiniID, "code": li.code()}
			for k, v := range c.fields {
				fields[k] = v
			}
			if fields["code"] == "phone" {
				fields["code"] = rg.wechat.MiniPhone("li", testMiniID).Code
			}
			got, _ := li.post("/wxgate/mini/login", fields)
			if !is(got, c.status, c.code) {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, c.status, c.code)
			}
			if waits := got.Header.Get("Retry-After") != ""; waits != (c.status == 429 || c.status == 503) {
				t.Errorf("Retry-After %q", got.Header.Get("Retry-After"))
			}
		})
	}
}

func fault(code int) *wechattest.Fault {
	f := wechattest.ErrCode(code)
	return &f
}

// One user who calls wx.login in a loop runs into WeChat's limit for him alone.
func TestOneUsersLimitClosesTheLoginForNobodyElse(t *testing.T) {
	rg := newRig(t, withMini)
	rg.wechat.Fail(wechattest.Code2Session, 1, wechattest.ErrCode(45011))
	li := rg.miniOf(wechattest.Person{Name: "li"})
	if got, _ := li.loginWith(li.code(), ""); !is(got, 429, "rate_limited") {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	rg.miniOf(wechattest.Person{Name: "wang"}).login("")
}

func TestMiniCodeIsSpentOnceAndAnsweredTwice(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	code := li.code()
	rg.wechat.Fail(wechattest.Code2Session, 1, wechattest.Delay(200*time.Millisecond))
	said := make([]bearer, 5)
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() {
			m := &mini{browser: rg.browser(uaWeChat), appID: testMiniID}
			_, said[i] = m.loginWith(code, "")
		})
	}
	all.Wait()
	for _, s := range said[1:] {
		if diff := cmp.Diff(said[0], s); diff != "" || s.Session == "" {
			t.Errorf("another answer:\n%s", diff)
		}
	}
	if n := rg.wechat.Count(wechattest.Code2Session); n != 1 {
		t.Errorf("WeChat was asked %d times", n)
	}
	rg.ageCode(code)
	if got, _ := (&mini{browser: rg.browser(uaWeChat), appID: testMiniID}).loginWith(code, ""); !is(got, 422, "code_used") {
		t.Errorf("a minute later: %d %s", got.StatusCode, got.body)
	}
	if n := rg.wechat.Count(wechattest.Code2Session); n != 1 {
		t.Errorf("WeChat was asked %d times", n)
	}
}

// ageCode makes what is kept of a login's code a minute older.
func (rg *rig) ageCode(code string) {
	rg.t.Helper()
	key := "once:" + rg.db.Hide("login "+testMiniID+" "+code)
	sealed, found, err := rg.store.Get(rg.t.Context(), key)
	must(rg.t, err)
	spent, ok := rg.site.openSpent(sealed)
	if !found || !ok {
		rg.t.Fatal("nothing is kept of the code")
	}
	spent.At -= int64(resultLife / time.Second)
	must(rg.t, rg.store.Put(rg.t.Context(), key, rg.site.sealRecord(session.TypeResult, spent), codeKept))
}

// Somebody who has overheard a code gets nothing by sending it with a session of
// his own.
func TestSpentCodeIsForTheSessionItCameWith(t *testing.T) {
	rg := newRig(t, withMini)
	li, wang := rg.miniOf(wechattest.Person{Name: "li"}), rg.miniOf(wechattest.Person{Name: "wang"})
	wang.login("")
	code := li.code()
	if got, _ := li.loginWith(code, ""); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got, _ := wang.loginWith(code, ""); !is(got, 422, "code_used") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// A database that is away for a moment must not cost the visitor his code.
func TestMiniLoginGoesOnAfterAnOutage(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	code := li.code()
	rg.db.down.Store(true)
	if got, _ := li.loginWith(code, ""); !is(got, 503, "unavailable") {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	rg.db.down.Store(false)
	if got, said := li.loginWith(code, ""); got.StatusCode != http.StatusOK || said.User.ID == "" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if n := rg.wechat.Count(wechattest.Code2Session); n != 1 {
		t.Errorf("WeChat was asked %d times", n)
	}
}

func TestWantLogin(t *testing.T) {
	for name, c := range map[string]struct {
		first      account.FirstLogin
		kind, code string
	}{
		"wechat":       {account.FirstLoginWeChat, "member", ""},
		"wechat_phone": {account.FirstLoginWeChatPhone, "guest", "phone_required"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini, func(c2 *Config) { c2.Account.FirstLogin = c.first })
			li := rg.miniOf(wechattest.Person{Name: "li"})
			guest := li.login("").User.ID
			said := li.login("login")
			if said.User.Kind != c.kind || said.Code != c.code {
				t.Errorf("%+v, want a %s and code %q", said, c.kind, c.code)
			}
			if id, kind := li.shop("/goods"); kind != c.kind || (id == guest) != (kind == "guest") {
				t.Errorf("the shop was told of %s %s", kind, id)
			}
		})
	}
}

// The shop's own answer brings the new session when the level rises inside it.
func TestLevelRisesInsideAnAnswerOfTheShop(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	guest := li.login("")
	got := li.request(http.MethodGet, "/api/me/orders", nil)
	id, kind, previous := rg.identityOf()
	if got.StatusCode != http.StatusOK || kind != "member" || previous != guest.User.ID {
		t.Fatalf("%d, the shop was told of %s %s, before %s", got.StatusCode, kind, id, previous)
	}
	if li.token == guest.Session || got.Header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("no new session, or one that caches keep: %v", got.Header)
	}
	if again, _ := li.shop("/api/me/orders"); again != id {
		t.Error("the new session is another's")
	}
}

func TestMiniChallengeNamesThePhone(t *testing.T) {
	rg := newRig(t, withMini, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChatPhone })
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.login("")
	got := li.request(http.MethodGet, "/api/me/orders", nil)
	if !is(got, 401, "login_required") || !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// Payment inside the mini program needs the openid of this very app.
func TestShopIsToldTheOpenIDOfTheMiniProgram(t *testing.T) {
	rg := newRig(t, withMini, func(c *Config) { c.Headers.OpenID = "X-Openid" })
	for _, appID := range []string{testMiniID, testOtherMiniID} {
		li := rg.miniOf(wechattest.Person{Name: "li"})
		li.appID = appID
		li.login("")
		li.shop("/goods")
		if got := rg.last().Header.Get("X-Openid"); got != rg.wechat.OpenID("li", appID) {
			t.Errorf("%s: %q", appID, got)
		}
	}
}

// One person on a page in WeChat, in two mini programs: one user.
func TestSameUnionIDIsOneUserEverywhere(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	member := li.login("login")
	other := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	other.appID = testOtherMiniID
	if said := other.login(""); said.User.ID != member.User.ID || said.User.Kind != "member" {
		t.Errorf("another mini program: %+v", said)
	}
	h5 := rg.wechatBrowser(wechattest.Person{Name: "li", Consent: wechattest.Accept})
	h5.tapLogin(h5.get("/me/orders"))
	if id, _, _ := rg.identityOf(); id != member.User.ID {
		t.Errorf("on a page: %s, want %s", id, member.User.ID)
	}
}
