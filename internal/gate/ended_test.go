package gate

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// forgetfulAccounts cannot say whose a session is, and does everything else: a
// database that answers again a second later.
type forgetfulAccounts struct{ Accounts }

func (forgetfulAccounts) Resolve(context.Context, account.SessionRef) (account.Resolved, error) {
	return account.Resolved{}, errDown
}

// Attack: whoever has taken a member's cookie, which was ended since, logs in at
// WeChat with it while the database stumbles. His WeChat would be the member's.
func TestEndedSessionGetsNoWeChatWhileTheStoreStumbles(t *testing.T) {
	rg := newRig(t, listening)
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
	victim := rg.browser(uaChrome)
	victim.submit("/login.php")
	stolen := victim.cookies()["wxgate"]
	if victim.fetch(http.MethodPost, "/wxgate/logout"); strings.HasPrefix(victim.whom(), "member U7") {
		t.Fatal("no logout")
	}
	thief := rg.wechatBrowser(wechattest.Person{Name: "mallory", Consent: wechattest.Accept})
	callback := thief.startConsent("/wxgate/login?return_to=/goods")
	flow := thief.cookies()["wxgate-flow"]
	thief.clearCookies()
	accounts := rg.site.Accounts
	rg.site.Accounts = forgetfulAccounts{accounts}
	thief.get(callback, func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+stolen+"; wxgate-flow="+flow) })
	rg.site.Accounts = accounts
	if n := rg.wechat.Count(wechattest.ExchangeCode); n != 0 {
		t.Errorf("%d codes were spent in vain", n)
	}
	thief.clearCookies()
	thief.get("/goods")
	if who := thief.whom(); strings.HasPrefix(who, "member U7") {
		t.Errorf("he is %s", who)
	}
}

// The other way round: his own login at the shop gives him the WeChat of the
// session that was ended.
func TestEndedSessionGivesNoWeChatWhileTheStoreStumbles(t *testing.T) {
	rg := newRig(t, listening)
	li := wechattest.Person{Name: "li", Follower: true}
	victim := rg.wechatBrowser(li)
	victim.get("/goods")
	stolen := victim.cookies()["wxgate"]
	victim.fetch(http.MethodPost, "/wxgate/logout")
	rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U8")
	accounts := rg.site.Accounts
	rg.site.Accounts = forgetfulAccounts{accounts}
	rg.browser(uaChrome).submit("/login.php", func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+stolen) })
	rg.site.Accounts = accounts
	victim.clearCookies()
	victim.get("/goods")
	if who := victim.whom(); strings.HasPrefix(who, "member U8") {
		t.Errorf("the victim is %s", who)
	}
}
