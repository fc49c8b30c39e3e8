package gate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// All sessions of a member were ended a moment ago, and he logs in: no way back
// is closed, not even for the rest of the second.
func TestWhoseSessionsWereEndedMayLogInAtOnce(t *testing.T) {
	for name, visit := range map[string]func(rg *phoneRig) (logIn func(), answer func() int){
		"in WeChat": func(rg *phoneRig) (func(), func() int) {
			b := rg.wechatBrowser(accepting("li"))
			b.tapLogin(b.get("/me/orders"))
			rg.verify(b, liPhone)
			return func() { b.clearCookies(); b.get("/me/orders") }, func() int { return b.fetch(http.MethodGet, "/me/orders").StatusCode }
		},
		"by phone": func(rg *phoneRig) (func(), func() int) {
			b := rg.member(liPhone)
			return func() { b.get("/goods"); rg.verify(b, liPhone) }, func() int { return b.fetch(http.MethodGet, "/me/orders").StatusCode }
		},
		"in a mini program": func(rg *phoneRig) (func(), func() int) {
			li := rg.miniOf(wechattest.Person{Name: "li", Phone: strings.TrimPrefix(liPhone, "+86")})
			li.login("login")
			li.tapPhone()
			return func() { li.login("login") }, func() int { return li.request(http.MethodGet, "/me/orders", nil).StatusCode }
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMini)
			logIn, answer := visit(rg)
			if got := answer(); got != http.StatusOK {
				t.Fatalf("before: %d", got)
			}
			member, _, _ := rg.identityOf()
			for range 2 { // the second is the end of a session that was issued after the first
				must(t, rg.db.RevokeUser(t.Context(), member, account.By{Reason: "a test"}))
				if got := answer(); got != http.StatusUnauthorized {
					t.Errorf("after the end: %d", got)
				}
				logIn()
				if got := answer(); got != http.StatusOK {
					t.Errorf("after the login: %d", got)
				}
			}
		})
	}
}

// A thief has a member's session. It is ended on an instance of which this one
// has not heard yet, and he logs in with a WeChat of his own that has no unionid:
// it earns no session that outlives the end.
func TestEndedSessionEarnsNoOther(t *testing.T) {
	rg := newRig(t, withMini)
	li, thief := rg.miniOf(wechattest.Person{Name: "li"}), rg.miniOf(wechattest.Person{Name: "mallory"})
	member := li.login("login").User.ID
	thief.token = li.token
	if id, _ := thief.shop("/me/orders"); id != member {
		t.Fatalf("before: %s", id)
	}
	elsewhere, err := account.Open(t.Context(), account.Config{URL: "sqlite:" + rg.dbPath})
	must(t, err)
	defer elsewhere.Close()
	must(t, elsewhere.RevokeUser(t.Context(), member, account.By{Reason: "a stolen phone"}))
	rg.wechat.Fail(wechattest.Code2Session, wechattest.Forever, wechattest.Fault{Set: map[string]any{"unionid": nil}})
	if said := thief.login(""); said.User.ID == member {
		t.Errorf("the login is the member's: %+v", said)
	}
	must(t, rg.site.Watcher.poll(t.Context()))
	if id, kind := thief.shop("/goods"); id == member || kind != "guest" {
		t.Errorf("afterwards: %s %s", kind, id)
	}
}
