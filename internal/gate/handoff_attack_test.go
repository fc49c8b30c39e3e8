package gate

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// Mallory's ticket is fresh when li opens it: in a plain browser, in WeChat, in
// another mini program. It is burnt, and li stays who he was.
func TestForeignTicketIsBurntElsewhere(t *testing.T) {
	for name, ua := range map[string]string{
		"a plain browser":          wechattest.OrdinaryUserAgent,
		"WeChat":                   wechattest.AndroidUserAgent,
		"another mini program":     wechattest.AndroidUserAgent + " miniProgram/" + testOtherMiniID,
		"WeCom":                    wechattest.AndroidUserAgent + " wxwork/3.1.16 miniProgram/" + testMiniID,
		"a browser that is called": "Mozilla/5.0 miniProgram/" + testMiniID,
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
			attacker := mallory.login("").User.ID
			u := mallory.ticket("/goods")
			victim := rg.browser(ua)
			rg.wechat.AddPerson(wechattest.Person{Name: "li"})
			victim.person = "li"
			before, _ := victim.shownTo("/goods")
			got := victim.get(u)
			after, _ := victim.shownTo("/goods")
			if got.Request.URL.Path != "/goods" || after != before || after == attacker {
				t.Errorf("at %s; %s became %s, mallory is %s", got.Request.URL, before, after, attacker)
			}
			fresh := rg.browser(ua) // nobody has been here before
			fresh.person = "li"
			fresh.get(mallory.ticket("/goods"))
			if id, _ := fresh.shownTo("/goods"); id == attacker {
				t.Error("a browser without a session became mallory")
			}
			own := rg.webViewOf("mallory", testMiniID)
			own.get(u)
			if id, _ := own.shownTo("/goods"); id == attacker {
				t.Error("the ticket was not burnt")
			}
		})
	}
}

// li is known in his web-view of the same mini program: mallory's ticket is
// burnt there too.
func TestForeignTicketDoesNotReplaceWhoIsKnown(t *testing.T) {
	for name, login := range map[string]string{"a guest": "", "a member": "login"} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, withMini)
			mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
			mallory.login("")
			li := rg.miniOf(wechattest.Person{Name: "li"})
			who := li.login(login).User
			view := rg.webViewOf("li", testMiniID)
			view.get(li.ticket("/goods"))
			view.get(mallory.ticket("/goods"))
			if id, kind := view.shownTo("/goods"); id != who.ID || kind != who.Kind {
				t.Errorf("%+v became the %s %s", who, kind, id)
			}
		})
	}
}

// li has proved himself in the web-view by his phone alone.
func TestForeignTicketDoesNotReplaceAMemberByPhone(t *testing.T) {
	rg := newPhoneRig(t, withMini)
	view := rg.webViewOf("li", testMiniID)
	view.fetch(http.MethodGet, "/goods")
	if got := rg.verify(view, liPhone); got.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	member := view.me().ID
	mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
	mallory.login("")
	view.stay(mallory.ticket("/goods"))
	if me := view.me(); me.ID != member || me.Kind != "member" {
		t.Errorf("the member %s became %+v", member, me)
	}
}

// li, a guest of the web-view who has ordered, opens mallory's ticket in the
// same mini program. What li had before, his phone and his login never become
// mallory's, and what he had is his again when he proves who he is.
func TestForeignTicketGetsNothingOfTheVictim(t *testing.T) {
	for name, prove := range map[string]func(rg *phoneRig, view *browser){
		"by WeChat": func(rg *phoneRig, view *browser) {
			view.tapLogin(view.get("/me/orders"))
		},
		"by phone": func(rg *phoneRig, view *browser) {
			if got := rg.verify(view, liPhone); got.StatusCode != http.StatusOK {
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
		},
		"by the shop's own login": func(rg *phoneRig, view *browser) {
			rg.says("/login.php", http.StatusOK, "X-Wxgate-Login: U7")
			view.fetch(http.MethodPost, "/login.php")
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMini, listening, func(c *Config) {
				c.Account.FirstLogin, c.Headers.OpenID = account.FirstLoginWeChat, "X-Openid"
			})
			mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
			attacker := mallory.login("").User.ID
			rg.wechat.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			view := rg.webViewOf("li", testMiniID)
			rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(-1))
			view.get("/goods")
			rg.wechat.Heal(wechattest.ExchangeCode)
			ordered, _ := view.shownTo("/goods") // WeChat did not say who he is

			view.get(mallory.ticket("/goods"))
			if id, _ := view.shownTo("/goods"); id != attacker {
				t.Fatalf("the ticket was not used: %s", id)
			}
			prove(rg, view)
			member, kind := view.shownTo("/goods")
			if kind != "member" || rg.last().Header.Get("X-User-Previous-ID") != ordered {
				t.Errorf("li is the %s %s, who was %q; want %s", kind, member, rg.last().Header.Get("X-User-Previous-ID"), ordered)
			}
			if rg.last().Header.Get("X-Openid") == rg.wechat.OpenID("mallory", testMiniID) {
				t.Error("the shop is told mallory's openid of li")
			}
			again := rg.miniOf(wechattest.Person{Name: "mallory"})
			again.login("login")
			if id, _ := again.shop("/goods"); id == member || strings.Contains(rg.last().Header.Get("X-User-Previous-ID"), ordered) {
				t.Errorf("mallory is %s, who was %s", id, rg.last().Header.Get("X-User-Previous-ID"))
			}
			if person, err := rg.db.Person(t.Context(), again.login("login").User.ID); err != nil || person.Phone != "" {
				t.Errorf("mallory has the phone %s, error %v", person.Phone, err)
			}
		})
	}
}

// The database fails between the two links of a login: that of who the visitor
// is, and that of the guest whom his browser was. He is told to try again, and
// then nothing is lost.
func TestGuestWhoWasLeftOutlivesAFailingDatabase(t *testing.T) {
	rg := newPhoneRig(t, withMini)
	mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
	mallory.login("")
	rg.wechat.AddPerson(wechattest.Person{Name: "li"})
	view := rg.webViewOf("li", testMiniID)
	rg.wechat.Fail(wechattest.ExchangeCode, wechattest.Forever, wechattest.ErrCode(-1))
	view.get("/goods")
	ordered, _ := view.shownTo("/goods")
	view.get(mallory.ticket("/goods"))
	view.askCode(liPhone)
	code := rg.inbox.last(t).Code
	rg.site.Accounts = &failsOnce{Accounts: rg.site.Accounts, of: ordered}
	if got := view.prove(liPhone, code); !is(got, http.StatusServiceUnavailable, "unavailable") {
		t.Errorf("while the database fails: %d %s", got.StatusCode, got.body)
	}
	if got := view.prove(liPhone, code); got.StatusCode != http.StatusOK {
		t.Errorf("once more: %d %s", got.StatusCode, got.body)
	}
	if _, kind := view.shownTo("/goods"); kind != "member" || rg.last().Header.Get("X-User-Previous-ID") != ordered {
		t.Errorf("the %s was %q, want %s", kind, rg.last().Header.Get("X-User-Previous-ID"), ordered)
	}
}

// failsOnce fails with the first Link of a user.
type failsOnce struct {
	Accounts
	of string
}

func (f *failsOnce) Link(ctx context.Context, rules account.Rules, in account.Input) (account.Outcome, error) {
	if in.UserID == f.of {
		f.of = ""
		return account.Outcome{}, errDown
	}
	return f.Accounts.Link(ctx, rules, in)
}

// Mallory is a member when she hands her page over, or becomes one while li looks
// at it: nothing of his is added to her account.
func TestNothingIsAddedToAHandedOverMember(t *testing.T) {
	for name, late := range map[string]bool{"before": false, "after": true} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMini, func(c *Config) {
				c.Account.FirstLogin, c.Account.Linking = account.FirstLoginWeChat, account.ManyUnionIDs
			})
			mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
			mallory.login(map[bool]string{false: "login", true: ""}[late])
			rg.wechat.AddPerson(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			view := rg.webViewOf("li", testMiniID)
			view.get(mallory.ticket("/goods"))
			attacker := mallory.login("login").User.ID
			if got := view.askCode(liPhone); !is(got, http.StatusConflict, "handed_over") {
				t.Errorf("a code: %d %s", got.StatusCode, got.body)
			}
			for _, path := range []string{"/pay", "/wxgate/phone?change=1", "/wxgate/bind", "/wxgate/bind?go=wechat", "/wxgate/merge", "/wxgate/merge?go=wechat"} {
				got := view.get(path, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
				if got.StatusCode != http.StatusConflict || !strings.Contains(got.body, "请在小程序里操作") {
					t.Errorf("%s: %d at %s", path, got.StatusCode, got.Request.URL)
				}
			}
			person, err := rg.db.Person(t.Context(), attacker)
			if err != nil || person.Phone != "" || len(person.Identities) != 1 {
				t.Errorf("mallory is %+v, error %v", person, err)
			}
		})
	}
}

// What li's browser has ordered before she handed herself over to it is hers as
// soon as WeChat says there who she is, also where her first login takes a phone
// besides, and where the page was opened twice.
func TestGuestWhoWasLeftIsFetchedByAProofThatIsNoLoginYet(t *testing.T) {
	for tickets := 1; tickets <= 2; tickets++ {
		rg := newPhoneRig(t, withMini)
		li := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
		handed := li.login("").User.ID
		view := rg.webViewOf("li", testMiniID)
		view.fetch(http.MethodGet, "/goods")
		ordered, _, _ := rg.identityOf()
		for range tickets {
			view.stay(li.ticket("/goods"))
		}
		view.tapLogin(view.get("/me/orders"))
		if now, err := rg.db.Contact(t.Context(), ordered); err != nil || now.ID != handed || now.Kind != account.Guest {
			t.Errorf("after %d tickets: the orders of %s are %+v's, want %s's: %v", tickets, ordered, now, handed, err)
		}
	}
}

// An authorization began in a session that was handed over meanwhile: WeChat has
// proved li, and mallory's member does not get him.
func TestConsentInAHandedOverMemberIsHisOwn(t *testing.T) {
	sess := &session.Session{UserID: "7", Kind: kindMember, AppID: testMiniID, OpenID: "o1", UnionID: "u1", HandedOver: true}
	for unionID, want := range map[string]string{"u1": "7", "u2": "", "": ""} {
		if in := standIn(account.Input{AppID: testAppID, OpenID: "o2", UnionID: unionID}, sess); in.UserID != want || in.SessionUnionID != "" {
			t.Errorf("%q: %+v", unionID, in)
		}
	}
	// Two of whom no unionid is known are not one.
	if in := standIn(account.Input{AppID: testAppID, OpenID: "o2"}, &session.Session{UserID: "9", Kind: kindGuest, HandedOver: true}); !in.HandedOver {
		t.Errorf("without unionids: %+v", in)
	}
}

// Mallory has logged out, so that no row names the guest she is, and hands that
// guest over. Li, who looks at her page, proves who he is: the guest is not him,
// and she sees nothing of his.
func TestHandedOverGuestWithoutRowsIsNobodyElses(t *testing.T) {
	for name, known := range map[string]bool{"li is new": false, "li has been here": true} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t, withMini)
			mallory := rg.miniOf(wechattest.Person{Name: "mallory"})
			mallory.login("")
			mallory.request(http.MethodPost, "/wxgate/logout", nil)
			attacker := mallory.login("").User.ID
			li := rg.miniOf(wechattest.Person{Name: "li", Consent: wechattest.Accept})
			if known {
				li.login("")
			}
			view := rg.webViewOf("li", testMiniID)
			view.get(mallory.ticket("/goods"))
			view.tapLogin(view.get("/me/orders"))
			lis, _ := view.shownTo("/goods")
			if id, _ := mallory.shop("/goods"); id == lis {
				t.Errorf("mallory, who was %s, is li's guest %s", attacker, lis)
			}
			if id := li.login("").User.ID; id != lis || id == attacker {
				t.Errorf("li is %s, in the web-view %s, mallory was %s", id, lis, attacker)
			}
		})
	}
}
