package browsertest

import "testing"

const myOrders = "header nav a[href='/me/orders']"

// backHome presses back until the first page is reached, and finds the member on
// every page of the shop on the way.
func (v *visitor) backHome(first, member string) {
	v.t.Helper()
	for range 10 {
		if v.back().onPlatform() {
			continue
		}
		v.reload().see(memberSign) // the browser may show what it has kept
		if v.id() != member {
			v.t.Errorf("at %s he is %s, want %s", v.url(), v.id(), member)
		}
		if v.holds(`location.pathname + location.search === "` + first + `"`) {
			return
		}
		if v.path() != "/me/orders" {
			v.t.Errorf("the back button leads to %s", v.url())
		}
	}
	v.t.Errorf("the back button leads round in circles, to %s", v.url())
}

// The code that was sent before he went back is still good.
func TestBackButtonAtEveryStepOfALoginByPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	v, phone := w.visitor(onPhone()), w.newPhone()
	v.open("/?from=ad").tap(myOrders).atPath("/wxgate/phone")
	v.back().at("/?from=ad").tap(myOrders).atPath("/wxgate/phone").askForCode(phone)
	v.back().at("/?from=ad").tap(myOrders).atPath("/wxgate/phone")
	v.enter("#phone", phone).enter("#code", w.lastCode(phone)).tap("#submit").at("/me/orders").see(memberSign)
	v.backHome("/?from=ad", v.id())
}

func TestBackButtonAtEveryStepOfALoginByScan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat"))
	desk := w.visitor(atDesk())
	desk.open("/?from=ad").tap(myOrders).atPath("/wxgate/login")
	desk.back().at("/?from=ad").tap(myOrders).atPath("/wxgate/login").showQR()
	desk.back().atPath("/wxgate/login").scan("li").at("/me/orders").see(memberSign)
	desk.backHome("/?from=ad", desk.id())
}

// A form that was left open in another tab leads on when the person has logged
// in meanwhile.
func TestTwoTabsOfALoginByPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, allWays("wechat_phone"))
	first, phone := w.visitor(onPhone()), w.newPhone()
	first.open("/me/orders?tab=1").atPath("/wxgate/phone")
	second := first.secondTab()
	second.open("/me/orders?tab=2").atPath("/wxgate/phone")
	first.askForCode(phone)
	second.enter("#phone", phone).enter("#code", w.lastCode(phone)).tap("#submit").at("/me/orders?tab=2").see(memberSign)
	first.reload().at("/me/orders?tab=1").see(memberSign)
	if first.id() != second.id() {
		t.Errorf("the tabs show %s and %s", first.id(), second.id())
	}
}
