package gate

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// liMini is li with the number liPhone.
func liMini() wechattest.Person { return wechattest.Person{Name: "li", Phone: "13800138001"} }

// oldPhone is the button of an older library: data that WeChat has encrypted.
func (m *mini) oldPhone(d wechattest.PhoneDetail) (answer, bearer) {
	m.rg.t.Helper()
	return m.post("/wxgate/mini/phone", map[string]string{"encrypted_data": d.EncryptedData, "iv": d.IV})
}

// phoneOf is the number that the account store has of a user.
func (rg *rig) phoneOf(id string) account.Phone {
	rg.t.Helper()
	phone, err := rg.db.PhoneOf(rg.t.Context(), id)
	must(rg.t, err)
	return phone
}

func TestMiniPhoneLogsIn(t *testing.T) {
	for name, c := range map[string]struct {
		person wechattest.Person
		tap    func(*mini) (answer, bearer)
		phone  account.Phone
	}{
		"code":                  {liMini(), (*mini).tapPhone, liPhone},
		"code, number as digit": {liMini(), func(m *mini) (answer, bearer) { m.tapPhone(); return m.tapPhone() }, liPhone},
		"encrypted":             {liMini(), func(m *mini) (answer, bearer) { return m.oldPhone(m.rg.wechat.MiniPhone("li", testMiniID)) }, liPhone},
		"of another country":    {wechattest.Person{Name: "li", Phone: "51234567", Country: "852"}, (*mini).tapPhone, "+85251234567"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChatPhone })
			li := rg.miniOf(c.person)
			guest := li.login("")
			got, said := c.tap(li)
			if got.StatusCode != http.StatusOK || said.User.Kind != "member" || !said.User.PhoneVerified || said.User.Channel != "mini_program" {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
			if said.Session == "" || said.Session == guest.Session {
				t.Error("no new session")
			}
			if phone := rg.phoneOf(said.User.ID); phone != c.phone {
				t.Errorf("his phone is %q, want %q", phone, c.phone)
			}
			if id, kind := li.shop("/pay"); id != said.User.ID || kind != "member" {
				t.Errorf("the shop was told of %s %s", kind, id)
			}
			if again := li.login(""); again.User.ID != said.User.ID {
				t.Errorf("the next wx.login: %+v", again)
			}
			if strings.Contains(rg.log.String(), c.person.Phone) {
				t.Error("the number is in the log")
			}
		})
	}
}

// A phone that two people proved in two terminals makes them one.
func TestMiniPhoneFindsTheMemberOfTheBrowser(t *testing.T) {
	rg := newPhoneRig(t, withMini)
	b := rg.browser(uaChrome)
	b.get("/goods")
	b.get("/wxgate/phone?return_to=/")
	rg.verify(b, liPhone)
	b.get("/goods")
	member, _, _ := rg.identityOf()
	li := rg.miniOf(liMini())
	li.login("")
	if _, said := li.tapPhone(); said.User.ID != member {
		t.Errorf("%+v, want %s", said, member)
	}
}

func TestMiniPhoneProblems(t *testing.T) {
	spend := func(code string) map[string]string { return map[string]string{"code": code} }
	for name, c := range map[string]struct {
		send   func(*rig, *mini) map[string]string
		status int
		code   string
	}{
		"no code": {func(*rig, *mini) map[string]string { return map[string]string{} }, 400, "malformed"},
		"half the data": {func(*rig, *mini) map[string]string {
			return map[string]string{"encrypted_data": "AAAA"}
		}, 400, "malformed"},
		"invented code": {func(*rig, *mini) map[string]string { return spend("invented") }, 422, "code_invalid"},
		"a login code":  {func(_ *rig, m *mini) map[string]string { return spend(m.code()) }, 422, "code_invalid"},
		"of somebody else": {func(rg *rig, m *mini) map[string]string {
			rg.wechat.AddPerson(wechattest.Person{Name: "wang", Phone: "13800138002"})
			return spend(rg.wechat.MiniPhone("wang", testMiniID).Code)
		}, 422, "code_invalid"},
		"of another app": {func(rg *rig, _ *mini) map[string]string {
			return spend(rg.wechat.MiniPhone("li", testOtherMiniID).Code)
		}, 422, "code_invalid"},
		"of another app's token": {func(rg *rig, m *mini) map[string]string {
			rg.wechat.Fail(wechattest.PhoneNumber, 1, wechattest.Fault{Set: map[string]any{"phone_info": map[string]any{
				"purePhoneNumber": "13800138009", "countryCode": "86", "watermark": map[string]any{"appid": "wx0", "timestamp": 1},
			}}})
			return spend(rg.wechat.MiniPhone("li", testMiniID).Code)
		}, 503, "wechat_busy"},
		"no number": {func(rg *rig, m *mini) map[string]string {
			rg.wechat.Fail(wechattest.PhoneNumber, 1, wechattest.Fault{Set: map[string]any{"phone_info": map[string]any{}}})
			return spend(rg.wechat.MiniPhone("li", testMiniID).Code)
		}, 503, "wechat_busy"},
		"a number of nowhere": {func(rg *rig, m *mini) map[string]string {
			rg.wechat.Fail(wechattest.PhoneNumber, 1, wechattest.Fault{Set: map[string]any{"phone_info": map[string]any{
				"purePhoneNumber": "1234", "countryCode": 86, "watermark": map[string]any{"appid": testMiniID, "timestamp": 1},
			}}})
			return spend(rg.wechat.MiniPhone("li", testMiniID).Code)
		}, 422, "phone_invalid"},
		"garbage": {func(*rig, *mini) map[string]string {
			return map[string]string{"encrypted_data": "AAAAAAAAAAAAAAAAAAAAAA==", "iv": "AAAAAAAAAAAAAAAAAAAAAA=="}
		}, 422, "session_key_lost"},
		"key lost": {func(rg *rig, m *mini) map[string]string {
			d := rg.wechat.MiniPhone("li", testMiniID)
			must(rg.t, rg.store.Put(rg.t.Context(), rg.site.sessionKeysKey(miniUser{testMiniID, rg.wechat.OpenID("li", testMiniID)}), []byte("?"), time.Hour))
			return map[string]string{"encrypted_data": d.EncryptedData, "iv": d.IV}
		}, 422, "session_key_lost"},
		"data of another app": {func(rg *rig, m *mini) map[string]string {
			d := rg.wechat.MiniPhone("li", testOtherMiniID)
			return map[string]string{"encrypted_data": d.EncryptedData, "iv": d.IV}
		}, 422, "session_key_lost"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			li := rg.miniOf(liMini())
			member := li.login("login")
			got, _ := li.post("/wxgate/mini/phone", c.send(rg, li))
			if !is(got, c.status, c.code) {
				t.Errorf("%d %s, want %d %s", got.StatusCode, got.body, c.status, c.code)
			}
			if phone := rg.phoneOf(member.User.ID); phone != "" {
				t.Errorf("his phone is %s", phone)
			}
		})
	}
}

// Data that was encrypted before a new login code is still on its way when that
// has replaced the session_key.
func TestTheSessionKeyBeforeIsTriedToo(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(liMini())
	li.login("login")
	data := rg.wechat.MiniPhone("li", testMiniID)
	li.login("")
	if got, said := li.oldPhone(data); got.StatusCode != http.StatusOK || !said.User.PhoneVerified {
		t.Errorf("after one login: %d %s", got.StatusCode, got.body)
	}
	li.login("")
	if got, _ := li.oldPhone(data); !is(got, 422, "session_key_lost") {
		t.Errorf("after two logins: %d %s", got.StatusCode, got.body)
	}
}

// A code of a phone costs money each.
func TestPhoneCodeIsSpentOnceAndAnsweredTwice(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(liMini())
	li.login("login")
	code := map[string]string{"code": rg.wechat.MiniPhone("li", testMiniID).Code}
	first, said := li.post("/wxgate/mini/phone", code)
	again, saidAgain := li.post("/wxgate/mini/phone", code)
	if first.StatusCode != http.StatusOK || said != saidAgain {
		t.Errorf("%d %s, then %d %s", first.StatusCode, first.body, again.StatusCode, again.body)
	}
	if n := rg.wechat.Count(wechattest.PhoneNumber); n != 1 {
		t.Errorf("WeChat was asked %d times", n)
	}
}

// What WeChat has told for a code is not lost with the database that could not
// store it: the code brings the same number when it is sent again.
func TestPhoneCodeWorksAgainAfterTheDatabaseFailed(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(liMini())
	li.login("")
	li.shop("/") // he is in the cache
	code := map[string]string{"code": rg.wechat.MiniPhone("li", testMiniID).Code}
	rg.db.down.Store(true)
	if got, _ := li.post("/wxgate/mini/phone", code); !is(got, 503, "unavailable") {
		t.Fatalf("without a database: %d %s", got.StatusCode, got.body)
	}
	rg.db.down.Store(false)
	got, said := li.post("/wxgate/mini/phone", code)
	if got.StatusCode != http.StatusOK || !said.User.PhoneVerified {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if phone := rg.phoneOf(said.User.ID); string(phone) != string(liPhone) {
		t.Error("his phone is another one")
	}
}

func TestPhoneOfAnotherMemberIsRefused(t *testing.T) {
	rg := newRig(t, withMini)
	wang := rg.miniOf(wechattest.Person{Name: "wang", Phone: "13800138001"})
	wang.login("login")
	wang.tapPhone()
	li := rg.miniOf(liMini())
	member := li.login("login")
	got, _ := li.tapPhone()
	if !is(got, 409, "phone_owned_by_other_user") {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if id, kind := li.shop("/goods"); id != member.User.ID || kind != "member" {
		t.Errorf("he is now %s %s", kind, id)
	}
}

// Without SMS, pages in WeChat send people to where a phone can be verified, and
// not around.
func TestPagesSendToTheMiniProgramForAPhone(t *testing.T) {
	const mini = "请在我们的小程序里验证手机号"
	rg := newRig(t, withMini, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChatPhone })
	p := liMini()
	p.Consent = wechattest.Accept
	h5 := rg.wechatBrowser(p)
	page := h5.tapLogin(h5.get("/me/orders"))
	if page.Request.URL.Path != "/wxgate/login" || !strings.Contains(page.body, mini) || !strings.Contains(page.body, "phone_required") {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	li := rg.miniOf(p)
	li.login("")
	_, said := li.tapPhone()
	back := h5.tap(page, "/me/orders")
	if id, kind, _ := rg.identityOf(); back.Request.URL.Path != "/me/orders" || id != said.User.ID || kind != "member" {
		t.Errorf("back at %s he is %s %s, want %s", back.Request.URL, kind, id, said.User.ID)
	}
}

func TestMemberIsSentToTheMiniProgramForHisFirstPhone(t *testing.T) {
	rg := newRig(t, withMini)
	p := liMini()
	p.Consent = wechattest.Accept
	h5 := rg.wechatBrowser(p)
	h5.tapLogin(h5.get("/me/orders"))
	if page := h5.get("/pay"); page.Request.URL.Path != "/wxgate/phone" || !strings.Contains(page.body, "小程序") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
	if page := h5.get("/wxgate/phone?change=1"); page.StatusCode != http.StatusNotFound {
		t.Errorf("a change of phone, which takes codes: %d", page.StatusCode)
	}
}

// The code of a phone has been paid for: after a logout too it needs no wx.login
// before it.
func TestFirstPhoneAfterALogoutLogsIn(t *testing.T) {
	rg := newRig(t, withMini, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChatPhone })
	li := rg.miniOf(liMini())
	li.login("")
	_, member := li.tapPhone()
	if got := li.request(http.MethodPost, "/wxgate/logout", nil); got.StatusCode != http.StatusNoContent {
		t.Fatalf("logout: %d %s", got.StatusCode, got.body)
	}
	if id, kind := li.shop("/goods"); kind != "guest" || id == member.User.ID {
		t.Errorf("after the logout: %s %s", kind, id)
	}
	if got, said := li.tapPhone(); got.StatusCode != http.StatusOK || said.User.ID != member.User.ID {
		t.Errorf("the first tap: %d %s", got.StatusCode, got.body)
	}
}

// His WeChat has another number by now. It is not bound without more ado, but
// WeChat has said who he is all the same.
func TestRefusedPhoneAfterALogoutLogsIn(t *testing.T) {
	for _, guestsOff := range []bool{false, true} {
		rg := newRig(t, withMini, func(c *Config) {
			c.Account.FirstLogin, c.Account.GuestsOff = account.FirstLoginWeChatPhone, guestsOff
		})
		li := rg.miniOf(liMini())
		li.login("")
		_, member := li.tapPhone()
		li.request(http.MethodPost, "/wxgate/logout", nil)
		rg.wechat.AddPerson(wechattest.Person{Name: "li", Phone: "13800138003"})
		if got, _ := li.tapPhone(); !is(got, http.StatusConflict, "phone_change_needs_flow") {
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
		if id, kind := li.shop("/goods"); id != member.User.ID || kind != "member" {
			t.Errorf("guests off %v: he is %s %s, want the member %s", guestsOff, kind, id, member.User.ID)
		}
	}
}
