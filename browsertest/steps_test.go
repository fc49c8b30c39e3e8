package browsertest

import (
	"fmt"
	"strings"
)

// What people tap.
const (
	memberSign = ".kind.member"
	primary    = "a.primary, button.primary"
	accept     = "button.accept" // at WeChat
	refuse     = "button.refuse"
)

// smsByWebhook lets the world's phones get codes.
const smsByWebhook = "sms webhook PHONES {\n\tsecret whsec_YnJvd3NlciB0ZXN0cyBicm93c2VyIHRlc3RzIGFiY2Q=\n}\n"

// logInWithWeChat makes a guest in WeChat a member.
func (v *visitor) logInWithWeChat() *visitor {
	v.t.Helper()
	return v.open("/me/orders").atPath("/wxgate/login").tap(primary).see(accept).tap(accept).at("/me/orders").see(memberSign)
}

// newPhone is the number of a phone that nobody has used.
func (w *world) newPhone() string {
	w.phones++
	return fmt.Sprintf("138%08d", w.phones)
}

// askForCode enters a phone, where it is asked for, and has a code sent.
func (v *visitor) askForCode(phone string) *visitor {
	v.t.Helper()
	before := len(v.w.messages.sentTo("+86" + phone))
	if v.holds(`document.querySelector("#phone") !== null`) {
		v.enter("#phone", phone)
	}
	v.press("#send")
	waitForOr(v.t, func() bool { return len(v.w.messages.sentTo("+86"+phone)) > before }, func() { v.fail("a code") })
	return v.see("#said")
}

// lastCode is the code that a phone was sent last.
func (w *world) lastCode(phone string) string {
	sent := w.messages.sentTo("+86" + phone)
	return sent[len(sent)-1]
}

// provePhone goes through the form for a phone to the page behind it.
func (v *visitor) provePhone(phone string) *visitor {
	v.t.Helper()
	v.askForCode(phone)
	return v.enter("#code", v.w.lastCode(phone)).tap("#submit")
}

// scan has the QR code shown at a desk, scans it with somebody's phone, and
// waits until the desk is back at the shop.
func (v *visitor) scan(person string) *visitor {
	v.t.Helper()
	phone := v.showQR().scanWith(person)
	phone.tap(accept)
	return v.leftWeChat()
}

// showQR asks for a QR code.
func (v *visitor) showQR() *visitor {
	v.t.Helper()
	return v.tap("a[href*='go=scan']").see("code")
}

// scanWith holds a phone before the screen: the phone asks its person.
func (v *visitor) scanWith(person string) (phone *visitor) {
	v.t.Helper()
	return v.w.visitorOf(v.t, inWeChat(person)).open(v.w.platform + v.text("code")).see(accept)
}

// leftWeChat waits until the browser is back from WeChat's pages.
func (v *visitor) leftWeChat() *visitor {
	v.t.Helper()
	v.wait("the way back from WeChat", fmt.Sprintf(`document.readyState === "complete" && location.origin === %q`, v.w.base))
	return v
}

// fillCart puts something into the cart and goes there. It waits for what the
// shop's script adds at the top, which moves everything below.
func (v *visitor) fillCart() *visitor {
	v.t.Helper()
	return v.open("/").see("#summary").tap("ul.goods li:first-child button").at("/cart")
}

// order places an order from the cart and returns its number.
func (v *visitor) order(note string) string {
	v.t.Helper()
	v.at("/cart").enter("#note", note).tap(".checkout button.wide")
	return v.text("#order-number")
}

// isPaid has the payment provider pay an order in view.
func (v *visitor) isPaid(order string) *visitor {
	v.t.Helper()
	v.w.pay(order)
	return v.reload().see(".paid")
}

// id is who the shop takes the visitor for.
func (v *visitor) id() string {
	v.t.Helper()
	return v.text("#user-id")
}

// mustOwn tests that a user has exactly one order, and that it is paid.
func (w *world) mustOwn(user, order string) {
	w.t.Helper()
	if got := w.shop.Orders(user); len(got) != 1 || got[0].Number != order || !got[0].Paid {
		w.t.Errorf("orders of %s: %+v, want %s, paid", user, got, order)
	}
}

// mustSay tests what a page says.
func (v *visitor) mustSay(selector, want string) *visitor {
	v.t.Helper()
	if got := v.text(selector); !strings.Contains(got, want) {
		v.t.Errorf("%s says %q, want %q", selector, got, want)
	}
	return v
}
