package gate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wxgate/wxgate/internal/account"
	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const changeMe = "/wxgate/phone?return_to=%2Fme%3Ftab%3Dphone&change=1"

// change asks for a code to change a phone, and answers with it. The number he
// has is the empty one.
func (rg *phoneRig) change(b *browser, phone string) answer {
	rg.t.Helper()
	rg.wait()
	fields := map[string]string{"phone": phone, "purpose": "change"}
	if got := b.post("/wxgate/phone/code", fields); got.StatusCode != http.StatusAccepted {
		rg.t.Fatalf("no code: %d %s", got.StatusCode, got.body)
	}
	if m := rg.inbox.last(rg.t); m.Purpose != "change" {
		rg.t.Errorf("the message is for %q", m.Purpose)
	}
	fields["code"] = rg.inbox.last(rg.t).Code
	return b.post("/wxgate/phone", fields)
}

// phoneNow is the phone of the browser's member.
func (rg *phoneRig) phoneNow(b *browser) string {
	rg.t.Helper()
	_, id, _ := strings.Cut(b.who(), " ")
	phone, err := rg.db.PhoneOf(rg.t.Context(), id)
	must(rg.t, err)
	return string(phone)
}

func TestPhoneIsChangedWithTheOldOne(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.member(liPhone)
	before := b.who()
	page := b.get(changeMe)
	if !strings.Contains(page.body, "86 138****8001") || strings.Contains(page.body, "13800138001") || strings.Contains(page.body, `id="phone"`) {
		t.Fatalf("the first page:\n%s", page.body)
	}
	if got := rg.change(b, ""); got.StatusCode != http.StatusOK || rg.inbox.last(t).Phone != liPhone {
		t.Fatalf("the old phone: %d %s", got.StatusCode, got.body)
	}
	if page = b.get(changeMe); !strings.Contains(page.body, `id="phone"`) || !strings.Contains(page.body, `data-next="/me?tab=phone"`) {
		t.Fatalf("the second page:\n%s", page.body)
	}
	old := b.sessionID()
	if got := rg.change(b, newPhone); got.StatusCode != http.StatusOK {
		t.Fatalf("the new phone: %d %s", got.StatusCode, got.body)
	}
	if rg.phoneNow(b) != newPhone || b.who() != before || b.sessionID() == old {
		t.Errorf("%s has %s", b.who(), rg.phoneNow(b))
	}
	if page = b.get(changeMe); strings.Contains(page.body, `id="phone"`) {
		t.Error("one proof changes two phones")
	}
	if other := rg.member(liPhone); other.who() == before {
		t.Error("the old phone still logs him in")
	}
}

func TestPhoneIsChangedWithWeChat(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.inWeChat("li", liPhone)
	before := b.who()
	page := b.tap(b.get(changeMe), "go=wechat")
	if page.Request.URL.RequestURI() != changeMe || !strings.Contains(page.body, `id="phone"`) {
		t.Fatalf("at %s:\n%s", page.Request.URL, page.body)
	}
	if got := rg.change(b, newPhone); got.StatusCode != http.StatusOK || rg.phoneNow(b) != newPhone || b.who() != before {
		t.Errorf("%d %s: %s has %s", got.StatusCode, got.body, b.who(), rg.phoneNow(b))
	}
}

// Whoever says no at WeChat comes back to where he can prove himself otherwise.
func TestRefusalAtWeChatLeadsBackToTheChange(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true, Consent: wechattest.Refuse, Refusal: wechattest.StateOnly})
	b.get("/goods")
	rg.verify(b, wangPhone)
	page := b.tap(b.get(changeMe), "go=wechat")
	if page.Request.URL.Path != "/wxgate/phone" || strings.Contains(page.body, `id="phone"`) || !strings.Contains(page.body, "没有同意") {
		t.Errorf("at %s:\n%s", page.Request.URL, page.body)
	}
}

// Attack: whoever holds a member's browser, and not his phone or WeChat, gives
// him another phone.
func TestPhoneIsNotChangedWithoutAProof(t *testing.T) {
	for name, prove := range map[string]func(rg *phoneRig, b *browser) *browser{
		"nothing": func(_ *phoneRig, b *browser) *browser { return b },
		"a login code for the old phone": func(rg *phoneRig, b *browser) *browser {
			rg.verify(b, liPhone)
			return b
		},
		"another's WeChat": func(rg *phoneRig, b *browser) *browser {
			thief := rg.wechatBrowser(wechattest.Person{Name: "thief", Consent: wechattest.Accept})
			thief.client.Jar = b.client.Jar
			thief.tap(thief.get(changeMe), "go=wechat")
			return thief
		},
		"another's old phone": func(rg *phoneRig, b *browser) *browser {
			other := rg.member(wangPhone)
			rg.change(other, "")
			return b
		},
		"his own phone in another browser": func(rg *phoneRig, b *browser) *browser {
			own := rg.visitor()
			rg.verify(own, liPhone)
			rg.change(own, "")
			return b
		},
		"the old phone, and a link to another origin's page": func(rg *phoneRig, b *browser) *browser {
			b.get(changeMe+"&go=wechat", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			rg := newPhoneRig(t)
			b := rg.inWeChat("li", liPhone)
			thief := prove(rg, b)
			refused := rg.change(thief, newPhone)
			if !is(refused, http.StatusConflict, "phone_change_needs_flow") || rg.phoneNow(b) != liPhone {
				t.Fatalf("%d %s, and the phone is %s", refused.StatusCode, refused.body, rg.phoneNow(b))
			}
			if page := b.explained(refused); !strings.Contains(page.body, "change=1") {
				t.Errorf("no way on:\n%s", page.body)
			}
		})
	}
}

// Binding another phone is a change, with a proof or without.
func TestAnotherPhoneIsNotBoundByTheLoginPage(t *testing.T) {
	rg := newPhoneRig(t)
	b := rg.member(liPhone)
	rg.change(b, "")
	if got := rg.verify(b, newPhone); !is(got, http.StatusConflict, "phone_change_needs_flow") || rg.phoneNow(b) != liPhone {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
}

func TestPhoneIsNotChangedToAnothers(t *testing.T) {
	rg := newPhoneRig(t)
	rg.member(wangPhone)
	b := rg.member(liPhone)
	rg.change(b, "")
	got := rg.change(b, wangPhone)
	if !is(got, http.StatusConflict, "phone_owned_by_other_user") || rg.phoneNow(b) != liPhone {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	b.explained(got)
	if got := rg.change(b, newPhone); got.StatusCode != http.StatusOK || rg.phoneNow(b) != newPhone {
		t.Errorf("then a free one: %d %s", got.StatusCode, got.body)
	}
}

func TestOnlyMembersWithAPhoneChangeIt(t *testing.T) {
	rg := newPhoneRig(t, func(c *Config) { c.Account.FirstLogin = account.FirstLoginWeChat })
	guest := rg.visitor()
	if page := guest.get(changeMe); page.Request.URL.RequestURI() != rg.site.phoneURL(rg.site.changeURL("/me?tab=phone", ""), "") {
		t.Errorf("a guest is at %s", page.Request.URL)
	}
	if got := guest.post("/wxgate/phone/code", map[string]string{"purpose": "change"}); !is(got, http.StatusUnauthorized, "login_required") {
		t.Errorf("a guest: %d %s", got.StatusCode, got.body)
	}
	wang := rg.wechatBrowser(wechattest.Person{Name: "wang", Follower: true})
	wang.get("/me/orders")
	if page := wang.get(changeMe); page.Request.URL.RequestURI() != "/wxgate/phone?return_to=%2Fme%3Ftab%3Dphone" {
		t.Errorf("a member without a phone is at %s", page.Request.URL)
	}
	if got := wang.post("/wxgate/phone/code", map[string]string{"purpose": "change"}); !is(got, http.StatusUnprocessableEntity, "phone_invalid") {
		t.Errorf("a member without a phone: %d %s", got.StatusCode, got.body)
	}
	if got := wang.post("/wxgate/phone/code", map[string]string{"phone": liPhone, "purpose": "other"}); !is(got, http.StatusBadRequest, "malformed") {
		t.Errorf("another purpose: %d %s", got.StatusCode, got.body)
	}
}

// TestTheShopIsToldThePhoneWhereItAsksForIt: the number of now, of members who
// have one, and nowhere else.
func TestTheShopIsToldThePhoneWhereItAsksForIt(t *testing.T) {
	for _, asked := range []bool{true, false} {
		rg := newPhoneRig(t, func(c *Config) { c.ClaimPhone = asked })
		claim := func(b *browser) string {
			b.who()
			_, rest, _ := strings.Cut(rg.claims(), `"phone":"`)
			number, _, _ := strings.Cut(rest, `"`)
			return number
		}
		b := rg.member(liPhone)
		got := []string{claim(b), claim(b)} // the second is from memory
		rg.change(b, "")
		rg.change(b, newPhone)
		got = append(got, claim(b), claim(rg.visitor()))
		want := []string{liPhone, liPhone, newPhone, ""}
		if !asked {
			want = make([]string, 4)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("asked for: %t (-want +got)\n%s", asked, diff)
		}
		if told := rg.log.String(); strings.Contains(told, "13800138001") || strings.Contains(told, strings.TrimPrefix(newPhone, "+86")) {
			t.Errorf("the log has a number:\n%s", told)
		}
	}
}
