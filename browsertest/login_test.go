package browsertest

import (
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// wechatOnly is a shop where WeChat's word is enough for a first login.
func wechatOnly(site string) setting {
	return setting{
		app:  "official_account " + accountID + " account-secret\nfirst_login wechat\n",
		site: "login /me/* /api/me/*\n" + site,
	}
}

func TestFirstVisitToPaidOrderAsGuestThenMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	li := w.visitor(inWeChat("li"))

	li.open("/?from=menu&q=%E8%8C%B6").at("/?from=menu&q=%E8%8C%B6")
	guest := li.id()
	number := li.fillCart().order("放在门卫")
	li.isPaid(number)

	li.tap("#keep-order").atPath("/wxgate/login").tap(primary)
	li.see(accept).tap(accept).at("/me/orders").see(memberSign)
	if li.id() == guest {
		t.Error("the member has the guest's id")
	}
	w.mustOwn(li.id(), number)
}

func TestFromTheFirstPageToAPaidOrderAsAMemberInTwoTaps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly("login /orders\n"))
	li := w.visitor(inWeChat("li"))

	li.fillCart().enter("#note", "第一单").tap(".checkout button.wide")
	li.mustSay("h1", texts(t, "zh-CN")["title.form_needs_login"])
	li.back().at("/cart")
	if note := read[string](li, `document.querySelector("#note").value`); note != "第一单" {
		t.Errorf("the form holds %q, want what was filled in", note)
	}
	li.tap(".checkout button.wide").tap("nav a").atPath("/wxgate/login").tap(primary)
	li.see(accept).tap(accept)
	number := li.order("第一单")
	li.isPaid(number).see(memberSign)

	w.mustOwn(li.id(), number)
	if li.taps > 2 {
		t.Errorf("%d taps on our pages, want at most 2", li.taps)
	}
}

func TestRefusalAndSecondTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	const there = "/me/orders?sort=new&q=%E8%8C%B6"
	for name, c := range map[string]struct {
		refusal wechattest.Refusal
		back    func(*visitor) // how he comes back to the login page
	}{
		"no callback":       {wechattest.NoRedirect, func(v *visitor) { v.back().back() }},
		"back with a state": {wechattest.StateOnly, (*visitor).sawRefusal},
		"back with a word":  {wechattest.Authdeny, (*visitor).sawRefusal},
	} {
		t.Run(name, func(t *testing.T) {
			w.wechat.AddPerson(wechattest.Person{Name: name, Refusal: c.refusal})
			v := w.visitorOf(t, inWeChat(name))
			v.open(there).atPath("/wxgate/login").tap(primary).see(refuse).tap(refuse)
			c.back(v)
			v.atPath("/wxgate/login").tap(primary).see(accept).tap(accept).at(there).see(memberSign)
		})
	}
}

func (v *visitor) sawRefusal() {
	v.t.Helper()
	v.mustSay(".note", texts(v.t, "zh-CN")["note.refused"])
}

func TestBackButtonAtEveryStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	li := w.visitor(inWeChat("li"))

	li.open("/?from=menu").at("/?from=menu").tap("header nav a[href='/me/orders']").atPath("/wxgate/login")
	li.back().at("/?from=menu")
	li.tap("header nav a[href='/me/orders']").atPath("/wxgate/login").tap(primary).see(accept)
	li.back().atPath("/wxgate/login").see(primary)
	li.tap(primary).see(accept).tap(accept).at("/me/orders").see(memberSign)
	member := li.id()

	// Back over all of it: to the consent that is spent, to the login page that
	// is not needed any more, and to the first page.
	li.backHome("/?from=menu", member)
}

func TestTwoTabs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	first := w.visitor(inWeChat("li"))
	first.open("/me/orders?tab=1").atPath("/wxgate/login")
	second := first.secondTab()
	second.open("/me/orders?tab=2").atPath("/wxgate/login")

	first.tap(primary).see(accept)
	second.tap(primary).see(accept)
	first.tap(accept).at("/me/orders?tab=1").see(memberSign)
	second.tap(accept).at("/me/orders?tab=2").see(memberSign)
	if first.id() != second.id() {
		t.Errorf("the tabs show %s and %s", first.id(), second.id())
	}
	first.reload().at("/me/orders?tab=1").see(memberSign)

	// And a login page that was left open leads on without another question.
	third := first.secondTab()
	third.open("/wxgate/login?return_to=%2Fme%2Forders%3Ftab%3D3").at("/me/orders?tab=3").see(memberSign)
}

func TestExpiredAuthorization(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	w.wechat.AddPerson(wechattest.Person{Name: "li", CallbackDelay: 0})
	li := w.visitor(inWeChat("li"))

	li.open("/me/orders?q=1").tap(primary).see(accept)
	w.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(42003)) // the code has expired on its way
	li.tap(accept).atPath("/wxgate/login").mustSay(".note", texts(t, "zh-CN")["note.code_invalid"])
	li.tap(primary).at("/me/orders?q=1").see(memberSign)
}

func TestReturnsToExactlyTheURLThatWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	for name, c := range map[string]struct{ encoded, want string }{
		"query":               {"%2Fme%2Forders%3Fq%3D%25E8%258C%25B6%26a%3D1%2526b%26empty%3D%26x", "/me/orders?q=%E8%8C%B6&a=1%26b&empty=&x"},
		"fragment":            {"%2Fcart%3Fq%3D1%23note", "/cart?q=1#note"},
		"fragment of a route": {"%2F%3Fq%3D1%23%2Fgoods%2F5%3Ftab%3Dall", "/?q=1#/goods/5?tab=all"},
		"plus and percent":    {"%2F%3Fq%3Da%2Bb%2525", "/?q=a+b%25"},
	} {
		t.Run(name, func(t *testing.T) {
			w.wechat.AddPerson(wechattest.Person{Name: name, Refusal: wechattest.StateOnly})
			v := w.visitorOf(t, inWeChat(name))
			v.open("/").open("/wxgate/login?return_to=" + c.encoded)
			v.tap(primary).see(refuse).tap(refuse) // a detour
			w.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(42003))
			v.atPath("/wxgate/login").tap(primary).see(accept).tap(accept) // another
			v.atPath("/wxgate/login").tap(primary).at(c.want).see(memberSign)
		})
	}
}

// A hash router's route is in the fragment, which no server sees: it stays with
// the browser on its way to the login page, and the page hands it on.
func TestLoginPageKeepsTheFragmentOfTheURLThatWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	const left = "/me/orders?q=1#/orders/5?tab=$1&all"
	w.wechat.AddPerson(wechattest.Person{Name: "fragment", Refusal: wechattest.StateOnly})
	v := w.visitorOf(t, inWeChat("fragment")).open("/")
	v.open(left).atPath("/wxgate/login").tap(primary).see(refuse).tap(refuse) // a detour
	v.atPath("/wxgate/login").tap(primary).see(accept).tap(accept)
	v.at(left).see(memberSign)
}

// On the first visit the way through WeChat, which nobody sees, puts a fragment
// of its own in the place of the route; hash_routes keeps it. What WeChat's was
// stays in no address.
func TestFirstVisitKeepsTheRouteBehindTheHash(t *testing.T) {
	t.Parallel()
	const left = "/?from=share#/goods/5?tab=$1&all"
	for name, c := range map[string]struct {
		site, arrived string
		noScript      bool
	}{
		"hash_routes":                 {"hash_routes on\n", left, false},
		"hash_routes, without script": {"hash_routes on\n", "/?from=share", true},
		"without hash_routes":         {"", "/?from=share", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, wechatOnly(c.site))
			d := inWeChat("li")
			d.noScript = c.noScript
			li := w.visitorOf(t, d).open(left).at(c.arrived)
			if c.noScript {
				return
			}
			guest := li.id()
			if li.open("/cart").open(left).at(left); li.id() != guest { // whom WeChat has told
				t.Error("the second visit is somebody else's")
			}
		})
	}
}

func TestWithoutScript(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	d := inWeChat("li")
	d.noScript = true
	w.visitor(d).logInWithWeChat()
}

func TestBothLanguages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechatOnly(""))
	for accepted, language := range map[string]string{
		"zh-CN": "zh-CN", "zh-TW": "zh-CN", "en-GB": "en-US", "en-US": "en-US", "fr-FR": "zh-CN",
	} {
		t.Run(accepted, func(t *testing.T) {
			w.wechat.AddPerson(wechattest.Person{Name: accepted, Refusal: wechattest.StateOnly})
			d := inWeChat(accepted)
			d.language = accepted
			said := texts(t, language)
			v := w.visitorOf(t, d).open("/me/orders")
			v.mustSay("h1", said["title.login"]).mustSay(primary, said["action.log_in_wechat"])
			v.tap(primary).see(refuse).tap(refuse).mustSay(".note", said["note.refused"])
			if got, want := read[string](v, "document.documentElement.lang"), map[string]string{"zh-CN": "zh-Hans", "en-US": "en"}[language]; got != want {
				t.Errorf("the page says it is in %q, want %q", got, want)
			}
			v.tap(primary).see(accept).tap(accept).at("/me/orders").see(memberSign)
		})
	}
}
