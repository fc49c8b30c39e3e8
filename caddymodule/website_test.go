package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wxgate/wxgate/internal/wechat/wechattest"
)

const testWebsiteID = "wx3333333333333333"

// website makes the pretend WeChat know a website app, and returns the line of
// the global option for it.
func (rg *rig) website(appid string) string {
	rg.wechat.SetApp(wechattest.App{ID: appid, Secret: "hush-" + appid, Domains: []string{"127.0.0.1"}, OpenPlatform: "shop", Website: true})
	return fmt.Sprintf("website %s hush-%s\n", appid, appid)
}

// scan logs in at the login page by the phone of a person.
func (d *device) scan(page reply, person string) reply {
	d.rg.t.Helper()
	code := d.tapFirst(page, "go=scan")
	resp, err := wechattest.NewBrowser(person).Get(d.rg.wechat.URL + wechattest.ReadQR(code.body))
	if err != nil {
		d.rg.t.Fatal(err)
	}
	resp.Body.Close()
	_, rest, _ := strings.Cut(code.body, `content="1;url=`)
	wait, _, _ := strings.Cut(rest, `"`)
	return d.get(d.rg.wechat.URL + wait)
}

func TestComputerLogsInByTheWebsiteOfTheSite(t *testing.T) {
	rg := newRig(t)
	one, other := rg.website(testWebsiteID), rg.website("wx6666666666666666")
	for _, appid := range []string{testWebsiteID, "wx6666666666666666"} {
		rg.run(setup{app: one + other, site: "login /me/*\nwebsite " + appid})
		d := rg.elsewhere()
		done := d.scan(d.get("/me/orders?page=2"), "li")
		if _, kind := rg.told(); done.Request.URL.RequestURI() != "/me/orders?page=2" || kind != "member" {
			t.Errorf("%s: at %s as %s", appid, done.Request.URL, kind)
		}
		if me := d.fetch(http.MethodGet, "/wxgate/me"); !strings.Contains(me.body, appid) {
			t.Errorf("%s: logged in as %s", appid, me.body)
		}
	}
	for site, want := range map[string]string{"": "website: the global option wxgate has several; name this site's", "website wx7": "no such website"} {
		if err := load(t, rg.caddyfile(setup{app: one + other, site: site})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", site, err)
		}
	}
}

func TestLoginPageOfASiteWithoutAWebsiteShowsNoQRCode(t *testing.T) {
	rg := newRig(t)
	for app, want := range map[string]bool{"": false, rg.website(testWebsiteID): true} {
		rg.run(setup{app: app, site: "login /me/*"})
		page := rg.elsewhere().get("/me/orders")
		if offered := strings.Contains(page.body, "go=scan"); offered != want {
			t.Errorf("%q: offered %v\n%s", app, offered, page.body)
		}
	}
}

// A shop for computers alone has no official account.
func TestSiteMayHaveAWebsiteAlone(t *testing.T) {
	rg := newRig(t)
	rg.run(setup{account: strings.TrimSpace(rg.website(testWebsiteID)), site: "login /me/*"})
	d := rg.elsewhere()
	d.scan(d.get("/me/orders"), "li")
	if _, kind := rg.told(); kind != "member" {
		t.Errorf("he is a %s", kind)
	}
}

func TestUnionIDNoneOfAWebsite(t *testing.T) {
	for name, want := range map[string]string{"bound": "/wxgate/login", "unionid none": "/me/orders"} {
		t.Run(name, func(t *testing.T) {
			block := ""
			if name != "bound" {
				block = " {\n" + name + "\n}"
			}
			rg := newRig(t)
			line := strings.TrimSpace(rg.website(testWebsiteID))
			rg.wechat.SetApp(wechattest.App{ID: testWebsiteID, Secret: "hush-" + testWebsiteID, Domains: []string{"127.0.0.1"}, Website: true})
			rg.run(setup{app: line + block, site: "login /me/*"})
			d := rg.elsewhere()
			if done := d.scan(d.get("/me/orders"), "li"); done.Request.URL.Path != want {
				t.Errorf("at %s", done.Request.URL)
			}
		})
	}
}

// The QR code stands at the platform of the configuration.
func TestScanIsAskedForAtWeChat(t *testing.T) {
	rg := newRig(t)
	rg.run(setup{app: rg.website(testWebsiteID), endpoints: "endpoints {\napi " + rg.wechat.URL + "\n}", site: "login /me/*"})
	d := rg.elsewhere()
	got := d.stay("/wxgate/login?return_to=/me/orders&go=scan", func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") })
	to, err := url.Parse(got.Header.Get("Location"))
	if err != nil || to.Host != "open.weixin.qq.com" || to.Path != "/connect/qrconnect" || to.Query().Get("appid") != testWebsiteID ||
		to.Query().Get("redirect_uri") != rg.url("/wxgate/callback/"+testWebsiteID) {
		t.Errorf("sent to %s, %v", to, err)
	}
}
