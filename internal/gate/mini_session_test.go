package gate

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/limit"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Its User-Agent is that of WeChat's browser, which could be asked for a consent.
func TestMiniProgramIsNotAskedForAConsent(t *testing.T) {
	rg := newRig(t, withMini)
	rg.wechat.SetApp(wechattest.App{ID: testMiniID, Secret: testMiniSecret, MiniProgram: true}) // tells no unionid
	li := rg.miniOf(wechattest.Person{Name: "li"})
	if said := li.login("login"); said.User.Kind != "guest" || said.Code != "phone_required" {
		t.Errorf("%+v", said)
	}
	if got := li.request(http.MethodGet, "/api/me/orders", nil); !is(got, 401, "login_required") || !strings.Contains(got.body, `"need":"phone"`) {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestMiniSessionsEnd(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	if got := li.request(http.MethodGet, "/goods", nil); got.StatusCode != http.StatusOK {
		t.Errorf("without a session: %d", got.StatusCode)
	}
	li.token = "nonsense"
	if got := li.request(http.MethodGet, "/goods", nil); !is(got, 401, "session_expired") {
		t.Errorf("with nonsense: %d %s", got.StatusCode, got.body)
	}
	member := li.login("login")
	sess, _ := rg.keys.OpenSession(member.Session, time.Now())
	must(t, rg.db.RevokeSession(t.Context(), sess.ID, time.Now(), time.Unix(sess.ExpiresAt, 0)))
	rg.cache.Flush()
	if got := li.request(http.MethodGet, "/goods", nil); !is(got, 401, "session_expired") {
		t.Errorf("revoked: %d %s", got.StatusCode, got.body)
	}
	if again := li.login(""); again.User.ID != member.User.ID || again.User.Kind != "member" {
		t.Errorf("logged in again: %+v", again)
	}
}

// After a logout wx.login alone, which nobody sees, makes nobody a member again.
func TestMiniLogoutHoldsUntilATap(t *testing.T) {
	rg := newRig(t, withMini, func(c *Config) { c.Headers.OpenID = "X-Openid" })
	li := rg.miniOf(wechattest.Person{Name: "li"})
	member := li.login("login")
	old := li.token
	if got := li.request(http.MethodPost, "/wxgate/logout", nil); got.StatusCode != http.StatusNoContent || li.token == old {
		t.Fatalf("%d, a new session: %v", got.StatusCode, li.token != old)
	}
	ended := &mini{browser: li.browser, appID: testMiniID, token: old}
	if got := ended.request(http.MethodGet, "/goods", nil); !is(got, 401, "session_expired") {
		t.Errorf("the old session: %d %s", got.StatusCode, got.body)
	}
	said := li.login("")
	if said.User.Kind != "guest" || said.User.ID == member.User.ID {
		t.Errorf("after wx.login: %+v", said)
	}
	if li.shop("/goods"); rg.last().Header.Get("X-Openid") != "" {
		t.Error("the shop knows him by his openid")
	}
	if got := li.request(http.MethodGet, "/api/me/orders", nil); !is(got, 401, "login_required") || !strings.Contains(got.body, `"need":"wechat"`) {
		t.Errorf("a page for members: %d %s", got.StatusCode, got.body)
	}
	if said := li.login("login"); said.User.ID != member.User.ID {
		t.Errorf("after a tap: %+v", said)
	}
}

// The cookie of a page that runs in the same WeChat plays no part.
func TestCookiesPlayNoPartInMiniPrograms(t *testing.T) {
	rg := newRig(t, withMini)
	h5 := rg.wechatBrowser(wechattest.Person{Name: "wang"})
	h5.get("/goods")
	wang, _, _ := rg.identityOf()
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.client.Jar = h5.client.Jar
	if said := li.login("login"); said.User.ID == wang || said.User.Kind != "member" {
		t.Errorf("%+v", said)
	}
	h5.get("/goods")
	if id, _, _ := rg.identityOf(); id != wang {
		t.Error("the login in the mini program changed the page's visitor")
	}
	chrome := rg.browser(uaChrome)
	chrome.get("/goods")
	free, _, _ := rg.identityOf()
	zhao := rg.miniOf(wechattest.Person{Name: "zhao"})
	zhao.client.Jar = chrome.client.Jar
	if said := zhao.login(""); said.User.ID == free {
		t.Error("the guest of a cookie became the mini program's")
	}
	bare := &mini{browser: h5, appID: testMiniID}
	if got, _ := bare.post("/wxgate/mini/phone", map[string]string{"code": "x"}); !is(got, 401, "session_expired") {
		t.Errorf("a phone by cookie: %d %s", got.StatusCode, got.body)
	}
}

// A session that lives in a header slides too.
func TestMiniSessionIsRenewed(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	said := li.login("")
	sess, _ := rg.keys.OpenSession(said.Session, time.Now())
	sess.RenewedAt -= int64(2 * 24 * time.Hour / time.Second)
	sess.IssuedAt = sess.RenewedAt
	old, err := rg.keys.SealSession(sess)
	must(t, err)
	li.token = old
	if id, _ := li.shop("/goods"); id != said.User.ID || li.token == old {
		t.Errorf("he is %s, a new session: %v", id, li.token != old)
	}
}

// A login with a session in its last minute, of the same member, gets one that
// does not end with it.
func TestLoginInTheLastMinuteOfASessionOutlivesIt(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(liMini())
	li.login("login")
	old, _ := rg.keys.OpenSession(li.token, time.Now())
	must(t, rg.db.RevokeSession(t.Context(), old.ID, time.Now().Add(account.RotationGrace), time.Now().Add(time.Hour)))
	li.login("login")
	now, ok := rg.keys.OpenSession(li.token, time.Now())
	if !ok || now.UserID != old.UserID || now.ID == old.ID {
		t.Errorf("%s has the session %s, before he was %s with %s", now.UserID, now.ID, old.UserID, old.ID)
	}
}

// Logins go on while the store that instances share is away, each on one of
// them.
func TestMiniLoginsGoOnWithoutTheSharedStore(t *testing.T) {
	rg := newRig(t, withMini)
	rg.store.down.Store(true)
	li := rg.miniOf(liMini())
	if got, _ := li.loginWith(li.code(), ""); !is(got, 503, "unavailable") {
		t.Errorf("with no other store: %d %s", got.StatusCode, got.body)
	}
	rg.site.Local = &Local{Store: session.NewMemory(session.MemoryConfig{}), Limiter: limit.NewMemory(10_000)}
	code := li.code()
	_, first := li.loginWith(code, "login")
	li.token = ""
	if _, again := li.loginWith(code, "login"); first.User.Kind != "member" || again != first {
		t.Errorf("%+v, then %+v", first, again)
	}
	if got, _ := li.tapPhone(); got.StatusCode != http.StatusOK {
		t.Errorf("a phone: %d %s", got.StatusCode, got.body)
	}
	rg.store.down.Store(false)
	data := rg.wechat.MiniPhone("li", testMiniID)
	if got, _ := li.oldPhone(data); !is(got, 422, "session_key_lost") {
		t.Errorf("encrypted, with a key that was not kept: %d %s", got.StatusCode, got.body)
	}
	li.login("")
	if got, _ := li.oldPhone(rg.wechat.MiniPhone("li", testMiniID)); got.StatusCode != http.StatusOK {
		t.Errorf("after one more login: %d %s", got.StatusCode, got.body)
	}
}

// The gateway that was spending a code may have died.
func TestCodeThatNobodyEndsSpendingIsGivenUp(t *testing.T) {
	rg := newRig(t, withMini)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	must(t, rg.store.Put(ctx, "once:x", rg.site.sealRecord(session.TypeResult, spentCode{}), codeKept))
	if _, p := rg.site.waitForSpent(ctx, &Visit{}, "once:x"); p.Code != codeWeChatBusy {
		t.Errorf("%q", p.Code)
	}
}

// Whoever cancels his account is not made a member again by the next wx.login.
func TestMiniCancelHolds(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(liMini())
	member := li.login("login")
	li.give("Li", "")
	if got := li.request(http.MethodPost, "/wxgate/account/cancel", nil); got.StatusCode != http.StatusNoContent {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if said := li.login(""); said.User.Kind != "guest" || said.User.ID == member.User.ID {
		t.Errorf("after wx.login: %+v", said)
	}
	if said := li.login("login"); said.User.Kind != "member" || said.User.ID == member.User.ID {
		t.Errorf("after a tap: %+v", said)
	}
	if got := li.profile(); got != "" {
		t.Errorf("the new account shows the old one's profile: %q", got)
	}
}

// Two logins of one person at once, as two devices or two pages make them.
func TestParallelMiniLoginsLeaveEachOtherAlone(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	li.login("")
	phones := make([]*mini, 4)
	for i := range phones {
		phones[i] = &mini{browser: rg.browser(uaWeChat), appID: testMiniID}
		phones[i].person = "li"
		if i%2 == 0 {
			phones[i].token = li.token // the same guest on the same phone
		}
	}
	var all sync.WaitGroup
	for _, m := range phones {
		all.Go(func() { m.login("login") })
	}
	all.Wait()
	want, _ := phones[0].shop("/api/me/orders")
	for i, m := range phones {
		if id, kind := m.shop("/api/me/orders"); id != want || kind != "member" {
			t.Errorf("%d: %s %s, want %s", i, kind, id, want)
		}
	}
}

func TestNothingOfALoginIsLogged(t *testing.T) {
	rg := newRig(t, withMini)
	li := rg.miniOf(wechattest.Person{Name: "li"})
	code := li.code()
	rg.wechat.Fail(wechattest.Code2Session, 1, wechattest.BadGateway())
	li.loginWith(code, "")
	said := li.login("")
	for _, secret := range []string{code, said.Session, rg.wechat.OpenID("li", testMiniID), rg.wechat.UnionID("li", testMiniID)} {
		if strings.Contains(rg.log.String(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, rg.log)
		}
	}
	if !strings.Contains(rg.log.String(), "logging in to a mini program") {
		t.Errorf("nothing was said of the failure:\n%s", rg.log)
	}
}

func TestGuestsOffKnowNobodyInAMiniProgram(t *testing.T) {
	rg := newRig(t, withMini, func(c *Config) { c.Account.GuestsOff = true })
	li := rg.miniOf(wechattest.Person{Name: "li"})
	if said := li.login(""); said.User.Kind != "nobody" || said.User.ID != "" {
		t.Errorf("%+v", said)
	}
	if _, kind := li.shop("/api/me/orders"); kind != "member" {
		t.Errorf("at a page for members he is a %s", kind)
	}
}

// Nobody's session is ended too, and one more login begins another.
func TestNobodysEndedSessionIsReplaced(t *testing.T) {
	for name, out := range map[string]bool{"that knew him": false, "that was signed out": true} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMini, func(c *Config) { c.Account.GuestsOff = true })
			li := rg.miniOf(liMini())
			li.login("")
			if out {
				li.request(http.MethodPost, "/wxgate/logout", nil)
				li.login("")
			}
			sess, _ := rg.keys.OpenSession(li.token, time.Now())
			must(t, rg.db.RevokeSession(t.Context(), sess.ID, time.Now(), time.Unix(sess.ExpiresAt, 0)))
			if got, _ := li.tapPhone(); !is(got, 401, "session_expired") {
				t.Errorf("ended: %d %s", got.StatusCode, got.body)
			}
			li.login("")
			if got, said := li.tapPhone(); got.StatusCode != http.StatusOK || said.User.Kind != "member" {
				t.Errorf("after one more login: %d %s", got.StatusCode, got.body)
			}
		})
	}
}
