package browsertest

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// allWays is a shop with an official account, a website app and codes by SMS.
func allWays(firstLogin string) setting {
	return setting{
		app: "official_account " + accountID + " account-secret\nwebsite " + websiteID + " website-secret\n" +
			smsByWebhook + "first_login " + firstLogin + "\n",
		site: "login /me/* /api/me/* /orders\n",
	}
}

func TestFromTheFirstPageToAPaidOrderAsAMemberWithOneNumberAndOneCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	for name, c := range map[string]struct {
		device device
		onward func(*visitor) // from the login page to the form for a phone
	}{
		"in WeChat":                 {inWeChat("li"), func(v *visitor) { v.tap(primary).see(accept).tap(accept) }},
		"in WeChat, by phone alone": {inWeChat("han"), func(v *visitor) { v.tap("a[href*='/wxgate/phone']") }},
		"another browser":           {onPhone(), func(*visitor) {}}, // there is no other way
		"at a desk":                 {atDesk(), func(v *visitor) { v.tap("a[href*='/wxgate/phone']") }},
	} {
		t.Run(name, func(t *testing.T) {
			v := w.visitorOf(t, c.device)
			v.fillCart().enter("#note", name).tap(".checkout button.wide").tap("nav a")
			c.onward(v)
			v.atPath("/wxgate/phone").provePhone(w.newPhone())
			number := v.at("/cart").order(name)
			v.isPaid(number).see(memberSign)
			w.mustOwn(v.id(), number)
			if v.entered != 2 {
				t.Errorf("%d fields filled in, want one number and one code", v.entered)
			}
		})
	}
}

func TestOnePhoneIsOneMemberEverywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	phone := w.newPhone()
	desk := w.visitor(atDesk())
	desk.open("/wxgate/phone?return_to=%2Fcart").provePhone(phone).at("/cart").see(memberSign)

	// A minute has to pass between two codes, or the gateway forgets.
	w.restart()
	li := w.visitor(inWeChat("li"))
	li.open("/me/orders").tap(primary).see(accept).tap(accept).atPath("/wxgate/phone").provePhone(phone)
	li.at("/me/orders").see(memberSign)
	if li.id() != desk.id() {
		t.Errorf("in WeChat he is %s, at the desk %s", li.id(), desk.id())
	}
	again := w.visitor(inWeChat("li"))
	if again.open("/me/orders").at("/me/orders"); again.id() != li.id() {
		t.Errorf("without cookies he is %s, want %s", again.id(), li.id())
	}
}

func TestExpiredCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	v, phone := w.visitor(onPhone()), w.newPhone()
	v.open("/wxgate/phone?return_to=%2Fme%2Forders%3Fq%3D1").askForCode(phone)
	w.restart() // which forgets codes, as five minutes do
	v.enter("#code", w.lastCode(phone)).mustAnswer("#submit", "code_expired")
	// The page lets him ask again after a minute; opened anew, at once.
	v.reload().provePhone(phone).at("/me/orders?q=1").see(memberSign)
}

func TestWrongCodeFiveTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	v, phone := w.visitor(onPhone()), w.newPhone()
	v.open("/wxgate/phone?return_to=%2Fme%2Forders").askForCode(phone)
	if !v.holds(`document.querySelector("#send").disabled`) {
		t.Error("a second code can be asked for at once")
	}
	right := w.lastCode(phone)
	for i := range 4 {
		v.enter("#code", wrongCode(right, i)).mustAnswer("#submit", "code_wrong")
	}
	v.enter("#code", wrongCode(right, 4)).mustAnswer("#submit", "code_expired")
	v.enter("#code", right).mustAnswer("#submit", "code_expired")
	if v.open("/").see("#log-in"); len(w.shop.Orders(v.id())) != 0 {
		t.Error("he is somebody else")
	}
	// With another phone he is in.
	v.open("/wxgate/phone?return_to=%2Fme%2Forders").provePhone(w.newPhone()).at("/me/orders").see(memberSign)
}

// wrongCode is any code but the right one, and another for each i.
func wrongCode(right string, i int) string {
	var n int
	fmt.Sscan("1"+right, &n)
	return fmt.Sprintf("%06d", (n+i+1)%1_000_000)
}

// mustAnswer presses a button and tests what the page's script says then.
func (v *visitor) mustAnswer(button, code string) {
	v.t.Helper()
	v.eval(`document.querySelector("#said").textContent = ""`)
	v.press(button)
	v.wait("an answer", `document.querySelector("#said").textContent !== ""`)
	v.mustSay("#said", texts(v.t, "zh-CN")["text."+code])
}

func TestQRLoginWithASecondBrowserAsThePhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat"))
	desk := w.visitor(atDesk())
	guest := desk.fillCart().id()
	desk.open("/me/orders?from=desk").atPath("/wxgate/login").scan("li")
	desk.at("/me/orders?from=desk").see(memberSign)
	if desk.id() == guest {
		t.Error("the member has the guest's id")
	}
	number := desk.open("/cart").order("扫码")
	desk.isPaid(number)

	// The phone's own WeChat finds the order.
	phone := w.visitor(inWeChat("li")).logInWithWeChat()
	if phone.id() != desk.id() {
		t.Errorf("on the phone he is %s, at the desk %s", phone.id(), desk.id())
	}
	w.mustOwn(phone.id(), number)
}

func TestQRLoginRefusedAtThePhoneAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat"))
	w.wechat.AddPerson(wechattest.Person{Name: "li", Refusal: wechattest.StateOnly})
	d := atDesk()
	d.noScript = true // and without script
	desk := w.visitor(d)
	desk.open("/me/orders").showQR().scanWith("li").tap(refuse)
	desk.leftWeChat().mustSay(".note", texts(t, "zh-CN")["note.refused"])
	desk.scan("li").at("/me/orders").see(memberSign)
}

func TestPhonePageSaysWhatItNeedsWithoutScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	d := onPhone()
	d.noScript = true
	w.visitor(d).open("/me/orders").mustSay("noscript", texts(t, "zh-CN")["label.no_script"])
}

// The fragment comes along through the form that proves a phone as well.
func TestPhonePageKeepsTheFragmentOfTheURLThatWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	const left = "/me/orders?q=1#/orders/5?tab=$1&all"
	w.visitor(onPhone()).open("/").open(left).atPath("/wxgate/phone").provePhone(w.newPhone()).at(left).see(memberSign)
}

// A browser that drops the session that a code needs is told what to do, and
// not that it would have to log in, which is what it tries.
func TestPhonePageSaysThatCookiesAreMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	v := w.visitor(onPhone()).open("/wxgate/phone?return_to=%2Fme%2Forders")
	send(v, network.ClearBrowserCookies, cdp.Empty{})
	v.enter("#phone", w.newPhone()).press("#send").see("#said").mustSay("#said", texts(t, "zh-CN")["label.lost"])
}

func TestChangeOfPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	li := w.visitor(inWeChat("li"))
	li.open("/me/orders").tap(primary).see(accept).tap(accept).provePhone(w.newPhone()).see(memberSign)
	member := li.id()
	li.open("/wxgate/phone?change=1&return_to=%2Fme%2Forders%3Fq%3D1")
	li.tap("nav a[href*='go=wechat']").mustSay("h1", texts(t, "zh-CN")["title.phone_new"])
	phone := w.newPhone()
	li.provePhone(phone).at("/me/orders?q=1")

	w.restart()
	elsewhere := w.visitor(onPhone())
	elsewhere.open("/wxgate/phone?return_to=%2Fme%2Forders").provePhone(phone).see(memberSign)
	if elsewhere.id() != member {
		t.Errorf("with the new phone he is %s, want %s", elsewhere.id(), member)
	}
}

func TestMemberWithoutAUnionidIsAskedForAConsentOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	li := w.visitor(inWeChat("li"))
	li.open("/wxgate/phone?return_to=%2Fme%2Forders%3Fq%3D1").provePhone(w.newPhone())
	li.mustSay("h1", texts(t, "zh-CN")["title.unionid"])
	li.tap("nav a:not(.primary)").at("/me/orders?q=1").see(memberSign)
	li.open("/me/orders?q=2").at("/me/orders?q=2").see(memberSign)
}

func TestSnapshotPageLeadsToTheFullService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	w.wechat.AddPerson(wechattest.Person{Name: "li", Snapshot: wechattest.SnapshotOn})
	li := w.visitor(inWeChat("li"))
	li.open("/me/orders?q=1").mustSay("h1", texts(t, "zh-CN")["title.login_snapshot"])
	w.wechat.AddPerson(wechattest.Person{Name: "li"}) // 使用完整服务 opens it again in a browser of its own
	w.visitor(inWeChat("li")).open("/me/orders?q=1").tap(primary).see(accept).tap(accept).at("/me/orders?q=1").see(memberSign)
}
