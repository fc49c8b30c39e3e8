package gate

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/session"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// inWeChat is the browser of a person in WeChat who has logged in with his
// phone.
func (rg *phoneRig) inWeChat(name, phone string) *browser {
	rg.t.Helper()
	b := rg.wechatBrowser(wechattest.Person{Name: name, Consent: wechattest.Accept})
	b.tapLogin(b.get("/me/orders"))
	if got := rg.verify(b, phone); got.StatusCode != http.StatusOK {
		rg.t.Fatalf("no login: %d %s", got.StatusCode, got.body)
	}
	rg.wait()
	return b
}

// explained opens the page that explains a refusal, as the script does, and
// returns its code and the ways on.
func (b *browser) explained(refused answer) (page answer) {
	b.rg.t.Helper()
	if refused.StatusCode != http.StatusConflict {
		b.rg.t.Fatalf("not refused: %d %s", refused.StatusCode, refused.body)
	}
	page = b.get("/wxgate/phone?return_to=%2Fme%2Forders&code=" + problemOf(refused))
	if !strings.Contains(page.body, "<code>"+problemOf(refused)+"</code>") || strings.Contains(page.body, "<h1></h1>") {
		b.rg.t.Errorf("%s is not explained:\n%s", problemOf(refused), page.body)
	}
	return page
}

func TestTwoTapsAreOneLogin(t *testing.T) {
	for name, at := range map[string]bool{"at once": true, "one after the other": false} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t)
			b := rg.visitor()
			b.askCode(liPhone)
			code, cookies := rg.inbox.last(t).Code, b.cookies()["wxgate"]
			first, second := b.sameAs(), b.sameAs()
			var answers [2]answer
			if at {
				var wg sync.WaitGroup
				wg.Go(func() { answers[0] = first.prove(liPhone, code) })
				wg.Go(func() { answers[1] = second.prove(liPhone, code) })
				wg.Wait()
			} else {
				answers = [2]answer{first.prove(liPhone, code), second.prove(liPhone, code)}
			}
			if answers[0].StatusCode != http.StatusOK || answers[0].body != answers[1].body {
				t.Fatalf("%d %s and %d %s", answers[0].StatusCode, answers[0].body, answers[1].StatusCode, answers[1].body)
			}
			if c := first.cookies()["wxgate"]; c == cookies || c != second.cookies()["wxgate"] {
				t.Error("the two have different sessions")
			}
			// The result is no second chance for guesses.
			for range codeTries {
				if got := b.prove(liPhone, other(code)); got.StatusCode == http.StatusOK {
					t.Error("another code is right too")
				}
			}
			if got := b.prove(liPhone, code); got.StatusCode == http.StatusOK {
				t.Error("there are more than five tries")
			}
		})
	}
}

// sameAs is a browser with the same cookies, which get lost on each other.
func (b *browser) sameAs() *browser {
	c := b.rg.browser(b.ua)
	u, err := url.Parse(b.rg.srv.URL)
	must(b.rg.t, err)
	c.client.Jar.SetCookies(u, b.client.Jar.Cookies(u))
	return c
}

// Attack (A5): a planted guest's cookie, when the victim logs in with it.
func TestPlantedGuestNeverOpensTheMemberOfAPhone(t *testing.T) {
	rg := newPhoneRig(t)
	attacker := rg.visitor()
	guest := attacker.who()
	victim := attacker.sameAs()
	if got := rg.verify(victim, liPhone); got.StatusCode != http.StatusOK {
		t.Fatal(got.body)
	}
	if got := victim.who(); !strings.HasPrefix(got, "member ") {
		t.Fatalf("the victim is %s", got)
	}
	if got := attacker.who(); got != guest && got != " " {
		t.Errorf("the attacker is %s", got)
	}
	if got := attacker.get("/me/orders"); got.Request.URL.Path != "/wxgate/phone" {
		t.Errorf("the attacker is at %s", got.Request.URL)
	}
}

// A code outlives the rotation of the session that it was sent to.
func TestCodeSurvivesThePromotionOfItsGuest(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	b.get("/goods")
	b.askCode(wangPhone)
	b.get("/me/orders")
	member, kind, _ := rg.identityOf()
	if kind != "member" {
		t.Fatalf("he is a %s", kind)
	}
	if got := b.prove(wangPhone, rg.inbox.last(t).Code); got.StatusCode != http.StatusOK {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	b.get("/pay")
	if id, _, _ := rg.identityOf(); id != member || rg.last().URL.Path != "/pay" {
		t.Errorf("he is %s, not %s", id, member)
	}
}

// P4: the number of a member who has another WeChat.
func TestPhoneAloneRebindsNoWeChat(t *testing.T) {
	rg := newPhoneRig(t)
	li := rg.inWeChat("li", liPhone)
	owner := li.who()
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Consent: wechattest.Accept})
	wang.tapLogin(wang.get("/me/orders"))
	guest := wang.who()
	refused := rg.verify(wang, liPhone)
	if !is(refused, http.StatusConflict, "phone_bound_to_other_wechat") {
		t.Fatalf("%d %s", refused.StatusCode, refused.body)
	}
	if page := wang.explained(refused); !strings.Contains(page.body, "换一个手机号") || !strings.Contains(page.body, rg.srv.URL+"/wxgate/account<") {
		t.Errorf("no way on, or not where the other WeChat is unbound:\n%s", page.body)
	}
	if wang.who() != guest || li.who() != owner {
		t.Errorf("wang is %s, li is %s", wang.who(), li.who())
	}
	if got := rg.verify(wang, wangPhone); got.StatusCode != http.StatusOK || !strings.HasPrefix(wang.who(), "member ") {
		t.Errorf("with his own number: %d %s", got.StatusCode, got.body)
	}
}

// P7: the number of another member.
func TestPhoneOfAnotherMemberIsNotBound(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	owner := rg.member(liPhone)
	him := owner.who()
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	wang.get("/me/orders")
	before, cookie := wang.who(), wang.cookies()["wxgate"]
	refused := rg.verify(wang, liPhone)
	if !is(refused, http.StatusConflict, "phone_owned_by_other_user") || wang.who() != before || wang.cookies()["wxgate"] != cookie {
		t.Fatalf("%d %s, and he is %s", refused.StatusCode, refused.body, wang.who())
	}
	wang.explained(refused)
	if owner.who() != him {
		t.Errorf("the owner is %s", owner.who())
	}
	if got := wang.get("/pay"); got.Request.URL.Path != "/wxgate/phone" {
		t.Errorf("a refused phone opens %s", got.Request.URL)
	}
}

// phone_idle: the carrier may have given the number to somebody else.
func TestIdleMemberWithWeChatNeedsMoreThanHisPhone(t *testing.T) {
	rg := newPhoneRig(t)
	li := rg.inWeChat("li", liPhone)
	rg.site.cfg.Account.PhoneIdle = 1 // so long ago
	pc := rg.visitor()
	guest := pc.who()
	refused := rg.verify(pc, liPhone)
	if !is(refused, http.StatusConflict, "second_proof_required") || pc.who() != guest {
		t.Fatalf("%d %s, and he is %s", refused.StatusCode, refused.body, pc.who())
	}
	pc.explained(refused)
	li.clearCookies()
	li.get("/me/orders")
	if _, kind, _ := rg.identityOf(); kind != "member" {
		t.Error("his WeChat does not log him in")
	}
}

// The shop that makes user ids is out of reach: the same code works later.
func TestCodeIsNotUsedUpWhileTheShopIsOutOfReach(t *testing.T) {
	down := true
	rg := newPhoneRig(t, func(c *Config) {
		c.Account.MakeUserID = func(context.Context, account.Newcomer) (string, error) {
			if down {
				return "", errors.New("the shop is down")
			}
			return "shop-1", nil
		}
	})
	b := rg.visitor()
	b.askCode(liPhone)
	code := rg.inbox.last(t).Code
	if got := b.prove(liPhone, code); !is(got, http.StatusServiceUnavailable, "unavailable") || retryAfter(got) == 0 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	down = false
	if got := b.prove(liPhone, code); got.StatusCode != http.StatusOK || b.who() != "member shop-1" {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

// Nor does a proof that takes its time end another code, which was sent
// meanwhile because the limits were forgotten.
func TestLateProofLeavesTheNewerCode(t *testing.T) {
	for name, down := range map[string]error{"which succeeds": nil, "which fails": errors.New("the shop is down")} {
		t.Run(name, func(t *testing.T) {
			var askAgain func()
			rg := newPhoneRig(t, func(c *Config) {
				c.Account.MakeUserID = func(context.Context, account.Newcomer) (string, error) {
					askAgain()
					return "shop-1", down
				}
			})
			b := rg.visitor()
			b.askCode(liPhone)
			first := rg.inbox.last(t).Code
			hasty := b.sameAs()
			askAgain = func() {
				rg.wait()
				hasty.askCode(liPhone)
				askAgain = func() { down = nil }
			}
			b.prove(liPhone, first)
			if newer := rg.inbox.last(t).Code; rg.inbox.count() != 2 || problemOf(hasty.prove(liPhone, newer)) == "code_wrong" {
				t.Errorf("of %d codes the newer one is wrong", rg.inbox.count())
			}
		})
	}
}

// So does a database that is, however often he tries meanwhile.
func TestCodeIsNotUsedUpWhileTheDatabaseIsDown(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.visitor()
	b.askCode(liPhone)
	code := rg.inbox.last(t).Code
	rg.db.down.Store(true)
	for range codeTries + 1 {
		if got := b.prove(liPhone, code); !is(got, http.StatusServiceUnavailable, "unavailable") {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
	}
	rg.db.down.Store(false)
	must(t, rg.site.Watcher.poll(t.Context()))
	if got := b.prove(liPhone, code); got.StatusCode != http.StatusOK {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestSnapshotVisitorVerifiesNoPhone(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "li", Snapshot: wechattest.SnapshotOn})
	b.get("/goods")
	if got := b.askCode(liPhone); !is(got, http.StatusConflict, "snapshot") || rg.inbox.count() != 0 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	if page := b.get("/wxgate/phone"); strings.Contains(page.body, "<form") || !strings.Contains(page.body, "使用完整服务") {
		t.Errorf("the page:\n%s", page.body)
	}
}

func TestWithoutASessionNoCodeIsSent(t *testing.T) {
	rg := newPhoneRig(t)
	for name, edit := range map[string]func(*http.Request){
		"none":        func(*http.Request) {},
		"not of ours": func(r *http.Request) { r.Header.Set("Cookie", "wxgate=AAAA") },
		"by a header": func(r *http.Request) { r.Header.Set("Authorization", "Wxgate AAAA") },
		"of the flow": func(r *http.Request) { r.Header.Set("Cookie", "wxgate="+rg.keys.Seal(session.TypeFlow, []byte("{}"))) },
		"a code's key": func(r *http.Request) {
			r.Header.Set("Cookie", "wxgate="+rg.keys.Seal(session.TypeCode, []byte(`{"i":"x"}`)))
		},
	} {
		got := rg.browser(uaChrome).post("/wxgate/phone/code", map[string]string{"phone": liPhone}, edit)
		if p := problemOf(got); got.StatusCode != http.StatusUnauthorized || p != "login_required" && p != "session_expired" {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
		}
	}
	if rg.inbox.count() != 0 {
		t.Errorf("%d codes were sent", rg.inbox.count())
	}
}
