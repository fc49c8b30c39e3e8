package browsertest

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

// view is one page of ours as somebody sees it.
type view struct {
	key    string // of its texts
	name   string // of its pictures; empty is the key
	device device
	reach  func(v *visitor) // what he does until he sees it
}

// visit returns the reach of a page that an address shows.
func visit(address string) func(*visitor) {
	return func(v *visitor) { v.open(address) }
}

// wechatPages are those of a shop with an official account alone.
func wechatPages() []view {
	const login = "/wxgate/login?return_to=%2Fme%2Forders"
	return []view{
		{key: "login", device: inWeChat(""), reach: visit("/me/orders")},
		{key: "login", name: "login_by_night", device: atNight(inWeChat("")), reach: visit("/me/orders")},
		{key: "login", name: "login_refused", device: inWeChat(""), reach: visit(login + "&code=refused")},
		{key: "login_elsewhere", device: onPhone(), reach: visit("/me/orders")},
		{key: "login_snapshot", device: inWeChat(""), reach: func(v *visitor) {
			v.w.wechat.AddPerson(wechattest.Person{Name: v.device.person, Snapshot: wechattest.SnapshotOn})
			v.open("/me/orders")
		}},
		{key: "form_needs_login", device: inWeChat(""), reach: func(v *visitor) {
			v.fillCart().tap(".checkout button.wide")
		}},
		{key: "cookies_missing", device: inWeChat(""), reach: func(v *visitor) {
			v.open("/me/orders").tap(primary).see(accept)
			send(v, network.ClearBrowserCookies, cdp.Empty{})
			v.tap(accept)
		}},
		{key: "wechat_busy", device: inWeChat(""), reach: func(v *visitor) {
			v.open("/me/orders").tap(primary).see(accept)
			v.w.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.BadGateway())
			v.tap(accept)
		}},
		{key: "wechat_blocked", device: inWeChat(""), reach: func(v *visitor) {
			v.open("/me/orders").tap(primary).see(accept)
			v.w.wechat.Fail(wechattest.ExchangeCode, 1, wechattest.ErrCode(50002))
			v.tap(accept)
		}},
		{key: "bind_elsewhere", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat()
			v.moveTo(atDesk()).open("/wxgate/bind?return_to=%2F")
		}},
		{key: "wrong_host", device: atDesk(), reach: func(v *visitor) {
			v.open(strings.Replace(v.w.base, "shop.test", "other.test", 1) + "/wxgate/login?wxgate=host")
		}},
		{key: "malformed", device: atDesk(), reach: visit("/wxgate/%00")},
		{key: "not_found", device: atDesk(), reach: visit("/wxgate/nothing")},
		{key: "method_not_allowed", device: atDesk(), reach: visit("/wxgate/logout")},
		{key: "cross_site", device: atDesk(), reach: func(v *visitor) {
			v.open(v.w.platform + "/connect/oauth2/authorize")
			v.leave(func() {
				v.eval(`{const form = document.createElement("form"); form.method = "post"; form.action = "` +
					v.w.base + `/wxgate/logout"; document.body.append(form); form.submit()}`)
			})
		}},
	}
}

// phonePages are those of a shop that can send codes, with a website app too.
func phonePages() []view {
	const phone = "/wxgate/phone?return_to=%2Fme%2Forders"
	crawler := onPhone()
	crawler.agent += " Googlebot/2.1"
	pages := []view{
		{key: "login", name: "login_or_phone", device: inWeChat(""), reach: visit("/me/orders")},
		{key: "login_scan", device: atDesk(), reach: visit("/me/orders")},
		{key: "login_phone", device: onPhone(), reach: visit("/wxgate/login?return_to=%2Fme%2Forders&code=unionid_changed")},
		{key: "phone_login", device: inWeChat(""), reach: visit(phone)},
		{key: "phone_login", name: "phone_login_by_night", device: atNight(inWeChat("")), reach: visit(phone)},
		{key: "phone_login", name: "phone_login_wrong", device: inWeChat(""), reach: func(v *visitor) {
			v.open(phone).enter("#phone", "138001").press("#send").see("#said")
		}},
		{key: "phone_login_elsewhere", device: onPhone(), reach: visit(phone)},
		{key: "bind", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open("/wxgate/bind?return_to=%2F")
		}},
		{key: "bind_scan", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().moveTo(atDesk()).open("/wxgate/bind?return_to=%2F")
		}},
		{key: "logged_in", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open("/wxgate/login?return_to=%2F&code=repair_conflict")
		}},
		{key: "phone_bind", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(phone)
		}},
		{key: "form_needs_phone", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().fillCart().tap(".checkout button.wide")
		}},
		{key: "phone_change", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(phone).provePhone(v.w.newPhone()).open(phone + "&change=1")
		}},
		{key: "phone_change_elsewhere", device: onPhone(), reach: func(v *visitor) {
			v.open(phone).provePhone(v.w.newPhone()).open(phone + "&change=1")
		}},
		{key: "phone_new", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(phone).provePhone(v.w.newPhone()).open(phone + "&change=1")
			v.tap("nav a[href*='go=wechat']")
		}},
		{key: "unionid", device: inWeChat(""), reach: func(v *visitor) {
			v.open(phone).provePhone(v.w.newPhone())
		}},
		{key: "unavailable", device: crawler, reach: visit(phone)},
	}
	for _, refusal := range []string{
		"phone_bound_to_other_wechat", "phone_owned_by_other_user", "second_proof_required", "phone_change_needs_flow",
		"userid_bound_to_other_wechat", "wechat_bound_to_other_user", "unionid_changed", "openid_changed", "repair_conflict",
	} {
		pages = append(pages, view{key: refusal, device: inWeChat(""), reach: visit(phone + "&code=" + refusal)})
	}
	return pages
}

// accountPages are those on which a member looks after his own account.
func accountPages() []view {
	const account, merge = "/wxgate/account?return_to=%2F", "/wxgate/merge?return_to=%2F"
	const unbind, cancel = "nav a[href*='/unbind']", "nav a[href*='/cancel']"
	two := func(v *visitor) { // another account has a phone
		phone := v.w.newPhone()
		v.w.visitorOf(v.t, onPhone()).open("/wxgate/phone?return_to=%2F").provePhone(phone).see(memberSign)
		v.w.restart() // codes for one phone are a minute apart
		v.logInWithWeChat().open(merge).provePhone(phone)
	}
	return []view{
		{key: "account", device: inWeChat(""), reach: func(v *visitor) { v.logInWithWeChat().open(account) }},
		{key: "unbind", device: inWeChat(""), reach: func(v *visitor) { v.logInWithWeChat().open(account).tap(unbind) }},
		{key: "last_credential", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(account).tap(unbind).tap("nav form button")
		}},
		{key: "unbound", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open("/wxgate/phone?return_to=%2F").provePhone(v.w.newPhone())
			v.open(account).tap(unbind).tap("nav form button")
		}},
		{key: "cancel", device: inWeChat(""), reach: func(v *visitor) { v.logInWithWeChat().open(account).tap(cancel) }},
		{key: "cancelled", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(account).tap(cancel).tap("nav form button")
		}},
		{key: "merge_phone", device: inWeChat(""), reach: func(v *visitor) { v.logInWithWeChat().open(merge) }},
		{key: "merge_elsewhere", device: onPhone(), reach: func(v *visitor) {
			v.open("/wxgate/phone?return_to=%2F").provePhone(v.w.newPhone()).open(merge)
		}},
		{key: "merge_wechat", device: inWeChat(""), reach: two},
		{key: "one_account", device: inWeChat(""), reach: func(v *visitor) {
			v.logInWithWeChat().open(merge).provePhone(v.w.newPhone()).tap(primary)
		}},
		{key: "merge", device: inWeChat(""), reach: func(v *visitor) {
			two(v)
			v.tap(primary)
		}},
		{key: "merged", device: inWeChat(""), reach: func(v *visitor) {
			two(v)
			v.tap(primary).tap("nav form button")
		}},
		{key: "two_wechats", device: inWeChat(""), reach: func(v *visitor) {
			phone, other := v.w.newPhone(), inWeChat("other "+v.device.person)
			v.w.wechat.AddPerson(wechattest.Person{Name: other.person})
			v.w.visitorOf(v.t, other).logInWithWeChat().open("/wxgate/phone?return_to=%2F").provePhone(phone)
			v.w.restart()
			v.logInWithWeChat().open(merge).provePhone(phone).tap(primary)
		}},
	}
}

// miniProgramPages are those of a shop whose phones are verified in its mini
// program alone.
func miniProgramPages() []view {
	return []view{
		{key: "phone_in_mini_program", device: inWeChat(""), reach: func(v *visitor) {
			v.open("/me/orders").tap(primary).see(accept).tap(accept)
		}},
	}
}

// miniPages are those of a web-view that a mini program has opened.
func miniPages() []view {
	webView := inWeChat("")
	webView.agent += " miniProgram/" + miniProgramID
	return []view{
		{key: "handed_over", device: webView, reach: func(v *visitor) {
			v.handedOver("/").open("/wxgate/phone?return_to=%2F")
		}},
	}
}

// handedOver opens a page as a member of the mini program.
func (v *visitor) handedOver(path string) *visitor {
	v.t.Helper()
	login := map[string]string{"appid": miniProgramID, "code": v.w.wechat.MiniLogin(v.device.person, miniProgramID), "want": "login"}
	session := v.w.post(v.t, "/wxgate/mini/login", "", login)["session"]
	return v.open(fmt.Sprint(v.w.post(v.t, "/wxgate/mini/ticket", fmt.Sprint(session), map[string]string{"return_to": path})["url"]))
}

// post calls an endpoint of the gateway as a mini program does.
func (w *world) post(t *testing.T, path, session string, fields map[string]string) (answer map[string]any) {
	t.Helper()
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, w.base+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if session != "" {
		r.Header.Set("Authorization", "Wxgate "+session)
	}
	got, err := w.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if err := json.NewDecoder(got.Body).Decode(&answer); err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v, error %v", path, got.Status, answer, err)
	}
	return answer
}

// websitePages are those of a shop with a website app alone.
func websitePages() []view {
	return []view{
		{key: "login_on_computer", device: onPhone(), reach: visit("/me/orders")},
		{key: "login_no_unionid", device: atDesk(), reach: func(v *visitor) {
			v.w.wechat.SetApp(wechattest.App{ID: websiteID, Secret: "website-secret", Domains: []string{"shop.test"}, Website: true})
			v.open("/me/orders").scan("li")
		}},
	}
}

// shops are the settings under which pages can be seen.
func shops() map[string]struct {
	setting setting
	views   []view
} {
	official, website := "official_account "+accountID+" account-secret\n", "website "+websiteID+" website-secret\n"
	const login = "login /me/* /api/me/*\n"
	const brand = "brand {\n\tname 山野杂货\n\tlogo LOGO\n\tcolour a8321f\n\tcontact 400-800-1234\n}\n"
	return map[string]struct {
		setting setting
		views   []view
	}{
		"official account": {setting{app: official + "first_login wechat\n", site: login + "login /orders\n"}, wechatPages()},
		"phones":           {setting{app: official + website + smsByWebhook + "first_login wechat\n", site: login + "phone /orders\n" + brand}, phonePages()},
		"accounts":         {setting{app: official + website + smsByWebhook + "first_login wechat\n", site: login}, accountPages()},
		"mini program":     {setting{app: official + "mini_program " + miniProgramID + " mini-secret\n", site: login}, miniProgramPages()},
		"web-view":         {setting{app: official + "mini_program " + miniProgramID + " mini-secret\n" + smsByWebhook + "first_login wechat\n", site: login}, miniPages()},
		"website":          {setting{app: website + "first_login wechat\n", site: login}, websitePages()},
	}
}

// scriptTexts are the titles that no page has: they are for scripts alone.
func scriptTexts() []string {
	return []string{
		"login_required", "session_expired", "code_invalid", "code_used", "session_key_lost", "rate_limited", "phone_invalid", "code_wrong", "code_expired", "snapshot",
	}
}

func TestPages(t *testing.T) {
	for name, shop := range shops() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, shop.setting)
			for _, page := range shop.views {
				if page.name == "" {
					page.name = page.key
				}
				t.Run(page.name, func(t *testing.T) { w.checkPage(t, page) })
			}
		})
	}
}

// checkPage lets somebody reach a page, in each language, and checks it.
func (w *world) checkPage(t *testing.T, page view) {
	for _, language := range []string{"zh-CN", "en-US"} {
		d := page.device
		d.language = language
		if strings.Contains(d.agent, "MicroMessenger") {
			d.person = page.name + language // nobody has been here before
			w.wechat.AddPerson(wechattest.Person{Name: d.person})
		}
		v := w.visitorOf(t, d)
		page.reach(v)
		if want := texts(t, language)["title."+page.key]; v.text("h1") != want {
			t.Fatalf("the page at %s is %q, want %q", v.url(), v.text("h1"), want)
		}
		v.checkLooks(t)
		if language == "zh-CN" { // the other has the same elements and colours
			v.checkForAll(t)
			if flag.Lookup(updateFlag).Value.String() == "true" {
				v.takePictures(page.name)
			}
		}
	}
}

// texts are those of our pages in a language.
func texts(t *testing.T, language string) map[string]string {
	t.Helper()
	file := map[string]string{"zh-CN": "zh-Hans", "en-US": "en"}[language]
	raw, err := os.ReadFile("../internal/gate/pages/" + file + ".json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestEveryPageIsChecked(t *testing.T) {
	var checked []string
	for _, shop := range shops() {
		for _, page := range shop.views {
			checked = append(checked, page.key)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(texts(t, "en-US"))) {
		key, isTitle := strings.CutPrefix(text, "title.")
		if isTitle && slices.Contains(checked, key) == slices.Contains(scriptTexts(), key) {
			t.Errorf("%s: is it a page? Then it stands in one of the lists", key)
		}
	}
}
