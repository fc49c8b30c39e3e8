package gate

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// byPhone makes the browser's visitor a member who has no WeChat, as a verified
// phone does.
func (b *browser) byPhone(number string) (id string) {
	b.rg.t.Helper()
	phone, err := account.ParsePhone(number)
	must(b.rg.t, err)
	out, err := b.rg.db.Link(b.rg.t.Context(), account.Rules{}, account.Input{Phone: phone, Want: account.WantLogin, Outside: true})
	must(b.rg.t, err)
	now := time.Now().Unix()
	token, err := b.rg.keys.SealSession(&session.Session{
		ID: session.NewID(), UserID: out.UserID, Kind: kindMember, AMR: "sms", Channel: channelBrowser,
		IssuedAt: now, RenewedAt: now, ExpiresAt: now + 3600,
	})
	must(b.rg.t, err)
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "wxgate", Value: token, Path: "/"}})
	return out.UserID
}

// who is the browser's visitor, as the shop is told.
func (b *browser) who() string {
	b.get("/goods")
	id, kind, _ := b.rg.identityOf()
	return kind + " " + id
}

const bindMe = "/wxgate/bind?return_to=" + "%2Fme%3Ftab%3Dwechat"

func TestMemberBindsHisWeChatByAScanAndInWeChat(t *testing.T) {
	for name, bind := range map[string]func(*rig) answer{
		"scan": func(rg *rig) answer {
			pc := rg.browser(uaDesktop)
			pc.byPhone("13800138000")
			return pc.scanAt(pc.get(bindMe), accepting("li"))
		},
		"in WeChat": func(rg *rig) answer {
			b := rg.wechatBrowser(accepting("li"))
			b.byPhone("13800138000")
			return b.tap(b.get(bindMe), "go=wechat")
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withWebsite)
			id := rg.browser(uaDesktop).byPhone("13800138000")
			done := bind(rg)
			if who, _, _ := rg.identityOf(); done.Request.URL.RequestURI() != "/me?tab=wechat" || who != id {
				t.Errorf("at %s as %s, he is %s", done.Request.URL, who, id)
			}
			elsewhere := rg.wechatBrowser(accepting("li"))
			if page := elsewhere.get("/me/orders"); page.Request.URL.Path == "/wxgate/login" {
				elsewhere.tapLogin(page)
			}
			if who := elsewhere.who(); who != "member "+id {
				t.Errorf("his WeChat logs in %s, he is %s", who, id)
			}
		})
	}
}

// W16 and W18 with env outside: whoever binds stays who he is, and nothing of
// the WeChat he scanned stands in his session.
func TestRefusedBindingLeavesTheMemberWhoHeIs(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(*rig, *browser)
		code   string
	}{
		"the WeChat is another member's": {func(rg *rig, _ *browser) {
			b := rg.wechatBrowser(accepting("wang"))
			b.tapLogin(b.get("/me/orders"))
		}, "wechat_bound_to_other_user"},
		"he has another WeChat": {func(_ *rig, pc *browser) {
			pc.scanAt(pc.get(bindMe), accepting("li"))
		}, "userid_bound_to_other_wechat"},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withWebsite)
			pc := rg.browser(uaDesktop)
			id := pc.byPhone("13800138000")
			tt.before(rg, pc)
			before := pc.fetch(http.MethodGet, "/wxgate/me").body
			page := pc.scanAt(pc.get(bindMe), accepting("wang"))
			if page.Request.URL.Path != "/wxgate/bind" || !strings.Contains(page.body, "<code>"+tt.code+"</code>") ||
				!strings.Contains(page.body, `href="/me?tab=wechat"`) {
				t.Errorf("at %s:\n%s", page.Request.URL, page.body)
			}
			if after := pc.fetch(http.MethodGet, "/wxgate/me").body; after != before || pc.who() != "member "+id {
				t.Errorf("%s became %s", before, after)
			}
		})
	}
}

// From the login page the same scan follows the WeChat account, and says what
// it did not do.
func TestLoginWithAnotherMembersWeChatIsExplained(t *testing.T) {
	rg := newRig(t, withWebsite)
	wang := rg.wechatBrowser(accepting("wang"))
	wang.tapLogin(wang.get("/me/orders"))
	his := wang.who()
	pc := rg.browser(uaDesktop)
	callback := pc.scan(pc.get("/me/orders"), accepting("wang"))
	pc.byPhone("13800138000") // in another tab, meanwhile
	got := pc.get(callback)
	if !strings.Contains(got.body, "<code>wechat_bound_to_other_user</code>") || !strings.Contains(got.body, `href="/me/orders"`) {
		t.Errorf("at %s:\n%s", got.Request.URL, got.body)
	}
	if who := pc.who(); who != his {
		t.Errorf("he is %s, the WeChat account is %s", who, his)
	}
}

// A binding belongs to the member who began it.
func TestBindingEndsWhenAnotherMemberHasLoggedIn(t *testing.T) {
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	pc.byPhone("13800138000")
	callback := pc.scan(pc.get(bindMe), accepting("li"))
	other := pc.byPhone("13900139000")
	if got := pc.get(callback); got.Request.URL.Path != "/wxgate/bind" || rg.wechat.Count(wechattest.ExchangeCode) != 0 {
		t.Errorf("at %s after %d exchanges", got.Request.URL, rg.wechat.Count(wechattest.ExchangeCode))
	}
	if who := pc.who(); who != "member "+other {
		t.Errorf("he is %s, want member %s", who, other)
	}
	friend := rg.wechatBrowser(accepting("li"))
	friend.tapLogin(friend.get("/me/orders"))
	if who := friend.who(); who == "member "+other {
		t.Error("the WeChat was bound to whoever was there")
	}
}

func TestBindingNeedsAMemberAndATap(t *testing.T) {
	rg := newRig(t, withWebsite)
	pc := rg.browser(uaDesktop)
	if got := pc.get(bindMe); got.Request.URL.Path != "/wxgate/login" || got.Request.URL.Query().Get("return_to") != "/me?tab=wechat" {
		t.Errorf("a guest is at %s", got.Request.URL)
	}
	pc.byPhone("13800138000")
	foreign := func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }
	if got := pc.stay(bindMe+"&go=scan", foreign); got.StatusCode != http.StatusOK {
		t.Errorf("a link of another site leads to %s", got.Header.Get("Location"))
	}
	if got := pc.stay("/wxgate/bind?return_to=https://evil.test/&go=x"); !strings.Contains(got.body, `href="/"`) || strings.Contains(got.body, "evil") {
		t.Errorf("a foreign return_to:\n%s", got.body)
	}
	for appid, want := range map[string]bool{testWebsiteID: true, testAppID: false, "wx9": false} {
		got := pc.stay(bindMe + "&appid=" + appid)
		if offered := strings.Contains(got.body, "go=scan"); offered != want {
			t.Errorf("%s: offered %v\n%s", appid, offered, got.body)
		}
		if started := pc.stay(bindMe+"&go=scan&appid="+appid).StatusCode == http.StatusFound; started != want {
			t.Errorf("%s: started %v", appid, started)
		}
	}
	telephone := rg.browser(uaChrome)
	telephone.byPhone("13800138000")
	if page := telephone.get(bindMe); strings.Contains(page.body, "go=") || !strings.Contains(page.body, rg.srv.URL+"/me?tab=wechat") {
		t.Errorf("on a telephone:\n%s", page.body)
	}
}
